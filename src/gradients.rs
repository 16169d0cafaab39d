//! Gradients as outputs, for comparisons with other systems.

use std::collections::HashSet;

use brolga_ir::ops::Role;
use brolga_ir::{Graph, Op};

use crate::error::{Error, Result};

/// The graph with the results of its `gradient` operators as further outputs, named `grad.<parameter>`.
///
/// # Errors
/// A graph that differentiates by no parameter.
pub fn with_gradients(graph: &Graph) -> Result<Graph> {
    let mut graph = graph.clone();
    let mut found = Vec::new();
    for id in graph.order() {
        let node = graph.node(id);
        if !matches!(node.op, Op::Differentiate(_)) {
            continue;
        }
        for (&wrt, gradient) in node.operands[1..].iter().zip(graph.results(id)) {
            if let Some(parameter) = graph.parameter(wrt.node).filter(|p| p.role == Role::State) {
                found.push((format!("grad.{}", parameter.name), gradient));
            }
        }
    }
    if found.is_empty() {
        return Err(Error::Name(format!(
            "`{}` differentiates by no parameter, so there are no gradients to give out",
            graph.name
        )));
    }
    let mut names: HashSet<String> = graph.outputs().iter().map(|output| output.name.clone()).collect();
    for (name, gradient) in found {
        // A parameter that two losses are differentiated by keeps the first gradient.
        if names.insert(name.clone()) {
            graph.add_output(&name, Role::Data, gradient);
        }
    }
    Ok(graph)
}
