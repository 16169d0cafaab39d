//! What may be computed for steps that a loop does not run.
//!
//! A guarded loop ends before its sequence, or does not begin; what is moved out of it is computed for the other steps too. Nothing
//! reads their values, but a derivative that is yet to be built goes through all of them: it is multiplied by 0 there, and 0 times
//! the derivative of a logarithm at 0 is no number.

use brolga_ir::ops::{Op, Reduce, ReduceWindow};
use brolga_ir::program::Combine;
use brolga_ir::scalar::{Function, ScalarOp};
use brolga_ir::{Graph, NodeId};

/// What may be computed for steps that are not run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unrun {
    /// Everything: nothing is differentiated any more.
    Everything,
    /// What has finite derivatives wherever its operands are finite.
    Smooth,
}

impl Unrun {
    /// In the loops of that graph, in its regions as well.
    pub fn of(graph: &Graph) -> Unrun {
        if holds_derivatives(graph) { Unrun::Smooth } else { Unrun::Everything }
    }

    /// Whether that includes a node of a body.
    pub fn takes(self, body: &Graph, id: NodeId) -> bool {
        self == Unrun::Everything || is_smooth(body, id)
    }
}

fn holds_derivatives(graph: &Graph) -> bool {
    graph.nodes().any(|id| {
        let op = &graph.node(id).op;
        op.is_derivative() || op.regions().into_iter().any(holds_derivatives)
    })
}

/// Whether all derivatives of a node are finite wherever its operands are. `exp` is not such a one: where it overflows, so does
/// its derivative.
fn is_smooth(body: &Graph, id: NodeId) -> bool {
    let node = body.node(id);
    match &node.op {
        Op::Elementwise(op) => !node.types[0].dtype.is_float() || is_smooth_scalar(op.op),
        Op::Reduce(Reduce { combine, .. }) | Op::ReduceWindow(ReduceWindow { combine, .. }) => {
            matches!(combine, Combine::Add | Combine::Max | Combine::Min | Combine::And | Combine::Or)
        }
        Op::Parameter(_) | Op::Constant(_) | Op::Iota(_) | Op::StopGradient(_) => true,
        Op::Broadcast(_) | Op::Reshape(_) | Op::Transpose(_) | Op::Slice(_) | Op::Reverse(_) => true,
        Op::Pad(_) | Op::Concat(_) | Op::Gather(_) | Op::GatherAlong(_) | Op::Dot(_) | Op::Conv(_) => true,
        Op::Random(_) | Op::Scatter(_) | Op::ScatterAlong(_) | Op::WindowSelect(_) => false,
        Op::Cumulative(_) | Op::Sort(_) | Op::Differentiate(_) | Op::Jvp(_) => false,
        Op::Fused(_) | Op::Scan(_) | Op::While(_) | Op::Cond(_) => false,
    }
}

fn is_smooth_scalar(op: ScalarOp) -> bool {
    use ScalarOp::*;
    match op {
        Neg | Abs | Floor | Ceil | Trunc | Round | Add | Sub | Mul | Fma | Max | Min | Select
        | Convert(_) => true,
        Not | And | Or | Xor | Shl | Shr | ShrLogical | MulHigh | Compare(_) => true,
        Function(function) => is_smooth_function(function),
        Sqrt | Div | Rem | Bitcast(_) => false,
    }
}

fn is_smooth_function(function: Function) -> bool {
    use Function::*;
    matches!(function, Tanh | Sigmoid | Erf | Sin | Cos)
}
