//! Reverse-mode differentiation: puts nodes in the place of `gradient` operators.
//!
//! For each `gradient(loss; wrt …)`, innermost first, the nodes between `wrt` and `loss` are walked from the loss
//! down. Each is asked for its gradient rule ([`Operator::gradient`](brolga_ir::ops::Operator::gradient)) once,
//! with the sums of what its users contributed; contributions are added in the order of the walk, which depends on
//! the graph alone. What a rule builds bears its node's origin with `/backward` behind it. Where `wrt` holds
//! intermediate values, each gets the whole derivative through every path, those through other members of `wrt`
//! included.
//!
//! When no `gradient` is left, `stop_gradient` has done its work and gives way to its operand.
//!
//! Rules may build cotangents that nobody needs (of a convolution's input, say): `dce` removes them. The
//! cost is linear in the nodes below each loss.

use brolga_ir::ops::{GradientCx, GradientError, Op};
use brolga_ir::{Builder, Graph, GraphError, NodeId, Value};

use crate::manager::Options;
use crate::regions;
use crate::rewrite::sweep;
use crate::table::{NodeTable, ValueTable};

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
    let operands = graph.node(id).operands.clone();
    let origin = graph.node(id).origin.step("backward");
    let [loss, wrt @ ..] = operands.as_slice() else {
        return Err(GraphError { path: origin.path.to_string(), message: "gradient without a loss".into() });
    };
    let loss = *loss;
    let order = graph.order_from([loss]);
    let active = Active::new(graph, &order, wrt);

    let mut cotangents: ValueTable<Value> = ValueTable::default();
    let dtype = graph.ty(loss).dtype;
    let one = Builder::new(graph, origin.clone()).scalar(1.0, dtype)?;
    cotangents.insert(loss, one);
    for &node in order.iter().rev() {
        if *active.through.get(node) {
            backward(graph, node, &active, &mut cotangents)?;
        }
    }

    for (result, &value) in graph.results(id).into_iter().zip(wrt) {
        let cotangent = match cotangents.get(value) {
            Some(&cotangent) => cotangent,
            None => Builder::new(graph, origin.clone()).zeros_like(value)?,
        };
        graph.replace_uses(result, cotangent);
    }
    graph.remove(id);
    Ok(())
}

/// Which values depend on the values differentiated by.
struct Active {
    /// Values differentiated by.
    wrt: ValueTable<()>,
    /// Nodes with an active operand that let gradients through.
    through: NodeTable<bool>,
}

impl Active {
    fn new(graph: &Graph, order: &[NodeId], wrt: &[Value]) -> Active {
        let mut active = Active { wrt: ValueTable::default(), through: NodeTable::default() };
        for &value in wrt {
            active.wrt.insert(value, ());
        }
        for &id in order {
            let node = graph.node(id);
            let through = !matches!(node.op, Op::StopGradient(_))
                && node.operands.iter().any(|&operand| active.holds(graph, operand));
            active.through.set(id, through);
        }
        active
    }

    fn holds(&self, graph: &Graph, value: Value) -> bool {
        self.wrt.get(value).is_some() || (*self.through.get(value.node) && graph.ty(value).dtype.is_float())
    }
}

/// Hands the cotangents of a node's results on to its operands.
fn backward(
    graph: &mut Graph,
    id: NodeId,
    active: &Active,
    cotangents: &mut ValueTable<Value>,
) -> Result<(), GraphError> {
    let results = graph.results(id);
    let incoming: Vec<Option<Value>> = results.iter().map(|&value| cotangents.get(value).copied()).collect();
    if incoming.iter().all(Option::is_none) {
        return Ok(());
    }
    let node = graph.node(id);
    let (op, operands, origin) = (node.op.clone(), node.operands.clone(), node.origin.step("backward"));
    let failed = |message: String| GraphError { path: layer(&origin), message };
    let name = op.get().name();
    let mut cx = GradientCx {
        b: Builder::new(graph, origin.clone()),
        operands: &operands,
        results: &results,
        cotangents: &incoming,
    };
    let outgoing = op.get().gradient(&mut cx).map_err(|error| match error {
        GradientError::NotDifferentiable(reason) => failed(format!(
            "{name} is not differentiable: {reason}; keep what is trained away from it, or wrap its operand in \
             stop_gradient"
        )),
        GradientError::Graph(error) => error,
    })?;
    if outgoing.len() != operands.len() {
        return Err(failed(format!(
            "the gradient rule of {name} gave {} cotangents for {} operands",
            outgoing.len(),
            operands.len()
        )));
    }
    for (&operand, cotangent) in operands.iter().zip(outgoing) {
        let Some(cotangent) = cotangent else { continue };
        if !active.holds(graph, operand) {
            continue;
        }
        let (wanted, found) = (graph.ty(operand), graph.ty(cotangent));
        if wanted != found {
            return Err(failed(format!(
                "the gradient rule of {name} gave {found} for an operand of {wanted}"
            )));
        }
        let sum = match cotangents.get(operand) {
            Some(&other) => Builder::new(graph, origin.clone()).add(other, cotangent)?,
            None => cotangent,
        };
        cotangents.insert(operand, sum);
    }
    Ok(())
}

/// The layer's path: an error concerns the layer, not its backward step.
fn layer(origin: &brolga_ir::Origin) -> String {
    origin.path.trim_end_matches("/backward").to_owned()
}
