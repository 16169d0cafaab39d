//! The reverse walk: from cotangents of some values of a graph to those of others, rule by rule.
//!
//! The nodes between `wrt` and the seeds are walked from the seeds down. Each is asked for its gradient rule
//! ([`Operator::gradient`](crate::ops::Operator::gradient)) once, with the sums of what its users contributed;
//! contributions are added in the order of the walk, which depends on the graph alone; those of slices are put together
//! first (`pieces`). What a rule builds bears its node's origin with `/backward` behind it.

mod pieces;

use crate::builder::Builder;
use crate::graph::{Graph, GraphError, NodeId, Value};
use crate::ops::{GradientCx, GradientError, Op};
use rustc_hash::{FxHashMap, FxHashSet};

/// Builds the vector-Jacobian product: for `seeds`, pairs of a value and its cotangent, the cotangent of each value of
/// `wrt`, or nothing where no gradient reaches it. A member of `wrt` above another passes its gradient on. Errors name the
/// layer whose operator is not differentiable, and why.
pub fn vjp(
    graph: &mut Graph,
    seeds: &[(Value, Value)],
    wrt: &[Value],
) -> Result<Vec<Option<Value>>, GraphError> {
    let order = graph.order_from(seeds.iter().map(|&(value, _)| value));
    let reached = Reached::of(graph, &order, wrt)?;
    let mut cotangents: FxHashMap<Value, Vec<Value>> = FxHashMap::default();
    for &(value, cotangent) in seeds {
        if reached.holds(graph, value) {
            cotangents.entry(value).or_default().push(cotangent);
        }
    }
    for &id in order.iter().rev().filter(|&id| reached.nodes.contains(id)) {
        // All users have contributed by now.
        let mut incoming: Vec<Option<Value>> = Vec::new();
        for value in graph.results(id) {
            incoming.push(sum(graph, &mut cotangents, value)?);
        }
        if incoming.iter().all(Option::is_none) {
            continue;
        }
        for (operand, cotangent) in contributions(graph, id, &incoming, &reached)? {
            cotangents.entry(operand).or_default().push(cotangent);
        }
    }
    wrt.iter().map(|&value| sum(graph, &mut cotangents, value)).collect()
}

/// What a gradient reaches between the seeds and the values that it is wanted of.
struct Reached {
    wanted: FxHashSet<Value>,
    /// The nodes that it goes through.
    nodes: FxHashSet<NodeId>,
}

impl Reached {
    /// Of nodes in their order, for the values `wrt`.
    ///
    /// # Errors
    /// One has a type that only stores.
    fn of(graph: &Graph, order: &[NodeId], wrt: &[Value]) -> Result<Reached, GraphError> {
        let mut reached = Reached { wanted: wrt.iter().copied().collect(), nodes: FxHashSet::default() };
        for &id in order {
            let node = graph.node(id);
            let through = !matches!(node.op, Op::StopGradient(_));
            if through && node.operands.iter().any(|&operand| reached.holds(graph, operand)) {
                // Else the gradient would end there without a word.
                if let Some(ty) = node.types.iter().find(|ty| ty.dtype.is_storage()) {
                    let message = format!("{ty} only stores, so no gradient goes through it");
                    return Err(GraphError { path: node.origin.path.to_string(), message });
                }
                reached.nodes.insert(id);
            }
        }
        Ok(reached)
    }

    fn holds(&self, graph: &Graph, value: Value) -> bool {
        graph.ty(value).dtype.is_float() && (self.wanted.contains(&value) || self.nodes.contains(&value.node))
    }
}

/// What a node contributes to the cotangents of its operands, by its gradient rule; `incoming` are those of its results.
fn contributions(
    graph: &mut Graph,
    id: NodeId,
    incoming: &[Option<Value>],
    reached: &Reached,
) -> Result<Vec<(Value, Value)>, GraphError> {
    let results = graph.results(id);
    let node = graph.node(id);
    let (op, operands, origin) = (node.op.clone(), node.operands.clone(), node.origin.step("backward"));
    let choice = graph.choice(id);
    let wanted: Vec<bool> = operands.iter().map(|&operand| reached.holds(graph, operand)).collect();
    let b = Builder::new(graph, origin.clone());
    let mut cx =
        GradientCx { b, operands: &operands, results: &results, cotangents: incoming, wanted: &wanted };
    let outgoing = choice.gradient(&op, &mut cx).map_err(|error| match error {
        GradientError::NotDifferentiable(reason) => GraphError {
            path: graph.node(id).origin.path.to_string(),
            message: format!(
                "{} is not differentiable: {reason}; keep what is trained away from it, or wrap its operand in \
                 stop_gradient",
                op.get().name()
            ),
        },
        GradientError::Graph(error) => error,
    })?;
    let wrong = |message: String| GraphError { path: origin.path.to_string(), message };
    if outgoing.len() != operands.len() {
        let (name, found, count) = (op.get().name(), outgoing.len(), operands.len());
        return Err(wrong(format!("the rule of {name} gave {found} cotangents for {count} operands")));
    }
    let mut contributions = Vec::new();
    for ((&operand, cotangent), wanted) in operands.iter().zip(outgoing).zip(wanted) {
        let Some(cotangent) = cotangent.filter(|_| wanted) else { continue };
        let (expected, found) = (graph.ty(operand), graph.ty(cotangent));
        if expected != found {
            return Err(wrong(format!("the rule of {} gave {found} for a {expected}", op.get().name())));
        }
        contributions.push((operand, cotangent));
    }
    Ok(contributions)
}

/// The cotangent of a value to which all have contributed; nothing where none has.
fn sum(
    graph: &mut Graph,
    cotangents: &mut FxHashMap<Value, Vec<Value>>,
    value: Value,
) -> Result<Option<Value>, GraphError> {
    let Some(contributions) = cotangents.get_mut(&value) else { return Ok(None) };
    let sum = pieces::sum(graph, contributions)?;
    *contributions = vec![sum];
    Ok(Some(sum))
}
