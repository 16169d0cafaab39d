//! How good a network is on a data set: metrics, confusion matrix, predictions.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use brolga_models::data::{self, HeldOut};
use brolga_runtime::{
    self as runtime, Batches, DType, ErrorKind, Executable, Field, Instance, Metrics, Request, Result, Shown,
    Split, State, Tensor, TensorMut, Threads, counted, holds_nan,
};

use crate::answers::{best, class, column, columns, fields, numbers, scores};
use crate::compiled::{Compiled, Of, classes};
use crate::csv::write_csv;
use crate::data_set::{set_target, source};
use crate::destination::{Destinations, Written};
use crate::files::{Start, state};
use crate::json::Json;
use crate::number::Number;
use crate::refused;
use crate::report::{metrics, metrics_json, pairs, table};
use brolga_runtime::samples::put;

/// What is evaluated, and on what.
#[derive(Clone, Copy, Debug)]
pub struct Evaluated<'a> {
    /// The entry point that trains; its evaluation is run.
    pub entry: &'a str,
    /// The data set, if it is not the model's own.
    pub data: Option<&'a Path>,
    /// The state.
    pub start: Start<'a>,
    /// The column of a table that is predicted.
    pub target: Option<&'a str>,
    /// Whether every sample is evaluated, those that were trained on too.
    pub all: bool,
    /// Where a table of what is predicted goes.
    pub predictions: Option<&'a Path>,
    /// Whether one JSON object is printed.
    pub json: bool,
}

/// Larger confusion matrices are not shown, but the classes that are taken for others most often.
const MOST_SHOWN: usize = 20;

/// Evaluates, prints what comes of it, and says by the exit code whether loss and weights are numbers.
///
/// # Errors
/// A model without such an evaluation; data that do not fit; places that are not to be written to; what the model gives.
pub fn evaluate<M: Compiled>(
    model: &mut M,
    threads: &Threads,
    args: &Evaluated<'_>,
    mut destinations: Destinations,
) -> Of<M, ExitCode> {
    let name = format!("{}.eval", args.entry);
    has_evaluation(model, args.entry, &name)?;
    let source = source(args.data, model, &name)?;
    destinations.reads_data(&source);
    if let Some(path) = args.predictions {
        destinations.writes("--predictions", path, Written::Table, 0)?;
    }
    model.tuned(&name)?;
    let mut state = state(model, &args.start)?;
    let inputs = fields(&model.executable(&name, None)?.manifest().inputs);
    let (mut data, about) = open(args, model, &source, &inputs, &state)?;
    let samples = data.len(Split::Validation);
    let names = match data.classes() {
        [] => classes(model, &state),
        known => known.to_vec(),
    };
    if let Some(path) = args.predictions.filter(|path| path.exists())
        && let Some(head) = head(model, &*data, &names)?
    {
        destinations.replaces("--predictions", path, &head)?;
    }
    let found = match model.evaluation(&name, samples)? {
        Some(evaluation) => runtime::evaluate(&evaluation, &mut state, threads, &mut *data)?,
        None => Vec::new(),
    };
    let predicted = predict(model, &mut state, threads, &mut *data, args.predictions.is_some())?;
    let confusion = predicted.as_ref().and_then(|predicted| predicted.confusion());
    if let Some(path) = args.predictions {
        write_predictions(path, predicted.as_ref(), &names)?;
    }
    let broken = not_finite(&found, &state);
    if let Some(broken) = &broken {
        errln!("error: {broken}");
    }
    model.notes(args.entry).iter().for_each(|note| errln!("note: {note}"));
    let report = Report {
        model: model.name(),
        source: &source,
        part: (!inputs.is_empty()).then_some(&about[..]),
        samples,
        metrics: &found,
        confusion: confusion.as_deref(),
        names: &names,
        predictions: args.predictions,
        broken: broken.as_deref(),
    };
    if args.json {
        outln!("{}", report.as_json());
    } else {
        report.print();
    }
    Ok(if broken.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Checks that a training entry has an evaluation, whose name is given.
fn has_evaluation<M: Compiled>(model: &M, entry: &str, name: &str) -> Result<()> {
    if model.has(name) {
        return Ok(());
    }
    let notes = model.notes(entry);
    let why = if notes.is_empty() { "name a training entry with --entry".into() } else { notes.join("; ") };
    Err(refused(format!("`{}` has no evaluation `{name}`: {why}", model.name())))
}

/// Writes the table of what is predicted, of classes with these names.
fn write_predictions(path: &Path, predicted: Option<&Predicted>, names: &[String]) -> Result<()> {
    let nothing = "there is nothing to predict: the model has no entry point `infer` for these data";
    write_csv(path, &predicted.ok_or_else(|| refused(nothing))?.rows(names))
}

/// What comes of an evaluation.
struct Report<'a> {
    model: &'a str,
    /// The data set that was evaluated.
    source: &'a Path,
    /// Which part of it; nothing where the entry has no inputs.
    part: Option<&'a str>,
    /// How many samples it has.
    samples: usize,
    metrics: &'a Metrics,
    confusion: Option<&'a [Vec<u64>]>,
    /// The names of the classes.
    names: &'a [String],
    predictions: Option<&'a Path>,
    /// What is no number.
    broken: Option<&'a str>,
}

impl Report<'_> {
    fn as_json(&self) -> Json {
        let samples = if self.part.is_some() { self.samples } else { 0 };
        let mut all = object! {"model": self.model, "data": self.source.display().to_string(), "samples": samples,
        "metrics": metrics_json(pairs(self.metrics))};
        if let Some(confusion) = self.confusion {
            let classes = (0..confusion.len()).map(|at| class(self.names, at)).collect::<Vec<_>>();
            all.set("classes", classes);
            all.set("confusion", confusion.to_vec());
        }
        if let Some(path) = self.predictions {
            all.set("predictions", path.display().to_string());
        }
        if let Some(broken) = self.broken {
            all.set("error", broken);
        }
        all
    }

    fn print(&self) {
        if let Some(part) = self.part {
            let (of, samples) = (self.source.shown(), counted(self.samples as u64, "sample"));
            outln!("{} on {of}: {samples}{part}", self.model);
        } else {
            outln!("{}, which has no inputs", self.model);
        }
        if !self.metrics.is_empty() {
            outln!("  {}", metrics(pairs(self.metrics)));
        }
        if let Some(confusion) = self.confusion {
            out!("\n{}", show(confusion, self.names));
        }
        if let Some(path) = self.predictions {
            outln!("\npredictions: {}", path.shown());
        }
    }
}

