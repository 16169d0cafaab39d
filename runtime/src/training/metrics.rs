//! Metrics of many samples: means, and formulas of totals.
//!
//! An entry's run says something of its batch. An output that is one number is a mean over the batch's samples, and counts
//! as often as the batch has samples. An output named `total.<n>` is a sum over the batch, in parts along its first axis:
//! `f64[parts, ...]`. The parts of all runs are added one after the other, so that sums over the samples of a set do not
//! depend, by a single bit, on the batches that they came in. A second entry, the *formulas*, makes the metrics of the sums.

use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::run::executable::Executable;
use crate::run::instance::Instance;
use crate::run::manifest::Manifest;
use crate::run::state::State;
use crate::run::threads::Threads;
use crate::tensors::dtype::{DType, type_name};
use crate::tensors::tensor::Tensor;

/// Names and values of metrics, in the order of the entry's outputs.
pub type Metrics = Vec<(String, f64)>;

/// What the names of outputs begin with that are sums over the samples.
pub const TOTAL: &str = "total.";

/// Sums of what runs of one entry say, and the metrics that these are.
pub struct MetricSums {
    /// Outputs that are means over the samples of a run.
    means: Vec<usize>,
    totals: Vec<Total>,
    formulas: Option<Formulas>,
    /// Names of the metrics.
    names: Vec<String>,
    /// For each metric, whether it is a mean over samples.
    is_mean: Vec<bool>,
    /// Of all runs: the number of samples, then for each mean its sum over them, then the elements of the totals.
    all: Vec<f64>,
    /// The same of the last run.
    last: Vec<f64>,
}

/// An output that is a sum over the samples of a run.
struct Total {
    output: usize,
    /// Where its elements begin in the sums.
    at: usize,
    /// How many there are, without the axis of parts.
    elements: usize,
}

/// The entry that makes metrics of sums, bound.
struct Formulas {
    instance: Instance,
    inputs: Vec<Tensor>,
    /// For each input, where its elements begin in the sums, and whether they are to be divided by the samples.
    sources: Vec<(usize, bool)>,
    outputs: Vec<Tensor>,
}

impl MetricSums {
    /// For the outputs of entries like this one, for any batch. `formulas` is needed where there are totals.
    ///
    /// # Errors
    /// Formulas that do not belong to the entry.
    pub fn bind(
        manifest: &Manifest,
        formulas: Option<&Arc<Executable>>,
        state: &State,
        threads: &Threads,
    ) -> Result<MetricSums> {
        let outputs = &manifest.outputs;
        let means: Vec<usize> = (0..outputs.len()).filter(|i| outputs[*i].dims.is_empty()).collect();
        let mut totals = Vec::new();
        let mut at = 1 + means.len();
        for (output, o) in outputs.iter().enumerate().filter(|(_, o)| o.name.starts_with(TOTAL)) {
            if o.dtype != DType::F64 || o.dims.is_empty() {
                let found = type_name(o.dtype, &o.dims);
                let message =
                    format!("`{}` of `{}` is no sum in parts: it is {found}", o.name, manifest.entry);
                return Err(Error::new(ErrorKind::Manifest, message));
            }
            let elements = o.dims[1..].iter().product();
            totals.push(Total { output, at, elements });
            at += elements;
        }
        let of_means = means.iter().map(|i| outputs[*i].name.clone()).collect::<Vec<_>>();
        let bound =
            formulas.map(|f| Formulas::bind(f, manifest, &means, &totals, state, threads)).transpose()?;
        let names = match &bound {
            Some(formulas) => formulas.names(),
            None => of_means.clone(),
        };
        if let (None, Some(total)) = (&bound, totals.first()) {
            let (entry, name) = (&manifest.entry, &outputs[total.output].name);
            let message =
                format!("`{entry}` has totals such as `{name}`, but no formulas of them were given");
            return Err(Error::new(ErrorKind::Manifest, message));
        }
        Ok(MetricSums {
            is_mean: names.iter().map(|name| of_means.contains(name)).collect(),
            all: vec![0.0; at],
            last: vec![0.0; at],
            formulas: bound,
            means,
            totals,
            names,
        })
    }

    /// Names of the metrics.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// For each metric, whether it is a mean over samples, and no formula of totals.
    pub(crate) fn is_mean(&self) -> &[bool] {
        &self.is_mean
    }

    /// The sums, which a checkpoint keeps.
    pub(crate) fn sums(&self) -> &[f64] {
        &self.all
    }

    /// Goes on from the sums of a checkpoint, or begins anew where there are others.
    pub(crate) fn restore(&mut self, sums: &[u64]) {
        self.clear();
        if sums.len() == self.all.len() {
            self.all.iter_mut().zip(sums).for_each(|(sum, bits)| *sum = f64::from_bits(*bits));
        }
    }

    /// Begins anew.
    pub fn clear(&mut self) {
        self.all.fill(0.0);
    }

