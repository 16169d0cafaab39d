//! Differentiation: puts nodes in the place of `gradient` and `jvp` operators.
//!
//! For each `gradient(loss; wrt …)`, innermost first, the reverse walk ([`vjp`]) goes from the loss down to `wrt` and
//! asks each node on the way for its gradient rule. Where `wrt` holds intermediate values, each gets the whole
//! derivative through every path, those through other members of `wrt` included. When no derivative is left,
//! `stop_gradient` has done its work and gives way to its operand.
//!
//! There are no rules for the way forward: the vector-Jacobian product `uᵀJ` is linear in the cotangent `u`, so its own
//! reverse walk from the tangent `t` to `u` gives `J t` (Townsend, "A new trick for calculating Jacobian vector
//! products", 2017). The result does not depend on `u`, for which zeros stand.
//!
//! Rules may build cotangents that nobody needs (of a convolution's input, say): `dce` removes them. The cost is
//! linear in the nodes below each loss.

use brolga_ir::ops::{Jvp, Op};
use brolga_ir::vjp::vjp;
use brolga_ir::{Builder, Graph, GraphError, NodeId, Origin, Value};

use crate::options::Options;
use crate::rewrite::regions;
use crate::rewrite::rewriter::sweep_for;

/// Removes every `gradient` and `jvp` operator.
pub fn grad(graph: &mut Graph, _: &Options) -> Result<bool, GraphError> {
    let differentiated = differentiate_all(graph)?;
    let released = release(graph)?;
    Ok(differentiated || released)
}

fn differentiate_all(graph: &mut Graph) -> Result<bool, GraphError> {
    // Regions first: what they hold is nested deepest.
    let mut changed = regions::apply(graph, &mut differentiate_all)?;
    let is_derivative = |id: &NodeId| graph.node(*id).op.is_derivative();
    // In the canonical order a gradient inside a loss comes before the gradient of that loss.
    for id in graph.order().into_iter().filter(is_derivative).collect::<Vec<_>>() {
        let derivatives = match graph.node(id).op.clone() {
            Op::Jvp(jvp) => push_forward(graph, id, &jvp)?,
            _ => pull_back(graph, id)?,
        };
        graph.replace_results(id, &derivatives);
        graph.remove(id);
        changed = true;
    }
    Ok(changed)
}

/// Replaces `stop_gradient` by its operand.
fn release(graph: &mut Graph) -> Result<bool, GraphError> {
    sweep_for(graph, |op: &Op| matches!(op, Op::StopGradient(_)), &mut |graph, id| {
        let node = graph.node(id);
        Ok(matches!(node.op, Op::StopGradient(_)).then(|| node.operands.clone()))
    })
}

/// Builds the gradients that a `gradient` node stands for.
fn pull_back(graph: &mut Graph, id: NodeId) -> Result<Vec<Value>, GraphError> {
    let node = graph.node(id);
    let (operands, origin) = (node.operands.clone(), node.origin.step("backward"));
    let (&loss, wrt) = operands.split_first().ok_or_else(|| GraphError {
        path: origin.path.to_string(),
        message: "a gradient needs a loss".into(),
    })?;
    let dtype = graph.ty(loss).dtype;
    let one = Builder::new(graph, origin.clone()).scalar(1.0, dtype)?;
    let found = vjp(graph, &[(loss, one)], wrt)?;
    or_zeros(graph, &origin, wrt, found)
}

/// Builds the tangents that a `jvp` node stands for: the vector-Jacobian product of that of the outputs.
fn push_forward(graph: &mut Graph, id: NodeId, jvp: &Jvp) -> Result<Vec<Value>, GraphError> {
    let operands = graph.node(id).operands.clone();
    let origin = graph.node(id).origin.step("forward");
    let (outputs, wrt, _) = jvp.split(&operands);
    let mut seeds = Vec::with_capacity(outputs.len());
    for &output in outputs {
        seeds.push((output, Builder::new(graph, origin.clone()).zeros_like(output)?));
    }
    let pulled = vjp(graph, &seeds, wrt)?;
    // The walk may have put other nodes in the place of operands (a scan that saves its carries).
    let operands = graph.node(id).operands.clone();
    let (outputs, _, tangents) = jvp.split(&operands);
    let pulled: Vec<(Value, Value)> =
        pulled.into_iter().zip(tangents).filter_map(|(value, &tangent)| Some((value?, tangent))).collect();
    let cotangents: Vec<Value> = seeds.iter().map(|&(_, cotangent)| cotangent).collect();
    let found = vjp(graph, &pulled, &cotangents)?;
    or_zeros(graph, &origin, outputs, found)
}

/// Derivatives of the types of `like`; zeros where there is none.
fn or_zeros(
    graph: &mut Graph,
    origin: &Origin,
    like: &[Value],
    found: Vec<Option<Value>>,
) -> Result<Vec<Value>, GraphError> {
    let mut derivatives = Vec::with_capacity(found.len());
    for (&value, derivative) in like.iter().zip(found) {
        derivatives.push(match derivative {
            Some(derivative) => derivative,
            None => Builder::new(graph, origin.clone()).zeros_like(value)?,
        });
    }
    Ok(derivatives)
}
