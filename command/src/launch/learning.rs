//! What an executable does whose model trains.

use std::path::Path;
use std::process::ExitCode;

use brolga_runtime::{Result, Threads};

use super::{COMMON, FORCE, Subcommand, WEIGHTS, beside, destinations, training};
use crate::compiled::Compiled;
use crate::container::Ready;
use crate::evaluate::{Evaluated, evaluate};
use crate::files::Start;
use crate::options::{Given, Known, flag, valued};
use crate::refused;
use crate::train::{Training, train};

const TRAIN: [Known; 13] = [
    valued("--data", "D", "Data set to train on [default: the one that the model names]"),
    valued("--entry", "E", "The entry point that makes one update"),
    valued("--epochs", "N", "Times to go through the training part [default: the model's plan, or else 20]"),
    valued(
        "--seed",
        "S",
        "Draws weights, the order of the data, and the model's random numbers [default: 0]",
    ),
    valued("--target", "COLUMN", "The column of a table that is to be predicted"),
    valued("--fold", "N", "Which of the model's folds is held out, from 1 [default: 1]"),
    valued("--save", "FILE", "Where the trained weights go [default: MODEL.safetensors]"),
    valued("--checkpoint", "DIR", "Writes a checkpoint after each epoch, and when it is stopped"),
    valued("--checkpoint-every", "STEPS", "Writes a checkpoint also after every so many updates"),
    flag("--resume", "Goes on from the newest checkpoint, to the same bits as without the interruption"),
    flag("--resume-anyway", "The same although the model, an option or the data is not what it was"),
    valued("--log", "FILE", "Writes the metrics of each epoch to a CSV file"),
    flag("--log-steps", "Logs each update too"),
];

const EVALUATE: [Known; 5] = [
    valued("--data", "D", "Data set to evaluate on [default: the one that the model names]"),
    valued("--entry", "E", "The entry point that trains"),
    valued("--target", "COLUMN", "The column of a table that is to be predicted"),
    flag("--all", "Evaluates every sample, those that were trained on too"),
    valued("--predictions", "FILE.csv", "Writes what is predicted for each sample"),
];

/// What training and evaluation read.
const DATA_SETS: &str = "\nData sets: a folder of IDX files (MNIST and its like), of CIFAR-10's binary files, or of \
                         pictures by class; .npz or .safetensors with one array per input; .csv with a header.\n";

/// Training and evaluation, for [`launch`](super::launch).
pub static LEARNING: [Subcommand; 2] = [
    Subcommand {
        name: "train",
        options: &[&TRAIN, &WEIGHTS, &FORCE, &COMMON],
        about: DATA_SETS,
        run: trained,
    },
    Subcommand {
        name: "evaluate",
        options: &[&EVALUATE, &WEIGHTS, &FORCE, &COMMON],
        about: DATA_SETS,
        run: evaluated,
    },
];

fn trained(model: &mut Ready, threads: &Threads, given: &Given, _: &Path) -> Result<ExitCode> {
    let plan = model.plan().filter(|_| !given.has("--entry") && !given.has("--epochs"));
    let entry = plan.is_none().then(|| training(model, given)).transpose()?;
    let whole = "a whole number";
    let seed = given.number("--seed", "a whole number from 0 to 2^63 - 1")?.unwrap_or(0u64);
    if i64::try_from(seed).is_err() {
        return Err(refused("--seed takes a whole number from 0 to 2^63 - 1"));
    }
    for (option, of) in [
        ("--checkpoint-every", "--checkpoint"),
        ("--resume", "--checkpoint"),
        ("--resume-anyway", "--checkpoint"),
    ]
    .into_iter()
    .chain([("--log-steps", "--log")])
    {
        if given.has(option) && !given.has(of) {
            return Err(refused(format!("{option} is for {of}, which is missing")));
        }
    }
    let wanted = Training {
        entry: entry.as_deref(),
        data: given.path("--data"),
        epochs: given.number("--epochs", whole)?,
        seed,
        target: given.text("--target")?,
        fold: given.number("--fold", whole)?,
        weights: given.path("--weights"),
        partial: &[],
        save: given.path("--save"),
        checkpoint: given.path("--checkpoint"),
        checkpoint_every: given.number("--checkpoint-every", whole)?,
        resume: given.has("--resume"),
        resume_anyway: given.has("--resume-anyway"),
        log: given.path("--log"),
        log_steps: given.has("--log-steps"),
        json: given.has("--json"),
    };
    train(model, threads, &wanted, destinations(given), None)
}

fn evaluated(model: &mut Ready, threads: &Threads, given: &Given, program: &Path) -> Result<ExitCode> {
    let entry = training(model, given)?;
    let beside = beside(model, given, program);
    let weights = given.path("--weights").or(beside.as_deref());
    if weights.is_none() && !model.loaded().contents.has_weights() {
        return Err(refused("give the weights that are evaluated with --weights"));
    }
    let wanted = Evaluated {
        entry: &entry,
        data: given.path("--data"),
        start: Start { weights, ..Start::default() },
        target: given.text("--target")?,
        all: given.has("--all"),
        predictions: given.path("--predictions"),
        json: given.has("--json"),
    };
    evaluate(model, threads, &wanted, destinations(given))
}
