//! What is true of products: matrix products, convolutions and their gradients.

use brolga_ir::{Graph, NodeId, Type};

use crate::schedule::Algorithm;

/// The key of a product that is a node of a graph.
pub(crate) fn key(algorithm: Algorithm, graph: &Graph, id: NodeId) -> String {
    let operands: Vec<String> = graph.operand_types(id).into_iter().map(Type::to_string).collect();
    format!("{} {} {}", algorithm.name(), graph.describe(id), operands.join(", "))
}
