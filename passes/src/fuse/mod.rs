//! `fuse`: groups nodes into `fused` regions, each of which is lowered to one kernel.
//!
//! A *cluster* grows in topological order. It has one iteration space (the extents of its elementwise nodes), and
//! at most one set of reduced axes in it; nodes over the axes that stay may be in it as well. So softmax, a
//! normalisation in training mode, or the gradient of either is one cluster: several loops over a row, and nothing
//! in between goes to memory. A convolution starts a cluster that only elementwise nodes join, its epilogue; other
//! operators with loops of their own are clusters by themselves.
//!
//! *Virtual* nodes belong to no cluster; every cluster that reads one has its own copy: index maps (reshape,
//! transpose, broadcast, slice), splats, and comparisons, which cost less to repeat than their masks to store.
//!
//! In the end, what is cheap to compute again from tensors that are stored anyway moves to the only cluster that reads it,
//! and elementwise clusters that only one other cluster reads move into that one. So does a pointwise convolution, with what
//! follows it, whose result is the image of a depthwise one.
//!
//! A node may join the cluster of an operand if all other operands are computed by clusters of smaller depth
//! (longest path from the inputs). Depth then never changes, and no cycle between clusters can arise; the test takes
//! constant time, so the pass is linear in the graph.
//!
//! Not done here: recomputing what another cluster computes, fusion across different iteration spaces.

mod build;
mod masks;
mod moves;
mod repeat;

use brolga_ir::definition::{Definition, Element, Order};
use brolga_ir::ops::{Elementwise, Op};
use brolga_ir::scalar::ScalarOp;
use brolga_ir::{DType, Graph, GraphError, NodeId, Value};
use rustc_hash::FxHashSet;

use crate::facts::storage::is_storage;
use crate::facts::table::NodeTable;
use crate::lower::takes_epilogue;
use masks::prefer_results;

/// Nodes in one cluster, at most: what one kernel's registers and compile time can carry.
const LARGEST: usize = 96;
/// A row kernel over fewer rows than this is not worth its lost parallelism, unless the whole is small.
const FEWEST_ROWS: usize = 8;
const SMALL: usize = 1 << 15;
/// Operations that are repeated rather than their result stored, at most.
const CHEAP: usize = 4;

/// Groups nodes into fused regions; whether any was made.
pub fn fuse(graph: &mut Graph) -> Result<bool, GraphError> {
    prefer_results(graph)?;
    let order = graph.order();
    let mut fuser =
        Fuser { graph, roles: NodeTable::default(), clusters: Vec::new(), cluster_of: NodeTable::default() };
    order.iter().for_each(|&id| *fuser.roles.at(id) = Some(role(graph, id)));
    fuser.bound_virtual(&order);
    fuser.recompute(&order);
    for &id in &order {
        if !fuser.is(id, Part::Virtual) {
            fuser.place(id);
        }
    }
    fuser.hand_over(&order);
    fuser.sink(&order);
    fuser.expand(&order);
    fuser.renumber();
    let fused = fuser.build(&order)?;
    let changed = fused != *graph;
    *graph = fused;
    Ok(changed)
}

/// How a node takes part.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Part {
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

/// Nodes that become one kernel.
struct Cluster {
    /// Extents of the space; `None` for barriers and pieces, which nothing joins.
    space: Option<Vec<usize>>,
    /// The axes of the space that its reductions are over, if it has any.
    axes: Option<Vec<usize>>,
    /// Whether a reduction may be added: not where elements are expensive to compute again.
    reducible: bool,
    /// Clusters on the longest path to it from the inputs.
    depth: usize,
    /// In topological order; of a product, the product first.
    nodes: Vec<NodeId>,
}

impl Cluster {
    /// The axes that reductions keep; none where there are no reductions.
    fn kept_axes(&self) -> Vec<usize> {
        let rank = self.space.as_ref().map_or(0, Vec::len);
        (0..rank).filter(|axis| self.axes.as_ref().is_some_and(|axes| !axes.contains(axis))).collect()
    }

    /// Their extents.
    fn kept_dims(&self) -> Vec<usize> {
        self.space.as_ref().map_or(Vec::new(), |dims| self.kept_axes().into_iter().map(|a| dims[a]).collect())
    }
}

