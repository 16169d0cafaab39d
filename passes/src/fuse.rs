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

use brolga_ir::definition::{Definition, Element, Order};
use brolga_ir::graph::Output;
use brolga_ir::ops::{Elementwise, Fused, Op, RegionOp, Role};
use brolga_ir::scalar::{Comparison, ScalarOp};
use brolga_ir::{Builder, DType, Graph, GraphError, NodeId, Origin, Value};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::lower::{expansion_pays, takes_epilogue};
use crate::table::{NodeTable, ValueTable};

/// Nodes in one cluster, at most: what one kernel's registers and compile time can carry.
const LARGEST: usize = 96;
/// A row kernel over fewer rows than this is not worth its lost parallelism, unless the whole is small.
const FEWEST_ROWS: usize = 8;
const SMALL: usize = 1 << 15;
/// Operations that are repeated rather than their result stored, at most.
const CHEAP: usize = 4;
/// Operations on masks that are repeated for each reader, at most; and index maps behind each other. Else the code of a mask
/// that is made of masks would grow with their square, and indices that are divided again and again would double each time.
const MOST_MASKS: usize = 64;
const MOST_MAPS: usize = 8;

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

struct Cluster {
    /// Extents of the space; `None` for barriers and pieces, which nothing joins.
    space: Option<Vec<usize>>,
    axes: Option<Vec<usize>>,
    /// Whether a reduction may be added: not where elements are expensive to compute again.
    reducible: bool,
    depth: usize,
    nodes: Vec<NodeId>,
}

impl Cluster {
    fn kept_axes(&self) -> Vec<usize> {
        let rank = self.space.as_ref().map_or(0, Vec::len);
        (0..rank).filter(|axis| self.axes.as_ref().is_some_and(|axes| !axes.contains(axis))).collect()
    }

    fn kept_dims(&self) -> Vec<usize> {
        self.space.as_ref().map_or(Vec::new(), |dims| self.kept_axes().into_iter().map(|a| dims[a]).collect())
    }
}

