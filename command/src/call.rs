//! One call of an entry point with inputs and outputs in files of tensors.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use brolga_runtime::{
    Evaluation, Executable, Input, Instance, Manifest, Result, Samples, Shown, State, Tensor, TensorRef,
    Threads, byte_len, counted, type_name, write_results,
};

use crate::answers::of_weights;
use crate::compiled::{Compiled, Of};
use crate::destination::{Destinations, Written};
use crate::files::{InputFile, Start, inputs_for, read_inputs, samples_of, state};
use crate::json::Json;
use crate::refused;
use crate::report::metric;
use brolga_runtime::samples::{put, taken, with_samples};

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

/// Where the outputs of one call go, if that is asked for: for arrays, with a file of tensors for the outputs. Else each sample
/// is answered for, see [`answer`](crate::answer).
pub fn called<'p>(paths: &[PathBuf], outputs: Option<&'p Path>) -> Option<&'p Path> {
    let is_table = |path: &Path| path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv"));
    outputs.filter(|outputs| paths.is_empty() && !is_table(outputs))
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
    let mut file = file;
    let executable = model.executable(call.entry, None)?;
    let mut way = match &mut file {
        Some(file) if model.splits() => way(model, call.entry, file, executable)?,
        _ => Way::Whole(executable),
    };
    let wanted = match &way {
        Way::Parts(parts) => inputs_for(&parts.evaluation.full.manifest().inputs, parts.samples),
        Way::Whole(executable) => executable.manifest().inputs.clone(),
    };
    let inputs = read_inputs(file, &wanted)?;
    let mut state = state(model, &call.start)?;
    let manifest = way.executable().manifest();
    let bytes = manifest.outputs.iter().map(|o| byte_len(o.dtype, &o.dims).unwrap_or(0)).sum();
    destinations.writes("--outputs", call.outputs, Written::Tensors, bytes)?;
    if let Some(path) = call.save {
        let idle = (!manifest.updates_state()).then_some("the entry point updates nothing");
        destinations.saves(path, &state, state.bytes(), idle)?;
    }
    if model.tuned(call.entry)? {
        way = Way::Whole(model.executable(call.entry, None)?);
    }
    let outputs = way.run(&mut state, &inputs, threads)?;
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
    report(call, model.name(), &outputs, &broken);
    Ok(ExitCode::SUCCESS)
}

/// Prints the types of the outputs, and the values of scalars.
fn report(call: &Call<'_>, model: &str, outputs: &[(String, Tensor)], broken: &[&str]) {
    if call.json {
        let outputs = outputs.iter().map(|(name, tensor)| {
            let about = object! {"type": type_name(tensor.dtype(), tensor.dims()), "value": value(tensor)};
            (name.clone(), about)
        });
        let all = object! {"model": model, "entry": call.entry, "outputs": outputs.collect::<Json>(),
        "file": call.outputs.display().to_string(), "nan": broken};
        outln!("{all}");
    } else {
        for (name, tensor) in outputs {
            let ty = type_name(tensor.dtype(), tensor.dims());
            match value(tensor) {
                Some(number) => outln!("{name}: {ty} = {}", metric(number)),
                None => outln!("{name}: {ty}"),
            }
        }
        outln!("written to {}", call.outputs.shown());
    }
}

/// How the samples of a file are run.
enum Way {
    /// In one call.
    Whole(Arc<Executable>),
    /// In several, by batches that the entry point is there for.
    Parts(Parts),
}

impl Way {
    /// One that runs all, or some, of the samples.
    fn executable(&self) -> &Executable {
        match self {
            Way::Whole(executable) => executable,
            Way::Parts(parts) => &parts.evaluation.full,
        }
    }

    /// The outputs of all samples.
    fn run(
        self,
        state: &mut State,
        inputs: &[(String, Tensor)],
        threads: &Threads,
    ) -> Result<Vec<(String, Tensor)>> {
        match self {
            Way::Parts(parts) => parts.run(state, inputs, threads),
            Way::Whole(executable) => {
                let mut instance = Instance::bind(executable, state, threads)?;
                let inputs: Vec<(&str, &Tensor)> =
                    inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
                instance.run_named(state, &inputs)
            }
        }
    }
}

/// How many samples there are, and what runs them.
struct Parts {
    samples: usize,
    evaluation: Evaluation,
}

