//! `brolga train`

mod progress;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use brolga::ir::ops::Role;
use brolga::models::data::{self, HeldOut};
use brolga::runtime::{
    self, Batches, CheckpointOptions, DataRecord, Failures, Fingerprint, HeldOutRecord, Input, LoadReport,
    LogOptions, Manifest, NoData, Outcome, Programs, Shown, Split, checksum, counted, cut, first_of,
    holds_nan,
};
use brolga::{Error, Model, Result, State, fitted};
use clap::Args;
use serde_json::json;

use super::answers::fields;
use super::args::{MachineArgs, ModelArgs, OverwriteArgs, PartialArgs, TrainingEntry, whole};
use super::destination::{Destinations, Written, rescue, weight_bytes};
use super::files::{load, unfitted};
use super::report::{metric, metrics, metrics_json};
use super::tune::tune;
use progress::Display;

#[derive(Args)]
#[command(after_help = "\
Data sets: `digits` (1,797 embedded images of 8x8), a folder of IDX files (MNIST and its like, .gz or plain), a folder
with CIFAR-10's binary files, a folder of PNG or JPEG pictures by class, a .npz or .safetensors file with one array per
input, a .csv file with a header: columns by the names of inputs, the target, and the rest as the input.

Examples:
  brolga train lenet5
  brolga train lenet5 --data mnist/ --epochs 10 --save mnist.safetensors
  brolga train resnet20 --data cifar-10-batches-bin/ --checkpoint run1/          (Ctrl-C writes a checkpoint)
  brolga train resnet20 --data cifar-10-batches-bin/ --checkpoint run1/ --resume")]
pub struct TrainArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Data set to train on [default: the one that the model names]
    #[arg(long, value_name = "D")]
    pub data: Option<PathBuf>,
    #[command(flatten)]
    pub entry: TrainingEntry,
    /// Times to go through the training part
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = whole::<u64>, allow_negative_numbers = true)]
    pub epochs: u64,
    /// Samples of one update; the same as --dim batch=N. What an epoch leaves after whole batches waits for another epoch
    #[arg(long, value_name = "N", value_parser = whole::<usize>, allow_negative_numbers = true)]
    pub batch: Option<usize>,
    /// Draws the initial weights, the order of the data, and the model's random numbers
    #[arg(long, value_name = "S", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub seed: u64,
    /// The column of a table that is to be predicted
    #[arg(long, value_name = "COLUMN")]
    pub target: Option<String>,
    /// Which of the model's folds is held out, from 1 [default: 1]
    #[arg(long, value_name = "N", value_parser = whole::<usize>, allow_negative_numbers = true)]
    pub fold: Option<usize>,
    /// Starts from these weights, or this training state
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    #[command(flatten)]
    pub names: PartialArgs,
    /// Where the trained weights go, as safetensors [default: MODEL.safetensors in the current folder]
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Writes a checkpoint into this folder after each epoch, and on Ctrl-C, SIGTERM or SIGHUP (exit codes 130, 143 and 129)
    #[arg(long, value_name = "DIR")]
    pub checkpoint: Option<PathBuf>,
    /// Writes a checkpoint also after every so many updates
    #[arg(long, value_name = "STEPS", requires = "checkpoint", value_parser = whole::<u64>, allow_negative_numbers = true)]
    pub checkpoint_every: Option<u64>,
    /// Goes on from the newest checkpoint, to the same bits as without the interruption
    #[arg(long, requires = "checkpoint")]
    pub resume: bool,
    /// The same although the model, an option or the data is not what it was: takes what fits, and says what differs
    #[arg(long, requires = "checkpoint")]
    pub resume_anyway: bool,
    /// Writes the metrics of each epoch to a CSV file
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Logs each update too
    #[arg(long, requires = "log")]
    pub log_steps: bool,
    /// Prints the results as one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub overwrite: OverwriteArgs,
    #[command(flatten)]
    pub machine: MachineArgs,
}

