//! Which values an entry cannot change: those that depend on state and constants only.

use std::collections::HashSet;

use brolga_ir::ops::{Op, RegionOp, Role};
use brolga_ir::{Graph, NodeId, Value};

use crate::facts::table::NodeTable;

/// What a value depends on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Dependence {
    /// Inputs, or state that the entry updates: another value in every call.
    #[default]
    Call,
    /// Constants only.
    Constant,
    /// State that the entry does not update, and constants.
    State,
}

/// What each node depends on; for nodes added later, [`Dependence::Call`].
pub(crate) fn dependence(graph: &Graph) -> NodeTable<Dependence> {
    dependence_in(graph, None)
}

/// The same in a region, of whose parameters it is known from outside what they depend on ([`of_regions`]).
pub(crate) fn dependence_in(graph: &Graph, given: Option<&[Dependence]>) -> NodeTable<Dependence> {
    let updated = updated(graph);
    let mut table: NodeTable<Dependence> = NodeTable::default();
    for (&id, &dependence) in graph.parameters().iter().zip(given.unwrap_or_default()) {
        table.set(id, dependence);
    }
    for id in graph.order() {
        let node = graph.node(id);
        let dependence = match &node.op {
            Op::Parameter(_) if given.is_some() => continue,
            Op::Parameter(parameter) => {
                if parameter.role == Role::State && !updated.contains(parameter.name.as_str()) {
                    Dependence::State
                } else {
                    Dependence::Call
                }
            }
            op if op.is_derivative() => Dependence::Call,
            _ => node.operands.iter().fold(Dependence::Constant, |sum, operand| {
                match (sum, *table.get(operand.node)) {
                    (Dependence::Call, _) | (_, Dependence::Call) => Dependence::Call,
                    (Dependence::State, _) | (_, Dependence::State) => Dependence::State,
                    _ => Dependence::Constant,
                }
            }),
        };
        table.set(id, dependence);
    }
    table
}

/// What the parameters of a node's regions depend on, for each region in order, where that is worth knowing: what is made
/// of fixed values inside is made once, because `hoist` moves it out. So it is for the bodies of loops that run more than once. Only
/// state itself counts, and not what is computed from it: nothing inside tells how large that is.
pub(crate) fn of_regions(graph: &Graph, id: NodeId, table: &NodeTable<Dependence>) -> Vec<Vec<Dependence>> {
    captures_as(graph, id, |operand| {
        let is_state = matches!(graph.node(operand.node).op, Op::Parameter(_));
        if is_state { *table.get(operand.node) } else { Dependence::Call }
    })
}

/// The same where all that counts is that it is made once for all iterations, though for each call: whatever a loop captures is fixed
/// in its body.
pub(crate) fn of_loops(graph: &Graph, id: NodeId) -> Vec<Vec<Dependence>> {
    captures_as(graph, id, |_| Dependence::State)
}

/// The parameters of all regions of a node, where captures of a loop that runs more than once depend on what `of` says.
fn captures_as(graph: &Graph, id: NodeId, of: impl Fn(Value) -> Dependence) -> Vec<Vec<Dependence>> {
    let node = graph.node(id);
    let Some(op) = node.op.region_op() else { return Vec::new() };
    let varying = match op {
        RegionOp::Scan(scan) if scan.length > 1 => scan.carries + scan.slices,
        RegionOp::While(looped) if looped.limit > 1 => looped.carries,
        RegionOp::Scan(_) | RegionOp::While(_) | RegionOp::Cond(_) | RegionOp::Fused(_) => usize::MAX,
    };
    let of = |(position, &operand): (usize, &Value)| {
        if position >= varying { of(operand) } else { Dependence::Call }
    };
    let parameters: Vec<Dependence> = node.operands.iter().enumerate().map(of).collect();
    vec![parameters; node.op.regions().len()]
}

/// What a value that no call changes repeats along all axes but `axis`: a tensor whose other axes, if it has any, are of extent
/// 1. Where the batch is one, it may be that tensor itself.
pub(crate) fn along(
    graph: &Graph,
    value: Value,
    axis: usize,
    dependence: &NodeTable<Dependence>,
) -> Option<Value> {
    let node = graph.node(value.node);
    let (x, axes) = match (&node.op, *dependence.get(value.node)) {
        (_, Dependence::Call) => return None,
        (Op::Broadcast(broadcast), _) => (node.operands[0], broadcast.axes.clone()),
        (_, Dependence::State) => (value, (0..graph.ty(value).rank()).collect()),
        _ => return None,
    };
    graph.ty(x).dims.iter().zip(axes).all(|(&extent, at)| extent == 1 || at == axis).then_some(x)
}

/// The names of the state that the entry gives a new value.
fn updated(graph: &Graph) -> HashSet<&str> {
    let keeps = |value: Value, name: &str| graph.parameter(value.node).is_some_and(|p| p.name == name);
    let updates = graph.outputs().iter().filter(|output| output.role == Role::State);
    updates.filter(|output| !keeps(output.value, &output.name)).map(|output| output.name.as_str()).collect()
}
