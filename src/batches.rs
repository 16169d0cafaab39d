//! The samples of a batch in inputs and outputs: what is known of them, and the batch brought to the front, whatever axis it is
//! in the model, where data sets give samples one behind the other.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use brolga_frontend::{FIT, Samples};
use brolga_ir::ops::Role;
use brolga_ir::{Builder, Graph, Origin, Output, Type, Value};
use brolga_passes::facts::batch::trains;
use brolga_runtime as runtime;

use crate::error::Result;
use crate::model::Model;

impl Model {
    /// The graph of an entry point as it is compiled for a data set that is run through it, [`with_batch_first`]; nothing where
    /// it is compiled as it is.
    ///
    /// [`with_batch_first`]: Model::with_batch_first
    pub(crate) fn graph_for_data(
        &self,
        entry: &str,
        graph: &Graph,
        dims: &[(String, usize)],
    ) -> Result<Option<Graph>> {
        if !self.has_batch_first(entry) {
            return Ok(None);
        }
        let batch = batch_of(dims);
        let input_axis = |name: &str| axis(self.instance().input_samples(name));
        let output_axis = |output: &Output| {
            // Those that can only have it first ask nothing, and then nothing is built again.
            let may_have = graph.ty(output.value).dims.iter().skip(1).any(|&extent| Some(extent) == batch);
            may_have.then(|| self.output_samples(entry).get(&output.name).copied().and_then(axis)).flatten()
        };
        batch_first(graph, &input_axis, &output_axis).map(Some)
    }

    /// Whether an entry point is compiled with the batch as the first axis, because a data set is run through it.
    fn has_batch_first(&self, entry: &str) -> bool {
        let is_run = || entry == FIT || entry.ends_with(".eval");
        self.batch_first && (is_run() || self.instance().graph(entry).is_some_and(trains))
    }

    /// What the outputs of an entry point are of the samples, by name; nothing is known of those that are left out.
    fn output_samples(&self, entry: &str) -> Arc<HashMap<String, Samples>> {
        let mut known = self.outputs.lock().unwrap_or_else(PoisonError::into_inner);
        let found = || Arc::new(self.parsed().output_samples(&self.settings, self.instance(), entry));
        known.entry(entry.to_owned()).or_insert_with(found).clone()
    }

    /// What the inputs and the outputs of an entry point that was compiled for these sizes are of the samples, in their order.
    pub(crate) fn samples(
        &self,
        entry: &str,
        dims: &[(String, usize)],
        manifest: &runtime::Manifest,
    ) -> (Vec<runtime::Samples>, Vec<runtime::Samples>) {
        let (batch, first) = (batch_of(dims), self.has_batch_first(entry));
        let compiled = |samples: Samples, dims: &[usize]| match samples {
            Samples::Same => runtime::Samples::Same,
            Samples::Along(axis) => {
                let axis = if first { 0 } else { axis };
                // A model may be another one for some batches.
                let fits = batch.is_some() && dims.get(axis).copied() == batch;
                if fits { runtime::Samples::Along(axis) } else { runtime::Samples::Together }
            }
            Samples::Together => runtime::Samples::Together,
        };
        let inputs = manifest.inputs.iter();
        let inputs = inputs.map(|input| compiled(self.instance().input_samples(&input.name), &input.dims));
        // A training step gives metrics: nobody asks what they are of the samples.
        let are_metrics = manifest.updates_state() && manifest.outputs.iter().all(|o| o.dims.is_empty());
        let known = (!are_metrics).then(|| self.output_samples(entry)).unwrap_or_default();
        let of_output = |name: &str| known.get(name).copied().unwrap_or(Samples::Together);
        let outputs = manifest.outputs.iter();
        let outputs = outputs.map(|output| compiled(of_output(&output.name), &output.dims));
        (inputs.collect(), outputs.collect())
    }
}

/// The size that samples are counted by.
fn batch_of(dims: &[(String, usize)]) -> Option<usize> {
    dims.iter().find(|(name, _)| name == "batch").map(|(_, size)| *size)
}

/// The axis of samples, where there is one.
fn axis(samples: Samples) -> Option<usize> {
    match samples {
        Samples::Along(axis) => Some(axis),
        Samples::Same | Samples::Together => None,
    }
}

/// The graph with inputs whose axis `input_axis` (by name) comes first: `f32[length, batch, 8]` becomes
/// `f32[batch, length, 8]`, and is brought back inside. So do outputs by their axes. What has it first, or not at all, stays.
fn batch_first(
    graph: &Graph,
    input_axis: &dyn Fn(&str) -> Option<usize>,
    output_axis: &dyn Fn(&Output) -> Option<usize>,
) -> Result<Graph> {
    let mut fed = Graph::new(&graph.name);
    let mut values: HashMap<Value, Value> = HashMap::new();
    for &id in graph.parameters() {
        let Some(parameter) = graph.parameter(id) else { continue };
        let ty = &parameter.ty;
        let axis =
            Some(&parameter.name).filter(|_| parameter.role == Role::Data).and_then(|name| input_axis(name));
        let value = match axis.filter(|&axis| axis > 0 && axis < ty.rank()) {
            None => fed.add_parameter(&parameter.name, parameter.role, ty.clone()),
            Some(axis) => {
                let mut dims = ty.dims.clone();
                let batch = dims.remove(axis);
                dims.insert(0, batch);
                let given = fed.add_parameter(&parameter.name, parameter.role, Type::new(ty.dtype, dims));
                // The axes before the batch stand one place further, and those behind it where they were.
                let axes: Vec<usize> = (1..=axis).chain([0]).chain(axis + 1..ty.rank()).collect();
                Builder::new(&mut fed, graph.node(id).origin.clone()).transpose(given, &axes)?
            }
        };
        values.insert(graph.result(id), value);
    }
    let roots: Vec<Value> = graph.outputs().iter().map(|output| output.value).collect();
    let found = fed.import(graph, &roots, &mut values)?;
    for (output, mut value) in graph.outputs().iter().zip(found) {
        let axis = Some(output).filter(|output| output.role != Role::State).and_then(output_axis);
        if let Some(axis) = axis.filter(|&axis| axis > 0) {
            let rank = graph.ty(output.value).rank();
            let axes: Vec<usize> = [axis].into_iter().chain(0..axis).chain(axis + 1..rank).collect();
            value = Builder::new(&mut fed, Origin::default()).transpose(value, &axes)?;
        }
        fed.add_output(&output.name, output.role, value);
    }
    Ok(fed)
}
