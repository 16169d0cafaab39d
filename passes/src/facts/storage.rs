//! Types that only store: elements are converted by whoever reads them.

use brolga_ir::ops::{Elementwise, Op};
use brolga_ir::scalar::ScalarOp;
use brolga_ir::{Graph, NodeId};

/// Whether a node converts to or from a type that only stores.
pub(crate) fn is_storage(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    matches!(node.op, Op::Elementwise(Elementwise { op: ScalarOp::Convert(_) }))
        && (node.types[0].dtype.is_storage() || graph.ty(node.operands[0]).dtype.is_storage())
}
