//! Rules about shapes, reductions, conversions and constants, as functions.
//!
//! They leave a canonical form behind: splats are broadcasts of scalars; the operand of a broadcast has no unit
//! axes; scalar operations on broadcasts of the same axes are done before broadcasting.

mod pieces;
mod reductions;

use brolga_ir::ops::{Broadcast, Dot, Elementwise, Op};
use brolga_ir::scalar::{Scalar, ScalarOp};
use brolga_ir::{Builder, Choice, DType, NodeId, Value};

use super::rules::{Rewritten, Rule, pick, splat_like};
use crate::facts::constants::splat;
use pieces::{
    concat_concat, concat_empty, concat_one, concat_slices, pad_nothing, pad_splat, reverse_nothing,
    reverse_reverse, slice_broadcast, slice_concat, slice_nothing, slice_pad, slice_slice,
};
use reductions::{reduce_broadcast, reduce_nothing, reduce_reduce, reduce_units, sum_splat};

#[rustfmt::skip]
pub(super) const RULES: &[Rule] = &[
    Rule { name: "reshape-nothing",         apply: reshape_nothing,          units: false },
    Rule { name: "reshape-reshape",         apply: reshape_reshape,          units: false },
    Rule { name: "reshape-broadcast",       apply: reshape_broadcast,        units: false },
    Rule { name: "transpose-nothing",       apply: transpose_nothing,        units: false },
    Rule { name: "transpose-transpose",     apply: transpose_transpose,      units: false },
    Rule { name: "transpose-units",         apply: transpose_units,          units: true },
    Rule { name: "transpose-broadcast",     apply: transpose_broadcast,      units: false },
    Rule { name: "transpose-dot",           apply: transpose_dot,            units: false },
    Rule { name: "broadcast-nothing",       apply: broadcast_nothing,        units: false },
    Rule { name: "broadcast-reshape",       apply: broadcast_reshape,        units: true },
    Rule { name: "broadcast-repeats",       apply: broadcast_repeats,        units: false },
    Rule { name: "broadcast-units",         apply: broadcast_units,          units: true },
    Rule { name: "broadcast-broadcast",     apply: broadcast_broadcast,      units: false },
    Rule { name: "elementwise-broadcasts",  apply: elementwise_broadcasts,   units: false },
    Rule { name: "elementwise-reshapes",    apply: elementwise_reshapes,     units: false },
    Rule { name: "slice-nothing",           apply: slice_nothing,            units: false },
    Rule { name: "slice-slice",             apply: slice_slice,              units: false },
    Rule { name: "slice-broadcast",         apply: slice_broadcast,          units: false },
    Rule { name: "slice-concat",            apply: slice_concat,             units: false },
    Rule { name: "slice-pad",               apply: slice_pad,                units: false },
    Rule { name: "pad-nothing",             apply: pad_nothing,              units: false },
    Rule { name: "pad-splat",               apply: pad_splat,                units: false },
    Rule { name: "concat-one",              apply: concat_one,               units: false },
    Rule { name: "concat-empty",            apply: concat_empty,             units: false },
    Rule { name: "concat-concat",           apply: concat_concat,            units: false },
    Rule { name: "concat-slices",           apply: concat_slices,            units: false },
    Rule { name: "reverse-nothing",         apply: reverse_nothing,          units: false },
    Rule { name: "reverse-reverse",         apply: reverse_reverse,          units: false },
    Rule { name: "reduce-nothing",          apply: reduce_nothing,           units: false },
    Rule { name: "reduce-units",            apply: reduce_units,             units: false },
    Rule { name: "reduce-reduce",           apply: reduce_reduce,            units: false },
    Rule { name: "reduce-broadcast",        apply: reduce_broadcast,         units: false },
    Rule { name: "sum-splat",               apply: sum_splat,                units: false },
    Rule { name: "convert-nothing",         apply: convert_nothing,          units: false },
    Rule { name: "convert-convert",         apply: convert_convert,          units: false },
    Rule { name: "div-power-of-two",        apply: div_power_of_two,         units: false },
];

/// The axes whose extent is not 1.
fn wide(dims: &[usize]) -> Vec<usize> {
    (0..dims.len()).filter(|&axis| dims[axis] != 1).collect()
}

// Reshape and transpose.

