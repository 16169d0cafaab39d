//! Training: from a data set to weights in a file, with checkpoints and a log.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use brolga_runtime::{
    self as runtime, Batches, CheckpointOptions, ErrorKind, Failures, Fingerprint, LoadReport, LogOptions,
    Outcome, Outline, Result, Shown, SlotKind, Split, State, Threads, checksum, counted, cut, first_of,
    fitted, holds_nan, set_tables,
};

use crate::compiled::{Compiled, Of, fit_to};
use crate::data_set::{SHOWN, record};
use crate::destination::{Destinations, Written, rescue, weight_bytes};
use crate::files::{Prefix, load, seeded, unfitted};
use crate::planned::{Asked, Set, planned, sources};
use crate::refused;
use crate::report::{count, metric, metrics, metrics_json, pairs};
use crate::signals::stopped_by;
use crate::watch::{Bar, Watch};

/// What is trained, on what, and where it goes.
#[derive(Clone, Copy, Debug)]
pub struct Training<'a> {
    /// The entry point that makes one update, if it is not the model's plan that is followed.
    pub entry: Option<&'a str>,
    /// The data set, if it is not the model's own.
    pub data: Option<&'a Path>,
    /// Times to go through the training part, if not those of the model's plan.
    pub epochs: Option<u64>,
    /// Draws the initial weights, the order of the data, and the model's random numbers; at most 2^63 - 1.
    pub seed: u64,
    /// The column of a table that is predicted.
    pub target: Option<&'a str>,
    /// Which of the model's folds is held out, from 1.
    pub fold: Option<usize>,
    /// The weights to start from.
    pub weights: Option<&'a Path>,
    /// Which of them are taken; empty for all.
    pub partial: &'a [Prefix],
    /// Where the weights go, if not to the file of the model's name.
    pub save: Option<&'a Path>,
    /// The folder of checkpoints.
    pub checkpoint: Option<&'a Path>,
    /// After how many updates there is one besides.
    pub checkpoint_every: Option<u64>,
    /// Whether it goes on from the newest checkpoint.
    pub resume: bool,
    /// The same although something is not what it was.
    pub resume_anyway: bool,
    /// Where the metrics of each epoch go.
    pub log: Option<&'a Path>,
    /// Whether those of each update do, too.
    pub log_steps: bool,
    /// Whether one JSON object is printed.
    pub json: bool,
}

/// Trains, with what is worth telling on standard error, and prints what came of it. The exit code says whether all that was
/// asked for is there, and is a number; of a run that was stopped it is that of the signal.
///
/// # Errors
/// An entry point that trains nothing; data that do not fit; places that are not to be written to; what the model and training
/// give.
pub fn train<M: Compiled>(
    model: &mut M,
    threads: &Threads,
    args: &Training<'_>,
    mut destinations: Destinations,
    bar: Option<Box<dyn Bar>>,
) -> Of<M, ExitCode> {
    let (outline, is_own) = outline(model, args);
    let sources = sources(model, &outline, args.data)?;
    let (mut state, loaded) = begun(model, args)?;
    if let Some(name) = holds_nan(&state) {
        let message = format!("nothing can be trained from weights that hold NaN, as `{name}` does");
        return Err(refused(message).into());
    }
    let named = || PathBuf::from(format!("{}.safetensors", model.name()));
    let save = args.save.map_or_else(named, Path::to_path_buf);
    destined(args, &mut destinations, &sources, &state, &save)?;
    for trainee in &outline.trainees {
        model.tuned(&trainee.entry)?;
    }
    let (seed, target, fold) = (args.seed, args.target, args.fold);
    let asked = Asked { seed, target, fold, partial: !args.partial.is_empty() };
    let (plan, mut sets) = planned(model, &outline, &sources, &asked, &state, loaded.as_ref())?;

    // The first set that has any samples to look at is what preparation is fitted to, and what weights know of.
    let main = sets.iter().position(|set| !set.data.fields().is_empty()).unwrap_or(0);
    let source = sets[main].source.clone();
    // Weights know what they were trained with; what they do not say is fitted to the data, as for new ones.
    if loaded.as_ref().is_none_or(|report| !unfitted(&state, report).is_empty()) {
        fit_to(model, &mut state, threads, &mut *sets[main].data)?;
    }
    let fresh = |name: &String| loaded.as_ref().is_none_or(|report| report.kept.contains(name));
    let tables: Vec<_> = model.tables().into_iter().filter(|(name, _)| fresh(name)).collect();
    set_tables(&mut state, &tables, &*sets[main].data)?;
    let options = options(args, model, &outline, is_own, &sets);
    announce(model, &outline, &source, &state, &*sets[main].data);
    state.set_record(record(&*sets[main].data, sets[main].read.clone()));
    let mut display = Watch::new(bar);
    let mut data: Vec<&mut dyn Batches> = sets.iter_mut().map(|set| &mut *set.data as _).collect();
    let outcome = runtime::train(&plan, &mut state, threads, &mut data, &options, &mut display);
    display.finish();
    let outcome = outcome.map_err(|e| unfinished(&state, &display, &save, e))?;
    note_idle(args, &display, &outcome);
    let mut missing = missing(&outcome.failures);
    let save = written(&state, save, &destinations, &display, &outcome, &mut missing)?;
    report(args, model.name(), &source, &outcome, &missing, &save);
    Ok(concluded(args, &outcome, &missing))
}

