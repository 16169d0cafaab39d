//! Sums of tensors that are zero outside of a box: what the slices of a value contribute to its cotangent.
//!
//! Each of n slices gives back a tensor as large as the whole, padded by zeros; to add these up would take n times the work of
//! the whole. Here only what lies inside of the boxes is touched: boxes that follow each other are concatenated, with zeros
//! where there are gaps; equal boxes are added; boxes that overlap go into as many layers as lie over each other, and these
//! are added. Axis by axis: boxes with the same interval along one are put together along the others first. A slice by steps
//! of s is a box of the axis seen as rows of s elements.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::builder::Builder;
use crate::graph::{Graph, GraphError, Value};
use crate::ops::Op;
use crate::types::Type;

/// A tensor and where it lies in the whole: along each axis the first position, and the step from one to the next.
struct Piece {
    value: Value,
    start: Vec<usize>,
    step: Vec<usize>,
}

/// The piece that a padding by zeros, without a sign, surrounds; nothing for other values.
fn piece(graph: &Graph, value: Value) -> Option<Piece> {
    let node = graph.node(value.node);
    let Op::Pad(pad) = &node.op else { return None };
    let Op::Constant(constant) = &graph.node(node.operands[1].node).op else { return None };
    let zero = constant.value.get(0).to_f64();
    let inside = node.operands[0];
    let dims = &graph.ty(inside).dims;
    // One element has no step.
    let step = pad.interior.iter().zip(dims).map(|(&interior, &n)| if n > 1 { interior + 1 } else { 1 });
    let start = pad.low.clone();
    (zero == 0.0 && zero.is_sign_positive()).then(|| Piece { value: inside, start, step: step.collect() })
}

/// The sum of values of one type, at least one: those that are no pieces one after the other, then the pieces.
pub(super) fn sum(graph: &mut Graph, values: &[Value]) -> Result<Value, GraphError> {
    let (mut whole, mut pieces) = (Vec::new(), Vec::new());
    for &value in values {
        match piece(graph, value) {
            Some(piece) => pieces.push((value, piece)),
            None => whole.push(value),
        }
    }
    let last = values[values.len() - 1];
    let origin = graph.node(last.node).origin.clone();
    let ty = graph.ty(last).clone();
    let b = &mut Builder::new(graph, origin);
    if pieces.len() < 2 {
        return add_all(b, values);
    }
    let pieces: Vec<Piece> = pieces.into_iter().map(|(_, piece)| piece).collect();
    whole.extend(together(b, &ty, pieces)?);
    add_all(b, &whole)
}

/// Values added one after the other, each with the origin of the later one.
fn add_all(b: &mut Builder, values: &[Value]) -> Result<Value, GraphError> {
    let mut sum = values[0];
    for &value in &values[1..] {
        let origin = b.graph.node(value.node).origin.clone();
        sum = Builder::new(b.graph, origin).add(sum, value)?;
    }
    Ok(sum)
}

/// The pieces as parts of a whole: a tensor for each kind of steps, to be added.
fn together(b: &mut Builder, ty: &Type, pieces: Vec<Piece>) -> Result<Vec<Value>, GraphError> {
    let mut kinds: Vec<(Vec<usize>, Vec<Piece>)> = Vec::new();
    for piece in pieces {
        match kinds.iter_mut().find(|(step, _)| *step == piece.step) {
            Some((_, members)) => members.push(piece),
            None => kinds.push((piece.step.clone(), vec![piece])),
        }
    }
    kinds.into_iter().map(|(step, members)| of_kind(b, ty, &step, members)).collect()
}

/// Pieces with the same steps.
fn of_kind(b: &mut Builder, ty: &Type, step: &[usize], pieces: Vec<Piece>) -> Result<Value, GraphError> {
    if step.iter().all(|&step| step == 1) {
        return boxes(b, ty, 0, pieces);
    }
    // An axis that is seen by steps becomes two: rows of so many elements, the last one filled up.
    let mut dims = Vec::new();
    for (&extent, &step) in ty.dims.iter().zip(step) {
        dims.extend(if step > 1 { vec![extent.div_ceil(step), step] } else { vec![extent] });
    }
    let mut split = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let (mut start, mut own) = (Vec::new(), Vec::new());
        for (axis, extent) in b.dims(piece.value).into_iter().enumerate() {
            let (first, step) = (piece.start[axis], step[axis]);
            start.extend(if step > 1 { vec![first / step, first % step] } else { vec![first] });
            own.extend(if step > 1 { vec![extent, 1] } else { vec![extent] });
        }
        let value = b.reshape(piece.value, &own)?;
        split.push(Piece { value, step: vec![1; start.len()], start });
    }
    let whole = boxes(b, &ty.with_dims(dims), 0, split)?;
    let full: Vec<usize> = ty.dims.iter().zip(step).map(|(&n, &step)| n.div_ceil(step) * step).collect();
    let filled = b.reshape(whole, &full)?;
    b.slice(filled, &vec![0; full.len()], &ty.dims, &vec![1; full.len()])
}

