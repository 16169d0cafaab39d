//! What a network says of single samples: labels and probabilities, or numbers; of pictures, folders of them, tables, and
//! arrays.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use brolga_models::data::{self, HeldOut};
use brolga_runtime::{
    Batches, Content, DType, Error, ErrorKind, Field, Input, Instance, Manifest, Request, Result, Samples,
    Shown, Split, State, Tensor, TensorRef, Threads, holds_nan, type_name, write_results,
};

use crate::compiled::{Compiled, Of, classes};
use crate::csv::write_csv;
use crate::destination::{Destinations, Written};
use crate::files::{InputFile, Start, inputs_for, read_inputs, samples_of, state};
use crate::json::Json;
use crate::number::Number;
use crate::refused;
use brolga_runtime::samples::taken;

/// What the inputs of an entry point take of a data set.
pub(crate) fn fields(inputs: &[Input]) -> Vec<Field> {
    let field =
        |input: &Input| Field { name: input.name.clone(), dtype: input.dtype, dims: input.dims_of_one() };
    inputs.iter().map(field).collect()
}

/// The numbers of one sample of a batch.
pub(crate) fn numbers(tensor: &Tensor, axis: usize, sample: usize) -> Result<Vec<Number>> {
    if axis > 0 {
        return all_numbers(&taken(tensor, axis, sample, 1)?);
    }
    let size: usize = tensor.dims().iter().skip(1).product();
    Number::of(tensor, sample * size..(sample + 1) * size)
}

/// The numbers of an output of one sample.
fn all_numbers(output: &Tensor) -> Result<Vec<Number>> {
    Number::of(output, 0..output.dims().iter().product())
}

/// Whether an output has a score for each class of a sample, which is along this axis: floats, `[batch, classes]`.
pub(crate) fn scores(tensor: &Tensor, axis: usize) -> bool {
    let classes = || dims_of_one(tensor.dims(), Some(axis))[0];
    matches!(tensor.dtype(), DType::F32 | DType::F64) && tensor.dims().len() == 2 && classes() > 1
}

/// The dimensions without the axis of samples; all where there is none.
fn dims_of_one(dims: &[usize], axis: Option<usize>) -> Vec<usize> {
    let own = dims.iter().enumerate().filter(|(at, _)| Some(*at) != axis);
    own.map(|(_, extent)| *extent).collect()
}

/// The axis of samples in what an entry point for a single sample takes or gives. A model without the size `batch` knows none;
/// each call of it is then taken for a sample, and an axis of 1 that is the first for theirs.
fn axis_of(samples: Samples, dims: &[usize], has_batch: bool) -> Option<usize> {
    let first = || (!has_batch && dims.first() == Some(&1)).then_some(0);
    samples.axis().or_else(first)
}

/// The place of the largest score; the first of equal ones, or of NaN.
pub(crate) fn best(scores: &[Number]) -> usize {
    let mut best = 0;
    for (at, score) in scores.iter().enumerate() {
        let (score, most) = (score.value(), scores[best].value());
        if !most.is_nan() && (score.is_nan() || score > most) {
            best = at;
        }
    }
    best
}

/// The places of the [`NEXT`] largest scores but for one place, the largest first.
fn next(scores: &[Number], first: usize) -> Vec<usize> {
    let mut found: Vec<usize> = Vec::new();
    for (at, score) in scores.iter().enumerate().filter(|(at, _)| *at != first) {
        let above = |known: &&usize| scores[**known].value().total_cmp(&score.value()).is_ge();
        let place = found.iter().take_while(above).count();
        found.insert(place, at);
        found.truncate(NEXT);
    }
    found
}

/// The name of a class: its number where nobody gave it one.
pub(crate) fn class(classes: &[String], number: usize) -> String {
    classes.get(number).cloned().unwrap_or_else(|| number.to_string())
}

/// The samples that a path stands for.
enum Source {
    Pictures(Vec<PathBuf>, Field, &'static [&'static data::Format]),
    Table(Box<dyn Batches>),
    /// For each input, a tensor; and how many samples there are.
    Arrays(Vec<Tensor>, usize),
}

