//! The ranges of integer inputs that are used as indices: an analysis.
//!
//! Labels and tokens reach `gather` and `scatter` as indices. The runtime checks such inputs before anything runs. A
//! comparison is no such use: a label that equals no position is a row of zeros in a one-hot code, and may be meant. A
//! range is what *every* use as an index allows; it is followed back through operators that keep the elements (reshape, transpose, slice,
//! broadcast, conversions between integers, …), into and out of regions by their operands. Inputs that are computed
//! with first have no range: indices computed inside are clamped or dropped. Linear.

use brolga_ir::ops::{Op, RegionOp, Role};
use brolga_ir::scalar::ScalarOp;
use brolga_ir::{Graph, NodeId, Value};

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

fn below(extent: usize) -> Range {
    (0, extent as i64 - 1)
}

fn demand(ranges: &mut ValueTable<Range>, value: Value, (low, high): Range) {
    let (l, h) = ranges.get(value).copied().unwrap_or((i64::MIN, i64::MAX));
    ranges.insert(value, (low.max(l), high.min(h)));
}

/// Whether every element of the result is an element of an operand, as a number; all operands are integers.
fn keeps_elements(op: &Op, graph: &Graph, id: NodeId) -> bool {
    let moves = match op {
        Op::Reshape(_)
        | Op::Transpose(_)
        | Op::Slice(_)
        | Op::Broadcast(_)
        | Op::Reverse(_)
        | Op::Concat(_) => true,
        Op::StopGradient(_) => true,
        Op::Elementwise(op) => matches!(op.op, ScalarOp::Convert(_)),
        _ => false,
    };
    moves && graph.operand_types(id).iter().all(|ty| ty.dtype.is_int())
}

/// What a region that certainly runs asks of its parameters, it asks of its operands, in the same order. The condition of a
/// loop runs once at least, its body and either branch of a condition may not.
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
