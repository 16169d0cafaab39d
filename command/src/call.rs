//! One call of an entry point with inputs and outputs in files of tensors.

use std::path::Path;
use std::process::ExitCode;

use brolga_runtime::{Instance, Shown, Tensor, TensorRef, Threads, byte_len, type_name, write_results};

use crate::answers::of_weights;
use crate::compiled::{Compiled, Of};
use crate::destination::{Destinations, Written};
use crate::files::{InputFile, Start, read_inputs, state};
use crate::json::Json;
use crate::report::metric;

/// What is called, and where its results go.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The entry point.
    pub entry: &'a str,
    /// The state.
    pub start: Start<'a>,
    /// Where the outputs go.
    pub outputs: &'a Path,
    /// Where the new state goes.
    pub save: Option<&'a Path>,
    /// Whether one JSON object is printed: the types of the outputs, and the values of scalars.
    pub json: bool,
}

/// Calls an entry point on the inputs of a file, if it takes any, and writes its outputs.
///
/// # Errors
/// Inputs that are not there or do not fit; files that cannot be read; places that are not to be written to; what the model
/// gives.
pub fn call<M: Compiled>(
    model: &mut M,
    threads: &Threads,
    call: &Call<'_>,
    file: Option<InputFile<'_>>,
    mut destinations: Destinations,
) -> Of<M, ExitCode> {
    let mut executable = model.executable(call.entry, None)?;
    let inputs = read_inputs(file, &executable.manifest().inputs)?;
    let mut state = state(model, &call.start)?;
    let bytes = executable.manifest().outputs.iter().map(|o| byte_len(o.dtype, &o.dims).unwrap_or(0)).sum();
    destinations.writes("--outputs", call.outputs, Written::Tensors, bytes)?;
    if let Some(path) = call.save {
        let idle = (!executable.manifest().updates_state()).then_some("the entry point updates nothing");
        destinations.saves(path, &state, state.bytes(), idle)?;
    }
    if model.tuned(call.entry)? {
        executable = model.executable(call.entry, None)?;
    }
    let mut instance = Instance::bind(executable, &state, threads)?;
    let inputs: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let outputs = instance.run_named(&mut state, &inputs)?;

    let views: Vec<(&str, TensorRef<'_>)> =
        outputs.iter().map(|(name, t)| (name.as_str(), t.view())).collect();
    write_results(call.outputs, &views)?;
    if let Some(path) = call.save {
        state.save(path)?;
    }
    let broken: Vec<&str> =
        outputs.iter().filter(|(_, tensor)| tensor.has_nan()).map(|(name, _)| name.as_str()).collect();
    if !broken.is_empty() {
        errln!("warning: outputs hold NaN: {}{}", broken.join(", "), of_weights(&state));
    }
    if call.json {
        let outputs = outputs.iter().map(|(name, tensor)| {
            let about = object! {"type": type_name(tensor.dtype(), tensor.dims()), "value": value(tensor)};
            (name.clone(), about)
        });
        let all = object! {"model": model.name(), "entry": call.entry, "outputs": outputs.collect::<Json>(),
        "file": call.outputs.display().to_string(), "nan": broken};
        outln!("{all}");
    } else {
        for (name, tensor) in &outputs {
            let ty = type_name(tensor.dtype(), tensor.dims());
            match value(tensor) {
                Some(number) => outln!("{name}: {ty} = {}", metric(number)),
                None => outln!("{name}: {ty}"),
            }
        }
        outln!("written to {}", call.outputs.shown());
    }
    Ok(ExitCode::SUCCESS)
}

/// The value of a scalar.
fn value(tensor: &Tensor) -> Option<f64> {
    tensor.dims().is_empty().then(|| tensor.item().ok()).flatten()
}