/// What lies at an interval of an axis.
struct Interval {
    start: usize,
    end: usize,
    value: Value,
}

/// Pieces without steps, which are as long as `ty` along the axes before `axis`.
fn boxes(b: &mut Builder, ty: &Type, axis: usize, pieces: Vec<Piece>) -> Result<Value, GraphError> {
    if axis == ty.rank() {
        let values: Vec<Value> = pieces.iter().map(|piece| piece.value).collect();
        return add_all(b, &values);
    }
    let mut groups: Vec<((usize, usize), Vec<Piece>)> = Vec::new();
    let mut sorted = pieces;
    sorted.sort_by_key(|piece| (piece.start[axis], b.dims(piece.value)[axis]));
    for piece in sorted {
        let interval = (piece.start[axis], b.dims(piece.value)[axis]);
        match groups.last_mut() {
            Some((known, members)) if *known == interval => members.push(piece),
            _ => groups.push((interval, vec![piece])),
        }
    }
    let mut intervals = Vec::with_capacity(groups.len());
    for ((start, extent), members) in groups {
        let mut own = ty.clone();
        own.dims[axis] = extent;
        let value = boxes(b, &own, axis + 1, members)?;
        intervals.push(Interval { start, end: start + extent, value });
    }
    // Those that overlap, directly or by others, are one part.
    let mut parts: Vec<Interval> = Vec::new();
    let mut rest = intervals.into_iter().peekable();
    while let Some(first) = rest.next() {
        let (start, mut end, mut members) = (first.start, first.end, vec![first]);
        while let Some(next) = rest.next_if(|next| next.start < end) {
            end = end.max(next.end);
            members.push(next);
        }
        parts.push(Interval { start, end, value: layers(b, ty, axis, (start, end), members)? });
    }
    row(b, ty, axis, (0, ty.dims[axis]), parts)
}

/// Intervals that overlap: as many rows as lie over each other, added. They begin in ascending order.
fn layers(
    b: &mut Builder,
    ty: &Type,
    axis: usize,
    span: (usize, usize),
    intervals: Vec<Interval>,
) -> Result<Value, GraphError> {
    let mut layers: Vec<Vec<Interval>> = Vec::new();
    let mut ends: BinaryHeap<Reverse<(usize, usize)>> = BinaryHeap::new();
    for interval in intervals {
        let free = ends.peek().filter(|Reverse((end, _))| *end <= interval.start).map(|top| top.0.1);
        let layer = match free {
            Some(layer) => {
                ends.pop();
                layer
            }
            None => {
                layers.push(Vec::new());
                layers.len() - 1
            }
        };
        ends.push(Reverse((interval.end, layer)));
        layers[layer].push(interval);
    }
    let rows = layers.into_iter().map(|layer| row(b, ty, axis, span, layer));
    let rows = rows.collect::<Result<Vec<Value>, GraphError>>()?;
    add_all(b, &rows)
}

/// Intervals that follow each other, with zeros between them, from one position to another.
fn row(
    b: &mut Builder,
    ty: &Type,
    axis: usize,
    (from, to): (usize, usize),
    intervals: Vec<Interval>,
) -> Result<Value, GraphError> {
    let mut parts = Vec::new();
    let mut at = from;
    let zeros = |b: &mut Builder, from: usize, to: usize, parts: &mut Vec<Value>| {
        let mut gap = ty.clone();
        gap.dims[axis] = to - from;
        if to > from {
            parts.push(b.full(0.0, &gap)?);
        }
        Ok::<(), GraphError>(())
    };
    for interval in intervals {
        zeros(b, at, interval.start, &mut parts)?;
        parts.push(interval.value);
        at = interval.end;
    }
    zeros(b, at, to, &mut parts)?;
    match parts.as_slice() {
        &[single] => Ok(single),
        parts => b.concat(parts, axis),
    }
}
