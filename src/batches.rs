//! Inputs and outputs with the batch first, whatever axis it is in the model: data sets give samples one behind the other, and
//! answers are told one by one.

use std::collections::HashMap;

use brolga_ir::ops::Role;
use brolga_ir::{Builder, Graph, Origin, Type, Value};

use crate::error::Result;

/// The graph with inputs whose axis `axis_of` (by name) comes first: `f32[length, batch, 8]` becomes
/// `f32[batch, length, 8]`, and is brought back inside. So do outputs by their axes. What has it first, or not at all, stays.
pub(crate) fn batch_first(
    graph: &Graph,
    axis_of: &dyn Fn(&str) -> Option<usize>,
    outputs: &HashMap<String, usize>,
) -> Result<Graph> {
    let mut fed = Graph::new(&graph.name);
    let mut values: HashMap<Value, Value> = HashMap::new();
    for &id in graph.parameters() {
        let Some(parameter) = graph.parameter(id) else { continue };
        let ty = &parameter.ty;
        let axis =
            Some(&parameter.name).filter(|_| parameter.role == Role::Data).and_then(|name| axis_of(name));
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
        let axis = outputs.get(&output.name).filter(|_| output.role != Role::State);
        if let Some(&axis) = axis.filter(|&&axis| axis > 0) {
            let rank = graph.ty(output.value).rank();
            let axes: Vec<usize> = [axis].into_iter().chain(0..axis).chain(axis + 1..rank).collect();
            value = Builder::new(&mut fed, Origin::default()).transpose(value, &axes)?;
        }
        fed.add_output(&output.name, output.role, value);
    }
    Ok(fed)
}