/// What is no number: the loss, or the weights.
fn not_finite(metrics: &Metrics, state: &State) -> Option<String> {
    let loss = metrics.iter().find(|(name, value)| name == "loss" && !value.is_finite());
    match (loss, holds_nan(state)) {
        (Some((name, value)), Some(weights)) => {
            Some(format!("`{name}` is {value}: a number in `{weights}` is NaN"))
        }
        (Some((name, value)), None) => Some(format!("`{name}` is {value}")),
        (None, Some(weights)) => Some(format!("a number in `{weights}` is NaN")),
        (None, None) => None,
    }
}

/// Opens the data, and says which part of them is meant: what was held out in training where they are those that the
/// network was trained on; else their own test part, or all.
fn open<M: Compiled>(
    args: &Evaluated<'_>,
    model: &M,
    source: &Path,
    inputs: &[Field],
    state: &State,
) -> Of<M, (Box<dyn Batches>, String)> {
    if inputs.is_empty() {
        let unused = [("--target", args.target.is_some()), ("--all", args.all)];
        if let Some((option, _)) = unused.iter().find(|(_, given)| *given) {
            let message = format!("`{}` has no inputs, and so no data for {option}", args.entry);
            return Err(refused(message).into());
        }
        return Ok((Box::new(Once), String::new()));
    }
    let known = state.record();
    let mut options = model.data_options(0).known_to(known);
    set_target(&mut options, args.target, source)?;
    if args.all {
        options.held_out = HeldOut::All;
        return Ok((data::open(source, inputs, &options)?, String::new()));
    }
    let data = data::open(source, inputs, &data::Options { held_out: HeldOut::Test, ..options.clone() })?;
    if let Some(part) = data.own_part() {
        let about =
            if part == "test" { ", the test part".to_owned() } else { format!(", the part `{part}`") };
        return Ok((data, about));
    }
    let Some(held_out) = &known.held_out else { return Ok((data, String::new())) };
    if data.checksum().as_ref() != Some(&held_out.data) {
        let count = data.len(Split::Validation);
        errln!(
            "note: these are not exactly the data that the weights were trained on, so all {count} samples are evaluated; \
             what training saw of them makes the result too good"
        );
        return Ok((data, String::new()));
    }
    drop(data);
    options.seed = held_out.seed;
    options.held_out = held_out.rule.parse()?;
    // As in training: what a split is stratified by may be an input that only training has.
    let mut fields = model.fields(args.entry)?;
    fields.retain(|field| inputs.iter().all(|input| input.name != field.name || input == field));
    let missing = inputs.iter().filter(|input| !fields.contains(input)).cloned();
    let fields: Vec<Field> = missing.collect::<Vec<_>>().into_iter().chain(fields.clone()).collect();
    Ok((
        data::open(source, &fields, &options)?,
        ", those held out in training (--all evaluates all)".to_owned(),
    ))
}

