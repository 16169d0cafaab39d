//! Passes inside the regions of nodes.

use brolga_ir::{Graph, GraphError, NodeId};

/// Applies a transformation that keeps parameters and outputs to every region of every node, and says whether
/// any changed. The transformation itself goes on to regions inside.
pub(crate) fn apply(
    graph: &mut Graph,
    transform: &mut dyn FnMut(&mut Graph) -> Result<bool, GraphError>,
) -> Result<bool, GraphError> {
    let mut any = false;
    let holders: Vec<NodeId> = graph.nodes().filter(|&id| !graph.node(id).op.regions().is_empty()).collect();
    for id in holders {
        let node = graph.node(id);
        let (mut op, operands, origin) = (node.op.clone(), node.operands.clone(), node.origin.clone());
        let mut changed = false;
        for region in op.regions_mut() {
            changed |= transform(region)?;
        }
        if changed {
            let new = graph.add(op, &operands, &origin)?;
            graph.replace_results(id, &graph.results(new));
            graph.remove(id);
        }
        any |= changed;
    }
    Ok(any)
}