    /// Takes in the outputs of a run over so many samples. Allocates nothing.
    ///
    /// # Errors
    /// Outputs of other types than those of the entry.
    pub fn add(&mut self, outputs: &[Tensor], samples: usize) -> Result<()> {
        self.last.fill(0.0);
        self.last[0] = samples as f64;
        for (sum, output) in self.last[1..].iter_mut().zip(&self.means) {
            *sum = outputs[*output].item()? * samples as f64;
        }
        self.all.iter_mut().zip(&self.last).take(1 + self.means.len()).for_each(|(all, last)| *all += last);
        for Total { output, at, elements } in &self.totals {
            let parts = outputs[*output].as_slice::<f64>()?;
            // Part by part, so that it does not matter in which run a part came.
            for sums in [&mut self.all, &mut self.last] {
                let sums = &mut sums[*at..*at + elements];
                for part in parts.chunks_exact((*elements).max(1)) {
                    sums.iter_mut().zip(part).for_each(|(sum, value)| *sum += value);
                }
            }
        }
        Ok(())
    }

    /// The metrics of all samples since the beginning, one for each name.
    ///
    /// # Errors
    /// Those of running the formulas.
    pub fn write(&mut self, state: &mut State, values: &mut [f64]) -> Result<()> {
        write(self.means.len(), &mut self.formulas, &self.all, state, values)
    }

    /// The metrics of the last run alone.
    ///
    /// # Errors
    /// Those of running the formulas.
    pub fn write_last(&mut self, state: &mut State, values: &mut [f64]) -> Result<()> {
        write(self.means.len(), &mut self.formulas, &self.last, state, values)
    }

    /// The metrics of all samples since the beginning, by name.
    ///
    /// # Errors
    /// Those of running the formulas.
    pub fn metrics(&mut self, state: &mut State) -> Result<Metrics> {
        let mut values = vec![0.0; self.names.len()];
        self.write(state, &mut values)?;
        Ok(self.names.iter().cloned().zip(values).collect())
    }
}

/// Metrics of sums. The mean of no samples is NaN.
fn write(
    means: usize,
    formulas: &mut Option<Formulas>,
    sums: &[f64],
    state: &mut State,
    values: &mut [f64],
) -> Result<()> {
    let Some(formulas) = formulas else {
        values.iter_mut().zip(&sums[1..1 + means]).for_each(|(value, sum)| *value = sum / sums[0]);
        return Ok(());
    };
    for (input, (at, divide)) in formulas.inputs.iter_mut().zip(&formulas.sources) {
        let divisor = if *divide { sums[0] } else { 1.0 };
        let elements = input.as_mut_slice::<f64>()?;
        elements.iter_mut().zip(&sums[*at..]).for_each(|(element, sum)| *element = sum / divisor);
    }
    formulas.instance.run_tensors(state, &formulas.inputs, &mut formulas.outputs)?;
    for (value, output) in values.iter_mut().zip(&formulas.outputs) {
        *value = output.item()?;
    }
    Ok(())
}

impl Formulas {
    /// Binds the inputs to the sums of the same name.
    fn bind(
        executable: &Arc<Executable>,
        of: &Manifest,
        means: &[usize],
        totals: &[Total],
        state: &State,
        threads: &Threads,
    ) -> Result<Formulas> {
        let manifest = executable.manifest();
        let named = |output: usize, name: &str| of.outputs[output].name == name;
        let (mut inputs, mut sources) = (Vec::new(), Vec::new());
        for input in &manifest.inputs {
            let mean = means.iter().position(|i| named(*i, &input.name)).map(|at| (1 + at, true, 1));
            let total =
                totals.iter().find(|t| named(t.output, &input.name)).map(|t| (t.at, false, t.elements));
            let elements = input.dims.iter().product::<usize>();
            match mean.or(total) {
                Some((at, divide, count)) if input.dtype == DType::F64 && count == elements => {
                    sources.push((at, divide));
                    inputs.push(Tensor::zeros(DType::F64, &input.dims)?);
                }
                _ => return Err(strangers(of, manifest, &format!("input `{}`", input.name))),
            }
        }
        if let Some(output) = manifest.outputs.iter().find(|o| !o.dims.is_empty()) {
            return Err(strangers(of, manifest, &format!("output `{}`", output.name)));
        }
        let outputs = manifest.outputs.iter().map(|o| Tensor::zeros(o.dtype, &o.dims));
        let outputs = outputs.collect::<Result<Vec<_>>>()?;
        let instance = Instance::bind(executable.clone(), state, threads)?;
        Ok(Formulas { instance, inputs, sources, outputs })
    }

    fn names(&self) -> Vec<String> {
        self.instance.executable().manifest().outputs.iter().map(|o| o.name.clone()).collect()
    }
}

fn strangers(of: &Manifest, formulas: &Manifest, what: &str) -> Error {
    let message =
        format!("`{}` does not make metrics of what `{}` sums up: see its {what}", formulas.entry, of.entry);
    Error::new(ErrorKind::Manifest, message)
}
