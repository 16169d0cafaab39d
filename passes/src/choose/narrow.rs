//! `narrow`: keeps the weights of products as `bf16`, where the options ask for that.
//!
//! ```text
//! x · w   becomes   x · convert<bf16>(w)
//! ```
//!
//! for convolutions and matrix products whose weights are state that the entry does not change, or computed from such
//! state alone: everything that rewrites weights comes before. What is stored is a value with a type of its own, which the
//! product takes as it is: [`lower`](mod@crate::lower) packs it once for every state, which is half the memory to read, and
//! widens each weight as it is multiplied: arithmetic stays in `f32`, and results are the same on every target. Weights that
//! an entry changes stay as they are: a step of training must see small updates. Loses bits: each weight is rounded to 8
//! bits of significand. Linear.
//!
//! Not in regions: the products of a loop read the weights that it captures where they lie, and packing them once, as they are
//! stored, is done for products of the entry itself only.

use brolga_ir::ops::{Conv, ConvForm, Dot, Op};
use brolga_ir::{Builder, DType, Graph, GraphError, NodeId};

use crate::facts::fixed::{Dependence, dependence};
use crate::facts::table::NodeTable;
use crate::options::{Options, Precision};

/// Rounds the weights of products.
pub fn narrow(graph: &mut Graph, options: &Options) -> Result<bool, GraphError> {
    if options.precision != Precision::Bf16 {
        return Ok(false);
    }
    let dependence = dependence(graph);
    let mut changed = false;
    for id in graph.order() {
        let Some(position) = weights(graph, id, &dependence) else { continue };
        let node = graph.node(id);
        let (value, origin) = (node.operands[position], node.origin.clone());
        let stored = Builder::new(graph, origin).convert(value, DType::Bf16)?;
        graph.set_operand(id, position, stored);
        changed = true;
    }
    Ok(changed)
}

/// Which operand of a node are fixed weights in `f32`. Products of two fixed values are computed once
/// anyway; of matrix products those are meant that read panels of weights.
fn weights(graph: &Graph, id: NodeId, dependence: &NodeTable<Dependence>) -> Option<usize> {
    let node = graph.node(id);
    let weights = match &node.op {
        Op::Conv(Conv { form: ConvForm::Forward | ConvForm::InputGradient { .. }, .. }) => 1,
        Op::Dot(dot) if is_dense(dot, graph.operand_types(id)[1].rank()) => 1,
        _ => return None,
    };
    let fixed = |operand: usize| *dependence.get(node.operands[operand].node) == Dependence::State;
    let value = node.operands[weights];
    let wanted = fixed(weights)
        && *dependence.get(node.operands[1 - weights].node) == Dependence::Call
        && graph.ty(value).dtype == DType::F32;
    wanted.then_some(weights)
}

/// Rows times a matrix.
fn is_dense(dot: &Dot, rank: usize) -> bool {
    dot.batch[0].is_empty() && dot.contract[0].len() == 1 && rank <= 2
}
