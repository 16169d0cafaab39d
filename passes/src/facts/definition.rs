//! What a value is by its definition.

use brolga_ir::definition::Definition;
use brolga_ir::ops::Op;
use brolga_ir::{Graph, NodeId, Value};

/// The definition of a value.
pub(crate) fn definition(graph: &Graph, value: Value) -> Definition {
    let node = graph.node(value.node);
    let definitions = node.op.get().definition(&graph.operand_types(value.node), &node.types);
    definitions.into_iter().nth(value.index as usize).expect("a definition for each result")
}

/// The extents and axes that a value reduces, if it is a reduction whose order is planned.
pub(crate) fn reduction(graph: &Graph, id: NodeId) -> Option<(Vec<usize>, Vec<usize>)> {
    match &graph.node(id).op {
        Op::Reduce(reduce) => Some((graph.ty(graph.node(id).operands[0]).dims.clone(), reduce.axes.clone())),
        _ => None,
    }
}
