//! What a rule is, and what the functions that are rules have in common.

use brolga_ir::scalar::Scalar;
use brolga_ir::{Builder, GraphError, NodeId, Tensor, Value};

/// The operator of the node, and the node that its first operand is.
macro_rules! operator {
    ($b:expr, $id:expr, $variant:ident) => {
        match &$b.graph.node($id).op {
            Op::$variant(op) => (op.clone(), $b.graph.node($id).operands[0]),
            _ => return Ok(None),
        }
    };
}

/// The operator behind a value, and that operator's first operand.
macro_rules! behind {
    ($b:expr, $value:expr, $variant:ident) => {
        match &$b.graph.node($value.node).op {
            Op::$variant(op) => (op.clone(), $b.graph.node($value.node).operands[0]),
            _ => return Ok(None),
        }
    };
}

/// What a rule makes of a node's only result.
pub(super) type Rewritten = Result<Option<Value>, GraphError>;

/// A rule that is a function.
pub(super) struct Rule {
    pub name: &'static str,
    pub apply: fn(&mut Builder, NodeId) -> Rewritten,
    /// Whether it applies because an axis that stays has the extent 1.
    pub units: bool,
}

/// The extents at some axes.
pub(super) fn pick(dims: &[usize], axes: &[usize]) -> Vec<usize> {
    axes.iter().map(|&axis| dims[axis]).collect()
}

/// A splat of that scalar, with the type of a node's result.
pub(super) fn splat_like(b: &mut Builder, id: NodeId, value: Scalar) -> Rewritten {
    let dims = b.graph.node(id).types[0].dims.clone();
    let scalar = b.constant(Tensor::scalar(value))?;
    Ok(Some(b.broadcast(scalar, &dims, &[])?))
}
