//! Rules about tensors that are cut, padded, joined and reversed.

use brolga_ir::ops::{Op, Pad, Slice};
use brolga_ir::{Builder, NodeId, Value};

use crate::facts::constants::splat;
use crate::graph::simplify::rules::{Rewritten, pick, splat_like};

pub(super) fn slice_nothing(b: &mut Builder, id: NodeId) -> Rewritten {
    let (_, x) = operator!(b, id, Slice);
    Ok((b.ty(x).dims == b.graph.node(id).types[0].dims).then_some(x))
}

pub(super) fn slice_slice(b: &mut Builder, id: NodeId) -> Rewritten {
    let (outer, x) = operator!(b, id, Slice);
    let result = b.graph.node(id).types[0].dims.clone();
    let (inner, x) = behind!(b, x, Slice);
    if result.contains(&0) {
        return Ok(None);
    }
    let (mut start, mut limit, mut stride) = (Vec::new(), Vec::new(), Vec::new());
    for axis in 0..result.len() {
        start.push(inner.start[axis] + outer.start[axis] * inner.stride[axis]);
        stride.push(inner.stride[axis] * outer.stride[axis]);
        limit.push(start[axis] + (result[axis] - 1) * stride[axis] + 1);
    }
    Ok(Some(b.slice(x, &start, &limit, &stride)?))
}

/// Slices what is broadcast, along its own axes.
pub(super) fn slice_broadcast(b: &mut Builder, id: NodeId) -> Rewritten {
    let (slice, y) = operator!(b, id, Slice);
    let (broadcast, x) = behind!(b, y, Broadcast);
    let result = b.graph.node(id).types[0].dims.clone();
    let dims = b.dims(x);
    if dims.iter().zip(&broadcast.axes).any(|(&extent, &axis)| extent != broadcast.dims[axis]) {
        return Ok(None);
    }
    let along = |list: &[usize]| pick(list, &broadcast.axes);
    let x = b.slice(x, &along(&slice.start), &along(&slice.limit), &along(&slice.stride))?;
    Ok(Some(b.broadcast(x, &result, &broadcast.axes)?))
}

/// A slice out of one of the joined tensors.
pub(super) fn slice_concat(b: &mut Builder, id: NodeId) -> Rewritten {
    let (Slice { mut start, mut limit, stride }, y) = operator!(b, id, Slice);
    let (concat, _) = behind!(b, y, Concat);
    let mut first = 0;
    for part in b.graph.node(y.node).operands.clone() {
        let extent = b.ty(part).dims[concat.axis];
        if start[concat.axis] >= first && limit[concat.axis] <= first + extent {
            start[concat.axis] -= first;
            limit[concat.axis] -= first;
            return Ok(Some(b.slice(part, &start, &limit, &stride)?));
        }
        first += extent;
    }
    Ok(None)
}

/// A slice out of what was padded.
pub(super) fn slice_pad(b: &mut Builder, id: NodeId) -> Rewritten {
    let (Slice { mut start, mut limit, stride }, y) = operator!(b, id, Slice);
    let (pad, x) = behind!(b, y, Pad);
    for (axis, &extent) in b.ty(x).dims.iter().enumerate() {
        let low = pad.low[axis];
        if pad.interior[axis] != 0 || start[axis] < low || limit[axis] > low + extent {
            return Ok(None);
        }
        start[axis] -= low;
        limit[axis] -= low;
    }
    Ok(Some(b.slice(x, &start, &limit, &stride)?))
}

pub(super) fn pad_nothing(b: &mut Builder, id: NodeId) -> Rewritten {
    let (_, x) = operator!(b, id, Pad);
    Ok((b.ty(x).dims == b.graph.node(id).types[0].dims).then_some(x))
}

/// A splat padded by the same value is a splat.
pub(super) fn pad_splat(b: &mut Builder, id: NodeId) -> Rewritten {
    let (Pad { .. }, x) = operator!(b, id, Pad);
    let around = splat(b.graph, b.graph.node(id).operands[1]);
    match (splat(b.graph, x), around) {
        (Some(inside), Some(around)) if inside.same(around) => splat_like(b, id, around),
        _ => Ok(None),
    }
}