impl Source {
    fn open<M: Compiled>(
        path: &Path,
        fields: &[Field],
        model: &M,
        state: &State,
        formats: &'static [&'static data::Format],
    ) -> Result<Source> {
        if path == Path::new("-") {
            return Err(refused("standard input is not read here: name a file or a folder"));
        }
        if data::is_table(path) {
            let options = model.data_options(0).known_to(state.record());
            let options = data::Options { held_out: HeldOut::All, unlabelled: true, ..options };
            return Ok(Source::Table(data::table(path, fields, &options)?));
        }
        if let Ok(content @ (Content::Npy | Content::Npz | Content::Safetensors)) = Content::of(path) {
            let path = path.shown();
            return Err(refused(format!("`{path}` is {content}: tensors are given with --inputs")));
        }
        let [field] = fields else {
            let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
            return Err(refused(format!(
                "a picture fills one input, but the entry point has {}: give them with --inputs",
                names.join(", ")
            )));
        };
        Ok(Source::Pictures(data::pictures(path)?, field.clone(), formats))
    }

    /// The samples of a file of tensors.
    fn arrays(mut file: InputFile<'_>, inputs: &[Input]) -> Result<Source> {
        let samples = samples_of(&mut file, inputs)?.unwrap_or(1);
        let wanted = inputs_for(inputs, samples);
        let arrays = read_inputs(Some(file), &wanted)?;
        let arrays: Vec<Tensor> = arrays.into_iter().map(|(_, tensor)| tensor).collect();
        let other = |((input, wanted), array): ((&Input, &Input), &Tensor)| {
            let wrong = input.samples.axis().is_some() && array.dims() != wanted.dims;
            wrong.then(|| {
                let expected = type_name(input.dtype, &input.dims);
                format!("`{}` must be {expected} for each sample, but is {}", input.name, array.type_found())
            })
        };
        match inputs.iter().zip(&wanted).zip(&arrays).find_map(other) {
            Some(message) => Err(Error::new(ErrorKind::Shape, message)),
            None => Ok(Source::Arrays(arrays, samples)),
        }
    }

    fn len(&self) -> usize {
        match self {
            Source::Pictures(files, ..) => files.len(),
            Source::Table(table) => table.len(Split::Validation),
            Source::Arrays(_, samples) => *samples,
        }
    }

    /// The name of a sample, and what the inputs take of it.
    fn sample(&mut self, number: usize, inputs: &[Input], fields: &[Field]) -> Result<(String, Vec<Tensor>)> {
        // Wherever the axis of its samples is: of one sample all elements are in the same order.
        let shaped =
            |tensor: Tensor, input: &Input| Tensor::from_bytes(tensor.dtype(), &input.dims, tensor.bytes());
        match self {
            Source::Pictures(files, field, formats) => {
                let file = &files[number];
                let picture = data::picture_of(file, field, formats)?;
                let picture = inputs.iter().take(1).map(|input| shaped(picture.try_clone()?, input));
                Ok((file.display().to_string(), picture.collect::<Result<_>>()?))
            }
            Source::Table(table) => {
                let request = Request { split: Split::Validation, indices: &[number], seed: 0, epoch: 0 };
                let mut tensors = Vec::new();
                for (at, (field, input)) in fields.iter().zip(inputs).enumerate() {
                    let mut tensor = Tensor::zeros(field.dtype, &[&[1], &field.dims[..]].concat())?;
                    table.fill(&request, at, &mut tensor.view_mut())?;
                    tensors.push(shaped(tensor, input)?);
                }
                Ok((table.name(Split::Validation, number), tensors))
            }
            Source::Arrays(arrays, _) => {
                let one = |(array, input): (&Tensor, &Input)| match input.samples.axis() {
                    Some(axis) => taken(array, axis, number, 1),
                    None => array.try_clone(),
                };
                Ok((number.to_string(), arrays.iter().zip(inputs).map(one).collect::<Result<_>>()?))
            }
        }
    }
}

/// What is asked about samples.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// The entry point that answers.
    pub entry: &'a str,
    /// The state.
    pub start: Start<'a>,
    /// Pictures, folders of them, tables.
    pub paths: &'a [PathBuf],
    /// Where the outputs go besides.
    pub outputs: Option<&'a Path>,
    /// Where the new state goes.
    pub save: Option<&'a Path>,
    /// Whether one JSON object is printed.
    pub json: bool,
    /// The formats in which pictures are read.
    pub formats: &'static [&'static data::Format],
}