fn reshape_nothing(b: &mut Builder, id: NodeId) -> Rewritten {
    let (reshape, x) = operator!(b, id, Reshape);
    Ok((b.ty(x).dims == reshape.dims).then_some(x))
}

fn reshape_reshape(b: &mut Builder, id: NodeId) -> Rewritten {
    let (outer, x) = operator!(b, id, Reshape);
    let (_, x) = behind!(b, x, Reshape);
    Ok(Some(b.reshape(x, &outer.dims)?))
}

/// A broadcast reshaped by unit axes only, or with axes joined or cut that are repeated anyway, is another broadcast.
fn reshape_broadcast(b: &mut Builder, id: NodeId) -> Rewritten {
    let (reshape, y) = operator!(b, id, Reshape);
    let (broadcast, x) = behind!(b, y, Broadcast);
    let (from, to) = (&broadcast.dims, &reshape.dims);
    if b.ty(x).rank() == 0 {
        return Ok(Some(b.broadcast(x, to, &[])?));
    }
    if from.contains(&0) {
        return Ok(None);
    }
    // Axes of the operand that are kept, and those of the result that they become.
    let (mut kept, mut axes) = (Vec::new(), Vec::new());
    let (mut i, mut j) = (0, 0);
    while i < from.len() || j < to.len() {
        let own = |i: usize| broadcast.axes.iter().position(|&axis| axis == i);
        match (from.get(i), to.get(j)) {
            (Some(a), Some(b)) if a == b => {
                if let Some(axis) = own(i) {
                    kept.push(axis);
                    axes.push(j);
                }
                (i, j) = (i + 1, j + 1);
            }
            (_, Some(1)) => j += 1,
            (Some(1), _) => i += 1,
            // The fewest axes of either that have as many elements: all of them repeated.
            (Some(&a), Some(&b)) => {
                let (mut a, mut b) = (a, b);
                let first = i;
                (i, j) = (i + 1, j + 1);
                while a != b {
                    if a < b {
                        a *= from[i];
                        i += 1;
                    } else {
                        b *= to[j];
                        j += 1;
                    }
                }
                if (first..i).any(|i| own(i).is_some()) {
                    return Ok(None);
                }
            }
            _ => return Ok(None),
        }
    }
    let dims = pick(&b.dims(x), &kept);
    let to = to.clone();
    let x = b.reshape(x, &dims)?;
    Ok(Some(b.broadcast(x, &to, &axes)?))
}

fn transpose_nothing(b: &mut Builder, id: NodeId) -> Rewritten {
    let (transpose, x) = operator!(b, id, Transpose);
    Ok(transpose.axes.is_sorted().then_some(x))
}

fn transpose_transpose(b: &mut Builder, id: NodeId) -> Rewritten {
    let (outer, x) = operator!(b, id, Transpose);
    let (inner, x) = behind!(b, x, Transpose);
    Ok(Some(b.transpose(x, &pick(&inner.axes, &outer.axes))?))
}

/// Moving unit axes about moves no element.
fn transpose_units(b: &mut Builder, id: NodeId) -> Rewritten {
    let (transpose, x) = operator!(b, id, Transpose);
    let dims = b.dims(x);
    if !transpose.axes.iter().filter(|&&axis| dims[axis] != 1).is_sorted() {
        return Ok(None);
    }
    Ok(Some(b.reshape(x, &pick(&dims, &transpose.axes))?))
}

/// A product of matrices with its results' axes exchanged is the product with its operands exchanged.
fn transpose_dot(b: &mut Builder, id: NodeId) -> Rewritten {
    let (transpose, product) = operator!(b, id, Transpose);
    let node = b.graph.node(product.node);
    let Op::Dot(dot) = &node.op else { return Ok(None) };
    let (left, right) = (node.operands[0], node.operands[1]);
    let rank = b.ty(product).rank();
    let first = dot.batch[0].len() + dot.free(0, b.ty(left).rank()).len();
    let exchanged: Vec<usize> =
        (0..dot.batch[0].len()).chain(first..rank).chain(dot.batch[0].len()..first).collect();
    // The right operand has its place where it is a matrix for an algorithm, or weights that are stored narrower.
    let stays = b.graph.choice(product.node) != Choice::default();
    if transpose.axes != exchanged || b.graph.use_count(product) != 1 || stays {
        return Ok(None);
    }
    let [batch, contract] = [&dot.batch, &dot.contract].map(|pair| [pair[1].clone(), pair[0].clone()]);
    Ok(Some(b.add_node(Dot::new(batch, contract), &[right, left])?))
}

