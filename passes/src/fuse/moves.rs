//! What moves from one cluster into another, when all nodes have their place.

use std::cmp::Reverse;

use brolga_ir::{NodeId, Value};
use rustc_hash::{FxHashMap, FxHashSet};

use super::{CHEAP, Fuser, LARGEST, Part, Path};
use crate::lower::expansion_pays;

/// Who reads the nodes that are not virtual.
struct Readers {
    of: FxHashMap<NodeId, Vec<(NodeId, Path)>>,
    /// The nodes of outputs.
    outputs: FxHashSet<NodeId>,
}

impl Fuser<'_> {
    /// Moves what only one other cluster reads to that one, where it is cheap and computed from tensors that are stored
    /// anyway, at most one of which the other does not read yet: a tensor less is written. So the gradient of a
    /// normalisation behind that of a convolution reads the gradient twice, and not its products.
    pub(super) fn hand_over(&mut self, order: &[NodeId]) {
        let place: FxHashMap<NodeId, usize> = order.iter().copied().zip(0..).collect();
        let readers = self.readers(order);
        // What has moved may let others follow: twice is enough for what occurs.
        for &id in order.iter().rev().chain(order.iter().rev()) {
            let Some(other) = self.only_reader(id, &readers) else { continue };
            let own = self.cluster(id);
            let Some((mut moving, read)) = self.movable(id, [own, other], &readers) else { continue };
            let many = self.clusters[other].nodes.len() + moving.len() > LARGEST;
            if many || self.not_read_yet(other, &read) > 1 {
                continue;
            }
            self.clusters[own].nodes.retain(|node| !moving.contains(node));
            moving.sort_by_key(|node| place[node]);
            self.receive(other, moving);
        }
    }

    fn readers(&self, order: &[NodeId]) -> Readers {
        let outputs = self.graph.outputs().iter().map(|output| output.value.node).collect();
        let mut of: FxHashMap<NodeId, Vec<(NodeId, Path)>> = FxHashMap::default();
        for &id in order.iter().filter(|&&id| !self.is(id, Part::Virtual)) {
            for (value, path) in self.sources(id) {
                of.entry(value.node).or_default().push((id, path));
            }
        }
        Readers { of, outputs }
    }

    /// The other cluster that alone reads a node, at its own points, if it has the node's space.
    fn only_reader(&self, id: NodeId, readers: &Readers) -> Option<usize> {
        let own = (*self.cluster_of.get(id))?;
        let list = readers.of.get(&id)?;
        let other = self.cluster(list.first()?.0);
        let well = |(reader, path): &(NodeId, Path)| {
            self.cluster(*reader) == other && *path == Path::Direct && self.is_pointwise(*reader)
        };
        let moves = other != own
            && !readers.outputs.contains(&id)
            && list.iter().all(well)
            && self.clusters[other].space.as_ref() == Some(&self.graph.node(id).types[0].dims);
        moves.then_some(other)
    }

    /// What moves with a node from its own cluster to another: the node, what nobody else needs of what it is computed from, and
    /// others that are computed from that and move there as well. And the values that all of that reads at its own points.
    /// `None` if it is not cheap.
    fn movable(
        &self,
        id: NodeId,
        [own, other]: [usize; 2],
        readers: &Readers,
    ) -> Option<(Vec<NodeId>, Vec<Value>)> {
        let read_elsewhere = |id: NodeId| {
            let elsewhere = |(reader, _): &(NodeId, Path)| ![own, other].contains(&self.cluster(*reader));
            readers.outputs.contains(&id)
                || readers.of.get(&id).is_some_and(|list| list.iter().any(elsewhere))
        };
        let mut moving = vec![id];
        let mut read: Vec<Value> = Vec::new();
        let mut position = 0;
        // Progress: a node is added once, and too many are not cheap.
        while position < moving.len() {
            let node = moving[position];
            position += 1;
            if moving.len() > CHEAP || !self.is_cheap(node) {
                return None;
            }
            for (value, path) in self.sources(node) {
                let inside = self.cluster(value.node) == own;
                if inside && !read_elsewhere(value.node) {
                    if path != Path::Direct {
                        return None;
                    }
                    for &(reader, _) in &readers.of[&value.node] {
                        let moves = || self.only_reader(reader, readers) == Some(other);
                        if moving.contains(&reader) {
                            continue;
                        }
                        if self.cluster(reader) != own || !moves() {
                            return None;
                        }
                        moving.push(reader);
                    }
                    if !moving.contains(&value.node) {
                        moving.push(value.node);
                    }
                } else if path == Path::Indirect {
                    return None;
                } else if path == Path::Direct && !read.contains(&value) {
                    read.push(value);
                }
            }
        }
        Some((moving, read))
    }

    /// How many of the values a cluster does not read yet.
    fn not_read_yet(&self, cluster: usize, values: &[Value]) -> usize {
        let nodes = &self.clusters[cluster].nodes;
        let already: FxHashSet<Value> =
            nodes.iter().flat_map(|&node| self.sources(node)).map(|(value, _)| value).collect();
        values.iter().filter(|value| !already.contains(value)).count()
    }

    /// Puts nodes in front of those of a cluster. A product stays the first of its cluster.
    fn receive(&mut self, cluster: usize, nodes: Vec<NodeId>) {
        nodes.iter().for_each(|&id| *self.cluster_of.at(id) = Some(cluster));
        let at = usize::from(self.is(self.clusters[cluster].nodes[0], Part::Product));
        self.clusters[cluster].nodes.splice(at..at, nodes);
    }

    /// Moves elementwise clusters that only one other cluster reads, at its own points, into that one. Everything that
    /// leaves the first goes into the second, so no cycle can arise.
    pub(super) fn sink(&mut self, order: &[NodeId]) {
        let readers = self.cluster_readers(order);
        let mut sequence: Vec<usize> = (0..self.clusters.len()).collect();
        sequence.sort_by_key(|&c| (Reverse(self.clusters[c].depth), c));
        let mut into: Vec<usize> = (0..self.clusters.len()).collect();
        for cluster in sequence {
            let Some(&Some(reader)) = readers.get(&cluster) else { continue };
            let reader = into[reader];
            if self.sinks(cluster, reader) {
                into[cluster] = reader;
                let nodes = std::mem::take(&mut self.clusters[cluster].nodes);
                self.receive(reader, nodes);
            }
        }
    }

    /// Who reads each cluster: one cluster, at its own points, or `None` for anything else.
    fn cluster_readers(&self, order: &[NodeId]) -> FxHashMap<usize, Option<usize>> {
        let mut readers: FxHashMap<usize, Option<usize>> = FxHashMap::default();
        for &id in order {
            let Some(own) = *self.cluster_of.get(id) else { continue };
            let pointwise = self.is_pointwise(id);
            for (value, path) in self.sources(id) {
                let other = self.cluster(value.node);
                if other != own {
                    let well = (pointwise && path == Path::Direct).then_some(own);
                    readers.entry(other).and_modify(|r| *r = r.filter(|_| *r == well)).or_insert(well);
                }
            }
        }
        readers
    }

    /// Whether a cluster is elementwise over the space of its reader, or over the axes that stay of it.
    fn sinks(&self, cluster: usize, reader: usize) -> bool {
        let (from, to) = (&self.clusters[cluster], &self.clusters[reader]);
        let in_space = |id: &NodeId| Some(&self.graph.node(*id).types[0].dims) == from.space.as_ref();
        let elementwise = from.axes.is_none()
            && from.nodes.iter().all(|id| self.is(*id, Part::Elementwise) && in_space(id));
        let kept = from.space == Some(to.kept_dims()) && to.axes.is_some();
        elementwise && (from.space == to.space || kept) && from.nodes.len() + to.nodes.len() <= LARGEST
    }

    /// Moves a pointwise convolution, and what follows it, into the cluster of the depthwise one that alone reads that, where
    /// one kernel for both is faster. Everything that leaves the first goes into the second, so no cycle can arise.
    pub(super) fn expand(&mut self, order: &[NodeId]) {
        let readers = self.value_readers(order);
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

    /// Which values of each cluster are read outside of it, by which node; by none, if outputs do.
    fn value_readers(&self, order: &[NodeId]) -> FxHashMap<usize, Vec<(Value, Option<NodeId>)>> {
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
        readers
    }

    /// Leaves out clusters that have lost their nodes to others.
    pub(super) fn renumber(&mut self) {
        self.clusters.retain(|cluster| !cluster.nodes.is_empty());
        for (position, cluster) in self.clusters.iter().enumerate() {
            cluster.nodes.iter().for_each(|&id| *self.cluster_of.at(id) = Some(position));
        }
    }
}