/// Answers for each sample of the paths, and of a file of tensors, on standard output, and says by the exit code whether all
/// could be read and all answers are numbers.
///
/// # Errors
/// An entry point that takes no single samples; files that cannot be read; places that are not to be written to; what the
/// model gives.
pub fn answer<M: Compiled>(
    model: &mut M,
    threads: &Threads,
    asked: &Asked<'_>,
    file: Option<InputFile<'_>>,
    mut destinations: Destinations,
) -> Of<M, ExitCode> {
    let mut executable = model.executable(asked.entry, Some(1))?;
    let manifest = executable.manifest().clone();
    let has_batch = model.has_batch();
    takes_samples(&manifest, asked, has_batch)?;
    note_whole(&manifest, has_batch);
    let mut state = state(model, &asked.start)?;
    let outputs: Vec<Tensor> =
        manifest.outputs.iter().map(|o| Tensor::zeros(o.dtype, &o.dims)).collect::<Result<_>>()?;
    let names: Vec<&str> = manifest.outputs.iter().map(|output| output.name.as_str()).collect();
    let axes: Vec<Option<usize>> =
        manifest.outputs.iter().map(|output| axis_of(output.samples, &output.dims, has_batch)).collect();
    let (classes, updates) = (classes(model, &state), manifest.updates_state());
    let answers = Answers { names: &names, axes: &axes, classes: &classes };
    destined(asked, &mut destinations, &state, updates, || answers.head(&outputs))?;
    if model.tuned(asked.entry)? {
        executable = model.executable(asked.entry, Some(1))?;
    }
    let instance = Instance::bind(executable, &state, threads)?;
    let (inputs, fields) = (&manifest.inputs[..], fields(&manifest.inputs));
    let mut answering =
        Answering { asked, answers, instance, inputs, fields: &fields, outputs, said: Said::default() };
    for path in asked.paths {
        let source = Source::open(path, &fields, model, &state, asked.formats)?;
        answering.source(path, source, &mut state)?;
    }
    if let Some(file) = file {
        let path = file.path();
        answering.source(path, Source::arrays(file, inputs)?, &mut state)?;
    }
    Ok(answering.finish(model.name(), &state)?)
}

/// Checks that each input is for single samples, where paths give them one by one.
fn takes_samples(manifest: &Manifest, asked: &Asked<'_>, has_batch: bool) -> Result<()> {
    let whole = manifest.inputs.iter().any(|input| axis_of(input.samples, &input.dims, has_batch).is_none());
    if whole && !asked.paths.is_empty() {
        return Err(refused(format!(
            "`{}` has inputs that are not for single samples: give all of them with --inputs FILE",
            asked.entry
        )));
    }
    Ok(())
}

/// Says which outputs are not of single samples, though each sample is a call of its own here.
fn note_whole(manifest: &Manifest, has_batch: bool) {
    for output in &manifest.outputs {
        let name = &output.name;
        match output.samples {
            _ if axis_of(output.samples, &output.dims, has_batch).is_some() => {}
            Samples::Together if has_batch => {
                errln!(
                    "note: `{name}` is of all samples of a call, and each sample is a call of its own here"
                );
            }
            _ if output.dims.is_empty() => {}
            _ => errln!("note: no axis of `{name}` is `batch`: each sample is given all of it"),
        }
    }
}

/// Checks where answers and state will be written, before anything is computed; `head` is that of a table of answers.
fn destined(
    asked: &Asked<'_>,
    destinations: &mut Destinations,
    state: &State,
    updates: bool,
    head: impl FnOnce() -> Result<Vec<String>>,
) -> Result<()> {
    if let Some(path) = asked.outputs {
        let table = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
        let what = if table { Written::Table } else { Written::Tensors };
        destinations.writes("--outputs", path, what, 0)?;
        if table {
            destinations.replaces("--outputs", path, &head()?)?;
        }
    }
    if let Some(path) = asked.save {
        let idle = (!updates).then_some("the entry point updates nothing");
        destinations.saves(path, state, state.bytes(), idle)?;
    }
    Ok(())
}

/// An entry point that answers for sample after sample, and what has come of it.
struct Answering<'a> {
    asked: &'a Asked<'a>,
    answers: Answers<'a>,
    instance: Instance,
    inputs: &'a [Input],
    /// What the inputs take of a data set.
    fields: &'a [Field],
    /// The outputs of the last sample.
    outputs: Vec<Tensor>,
    said: Said,
}

/// What has been said of samples.
#[derive(Default)]
struct Said {
    /// An object for each sample, for programs.
    report: Vec<Json>,
    /// The names and outputs of all samples, where they are written.
    kept: Vec<(String, Vec<Tensor>)>,
    /// Why pictures could not be read.
    broken: Vec<Error>,
    answered: usize,
    /// How many of the answers hold NaN.
    no_number: usize,
}

