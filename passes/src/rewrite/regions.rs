//! Passes inside the regions of nodes.

use brolga_ir::{Graph, GraphError, NodeId};

/// Applies a transformation that keeps parameters and outputs to every region of every node, and says whether
/// any changed. The transformation itself goes on to regions inside.
pub(crate) fn apply(
    graph: &mut Graph,
    transform: &mut dyn FnMut(&mut Graph) -> Result<bool, GraphError>,
) -> Result<bool, GraphError> {
    apply_with(graph, &|graph, id| vec![(); graph.node(id).op.regions().len()], &mut |region, ()| {
        transform(region)
    })
}

/// The same with something that is known of each region from outside: `known` says it for all regions of a node.
pub(crate) fn apply_with<K>(
    graph: &mut Graph,
    known: &dyn Fn(&Graph, NodeId) -> Vec<K>,
    transform: &mut dyn FnMut(&mut Graph, K) -> Result<bool, GraphError>,
) -> Result<bool, GraphError> {
    let mut any = false;
    let holders: Vec<NodeId> = graph.nodes().filter(|&id| !graph.node(id).op.regions().is_empty()).collect();
    for id in holders {
        let known = known(graph, id);
        let node = graph.node(id);
        let (mut op, operands, origin) = (node.op.clone(), node.operands.clone(), node.origin.clone());
        let mut changed = false;
        for (region, known) in op.regions_mut().into_iter().zip(known) {
            changed |= transform(region, known)?;
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