pub fn run(args: &TrainArgs, mut destinations: Destinations) -> Result<ExitCode> {
    let threads = args.machine.threads()?;
    let mut model = args.model.load_batched(args.batch, args.machine.options(&threads)?)?;
    let mut train = model.compile(&args.entry.name)?;
    updating(&model, train.manifest())?;
    if model.instance().dims().contains(&("batch".to_owned(), 0)) {
        return Err(Error::Name("a batch must hold at least one sample".into()));
    }
    let source = source(args.data.as_ref(), &model, &args.entry.name)?;
    // The argument's range is that of an i64 from 0 on.
    let mut state = model.initial_state(args.seed.cast_signed())?;
    let loaded =
        args.weights.as_ref().map(|path| load(&mut state, path, &args.names.partial, &[])).transpose()?;
    if let Some(name) = holds_nan(&state) {
        let message = format!("nothing can be trained from weights that hold NaN, as `{name}` does");
        return Err(Error::Name(message));
    }
    let save = args.save.clone().unwrap_or_else(|| PathBuf::from(format!("{}.safetensors", model.name())));
    destined(args, &mut destinations, &model, &source, &state, &save)?;
    if tune(&mut model, &args.machine, &threads, &args.entry.name, &[])?.is_some() {
        train = model.compile(&args.entry.name)?;
    }
    let read = read(args, &model, &source, train.manifest(), &state, loaded.as_ref())?;
    let mut data = open(&source, train.manifest(), &read)?;
    check_classes(train.manifest(), &*data)?;
    let formulas = model.formulas(&args.entry.name, &[])?;
    let evaluation = match model.instance().graph(&format!("{}.eval", args.entry.name)) {
        Some(eval) => model.evaluation(&eval.name, data.len(Split::Validation))?,
        None => None,
    };
    let programs = Programs { train, formulas, evaluation };

    // Weights know what they were trained with; what they do not say is fitted to the data, as for new ones.
    if loaded.is_none_or(|report| !unfitted(&state, &report).is_empty()) {
        model.fit(&mut state, &threads, &mut *data)?;
    }
    let options = options(args, &model, &programs, &source, &read);
    errln!(
        "training {} ({} parameters) on {}: {}, {} held out",
        model.name(),
        super::report::count(model.instance().parameter_count()),
        source.shown(),
        counted(data.len(Split::Train) as u64, "sample"),
        data.len(Split::Validation)
    );
    preparation(&state, &*data);
    model.instance().notes(&args.entry.name).for_each(|note| errln!("  note: {note}"));
    state.set_record(record(&*data, read));
    let mut display = Display::new();
    let outcome = runtime::train(&programs, &mut state, &threads, &mut *data, &options, &mut display);
    display.finish();
    let outcome = outcome.map_err(|e| unfinished(&state, &display, &save, e))?;
    if display.steps() == 0 && !outcome.stopped && outcome.epochs > 0 {
        let (there, asked) = (counted(outcome.epochs, "epoch"), args.epochs);
        errln!(
            "note: {there} trained before, and --epochs asks for {asked} in all: nothing was left to train"
        );
    }
    if outcome.epochs == 0 && display.steps() == 0 && !outcome.stopped {
        errln!("note: nothing was trained: the weights are saved as they began");
    }
    let mut missing = missing(&outcome.failures);
    let save = written(&state, save, &destinations, &display, &outcome, &mut missing)?;
    report(args, &model, &source, &outcome, &missing, &save);
    missing.iter().for_each(|text| errln!("error: {text}"));
    if let Some(diverged) = &outcome.diverged {
        errln!("error: {diverged}");
    }
    if outcome.stopped {
        errln!("{}", stopped(args, &outcome));
        return Ok(ExitCode::from(progress::stopped_by()));
    }
    let good = missing.is_empty() && outcome.diverged.is_none();
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Checks where everything will be written, before anything is trained.
///
/// # Errors
/// Those of [`Destinations`].
fn destined(
    args: &TrainArgs,
    destinations: &mut Destinations,
    model: &Model,
    source: &Path,
    state: &State,
    save: &Path,
) -> Result<()> {
    destinations.reads_model(model);
    destinations.reads_data(source);
    if let Some(folder) = &args.checkpoint {
        destinations.checkpoints("--checkpoint", folder)?;
    }
    let idle = (args.epochs == 0).then_some("--epochs 0 trains nothing");
    destinations.saves(save, state, weight_bytes(state), idle)?;
    if let Some(log) = &args.log {
        destinations.writes("--log", log, Written::Log, 0)?;
    }
    Ok(())
}

/// Saves the weights, those of less than a whole run beside the ones that are kept; where they are.
///
/// # Errors
/// There is no place for them.
fn written(
    state: &State,
    save: PathBuf,
    destinations: &Destinations,
    display: &Display,
    outcome: &Outcome,
    missing: &mut Vec<String>,
) -> Result<PathBuf> {
    let why = why_unfinished(display, outcome).filter(|_| destinations.keeps(&save, state));
    let Some(why) = why else { return save_weights(state, save, display, outcome, missing) };
    let place = rescue(state, &save, "unfinished").ok_or_else(|| {
        Error::Io(format!("there is no place for the weights beside `{}`, which is kept", save.shown()))
    })?;
    errln!("note: `{}` is kept, since {why}; the weights are in `{}`", save.shown(), place.shown());
    Ok(place)
}

/// What is asked of training.
fn options(
    args: &TrainArgs,
    model: &Model,
    programs: &Programs,
    source: &Path,
    read: &data::Options,
) -> runtime::Options {
    runtime::Options {
        epochs: args.epochs,
        seed: args.seed,
        checkpoints: args.checkpoint.as_ref().map(|directory| CheckpointOptions {
            every_steps: args.checkpoint_every,
            resume: args.resume || args.resume_anyway,
            anyway: args.resume_anyway,
            fingerprint: fingerprint(args, model, programs, source, read),
            ..CheckpointOptions::new(directory)
        }),
        log: args.log.as_ref().map(|path| LogOptions { path: path.clone(), steps: args.log_steps }),
    }
}

/// Why what a run leaves behind is no reason to give up what is there; none if it came to its end.
fn why_unfinished(display: &Display, outcome: &Outcome) -> Option<&'static str> {
    if outcome.diverged.is_some() {
        Some("the run diverged")
    } else if outcome.stopped {
        Some("the run was stopped")
    } else {
        (display.steps() == 0).then_some("nothing was trained")
    }
}