/// What runs the samples of a file, where the executable at hand may be for another number of them.
fn way<M: Compiled>(
    model: &M,
    entry: &str,
    file: &mut InputFile<'_>,
    executable: Arc<Executable>,
) -> Of<M, Way> {
    let manifest = executable.manifest();
    let samples = samples_of(file, &manifest.inputs)?;
    let Some(samples) = samples.filter(|&samples| manifest.batch() != Some(samples)) else {
        return Ok(Way::Whole(executable));
    };
    if let Some(reason) = in_one_call(manifest) {
        let Ok(whole) = model.executable(entry, Some(samples)) else {
            let samples = counted(samples as u64, "sample");
            let fitting = manifest.batch().map_or(String::new(), |batch| format!("give {batch}, or "));
            let message = format!(
                "{reason}, so {samples} cannot be run in several calls, and `{entry}` of `{}` was not compiled for as many: \
                 {fitting}build it with --dim batch=N for N samples",
                model.name()
            );
            return Err(refused(message).into());
        };
        return Ok(Way::Whole(whole));
    }
    let evaluation = model.evaluation(entry, samples)?;
    Ok(evaluation.map_or(Way::Whole(executable), |evaluation| Way::Parts(Parts { samples, evaluation })))
}

/// Why the samples of a call cannot be run in several, if they cannot.
fn in_one_call(manifest: &Manifest) -> Option<String> {
    if manifest.updates_state() {
        return Some("each call updates the state".to_owned());
    }
    let inputs = manifest.inputs.iter().map(|input| (&input.name, input.samples));
    let mut all = inputs.chain(manifest.outputs.iter().map(|output| (&output.name, output.samples)));
    let whole = all.find(|(_, samples)| *samples == Samples::Together);
    whole.map(|(name, _)| format!("`{name}` is of all samples of a call"))
}

impl Parts {
    /// The outputs of all samples: batch by batch, then one by one. A sample has the same bits in both.
    fn run(
        &self,
        state: &mut State,
        inputs: &[(String, Tensor)],
        threads: &Threads,
    ) -> Result<Vec<(String, Tensor)>> {
        let mut found: Vec<(String, Tensor)> = Vec::new();
        for output in &self.evaluation.full.manifest().outputs {
            let dims = match output.samples.axis() {
                Some(axis) => with_samples(&output.dims, axis, self.samples),
                None => output.dims.clone(),
            };
            found.push((output.name.clone(), Tensor::zeros(output.dtype, &dims)?));
        }
        let mut done = 0;
        for executable in [Some(&self.evaluation.full), self.evaluation.single.as_ref()].into_iter().flatten()
        {
            let mut instance = Instance::bind(executable.clone(), state, threads)?;
            let manifest = executable.manifest();
            let size = manifest.batch().unwrap_or(0);
            while size > 0 && self.samples - done >= size {
                let part = part(manifest, inputs, done, size)?;
                let part: Vec<(&str, &Tensor)> = part.iter().map(|(name, tensor)| (*name, tensor)).collect();
                let outputs = manifest.outputs.iter().zip(instance.run_named(state, &part)?);
                for ((_, all), (output, (_, some))) in found.iter_mut().zip(outputs) {
                    match output.samples.axis() {
                        Some(axis) => put(all, axis, done, size, some.bytes()),
                        // The same for all samples.
                        None => *all = some,
                    }
                }
                done += size;
            }
        }
        Ok(found)
    }
}

/// The inputs of some of the samples: their part of those with samples, and the others whole.
fn part<'i>(
    manifest: &Manifest,
    inputs: &'i [(String, Tensor)],
    begin: usize,
    size: usize,
) -> Result<Vec<(&'i str, Tensor)>> {
    let of = |((name, tensor), input): (&'i (String, Tensor), &Input)| -> Result<(&'i str, Tensor)> {
        let tensor = match input.samples.axis() {
            Some(axis) => taken(tensor, axis, begin, size)?,
            None => tensor.try_clone()?,
        };
        Ok((name.as_str(), tensor))
    };
    inputs.iter().zip(&manifest.inputs).map(of).collect()
}

/// The value of a scalar.
fn value(tensor: &Tensor) -> Option<f64> {
    tensor.dims().is_empty().then(|| tensor.item().ok()).flatten()
}
