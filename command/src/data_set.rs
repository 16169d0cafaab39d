//! The data set of a run: which one, how it is read, and what it has to do with the model.

use std::path::{Path, PathBuf};

use brolga_models::data::{self, HeldOut};
use brolga_runtime::{
    Batches, DataRecord, Field, HeldOutRecord, Input, LoadReport, Manifest, NoData, Result, Shown, State,
    cut, first_of, fitted,
};

use crate::compiled::{Compiled, Of};
use crate::refused;

/// Names and numbers that are shown of a list.
pub(crate) const SHOWN: usize = 8;

/// How a run asks for its data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// Where they are.
    pub source: &'a Path,
    /// Draws what is held out.
    pub seed: u64,
    /// The column that is predicted.
    pub target: Option<&'a str>,
    /// The fold that is held out, from 1.
    pub fold: Option<usize>,
    /// Whether only a part of the weights is taken that the run starts from.
    pub partial: bool,
}

/// The data set asked for, or the model's own; none for an entry without inputs.
pub(crate) fn source<M: Compiled>(data: Option<&Path>, model: &M, entry: &str) -> Of<M, PathBuf> {
    named_source(data, model.data(), model, entry)
}

/// The same, where another set is named than the model's own.
pub(crate) fn named_source<M: Compiled>(
    data: Option<&Path>,
    named: Option<&str>,
    model: &M,
    entry: &str,
) -> Of<M, PathBuf> {
    if model.fields(entry)?.is_empty() {
        return match data {
            None => Ok(PathBuf::from("no data")),
            Some(_) => Err(refused(format!("`{entry}` has no inputs that --data could feed")).into()),
        };
    }
    if let Some(data) = data {
        return Ok(data.to_path_buf());
    }
    match named {
        Some(name) if data::comes_along(name) || Path::new(name).exists() => Ok(PathBuf::from(name)),
        Some(name) => Err(refused(format!(
            "`{}` trains on the data set `{name}`, which does not come along: give the folder that holds it with \
             --data (`train --help` says what can be read)",
            model.name()
        ))
        .into()),
        None => Err(refused(format!("`{}` names no data set: give one with --data", model.name())).into()),
    }
}

/// How the data set is read: as the options say, as the weights that are trained on know it, as the model says, in this order.
/// Of weights of which a part is taken, only the columns count, if what was fitted to them is taken.
pub(crate) fn read<M: Compiled>(
    wanted: &Wanted<'_>,
    model: &M,
    manifest: &Manifest,
    state: &State,
    loaded: Option<&LoadReport>,
) -> Result<data::Options> {
    let unused = [("--target", wanted.target.is_some()), ("--fold", wanted.fold.is_some())];
    if let (true, Some((option, _))) = (manifest.inputs.is_empty(), unused.iter().find(|(_, given)| *given)) {
        return Err(refused(format!("`{}` has no inputs, and so no data for {option}", manifest.entry)));
    }
    let fitted = |report: &LoadReport| {
        let names: Vec<&str> = fitted(state).into_iter().map(|(name, _)| name).collect();
        report.used.iter().any(|used| names.contains(&used.as_str()))
    };
    let known = match loaded {
        None => DataRecord::default(),
        Some(_) if !wanted.partial => state.record().clone(),
        Some(report) if fitted(report) => {
            DataRecord { columns: state.record().columns.clone(), ..DataRecord::default() }
        }
        Some(_) => DataRecord::default(),
    };
    let mut options = model.data_options(wanted.seed).known_to(&known);
    set_target(&mut options, wanted.target, wanted.source)?;
    if let Some(fold) = wanted.fold {
        let HeldOut::Fold { number, of, .. } = &mut options.held_out else {
            let message = format!("`{}` does not say that its data are split into folds", model.name());
            return Err(refused(format!("{message}: write `data: Data(split: Folds(5))`")));
        };
        if fold == 0 || fold > *of {
            return Err(refused(format!("there are folds 1 to {of}, not {fold}")));
        }
        *number = fold - 1;
    }
    Ok(options)
}

/// Takes the column that `--target` names; only a table has any.
pub(crate) fn set_target(options: &mut data::Options, target: Option<&str>, source: &Path) -> Result<()> {
    let Some(target) = target else { return Ok(()) };
    if !data::is_table(source) {
        let message = format!("--target names a column of a table, and `{}` is none", source.shown());
        return Err(refused(message));
    }
    options.target = Some(target.to_owned());
    Ok(())
}

/// Compares the classes of the data with those that the model tells apart: more are an error, fewer are told.
pub(crate) fn check_classes(manifest: &Manifest, data: &dyn Batches) -> Result<()> {
    let has_vocabulary = |name: &str| data.vocabularies().iter().any(|(input, _)| input == name);
    let is_label = |input: &&Input| input.dims.len() == 1 && !has_vocabulary(&input.name);
    let mut labels = manifest.inputs.iter().filter(is_label);
    let Some((name, range)) = labels.find_map(|input| Some((&input.name, input.range?))) else {
        return Ok(());
    };
    let (count, most) = (data.classes().len() as i64, range.high.saturating_add(1));
    let classes = if count == 1 { "1 class".to_owned() } else { format!("{count} classes") };
    if count > most {
        return Err(refused(format!(
            "the data have {classes} ({}), but the model tells {most} apart: `{name}` is from 0 to {}",
            first_of(data.classes(), SHOWN, cut),
            range.high
        )));
    }
    if count > 0 && count < most {
        errln!("note: the data have {classes}, the model tells {most} apart");
    }
    Ok(())
}

/// Opens the data set for inputs of entry points; without any there is none.
pub(crate) fn open(source: &Path, fields: &[Field], read: &data::Options) -> Result<Box<dyn Batches>> {
    if fields.is_empty() {
        return Ok(Box::new(NoData));
    }
    data::open(source, fields, read)
}

/// What answers and evaluations need to know of the data.
pub(crate) fn record(data: &dyn Batches, read: data::Options) -> DataRecord {
    let held_out =
        data.checksum().map(|data| HeldOutRecord { data, seed: read.seed, rule: read.held_out.to_string() });
    DataRecord { held_out, target: read.target, ..DataRecord::of(data) }
}
