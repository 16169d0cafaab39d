//! A feed: an instance bound to a data set, with the buffers of its batches and metrics.

use std::collections::HashMap;
use std::sync::Arc;

use crate::data::{Batches, Request, Split};
use crate::error::{Error, ErrorKind, Hints, Result};
use crate::executable::Executable;
use crate::instance::Instance;
use crate::state::State;
use crate::tensor::{Tensor, type_name};
use crate::threads::Threads;
use crate::train::indices;

/// Names and values of metrics, in the order of the entry's outputs.
pub type Metrics = Vec<(String, f64)>;

/// Runs an executable on batches of a data set.
pub(crate) struct Feed {
    instance: Instance,
    inputs: Vec<Tensor>,
    /// For each input, the field of the data set that fills it.
    fields: Vec<usize>,
    outputs: Vec<Tensor>,
    /// Which outputs are metrics: the scalars.
    metrics: Vec<usize>,
    batch: usize,
}

impl Feed {
    /// Binds inputs to fields of the same name, and checks types and batch size.
    pub(crate) fn bind(
        executable: &Arc<Executable>,
        state: &State,
        threads: &Threads,
        data: &dyn Batches,
    ) -> Result<Feed> {
        let manifest = executable.manifest();
        let entry = &manifest.entry;
        let batch = batch_size(executable)?;
        let (mut inputs, mut fields, mut problems) = (Vec::new(), Vec::new(), Vec::new());
        let has: Vec<&str> = data.fields().iter().map(|f| f.name.as_str()).collect();
        let index: HashMap<&str, usize> =
            has.iter().enumerate().rev().map(|(at, name)| (*name, at)).collect();
        let mut hints = Hints::new();
        for input in &manifest.inputs {
            let expected = type_name(input.dtype, &input.dims);
            let Some(&at) = index.get(input.name.as_str()) else {
                let hint = hints.nearest(&input.name, has.iter().copied());
                problems.push(format!(
                    "input `{}` is not in the data set, which has {}{hint}",
                    input.name,
                    has.join(", ")
                ));
                continue;
            };
            let field = &data.fields()[at];
            let mut dims = vec![batch];
            dims.extend(&field.dims);
            if (field.dtype, &dims) != (input.dtype, &input.dims) {
                let found = type_name(field.dtype, &dims);
                problems.push(format!(
                    "input `{}` must be {expected}, but the data set gives {found}",
                    input.name
                ));
                continue;
            }
            inputs.push(Tensor::zeros(input.dtype, &input.dims)?);
            fields.push(at);
        }
        if !problems.is_empty() {
            let message = format!("the data set cannot feed `{entry}`: {}", problems.join("; "));
            return Err(Error::new(ErrorKind::Data, message));
        }
        let outputs = manifest.outputs.iter().map(|o| Tensor::zeros(o.dtype, &o.dims));
        let outputs = outputs.collect::<Result<Vec<_>>>()?;
        let metrics = (0..outputs.len()).filter(|i| outputs[*i].dims().is_empty()).collect();
        let instance = Instance::bind(executable.clone(), state, threads)?;
        Ok(Feed { instance, inputs, fields, outputs, metrics, batch })
    }

    pub(crate) fn batch(&self) -> usize {
        self.batch
    }

    pub(crate) fn metric_names(&self) -> Vec<String> {
        let outputs = &self.instance.executable().manifest().outputs;
        self.metrics.iter().map(|i| outputs[*i].name.clone()).collect()
    }

    /// Fills a batch, runs it, and writes the metrics into `values`, one for each name. Allocates nothing
    /// itself.
    pub(crate) fn run(
        &mut self,
        state: &mut State,
        data: &mut dyn Batches,
        request: &Request<'_>,
        values: &mut [f64],
    ) -> Result<()> {
        for (tensor, field) in self.inputs.iter_mut().zip(&self.fields) {
            data.fill(request, *field, &mut tensor.view_mut())?;
        }
        self.instance.run_tensors(state, &self.inputs, &mut self.outputs)?;
        for (value, i) in values.iter_mut().zip(&self.metrics) {
            *value = self.outputs[*i].item()?;
        }
        Ok(())
    }
}

