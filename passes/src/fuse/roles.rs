//! The role that each node has, by its operator and its definition; and what it reads through nodes that its readers copy.

use brolga_ir::definition::{Definition, Element, Order};
use brolga_ir::ops::{Elementwise, Op};
use brolga_ir::scalar::ScalarOp;
use brolga_ir::{DType, Graph, NodeId, Value};
use rustc_hash::FxHashSet;

use crate::facts::products::takes_epilogue;
use crate::facts::table::NodeTable;

/// What a node is to the clusters.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum ClusterRole {
    /// Copied into every cluster that reads it.
    Virtual,
    /// One element of the result for each point of the space.
    Elementwise,
    /// As elementwise, but reads its operands at other points: starts a cluster.
    Starting,
    /// Made of pieces, or an index map that is run, because too many are behind each other: a cluster by itself.
    Alone,
    /// Reduces the space along axes.
    Reduction,
    /// A product whose kernel can go on with elementwise work on its result: starts a cluster.
    Product,
    /// Brings its own loops: a cluster by itself that is not made a region.
    Barrier,
}

/// How a node reads a value of a cluster, through virtual nodes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Path {
    /// At its own point of the space.
    Direct,
    /// Repeated along axes that its source does not have: the broadcast node.
    Broadcast(NodeId),
    /// At other points.
    Indirect,
}

/// The roles of the nodes of a graph that an output needs.
pub(super) struct Roles<'g> {
    pub graph: &'g Graph,
    of: NodeTable<Option<ClusterRole>>,
}

impl<'g> Roles<'g> {
    /// Of these nodes.
    pub fn new(graph: &'g Graph, order: &[NodeId]) -> Roles<'g> {
        let mut of = NodeTable::default();
        order.iter().for_each(|&id| *of.at(id) = Some(role(graph, id)));
        Roles { graph, of }
    }

    /// The role of a node, if it has one.
    pub fn get(&self, id: NodeId) -> Option<ClusterRole> {
        *self.of.get(id)
    }

    /// Gives a node another role.
    pub fn set(&mut self, id: NodeId, role: ClusterRole) {
        self.of.set(id, Some(role));
    }

    /// Whether a node has that role.
    pub fn is(&self, id: NodeId, role: ClusterRole) -> bool {
        self.get(id) == Some(role)
    }

    /// Whether a node has one element for each point of its space, or reduces it.
    pub fn is_pointwise(&self, id: NodeId) -> bool {
        matches!(self.get(id), Some(ClusterRole::Elementwise | ClusterRole::Reduction))
    }

    /// Whether computing a node again costs next to nothing.
    pub fn is_cheap(&self, id: NodeId) -> bool {
        let Op::Elementwise(Elementwise { op }) = &self.graph.node(id).op else { return false };
        self.is(id, ClusterRole::Elementwise)
            && matches!(op, ScalarOp::Add | ScalarOp::Sub | ScalarOp::Mul | ScalarOp::Neg)
    }

    /// The axes that a node sums over.
    pub fn reduced_axes(&self, id: NodeId) -> Vec<usize> {
        match &self.graph.node(id).op {
            Op::Reduce(reduce) => reduce.axes.clone(),
            _ => Vec::new(),
        }
    }

    /// The values that are not virtual and that `id` reads, with how.
    pub fn sources(&self, id: NodeId) -> Vec<(Value, Path)> {
        let (mut found, mut seen) = (Vec::new(), Seen::default());
        let mut stack: Vec<(Value, Path)> =
            self.graph.node(id).operands.iter().rev().map(|&v| (v, Path::Direct)).collect();
        // Progress: nothing is looked at twice.
        while let Some((value, path)) = stack.pop() {
            if !seen.insert((value, path)) {
                continue;
            }
            if !self.is(value.node, ClusterRole::Virtual) {
                found.push((value, path));
                continue;
            }
            let node = self.graph.node(value.node);
            let below = match &node.op {
                Op::Elementwise(_) => path,
                Op::Broadcast(_) if path == Path::Direct => Path::Broadcast(value.node),
                _ => Path::Indirect,
            };
            stack.extend(node.operands.iter().rev().map(|&v| (v, below)));
        }
        found
    }

    /// The values that are not virtual and that outputs lead to.
    pub fn returned(&self) -> Vec<Value> {
        let mut found = Vec::new();
        let mut stack: Vec<Value> = self.graph.outputs().iter().map(|output| output.value).collect();
        while let Some(value) = stack.pop() {
            if self.is(value.node, ClusterRole::Virtual) {
                stack.extend(self.graph.node(value.node).operands.iter().copied());
            } else {
                found.push(value);
            }
        }
        found
    }
}

/// The role of a node, by its operator and its definition.
fn role(graph: &Graph, id: NodeId) -> ClusterRole {
    let node = graph.node(id);
    if graph.parameter(id).is_some() {
        return ClusterRole::Barrier;
    }
    if matches!(node.op, Op::Constant(_)) {
        return ClusterRole::Virtual;
    }
    if node.types.len() > 1 {
        return ClusterRole::Barrier;
    }
    let definitions = node.op.get().definition(&graph.operand_types(id), &node.types);
    match &definitions[0] {
        Definition::Element(Element::Operand(..) | Element::Constant(_) | Element::Index(..)) => {
            ClusterRole::Virtual
        }
        Definition::Element(_) if matches!(node.op, Op::Elementwise(_)) => {
            if node.types[0].dtype == DType::Bool { ClusterRole::Virtual } else { ClusterRole::Elementwise }
        }
        Definition::Element(_) => ClusterRole::Starting,
        Definition::Pieces(_) => ClusterRole::Alone,
        Definition::Reduce { order: Order::Plan, .. } => ClusterRole::Reduction,
        Definition::Reduce { order: Order::Chain, .. } => ClusterRole::Starting,
        Definition::Loops if takes_epilogue(graph, id) => ClusterRole::Product,
        Definition::Loops => ClusterRole::Barrier,
    }
}

/// What has been seen on the way from a node to its sources: few values as a rule, a hundred thousand at worst.
#[derive(Default)]
struct Seen {
    few: Vec<(Value, Path)>,
    many: FxHashSet<(Value, Path)>,
}

impl Seen {
    /// Whether this is new.
    fn insert(&mut self, item: (Value, Path)) -> bool {
        if self.few.contains(&item) {
            return false;
        }
        if self.few.len() < 16 {
            self.few.push(item);
            return true;
        }
        self.many.insert(item)
    }
}
