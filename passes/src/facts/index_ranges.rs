//! The ranges of integer inputs that are used as indices: an analysis.
//!
//! Labels and tokens reach `gather` and `scatter` as indices. The runtime checks such inputs before anything runs. A
//! comparison is no such use: a label that equals no position is a row of zeros in a one-hot code, and may be meant. A
//! range is what *every* use as an index allows; it is followed back through operators that keep the elements (reshape, transpose, slice,
//! broadcast, conversions between integers, …), into and out of regions by their operands. Inputs that are computed
//! with first have no range: indices computed inside are clamped or dropped.
//!
//! Padding is ordinary: where all that is taken goes through masks made of whole numbers and truth values that are inputs,
//! `where(label == -1, 0, pick(x, label))`, some labels may be no index, and what is taken for them does not matter. A factor is
//! such a mask if it is 0 where a truth value says so: weights of classes, `where(label == 3, 2, 1)`, hide no label. Nor does
//! choosing between `pick(x, label)` and `pick(y, label)`, of which one is used in any case. Linear but for looking around behind
//! each index that is an input.

use brolga_ir::ops::{Op, RegionOp, Role};
use brolga_ir::scalar::ScalarOp;
use brolga_ir::{DType, Graph, NodeId, Value};
use rustc_hash::FxHashSet;

use crate::facts::table::ValueTable;

/// Inclusive bounds.
pub type Range = (i64, i64);

/// The integer inputs used as indices, in the order of the parameters, with what their elements must lie in.
pub fn index_ranges(graph: &Graph) -> Vec<(String, Range)> {
    let ranges = demands(graph);
    let range = |&id: &NodeId| {
        let parameter = graph.parameter(id).filter(|parameter| parameter.role == Role::Data)?;
        Some((parameter.name.clone(), *ranges.get(graph.result(id))?))
    };
    graph.parameters().iter().filter_map(range).collect()
}

/// The range that the uses of each value as an index allow.
fn demands(graph: &Graph) -> ValueTable<Range> {
    let mut ranges: ValueTable<Range> = ValueTable::default();
    for &id in graph.order().iter().rev() {
        let node = graph.node(id);
        let extent = |operand: usize, axis: usize| graph.ty(node.operands[operand]).dims[axis];
        match &node.op {
            Op::Gather(_) | Op::GatherAlong(_)
                if input(graph, node.operands[1]).is_some_and(|input| is_masked(graph, id, input)) => {}
            Op::Gather(op) => demand(&mut ranges, node.operands[1], below(extent(0, op.axis))),
            Op::GatherAlong(op) => demand(&mut ranges, node.operands[1], below(extent(0, op.axis))),
            Op::Scatter(op) => demand(&mut ranges, node.operands[1], below(extent(0, op.axis))),
            Op::ScatterAlong(op) => demand(&mut ranges, node.operands[1], below(extent(0, op.axis))),
            op if keeps_elements(op, graph, id) => {
                if let Some(&range) = ranges.get(graph.result(id)) {
                    for &operand in &node.operands {
                        demand(&mut ranges, operand, range);
                    }
                }
            }
            op => {
                if let Some(op) = op.region_op() {
                    regions(graph, id, op, &mut ranges);
                }
            }
        }
    }
    ranges
}

/// The input that a value is, arranged: what has a range if it is used as an index.
fn input(graph: &Graph, mut value: Value) -> Option<Value> {
    // From a value to its operand: graphs have no cycles.
    while keeps_elements(&graph.node(value.node).op, graph, value.node) {
        match graph.node(value.node).operands[..] {
            [operand] => value = operand,
            _ => return None,
        }
    }
    graph.parameter(value.node).map(|_| value)
}

/// Whether all that becomes of what a node takes by an index, element by element, goes through masks.
fn is_masked(graph: &Graph, id: NodeId, index: Value) -> bool {
    let (mut open, mut seen) = (vec![graph.result(id)], FxHashSet::default());
    while let Some(value) = open.pop() {
        if graph.outputs().iter().any(|output| output.value == value) {
            return false;
        }
        for user in graph.users(value.node) {
            let node = graph.node(user);
            let other = |a: Value, b: Value| if a == value { b } else { a };
            let masked = match &node.op {
                Op::Elementwise(op) => match (op.op, &node.operands[..]) {
                    (ScalarOp::Select, &[mask, a, b]) => {
                        mask != value && is_decided(graph, mask) && !depends(graph, other(a, b), index)
                    }
                    (ScalarOp::Mul, &[a, b]) => a != b && is_mask(graph, other(a, b)),
                    _ => false,
                },
                op if moves(op) => false,
                _ => return false,
            };
            if !masked && seen.insert(user) {
                open.push(graph.result(user));
            }
        }
    }
    true
}

