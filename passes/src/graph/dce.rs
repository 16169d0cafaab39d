//! Dead-code elimination.
//!
//! Removes the nodes that no output needs, and state that is neither read nor written. Inputs stay, read or not:
//! they are the entry's interface. In regions nothing is one: results, carries, slices and captures that nothing needs go as
//! well, and carries that never change become captures (`dce/unused.rs`). Linear, for each level of regions in regions.

mod unused;

use std::collections::BinaryHeap;

use brolga_ir::ops::Role;
use brolga_ir::{Graph, GraphError, NodeId, Output};

use crate::facts::table::NodeTable;
use crate::options::Options;
use crate::rewrite::regions;

/// Removes what no output needs.
pub fn dce(graph: &mut Graph, _: &Options) -> Result<bool, GraphError> {
    eliminate(graph)
}

fn eliminate(graph: &mut Graph) -> Result<bool, GraphError> {
    let nodes = dead_nodes(graph)?;
    let unused = |graph: &Graph, id: NodeId| {
        graph.parameter(id).is_some_and(|parameter| {
            let written = |output: &Output| {
                output.value.node == id || (output.role == Role::State && output.name == parameter.name)
            };
            parameter.role == Role::State && !graph.is_used(id) && !graph.outputs().iter().any(written)
        })
    };
    let parameters = graph.parameters().len();
    graph.retain_parameters(|graph, id| !unused(graph, id));
    Ok(nodes || graph.parameters().len() != parameters)
}

/// Removes nodes only, and what they and their regions do not need of each other: the graph's own parameters stay.
pub(crate) fn dead_nodes(graph: &mut Graph) -> Result<bool, GraphError> {
    let mut changed = false;
    // What goes may have been all that used something, outside or inside. Progress: every round but the last removes some.
    loop {
        changed |= remove_dead(graph);
        let trimmed = unused::trim(graph)?;
        let inside = regions::apply(graph, &mut dead_nodes)?;
        if !(trimmed || inside) {
            return Ok(changed);
        }
        changed = true;
    }
}

fn remove_dead(graph: &mut Graph) -> bool {
    let mut changed = false;
    let mut live: NodeTable<bool> = NodeTable::default();
    for id in graph.order() {
        live.set(id, true);
    }
    let dead: Vec<NodeId> = graph.nodes().filter(|&id| !live.get(id)).collect();
    // Users of dead nodes are dead: count them, and remove nodes as they lose the last.
    let mut users: NodeTable<usize> = NodeTable::default();
    for &id in &dead {
        for operand in &graph.node(id).operands {
            *users.at(operand.node) += 1;
        }
    }
    // The youngest first, whatever order they are found in: numbers are given again.
    let mut free: BinaryHeap<NodeId> = dead.iter().copied().filter(|&id| *users.get(id) == 0).collect();
    // Progress: what is taken from the list is removed from the graph.
    while let Some(id) = free.pop() {
        let operands = graph.node(id).operands.clone();
        graph.remove(id);
        changed = true;
        for operand in operands {
            let count = users.at(operand.node);
            *count -= 1;
            if *count == 0 && !live.get(operand.node) {
                free.push(operand.node);
            }
        }
    }
    changed
}
