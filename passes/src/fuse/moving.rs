//! What moves from one cluster into another, when all nodes have their place.

use std::cmp::Reverse;

use brolga_ir::{NodeId, Value};
use rustc_hash::{FxHashMap, FxHashSet};

use super::clusters::{Clusters, LARGEST};
use super::roles::{ClusterRole, Path};
use crate::facts::cost::REPEATED;
use crate::facts::expansion::expansion_pays;

/// Who reads the nodes that are not virtual.
struct Readers {
    of: FxHashMap<NodeId, Vec<(NodeId, Path)>>,
    /// The nodes of outputs.
    outputs: FxHashSet<NodeId>,
}

/// Moves nodes from the cluster that computes them to the only other one that reads them. The tensor between the two is not
/// written then. It is done where the nodes are cheap, and computed from tensors that are in memory anyway, at most one of
/// which the other cluster does not read yet.
///
/// The gradient of a normalisation has sums of `dy` and of `dy · x`. One cluster makes `dy` and `dy · x`, the next adds up both: with
/// the multiplication moved there, it reads `dy` and `x`, and `dy · x` is never stored.
pub(super) fn hand_over(clusters: &mut Clusters<'_>, order: &[NodeId]) {
    let place: FxHashMap<NodeId, usize> = order.iter().copied().zip(0..).collect();
    let readers = clusters.readers(order);
    // What has moved may let others follow: twice is enough for what occurs.
    for &id in order.iter().rev().chain(order.iter().rev()) {
        let Some(other) = clusters.only_reader(id, &readers) else { continue };
        let own = clusters.cluster(id);
        let Some((mut moving, read)) = clusters.movable(id, [own, other], &readers) else { continue };
        let many = clusters.all[other].nodes.len() + moving.len() > LARGEST;
        if many || clusters.not_read_yet(other, &read) > 1 {
            continue;
        }
        clusters.all[own].nodes.retain(|node| !moving.contains(node));
        moving.sort_by_key(|node| place[node]);
        clusters.receive(other, moving);
    }
}

/// Moves elementwise clusters that only one other cluster reads, at its own points, into that one. Everything that
/// leaves the first goes into the second, so no cycle can arise.
pub(super) fn sink(clusters: &mut Clusters<'_>, order: &[NodeId]) {
    let readers = clusters.cluster_readers(order);
    let mut sequence: Vec<usize> = (0..clusters.all.len()).collect();
    sequence.sort_by_key(|&c| (Reverse(clusters.all[c].depth), c));
    let mut into: Vec<usize> = (0..clusters.all.len()).collect();
    for cluster in sequence {
        let Some(&Some(reader)) = readers.get(&cluster) else { continue };
        let reader = into[reader];
        if clusters.sinks(cluster, reader) {
            into[cluster] = reader;
            let nodes = std::mem::take(&mut clusters.all[cluster].nodes);
            clusters.receive(reader, nodes);
        }
    }
}

/// Moves a pointwise convolution, and what follows it, into the cluster of the depthwise one that alone reads that, where
/// one kernel for both is faster. Everything that leaves the first goes into the second, so no cycle can arise.
pub(super) fn expand(clusters: &mut Clusters<'_>, order: &[NodeId]) {
    let readers = clusters.value_readers(order);
    for cluster in 0..clusters.all.len() {
        let Some(&second) = clusters.all[cluster].nodes.first() else { continue };
        let Some(&image) = clusters.graph.node(second).operands.first() else { continue };
        if !clusters.roles.is(second, ClusterRole::Product)
            || clusters.roles.is(image.node, ClusterRole::Virtual)
        {
            continue;
        }
        let other = clusters.cluster(image.node);
        let Some(&first) = clusters.all[other].nodes.first() else { continue };
        let alone = readers.get(&other).is_some_and(|list| *list == [(image, Some(second))]);
        let few = clusters.all[other].nodes.len() + clusters.all[cluster].nodes.len() <= LARGEST;
        if !alone || !few || !expansion_pays(clusters.graph, first, second) {
            continue;
        }
        let nodes = std::mem::take(&mut clusters.all[other].nodes);
        nodes.iter().for_each(|&id| clusters.set(id, cluster));
        clusters.all[cluster].nodes.splice(0..0, nodes);
    }
}

