//! `narrow`: stores the weights of products as `bf16`, where the options ask for that.
//!
//! ```text
//! dot %x, %w {…}   becomes   dot %x, %w {…, weights: bf16}
//! ```
//!
//! for convolutions and matrix products whose weights are state that the entry does not change, or computed from such
//! state alone: everything that rewrites weights comes before. It is a [choice](brolga_ir::choice) beside the product, the one
//! place that says what its weights are stored as. [`lower`](mod@crate::lower) packs them so, once for every state, which is half
//! the memory to read, and widens each weight as it is multiplied: arithmetic stays in `f32`, and results are the same on every
//! target. Weights that an entry changes stay as they are: a step of training must see small updates. Loses bits: each weight
//! is rounded to 8 bits of significand. Linear.
//!
//! Not in regions: the products of a loop read the weights that it captures where they lie, and packing them once, as they are
//! stored, is done for products of the entry itself only.

use brolga_ir::choice::{Choice, has_weights};
use brolga_ir::{DType, Graph, GraphError, NodeId};

use crate::facts::fixed::{Dependence, dependence};
use crate::facts::table::NodeTable;
use crate::options::{Options, Precision};

/// Chooses what the weights of products are stored as.
pub fn narrow(graph: &mut Graph, options: &Options) -> Result<bool, GraphError> {
    if options.precision != Precision::Bf16 {
        return Ok(false);
    }
    let dependence = dependence(graph);
    let mut changed = false;
    for id in graph.order() {
        let choice = graph.choice(id);
        if choice.weights.is_none() && reads_fixed_weights(graph, id, &dependence) {
            graph.set_choice(id, Choice { weights: Some(DType::Bf16), ..choice });
            changed = true;
        }
    }
    Ok(changed)
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
