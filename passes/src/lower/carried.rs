//! Carries that are changed where they lie: a step of a loop that writes some rows of what it carries leaves the others alone.

use brolga_ir::ops::Op;
use brolga_ir::{NodeId, Value};
use rustc_hash::FxHashSet;

use super::location::Location;
use super::lowering::Lowering;

impl Lowering<'_> {
    /// Has the next value of each carry that is scattered into be computed in the place of the carry, if nothing needs the old value
    /// from there on; the graph is the body. A memory of 1,000 rows is not copied in each step that writes one of them.
    pub(super) fn change_in_place(&mut self, carries: &[Location]) {
        let graph = self.graph;
        let order = graph.order();
        for (number, &place) in carries.iter().enumerate() {
            let (old, next) = (graph.result(graph.parameters()[number]), graph.outputs()[number].value);
            let node = graph.node(next.node);
            let scatters = matches!(node.op, Op::Scatter(_) | Op::ScatterAlong(_)) && node.operands[0] == old;
            if scatters && self.is_last_use(&order, old, next.node) {
                self.targets.insert(next, place);
            }
        }
    }

    /// Whether a node is the last one that reads a value, and reads it as its first operand only. What only maps its indices is
    /// read where it is used, which may be later.
    fn is_last_use(&self, order: &[NodeId], value: Value, last: NodeId) -> bool {
        let graph = self.graph;
        let mut views: FxHashSet<Value> = FxHashSet::from_iter([value]);
        let mut is_behind = false;
        for &id in order {
            let node = graph.node(id);
            is_behind |= id == last;
            let read = &node.operands[usize::from(id == last)..];
            if !read.iter().any(|operand| views.contains(operand)) {
                continue;
            }
            let result = graph.result(id);
            if node.types.len() == 1 && self.is_view(result) {
                views.insert(result);
            } else if is_behind {
                return false;
            }
        }
        !graph.outputs().iter().any(|output| views.contains(&output.value))
    }
}