/// Epochs where nobody says how many.
const EPOCHS: u64 = 20;

/// What is trained: what the user asks for, or the plan of the model, if it has one; and whether it is that.
fn outline<M: Compiled>(model: &M, args: &Training<'_>) -> (Outline, bool) {
    let plan = model.plan().filter(|_| args.entry.is_none() && args.epochs.is_none());
    let one = || Outline::epochs(args.entry.unwrap_or("train"), args.epochs.unwrap_or(EPOCHS));
    let is_own = plan.is_some();
    (plan.unwrap_or_else(one), is_own)
}

/// Says what is about to be trained, and on what.
fn announce<M: Compiled>(model: &M, outline: &Outline, source: &Path, state: &State, data: &dyn Batches) {
    errln!(
        "training {} ({} parameters) on {}: {}, {} held out",
        model.name(),
        count(parameters(state)),
        source.shown(),
        counted(data.len(Split::Train) as u64, "sample"),
        data.len(Split::Validation)
    );
    preparation(state, data);
    for trainee in &outline.trainees {
        model.notes(&trainee.entry).iter().for_each(|note| errln!("  note: {note}"));
    }
}

/// Says that nothing was trained, and why, if that is so.
fn note_idle(args: &Training<'_>, display: &Watch, outcome: &Outcome) {
    if display.steps() == 0 && !outcome.stopped && outcome.epochs > 0 {
        let there = counted(outcome.epochs, "epoch");
        match args.epochs {
            Some(asked) => errln!(
                "note: {there} trained before, and --epochs asks for {asked} in all: nothing was left to train"
            ),
            None => errln!("note: {there} trained before: nothing was left to train"),
        }
    }
    if outcome.epochs == 0 && display.steps() == 0 && !outcome.stopped {
        errln!("note: nothing was trained: the weights are saved as they began");
    }
}

