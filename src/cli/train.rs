//! `brolga train`

mod progress;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use brolga::ir::ops::Role;
use brolga::models::data;
use brolga::runtime::{
    self, Batches, CheckpointOptions, Evaluation, Executable, Field, LogOptions, Manifest, Outcome, Programs,
    Split,
};
use brolga::{Error, Model, Result};
use serde_json::json;

use super::args::TrainArgs;
use super::files::load;
use super::report::{metrics, metrics_json};
use super::tune::tune;
use progress::Display;

pub fn run(args: &TrainArgs) -> Result<ExitCode> {
    let mut settings = args.model.settings();
    if let Some(batch) = args.batch {
        settings = settings.dim("batch", batch);
    }
    let threads = args.machine.threads()?;
    let options = args.machine.options(&threads)?;
    let mut model = Model::load(&args.model.model, &settings)?.with_options(options);
    let mut train = model.compile(&args.entry.name)?;
    updating(&model, train.manifest())?;
    if model.instance().dims().contains(&("batch".to_owned(), 0)) {
        return Err(Error::Name("a batch must hold at least one sample".into()));
    }
    let source = source(args, &model)?;
    if tune(&mut model, &args.machine, &threads, &args.entry.name, &[])?.is_some() {
        train = model.compile(&args.entry.name)?;
    }
    let mut data = open(&source, args, train.manifest())?;
    let evaluation = evaluation(&model, &args.entry.name, &*data)?;
    let programs = Programs { train, evaluation };

    // The argument's range is that of an i64 from 0 on.
    let mut state = model.initial_state(args.seed.cast_signed())?;
    if let Some(path) = &args.weights {
        load(&mut state, path, args.partial)?;
    }
    let save = args.save.clone().unwrap_or_else(|| PathBuf::from(format!("{}.safetensors", model.name())));
    check_folder(&save)?;
    let options = runtime::Options {
        epochs: args.epochs,
        seed: args.seed,
        checkpoints: args.checkpoint.as_ref().map(|directory| CheckpointOptions {
            every_steps: args.checkpoint_every,
            resume: args.resume,
            ..CheckpointOptions::new(directory)
        }),
        log: args.log.as_ref().map(|path| LogOptions { path: path.clone(), steps: args.log_steps }),
    };
    eprintln!(
        "training {} ({} parameters) on {}: {} samples, {} held out",
        model.name(),
        super::report::count(model.instance().parameter_count()),
        source.display(),
        data.len(Split::Train),
        data.len(Split::Validation)
    );
    let mut display = Display::new();
    let outcome = runtime::train(&programs, &mut state, &threads, &mut *data, &options, &mut display);
    display.finish();
    let outcome = outcome?;
    state.save_weights(&save)?;
    report(args, &model, &source, &outcome, &save);
    if outcome.stopped {
        eprintln!("{}", stopped(args));
        return Ok(ExitCode::from(130)); // as shells report an end by SIGINT
    }
    Ok(ExitCode::SUCCESS)
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

/// The data set asked for, or the model's own.
fn source(args: &TrainArgs, model: &Model) -> Result<PathBuf> {
    if let Some(data) = &args.data {
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

/// Opens the data set for the inputs of an entry point.
fn open(source: &Path, args: &TrainArgs, manifest: &Manifest) -> Result<Box<dyn Batches>> {
    let fields = manifest.inputs.iter().map(|input| Field {
        name: input.name.clone(),
        dtype: input.dtype,
        dims: input.dims.get(1..).unwrap_or(&[]).to_vec(),
    });
    let options = data::Options { seed: args.seed, ..data::Options::default() };
    Ok(data::open(source, &fields.collect::<Vec<_>>(), &options)?)
}

/// The evaluation of a training entry, for whole batches and for the samples that remain.
fn evaluation(model: &Model, entry: &str, data: &dyn Batches) -> Result<Option<Evaluation>> {
    let name = format!("{entry}.eval");
    let samples = data.len(Split::Validation);
    if samples == 0 || model.instance().graph(&name).is_none() {
        return Ok(None);
    }
    let compile = |size: usize| -> Result<Arc<Executable>> { model.compile_for(&name, &[("batch", size)]) };
    let batch = model.instance().dims().iter().find(|(name, _)| name == "batch").map(|(_, size)| *size);
    let Some(batch) = batch else {
        return Ok(Some(Evaluation { full: model.compile(&name)?, rest: None }));
    };
    let full = batch.min(samples);
    let rest = samples % full;
    Ok(Some(Evaluation { full: compile(full)?, rest: (rest > 0).then(|| compile(rest)).transpose()? }))
}

/// Found out before training rather than after.
fn check_folder(file: &Path) -> Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    match folder {
        Some(folder) if !folder.is_dir() => {
            Err(Error::Io(format!("the weights cannot go to `{}`: there is no such folder", file.display())))
        }
        _ => Ok(()),
    }
}

fn report(args: &TrainArgs, model: &Model, source: &Path, outcome: &Outcome, save: &Path) {
    if args.json {
        let all = json!({"model": model.name(), "epochs": outcome.epochs,
            "train": metrics_json(pairs(&outcome.train)),
            "validation": metrics_json(pairs(&outcome.validation)),
            "seconds": outcome.seconds, "weights": save.display().to_string()});
        outln!("{all}");
        return;
    }
    outln!(
        "{} on {}: {} epochs, {} updates, {:.1} s",
        model.name(),
        source.display(),
        outcome.epochs,
        outcome.steps,
        outcome.seconds
    );
    for (what, list) in [("train", &outcome.train), ("validation", &outcome.validation)] {
        if !list.is_empty() {
            outln!("  {what:<11} {}", metrics(pairs(list)));
        }
    }
    outln!("  weights     {}", save.display());
}

fn pairs(metrics: &[(String, f64)]) -> impl Iterator<Item = (&str, f64)> {
    metrics.iter().map(|(name, value)| (name.as_str(), *value))
}

fn stopped(args: &TrainArgs) -> String {
    match &args.checkpoint {
        Some(folder) => format!("stopped; --checkpoint {} --resume goes on from here", folder.display()),
        None => "stopped; with --checkpoint DIR it could go on from here".to_owned(),
    }
}
