//! Constants and splats: what a pass can know of a value's elements.

use brolga_ir::ops::Op;
use brolga_ir::scalar::Scalar;
use brolga_ir::{Graph, Tensor, Value};

/// The tensor that a value is, if it is a constant.
pub(crate) fn constant(graph: &Graph, value: Value) -> Option<&Tensor> {
    match &graph.node(value.node).op {
        Op::Constant(constant) => Some(&constant.value),
        _ => None,
    }
}

/// The element that a value repeats: of a constant with one element, or of its broadcasts and reshapes.
pub(crate) fn splat(graph: &Graph, mut value: Value) -> Option<Scalar> {
    // From a value to its operand: graphs have no cycles.
    loop {
        let node = graph.node(value.node);
        match &node.op {
            Op::Constant(constant) if constant.value.elements() == 1 => return Some(constant.value.get(0)),
            Op::Broadcast(_) | Op::Reshape(_) => value = node.operands[0],
            _ => return None,
        }
    }
}

/// Whether two values are known to be equal.
pub(crate) fn equal(graph: &Graph, a: Value, b: Value) -> bool {
    a == b
        || (graph.ty(a) == graph.ty(b)
            && matches!((splat(graph, a), splat(graph, b)), (Some(x), Some(y)) if x.same(y)))
}