/// The batch size of an executable: the first dimension, which all its inputs share.
fn batch_size(executable: &Executable) -> Result<usize> {
    let manifest = executable.manifest();
    let mut sizes = manifest.inputs.iter().map(|i| i.dims.first().copied().unwrap_or(0));
    let first = sizes.next().unwrap_or(0);
    if first > 0 && sizes.all(|s| s == first) {
        return Ok(first);
    }
    let inputs: Vec<String> =
        manifest.inputs.iter().map(|i| format!("`{}`: {}", i.name, type_name(i.dtype, &i.dims))).collect();
    let message = format!(
        "`{}` cannot be fed with batches: its inputs must have the batch as their first dimension, but they are {}",
        manifest.entry,
        if inputs.is_empty() { "none".to_string() } else { inputs.join(", ") },
    );
    Err(Error::new(ErrorKind::Data, message))
}

/// The executables that evaluate: one for whole batches, one for the samples that remain.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// For whole batches. Not used where the validation part is smaller than its batch.
    pub full: Arc<Executable>,
    /// For the last partial batch, whose size must be what remains; needed if anything remains.
    pub rest: Option<Arc<Executable>>,
}

/// [`Evaluation`], bound.
pub(crate) struct Evaluator {
    full: Feed,
    rest: Option<Feed>,
    indices: Vec<usize>,
    values: Vec<f64>,
    sums: Vec<f64>,
}

impl Evaluator {
    pub(crate) fn bind(
        evaluation: &Evaluation,
        state: &State,
        threads: &Threads,
        data: &dyn Batches,
    ) -> Result<Evaluator> {
        let full = Feed::bind(&evaluation.full, state, threads, data)?;
        let samples = data.len(Split::Validation);
        let remaining = samples % full.batch();
        let rest = match &evaluation.rest {
            Some(rest) if remaining > 0 => Some(Feed::bind(rest, state, threads, data)?),
            _ => None,
        };
        let found = rest.as_ref().map_or(0, Feed::batch);
        if found != remaining {
            let message = format!(
                "{samples} validation samples in batches of {} leave {remaining}, so evaluation needs a second \
                 executable of that batch size, but {} was given",
                full.batch(),
                if found == 0 { "none".to_string() } else { format!("one of {found}") },
            );
            return Err(Error::new(ErrorKind::Data, message));
        }
        if let Some(rest) = &rest
            && rest.metric_names() != full.metric_names()
        {
            let (a, b) = (full.metric_names().join(", "), rest.metric_names().join(", "));
            let message = format!("the two executables of the evaluation have different metrics: {a}; {b}");
            return Err(Error::new(ErrorKind::Data, message));
        }
        let metrics = full.metrics.len();
        let mut indices = indices(samples)?;
        indices.iter_mut().enumerate().for_each(|(i, index)| *index = i);
        Ok(Evaluator { full, rest, indices, values: vec![0.0; metrics], sums: vec![0.0; metrics] })
    }

    pub(crate) fn metric_names(&self) -> Vec<String> {
        self.full.metric_names()
    }

    /// How many batches a run takes.
    pub(crate) fn batches(&self) -> usize {
        self.indices.len().div_ceil(self.full.batch())
    }

    /// The means of the metrics over all samples, or nothing where `go_on` (given batches done and in all)
    /// says no.
    pub(crate) fn run(
        &mut self,
        state: &mut State,
        data: &mut dyn Batches,
        seed: u64,
        mut go_on: impl FnMut(usize, usize) -> bool,
    ) -> Result<Option<Metrics>> {
        self.sums.fill(0.0);
        let samples = self.indices.len();
        let batches = self.batches();
        for (done, indices) in self.indices.chunks(self.full.batch()).enumerate() {
            let feed = match &mut self.rest {
                Some(rest) if indices.len() < self.full.batch() => rest,
                _ => &mut self.full,
            };
            let request = Request { split: Split::Validation, indices, seed, epoch: 0 };
            feed.run(state, data, &request, &mut self.values)?;
            for (sum, value) in self.sums.iter_mut().zip(&self.values) {
                *sum += value * indices.len() as f64;
            }
            if !go_on(done + 1, batches) {
                return Ok(None);
            }
        }
        let means = self.sums.iter().map(|s| s / samples as f64);
        Ok(Some(self.metric_names().into_iter().zip(means).collect()))
    }
}

/// The means of the metrics over the validation part of a data set; empty where that part is.
pub fn evaluate(
    evaluation: &Evaluation,
    state: &mut State,
    threads: &Threads,
    data: &mut dyn Batches,
) -> Result<Metrics> {
    if data.is_empty(Split::Validation) {
        return Ok(Metrics::new());
    }
    let metrics = Evaluator::bind(evaluation, state, threads, data)?.run(state, data, 0, |_, _| true)?;
    Ok(metrics.unwrap_or_default())
}
