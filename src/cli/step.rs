//! `brolga step`

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use brolga::runtime::{Instance, MetricSums, Shown, TensorRef, write_results};
use brolga::{Model, Result, State, Tensor, Threads, compile, with_gradients};
use brolga_command::report::{metrics, metrics_json};
use brolga_command::{InputFile, Json, read_inputs, updating};
use clap::Args;

use super::args::{MachineArgs, ModelArgs, OverwriteArgs, StartArgs, TrainingEntry, whole};
use super::destination::{Destinations, Written, weight_bytes};
use super::files::{fitting, state};
use super::jit::training;
use super::tune::tune;

#[derive(Args)]
#[command(after_help = "\
Example:
  brolga step lenet5 --weights w.safetensors --inputs batch.npz --steps 20 --save w20.safetensors --grads g.safetensors")]
pub struct StepArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub entry: TrainingEntry,
    #[command(flatten)]
    pub start: StartArgs,
    /// The batch, with a tensor for each input, if the entry point takes any
    #[arg(long, value_name = "FILE")]
    pub inputs: Option<PathBuf>,
    /// Where the new state goes: parameters, running statistics, optimiser slots, step
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Updates to make, all on the same batch
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole::<u64>, allow_negative_numbers = true)]
    pub steps: u64,
    /// Where the gradients of the first update go, as grad.PARAMETER and, by inputs of floating type, input.NAME
    #[arg(long, value_name = "FILE")]
    pub grads: Option<PathBuf>,
    /// Prints the metrics of all updates as one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub overwrite: OverwriteArgs,
    #[command(flatten)]
    pub machine: MachineArgs,
}

pub fn run(args: &StepArgs, mut destinations: Destinations) -> Result<ExitCode> {
    let threads = args.machine.threads()?;
    let model = args.model.load(args.machine.options(&threads)?)?;
    let mut file = args.inputs.as_deref().map(InputFile::new);
    let mut model = fitting(model, &args.model.dims, &args.entry.name, file.as_mut())?;
    let mut executable = model.compile(&args.entry.name)?;
    updating(executable.manifest(), &training(&model))?;
    let inputs = read_inputs(file, &executable.manifest().inputs)?;
    let inputs: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let mut state = state(&model, &args.start)?;
    destinations.reads_model(model.files());
    if let Some(path) = &args.save {
        let idle = (args.steps == 0).then_some("--steps 0 trains nothing");
        destinations.saves(path, &state, state.bytes(), idle)?;
    }
    if let Some(path) = &args.grads {
        destinations.writes("--grads", path, Written::Tensors, weight_bytes(&state))?;
    }
    if tune(&mut model, &args.machine, &threads, &args.entry.name, &[])?.is_some() {
        executable = model.compile(&args.entry.name)?;
    }

    if let Some(path) = &args.grads {
        let found = gradients(&args.entry.name, &model, &state, &inputs, &threads)?;
        let views: Vec<(&str, TensorRef<'_>)> =
            found.iter().map(|(name, t)| (name.as_str(), t.view())).collect();
        write_results(path, &views)?;
    }
    let formulas = model.formulas(&args.entry.name, &[])?;
    let mut sums = MetricSums::bind(executable.manifest(), formulas.as_ref(), &state, &threads)?;
    let mut instance = Instance::bind(executable, &state, &threads)?;
    let mut rows: Vec<Json> = Vec::new();
    for step in 1..=args.steps {
        let outputs: Vec<Tensor> =
            instance.run_named(&mut state, &inputs)?.into_iter().map(|(_, tensor)| tensor).collect();
        sums.clear();
        sums.add(&outputs, 1)?;
        let found = sums.metrics(&mut state)?;
        let row = found.iter().map(|(name, value)| (name.as_str(), *value));
        if args.json {
            rows.push(metrics_json(row));
        } else {
            outln!("step {step}: {}", metrics(row));
        }
    }
    if let Some(path) = &args.save {
        state.save(path)?;
    }
    if args.json {
        outln!("{}", object! {"metrics": rows});
    } else {
        let written = [("state", &args.save), ("gradients of the first step", &args.grads)];
        for (what, path) in written {
            if let Some(path) = path {
                outln!("{what}: {}", path.shown());
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The gradients that the first update would use, as `grad.<parameter>`, and those by the inputs, as `input.<name>`; the
/// state stays as it is.
fn gradients(
    entry: &str,
    model: &Model,
    state: &State,
    inputs: &[(&str, &Tensor)],
    threads: &Threads,
) -> Result<Vec<(String, Tensor)>> {
    let plain = model.graph(entry)?;
    let graph = with_gradients(plain)?;
    let executable = compile(&graph, model.options())?;
    let mut state = state.try_clone()?;
    let mut instance = Instance::bind(Arc::new(executable), &state, threads)?;
    let outputs = instance.run_named(&mut state, inputs)?;
    let metric = |name: &str| plain.outputs().iter().any(|output| output.name == name);
    Ok(outputs.into_iter().filter(|(name, _)| !metric(name)).collect())
}
