//! Splits an entry: what depends on state and constants only moves to a second graph, `@entry.prepare`.
//!
//! The second graph computes the *prepared values* from the state; the runtime runs it after loading and whenever
//! the state changes. They are its outputs, and state of the entry, named `prepared.0`, `prepared.1`, … in canonical
//! order. [`lower_prepared`](crate::lower::lower_prepared) lowers both parts into one program.
//!
//! Only state that the entry does not update counts. Parameters themselves, and what costs nothing to compute again
//! (reshapes, broadcasts, positions, constants), stay in the entry; so does what depends on constants alone, which is `fold`'s work. Best
//! after `fuse`, when it is known what is computed together. Exact. Linear, but for copying the graph.

use std::collections::HashSet;

use brolga_ir::ops::{Op, Role};
use brolga_ir::{Graph, GraphError, NodeId, Value};

use crate::facts::fixed::{Dependence, dependence};
use crate::facts::table::NodeTable;
use crate::graph::dce::dead_nodes;

/// An entry in two parts.
#[derive(Clone, PartialEq, Debug)]
pub struct Prepared {
    /// From state to prepared values.
    pub prepare: Graph,
    /// The entry itself, which reads prepared values as state. It keeps all state, read or not.
    pub main: Graph,
}

/// Splits an entry; nothing if there is nothing to prepare.
pub fn prepare(graph: &Graph) -> Result<Option<Prepared>, GraphError> {
    let values = frontier(graph);
    if values.is_empty() {
        return Ok(None);
    }
    let mut prepare = graph.clone();
    prepare.name = format!("{}.prepare", graph.name);
    let mut main = graph.clone();
    prepare.outputs_mut().clear();
    let taken: HashSet<String> =
        graph.parameters().iter().filter_map(|&id| graph.parameter(id)).map(|p| p.name.clone()).collect();
    let free = (0..).map(|number| format!("prepared.{number}")).filter(|name| !taken.contains(name));
    for (name, &value) in free.zip(&values) {
        prepare.add_output(&name, Role::Data, value);
        let parameter = main.add_parameter(&name, Role::State, graph.ty(value).clone());
        main.replace_uses(value, parameter);
    }
    dead_nodes(&mut main)?;
    dead_nodes(&mut prepare)?;
    // What is left of a loop may be the state itself.
    let is_given = |graph: &Graph, id: NodeId| graph.outputs().iter().any(|output| output.value.node == id);
    prepare.retain_parameters(|graph, id| graph.is_used(id) || is_given(graph, id));
    Ok(Some(Prepared { prepare, main }))
}

/// The values at which the entry's part begins, in canonical order.
fn frontier(graph: &Graph) -> Vec<Value> {
    let dependence = dependence(graph);
    let moves = |id: NodeId| {
        *dependence.get(id) == Dependence::State
            && !matches!(graph.node(id).op, Op::Parameter(_) | Op::Reshape(_) | Op::Broadcast(_))
    };
    // What the entry still needs, from the outputs down, stopping at values that move.
    let order = graph.order();
    let mut needed: NodeTable<bool> = NodeTable::default();
    let mut cut: NodeTable<Vec<bool>> = NodeTable::default();
    let mut need = |value: Value, needed: &mut NodeTable<bool>| {
        if moves(value.node) {
            let results = cut.at(value.node);
            results.resize(graph.node(value.node).types.len(), false);
            results[value.index as usize] = true;
        } else {
            needed.set(value.node, true);
        }
    };
    for output in graph.outputs() {
        need(output.value, &mut needed);
    }
    for &id in order.iter().rev() {
        if *needed.get(id) {
            for &operand in &graph.node(id).operands {
                need(operand, &mut needed);
            }
        }
    }
    let results = order.iter().flat_map(|&id| graph.results(id));
    results.filter(|value| cut.get(value.node).get(value.index as usize) == Some(&true)).collect()
}