/// No data, for an entry without inputs: it is run once.
struct Once;

impl Batches for Once {
    fn fields(&self) -> &[Field] {
        &[]
    }

    fn len(&self, split: Split) -> usize {
        usize::from(split == Split::Validation)
    }

    fn fill(&mut self, _: &Request<'_>, field: usize, _: &mut TensorMut<'_>) -> Result<()> {
        let message = format!("there is no data, and so no field {field}");
        Err(runtime::Error::new(ErrorKind::Data, message))
    }
}

/// What is predicted for every sample, beside what is true.
struct Predicted {
    /// The name of the output.
    output: String,
    /// Whether it is known what is true.
    truth: bool,
    /// Whether they are classes and their scores.
    classes: bool,
    samples: Vec<Sample>,
}

struct Sample {
    name: String,
    truth: Vec<Number>,
    /// Of scores, the class.
    class: usize,
    /// All numbers of the output, if they are asked for.
    found: Vec<Number>,
    /// How many there are.
    count: usize,
}

/// Runs `infer` on the samples that are evaluated, if its inputs are there.
fn predict<M: Compiled>(
    model: &M,
    state: &mut State,
    threads: &Threads,
    data: &mut dyn Batches,
    whole_rows: bool,
) -> Of<M, Option<Predicted>> {
    if !model.has("infer") || !model.has_batch() {
        return Ok(None);
    }
    let known = data.fields().to_vec();
    let count = data.len(Split::Validation);
    // Whole batches, then single samples: bits do not depend on it.
    let executables = match model.evaluation("infer", count)? {
        Some(evaluation) => [Some(evaluation.full), evaluation.single],
        None => [Some(model.executable("infer", Some(1))?), None],
    };
    let mut predicted: Option<Predicted> = None;
    let mut at = 0;
    for executable in executables.into_iter().flatten() {
        let Some(mut inference) = Inference::new(executable, &known)? else { return Ok(None) };
        let size = inference.batch;
        let all = predicted.get_or_insert_with(|| inference.no_samples());
        let mut instance = Instance::bind(inference.executable.clone(), state, threads)?;
        while count - at >= size {
            inference.fill(data, at)?;
            instance.run_tensors(state, &inference.inputs, &mut inference.outputs)?;
            for sample in 0..size {
                let name = data.name(Split::Validation, at + sample);
                all.samples.push(inference.sample(sample, name, whole_rows)?);
            }
            at += size;
        }
    }
    Ok(predicted)
}

/// The names of the columns of what [`predict`] will find; nothing if that is nothing.
fn head<M: Compiled>(model: &M, data: &dyn Batches, classes: &[String]) -> Of<M, Option<Vec<String>>> {
    if !model.has("infer") {
        return Ok(None);
    }
    let executable = match model.evaluation("infer", data.len(Split::Validation))? {
        Some(evaluation) => evaluation.full,
        None => model.executable("infer", Some(1))?,
    };
    let Some(inference) = Inference::new(executable, data.fields())? else { return Ok(None) };
    let of_one = |tensor: &Tensor| tensor.len() / inference.batch;
    let truth = inference.truth.as_ref().map_or(1, |(_, tensor)| of_one(tensor));
    let found = of_one(&inference.outputs[0]);
    Ok(Some(inference.no_samples().head(truth, found, classes)))
}

