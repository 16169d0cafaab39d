//! `narrow`: stores the weights of products as `bf16`, where the options ask for that.
//!
//! ```text
//! dot %x, %w {…}   becomes   dot %x, %w {…, weights: bf16}
//! ```
//!
//! for convolutions and matrix products whose weights are state that the entry does not change, or computed from such
//! state alone: everything that rewrites weights comes before. It is a [choice](brolga_ir::choice) beside the product, the one
//! place that says what its weights are stored as. [`lower`](mod@crate::lower) packs them so, once for every state, which is half
//! the memory to read, and code widens each weight as it loads it (`bf16.rs` of both emitters): arithmetic stays in `f32`, and
//! results are the same on every target. Weights that an entry changes stay as they are: a step of training must see small updates. Loses bits: each weight
//! is rounded to 8 bits of significand. Linear.
//!
//! In regions the same holds for what they capture: it is packed before the outermost loop that captures it. What a loop goes
//! through, or carries, is another in each iteration, and stays.

use brolga_ir::choice::{Choice, has_weights};
use brolga_ir::ops::RegionOp;
use brolga_ir::{DType, Graph, GraphError, NodeId, Value};

use crate::facts::fixed::{Dependence, dependence_in};
use crate::facts::table::NodeTable;
use crate::options::{Options, Precision};
use crate::rewrite::regions;

/// Chooses what the weights of products are stored as.
pub fn narrow(graph: &mut Graph, options: &Options) -> Result<bool, GraphError> {
    if options.precision != Precision::Bf16 {
        return Ok(false);
    }
    choose(graph, None)
}

/// In a graph, of whose parameters it is known what they depend on if it is a region, and in its regions.
fn choose(graph: &mut Graph, given: Option<&[Dependence]>) -> Result<bool, GraphError> {
    let outside = dependence_in(graph, given);
    let known = |graph: &Graph, id: NodeId| captured(graph, id, &outside);
    let mut changed = regions::apply_with(graph, &known, &mut |region, given| choose(region, Some(&given)))?;
    let dependence = dependence_in(graph, given);
    for id in graph.order() {
        let choice = graph.choice(id);
        if choice.weights.is_none() && reads_fixed_weights(graph, id, &dependence) {
            graph.set_choice(id, Choice { weights: Some(DType::Bf16), ..choice });
            changed = true;
        }
    }
    Ok(changed)
}

/// What the parameters of a node's regions depend on, for each region: captures on what they do outside, all others on the call.
fn captured(graph: &Graph, id: NodeId, table: &NodeTable<Dependence>) -> Vec<Vec<Dependence>> {
    let node = graph.node(id);
    let Some(op) = node.op.region_op() else { return Vec::new() };
    // The first operand that is a parameter, and the first that is captured.
    let (first, captures) = match op {
        RegionOp::Scan(scan) => (0, scan.carries + scan.slices),
        RegionOp::While(looped) => (0, looped.carries),
        RegionOp::Cond(_) => (1, 1),
        RegionOp::Fused(_) => (0, 0),
    };
    let of = |(position, operand): (usize, &Value)| match position < captures {
        true => Dependence::Call,
        false => *table.get(operand.node),
    };
    let parameters: Vec<Dependence> = node.operands.iter().enumerate().skip(first).map(of).collect();
    vec![parameters; node.op.regions().len()]
}

/// Whether a node is a product of what every call gives with fixed weights in `f32`. Products of two fixed values are computed
/// once anyway.
fn reads_fixed_weights(graph: &Graph, id: NodeId, dependence: &NodeTable<Dependence>) -> bool {
    let node = graph.node(id);
    let &[x, w] = node.operands.as_slice() else { return false };
    has_weights(&node.op, &graph.operand_types(id))
        && *dependence.get(w.node) == Dependence::State
        && *dependence.get(x.node) == Dependence::Call
        && graph.ty(w).dtype == DType::F32
}