/// Saves the weights, somewhere else if need be, which `missing` tells then; where they are.
fn save_weights(
    state: &State,
    save: PathBuf,
    display: &Display,
    outcome: &Outcome,
    missing: &mut Vec<String>,
) -> Result<PathBuf> {
    let Err(error) = state.save_weights(&save) else { return Ok(save) };
    let Some(place) = rescue(state, &save, "rescued") else {
        return Err(match display.newest() {
            Some(path) if outcome.failures.checkpoint.is_none() => {
                error.and(format!("what was trained is in the checkpoint `{}`", path.shown()))
            }
            _ => error,
        }
        .into());
    };
    missing.push(format!("{error}; the weights are in `{}` instead", place.shown()));
    Ok(place)
}

/// Names and numbers that are shown of a list.
const SHOWN: usize = 8;

/// What the data are prepared with.
fn preparation(state: &State, data: &dyn Batches) {
    let vocabularies = data.vocabularies().iter().map(|(input, texts)| (input.as_str(), &texts[..]));
    for (what, names) in
        [("classes", data.classes()), ("columns", data.columns())].into_iter().chain(vocabularies)
    {
        if !names.is_empty() {
            errln!("  {what} {}", first_of(names, SHOWN, cut));
        }
    }
    for (name, values) in fitted(state) {
        let more =
            if values.len() > SHOWN { format!(" … ({} in all)", values.len()) } else { String::new() };
        let values: Vec<String> = values.iter().take(SHOWN).map(|value| metric(*value)).collect();
        errln!("  {name} {}{more}", values.join(" "));
    }
}

/// The error of a run that ended before its time, and where what it had trained until then is.
fn unfinished(state: &State, display: &Display, save: &Path, error: runtime::Error) -> runtime::Error {
    let place = if display.steps() > 0 { rescue(state, save, "unfinished") } else { None };
    match place {
        Some(place) => {
            let updates = counted(display.steps(), "update");
            error.and(format!("the weights after {updates} are in `{}`", place.shown()))
        }
        None => error,
    }
}

/// What was asked for and is not there, though training went on to its end.
fn missing(failures: &Failures) -> Vec<String> {
    let checkpoint = failures.checkpoint.as_ref().map(|why| format!("the last checkpoint is missing: {why}"));
    let log = failures.log.as_ref().map(|why| format!("the log is not whole: {why}"));
    checkpoint.into_iter().chain(log).collect()
}

