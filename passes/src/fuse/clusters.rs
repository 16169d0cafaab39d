//! Groups of nodes, each of which becomes one kernel.

use brolga_ir::{Graph, NodeId};

use super::roles::Roles;
use crate::facts::table::NodeTable;

/// Nodes in one cluster, at most: what one kernel's registers and compile time can carry.
pub(super) const LARGEST: usize = 96;

/// Nodes that become one kernel.
pub(super) struct Cluster {
    /// Extents of the space; `None` for barriers and pieces, which nothing joins.
    pub space: Option<Vec<usize>>,
    /// The axes of the space that its reductions are over, if it has any.
    pub axes: Option<Vec<usize>>,
    /// Whether a reduction may be added: not where elements are expensive to compute again.
    pub reducible: bool,
    /// Clusters on the longest path to it from the inputs.
    pub depth: usize,
    /// In topological order; of a product, the product first.
    pub nodes: Vec<NodeId>,
}

impl Cluster {
    /// The axes that reductions keep; none where there are no reductions.
    pub fn kept_axes(&self) -> Vec<usize> {
        let rank = self.space.as_ref().map_or(0, Vec::len);
        (0..rank).filter(|axis| self.axes.as_ref().is_some_and(|axes| !axes.contains(axis))).collect()
    }

    /// Their extents.
    pub fn kept_dims(&self) -> Vec<usize> {
        self.space.as_ref().map_or(Vec::new(), |dims| self.kept_axes().into_iter().map(|a| dims[a]).collect())
    }
}

/// A graph whose nodes are being grouped.
pub(super) struct Clusters<'g> {
    pub graph: &'g Graph,
    pub roles: Roles<'g>,
    pub all: Vec<Cluster>,
    /// The number of the cluster of each node that is not virtual.
    of: NodeTable<Option<usize>>,
}

impl<'g> Clusters<'g> {
    /// None yet.
    pub fn new(roles: Roles<'g>) -> Clusters<'g> {
        Clusters { graph: roles.graph, roles, all: Vec::new(), of: NodeTable::default() }
    }

    /// The cluster of a node, if it is in one.
    pub fn get(&self, id: NodeId) -> Option<usize> {
        *self.of.get(id)
    }

    /// Says that a node is in a cluster; whoever calls this has put it among the cluster's nodes.
    pub fn set(&mut self, id: NodeId, cluster: usize) {
        self.of.set(id, Some(cluster));
    }

    /// The cluster of a node that is not virtual.
    pub fn cluster(&self, id: NodeId) -> usize {
        self.of.get(id).expect("operands are placed before their users")
    }

    /// Leaves out clusters that have lost their nodes to others.
    pub fn renumber(&mut self) {
        self.all.retain(|cluster| !cluster.nodes.is_empty());
        for (position, cluster) in self.all.iter().enumerate() {
            cluster.nodes.iter().for_each(|&id| *self.of.at(id) = Some(position));
        }
    }
}