/// The smaller tensor is transposed, if any.
fn transpose_broadcast(b: &mut Builder, id: NodeId) -> Rewritten {
    let (transpose, y) = operator!(b, id, Transpose);
    let (broadcast, x) = behind!(b, y, Broadcast);
    let inverse = transpose.inverse();
    let moved: Vec<usize> = broadcast.axes.iter().map(|&axis| inverse[axis]).collect();
    let mut order: Vec<usize> = (0..moved.len()).collect();
    order.sort_by_key(|&axis| moved[axis]);
    let x = b.transpose(x, &order)?;
    Ok(Some(b.broadcast(x, &pick(&broadcast.dims, &transpose.axes), &pick(&moved, &order))?))
}

// Broadcast.

fn broadcast_nothing(b: &mut Builder, id: NodeId) -> Rewritten {
    let (broadcast, x) = operator!(b, id, Broadcast);
    Ok((b.ty(x).dims == broadcast.dims).then_some(x))
}

/// New axes of extent 1 repeat nothing.
fn broadcast_reshape(b: &mut Builder, id: NodeId) -> Rewritten {
    let (broadcast, x) = operator!(b, id, Broadcast);
    let (from, to) = (b.ty(x).elements(), broadcast.dims.iter().product::<usize>());
    if from == to && to != 0 { Ok(Some(b.reshape(x, &broadcast.dims)?)) } else { Ok(None) }
}

/// Unit axes of the operand that are repeated are dropped: `[N, 1]` repeated to `[N, C]` is `[N]`.
fn broadcast_repeats(b: &mut Builder, id: NodeId) -> Rewritten {
    let (broadcast, x) = operator!(b, id, Broadcast);
    let dims = b.dims(x);
    let repeated = |axis: usize| dims[axis] == 1 && broadcast.dims[broadcast.axes[axis]] != 1;
    let kept: Vec<usize> = (0..dims.len()).filter(|&axis| !repeated(axis)).collect();
    if kept.len() == dims.len() {
        return Ok(None);
    }
    let x = b.reshape(x, &pick(&dims, &kept))?;
    Ok(Some(b.broadcast(x, &broadcast.dims, &pick(&broadcast.axes, &kept))?))
}

/// All unit axes of the operand are dropped: `[1, C, 1, 1]` is `[C]`.
fn broadcast_units(b: &mut Builder, id: NodeId) -> Rewritten {
    let (broadcast, x) = operator!(b, id, Broadcast);
    let dims = b.dims(x);
    let kept = wide(&dims);
    if kept.len() == dims.len() {
        return Ok(None);
    }
    let x = b.reshape(x, &pick(&dims, &kept))?;
    Ok(Some(b.broadcast(x, &broadcast.dims, &pick(&broadcast.axes, &kept))?))
}

fn broadcast_broadcast(b: &mut Builder, id: NodeId) -> Rewritten {
    let (outer, x) = operator!(b, id, Broadcast);
    let (inner, x) = behind!(b, x, Broadcast);
    Ok(Some(b.broadcast(x, &outer.dims, &pick(&outer.axes, &inner.axes))?))
}

/// A scalar operation on broadcasts of the same axes, and on splats, is done on the smaller tensors.
fn elementwise_broadcasts(b: &mut Builder, id: NodeId) -> Rewritten {
    let &Op::Elementwise(Elementwise { op }) = &b.graph.node(id).op else { return Ok(None) };
    let operands = b.graph.node(id).operands.clone();
    let mut common: Option<(Vec<usize>, Vec<usize>, Vec<usize>)> = None;
    let mut parts: Vec<Value> = Vec::new();
    for &operand in &operands {
        let (Broadcast { dims, axes }, x) = behind!(b, operand, Broadcast);
        let inner = b.dims(x);
        if !inner.is_empty() {
            match &common {
                Some((_, a, i)) if *a != axes || *i != inner => return Ok(None),
                Some(_) => {}
                None => common = Some((dims, axes, inner)),
            }
        }
        parts.push(x);
    }
    let (dims, axes, inner) = match common {
        Some(common) => common,
        None => (b.graph.node(id).types[0].dims.clone(), Vec::new(), Vec::new()),
    };
    for part in &mut parts {
        if b.ty(*part).dims != inner {
            *part = b.broadcast(*part, &inner, &[])?;
        }
    }
    let small = b.elementwise(op, &parts)?;
    Ok(Some(b.broadcast(small, &dims, &axes)?))
}

