//! A network: a model with its state, ready to be called.

use std::path::Path;

use brolga_frontend::Settings;
use brolga_runtime::{DType, ErrorKind, Field, Instance, LoadReport, State, Tensor, Threads};

use crate::error::{Error, Result};
use crate::model::Model;

/// Instances kept for further calls; each has the memory of its calls.
const KEPT: usize = 8;

/// A model, its state, and the threads that compute.
pub struct Network {
    model: Model,
    state: State,
    threads: Threads,
    /// By entry point and batch size.
    instances: Vec<((String, Option<usize>), Instance)>,
}

impl Network {
    /// Loads a model as [`Model::load`] does, with its defaults and fresh weights.
    ///
    /// # Errors
    /// Those of [`Model::load`] and [`Network::new`].
    pub fn load(name: &str) -> Result<Network> {
        Network::new(Model::load(name, &Settings::default())?, Threads::available()?)
    }

    /// A network with fresh weights, drawn by seed 0.
    ///
    /// # Errors
    /// Those of [`Model::initial_state`].
    pub fn new(model: Model, threads: Threads) -> Result<Network> {
        let state = model.initial_state(0)?;
        let mut options = model.options().clone();
        options.passes.threads.get_or_insert(threads.count());
        let model = model.with_options(options);
        Ok(Network { model, state, threads, instances: Vec::new() })
    }

    /// Loads weights or a training state from a safetensors file; every parameter must be there.
    ///
    /// # Errors
    /// Those of [`State::load`].
    pub fn load_weights(&mut self, path: impl AsRef<Path>) -> Result<LoadReport> {
        Ok(self.state.load(path)?)
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Parameters, running statistics, optimiser slots.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The state, to change.
    pub fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    /// The names of the classes, in the order of their numbers, as the weights or the model say; empty if neither does.
    pub fn classes(&self) -> Vec<String> {
        self.model.classes(&self.state)
    }

    /// A picture (PNG or JPEG) as the one input of an entry point takes it, with a batch of 1, whatever axis that is; see
    /// [`picture`](brolga_models::data::picture).
    ///
    /// # Errors
    /// An entry point with several inputs or one that takes no picture; a file that is none.
    pub fn picture(&self, entry: &str, file: impl AsRef<Path>) -> Result<Tensor> {
        let executable = self.model.compile(entry)?;
        let [input] = executable.manifest().inputs.as_slice() else {
            return Err(Error::Name(format!("a picture fills one input, and `{entry}` has several or none")));
        };
        let mut field = Field { name: input.name.clone(), dtype: input.dtype, dims: input.dims.clone() };
        let mut dims = input.dims.clone();
        // Without the size `batch` it may be a batch of 1 all the same, or nothing but a picture.
        let first = || (dims.first() == Some(&1)).then_some(0);
        let axis = input.samples.axis().or_else(first);
        if let Some(axis) = axis {
            field.dims.remove(axis);
            dims[axis] = 1;
        }
        let picture = brolga_models::data::picture(file.as_ref(), &field)?;
        Ok(Tensor::from_bytes(picture.dtype(), &dims, picture.bytes())?)
    }

    /// The first output of the entry point `infer` for samples that lie one behind the other: as many as the slice
    /// holds. Compiles for a number of samples when it first occurs.
    ///
    /// # Errors
    /// A model without `infer`, or with several inputs there; a slice that holds no whole number of samples.
    pub fn infer(&mut self, samples: &[f32]) -> Result<Tensor> {
        let executable = self.model.compile("infer")?;
        let [input] = executable.manifest().inputs.as_slice() else {
            let inputs = executable.manifest().inputs.len();
            return Err(Error::Name(format!(
                "`infer` has {inputs} inputs, not one: give them by name to `run`"
            )));
        };
        if input.dtype != DType::F32 {
            return Err(Error::Name(format!("the input `{}` is not f32: give it to `run`", input.name)));
        }
        let axis = input.samples.axis().unwrap_or(0);
        let (before, behind) = input.dims.split_at(axis.min(input.dims.len()));
        let (outer, inner) = (before.iter().product::<usize>(), behind.iter().skip(1).product::<usize>());
        let size = outer * inner;
        if size == 0 || samples.is_empty() || !samples.len().is_multiple_of(size) {
            let message = format!(
                "{} numbers are no whole number of samples: `{}` takes {size} for each",
                samples.len(),
                input.name
            );
            return Err(brolga_runtime::Error::new(ErrorKind::Shape, message).into());
        }
        let (name, mut dims, count) = (input.name.clone(), input.dims.clone(), samples.len() / size);
        if let Some(batch) = dims.get_mut(axis) {
            *batch = count;
        }
        let mut tensor = Tensor::zeros(DType::F32, &dims)?;
        let elements = tensor.as_mut_slice::<f32>()?;
        // One sample behind the other becomes the batch at its axis.
        for (row, sample) in samples.chunks_exact(inner).enumerate() {
            let (of, place) = (row / outer, row % outer);
            elements[(place * count + of) * inner..][..inner].copy_from_slice(sample);
        }
        let outputs = self.run("infer", &[(&name, &tensor)])?;
        let first = outputs.into_iter().next();
        first.map(|(_, tensor)| tensor).ok_or_else(|| Error::Name("`infer` has no outputs".into()))
    }

    /// One call of an entry point with inputs by name; gives the outputs, and updates the state where the entry
    /// does. The size `batch` follows the inputs.
    ///
    /// # Errors
    /// Those of [`Model::compile_for`] and of running it: an input that is missing, unknown or of another type.
    pub fn run(&mut self, entry: &str, inputs: &[(&str, &Tensor)]) -> Result<Vec<(String, Tensor)>> {
        let instance = self.model.instance();
        let batch = inputs
            .iter()
            .find_map(|(name, tensor)| tensor.dims().get(instance.input_axis(name, "batch")?).copied());
        let key = (entry.to_owned(), batch);
        let at = match self.instances.iter().position(|(known, _)| *known == key) {
            Some(at) => at,
            None => {
                let dims: Vec<(&str, usize)> = batch.map(|size| ("batch", size)).into_iter().collect();
                let executable = self.model.compile_for(entry, &dims)?;
                let instance = Instance::bind(executable, &self.state, &self.threads)?;
                if self.instances.len() == KEPT {
                    self.instances.remove(0);
                }
                self.instances.push((key, instance));
                self.instances.len() - 1
            }
        };
        Ok(self.instances[at].1.run_named(&mut self.state, inputs)?)
    }
}
