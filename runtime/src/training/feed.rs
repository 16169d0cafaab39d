//! A feed: an instance bound to a data set, with the buffers of its batches and outputs.

use std::collections::HashMap;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Hints, Result};
use crate::run::executable::Executable;
use crate::run::instance::Instance;
use crate::run::manifest::Manifest;
use crate::run::state::State;
use crate::run::threads::Threads;
use crate::tensors::dtype::{DType, type_name};
use crate::tensors::samples::spread;
use crate::tensors::tensor::Tensor;
use crate::training::data::{Batches, Request};

/// Runs an executable on batches of a data set.
pub(crate) struct Feed {
    instance: Instance,
    inputs: Vec<Tensor>,
    /// Where the data set writes what is f32 there and f64 here, or has samples along another axis than the first.
    given: Vec<Option<Tensor>>,
    /// For each input, the field of the data set that fills it.
    fields: Vec<usize>,
    outputs: Vec<Tensor>,
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
        let mut given = Vec::new();
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
            let axis = input.samples_axis();
            let mut dims = field.dims.clone();
            dims.insert(axis.min(dims.len()), batch);
            // A model that computes in f64 takes the same data.
            let widens = (field.dtype, input.dtype) == (DType::F32, DType::F64);
            if dims != input.dims || field.dtype != input.dtype && !widens {
                let found = type_name(field.dtype, &dims);
                problems.push(format!(
                    "input `{}` must be {expected}, but the data set gives {found}",
                    input.name
                ));
                continue;
            }
            inputs.push(Tensor::zeros(input.dtype, &input.dims)?);
            let first: Vec<usize> = [batch].iter().chain(&field.dims).copied().collect();
            given.push((widens || axis > 0).then(|| Tensor::zeros(field.dtype, &first)).transpose()?);
            fields.push(at);
        }
        if !problems.is_empty() {
            let message = format!("the data set cannot feed `{entry}`: {}", problems.join("; "));
            return Err(Error::new(ErrorKind::Data, message));
        }
        let outputs = manifest.outputs.iter().map(|o| Tensor::zeros(o.dtype, &o.dims));
        let outputs = outputs.collect::<Result<Vec<_>>>()?;
        let instance = Instance::bind(executable.clone(), state, threads)?;
        Ok(Feed { instance, inputs, given, fields, outputs, batch })
    }

    pub(crate) fn batch(&self) -> usize {
        self.batch
    }

    pub(crate) fn manifest(&self) -> &Manifest {
        self.instance.executable().manifest()
    }

    /// The batch that was filled last.
    pub(crate) fn inputs(&self) -> &[Tensor] {
        &self.inputs
    }

    /// What the last run gave.
    pub(crate) fn outputs(&self) -> &[Tensor] {
        &self.outputs
    }

    /// Fills a batch. Allocates nothing itself.
    pub(crate) fn fill(&mut self, data: &mut dyn Batches, request: &Request<'_>) -> Result<()> {
        let inputs = &self.instance.executable().manifest().inputs;
        let buffers = self.inputs.iter_mut().zip(&mut self.given);
        for (((tensor, given), field), input) in buffers.zip(&self.fields).zip(inputs) {
            let Some(given) = given else {
                data.fill(request, *field, &mut tensor.view_mut())?;
                continue;
            };
            data.fill(request, *field, &mut given.view_mut())?;
            let axis = input.samples_axis();
            if given.dtype() == tensor.dtype() {
                let size = tensor.dtype().size();
                spread(tensor.bytes_mut(), given.bytes(), &input.dims, axis, size, |byte| byte);
            } else {
                spread(
                    tensor.as_mut_slice::<f64>()?,
                    given.as_slice::<f32>()?,
                    &input.dims,
                    axis,
                    1,
                    f64::from,
                );
            }
        }
        Ok(())
    }

    /// Runs the batch. Allocates nothing.
    pub(crate) fn run(&mut self, state: &mut State) -> Result<()> {
        self.instance.run_tensors(state, &self.inputs, &mut self.outputs)
    }

    /// The first number of the batch that is NaN or infinite.
    pub(crate) fn not_finite(&self, data: &dyn Batches, request: &Request<'_>) -> Option<NotFinite> {
        self.inputs.iter().zip(&self.manifest().inputs).find_map(|(tensor, input)| {
            let (at, value) = first_not_finite(tensor)?;
            let behind = tensor.dims()[input.samples_axis() + 1..].iter().product::<usize>();
            let index = request.indices[at / behind % self.batch];
            Some(NotFinite { field: input.name.clone(), place: data.place(request.split, index), value })
        })
    }
}

/// A number of a data set that is NaN or infinite.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NotFinite {
    field: String,
    place: String,
    value: f64,
}

impl NotFinite {
    /// An error that says what came of it.
    pub(crate) fn error(&self, consequence: &str) -> Error {
        Error::new(
            ErrorKind::Data,
            format!("{self}, and so {consequence}: repair the data, or leave the sample out"),
        )
    }
}

impl std::fmt::Display for NotFinite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the data has {} in `{}` of {}", self.value, self.field, self.place)
    }
}

/// Place and value of the first element that is NaN or infinite.
fn first_not_finite(tensor: &Tensor) -> Option<(usize, f64)> {
    match tensor.dtype() {
        DType::F32 => {
            let values = tensor.as_slice::<f32>().ok()?;
            let at = values.iter().position(|v| !v.is_finite())?;
            Some((at, f64::from(values[at])))
        }
        DType::F64 => {
            let values = tensor.as_slice::<f64>().ok()?;
            let at = values.iter().position(|v| !v.is_finite())?;
            Some((at, values[at]))
        }
        DType::Bool | DType::U8 | DType::I32 | DType::I64 => None,
    }
}

/// The batch size of an executable: the number of samples that all its inputs have; 1 if it has none.
fn batch_size(executable: &Executable) -> Result<usize> {
    let manifest = executable.manifest();
    if manifest.inputs.is_empty() {
        return Ok(1);
    }
    let mut sizes = manifest.inputs.iter().map(|i| i.dims.get(i.samples_axis()).copied().unwrap_or(0));
    let first = sizes.next().unwrap_or(0);
    if first > 0 && sizes.all(|s| s == first) {
        return Ok(first);
    }
    let inputs: Vec<String> =
        manifest.inputs.iter().map(|i| format!("`{}`: {}", i.name, type_name(i.dtype, &i.dims))).collect();
    let message = format!(
        "`{}` cannot be fed with batches: its inputs must have the batch as their first dimension, or as the one that the \
         model calls `batch`, but they are {}",
        manifest.entry,
        inputs.join(", "),
    );
    Err(Error::new(ErrorKind::Data, message))
}