/// A scalar operation on reshapes of equal extents, and on splats, is done before reshaping.
fn elementwise_reshapes(b: &mut Builder, id: NodeId) -> Rewritten {
    let &Op::Elementwise(Elementwise { op }) = &b.graph.node(id).op else { return Ok(None) };
    let operands = b.graph.node(id).operands.clone();
    let mut sources: Vec<Value> = Vec::new();
    let mut dims: Option<Vec<usize>> = None;
    for &operand in &operands {
        let node = b.graph.node(operand.node);
        match &node.op {
            Op::Reshape(_) => {
                let from = &b.ty(node.operands[0]).dims;
                if dims.as_ref().is_some_and(|dims| dims != from) {
                    return Ok(None);
                }
                dims = Some(from.clone());
            }
            Op::Broadcast(broadcast) if broadcast.axes.is_empty() => {}
            _ => return Ok(None),
        }
        sources.push(node.operands[0]);
    }
    let Some(dims) = dims else { return Ok(None) };
    for (source, operand) in sources.iter_mut().zip(&operands) {
        if matches!(b.graph.node(operand.node).op, Op::Broadcast(_)) {
            *source = b.broadcast(*source, &dims, &[])?;
        }
    }
    let result = b.graph.node(id).types[0].dims.clone();
    let y = b.elementwise(op, &sources)?;
    Ok(Some(b.reshape(y, &result)?))
}

// Conversions and constants.

fn convert_nothing(b: &mut Builder, id: NodeId) -> Rewritten {
    let (Elementwise { op }, x) = operator!(b, id, Elementwise);
    Ok(matches!(op, ScalarOp::Convert(to) if to == b.ty(x).dtype).then_some(x))
}

/// Whether every value of one type is a value of another.
fn embeds(from: DType, to: DType) -> bool {
    use DType::*;
    from == to
        || match from {
            Bool => true,
            U8 => to != Bool,
            I32 => matches!(to, I64 | F64),
            Bf16 => matches!(to, F32 | F64),
            F32 => to == F64,
            I64 | F64 => false,
        }
}

/// A conversion that keeps the value may be left out before another one.
fn convert_convert(b: &mut Builder, id: NodeId) -> Rewritten {
    let (Elementwise { op: ScalarOp::Convert(to) }, x) = operator!(b, id, Elementwise) else {
        return Ok(None);
    };
    let through = b.ty(x).dtype;
    let (Elementwise { op: ScalarOp::Convert(_) }, x) = behind!(b, x, Elementwise) else { return Ok(None) };
    let from = b.ty(x).dtype;
    // Floats saturate in integers, integers wrap: there the result must hold every value.
    let alike = !(from.is_int() && through.is_float() && to.is_int()) || embeds(from, to);
    if embeds(from, through) && alike { Ok(Some(b.convert(x, to)?)) } else { Ok(None) }
}

/// Division by a power of two is multiplication by its inverse, if that is a normal number.
fn div_power_of_two(b: &mut Builder, id: NodeId) -> Rewritten {
    let (Elementwise { op: ScalarOp::Div }, x) = operator!(b, id, Elementwise) else { return Ok(None) };
    let y = b.graph.node(id).operands[1];
    let inverse = match splat(b.graph, y) {
        Some(Scalar::F32(v)) if v.to_bits() << 9 == 0 && v.is_normal() && (1.0 / v).is_normal() => {
            Scalar::F32(1.0 / v)
        }
        Some(Scalar::F64(v)) if v.to_bits() << 12 == 0 && v.is_normal() && (1.0 / v).is_normal() => {
            Scalar::F64(1.0 / v)
        }
        _ => return Ok(None),
    };
    let Some(inverse) = splat_like(b, id, inverse)? else { return Ok(None) };
    Ok(Some(b.mul(x, inverse)?))
}
