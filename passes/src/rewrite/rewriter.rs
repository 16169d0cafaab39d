//! The one way in which passes replace nodes: a sweep over the graph, operands first.

use brolga_ir::ops::Op;
use brolga_ir::{Graph, GraphError, NodeId, Value};

use crate::facts::table::{NodeTable, ValueTable};
use crate::rewrite::regions;

/// What stands for a node's results, one value for each; `None` leaves the node as it is.
pub(crate) type Replacement = Result<Option<Vec<Value>>, GraphError>;

/// Replacements for each node, on average, after which a sweep is taken to go round in circles.
const MOST_REPLACEMENTS: usize = 64;

/// A [`sweep`] of the regions inside a graph, the innermost first, and of the graph itself.
pub(crate) fn sweep_all(
    graph: &mut Graph,
    visit: &mut dyn FnMut(&mut Graph, NodeId) -> Replacement,
) -> Result<bool, GraphError> {
    let inside = regions::apply(graph, &mut |region| sweep_all(region, visit))?;
    let here = sweep(graph, visit)?;
    Ok(inside || here)
}

/// The same for rules of a few kinds of operators: where there is none of them, nothing is gone through.
pub(crate) fn sweep_for(
    graph: &mut Graph,
    of_kind: fn(&Op) -> bool,
    visit: &mut dyn FnMut(&mut Graph, NodeId) -> Replacement,
) -> Result<bool, GraphError> {
    let inside = regions::apply(graph, &mut |region| sweep_for(region, of_kind, visit))?;
    let any = graph.nodes().any(|id| of_kind(&graph.node(id).op));
    let here = any && sweep(graph, visit)?;
    Ok(inside || here)
}

/// Visits every node that the outputs need, operands first, and puts what `visit` returns in the place of the
/// node's results. When a node is visited, its operands are replaced already; nodes that a replacement brings are
/// visited too, before anything that uses them. So where `visit` looks only at what a node stands on, one sweep
/// reaches the fixed point, in time linear in the graph. Replaced nodes stay behind without users.
pub(crate) fn sweep(
    graph: &mut Graph,
    mut visit: impl FnMut(&mut Graph, NodeId) -> Replacement,
) -> Result<bool, GraphError> {
    let mut seen: NodeTable<bool> = NodeTable::default();
    let mut replaced: ValueTable<Value> = ValueTable::default();
    let mut changed = false;
    // Progress: a replacement computes less than what it stands for. Should two rules undo each other all the same, they are
    // stopped after more replacements than any graph needs; what is there is right at any time.
    let mut left = MOST_REPLACEMENTS * (graph.len() + MOST_REPLACEMENTS);
    // Depth-first by hand: graphs may be deeper than the stack.
    let mut stack: Vec<(NodeId, usize)> = Vec::new();
    for root in graph.outputs().iter().map(|output| output.value.node).collect::<Vec<_>>() {
        if !seen.set(root, true) {
            stack.push((root, 0));
        }
        while let Some(&(id, next)) = stack.last() {
            if let Some(operand) = next_operand(graph, (id, next), &replaced) {
                // A replacement is walked at once, so that its operands are final before its user is visited.
                if seen.set(operand.node, true) {
                    stack.last_mut().expect("the entry read above").1 += 1;
                } else {
                    stack.push((operand.node, 0));
                }
                continue;
            }
            stack.pop();
            if left == 0 {
                continue;
            }
            let Some(values) = visit(graph, id)? else { continue };
            left -= 1;
            changed = true;
            note(graph, id, &values, &mut replaced);
            for value in values {
                if !seen.set(value.node, true) {
                    stack.push((value.node, 0));
                }
            }
        }
    }
    for output in graph.outputs_mut() {
        output.value = resolve(&replaced, output.value);
    }
    Ok(changed)
}

/// An operand of a node, by its number, after all replacements; the node has it from then on.
fn next_operand(
    graph: &mut Graph,
    (id, number): (NodeId, usize),
    replaced: &ValueTable<Value>,
) -> Option<Value> {
    let operand = graph.node(id).operands.get(number).copied()?;
    let now = resolve(replaced, operand);
    if now != operand {
        graph.set_operand(id, number, now);
    }
    Some(now)
}

/// Notes what stands for the results of a node.
fn note(graph: &Graph, id: NodeId, values: &[Value], replaced: &mut ValueTable<Value>) {
    debug_assert_eq!(values.len(), graph.node(id).types.len(), "a value for each result");
    for (result, &value) in graph.results(id).into_iter().zip(values) {
        debug_assert_eq!(graph.ty(result), graph.ty(value), "a replacement has the same type");
        if result != value {
            replaced.insert(result, value);
        }
    }
}

/// What stands for a value after all replacements.
fn resolve(replaced: &ValueTable<Value>, mut value: Value) -> Value {
    while let Some(&next) = replaced.get(value) {
        value = next;
    }
    value
}
