//! What is repeated for each reader instead of stored, and what no longer is.

use brolga_ir::ops::Op;
use brolga_ir::{NodeId, Value};
use rustc_hash::{FxHashMap, FxHashSet};

use super::roles::{ClusterRole, Roles};
use crate::facts::cost::REPEATED;
use crate::facts::table::NodeTable;

/// Operations on masks that are repeated for each reader, at most; and index maps behind each other. Else the code of a mask
/// that is made of masks would grow with their square, and indices that are divided again and again would double each time.
/// Measured with transposes of `[4, 7]` that are reshaped back: of 8 maps an index has up to 1,279 divisions, of 4 it has 79. Every
/// pass copies them: 400 of these took 8 s. No model that comes along has so many maps behind each other.
const MOST_MASKS: usize = 64;
const MOST_MAPS: usize = 4;

/// Has some virtual nodes stored after all. A virtual node has no memory: each of its readers computes it again, with all virtual
/// nodes that it is made of. A mask of masks of masks would so be computed from its beginning by every one of them. The node
/// with which a reader would repeat too much is stored instead, and behind it counting begins anew.
pub(super) fn bound_virtual(roles: &mut Roles<'_>, order: &[NodeId]) {
    // What the readers of a virtual node repeat: operations on masks, and the most index maps behind each other.
    let mut behind: NodeTable<(usize, usize)> = NodeTable::default();
    for &id in order.iter().filter(|&&id| roles.is(id, ClusterRole::Virtual)).collect::<Vec<_>>() {
        let node = roles.graph.node(id);
        let mask = matches!(node.op, Op::Elementwise(_));
        let below = node.operands.iter().map(|operand| *behind.get(operand.node));
        let (masks, maps) = below
            .fold((0, 0), |a: (usize, usize), b: (usize, usize)| (a.0.saturating_add(b.0), a.1.max(b.1)));
        let own = (masks + usize::from(mask), maps + usize::from(matches!(node.op, Op::Reshape(_))));
        if own.0 > MOST_MASKS && mask {
            roles.set(id, ClusterRole::Elementwise);
        } else if own.1 > MOST_MAPS {
            roles.set(id, ClusterRole::Alone);
        } else {
            behind.set(id, own);
        }
    }
}

/// Makes nodes virtual that cost less to compute again than to store: few cheap operations on one tensor that is
/// in memory anyway, and on factors that are repeated along most of it. So a normalisation keeps its input and
/// its statistics for the backward pass instead of what was centred and scaled.
pub(super) fn recompute(roles: &mut Roles<'_>, order: &[NodeId]) {
    // The tensor that a node is computed from, and by how many operations.
    let mut cheap: FxHashMap<NodeId, (Value, usize)> = FxHashMap::default();
    let mut virtual_: Vec<NodeId> = Vec::new();
    for &id in order {
        let node = roles.graph.node(id);
        if !roles.is_cheap(id) {
            continue;
        }
        let mut root = None;
        let mut operations = 1;
        let simple = node.operands.iter().all(|&operand| {
            if roles.is_small_factor(operand) {
                return true;
            }
            let (from, count) = cheap.get(&operand.node).copied().unwrap_or((operand, 0));
            operations += count;
            let stored = matches!(
                roles.get(from.node),
                Some(ClusterRole::Product | ClusterRole::Barrier | ClusterRole::Alone)
            );
            let one = root.is_none_or(|root| root == from);
            root = Some(from);
            stored && one
        });
        if let Some(root) = root
            && simple
            && operations <= REPEATED
        {
            cheap.insert(id, (root, operations));
            virtual_.push(id);
        }
    }
    // Only what nobody needs in memory: every user is pointwise, and no output.
    let outputs: FxHashSet<NodeId> = roles.graph.outputs().iter().map(|output| output.value.node).collect();
    for id in virtual_ {
        let mut users = roles.graph.users(id);
        users.retain(|&user| roles.get(user).is_some());
        let pointwise = |user: &NodeId| roles.graph.node(*user).types.len() == 1 && roles.is_pointwise(*user);
        if users.len() > 1 && users.iter().all(pointwise) && !outputs.contains(&id) {
            roles.set(id, ClusterRole::Virtual);
        }
    }
}

impl Roles<'_> {
    /// Whether a value is a constant or repeats something much smaller.
    fn is_small_factor(&self, value: Value) -> bool {
        let node = self.graph.node(value.node);
        match &node.op {
            Op::Broadcast(broadcast) => {
                let elements = broadcast.dims.iter().product::<usize>();
                self.graph.ty(node.operands[0]).elements() * 64 <= elements
            }
            Op::Constant(_) => true,
            _ => false,
        }
    }
}
