//! What is around a product in a region: what depends on it, what that reads beside it, and where it all lies.

use brolga_ir::definition::Definition;
use brolga_ir::ops::Op;
use brolga_ir::{Graph, GraphError, NodeId, Value};
use rustc_hash::FxHashSet;

use crate::facts::definition::definition;
use crate::lower::{Location, Lowering};

/// Whether a region holds a node with loops of its own.
pub(in crate::lower) fn is_product(body: &Graph) -> bool {
    body.order().into_iter().any(|id| has_loops(body, id))
}

/// Whether a node has loops of its own: it is the root of such a region.
pub(super) fn has_loops(graph: &Graph, id: NodeId) -> bool {
    !matches!(graph.node(id).op, Op::Parameter(_) | Op::Constant(_))
        && graph.results(id).into_iter().any(|value| definition(graph, value) == Definition::Loops)
}

impl Lowering<'_> {
    /// The nodes that depend on one, itself among them.
    pub(super) fn dependents(&self, root: NodeId) -> FxHashSet<NodeId> {
        let mut found = FxHashSet::from_iter([root]);
        for id in self.graph.order() {
            if self.graph.node(id).operands.iter().any(|v| found.contains(&v.node)) {
                found.insert(id);
            }
        }
        found
    }

    /// The values in memory that the outputs read beside the root, if they read that only element by element.
    pub(in crate::lower) fn rest(
        &self,
        root: NodeId,
        outputs: impl DoubleEndedIterator<Item = Value> + Clone,
    ) -> Option<Vec<Value>> {
        let graph = self.graph;
        let dims = &graph.node(root).types[0].dims;
        let depends = self.dependents(root);
        let mut read = Vec::new();
        let mut stack: Vec<Value> = outputs.clone().rev().collect();
        let mut seen = FxHashSet::default();
        while let Some(value) = stack.pop() {
            if value.node == root || !seen.insert(value) {
                continue;
            }
            let node = graph.node(value.node);
            let elementwise = matches!(node.op, Op::Elementwise(_)) && node.types[0].dims == *dims;
            let tensor = matches!(node.op, Op::Constant(_)) && definition(graph, value) == Definition::Loops;
            if (depends.contains(&value.node) && !elementwise) || has_loops(graph, value.node) {
                return None;
            }
            if tensor || graph.parameter(value.node).is_some() {
                read.push(value);
            } else {
                stack.extend(node.operands.iter().rev().copied());
            }
        }
        outputs.into_iter().all(|value| graph.ty(value).dims == *dims).then_some(read)
    }

    /// Where a product is computed: where an output of its type goes, itself if it is one.
    pub(super) fn place_of(&mut self, value: Value, outputs: &[(Value, Location)]) -> Location {
        let graph = self.graph;
        let ty = graph.ty(value);
        let raw = outputs.iter().find(|(output, _)| *output == value);
        let place = raw.or_else(|| outputs.iter().find(|(output, _)| graph.ty(*output) == ty));
        match place {
            Some(&(_, location)) => location,
            None => {
                let name = self.name_of(value);
                self.arena(&name, ty.clone())
            }
        }
    }

    /// Values with their places.
    pub(super) fn with_locations(&mut self, values: &[Value]) -> Result<Vec<(Value, Location)>, GraphError> {
        values.iter().map(|&value| Ok((value, self.location(value)?))).collect()
    }
}