/// What a checkpoint's run is: what decides its bits, and what says why that may differ.
fn fingerprint(
    args: &TrainArgs,
    model: &Model,
    programs: &Programs,
    source: &Path,
    read: &data::Options,
) -> Fingerprint {
    let entries = [Some(&programs.train), programs.evaluation.as_ref().map(|e| &e.full)];
    let graphs = entries.into_iter().flatten().filter_map(|executable| {
        let name = &executable.manifest().entry;
        let text = model.instance().graph(name)?.to_string();
        Some((format!("checksum of the graph `{name}`"), checksum(text.as_bytes())))
    });
    let passes = &model.options().passes;
    let chosen = [
        ("held out", read.held_out.to_string()),
        ("algorithms", passes.algorithms.to_string()),
        ("precision", passes.precision.to_string()),
    ];
    let named = |(name, value): (&str, String)| (name.to_owned(), value);
    let shown = [
        ("brolga", env!("CARGO_PKG_VERSION").to_owned()),
        ("model", args.model.model.clone()),
        ("data set", source.display().to_string()),
        ("model file", model.parsed().source().text.to_string()),
    ];
    let set = args.model.set.iter().map(|(name, value)| (format!("--set {name}"), value.clone()));
    let dims = model.instance().dims().iter().map(|(name, size)| (format!("size {name}"), size.to_string()));
    Fingerprint {
        decides: graphs.chain(chosen.into_iter().map(named)).collect(),
        explains: set.chain(dims).chain(shown.into_iter().map(named)).collect(),
    }
}

/// An error for an entry point that trains nothing, naming those that do.
pub fn updating(model: &Model, manifest: &Manifest) -> Result<()> {
    if manifest.updates_state() {
        return Ok(());
    }
    let trains = |name: &&str| {
        let graph = model.instance().graph(name);
        *name != "init" && graph.is_some_and(|g| g.outputs().iter().any(|output| output.role == Role::State))
    };
    let others: Vec<&str> = model.instance().entries().into_iter().filter(trains).collect();
    let hint = if others.is_empty() { "none".to_owned() } else { others.join(", ") };
    Err(Error::Name(format!("`{}` updates nothing; entry points that do: {hint}", manifest.entry)))
}

/// The data set asked for, or the model's own; none for an entry without inputs.
pub fn source(data: Option<&PathBuf>, model: &Model, entry: &str) -> Result<PathBuf> {
    let graph = model.built(entry)?;
    let mut inputs = graph.parameters().iter().filter_map(|&id| graph.parameter(id));
    if inputs.all(|input| input.role != Role::Data) {
        return match data {
            None => Ok(PathBuf::from("no data")),
            Some(_) => Err(Error::Name(format!("`{entry}` has no inputs that --data could feed"))),
        };
    }
    if let Some(data) = data {
        return Ok(data.clone());
    }
    match model.instance().data() {
        Some(name) if name == data::DIGITS || Path::new(name).exists() => Ok(PathBuf::from(name)),
        Some(name) => Err(Error::Name(format!(
            "`{}` trains on the data set `{name}`, which does not come along: give the folder that holds it with \
             --data (`brolga train --help` says what can be read)",
            model.name()
        ))),
        None => Err(Error::Name(format!("`{}` names no data set: give one with --data", model.name()))),
    }
}

/// How the data set is read: as the options say, as the weights that are trained on know it, as the model says, in this order.
/// Of weights of which a part is taken, only the columns count, if what was fitted to them is taken.
fn read(
    args: &TrainArgs,
    model: &Model,
    source: &Path,
    manifest: &Manifest,
    state: &State,
    loaded: Option<&LoadReport>,
) -> Result<data::Options> {
    let unused = [("--target", args.target.is_some()), ("--fold", args.fold.is_some())];
    if let (true, Some((option, _))) = (manifest.inputs.is_empty(), unused.iter().find(|(_, given)| *given)) {
        return Err(Error::Name(format!("`{}` has no inputs, and so no data for {option}", manifest.entry)));
    }
    let fitted = |report: &LoadReport| {
        let names: Vec<&str> = fitted(state).into_iter().map(|(name, _)| name).collect();
        report.used.iter().any(|used| names.contains(&used.as_str()))
    };
    let known = match loaded {
        None => DataRecord::default(),
        Some(_) if args.names.partial.is_empty() => state.record().clone(),
        Some(report) if fitted(report) => {
            DataRecord { columns: state.record().columns.clone(), ..DataRecord::default() }
        }
        Some(_) => DataRecord::default(),
    };
    let mut options = model.data_options(args.seed).known_to(&known);
    set_target(&mut options, args.target.as_ref(), source)?;
    if let Some(fold) = args.fold {
        let HeldOut::Fold { number, of, .. } = &mut options.held_out else {
            let message = format!("`{}` does not say that its data are split into folds", model.name());
            return Err(Error::Name(format!("{message}: write `data: Data(split: Folds(5))`")));
        };
        if fold == 0 || fold > *of {
            return Err(Error::Name(format!("there are folds 1 to {of}, not {fold}")));
        }
        *number = fold - 1;
    }
    Ok(options)
}

