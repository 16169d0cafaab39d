//! Reverse-mode differentiation: puts nodes in the place of `gradient` operators.
//!
//! For each `gradient(loss; wrt …)`, innermost first, the reverse walk ([`vjp`]) goes from the loss down to `wrt` and
//! asks each node on the way for its gradient rule. Where `wrt` holds intermediate values, each gets the whole
//! derivative through every path, those through other members of `wrt` included. When no `gradient` is left,
//! `stop_gradient` has done its work and gives way to its operand.
//!
//! Rules may build cotangents that nobody needs (of a convolution's input, say): `dce` removes them. The cost is
//! linear in the nodes below each loss.

use brolga_ir::ops::Op;
use brolga_ir::vjp::vjp;
use brolga_ir::{Builder, Graph, GraphError, NodeId};

use crate::manager::Options;
use crate::regions;
use crate::rewrite::sweep;

/// Removes every `gradient` operator.
pub fn grad(graph: &mut Graph, _: &Options) -> Result<bool, GraphError> {
    let differentiated = differentiate_all(graph)?;
    let released = release(graph)?;
    Ok(differentiated || released)
}

fn differentiate_all(graph: &mut Graph) -> Result<bool, GraphError> {
    // Regions first: what they hold is nested deepest.
    let mut changed = regions::apply(graph, &mut differentiate_all)?;
    let is_gradient = |id: &NodeId| matches!(graph.node(*id).op, Op::Differentiate(_));
    // In the canonical order a gradient inside a loss comes before the gradient of that loss.
    for id in graph.order().into_iter().filter(is_gradient).collect::<Vec<_>>() {
        differentiate(graph, id)?;
        changed = true;
    }
    Ok(changed)
}

/// Replaces `stop_gradient` by its operand.
fn release(graph: &mut Graph) -> Result<bool, GraphError> {
    let inside = regions::apply(graph, &mut release)?;
    let here = sweep(graph, |graph, id| {
        let node = graph.node(id);
        Ok(matches!(node.op, Op::StopGradient(_)).then(|| node.operands.clone()))
    })?;
    Ok(inside || here)
}

/// Builds the derivatives for one `gradient` node, and removes it.
fn differentiate(graph: &mut Graph, id: NodeId) -> Result<(), GraphError> {
    let node = graph.node(id);
    let (operands, origin) = (node.operands.clone(), node.origin.step("backward"));
    let (&loss, wrt) = operands.split_first().ok_or_else(|| GraphError {
        path: origin.path.to_string(),
        message: "a gradient needs a loss".into(),
    })?;
    let dtype = graph.ty(loss).dtype;
    let one = Builder::new(graph, origin.clone()).scalar(1.0, dtype)?;
    let found = vjp(graph, &[(loss, one)], wrt)?;
    for ((result, &value), cotangent) in graph.results(id).into_iter().zip(wrt).zip(found) {
        let cotangent = match cotangent {
            Some(cotangent) => cotangent,
            None => Builder::new(graph, origin.clone()).zeros_like(value)?,
        };
        graph.replace_uses(result, cotangent);
    }
    graph.remove(id);
    Ok(())
}
