//! The samples of a batch in inputs and outputs: what is known of them, and the batch brought to the front, whatever axis it is
//! in the model, where data sets give samples one behind the other.

use std::collections::HashMap;
use std::sync::Arc;

use brolga_frontend::{Instance, Samples};
use brolga_ir::ops::Role;
use brolga_ir::{Builder, Graph, Origin, Output, Type, Value};
use brolga_runtime as runtime;

use crate::error::Result;

/// What the outputs of an entry point are of the samples, by name; nothing is known of those that are left out.
pub(crate) type Outputs = HashMap<String, Samples>;

/// An entry point for certain sizes, and what is known of its samples.
pub(crate) struct Batched<'m> {
    pub instance: &'m Instance,
    /// The size `batch`, if the model has it.
    pub batch: Option<usize>,
    /// Whether it is compiled with the batch as the first axis, whatever axis that is.
    pub first: bool,
    /// What its outputs are of the samples: asked where it is needed.
    pub outputs: &'m dyn Fn() -> Arc<Outputs>,
}

impl Batched<'_> {
    /// The graph with the batch as the first axis; nothing where it is compiled as it is.
    pub(crate) fn first(&self, graph: &Graph) -> Result<Option<Graph>> {
        if !self.first {
            return Ok(None);
        }
        let input_axis = |name: &str| axis(self.instance.input_samples(name));
        let output_axis = |output: &Output| {
            // Those that can only have it first ask nothing, and then nothing is built again.
            let mut others = graph.ty(output.value).dims.iter().skip(1);
            let may_have = others.any(|&extent| Some(extent) == self.batch);
            may_have.then(|| (self.outputs)().get(&output.name).copied().and_then(axis)).flatten()
        };
        batch_first(graph, &input_axis, &output_axis).map(Some)
    }

    /// What the inputs and the outputs of the compiled entry point are of the samples, in their order.
    pub(crate) fn samples(
        &self,
        manifest: &runtime::Manifest,
    ) -> (Vec<runtime::Samples>, Vec<runtime::Samples>) {
        let inputs = manifest.inputs.iter();
        let inputs = inputs.map(|input| self.compiled(self.instance.input_samples(&input.name), &input.dims));
        // A training step gives metrics: nobody asks what they are of the samples.
        let are_metrics = manifest.updates_state() && manifest.outputs.iter().all(|o| o.dims.is_empty());
        let known = if are_metrics { Arc::default() } else { (self.outputs)() };
        let of_output = |name: &str| known.get(name).copied().unwrap_or(Samples::Together);
        let outputs = manifest.outputs.iter();
        let outputs = outputs.map(|output| self.compiled(of_output(&output.name), &output.dims));
        (inputs.collect(), outputs.collect())
    }

    /// What an input or output with these dimensions is of the samples, as it was compiled.
    fn compiled(&self, samples: Samples, dims: &[usize]) -> runtime::Samples {
        match samples {
            Samples::Same => runtime::Samples::Same,
            Samples::Along(axis) => {
                let axis = if self.first { 0 } else { axis };
                // A model may be another one for some batches.
                let fits = self.batch.is_some() && dims.get(axis).copied() == self.batch;
                if fits { runtime::Samples::Along(axis) } else { runtime::Samples::Together }
            }
            Samples::Together => runtime::Samples::Together,
        }
    }
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