fn role(graph: &Graph, id: NodeId) -> Part {
    let node = graph.node(id);
    if graph.parameter(id).is_some() {
        return Part::Barrier;
    }
    if let Op::Constant(constant) = &node.op {
        let _ = constant;
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

/// Whether a node converts to or from a type that only stores.
pub(crate) fn is_storage(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    matches!(node.op, Op::Elementwise(Elementwise { op: ScalarOp::Convert(_) }))
        && (node.types[0].dtype.is_storage() || graph.ty(node.operands[0]).dtype.is_storage())
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

struct Fuser<'g> {
    graph: &'g Graph,
    /// Of the nodes that an output needs.
    roles: NodeTable<Option<Part>>,
    clusters: Vec<Cluster>,
    /// Of the nodes that are not virtual.
    cluster_of: NodeTable<Option<usize>>,
}

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

/// Where `y = max(x, 0)`, or `y = x <= 0 ? 0 : x`, other users of a mask like `x <= 0` get `y <= 0`, which has the
/// same bits: y is kept for the backward pass anyway, x then is not.
fn prefer_results(graph: &mut Graph) -> Result<(), GraphError> {
    for id in graph.order() {
        let node = graph.node(id);
        let Op::Elementwise(Elementwise { op }) = &node.op else { continue };
        let (x, own_mask) = match (op, &node.operands[..]) {
            (ScalarOp::Max, &[a, b]) if is_zero(graph, a) => (b, None),
            (ScalarOp::Max, &[a, b]) if is_zero(graph, b) => (a, None),
            (ScalarOp::Select, &[mask, zero, x]) if is_zero(graph, zero) => {
                let test = graph.node(mask.node);
                let Op::Elementwise(compare) = &test.op else { continue };
                if compare.op != ScalarOp::Compare(Comparison::Le) || test.operands != [x, zero] {
                    continue;
                }
                (x, Some(mask.node))
            }
            _ => continue,
        };
        let y = graph.result(id);
        let mut tests = masks(graph, x);
        // Of equal tests one is left, and few readers change: that of the most readers. In a chain of maxima all tests come
        // to be equal.
        tests.sort_by_key(|&test| std::cmp::Reverse(graph.uses(test)));
        let mut left: Vec<NodeId> = Vec::new();
        for test in tests {
            let to_y = |&operand: &Value| if operand == x { y } else { operand };
            let operands: Vec<Value> = graph.node(test).operands.iter().map(to_y).collect();
            if Some(test) == own_mask {
                // It computes y, which the others read.
                let users: Vec<NodeId> = graph.users(test).into_iter().filter(|&user| user != id).collect();
                if users.is_empty() {
                    continue;
                }
                let (op, origin) = (graph.node(test).op.clone(), graph.node(test).origin.clone());
                let again = Builder::new(graph, origin).add_node(op, &operands)?;
                let mask = graph.result(test);
                for user in users {
                    for position in 0..graph.node(user).operands.len() {
                        if graph.node(user).operands[position] == mask {
                            graph.set_operand(user, position, again);
                        }
                    }
                }
                continue;
            }
            let alike = |&&other: &&NodeId| {
                graph.node(other).op == graph.node(test).op && graph.node(other).operands == operands
            };
            match left.iter().find(alike).copied() {
                Some(first) => graph.replace_uses(graph.result(test), graph.result(first)),
                None => {
                    operands
                        .iter()
                        .enumerate()
                        .for_each(|(at, &operand)| graph.set_operand(test, at, operand));
                    left.push(test);
                }
            }
        }
    }
    Ok(())
}

/// The tests of x that have the same bits where `max(x, 0)` stands for it, and that somebody reads.
fn masks(graph: &Graph, x: Value) -> Vec<NodeId> {
    let is_mask = |&test: &NodeId| {
        let node = graph.node(test);
        let Op::Elementwise(Elementwise { op: ScalarOp::Compare(comparison) }) = node.op else {
            return false;
        };
        let tests_zero = match (comparison, &node.operands[..]) {
            (Comparison::Le | Comparison::Gt, &[a, b]) => a == x && is_zero(graph, b),
            (Comparison::Ge | Comparison::Lt, &[a, b]) => b == x && is_zero(graph, a),
            _ => false,
        };
        tests_zero && graph.is_used(test)
    };
    graph.users(x.node).into_iter().filter(is_mask).collect()
}

/// Whether a value is +0 everywhere.
fn is_zero(graph: &Graph, value: Value) -> bool {
    let node = graph.node(value.node);
    match &node.op {
        Op::Constant(c) => {
            c.value.elements() == 1 && c.value.get(0).same(brolga_ir::scalar::Scalar::zero(c.value.dtype()))
        }
        Op::Broadcast(_) | Op::Reshape(_) => is_zero(graph, node.operands[0]),
        _ => false,
    }
}

/// The operator, its regions fused, but for one that is fused already.
fn fused_inside(op: &Op) -> Result<Op, GraphError> {
    let mut op = op.clone();
    match op.region_op() {
        Some(RegionOp::Scan(_) | RegionOp::While(_) | RegionOp::Cond(_)) => {
            op.regions_mut().into_iter().try_for_each(|region| fuse(region).map(drop))?;
        }
        Some(RegionOp::Fused(_)) | None => {}
    }
    Ok(op)
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

    /// Has masks and index maps stored where too much virtual is behind them.
    fn bound_virtual(&mut self, order: &[NodeId]) {
        // Operations on masks that each reader repeats, and the most index maps behind each other.
        let mut behind: NodeTable<(usize, usize)> = NodeTable::default();
        for &id in order.iter().filter(|&&id| self.is(id, Part::Virtual)).collect::<Vec<_>>() {
            let node = self.graph.node(id);
            let mask = matches!(node.op, Op::Elementwise(_)) && !is_storage(self.graph, id);
            let below = node.operands.iter().map(|operand| *behind.get(operand.node));
            let (masks, maps) = below
                .fold((0, 0), |a: (usize, usize), b: (usize, usize)| (a.0.saturating_add(b.0), a.1.max(b.1)));
            let own = (masks + usize::from(mask), maps + usize::from(matches!(node.op, Op::Reshape(_))));
            if own.0 > MOST_MASKS && mask {
                *self.roles.at(id) = Some(Part::Elementwise);
            } else if own.1 > MOST_MAPS {
                *self.roles.at(id) = Some(Part::Alone);
            } else {
                behind.set(id, own);
            }
        }
    }

    /// Makes nodes virtual that cost less to compute again than to store: few cheap operations on one tensor that is
    /// in memory anyway, and on factors that are repeated along most of it. So a normalisation keeps its input and
    /// its statistics for the backward pass instead of what was centred and scaled.
    fn recompute(&mut self, order: &[NodeId]) {
        // The tensor that a node is computed from, and by how many operations.
        let mut cheap: FxHashMap<NodeId, (Value, usize)> = FxHashMap::default();
        let mut virtual_: Vec<NodeId> = Vec::new();
        for &id in order {
            let node = self.graph.node(id);
            if !self.is_cheap(id) {
                continue;
            }
            let mut root = None;
            let mut operations = 1;
            let simple = node.operands.iter().all(|&operand| {
                if self.is_small_factor(operand) {
                    return true;
                }
                let (from, count) = cheap.get(&operand.node).copied().unwrap_or((operand, 0));
                operations += count;
                let stored =
                    matches!(self.roles.get(from.node), Some(Part::Product | Part::Barrier | Part::Alone));
                let one = root.is_none_or(|root| root == from);
                root = Some(from);
                stored && one
            });
            if let Some(root) = root
                && simple
                && operations <= CHEAP
            {
                cheap.insert(id, (root, operations));
                virtual_.push(id);
            }
        }
        // Only what nobody needs in memory: every user is pointwise, and no output.
        let outputs: FxHashSet<NodeId> =
            self.graph.outputs().iter().map(|output| output.value.node).collect();
        for id in virtual_ {
            let mut users = self.graph.users(id);
            users.retain(|&user| self.roles.get(user).is_some());
            let pointwise =
                |user: &NodeId| self.graph.node(*user).types.len() == 1 && self.is_pointwise(*user);
            if users.len() > 1 && users.iter().all(pointwise) && !outputs.contains(&id) {
                *self.roles.at(id) = Some(Part::Virtual);
            }
        }
    }

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

    /// Moves what only one other cluster reads to that one, where it is cheap and computed from tensors that are stored
    /// anyway, at most one of which the other does not read yet: a tensor less is written. So the gradient of a
    /// normalisation behind that of a convolution reads the gradient twice, and not its products.
    fn hand_over(&mut self, order: &[NodeId]) {
        let outputs: FxHashSet<NodeId> =
            self.graph.outputs().iter().map(|output| output.value.node).collect();
        let place: FxHashMap<NodeId, usize> = order.iter().copied().zip(0..).collect();
        let mut readers: FxHashMap<NodeId, Vec<(NodeId, Path)>> = FxHashMap::default();
        for &id in order {
            if !self.is(id, Part::Virtual) {
                for (value, path) in self.sources(id) {
                    readers.entry(value.node).or_default().push((id, path));
                }
            }
        }
        let read_elsewhere = |fuser: &Self, id: NodeId, own: usize, other: usize| {
            let elsewhere = |(reader, _): &(NodeId, Path)| ![own, other].contains(&fuser.cluster(*reader));
            outputs.contains(&id) || readers.get(&id).is_some_and(|list| list.iter().any(elsewhere))
        };
        // What has moved may let others follow: twice is enough for what occurs.
        for &id in order.iter().rev().chain(order.iter().rev()) {
            let Some(own) = *self.cluster_of.get(id) else { continue };
            let Some(&(first, _)) = readers.get(&id).and_then(|list| list.first()) else { continue };
            let other = self.cluster(first);
            let space = &self.clusters[other].space;
            let well = |(reader, path): &(NodeId, Path)| {
                self.cluster(*reader) == other && *path == Path::Direct && self.is_pointwise(*reader)
            };
            if other == own
                || outputs.contains(&id)
                || !readers[&id].iter().all(well)
                || space.as_ref() != Some(&self.graph.node(id).types[0].dims)
            {
                continue;
            }
            // What moves: the node, and what nobody else needs of what it is computed from.
            let mut moving = vec![id];
            let mut read: Vec<Value> = Vec::new();
            let mut position = 0;
            let mut cheap = true;
            // Progress: a node is added once, and too many are not cheap.
            while position < moving.len() && cheap {
                let node = moving[position];
                position += 1;
                cheap = moving.len() <= CHEAP && self.is_cheap(node);
                for (value, path) in self.sources(node) {
                    let inside = self.cluster(value.node) == own;
                    let only_here = |(reader, _): &(NodeId, Path)| moving.contains(reader);
                    if inside && !read_elsewhere(self, value.node, own, other) {
                        cheap &= path == Path::Direct && readers[&value.node].iter().all(only_here);
                        if !moving.contains(&value.node) {
                            moving.push(value.node);
                        }
                    } else if path != Path::Direct {
                        cheap &= matches!(path, Path::Broadcast(_));
                    } else if !read.contains(&value) {
                        read.push(value);
                    }
                }
            }
            if !cheap || self.clusters[other].nodes.len() + moving.len() > LARGEST {
                continue;
            }
            let already: FxHashSet<Value> = self.clusters[other]
                .nodes
                .iter()
                .flat_map(|&node| self.sources(node))
                .map(|(value, _)| value)
                .collect();
            if read.iter().filter(|value| !already.contains(value)).count() > 1 {
                continue;
            }
            self.clusters[own].nodes.retain(|node| !moving.contains(node));
            moving.sort_by_key(|node| place[node]);
            moving.iter().for_each(|&node| *self.cluster_of.at(node) = Some(other));
            // A product stays the first of its cluster.
            let at = usize::from(self.is(self.clusters[other].nodes[0], Part::Product));
            self.clusters[other].nodes.splice(at..at, moving);
        }
    }

    /// Moves elementwise clusters that only one other cluster reads, at its own points, into that one. Everything that
    /// leaves the first goes into the second, so no cycle can arise.
    fn sink(&mut self, order: &[NodeId]) {
        // Who reads each cluster: one cluster in the right way, or `None` for anything else.
        let mut reader: FxHashMap<usize, Option<usize>> = FxHashMap::default();
        for &id in order {
            let Some(own) = *self.cluster_of.get(id) else { continue };
            let pointwise = self.is_pointwise(id);
            for (value, path) in self.sources(id) {
                let other = self.cluster(value.node);
                if other != own {
                    let well = (pointwise && path == Path::Direct).then_some(own);
                    reader.entry(other).and_modify(|r| *r = r.filter(|_| *r == well)).or_insert(well);
                }
            }
        }
        let mut sequence: Vec<usize> = (0..self.clusters.len()).collect();
        sequence.sort_by_key(|&c| (std::cmp::Reverse(self.clusters[c].depth), c));
        let mut into: Vec<usize> = (0..self.clusters.len()).collect();
        for cluster in sequence {
            let Some(&Some(reader)) = reader.get(&cluster) else { continue };
            let reader = into[reader];
            let (from, to) = (&self.clusters[cluster], &self.clusters[reader]);
            let elementwise = from.axes.is_none()
                && from.nodes.iter().all(|&id| self.is(id, Part::Elementwise))
                && from
                    .nodes
                    .iter()
                    .all(|id| Some(&self.graph.node(*id).types[0].dims) == from.space.as_ref());
            let kept = from.space == Some(to.kept_dims()) && to.axes.is_some();
            if !elementwise
                || !(from.space == to.space || kept)
                || from.nodes.len() + to.nodes.len() > LARGEST
            {
                continue;
            }
            into[cluster] = reader;
            let nodes = std::mem::take(&mut self.clusters[cluster].nodes);
            nodes.iter().for_each(|&id| *self.cluster_of.at(id) = Some(reader));
            // A product stays the first of its cluster.
            let to = &mut self.clusters[reader].nodes;
            let at = usize::from(*self.roles.get(to[0]) == Some(Part::Product));
            to.splice(at..at, nodes);
        }
    }

    /// Moves a pointwise convolution, and what follows it, into the cluster of the depthwise one that alone reads that, where
    /// one kernel for both is faster. Everything that leaves the first goes into the second, so no cycle can arise.
    fn expand(&mut self, order: &[NodeId]) {
        // Who reads the values of each cluster.
        let mut readers: FxHashMap<usize, Vec<(Value, Option<NodeId>)>> = FxHashMap::default();
        for &id in order {
            let Some(own) = *self.cluster_of.get(id) else { continue };
            for (value, _) in self.sources(id) {
                let other = self.cluster(value.node);
                if other != own {
                    readers.entry(other).or_default().push((value, Some(id)));
                }
            }
        }
        for value in self.returned() {
            readers.entry(self.cluster(value.node)).or_default().push((value, None));
        }
        for cluster in 0..self.clusters.len() {
            let Some(&second) = self.clusters[cluster].nodes.first() else { continue };
            let Some(&image) = self.graph.node(second).operands.first() else { continue };
            if !self.is(second, Part::Product) || self.is(image.node, Part::Virtual) {
                continue;
            }
            let other = self.cluster(image.node);
            let Some(&first) = self.clusters[other].nodes.first() else { continue };
            let alone = readers.get(&other).is_some_and(|list| *list == [(image, Some(second))]);
            let few = self.clusters[other].nodes.len() + self.clusters[cluster].nodes.len() <= LARGEST;
            if !alone || !few || !expansion_pays(self.graph, first, second) {
                continue;
            }
            let nodes = std::mem::take(&mut self.clusters[other].nodes);
            nodes.iter().for_each(|&id| *self.cluster_of.at(id) = Some(cluster));
            self.clusters[cluster].nodes.splice(0..0, nodes);
        }
    }

    /// Leaves out clusters that have lost their nodes to others.
    fn renumber(&mut self) {
        self.clusters.retain(|cluster| !cluster.nodes.is_empty());
        for (position, cluster) in self.clusters.iter().enumerate() {
            cluster.nodes.iter().for_each(|&id| *self.cluster_of.at(id) = Some(position));
        }
    }

    fn reduced_axes(&self, id: NodeId) -> Vec<usize> {
        match &self.graph.node(id).op {
            Op::Reduce(reduce) => reduce.axes.clone(),
            _ => Vec::new(),
        }
    }

    fn may_join(&self, id: NodeId, target: usize, sources: &[(Value, Path)]) -> bool {
        let cluster = &self.clusters[target];
        let Some(space) = &cluster.space else { return false };
        if cluster.nodes.len() >= LARGEST {
            return false;
        }
        // Other sources must not depend on the cluster; its own values must be read at the same point.
        let read_well = sources.iter().all(|(value, path)| {
            let other = self.cluster(value.node);
            if other != target {
                return self.clusters[other].depth < cluster.depth;
            }
            match path {
                Path::Direct => true,
                Path::Indirect => false,
                Path::Broadcast(node) => match &self.graph.node(*node).op {
                    Op::Broadcast(broadcast) => {
                        cluster.axes.is_some()
                            && broadcast.dims == *space
                            && broadcast.axes == cluster.kept_axes()
                            && self.graph.ty(*value).dims == cluster.kept_dims()
                    }
                    _ => false,
                },
            }
        });
        if !read_well {
            return false;
        }
        let node = self.graph.node(id);
        match self.roles.get(id) {
            Some(Part::Elementwise) => {
                let rows: usize = cluster.kept_dims().iter().product();
                let points: usize = space.iter().product();
                let serial = cluster.axes.is_some() && rows < FEWEST_ROWS && points > SMALL;
                (node.types[0].dims == *space && !serial)
                    || (cluster.axes.is_some() && node.types[0].dims == cluster.kept_dims())
            }
            Some(Part::Reduction) => {
                let axes = self.reduced_axes(id);
                let operand = &self.graph.ty(node.operands[0]).dims;
                let rows: usize = node.types[0].elements();
                let points: usize = space.iter().product();
                operand == space
                    && match &cluster.axes {
                        Some(there) => *there == axes,
                        None => cluster.reducible && (rows >= FEWEST_ROWS || points <= SMALL),
                    }
            }
            _ => false,
        }
    }

    /// The graph with every cluster in place.
    fn build(&self, order: &[NodeId]) -> Result<Graph, GraphError> {
        let old = self.graph;
        let mut new = Graph::new(&old.name);
        let mut map: FxHashMap<Value, Value> = FxHashMap::default();
        for &id in old.parameters() {
            let p = old.parameter(id).expect("a parameter");
            map.insert(old.result(id), new.add_parameter(&p.name, p.role, p.ty.clone()));
        }
        let needed = self.needed(order);
        let mut sequence: Vec<usize> = (0..self.clusters.len()).collect();
        sequence.sort_by_key(|&c| (self.clusters[c].depth, c));
        for c in sequence {
            self.emit(&self.clusters[c], &needed, &mut new, &mut map)?;
        }
        for Output { name, role, value } in old.outputs() {
            let value = new.import(old, &[*value], &mut map)?[0];
            new.add_output(name, *role, value);
        }
        Ok(new)
    }

    /// For each value that lies in a cluster, an entry if anything outside of the cluster reads it.
    fn needed(&self, order: &[NodeId]) -> ValueTable<()> {
        let mut needed = ValueTable::default();
        for &id in order {
            if self.is(id, Part::Virtual) {
                continue;
            }
            for (value, _) in self.sources(id) {
                if self.cluster(value.node) != self.cluster(id) {
                    needed.insert(value, ());
                }
            }
        }
        for value in self.returned() {
            needed.insert(value, ());
        }
        needed
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

    fn emit(
        &self,
        cluster: &Cluster,
        needed: &ValueTable<()>,
        new: &mut Graph,
        map: &mut FxHashMap<Value, Value>,
    ) -> Result<(), GraphError> {
        let old = self.graph;
        let first = cluster.nodes[0];
        if old.parameter(first).is_some() {
            return Ok(());
        }
        let node = old.node(first);
        let plain = |v: &Value| !self.is(v.node, Part::Virtual);
        // What would only be an index map outside of a region is run in one.
        let single = cluster.nodes.len() == 1 && !matches!(node.op, Op::Reshape(_));
        if self.is(first, Part::Barrier)
            || (single && (self.is(first, Part::Product) || node.operands.iter().all(plain)))
        {
            let operands = new.import(old, &node.operands, map)?;
            let copy = new.add(fused_inside(&node.op)?, &operands, &node.origin)?;
            map.extend(old.results(first).into_iter().zip(new.results(copy)));
            return Ok(());
        }
        let mut body = Graph::new("region");
        let mut inside: FxHashMap<Value, Value> = FxHashMap::default();
        let mut operands = Vec::new();
        for &id in &cluster.nodes {
            for (value, _) in self.sources(id) {
                if inside.contains_key(&value) {
                    continue;
                }
                let name = format!("x{}", operands.len());
                inside.insert(value, body.add_parameter(&name, Role::Data, old.ty(value).clone()));
                operands.push(map[&value]);
            }
            let node = old.node(id);
            let read = body.import(old, &node.operands, &mut inside)?;
            let copy = body.add(node.op.clone(), &read, &node.origin)?;
            inside.extend(old.results(id).into_iter().zip(body.results(copy)));
        }
        let outputs: Vec<Value> =
            cluster.nodes.iter().map(|&id| old.result(id)).filter(|&v| needed.get(v).is_some()).collect();
        for (position, value) in outputs.iter().enumerate() {
            body.add_output(&format!("y{position}"), Role::Data, inside[value]);
        }
        let origin = self.origin(cluster);
        let fused = new.add(Fused { body }, &operands, &origin)?;
        map.extend(outputs.into_iter().zip(new.results(fused)));
        Ok(())
    }

    /// The origin of most of a cluster's nodes; the first of them where several are as frequent.
    fn origin(&self, cluster: &Cluster) -> Origin {
        let mut counts: Vec<(&Origin, usize)> = Vec::new();
        for &id in &cluster.nodes {
            let origin = &self.graph.node(id).origin;
            match counts.iter_mut().find(|(o, _)| *o == origin) {
                Some((_, count)) => *count += 1,
                None => counts.push((origin, 1)),
            }
        }
        let most = counts.iter().map(|&(_, count)| count).max().unwrap_or(0);
        counts.into_iter().find(|&(_, count)| count == most).map_or(Origin::default(), |(o, _)| o.clone())
    }
}
