//! `brolga train`

mod progress;

use std::path::PathBuf;
use std::process::ExitCode;

use brolga::Result;
use brolga_command::{Bar, Training, output, train};
use clap::Args;

use super::args::{MachineArgs, ModelArgs, OverwriteArgs, PartialArgs, whole};
use super::destination::Destinations;
use super::jit::Jit;
pub use progress::Drawn;

#[derive(Args)]
#[command(after_help = "\
Data sets: `digits` (1,797 embedded images of 8x8), one made from a seed (`mk1`, `mk2`, `add(length: 50)`, `copy`, `erg`,
`xor_window`, `formulas`), a folder of IDX files (MNIST and its like, .gz or plain), a folder
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
    /// The entry point that makes one update, instead of the model's plan [default: the plan, or else `train`]
    #[arg(long, value_name = "E")]
    pub entry: Option<String>,
    /// Times to go through the training part, instead of the model's plan [default: the plan, or else 20]
    #[arg(long, value_name = "N", value_parser = whole::<u64>, allow_negative_numbers = true)]
    pub epochs: Option<u64>,
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
    /// Starts from these weights, or this training state; a run that goes on (--resume) needs none
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
    let model = args.model.load_batched(args.batch, args.machine.options(&threads)?)?;
    destinations.reads_model(model.files());
    let training = Training {
        entry: args.entry.as_deref(),
        data: args.data.as_deref(),
        epochs: args.epochs,
        seed: args.seed,
        target: args.target.as_deref(),
        fold: args.fold,
        weights: args.weights.as_deref(),
        partial: &args.names.partial,
        save: args.save.as_deref(),
        checkpoint: args.checkpoint.as_deref(),
        checkpoint_every: args.checkpoint_every,
        resume: args.resume,
        resume_anyway: args.resume_anyway,
        log: args.log.as_deref(),
        log_steps: args.log_steps,
        json: args.json,
    };
    let bar = output::moves().then(|| Box::new(Drawn::new()) as Box<dyn Bar>);
    let mut model = Jit { model, args: &args.model, machine: &args.machine, threads: &threads };
    train(&mut model, &threads, &training, destinations, bar)
}
