//! `brolga run`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use brolga::{Error, Result};
use brolga_command::{Asked, Call, Compiled, InputFile, answer, call, called};
use clap::Args;

use super::args::{InferenceEntry, MachineArgs, ModelArgs, OverwriteArgs, StartArgs};
use super::destination::Destinations;
use super::files::fitting;
use super::jit::Jit;

#[derive(Args)]
#[command(after_help = "\
Files ending in .npz or .npy are NumPy's, all others safetensors; tensors carry the names of inputs and outputs, and
the array of a .npy is for the one input, whatever its name. The size `batch` follows the inputs unless --dim sets it.

Pictures are PNG or JPEG, resized to the input; of a folder all pictures in it are taken. A table is a .csv file with a
header. Each sample gets a line, of tensors unless --outputs names a file of them: the label with its score and the next best
ones, or the numbers of the outputs. Where these are NaN, the exit code is 1; of outputs in files a warning names them.

Examples:
  brolga run lenet5 --weights lenet5.safetensors digit.png
  brolga run pets.ron --weights pets.safetensors photos/ --outputs labels.csv
  brolga run lenet5 --weights lenet5.safetensors --inputs images.npz
  brolga run lenet5 --entry infer --weights lenet5.safetensors --inputs images.npz --outputs probability.npz")]
pub struct RunArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub entry: InferenceEntry,
    #[command(flatten)]
    pub start: StartArgs,
    /// Pictures, folders of pictures, or tables, in place of --inputs
    #[arg(value_name = "PATH", conflicts_with = "inputs")]
    pub paths: Vec<PathBuf>,
    /// The inputs, if the entry point takes any
    #[arg(long, value_name = "FILE")]
    pub inputs: Option<PathBuf>,
    /// Where the outputs go: those of --inputs as from one call, or of each sample in a table (.csv)
    #[arg(long, value_name = "FILE")]
    pub outputs: Option<PathBuf>,
    /// Where the new state goes, for entry points that update it
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Prints one JSON object: what is answered, or of a call with --outputs the types of the outputs and the values of scalars
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub overwrite: OverwriteArgs,
    #[command(flatten)]
    pub machine: MachineArgs,
}

pub fn run(args: &RunArgs, destinations: Destinations) -> Result<ExitCode> {
    match called(&args.paths, args.outputs.as_deref()) {
        Some(outputs) => call_on_file(args, outputs, destinations),
        None => answer_for_samples(args, destinations),
    }
}

/// `brolga run MODEL picture.png …`
fn answer_for_samples(args: &RunArgs, mut destinations: Destinations) -> Result<ExitCode> {
    let threads = args.machine.threads()?;
    let mut model = args.model.load(args.machine.options(&threads)?)?;
    if model.instance().dims().iter().any(|(name, _)| name == "batch") {
        // The state is that of one sample, too, where its shapes depend on the batch.
        model = model.with_dims(&[("batch", 1)])?;
    }
    destinations.reads_model(model.files());
    let mut model = Jit { model, args: &args.model, machine: &args.machine, threads: &threads };
    let entry = &*args.entry.name;
    let file = match &args.inputs {
        Some(path) => Some(InputFile::new(path)),
        None if !args.paths.is_empty() => None,
        // It is called as it is.
        None if model.fields(entry)?.is_empty() => Some(InputFile::of(Path::new(entry), Vec::new())),
        None => {
            let message = "give pictures, folders of them or tables to answer for, or tensors with --inputs";
            return Err(Error::Name(message.into()));
        }
    };
    let asked = Asked {
        entry,
        start: args.start.start(),
        paths: &args.paths,
        outputs: args.outputs.as_deref(),
        save: args.save.as_deref(),
        json: args.json,
        formats: &brolga_models::data::FORMATS,
    };
    answer(&mut model, &threads, &asked, file, destinations)
}

/// One call with inputs and outputs in files of tensors.
fn call_on_file(args: &RunArgs, outputs: &Path, mut destinations: Destinations) -> Result<ExitCode> {
    let threads = args.machine.threads()?;
    let model = args.model.load(args.machine.options(&threads)?)?;
    let mut file = args.inputs.as_deref().map(InputFile::new);
    let model = fitting(model, &args.model.dims, &args.entry.name, file.as_mut())?;
    destinations.reads_model(model.files());
    let (entry, start) = (&*args.entry.name, args.start.start());
    let wanted = Call { entry, start, outputs, save: args.save.as_deref(), json: args.json };
    let mut model = Jit { model, args: &args.model, machine: &args.machine, threads: &threads };
    call(&mut model, &threads, &wanted, file, destinations)
}
