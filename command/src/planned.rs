//! A plan of training with all that it needs: executables, and the data sets that they read.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use brolga_models::data;
use brolga_runtime::{
    Batches, Executable, Executables, Field, LoadReport, Manifest, Outline, Outlined, Plan, Result, Split,
    State, Trainee, UpdateBatch,
};

use crate::answers::fields;
use crate::compiled::{Compiled, Of, formulas};
use crate::data_set::{Wanted, check_classes, named_source, open, read};
use crate::refused;

/// A data set of a run.
pub(crate) struct Set {
    pub source: PathBuf,
    /// How it was read.
    pub read: data::Options,
    pub data: Box<dyn Batches>,
    fields: Vec<Field>,
}

/// How a run asks for its data.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub seed: u64,
    pub target: Option<&'a str>,
    pub fold: Option<usize>,
    pub partial: bool,
}

/// The data set of each trainee: the one that the user gives, that of the phase, or the model's; none for an entry without inputs.
/// All entries train, on batches of some samples.
pub(crate) fn sources<M: Compiled>(
    model: &M,
    outline: &Outline,
    given: Option<&Path>,
) -> Of<M, Vec<PathBuf>> {
    let mut sources = Vec::new();
    let takes_data = |trainee: &Outlined| model.fields(&trainee.entry).is_ok_and(|fields| !fields.is_empty());
    let any = outline.trainees.iter().any(takes_data);
    for trainee in &outline.trainees {
        let manifest = model.executable(&trainee.entry, None)?;
        updating(manifest.manifest(), &model.training())?;
        expect_samples(model, manifest.manifest())?;
        let given = given.filter(|_| takes_data(trainee) || !any);
        let named = trainee.data.as_deref().or(model.data());
        sources.push(named_source(given, named, model, &trainee.entry)?);
    }
    Ok(sources)
}

/// Checks that an entry point trains; `training` are those that do.
///
/// # Errors
/// It updates nothing.
pub fn updating(manifest: &Manifest, training: &[&str]) -> Result<()> {
    if training.contains(&manifest.entry.as_str()) {
        return Ok(());
    }
    let hint = if training.is_empty() { "none".to_owned() } else { training.join(", ") };
    Err(refused(format!("`{}` updates nothing; entry points that do: {hint}", manifest.entry)))
}

/// Refuses batches without samples.
fn expect_samples<M: Compiled>(model: &M, manifest: &Manifest) -> Result<()> {
    let is_empty = |input: &brolga_runtime::Input| input.dims.get(input.samples_axis()) == Some(&0);
    match model.has_batch() && manifest.inputs.iter().any(is_empty) {
        true => Err(refused("a batch must hold at least one sample")),
        false => Ok(()),
    }
}

/// The plan of a run, and the data sets that its trainees read. A set is opened once for all that read the same of it.
pub(crate) fn planned<M: Compiled>(
    model: &M,
    outline: &Outline,
    sources: &[PathBuf],
    asked: &Asked<'_>,
    state: &State,
    loaded: Option<&LoadReport>,
) -> Of<M, (Plan, Vec<Set>)> {
    let mut sets: Vec<Set> = Vec::new();
    let mut trainees = Vec::new();
    for (trainee, source) in outline.trainees.iter().zip(sources) {
        let train = model.executable(&trainee.entry, None)?;
        let (seed, target, fold) = (asked.seed, asked.target, asked.fold);
        let wanted = Wanted { source, seed, target, fold, partial: asked.partial };
        let fields = fields_of(model, trainee, train.manifest())?;
        let known = sets.iter().position(|set| set.source == *source && set.fields == fields);
        let at = match known {
            Some(at) => at,
            None => {
                let read = read(&wanted, model, train.manifest(), state, loaded)?;
                let data = open(source, &fields, &read)?;
                sets.push(Set { source: source.clone(), read, data, fields });
                sets.len() - 1
            }
        };
        let data = &*sets[at].data;
        check_classes(train.manifest(), data)?;
        trainees.push(bound(model, (outline, trainee), train, data, at)?);
    }
    Ok((Plan { trainees, phases: outline.phases.clone() }, sets))
}

/// The executables of a trainee for its data set.
fn bound<M: Compiled>(
    model: &M,
    (outline, trainee): (&Outline, &Outlined),
    train: Arc<Executable>,
    data: &dyn Batches,
    at: usize,
) -> Of<M, Trainee> {
    let entry = &trainee.entry;
    let train = match trainee.batch {
        None => train,
        Some(UpdateBatch::Samples(samples)) => model.executable(entry, Some(samples))?,
        Some(UpdateBatch::All) => model.executable(entry, Some(data.len(Split::Train)))?,
    };
    let samples = data.len(Split::Validation);
    let formulas = formulas(model, entry)?;
    let evaluation = |name: &str| match model.has(name) {
        true => model.evaluation(name, samples),
        false => Ok(None),
    };
    let mut measures = Vec::new();
    if let (Some(measure), true) = (trainee.measures.first(), data.fields().is_empty()) {
        let message = format!(
            "`{entry}` reads no data, so there are no samples on which `{measure}` could be measured"
        );
        return Err(refused(message).into());
    }
    for measure in &trainee.measures {
        let found = evaluation(&format!("{measure}.eval"))?;
        measures.extend(found.map(|found| (measure.clone(), found)));
    }
    let evaluation = evaluation(&format!("{entry}.eval"))?;
    let executables = Executables { train, formulas, evaluation };
    Ok(Trainee { name: name_of(outline, trainee), executables, measures, data: at })
}

/// What a trainee is called: its entry point, and what tells it from others of the same one.
fn name_of(outline: &Outline, trainee: &Outlined) -> String {
    let entry = &trainee.entry;
    if outline.trainees.iter().filter(|other| other.entry == *entry).count() == 1 {
        return entry.clone();
    }
    let batch = trainee.batch.map(|batch| match batch {
        UpdateBatch::Samples(samples) => format!("batch={samples}"),
        UpdateBatch::All => "batch=all".to_owned(),
    });
    let own: Vec<String> = trainee.data.iter().map(|data| format!("data={data}")).chain(batch).collect();
    match entry.strip_suffix(')') {
        _ if own.is_empty() => entry.clone(),
        Some(settings) => format!("{settings},{})", own.join(",")),
        None => format!("{entry}({})", own.join(",")),
    }
}

/// What a trainee and its evaluations take of a sample.
fn fields_of<M: Compiled>(model: &M, trainee: &Outlined, manifest: &Manifest) -> Of<M, Vec<Field>> {
    let mut all = fields(&manifest.inputs);
    let evaluations = trainee.measures.iter().chain([&trainee.entry]).map(|entry| format!("{entry}.eval"));
    for entry in evaluations.filter(|entry| model.has(entry)) {
        for field in model.fields(&entry)? {
            if !all.iter().any(|known| known.name == field.name) {
                all.push(field);
            }
        }
    }
    Ok(all)
}