/// Whether a factor is 0 where a truth value that inputs decide says so: the truth value itself as a number, arranged, or
/// its product with anything.
fn is_mask(graph: &Graph, factor: Value) -> bool {
    let (mut open, mut seen) = (vec![factor], FxHashSet::default());
    while let Some(value) = open.pop() {
        if graph.ty(value).dtype == DType::Bool {
            if is_decided(graph, value) {
                return true;
            }
            continue;
        }
        let node = graph.node(value.node);
        let keeps_zeros = match &node.op {
            Op::Elementwise(op) => matches!(op.op, ScalarOp::Mul | ScalarOp::Convert(_)),
            op => moves(op) && node.operands.len() == 1,
        };
        if keeps_zeros {
            open.extend(node.operands.iter().copied().filter(|operand| seen.insert(*operand)));
        }
    }
    false
}

/// Whether inputs of whole numbers and truth values alone decide a truth value, element by element.
fn is_decided(graph: &Graph, truth: Value) -> bool {
    let (mut open, mut seen, mut decided) = (vec![truth], FxHashSet::default(), false);
    while let Some(value) = open.pop() {
        let node = graph.node(value.node);
        match &node.op {
            Op::Parameter(parameter) => {
                let dtype = graph.ty(value).dtype;
                if parameter.role != Role::Data || !(dtype.is_int() || dtype == DType::Bool) {
                    return false;
                }
                decided = true;
            }
            Op::Constant(_) | Op::Iota(_) => {}
            op if moves(op) || matches!(op, Op::Elementwise(_)) => {
                open.extend(node.operands.iter().copied().filter(|operand| seen.insert(*operand)));
            }
            _ => return false,
        }
    }
    decided
}

/// Whether a value is made of another.
fn depends(graph: &Graph, value: Value, on: Value) -> bool {
    let (mut open, mut seen) = (vec![value.node], FxHashSet::default());
    // Progress: every node is gone through once.
    while let Some(id) = open.pop() {
        if id == on.node {
            return true;
        }
        let operands = graph.node(id).operands.iter().map(|operand| operand.node);
        open.extend(operands.filter(|&operand| seen.insert(operand)));
    }
    false
}

/// Whether every element of the result is one of an operand.
fn moves(op: &Op) -> bool {
    matches!(
        op,
        Op::Reshape(_)
            | Op::Transpose(_)
            | Op::Slice(_)
            | Op::Broadcast(_)
            | Op::Reverse(_)
            | Op::Concat(_)
            | Op::StopGradient(_)
    )
}

fn below(extent: usize) -> Range {
    (0, extent as i64 - 1)
}

fn demand(ranges: &mut ValueTable<Range>, value: Value, (low, high): Range) {
    let (l, h) = ranges.get(value).copied().unwrap_or((i64::MIN, i64::MAX));
    ranges.insert(value, (low.max(l), high.min(h)));
}

/// Whether every element of the result is an element of an operand, as a number; all operands are integers.
fn keeps_elements(op: &Op, graph: &Graph, id: NodeId) -> bool {
    let kept = match op {
        Op::Elementwise(op) => matches!(op.op, ScalarOp::Convert(_)),
        op => moves(op),
    };
    kept && graph.operand_types(id).iter().all(|ty| ty.dtype.is_int())
}

/// What a region that certainly runs asks of its parameters, it asks of its operands, in the same order. The condition of a
/// loop runs once at least, its body and either branch of a condition may not. A guarded loop counts as one that runs to its end, so
/// that an entry asks the same of its inputs whether the loop may end early in it or not.
fn regions(graph: &Graph, id: NodeId, op: RegionOp<'_>, ranges: &mut ValueTable<Range>) {
    let body = match op {
        RegionOp::Fused(fused) => &fused.body,
        RegionOp::Scan(scan) if scan.length > 0 => &scan.body,
        RegionOp::While(looped) if looped.limit > 0 => &looped.condition,
        RegionOp::Scan(_) | RegionOp::While(_) | RegionOp::Cond(_) => return,
    };
    let inside = demands(body);
    for (&parameter, &operand) in body.parameters().iter().zip(&graph.node(id).operands) {
        if let Some(&range) = inside.get(body.result(parameter)) {
            demand(ranges, operand, range);
        }
    }
}