impl Clusters<'_> {
    fn readers(&self, order: &[NodeId]) -> Readers {
        let outputs = self.graph.outputs().iter().map(|output| output.value.node).collect();
        let mut of: FxHashMap<NodeId, Vec<(NodeId, Path)>> = FxHashMap::default();
        for &id in order.iter().filter(|&&id| !self.roles.is(id, ClusterRole::Virtual)) {
            for (value, path) in self.roles.sources(id) {
                of.entry(value.node).or_default().push((id, path));
            }
        }
        Readers { of, outputs }
    }

    /// The other cluster that alone reads a node, at its own points, if it has the node's space.
    fn only_reader(&self, id: NodeId, readers: &Readers) -> Option<usize> {
        let own = self.get(id)?;
        let list = readers.of.get(&id)?;
        let other = self.cluster(list.first()?.0);
        let well = |(reader, path): &(NodeId, Path)| {
            self.cluster(*reader) == other && *path == Path::Direct && self.roles.is_pointwise(*reader)
        };
        let moves = other != own
            && !readers.outputs.contains(&id)
            && list.iter().all(well)
            && self.all[other].space.as_ref() == Some(&self.graph.node(id).types[0].dims);
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
            if moving.len() > REPEATED || !self.roles.is_cheap(node) {
                return None;
            }
            for (value, path) in self.roles.sources(node) {
                let inside = self.cluster(value.node) == own;
                match path {
                    Path::Direct if inside && !read_elsewhere(value.node) => {
                        self.follow(value.node, [own, other], readers, &mut moving)?;
                    }
                    Path::Broadcast(_) if inside && !read_elsewhere(value.node) => return None,
                    Path::Indirect => return None,
                    Path::Direct if !read.contains(&value) => read.push(value),
                    Path::Direct | Path::Broadcast(_) => {}
                }
            }
        }
        Some((moving, read))
    }

    /// Adds a node to those that move, and all that read it; `None` if one of them stays.
    fn follow(
        &self,
        id: NodeId,
        [own, other]: [usize; 2],
        readers: &Readers,
        moving: &mut Vec<NodeId>,
    ) -> Option<()> {
        for &(reader, _) in &readers.of[&id] {
            if moving.contains(&reader) {
                continue;
            }
            if self.cluster(reader) != own || self.only_reader(reader, readers) != Some(other) {
                return None;
            }
            moving.push(reader);
        }
        if !moving.contains(&id) {
            moving.push(id);
        }
        Some(())
    }

    /// How many of the values a cluster does not read yet.
    fn not_read_yet(&self, cluster: usize, values: &[Value]) -> usize {
        let nodes = &self.all[cluster].nodes;
        let already: FxHashSet<Value> =
            nodes.iter().flat_map(|&node| self.roles.sources(node)).map(|(value, _)| value).collect();
        values.iter().filter(|value| !already.contains(value)).count()
    }

    /// Puts nodes in front of those of a cluster. A product stays the first of its cluster.
    fn receive(&mut self, cluster: usize, nodes: Vec<NodeId>) {
        nodes.iter().for_each(|&id| self.set(id, cluster));
        let at = usize::from(self.roles.is(self.all[cluster].nodes[0], ClusterRole::Product));
        self.all[cluster].nodes.splice(at..at, nodes);
    }

    /// Who reads each cluster: one cluster, at its own points, or `None` for anything else.
    fn cluster_readers(&self, order: &[NodeId]) -> FxHashMap<usize, Option<usize>> {
        let mut readers: FxHashMap<usize, Option<usize>> = FxHashMap::default();
        for &id in order {
            let Some(own) = self.get(id) else { continue };
            let pointwise = self.roles.is_pointwise(id);
            for (value, path) in self.roles.sources(id) {
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
        let (from, to) = (&self.all[cluster], &self.all[reader]);
        let in_space = |id: &NodeId| Some(&self.graph.node(*id).types[0].dims) == from.space.as_ref();
        let elementwise = from.axes.is_none()
            && from.nodes.iter().all(|id| self.roles.is(*id, ClusterRole::Elementwise) && in_space(id));
        let kept = from.space == Some(to.kept_dims()) && to.axes.is_some();
        elementwise && (from.space == to.space || kept) && from.nodes.len() + to.nodes.len() <= LARGEST
    }

    /// Which values of each cluster are read outside of it, by which node; by none, if outputs do.
    fn value_readers(&self, order: &[NodeId]) -> FxHashMap<usize, Vec<(Value, Option<NodeId>)>> {
        let mut readers: FxHashMap<usize, Vec<(Value, Option<NodeId>)>> = FxHashMap::default();
        for &id in order {
            let Some(own) = self.get(id) else { continue };
            for (value, _) in self.roles.sources(id) {
                let other = self.cluster(value.node);
                if other != own {
                    readers.entry(other).or_default().push((value, Some(id)));
                }
            }
        }
        for value in self.roles.returned() {
            readers.entry(self.cluster(value.node)).or_default().push((value, None));
        }
        readers
    }
}
