//! Clusters grow: each node joins that of an operand, or begins one.

use brolga_ir::ops::Op;
use brolga_ir::{NodeId, Value};

use super::clusters::{Cluster, Clusters, LARGEST};
use super::roles::{ClusterRole, Path};
use crate::facts::cost::threads::{FEWEST_ROWS, SMALL};

/// Puts every node that is not virtual into a cluster.
pub(super) fn grow(clusters: &mut Clusters<'_>, order: &[NodeId]) {
    for &id in order {
        if !clusters.roles.is(id, ClusterRole::Virtual) {
            clusters.place(id);
        }
    }
}

impl Clusters<'_> {
    /// Puts a node into the cluster of an operand, or a new one.
    fn place(&mut self, id: NodeId) {
        let sources = self.roles.sources(id);
        let Some(role) = self.roles.get(id) else { return };
        let depth_of = |value: &Value| self.all[self.cluster(value.node)].depth;
        let joins = self.roles.is_pointwise(id);
        let deepest = sources.iter().map(|(v, _)| self.cluster(v.node)).max_by_key(|&c| self.all[c].depth);
        if let Some(target) = deepest.filter(|_| joins)
            && self.may_join(id, target, &sources)
        {
            if role == ClusterRole::Reduction {
                let axes = self.roles.reduced_axes(id);
                self.all[target].axes = Some(axes);
            }
            self.all[target].nodes.push(id);
            self.set(id, target);
            return;
        }
        let depth = sources.iter().map(|(v, _)| depth_of(v) + 1).max().unwrap_or(0);
        let ty = &self.graph.node(id).types[0];
        let (space, axes) = match role {
            ClusterRole::Elementwise | ClusterRole::Starting | ClusterRole::Product => {
                (Some(ty.dims.clone()), None)
            }
            ClusterRole::Reduction => {
                let operand = self.graph.node(id).operands[0];
                (Some(self.graph.ty(operand).dims.clone()), Some(self.roles.reduced_axes(id)))
            }
            ClusterRole::Alone | ClusterRole::Barrier | ClusterRole::Virtual => (None, None),
        };
        let reducible = !matches!(role, ClusterRole::Starting | ClusterRole::Product);
        self.set(id, self.all.len());
        self.all.push(Cluster { space, axes, reducible, depth, nodes: vec![id] });
    }

    /// Whether a node, which reads `sources`, may become part of a cluster.
    fn may_join(&self, id: NodeId, target: usize, sources: &[(Value, Path)]) -> bool {
        let cluster = &self.all[target];
        let Some(space) = &cluster.space else { return false };
        let room = cluster.nodes.len() < LARGEST;
        // Other sources must not depend on the cluster; its own values must be read at the same point.
        let read_well = |(value, path): &(Value, Path)| {
            let other = self.cluster(value.node);
            match path {
                _ if other != target => self.all[other].depth < cluster.depth,
                Path::Direct => true,
                Path::Indirect => false,
                Path::Broadcast(node) => self.repeats_kept(*node, *value, cluster),
            }
        };
        room && sources.iter().all(read_well) && self.fits(id, cluster, space)
    }

    /// Whether a broadcast gives all points that a cluster reduces to one the same value: in a cluster of `[32, 768]` that is
    /// reduced over axis 1, a mean of `[32]` that is repeated along axis 1.
    fn repeats_kept(&self, node: NodeId, value: Value, cluster: &Cluster) -> bool {
        let Op::Broadcast(broadcast) = &self.graph.node(node).op else { return false };
        cluster.axes.is_some()
            && Some(&broadcast.dims) == cluster.space.as_ref()
            && broadcast.axes == cluster.kept_axes()
            && self.graph.ty(value).dims == cluster.kept_dims()
    }

    /// Whether the loops of a cluster are those of a node. In a cluster over `[32, 768]` whose reductions are over axis 1, what is
    /// computed for each element of `[32, 768]` fits, and what is computed for each of the 32 rows; so do more reductions of
    /// `[32, 768]` over axis 1, but none over axis 0.
    ///
    /// Threads share the rows. So nothing fits that would leave too few of them, unless the whole is small.
    fn fits(&self, id: NodeId, cluster: &Cluster, space: &[usize]) -> bool {
        let node = self.graph.node(id);
        let points: usize = space.iter().product();
        // A kernel of few rows is not worth its lost parallelism, unless the whole is small.
        let serial = |rows: usize| rows < FEWEST_ROWS && points > SMALL;
        match self.roles.get(id) {
            Some(ClusterRole::Elementwise) => {
                let dims = &node.types[0].dims;
                let reduces = cluster.axes.is_some();
                let kept = cluster.kept_dims();
                (dims == space && !(reduces && serial(kept.iter().product()))) || (reduces && *dims == kept)
            }
            Some(ClusterRole::Reduction) => {
                let axes = self.roles.reduced_axes(id);
                self.graph.ty(node.operands[0]).dims == space
                    && match &cluster.axes {
                        Some(there) => *there == axes,
                        None => cluster.reducible && !serial(node.types[0].elements()),
                    }
            }
            _ => false,
        }
    }
}
