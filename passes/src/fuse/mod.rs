//! `fuse`: groups nodes into `fused` regions, each of which is lowered to one kernel.
//!
//! In comes a graph as the other passes leave it; out comes one whose nodes are regions, products and loops. Sees facts. First it is
//! said which role each node has (`roles`), and what is computed again by every reader (`recomputing`); then clusters grow
//! (`growing`), nodes move between them (`moving`), and the graph is built anew (`building`).
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
//! Not done here: recomputing what another cluster computes, fusion across different iteration spaces. Kernels that follow each
//! other become one call later, where their loops allow it: `program/join`.

mod building;
mod clusters;
mod growing;
mod masks;
mod moving;
mod recomputing;
mod roles;

use brolga_ir::{Graph, GraphError};

use clusters::Clusters;
use roles::Roles;

/// Groups nodes into fused regions; whether any was made.
pub fn fuse(graph: &mut Graph) -> Result<bool, GraphError> {
    masks::prefer_results(graph)?;
    let order = graph.order();
    let mut roles = Roles::new(graph, &order);
    recomputing::bound_virtual(&mut roles, &order);
    recomputing::recompute(&mut roles, &order);
    let mut clusters = Clusters::new(roles);
    growing::grow(&mut clusters, &order);
    moving::hand_over(&mut clusters, &order);
    moving::sink(&mut clusters, &order);
    moving::expand(&mut clusters, &order);
    clusters.renumber();
    let fused = building::build(&clusters, &order, fuse)?;
    let changed = fused != *graph;
    *graph = fused;
    Ok(changed)
}