/// Says what went wrong, or how a run that was stopped goes on; the exit code of all.
fn concluded(args: &Training<'_>, outcome: &Outcome, missing: &[String]) -> ExitCode {
    missing.iter().for_each(|text| errln!("error: {text}"));
    if let Some(diverged) = &outcome.diverged {
        errln!("error: {diverged}");
    }
    if outcome.stopped {
        errln!("{}", stopped(args, outcome));
        return ExitCode::from(stopped_by());
    }
    let good = missing.is_empty() && outcome.diverged.is_none();
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The state that training starts from, and what was loaded of the weights that were given.
fn begun<M: Compiled>(model: &mut M, args: &Training<'_>) -> Of<M, (State, Option<LoadReport>)> {
    // The argument's range is that of an i64 from 0 on.
    let seed = args.seed.cast_signed();
    let Some(path) = args.weights else {
        return Ok(match model.take_state() {
            Some(own) => (seeded(own, seed)?, Some(LoadReport::default())),
            None => (model.fresh(seed)?, None),
        });
    };
    let mut state = model.fresh(seed)?;
    let report = load(&mut state, path, args.partial, &[])?;
    Ok((state, Some(report)))
}

/// The number of trained numbers.
fn parameters(state: &State) -> usize {
    let slots = state.slots().iter().filter(|slot| slot.kind() == SlotKind::Parameter);
    slots.map(|slot| slot.tensor().dims().iter().product::<usize>()).sum()
}

/// Checks where everything will be written, before anything is trained.
///
/// # Errors
/// Those of [`Destinations`].
fn destined(
    args: &Training<'_>,
    destinations: &mut Destinations,
    sources: &[PathBuf],
    state: &State,
    save: &Path,
) -> Result<()> {
    sources.iter().for_each(|source| destinations.reads_data(source));
    if let Some(folder) = args.checkpoint {
        destinations.checkpoints("--checkpoint", folder)?;
    }
    let idle = (args.epochs == Some(0)).then_some("--epochs 0 trains nothing");
    destinations.saves(save, state, weight_bytes(state), idle)?;
    if let Some(log) = args.log {
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
    display: &Watch,
    outcome: &Outcome,
    missing: &mut Vec<String>,
) -> Result<PathBuf> {
    let why = why_unfinished(display, outcome).filter(|_| destinations.keeps(&save, state));
    let Some(why) = why else { return save_weights(state, save, display, outcome, missing) };
    let place = rescue(state, &save, "unfinished").ok_or_else(|| {
        let message = format!("there is no place for the weights beside `{}`, which is kept", save.shown());
        runtime::Error::new(ErrorKind::Io, message)
    })?;
    errln!("note: `{}` is kept, since {why}; the weights are in `{}`", save.shown(), place.shown());
    Ok(place)
}

/// What is asked of training.
fn options<M: Compiled>(
    args: &Training<'_>,
    model: &M,
    outline: &Outline,
    is_own: bool,
    sets: &[Set],
) -> runtime::Options {
    runtime::Options {
        seed: args.seed,
        checkpoints: args.checkpoint.map(|directory| CheckpointOptions {
            every_steps: args.checkpoint_every,
            resume: args.resume || args.resume_anyway,
            anyway: args.resume_anyway,
            fingerprint: fingerprint(model, outline, is_own, sets),
            weights_named: args.weights.is_some(),
            ..CheckpointOptions::new(directory)
        }),
        log: args.log.map(|path| LogOptions { path: path.to_path_buf(), steps: args.log_steps }),
    }
}

/// Why what a run leaves behind is no reason to give up what is there; none if it came to its end.
fn why_unfinished(display: &Watch, outcome: &Outcome) -> Option<&'static str> {
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
    display: &Watch,
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
        });
    };
    missing.push(format!("{error}; the weights are in `{}` instead", place.shown()));
    Ok(place)
}

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
fn unfinished(state: &State, display: &Watch, save: &Path, error: runtime::Error) -> runtime::Error {
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

/// What a checkpoint's run is: what decides its bits, and what says why that may differ. `is_own` says that the model's plan is
/// followed: of another run the epochs may become more.
fn fingerprint<M: Compiled>(model: &M, outline: &Outline, is_own: bool, sets: &[Set]) -> Fingerprint {
    let mut all = Fingerprint::default();
    let add = |list: &mut Vec<(String, String)>, line: (String, String)| {
        if !list.contains(&line) {
            list.push(line);
        }
    };
    for trainee in &outline.trainees {
        let Fingerprint { decides, explains } = model.fingerprint(&trainee.entry);
        decides.into_iter().for_each(|line| add(&mut all.decides, line));
        explains.into_iter().for_each(|line| add(&mut all.explains, line));
    }
    if is_own {
        add(&mut all.decides, ("plan".to_owned(), checksum(outline.to_string().as_bytes())));
    }
    for set in sets {
        add(&mut all.decides, ("held out".to_owned(), set.read.held_out.to_string()));
        add(&mut all.explains, ("data set".to_owned(), set.source.display().to_string()));
    }
    all
}

/// Prints what came of it.
fn report(
    args: &Training<'_>,
    model: &str,
    source: &Path,
    outcome: &Outcome,
    missing: &[String],
    save: &Path,
) {
    if args.json {
        let mut all = object! {"model": model, "epochs": outcome.epochs,
        "train": metrics_json(pairs(&outcome.train)),
        "validation": metrics_json(pairs(&outcome.validation)),
        "seconds": outcome.seconds, "weights": save.display().to_string()};
        if outcome.stopped {
            all.set("stopped", object! {"updates": outcome.steps});
        }
        if !missing.is_empty() {
            all.set("missing", missing);
        }
        if let Some(diverged) = &outcome.diverged {
            let since = diverged.since.map(|(epoch, update)| object! {"epoch": epoch, "update": update});
            let about = object! {"what": diverged.what.clone(), "value": diverged.value.to_string(),
            "since": since, "in_data": diverged.in_data.clone(), "error": diverged.to_string()};
            all.set("diverged", about);
        }
        outln!("{all}");
        return;
    }
    outln!(
        "{} on {}: {}, {}, {:.1} s",
        model,
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

/// What is said of a run that was stopped.
fn stopped(args: &Training<'_>, outcome: &Outcome) -> String {
    match args.checkpoint {
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
