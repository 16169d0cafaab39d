//! Gradients as outputs, for comparisons with other systems.

use std::collections::HashSet;

use brolga_ir::ops::{Op, Role, StopGradient};
use brolga_ir::{Builder, Graph, NodeId, Value};

use crate::error::{Error, Result};

/// The graph with further outputs: the results of its `gradient` operators as `grad.<parameter>`, whether a step starts from
/// the state as it was or from what earlier steps have left of it; and the gradients of the same losses by its inputs of
/// floating type as `input.<name>`; zeros for an input that no loss depends on. A parameter or an input that several losses
/// are differentiated by, or depend on, has the gradient of the first of these.
///
/// # Errors
/// A graph that differentiates by no parameter.
pub fn with_gradients(graph: &Graph) -> Result<Graph> {
    let mut graph = graph.clone();
    let (mut found, mut losses) = (Vec::new(), Vec::new());
    for id in graph.order() {
        let node = graph.node(id);
        if !matches!(node.op, Op::Differentiate(_)) {
            continue;
        }
        let before = found.len();
        for (&wrt, gradient) in node.operands[1..].iter().zip(graph.results(id)) {
            if let Some(name) = state(&graph, wrt) {
                found.push((format!("grad.{name}"), gradient));
            }
        }
        // Others are part of a loss, such as the penalty of a gradient.
        if found.len() > before {
            losses.push((id, node.operands[0]));
        }
    }
    if found.is_empty() {
        return Err(Error::Name(format!(
            "`{}` differentiates by no parameter, so there are no gradients to give out",
            graph.name
        )));
    }
    for (id, loss) in losses {
        found.extend(by_inputs(&mut graph, id, loss)?);
    }
    for (name, input) in inputs(&graph, graph.parameters()) {
        if !found.iter().any(|(other, _)| *other == name) {
            let zero = Builder::new(&mut graph, Default::default()).zeros_like(input)?;
            found.push((name, zero));
        }
    }
    // New state has names of its own.
    let outputs = graph.outputs().iter().filter(|output| output.role == Role::Data);
    let mut names: HashSet<String> = outputs.map(|output| output.name.clone()).collect();
    for (name, gradient) in found {
        // A parameter that two losses are differentiated by keeps the first gradient.
        if names.insert(name.clone()) {
            graph.add_output(&name, Role::Data, gradient);
        }
    }
    Ok(graph)
}

/// The state that a value is, or that it is of since an earlier step of the entry.
fn state(graph: &Graph, value: Value) -> Option<&str> {
    match &graph.node(value.node).op {
        Op::Parameter(parameter) => (parameter.role == Role::State).then_some(parameter.name.as_str()),
        Op::StopGradient(StopGradient { state }) => state.as_deref(),
        _ => None,
    }
}

/// The gradients of a loss by the inputs that it depends on, under their names; `differentiated` says where they come
/// from.
fn by_inputs(graph: &mut Graph, differentiated: NodeId, loss: Value) -> Result<Vec<(String, Value)>> {
    // All parameters are in the order; what the loss depends on is an operand somewhere, or the loss itself.
    let order = graph.order_from([loss]);
    let operands = order.iter().flat_map(|&id| &graph.node(id).operands);
    let below: HashSet<NodeId> = operands.chain([&loss]).map(|value| value.node).collect();
    let below: Vec<NodeId> = order.into_iter().filter(|id| below.contains(id)).collect();
    let (names, inputs): (Vec<String>, Vec<Value>) = inputs(graph, &below).into_iter().unzip();
    if inputs.is_empty() {
        return Ok(Vec::new());
    }
    let origin = graph.node(differentiated).origin.clone();
    let gradients = Builder::new(graph, origin).gradient(loss, &inputs)?;
    Ok(names.into_iter().zip(gradients).collect())
}

/// The inputs of floating type among nodes, under the names of their gradients.
fn inputs(graph: &Graph, nodes: &[NodeId]) -> Vec<(String, Value)> {
    let input = |&id: &NodeId| {
        let parameter = graph.parameter(id).filter(|parameter| parameter.role == Role::Data)?;
        let value = graph.result(id);
        graph.ty(value).dtype.is_float().then(|| (format!("input.{}", parameter.name), value))
    };
    nodes.iter().filter_map(input).collect()
}
