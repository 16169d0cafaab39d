//! Masks of the result of a rectifier instead of its operand's.

use brolga_ir::ops::{Elementwise, Op};
use brolga_ir::scalar::{Comparison, Scalar, ScalarOp};
use brolga_ir::{Builder, Graph, GraphError, NodeId, Value};

/// Where `y = max(x, 0)`, or `y = x <= 0 ? 0 : x`, other users of a mask like `x <= 0` get `y <= 0`, which has the
/// same bits: y is kept for the backward pass anyway, x then is not.
pub(super) fn prefer_results(graph: &mut Graph) -> Result<(), GraphError> {
    for id in graph.order() {
        if let Some((x, own_mask)) = rectified(graph, id) {
            test_result(graph, id, x, own_mask)?;
        }
    }
    Ok(())
}

/// The x of a node that is `max(x, 0)`, or of one that is `x <= 0 ? 0 : x`, with the mask that selects.
fn rectified(graph: &Graph, id: NodeId) -> Option<(Value, Option<NodeId>)> {
    let node = graph.node(id);
    let Op::Elementwise(Elementwise { op }) = &node.op else { return None };
    match (op, &node.operands[..]) {
        (ScalarOp::Max, &[a, b]) if is_zero(graph, a) => Some((b, None)),
        (ScalarOp::Max, &[a, b]) if is_zero(graph, b) => Some((a, None)),
        (ScalarOp::Select, &[mask, zero, x]) if is_zero(graph, zero) => {
            let test = graph.node(mask.node);
            let Op::Elementwise(compare) = &test.op else { return None };
            let selects = compare.op == ScalarOp::Compare(Comparison::Le) && test.operands == [x, zero];
            selects.then_some((x, Some(mask.node)))
        }
        _ => None,
    }
}

/// Has the tests of x test the result of `id` instead; `own_mask` does so for others than `id`.
fn test_result(graph: &mut Graph, id: NodeId, x: Value, own_mask: Option<NodeId>) -> Result<(), GraphError> {
    let y = graph.result(id);
    let mut tests = masks(graph, x);
    // Of equal tests one is left, and few readers change: that of the most readers. In a chain of maxima all tests come
    // to be equal.
    tests.sort_by_key(|&test| std::cmp::Reverse(graph.uses(test)));
    let mut left: Vec<NodeId> = Vec::new();
    for test in tests {
        let to_y = |&operand: &Value| if operand == x { y } else { operand };
        let operands: Vec<Value> = graph.node(test).operands.iter().map(to_y).collect();
        if Some(test) == own_mask {
            // It computes y, which the others read.
            copy_for_others(graph, test, &operands, id)?;
            continue;
        }
        let alike = |&&other: &&NodeId| {
            graph.node(other).op == graph.node(test).op && graph.node(other).operands == operands
        };
        match left.iter().find(alike).copied() {
            Some(first) => graph.replace_uses(graph.result(test), graph.result(first)),
            None => {
                for (position, &operand) in operands.iter().enumerate() {
                    graph.set_operand(test, position, operand);
                }
                left.push(test);
            }
        }
    }
    Ok(())
}

/// Gives the users of a test, all but `own`, the same test of other operands.
fn copy_for_others(
    graph: &mut Graph,
    test: NodeId,
    operands: &[Value],
    own: NodeId,
) -> Result<(), GraphError> {
    let users: Vec<NodeId> = graph.users(test).into_iter().filter(|&user| user != own).collect();
    if users.is_empty() {
        return Ok(());
    }
    let (op, origin) = (graph.node(test).op.clone(), graph.node(test).origin.clone());
    let again = Builder::new(graph, origin).add_node(op, operands)?;
    let mask = graph.result(test);
    for user in users {
        for position in 0..graph.node(user).operands.len() {
            if graph.node(user).operands[position] == mask {
                graph.set_operand(user, position, again);
            }
        }
    }
    Ok(())
}

/// The tests of x that have the same bits where `max(x, 0)` stands for it, and that somebody reads.
fn masks(graph: &Graph, x: Value) -> Vec<NodeId> {
    let is_mask = |&test: &NodeId| {
        let node = graph.node(test);
        let Op::Elementwise(Elementwise { op: ScalarOp::Compare(comparison) }) = node.op else {
            return false;
        };
        let tests_zero = match (comparison, &node.operands[..]) {
            (Comparison::Le | Comparison::Gt, &[a, b]) => a == x && is_zero(graph, b),
            (Comparison::Ge | Comparison::Lt, &[a, b]) => b == x && is_zero(graph, a),
            _ => false,
        };
        tests_zero && graph.is_used(test)
    };
    graph.users(x.node).into_iter().filter(is_mask).collect()
}

/// Whether a value is +0 everywhere.
fn is_zero(graph: &Graph, value: Value) -> bool {
    let node = graph.node(value.node);
    match &node.op {
        Op::Constant(c) => c.value.elements() == 1 && c.value.get(0).same(Scalar::zero(c.value.dtype())),
        Op::Broadcast(_) | Op::Reshape(_) => is_zero(graph, node.operands[0]),
        _ => false,
    }
}