/// Takes the column that `--target` names; only a table has any.
pub fn set_target(options: &mut data::Options, target: Option<&String>, source: &Path) -> Result<()> {
    let Some(target) = target else { return Ok(()) };
    if !data::is_table(source) {
        let message = format!("--target names a column of a table, and `{}` is none", source.shown());
        return Err(Error::Name(message));
    }
    options.target = Some(target.clone());
    Ok(())
}

/// Compares the classes of the data with those that the model tells apart: more are an error, fewer are told.
fn check_classes(manifest: &Manifest, data: &dyn Batches) -> Result<()> {
    let has_vocabulary = |name: &str| data.vocabularies().iter().any(|(input, _)| input == name);
    let is_label = |input: &&Input| input.dims.len() == 1 && !has_vocabulary(&input.name);
    let mut labels = manifest.inputs.iter().filter(is_label);
    let Some((name, range)) = labels.find_map(|input| Some((&input.name, input.range?))) else {
        return Ok(());
    };
    let (count, most) = (data.classes().len() as i64, range.high.saturating_add(1));
    let classes = if count == 1 { "1 class".to_owned() } else { format!("{count} classes") };
    if count > most {
        return Err(Error::Name(format!(
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

/// Opens the data set for the inputs of an entry point.
fn open(source: &Path, manifest: &Manifest, read: &data::Options) -> Result<Box<dyn Batches>> {
    if manifest.inputs.is_empty() {
        return Ok(Box::new(NoData));
    }
    Ok(data::open(source, &fields(&manifest.inputs), read)?)
}

/// What answers and evaluations need to know of the data.
fn record(data: &dyn Batches, read: data::Options) -> DataRecord {
    let held_out =
        data.checksum().map(|data| HeldOutRecord { data, seed: read.seed, rule: read.held_out.to_string() });
    DataRecord { held_out, target: read.target, ..DataRecord::of(data) }
}

fn report(
    args: &TrainArgs,
    model: &Model,
    source: &Path,
    outcome: &Outcome,
    missing: &[String],
    save: &Path,
) {
    if args.json {
        let mut all = json!({"model": model.name(), "epochs": outcome.epochs,
            "train": metrics_json(pairs(&outcome.train)),
            "validation": metrics_json(pairs(&outcome.validation)),
            "seconds": outcome.seconds, "weights": save.display().to_string()});
        if outcome.stopped {
            all["stopped"] = json!({"updates": outcome.steps});
        }
        if !missing.is_empty() {
            all["missing"] = json!(missing);
        }
        if let Some(diverged) = &outcome.diverged {
            let since = diverged.since.map(|(epoch, update)| json!({"epoch": epoch, "update": update}));
            all["diverged"] = json!({"what": diverged.what, "value": diverged.value.to_string(), "since": since,
                "in_data": diverged.in_data, "error": diverged.to_string()});
        }
        outln!("{all}");
        return;
    }
    outln!(
        "{} on {}: {}, {}, {:.1} s",
        model.name(),
        source.shown(),
        counted(outcome.epochs, "epoch"),
        counted(outcome.steps, "update"),
        outcome.seconds
    );
    for (what, list) in [("train", &outcome.train), ("validation", &outcome.validation)] {
        if !list.is_empty() {
            outln!("  {what:<11} {}", metrics(pairs(list)));
        }
    }
    let (updates, epochs) = (counted(outcome.steps, "update"), outcome.epochs);
    let about = match epochs {
        _ if !outcome.stopped => String::new(),
        0 => format!(" after {updates}, before the end of the first epoch"),
        _ => format!(" after {updates}; the metrics are those of epoch {epochs}"),
    };
    outln!("  weights     {}{about}", save.shown());
}

pub fn pairs(metrics: &[(String, f64)]) -> impl Iterator<Item = (&str, f64)> {
    metrics.iter().map(|(name, value)| (name.as_str(), *value))
}

fn stopped(args: &TrainArgs, outcome: &Outcome) -> String {
    match &args.checkpoint {
        Some(folder) if outcome.failures.checkpoint.is_none() => {
            format!("stopped; --checkpoint {} --resume goes on from here", folder.shown())
        }
        Some(folder) => format!(
            "stopped; --checkpoint {} --resume goes on from the last checkpoint that could be written",
            folder.shown()
        ),
        None => "stopped; with --checkpoint DIR it could go on from here".to_owned(),
    }
}
