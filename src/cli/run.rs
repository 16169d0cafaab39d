//! `brolga run`

use std::path::Path;
use std::process::ExitCode;

use brolga::runtime::{Instance, TensorRef, byte_len, type_name, write_tensors};
use brolga::{Result, Tensor};
use serde_json::{Map, Value, json};

use super::answers;
use super::args::RunArgs;
use super::destination::{Destinations, Written};
use super::files::{fitting_dims, read_inputs, state};
use super::report::metric;
use super::tune::tune;

pub fn run(args: &RunArgs) -> Result<ExitCode> {
    match &args.outputs {
        Some(outputs) if args.paths.is_empty() => call(args, args.inputs.as_deref(), outputs),
        _ => answers::run(args),
    }
}

/// One call with inputs and outputs in files of tensors.
fn call(args: &RunArgs, from: Option<&Path>, to: &Path) -> Result<ExitCode> {
    let threads = args.machine.threads()?;
    let mut model = args.model.load(args.machine.options(&threads)?)?;
    let dims = fitting_dims(&model, &args.model.dims, &args.entry.name, from)?;
    tune(&mut model, &args.machine, &threads, &args.entry.name, &dims)?;
    let executable = model.compile_for(&args.entry.name, &dims)?;
    let inputs = read_inputs(from, &executable.manifest().inputs)?;
    let mut state = state(&model, &args.start)?;
    let mut destinations = Destinations::new(args.force).reads("--inputs", from);
    let bytes = executable.manifest().outputs.iter().map(|o| byte_len(o.dtype, &o.dims).unwrap_or(0)).sum();
    destinations.writes("--outputs", to, Written::Tensors, bytes)?;
    if let Some(path) = &args.save {
        destinations.writes("--save", path, Written::State, state.bytes())?;
    }
    let mut instance = Instance::bind(executable, &state, &threads)?;
    let inputs: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let outputs = instance.run_named(&mut state, &inputs)?;

    let views: Vec<(&str, TensorRef<'_>)> =
        outputs.iter().map(|(name, t)| (name.as_str(), t.view())).collect();
    write_tensors(to, &views)?;
    if let Some(path) = &args.save {
        state.save(path)?;
    }
    if args.json {
        let outputs = outputs.iter().map(|(name, tensor)| {
            let about = json!({"type": type_name(tensor.dtype(), tensor.dims()), "value": value(tensor)});
            (name.clone(), about)
        });
        let all = json!({"model": model.name(), "entry": args.entry.name, "outputs": Value::Object(outputs.collect::<Map<_, _>>()),
            "file": to.display().to_string()});
        outln!("{all}");
    } else {
        for (name, tensor) in &outputs {
            let ty = type_name(tensor.dtype(), tensor.dims());
            match value(tensor) {
                Some(number) => outln!("{name}: {ty} = {}", metric(number)),
                None => outln!("{name}: {ty}"),
            }
        }
        outln!("written to {}", to.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// The value of a scalar.
fn value(tensor: &Tensor) -> Option<f64> {
    tensor.dims().is_empty().then(|| tensor.item().ok()).flatten()
}
