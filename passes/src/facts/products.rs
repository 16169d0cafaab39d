//! What is true of products: matrix products, convolutions and their gradients.

use brolga_ir::{Graph, NodeId};

use crate::facts::storage::is_storage;
use crate::schedule::Algorithm;

/// The key of a product that is a node of a graph.
pub(crate) fn key(algorithm: Algorithm, graph: &Graph, id: NodeId) -> String {
    // Weights that are stored narrower are converted by nobody but who packs them.
    let operands = graph.node(id).operands.iter().map(|&operand| {
        let stored = is_storage(graph, operand.node).then(|| graph.node(operand.node).operands[0]);
        graph.ty(stored.unwrap_or(operand)).to_string()
    });
    let operands: Vec<String> = operands.collect();
    format!("{} {} {}", algorithm.name(), graph.describe(id), operands.join(", "))
}