/// `infer` for batches of one size, with its inputs and outputs.
struct Inference {
    executable: Arc<Executable>,
    /// The samples of a batch; at least one.
    batch: usize,
    inputs: Vec<Tensor>,
    /// For each of them its axis of samples.
    axes: Vec<usize>,
    /// The fields of the data that the inputs are.
    places: Vec<usize>,
    outputs: Vec<Tensor>,
    /// The axis of samples of the first one, which is what is predicted.
    axis: usize,
    /// What is true: a field of the data, and its values.
    truth: Option<(usize, Tensor)>,
    /// Whether the output gives scores of classes, and the truth is a label.
    classes: bool,
}

impl Inference {
    /// For data with those fields; nothing if an input is none of them, or the first output has no row for each sample.
    fn new(executable: Arc<Executable>, known: &[Field]) -> Result<Option<Inference>> {
        let manifest = executable.manifest();
        let place = |name: &str| known.iter().position(|field| field.name == name);
        let places = manifest.inputs.iter().map(|input| place(&input.name)).collect::<Option<Vec<_>>>();
        let axes = manifest.inputs.iter().map(|input| input.samples.axis()).collect::<Option<Vec<_>>>();
        let axis = manifest.outputs.first().and_then(|output| output.samples.axis());
        let (Some(places), Some(axes), Some(axis)) = (places, axes, axis) else { return Ok(None) };
        let Some(batch) = manifest.batch().filter(|batch| *batch > 0) else { return Ok(None) };
        let mut inputs = Vec::new();
        for input in &manifest.inputs {
            inputs.push(Tensor::zeros(input.dtype, &input.dims)?);
        }
        let mut outputs = Vec::new();
        for output in &manifest.outputs {
            outputs.push(Tensor::zeros(output.dtype, &output.dims)?);
        }
        let is_label =
            |field: &Field| field.dims.is_empty() && matches!(field.dtype, DType::I32 | DType::I64);
        // What the network is asked with is not what it is asked for.
        let label = (0..known.len()).find(|at| is_label(&known[*at]) && !places.contains(at));
        let label = label.filter(|_| scores(&outputs[0], axis));
        let truth = label.or_else(|| {
            let other = |at: &usize| !places.contains(at) && known[*at].dims.iter().product::<usize>() <= 64;
            (0..known.len()).find(other)
        });
        let truth = match truth {
            Some(at) => {
                let dims = [&[batch], &known[at].dims[..]].concat();
                Some((at, Tensor::zeros(known[at].dtype, &dims)?))
            }
            None => None,
        };
        let classes = label.is_some();
        Ok(Some(Inference { executable, batch, inputs, axes, places, outputs, axis, truth, classes }))
    }

    /// What is predicted, of no sample yet.
    fn no_samples(&self) -> Predicted {
        let output = &self.executable.manifest().outputs[0];
        Predicted {
            output: output.name.clone(),
            truth: self.truth.is_some(),
            classes: self.classes,
            samples: Vec::new(),
        }
    }

    /// Fills inputs and truth with the samples from `at` on.
    fn fill(&mut self, data: &mut dyn Batches, at: usize) -> Result<()> {
        let indices: Vec<usize> = (at..at + self.batch).collect();
        let request = Request { split: Split::Validation, indices: &indices, seed: 0, epoch: 0 };
        for ((tensor, place), axis) in self.inputs.iter_mut().zip(&self.places).zip(&self.axes) {
            if *axis == 0 {
                data.fill(&request, *place, &mut tensor.view_mut())?;
                continue;
            }
            // Data sets give the samples one behind the other.
            let dims = [&[self.batch], &data.fields()[*place].dims[..]].concat();
            let mut rows = Tensor::zeros(tensor.dtype(), &dims)?;
            data.fill(&request, *place, &mut rows.view_mut())?;
            let size = rows.bytes().len() / self.batch;
            for number in 0..self.batch {
                put(tensor, *axis, number, 1, &rows.bytes()[number * size..][..size]);
            }
        }
        if let Some((place, tensor)) = &mut self.truth {
            data.fill(&request, *place, &mut tensor.view_mut())?;
        }
        Ok(())
    }

