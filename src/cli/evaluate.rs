//! `brolga evaluate`

use std::path::PathBuf;
use std::process::ExitCode;

use brolga::{Error, Result};
use brolga_command::{Evaluated, evaluate};
use clap::Args;

use super::args::{MachineArgs, ModelArgs, OverwriteArgs, StartArgs, TrainingEntry, whole};
use super::destination::Destinations;
use super::jit::Jit;

#[derive(Args)]
#[command(after_help = "\
Of data that the weights were trained on, what was held out then is evaluated; of others their test part, or all. The
confusion matrix has a row for each true class and a column for each predicted one. Where the loss is no number, or NaN is in
the weights, it says so and ends with exit code 1.

Examples:
  brolga evaluate lenet5 --weights lenet5.safetensors
  brolga evaluate lenet5 --weights lenet5.safetensors --data mnist/ --predictions mnist.csv
  brolga evaluate house.ron --weights house.safetensors --data houses.csv --target price --json")]
pub struct EvaluateArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Data set to evaluate on [default: the one that the model names]
    #[arg(long, value_name = "D")]
    pub data: Option<PathBuf>,
    #[command(flatten)]
    pub entry: TrainingEntry,
    #[command(flatten)]
    pub start: StartArgs,
    /// Samples of one call; results do not depend on it
    #[arg(long, value_name = "N", value_parser = whole::<usize>, allow_negative_numbers = true)]
    pub batch: Option<usize>,
    /// The column of a table that is to be predicted
    #[arg(long, value_name = "COLUMN")]
    pub target: Option<String>,
    /// Evaluates every sample, those that were trained on too
    #[arg(long)]
    pub all: bool,
    /// Writes what is predicted for each sample to a CSV file
    #[arg(long, value_name = "FILE.csv", value_parser = csv)]
    pub predictions: Option<PathBuf>,
    /// Prints one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub overwrite: OverwriteArgs,
    #[command(flatten)]
    pub machine: MachineArgs,
}

pub fn run(args: &EvaluateArgs, mut destinations: Destinations) -> Result<ExitCode> {
    let threads = args.machine.threads()?;
    let model = args.model.load_batched(args.batch, args.machine.options(&threads)?)?;
    if args.start.weights.is_none() {
        return Err(Error::Name("give the weights that are evaluated with --weights".into()));
    }
    destinations.reads_model(model.files());
    let evaluated = Evaluated {
        entry: &args.entry.name,
        data: args.data.as_deref(),
        start: args.start.start(),
        target: args.target.as_deref(),
        all: args.all,
        predictions: args.predictions.as_deref(),
        json: args.json,
    };
    let mut model = Jit { model, args: &args.model, machine: &args.machine, threads: &threads };
    evaluate(&mut model, &threads, &evaluated, destinations)
}

/// The path of a table of predictions.
fn csv(text: &str) -> std::result::Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv")) {
        true => Ok(path),
        false => Err("predictions are written as a table: expected a name ending in .csv".into()),
    }
}
