//! Functions for sequences: parts of an axis, positions, which of them lie inside of rows, and neighbours.

use brolga_ir::scalar::Comparison;
use brolga_ir::{DType, Size};

use super::function::{Function, axis, function, tensor_value, wrong};
use super::shapes::whole;
use crate::graph::arguments::{padded, tensor};
use crate::graph::builder::Builder;
use crate::graph::value::{Args, Built, Tensor, Val};
use crate::signature::{Parameter, Rule, int, optional, required, ruled, size};

const SHIFT: [Parameter; 4] =
    [required("x"), ruled("n", Rule::Int, true), optional("fill").or_int(0), int("axis").or_int(-1)];

pub(super) const FUNCTIONS: [Function; 6] = [
    function("split", &[required("x"), size("parts"), int("axis").or_int(-1)], |builder, args| {
        let x = tensor(builder, args, "x")?;
        let axis = axis(builder, args, x, -1)?;
        let parts = builder.ops().split(x, axis, args.size("parts")?.get()?)?;
        Ok(Val::List(parts.into_iter().map(Val::Tensor).collect()))
    }),
    function("arange", &[ruled("n", Rule::Int, true)], |builder, args| {
        let n = count(args, "n")?;
        Ok(Val::Tensor(builder.ops().b.iota(DType::I32, &[n], 0)?))
    }),
    function("mask", &[required("lengths"), ruled("longest", Rule::Int, true)], mask),
    function("pick", &[required("x"), required("indices"), int("axis").or_int(-1)], pick),
    function("shift", &SHIFT, shift),
    function("pad", &[required("x"), required("padding"), optional("value").or_int(0)], |builder, args| {
        let x = tensor(builder, args, "x")?;
        tensor_value(padded(builder, x, args))
    }),
];

/// A number of positions, which are `i32`.
pub(super) fn count(args: &Args, name: &str) -> Built<usize> {
    let count = args.int_or(name, 0)?;
    let fits = count.get().ok().filter(|count| *count <= i32::MAX as usize);
    fits.ok_or_else(|| {
        wrong(args, name, format!("`{name}` must be a whole number from 0 to 2^31 - 1, found {count}"))
    })
}

/// Which of so many positions lie inside of rows of those lengths: `[...]` to `bool[..., longest]`.
fn mask(builder: &mut Builder, args: &Args) -> Built<Val> {
    let (lengths, longest) = (whole(builder, args, "lengths", "lengths")?, count(args, "longest")?);
    let mut ops = builder.ops();
    // Positions have the type of the lengths, which must hold them all.
    let wide = if ops.dtype(lengths) == DType::I64 { DType::I64 } else { DType::I32 };
    let lengths = ops.convert(lengths, wide)?;
    let mut dims = ops.dims(lengths);
    let axes: Vec<usize> = (0..dims.len()).collect();
    dims.push(longest);
    let lengths = ops.b.broadcast(lengths, &dims, &axes)?;
    let positions = ops.b.iota(wide, &dims, axes.len())?;
    Ok(Val::Tensor(ops.b.compare(Comparison::Lt, positions, lengths)?))
}

/// The elements of an axis at indices of each row's own: one for each row (`[..., n]` and `[...]` to `[...]`), or several
/// (`[..., n]` and `[..., k]` to `[..., k]`). Axes behind the picked one may be left out of the indices: then all along these is
/// picked.
fn pick(builder: &mut Builder, args: &Args) -> Built<Val> {
    let x = tensor(builder, args, "x")?;
    let axis = axis(builder, args, x, -1)?;
    let (indices, several) = rows(builder, args, x, axis)?;
    let mut ops = builder.ops();
    let picked = ops.b.gather_along(x, indices, axis)?;
    if several {
        return Ok(Val::Tensor(picked));
    }
    let mut dims = ops.dims(x);
    dims.remove(axis);
    tensor_value(ops.reshape(picked, &dims))
}

/// The argument `indices` with as many axes as `x`, each row's own along one of them; whether several were given for each row,
/// as an axis of the result.
pub(super) fn rows(builder: &mut Builder, args: &Args, x: Tensor, axis: usize) -> Built<(Tensor, bool)> {
    let indices = whole(builder, args, "indices", "indices")?;
    let mut ops = builder.ops();
    let (ty, found) = (ops.ty(x), ops.ty(indices));
    let mut others = ty.dims.clone();
    others.remove(axis);
    let several = found.rank() == ty.rank()
        && found.dims.iter().zip(&ty.dims).enumerate().all(|(at, (a, b))| at == axis || a == b);
    let one = found.dims == others || found.dims == others[..axis];
    if !several && !one {
        let message =
            format!("the indices are {found}, but axis {axis} of {ty} has rows of extents {others:?}");
        return Err(wrong(args, "indices", message)
            .help("give one index for each row, or several along the axis that is picked from"));
    }
    let indices = ops.checked_indices(&ty, axis, indices)?;
    if several {
        return Ok((indices, true));
    }
    let axes: Vec<usize> = (0..found.rank()).collect();
    let indices = ops.b.broadcast(indices, &others, &axes)?;
    others.insert(axis, 1);
    Ok((ops.reshape(indices, &others)?, false))
}

/// Each element `n` positions further along an axis; those that come in are `fill`, those that go out are gone.
fn shift(builder: &mut Builder, args: &Args) -> Built<Val> {
    let x = tensor(builder, args, "x")?;
    let axis = axis(builder, args, x, -1)?;
    let n = args.int_or("n", 0)?;
    let mut ops = builder.ops();
    let ty = ops.ty(x);
    let extent = Size::from(ty.dims[axis]);
    let n = n.min(extent).max(Size::ZERO - extent);
    let fill = match args.get("fill") {
        Some(fill) => ops.literal(fill, ty.dtype)?,
        None => ops.scalar(0.0, ty.dtype)?,
    };
    let mut padding = vec![(Size::ZERO, Size::ZERO); ty.rank()];
    padding[axis] = (n, Size::ZERO - n);
    tensor_value(ops.pad(x, &padding, fill))
}
