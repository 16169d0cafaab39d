//! `brolga run`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use brolga::runtime::{Instance, Shown, TensorRef, byte_len, type_name, write_results};
use brolga::{Error, Result, Tensor};
use clap::Args;
use serde_json::{Map, Value, json};

use super::answers;
use super::args::{InferenceEntry, MachineArgs, ModelArgs, OverwriteArgs, StartArgs};
use super::destination::{Destinations, Written};
use super::files::{InputFile, fitting, read_inputs, state};
use super::report::metric;
use super::tune::tune;

#[derive(Args)]
#[command(after_help = "\
Files ending in .npz or .npy are NumPy's, all others safetensors; tensors carry the names of inputs and outputs. The
size `batch` follows the inputs unless --dim sets it.

Pictures are PNG or JPEG, resized to the input; of a folder all pictures in it are taken. A table is a .csv file with a
header. Each sample gets a line: the label with its score and the next best ones, or the numbers of the outputs. Where these
are NaN, the exit code is 1; of outputs in files a warning names them.

Examples:
  brolga run lenet5 --weights lenet5.safetensors digit.png
  brolga run pets.ron --weights pets.safetensors photos/ --outputs labels.csv
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
    #[arg(long, value_name = "FILE", requires = "outputs")]
    pub inputs: Option<PathBuf>,
    /// Where the outputs go; of pictures and tables also as a table (.csv)
    #[arg(long, value_name = "FILE")]
    pub outputs: Option<PathBuf>,
    /// Where the new state goes, for entry points that update it
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Prints the results, or of --inputs the types of the outputs and the values of scalars, as one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub overwrite: OverwriteArgs,
    #[command(flatten)]
    pub machine: MachineArgs,
}

pub fn run(args: &RunArgs, destinations: Destinations) -> Result<ExitCode> {
    match &args.outputs {
        None if args.paths.is_empty() => Err(Error::Name(
            "give pictures, folders of them or tables to answer for, or tensors with --inputs and --outputs"
                .into(),
        )),
        Some(outputs) if args.paths.is_empty() => call(args, args.inputs.as_deref(), outputs, destinations),
        _ => answers::run(args, destinations),
    }
}

/// One call with inputs and outputs in files of tensors.
fn call(args: &RunArgs, from: Option<&Path>, to: &Path, mut destinations: Destinations) -> Result<ExitCode> {
    let threads = args.machine.threads()?;
    let model = args.model.load(args.machine.options(&threads)?)?;
    let mut file = from.map(InputFile::new);
    let mut model = fitting(model, &args.model.dims, &args.entry.name, file.as_mut())?;
    let mut executable = model.compile(&args.entry.name)?;
    let inputs = read_inputs(file, &executable.manifest().inputs)?;
    let mut state = state(&model, &args.start)?;
    destinations.reads_model(&model);
    let bytes = executable.manifest().outputs.iter().map(|o| byte_len(o.dtype, &o.dims).unwrap_or(0)).sum();
    destinations.writes("--outputs", to, Written::Tensors, bytes)?;
    if let Some(path) = &args.save {
        let idle = (!executable.manifest().updates_state()).then_some("the entry point updates nothing");
        destinations.saves(path, &state, state.bytes(), idle)?;
    }
    if tune(&mut model, &args.machine, &threads, &args.entry.name, &[])?.is_some() {
        executable = model.compile(&args.entry.name)?;
    }
    let mut instance = Instance::bind(executable, &state, &threads)?;
    let inputs: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let outputs = instance.run_named(&mut state, &inputs)?;

    let views: Vec<(&str, TensorRef<'_>)> =
        outputs.iter().map(|(name, t)| (name.as_str(), t.view())).collect();
    write_results(to, &views)?;
    if let Some(path) = &args.save {
        state.save(path)?;
    }
    let broken: Vec<&str> =
        outputs.iter().filter(|(_, tensor)| tensor.has_nan()).map(|(name, _)| name.as_str()).collect();
    if !broken.is_empty() {
        errln!("warning: outputs hold NaN: {}{}", broken.join(", "), answers::of_weights(&state));
    }
    if args.json {
        let outputs = outputs.iter().map(|(name, tensor)| {
            let about = json!({"type": type_name(tensor.dtype(), tensor.dims()), "value": value(tensor)});
            (name.clone(), about)
        });
        let all = json!({"model": model.name(), "entry": args.entry.name, "outputs": Value::Object(outputs.collect::<Map<_, _>>()),
            "file": to.display().to_string(), "nan": broken});
        outln!("{all}");
    } else {
        for (name, tensor) in &outputs {
            let ty = type_name(tensor.dtype(), tensor.dims());
            match value(tensor) {
                Some(number) => outln!("{name}: {ty} = {}", metric(number)),
                None => outln!("{name}: {ty}"),
            }
        }
        outln!("written to {}", to.shown());
    }
    Ok(ExitCode::SUCCESS)
}

/// The value of a scalar.
fn value(tensor: &Tensor) -> Option<f64> {
    tensor.dims().is_empty().then(|| tensor.item().ok()).flatten()
}