/// How a node reads a value of a cluster, through virtual nodes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Path {
    /// At its own point of the space.
    Direct,
    /// Repeated along axes that its source does not have: the broadcast node.
    Broadcast(NodeId),
    /// At other points.
    Indirect,
}

/// A graph whose nodes are being grouped.
struct Fuser<'g> {
    graph: &'g Graph,
    /// Of the nodes that an output needs.
    roles: NodeTable<Option<Part>>,
    clusters: Vec<Cluster>,
    /// Of the nodes that are not virtual.
    cluster_of: NodeTable<Option<usize>>,
}

/// How a node takes part, by its operator and its definition.
fn role(graph: &Graph, id: NodeId) -> Part {
    let node = graph.node(id);
    if graph.parameter(id).is_some() {
        return Part::Barrier;
    }
    if matches!(node.op, Op::Constant(_)) {
        return Part::Virtual;
    }
    if node.types.len() > 1 {
        return Part::Barrier;
    }
    let definitions = node.op.get().definition(&graph.operand_types(id), &node.types);
    match &definitions[0] {
        Definition::Element(Element::Operand(..) | Element::Constant(_) | Element::Index(..)) => {
            Part::Virtual
        }
        // Whoever reads what is stored converts it; weights are packed as they are stored.
        Definition::Element(_) if is_storage(graph, id) => Part::Virtual,
        Definition::Element(_) if matches!(node.op, Op::Elementwise(_)) => {
            if node.types[0].dtype == DType::Bool { Part::Virtual } else { Part::Elementwise }
        }
        Definition::Element(_) => Part::Starting,
        Definition::Pieces(_) => Part::Alone,
        Definition::Reduce { order: Order::Plan, .. } => Part::Reduction,
        Definition::Reduce { order: Order::Chain, .. } => Part::Starting,
        Definition::Loops if takes_epilogue(graph, id) => Part::Product,
        Definition::Loops => Part::Barrier,
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

impl Fuser<'_> {
    /// Whether a node takes part in that way.
    fn is(&self, id: NodeId, part: Part) -> bool {
        *self.roles.get(id) == Some(part)
    }

    /// Whether a node has one element for each point of its space, or reduces it.
    fn is_pointwise(&self, id: NodeId) -> bool {
        matches!(self.roles.get(id), Some(Part::Elementwise | Part::Reduction))
    }

    /// Whether computing a node again costs next to nothing.
    fn is_cheap(&self, id: NodeId) -> bool {
        let Op::Elementwise(Elementwise { op }) = &self.graph.node(id).op else { return false };
        self.is(id, Part::Elementwise)
            && matches!(op, ScalarOp::Add | ScalarOp::Sub | ScalarOp::Mul | ScalarOp::Neg)
    }

    /// The cluster of a node that is not virtual.
    fn cluster(&self, id: NodeId) -> usize {
        self.cluster_of.get(id).expect("operands are placed before their users")
    }

    /// The values that are not virtual and that `id` reads, with how.
    fn sources(&self, id: NodeId) -> Vec<(Value, Path)> {
        let (mut found, mut seen) = (Vec::new(), Seen::default());
        let mut stack: Vec<(Value, Path)> =
            self.graph.node(id).operands.iter().rev().map(|&v| (v, Path::Direct)).collect();
        // Progress: nothing is looked at twice.
        while let Some((value, path)) = stack.pop() {
            if !seen.insert((value, path)) {
                continue;
            }
            if !self.is(value.node, Part::Virtual) {
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

    /// Puts a node into the cluster of an operand, or a new one.
    fn place(&mut self, id: NodeId) {
        let sources = self.sources(id);
        let Some(role) = *self.roles.get(id) else { return };
        let depth_of = |value: &Value| self.clusters[self.cluster(value.node)].depth;
        let joins = self.is_pointwise(id);
        let deepest =
            sources.iter().map(|(v, _)| self.cluster(v.node)).max_by_key(|&c| self.clusters[c].depth);
        if let Some(target) = deepest.filter(|_| joins)
            && self.may_join(id, target, &sources)
        {
            if role == Part::Reduction {
                let axes = self.reduced_axes(id);
                self.clusters[target].axes = Some(axes);
            }
            self.clusters[target].nodes.push(id);
            *self.cluster_of.at(id) = Some(target);
            return;
        }
        let depth = sources.iter().map(|(v, _)| depth_of(v) + 1).max().unwrap_or(0);
        let ty = &self.graph.node(id).types[0];
        let (space, axes) = match role {
            Part::Elementwise | Part::Starting | Part::Product => (Some(ty.dims.clone()), None),
            Part::Reduction => {
                let operand = self.graph.node(id).operands[0];
                (Some(self.graph.ty(operand).dims.clone()), Some(self.reduced_axes(id)))
            }
            Part::Alone | Part::Barrier | Part::Virtual => (None, None),
        };
        let reducible = !matches!(role, Part::Starting | Part::Product);
        *self.cluster_of.at(id) = Some(self.clusters.len());
        self.clusters.push(Cluster { space, axes, reducible, depth, nodes: vec![id] });
    }

    /// The axes that a node sums over.
    fn reduced_axes(&self, id: NodeId) -> Vec<usize> {
        match &self.graph.node(id).op {
            Op::Reduce(reduce) => reduce.axes.clone(),
            _ => Vec::new(),
        }
    }

    /// Whether a node, which reads `sources`, may become part of a cluster.
    fn may_join(&self, id: NodeId, target: usize, sources: &[(Value, Path)]) -> bool {
        let cluster = &self.clusters[target];
        let Some(space) = &cluster.space else { return false };
        let room = cluster.nodes.len() < LARGEST;
        // Other sources must not depend on the cluster; its own values must be read at the same point.
        let read_well = |(value, path): &(Value, Path)| {
            let other = self.cluster(value.node);
            match path {
                _ if other != target => self.clusters[other].depth < cluster.depth,
                Path::Direct => true,
                Path::Indirect => false,
                Path::Broadcast(node) => self.repeats_kept(*node, *value, cluster),
            }
        };
        room && sources.iter().all(read_well) && self.fits(id, cluster, space)
    }

    /// Whether a broadcast repeats a value over the axes that stay of a cluster along the reduced ones.
    fn repeats_kept(&self, node: NodeId, value: Value, cluster: &Cluster) -> bool {
        let Op::Broadcast(broadcast) = &self.graph.node(node).op else { return false };
        cluster.axes.is_some()
            && Some(&broadcast.dims) == cluster.space.as_ref()
            && broadcast.axes == cluster.kept_axes()
            && self.graph.ty(value).dims == cluster.kept_dims()
    }

    /// Whether a node's elements, or what it reduces, are the points of a cluster's space, or its result those of the axes that
    /// stay; and enough rows are left to run in parallel.
    fn fits(&self, id: NodeId, cluster: &Cluster, space: &[usize]) -> bool {
        let node = self.graph.node(id);
        let points: usize = space.iter().product();
        let serial = |rows: usize| rows < FEWEST_ROWS && points > SMALL;
        match self.roles.get(id) {
            Some(Part::Elementwise) => {
                let dims = &node.types[0].dims;
                let reduces = cluster.axes.is_some();
                let kept = cluster.kept_dims();
                (dims == space && !(reduces && serial(kept.iter().product()))) || (reduces && *dims == kept)
            }
            Some(Part::Reduction) => {
                let axes = self.reduced_axes(id);
                self.graph.ty(node.operands[0]).dims == space
                    && match &cluster.axes {
                        Some(there) => *there == axes,
                        None => cluster.reducible && !serial(node.types[0].elements()),
                    }
            }
            _ => false,
        }
    }

    /// The values that are not virtual and that outputs lead to.
    fn returned(&self) -> Vec<Value> {
        let mut found = Vec::new();
        let mut stack: Vec<Value> = self.graph.outputs().iter().map(|output| output.value).collect();
        while let Some(value) = stack.pop() {
            if self.is(value.node, Part::Virtual) {
                stack.extend(self.graph.node(value.node).operands.iter().copied());
            } else {
                found.push(value);
            }
        }
        found
    }
}
