//! Rules about reductions.

use brolga_ir::ops::Op;
use brolga_ir::program::Combine;
use brolga_ir::scalar::Scalar;
use brolga_ir::{Builder, NodeId};

use crate::facts::constants::splat;
use crate::graph::simplify::rules::{Rewritten, pick, splat_like};

pub(super) fn reduce_nothing(b: &mut Builder, id: NodeId) -> Rewritten {
    let (reduce, x) = operator!(b, id, Reduce);
    Ok(reduce.axes.is_empty().then_some(x))
}

/// Axes of extent 1 need no loop. A sum of floats starts from +0, so that of one -0 is +0: adding +0 does that.
pub(super) fn reduce_units(b: &mut Builder, id: NodeId) -> Rewritten {
    let (reduce, x) = operator!(b, id, Reduce);
    if reduce.axes.is_empty() || reduce.axes.iter().any(|&axis| b.ty(x).dims[axis] != 1) {
        return Ok(None);
    }
    let dims = b.graph.node(id).types[0].dims.clone();
    let y = b.reshape(x, &dims)?;
    let signed_zero = reduce.combine == Combine::Add && b.ty(x).dtype.is_float();
    Ok(Some(if signed_zero { b.add_scalar(y, 0.0)? } else { y }))
}

pub(super) fn reduce_reduce(b: &mut Builder, id: NodeId) -> Rewritten {
    let (outer, x) = operator!(b, id, Reduce);
    let (inner, x) = behind!(b, x, Reduce);
    if outer.combine != inner.combine || !outer.combine.has_any_order(b.ty(x).dtype) {
        return Ok(None);
    }
    let kept: Vec<usize> = (0..b.ty(x).rank()).filter(|axis| !inner.axes.contains(axis)).collect();
    let mut axes = [inner.axes, pick(&kept, &outer.axes)].concat();
    axes.sort_unstable();
    Ok(Some(b.reduce(outer.combine, x, &axes)?))
}

/// The maximum, minimum, and, or of equal values is the value.
pub(super) fn reduce_broadcast(b: &mut Builder, id: NodeId) -> Rewritten {
    let (reduce, y) = operator!(b, id, Reduce);
    let (broadcast, x) = behind!(b, y, Broadcast);
    let repeats = |axis: &usize| !broadcast.axes.contains(axis) && broadcast.dims[*axis] != 0;
    if !matches!(reduce.combine, Combine::Max | Combine::Min | Combine::And | Combine::Or)
        || !reduce.axes.iter().all(repeats)
    {
        return Ok(None);
    }
    let left = |axis: usize| axis - reduce.axes.iter().filter(|&&reduced| reduced < axis).count();
    let axes: Vec<usize> = broadcast.axes.iter().map(|&axis| left(axis)).collect();
    let dims = b.graph.node(id).types[0].dims.clone();
    Ok(Some(b.broadcast(x, &dims, &axes)?))
}

/// The sum of equal integers, small enough for every partial sum to be exact.
pub(super) fn sum_splat(b: &mut Builder, id: NodeId) -> Rewritten {
    let (reduce, x) = operator!(b, id, Reduce);
    if reduce.combine != Combine::Add || !b.ty(x).dtype.is_float() {
        return Ok(None);
    }
    let Some(value) = splat(b.graph, x) else { return Ok(None) };
    let count: usize = reduce.axes.iter().map(|&axis| b.ty(x).dims[axis]).product();
    let (value, sum) = (value.to_f64(), value.to_f64() * count as f64);
    let exact = f64::from(1u32 << 24);
    if value.fract() != 0.0 || sum.abs() > exact || value.abs() > exact {
        return Ok(None);
    }
    let dtype = b.ty(x).dtype;
    // Sums start from +0, so none is -0.
    splat_like(b, id, Scalar::from_f64(dtype, sum + 0.0))
}