pub(super) fn concat_one(b: &mut Builder, id: NodeId) -> Rewritten {
    let (_, x) = operator!(b, id, Concat);
    Ok((b.graph.node(id).operands.len() == 1).then_some(x))
}

/// Tensors without elements add nothing.
pub(super) fn concat_empty(b: &mut Builder, id: NodeId) -> Rewritten {
    let (concat, first) = operator!(b, id, Concat);
    let operands = b.graph.node(id).operands.clone();
    let mut kept: Vec<Value> =
        operands.iter().copied().filter(|&value| b.ty(value).dims[concat.axis] != 0).collect();
    if kept.len() == operands.len() || operands.len() == 1 {
        return Ok(None);
    }
    if kept.is_empty() {
        kept.push(first);
    }
    Ok(Some(b.concat(&kept, concat.axis)?))
}

/// Parts of what is joined again, at most: each has a copy in the kernel of the whole, and a chain of n joins would list its
/// parts n times (a dense block, whose layers read every one of them, does); a tensor joined with itself, 2^n times.
const MOST_PARTS: usize = 32;

pub(super) fn concat_concat(b: &mut Builder, id: NodeId) -> Rewritten {
    let (concat, _) = operator!(b, id, Concat);
    let mut parts = Vec::new();
    let mut found = false;
    let operands = &b.graph.node(id).operands;
    for (position, &operand) in operands.iter().enumerate() {
        let inner = b.graph.node(operand.node);
        let all = parts.len() + inner.operands.len() + operands.len() - position - 1;
        if all <= MOST_PARTS && inner.op == Op::Concat(concat.clone()) {
            found = true;
            parts.extend_from_slice(&inner.operands);
        } else {
            parts.push(operand);
        }
    }
    if found { Ok(Some(b.concat(&parts, concat.axis)?)) } else { Ok(None) }
}

/// Neighbouring slices of one tensor are one slice.
pub(super) fn concat_slices(b: &mut Builder, id: NodeId) -> Rewritten {
    let (concat, _) = operator!(b, id, Concat);
    let axis = concat.axis;
    let operands = b.graph.node(id).operands.clone();
    let mut parts: Vec<Value> = Vec::new();
    let mut joined = false;
    // The slice that the last part is, with its operand.
    let mut last: Option<(Slice, Value)> = None;
    for &operand in &operands {
        let node = b.graph.node(operand.node);
        let now = match &node.op {
            Op::Slice(slice) if slice.stride[axis] == 1 => Some((slice.clone(), node.operands[0])),
            _ => None,
        };
        if let (Some((before, x)), Some((slice, y))) = (&last, &now) {
            let mut both = before.clone();
            both.limit[axis] = slice.limit[axis];
            let mut other = slice.clone();
            other.start[axis] = before.start[axis];
            if x == y && before.limit[axis] == slice.start[axis] && both == other {
                parts.pop();
                parts.push(b.slice(*x, &both.start, &both.limit, &both.stride)?);
                last = Some((both, *x));
                joined = true;
                continue;
            }
        }
        parts.push(operand);
        last = now;
    }
    if joined { Ok(Some(b.concat(&parts, axis)?)) } else { Ok(None) }
}

/// Along axes of extent 1, nothing is reversed; what repeats is the same both ways.
pub(super) fn reverse_nothing(b: &mut Builder, id: NodeId) -> Rewritten {
    let (reverse, x) = operator!(b, id, Reverse);
    let dims = b.dims(x);
    Ok((reverse.axes.iter().all(|&axis| dims[axis] <= 1) || splat(b.graph, x).is_some()).then_some(x))
}

pub(super) fn reverse_reverse(b: &mut Builder, id: NodeId) -> Rewritten {
    let (outer, x) = operator!(b, id, Reverse);
    let (inner, x) = behind!(b, x, Reverse);
    let rank = b.ty(x).rank();
    let once = |axis: &usize| outer.axes.contains(axis) != inner.axes.contains(axis);
    let axes: Vec<usize> = (0..rank).filter(once).collect();
    Ok(Some(b.reverse(x, &axes)?))
}