    /// A sample of the batch that has been run.
    fn sample(&self, number: usize, name: String, whole: bool) -> Result<Sample> {
        let found = numbers(&self.outputs[0], self.axis, number)?;
        let (class, count) = (if self.classes { best(&found) } else { 0 }, found.len());
        let truth = self.truth.as_ref().map(|(_, tensor)| numbers(tensor, 0, number)).transpose()?;
        let found = if whole { found } else { Vec::new() };
        Ok(Sample { name, truth: truth.unwrap_or_default(), class, found, count })
    }
}

impl Predicted {
    /// How often each class (row) was taken for each (column); nothing where there are no classes.
    fn confusion(&self) -> Option<Vec<Vec<u64>>> {
        let count = self.samples.first().filter(|_| self.classes)?.count;
        let mut confusion = vec![vec![0; count]; count];
        for sample in &self.samples {
            let (truth, found) = (sample.truth[0].value() as usize, sample.class);
            *confusion.get_mut(truth)?.get_mut(found)? += 1;
        }
        Some(confusion)
    }

    /// The names of the columns of the table of predictions: of so many numbers that are true of a sample, and that are found.
    fn head(&self, truth: usize, found: usize, classes: &[String]) -> Vec<String> {
        let mut head = vec!["sample".to_owned()];
        if self.truth {
            head.extend((0..truth).map(|at| column("true", truth, at, None)));
        }
        let named = self.classes.then_some(classes);
        head.extend(columns(&self.output, found, named));
        head
    }

    /// The rows of the table of predictions: name, truth, and what `run` writes too.
    fn rows(&self, classes: &[String]) -> Vec<Vec<String>> {
        let first = self.samples.first();
        let (truth, found) = first.map_or((1, 1), |sample| (sample.truth.len(), sample.found.len()));
        let mut rows = vec![self.head(truth, found, classes)];
        for sample in &self.samples {
            let mut row = vec![sample.name.clone()];
            if self.classes {
                row.extend([class(classes, sample.truth[0].value() as usize), class(classes, sample.class)]);
            } else {
                row.extend(sample.truth.iter().map(Number::to_string));
            }
            row.extend(sample.found.iter().map(Number::to_string));
            rows.push(row);
        }
        rows
    }
}

/// The confusion matrix as a table, or of many classes the most frequent mistakes.
fn show(confusion: &[Vec<u64>], names: &[String]) -> String {
    let share = |part: u64, whole: u64| match whole {
        0 => "-".to_owned(),
        _ => format!("{:.4}", part as f64 / whole as f64),
    };
    if confusion.len() > MOST_SHOWN {
        let mistakes = confusion.iter().enumerate().flat_map(|(truth, row)| {
            row.iter().enumerate().map(move |(found, &count)| (count, truth, found))
        });
        let mut mistakes: Vec<_> = mistakes.filter(|&(count, a, b)| count > 0 && a != b).collect();
        mistakes.sort_by(|a, b| b.0.cmp(&a.0).then(a.cmp(b)));
        let row = |&(count, truth, found): &(u64, usize, usize)| {
            vec![class(names, truth), class(names, found), count.to_string()]
        };
        let rows: Vec<Vec<String>> = mistakes.iter().take(MOST_SHOWN).map(row).collect();
        return table(&["true", "predicted", "samples"], &rows, "llr");
    }
    let labels: Vec<String> = (0..confusion.len()).map(|at| class(names, at)).collect();
    let mut head = vec!["true \\ predicted"];
    head.extend(labels.iter().map(String::as_str));
    head.push("recall");
    let mut rows = Vec::new();
    for (at, row) in confusion.iter().enumerate() {
        let mut cells = vec![labels[at].clone()];
        cells.extend(row.iter().map(u64::to_string));
        cells.push(share(row[at], row.iter().sum()));
        rows.push(cells);
    }
    let mut precision = vec!["precision".to_owned()];
    for at in 0..confusion.len() {
        precision.push(share(confusion[at][at], confusion.iter().map(|row| row[at]).sum()));
    }
    let right: u64 = (0..confusion.len()).map(|at| confusion[at][at]).sum();
    precision.push(share(right, confusion.iter().flatten().sum()));
    rows.push(precision);
    table(&head, &rows, &("l".to_owned() + &"r".repeat(confusion.len() + 1)))
}
