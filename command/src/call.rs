//! One call of an entry point with inputs and outputs in files of tensors.

use std::ops::Range;
use std::path::Path;
use std::process::ExitCode;

use brolga_runtime::{
    Evaluation, Executable, Instance, Result, Shown, State, Tensor, TensorRef, Threads, byte_len, type_name,
    write_results,
};

use crate::answers::of_weights;
use crate::compiled::{Compiled, Of};
use crate::destination::{Destinations, Written};
use crate::files::{InputFile, Start, inputs_for, is_of_samples, read_inputs, samples_of, state};
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
    let mut file = file;
    let parts = match &mut file {
        Some(file) if model.splits() => parts(model, call.entry, file, &executable)?,
        _ => None,
    };
    let wanted = match &parts {
        Some(parts) => inputs_for(&executable.manifest().inputs, parts.batch, parts.samples),
        None => executable.manifest().inputs.clone(),
    };
    let inputs = read_inputs(file, &wanted)?;
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
    let outputs = match &parts {
        Some(parts) => parts.run(&mut state, &inputs, threads)?,
        None => {
            let mut instance = Instance::bind(executable, &state, threads)?;
            let inputs: Vec<(&str, &Tensor)> =
                inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
            instance.run_named(&mut state, &inputs)?
        }
    };

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

/// How many samples there are, and what runs them.
struct Parts {
    samples: usize,
    /// The batch of the entry point that was asked for.
    batch: usize,
    /// For each of its inputs, whether it has a part for each sample.
    of_samples: Vec<bool>,
    evaluation: Evaluation,
}

/// What runs the samples of a file where the entry point is for another number of them; nothing where it is for theirs.
fn parts<M: Compiled>(
    model: &M,
    entry: &str,
    file: &mut InputFile<'_>,
    executable: &Executable,
) -> Of<M, Option<Parts>> {
    let manifest = executable.manifest();
    let Some(&batch) = manifest.outputs.first().and_then(|output| output.dims.first()) else {
        return Ok(None);
    };
    if manifest.updates_state() || manifest.outputs.iter().any(|output| output.dims.first() != Some(&batch)) {
        // What is not one result for each sample cannot be put together.
        return Ok(None);
    }
    let samples = samples_of(file, &manifest.inputs, batch)?;
    let Some(samples) = samples.filter(|&samples| samples != batch) else { return Ok(None) };
    let of_samples = manifest.inputs.iter().map(|input| is_of_samples(input, batch)).collect();
    let evaluation = model.evaluation(entry, samples)?;
    Ok(evaluation.map(|evaluation| Parts { samples, batch, of_samples, evaluation }))
}

impl Parts {
    /// The outputs of all samples: batch by batch, then one by one. A sample has the same bits in both.
    fn run(
        &self,
        state: &mut State,
        inputs: &[(String, Tensor)],
        threads: &Threads,
    ) -> Result<Vec<(String, Tensor)>> {
        let full = self.evaluation.full.manifest();
        let mut found = Vec::new();
        for output in &full.outputs {
            let dims = [&[self.samples], output.dims.get(1..).unwrap_or(&[])].concat();
            found.push((output.name.clone(), Tensor::zeros(output.dtype, &dims)?));
        }
        let mut done = 0;
        for executable in [Some(&self.evaluation.full), self.evaluation.single.as_ref()].into_iter().flatten()
        {
            let mut instance = Instance::bind(executable.clone(), state, threads)?;
            let outputs = &executable.manifest().outputs;
            let size = outputs.first().and_then(|output| output.dims.first()).copied().unwrap_or(0);
            while size > 0 && self.samples - done >= size {
                let part = self.part(inputs, done, size)?;
                let part: Vec<(&str, &Tensor)> = part.iter().map(|(name, tensor)| (*name, tensor)).collect();
                for ((_, all), (_, some)) in found.iter_mut().zip(instance.run_named(state, &part)?) {
                    let own = rows(all, done, size, self.samples);
                    all.bytes_mut()[own].copy_from_slice(some.bytes());
                }
                done += size;
            }
        }
        Ok(found)
    }

    /// The inputs of some of the samples: their part of those with samples, and the others whole.
    fn part<'i>(
        &self,
        inputs: &'i [(String, Tensor)],
        begin: usize,
        size: usize,
    ) -> Result<Vec<(&'i str, Tensor)>> {
        let of = |((name, tensor), of_samples): (&'i (String, Tensor), &bool)| -> Result<(&'i str, Tensor)> {
            let tensor = match of_samples {
                true => {
                    let own = rows(tensor, begin, size, self.samples);
                    let dims = [&[size], tensor.dims().get(1..).unwrap_or(&[])].concat();
                    Tensor::from_bytes(tensor.dtype(), &dims, &tensor.bytes()[own])?
                }
                false => tensor.try_clone()?,
            };
            Ok((name.as_str(), tensor))
        };
        inputs.iter().zip(&self.of_samples).map(of).collect()
    }
}

/// The bytes of some of the samples of a tensor.
fn rows(tensor: &Tensor, begin: usize, count: usize, samples: usize) -> Range<usize> {
    let bytes = tensor.bytes().len() / samples;
    begin * bytes..(begin + count) * bytes
}

/// The value of a scalar.
fn value(tensor: &Tensor) -> Option<f64> {
    tensor.dims().is_empty().then(|| tensor.item().ok()).flatten()
}