impl Answering<'_> {
    /// Answers for each sample of a source, which `path` stands for.
    fn source(&mut self, path: &Path, mut source: Source, state: &mut State) -> Result<()> {
        let several = self.asked.paths.len() > 1;
        for number in 0..source.len() {
            let (name, inputs) = match source.sample(number, self.inputs, self.fields) {
                Ok(sample) => sample,
                // One picture that cannot be read keeps no other from its answer.
                Err(error) if (several || source.len() > 1) && matches!(source, Source::Pictures(..)) => {
                    self.said.broken.push(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            // Lines of one table need no name, of several they do; pictures have theirs.
            let name = match source {
                Source::Table(_) if several => format!("{} {name}", path.display()),
                _ => name,
            };
            self.instance.run_tensors(state, &inputs, &mut self.outputs)?;
            self.say(name)?;
        }
        Ok(())
    }

    /// Says what the outputs are, of the sample of this name.
    fn say(&mut self, name: String) -> Result<()> {
        self.said.answered += 1;
        self.said.no_number += usize::from(self.outputs.iter().any(Tensor::has_nan));
        if self.asked.json {
            self.said.report.push(self.answers.as_json(&name, &self.outputs)?);
        } else {
            outln!("{}: {}", name.shown(), self.answers.as_text(&self.outputs)?);
        }
        if self.asked.outputs.is_some() {
            let copies = self.outputs.iter().map(Tensor::try_clone).collect::<Result<_>>()?;
            self.said.kept.push((name, copies));
        }
        Ok(())
    }

    /// Writes what was asked for in files, and says what went wrong; the exit code knows it too.
    fn finish(self, model: &str, state: &State) -> Result<ExitCode> {
        let Said { report, kept, broken, answered, no_number } = self.said;
        if let Some(path) = self.asked.outputs {
            self.answers.write(path, &kept)?;
        }
        if let Some(path) = self.asked.save {
            state.save(path)?;
        }
        if self.asked.json {
            outln!("{}", object! {"model": model, "entry": self.asked.entry, "samples": report});
        }
        broken.iter().for_each(|error| errln!("error: {error}"));
        if no_number > 0 {
            errln!("error: the outputs of {no_number} of {answered} samples hold NaN{}", of_weights(state));
        }
        Ok(if broken.is_empty() && no_number == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Whether the weights are why outputs are no numbers.
pub(crate) fn of_weights(state: &State) -> String {
    holds_nan(state).map(|weights| format!(", as does `{weights}`")).unwrap_or_default()
}

/// How many of the next best classes are shown.
const NEXT: usize = 2;

/// What is said of a sample, by the names of the outputs and the classes.
struct Answers<'a> {
    names: &'a [&'a str],
    /// For each output the axis of samples, if it has one.
    axes: &'a [Option<usize>],
    classes: &'a [String],
}

impl Answers<'_> {
    /// Whether an output of one sample has a score for each class.
    fn is_labelled(&self, at: usize, outputs: &[Tensor]) -> bool {
        self.axes[at].is_some_and(|axis| scores(&outputs[at], axis))
    }

    /// `cat  probability 0.9871  (dog 0.0129)`
    fn as_text(&self, outputs: &[Tensor]) -> Result<String> {
        let mut parts = Vec::new();
        for (at, (name, output)) in self.names.iter().zip(outputs).enumerate() {
            let numbers = all_numbers(output)?;
            if self.is_labelled(at, outputs) && parts.is_empty() {
                let first = best(&numbers);
                let next: Vec<String> = (next(&numbers, first).iter())
                    .map(|&at| format!("{} {}", class(self.classes, at).shown(), numbers[at].short()))
                    .collect();
                let (label, score) = (class(self.classes, first).shown(), numbers[first].short());
                parts.push(format!("{label}  {name} {score}  ({})", next.join(", ")));
            } else if let [number] = numbers[..] {
                parts.push(format!("{name} {}", number.short()));
            } else {
                let own = dims_of_one(output.dims(), self.axes[at]);
                parts.push(format!("{name} {}", type_name(output.dtype(), &own)));
            }
        }
        Ok(parts.join("  "))
    }

    /// The same for programs. An output that is called as a field of ours is under `output.NAME`.
    fn as_json(&self, name: &str, outputs: &[Tensor]) -> Result<Json> {
        let mut about = object! {"name": name};
        let labelled = (0..outputs.len()).find(|&at| self.is_labelled(at, outputs));
        if let Some(at) = labelled {
            let first = best(&all_numbers(&outputs[at])?);
            about.set("class", first);
            about.set("label", class(self.classes, first));
        }
        let own = |name: &str| name == "name" || (labelled.is_some() && ["class", "label"].contains(&name));
        for (at, (name, output)) in self.names.iter().zip(outputs).enumerate() {
            let key = if own(name) { format!("output.{name}") } else { (*name).to_owned() };
            let numbers = all_numbers(output)?;
            if labelled == Some(at) {
                let all = numbers.iter().enumerate();
                let all = all.map(|(at, &score)| (class(self.classes, at), Json::from(score)));
                about.set(&key, all.collect::<Json>());
            } else if let [number] = numbers[..] {
                about.set(&key, number);
            } else {
                about.set(&key, numbers);
            }
        }
        Ok(about)
    }

    /// Writes the outputs of all samples: a table, or tensors with the samples as first dimension.
    fn write(&self, path: &Path, kept: &[(String, Vec<Tensor>)]) -> Result<()> {
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        if extension == "csv" {
            return write_csv(path, &self.rows(kept)?);
        }
        let mut stacked = Vec::new();
        for at in 0..self.names.len() {
            let Some((_, first)) = kept.first() else { break };
            let dims = [vec![kept.len()], dims_of_one(first[at].dims(), self.axes[at])].concat();
            let bytes: Vec<u8> =
                kept.iter().flat_map(|(_, outputs)| outputs[at].bytes().iter().copied()).collect();
            stacked.push(Tensor::from_bytes(first[at].dtype(), &dims, &bytes)?);
        }
        let views: Vec<(&str, TensorRef<'_>)> =
            self.names.iter().copied().zip(stacked.iter().map(Tensor::view)).collect();
        write_results(path, &views)
    }

    /// The names of the columns of outputs of one sample.
    fn head(&self, outputs: &[Tensor]) -> Result<Vec<String>> {
        let mut head = vec!["sample".to_owned()];
        for (at, (name, output)) in self.names.iter().zip(outputs).enumerate() {
            let named = (at == 0 && self.is_labelled(at, outputs)).then_some(self.classes);
            head.extend(columns(name, all_numbers(output)?.len(), named));
        }
        Ok(head)
    }

    /// A row for each sample: its name, its class where there are scores, and all numbers.
    fn rows(&self, kept: &[(String, Vec<Tensor>)]) -> Result<Vec<Vec<String>>> {
        let mut rows: Vec<Vec<String>> = Vec::new();
        for (sample, outputs) in kept {
            let mut row = vec![sample.clone()];
            for (at, output) in outputs.iter().enumerate() {
                let numbers = all_numbers(output)?;
                if at == 0 && self.is_labelled(at, outputs) {
                    row.push(class(self.classes, best(&numbers)));
                }
                row.extend(numbers.iter().map(Number::to_string));
            }
            if rows.is_empty() {
                rows.push(self.head(outputs)?);
            }
            rows.push(row);
        }
        Ok(rows)
    }
}

/// The names of the columns of an output: `predicted` for the class, if there are classes, and one for each number.
pub(crate) fn columns(output: &str, count: usize, classes: Option<&[String]>) -> Vec<String> {
    let predicted = classes.map(|_| "predicted".to_owned());
    predicted.into_iter().chain((0..count).map(|at| column(output, count, at, classes))).collect()
}

/// The name of one of several numbers: `price`, `probability.cat`, `box.0`.
pub(crate) fn column(name: &str, count: usize, at: usize, classes: Option<&[String]>) -> String {
    match classes {
        Some(classes) => format!("{name}.{}", class(classes, at)),
        None if count == 1 => name.to_owned(),
        None => format!("{name}.{at}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_best() {
        let best = |scores: &[f64]| best(&scores.iter().map(|&score| Number::F64(score)).collect::<Vec<_>>());
        assert_eq!(best(&[1.0, 3.0, 3.0]), 1);
        assert_eq!(best(&[1.0, f64::NAN, 9.0, f64::NAN]), 1);
        assert_eq!(best(&[f64::NAN, 9.0]), 0);
        assert_eq!(best(&[f64::NEG_INFINITY]), 0);
    }
}
