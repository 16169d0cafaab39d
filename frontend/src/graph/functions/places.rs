//! Functions that put elements at computed places, and parts of an axis that begin at a computed one.

use brolga_ir::DType;
use brolga_ir::ops::ScatterMode;
use brolga_ir::scalar::{Comparison, ScalarOp};

use super::function::{Function, axis, function, promoted, tensor_value, wrong};
use super::sequences::rows;
use super::shapes::whole;
use crate::graph::arguments::tensor;
use crate::graph::builder::Builder;
use crate::graph::ops::Ops;
use crate::graph::value::{Args, Built, Fault, Tensor, Val};
use crate::signature::{Parameter, int, required, size, word, words};
use crate::source::Spanned;

words! {
    /// What happens to the element that is there.
    enum Mode { Set = "set", Add = "add", Max = "max", Min = "min" }
}

const SCATTER: [Parameter; 5] =
    [required("x"), required("indices"), required("y"), int("axis").or_int(0), word::<Mode>("mode", false)];
const PUT: [Parameter; 5] =
    [required("x"), required("indices"), required("y"), int("axis").or_int(-1), word::<Mode>("mode", false)];

pub(super) const FUNCTIONS: [Function; 4] = [
    function("scatter", &SCATTER, scatter),
    function("put", &PUT, put),
    function(
        "slice",
        &[required("x"), required("start"), size("size"), int("axis").or_int(0)],
        |builder, args| {
            let x = tensor(builder, args, "x")?;
            let axis = axis(builder, args, x, 0)?;
            let count = args.size("size")?.get()?;
            let places = run(builder, args, (x, axis), count)?;
            tensor_value(builder.ops().take(x, places, axis))
        },
    ),
    function(
        "update_slice",
        &[required("x"), required("y"), required("start"), int("axis").or_int(0)],
        update_slice,
    ),
];

/// How the argument `mode` changes elements of `x`.
fn mode(builder: &mut Builder, args: &Args, x: Tensor) -> Built<ScatterMode> {
    let mode = match args.word("mode", Mode::Set)? {
        Mode::Set => ScatterMode::Set,
        Mode::Add => ScatterMode::Add,
        Mode::Max => ScatterMode::Max,
        Mode::Min => ScatterMode::Min,
    };
    if mode != ScatterMode::Set && builder.ops().dtype(x) == DType::Bool {
        return Err(wrong(args, "mode", "truth values can be set only").help("`int` makes numbers of them"));
    }
    Ok(mode)
}

/// `x` with slices of `y` at indices along an axis: what `take` would give again. A list with tensors has indices into as many
/// neighbouring axes, the first of which is `axis`. `y` is repeated as in arithmetic.
fn scatter(builder: &mut Builder, args: &Args) -> Built<Val> {
    let [x, y] = promoted(builder, args, ["x", "y"])?;
    let (axis, mode) = (axis(builder, args, x, 0)?, mode(builder, args, x)?);
    let several = match args.get("indices") {
        Some(Spanned { value: Val::List(items), span })
            if items.iter().any(|item| matches!(item, Val::Tensor(_))) =>
        {
            Some(items.iter().map(|item| Spanned::new(item.clone(), *span)).collect::<Vec<_>>())
        }
        _ => None,
    };
    let dims = builder.ops().dims(x);
    let (indices, indexed) = match several {
        Some(list) => {
            if axis + list.len() > dims.len() {
                let (count, ty) = (list.len(), builder.ops().ty(x));
                let message = format!("there are indices into {count} axes from axis {axis} on of {ty}");
                return Err(wrong(args, "indices", message));
            }
            (joined(&mut builder.ops(), x, axis, &list)?, list.len())
        }
        None => {
            let indices = whole(builder, args, "indices", "indices")?;
            let mut ops = builder.ops();
            let ty = ops.ty(x);
            let checked = ops.checked_indices(&ty, axis, indices);
            (checked.map_err(|fault| fault.at(args.place("indices").unwrap_or_default()))?, 1)
        }
    };
    let mut ops = builder.ops();
    let (before, behind) = (&dims[..axis], &dims[axis + indexed..]);
    let extent: usize = dims[axis..axis + indexed].iter().product();
    let updates = [before, &ops.dims(indices), behind].concat();
    let y = repeated(&mut ops, args, y, &updates)?;
    let flat = ops.reshape(x, &[before, &[extent], behind].concat())?;
    let new = ops.b.scatter(flat, indices, y, axis, mode)?;
    tensor_value(ops.reshape(new, &dims))
}

/// `y`, repeated to the extents of what is put.
fn repeated(ops: &mut Ops, args: &Args, y: Tensor, dims: &[usize]) -> Built {
    ops.broadcast_to(y, dims).map_err(|fault| fault.at(args.place("y").unwrap_or_default()))
}

/// Indices into several neighbouring axes as one into all of them; -1, which is nowhere, where one is outside.
fn joined(ops: &mut Ops, x: Tensor, axis: usize, list: &[Spanned<Val>]) -> Built {
    let ty = ops.ty(x);
    let mut all = Vec::new();
    for (number, item) in list.iter().enumerate() {
        let own = ops.tensor(item)?;
        if !ops.dtype(own).is_int() {
            let fault = Fault::new(format!("indices are integers, found {}", ops.ty(own)));
            return Err(fault.at(item.span));
        }
        let own = ops.checked_indices(&ty, axis + number, own)?;
        all.push(ops.convert(own, DType::I64)?);
    }
    let all = ops.broadcast_all(&all)?;
    let (mut index, mut inside) = (all[0], None);
    for (number, &own) in all.iter().enumerate() {
        let extent = ops.int_scalar(ty.dims[axis + number] as i64, DType::I64)?;
        let zero = ops.int_scalar(0, DType::I64)?;
        let (low, high) =
            (ops.compare(Comparison::Ge, own, zero)?, ops.compare(Comparison::Lt, own, extent)?);
        let both = ops.elementwise2(ScalarOp::And, low, high)?;
        inside = Some(match inside {
            None => both,
            Some(inside) => ops.elementwise2(ScalarOp::And, inside, both)?,
        });
        if number > 0 {
            let rows = ops.elementwise2(ScalarOp::Mul, index, extent)?;
            index = ops.add(rows, own)?;
        }
    }
    let Some(inside) = inside else { return Ok(index) };
    let nowhere = ops.int_scalar(-1, DType::I64)?;
    let nowhere = ops.broadcast_to(nowhere, &ops.dims(index))?;
    ops.select(inside, index, nowhere)
}

/// `x` with elements of `y` at indices of each row's own along an axis: what `pick` would give again.
fn put(builder: &mut Builder, args: &Args) -> Built<Val> {
    let [x, y] = promoted(builder, args, ["x", "y"])?;
    let (axis, mode) = (axis(builder, args, x, -1)?, mode(builder, args, x)?);
    let (indices, several) = rows(builder, args, x, axis)?;
    let mut ops = builder.ops();
    let dims = ops.dims(indices);
    let mut given = dims.clone();
    if !several {
        given.remove(axis);
    }
    let y = repeated(&mut ops, args, y, &given)?;
    let y = ops.reshape(y, &dims)?;
    Ok(Val::Tensor(ops.b.scatter_along(x, indices, y, axis, mode)?))
}

/// `count` positions along an axis, from the argument `start` on. One that is computed is moved so that all lie inside.
fn run(builder: &mut Builder, args: &Args, (x, axis): (Tensor, usize), count: usize) -> Built {
    let start = whole(builder, args, "start", "positions")?;
    let mut ops = builder.ops();
    let (ty, found) = (ops.ty(x), ops.ty(start));
    if found.elements() != 1 {
        return Err(wrong(args, "start", format!("`start` is one position, found {found}")));
    }
    let Some(last) = ty.dims[axis].checked_sub(count) else {
        let message = format!("axis {axis} of {ty} has no {count} elements");
        return Err(wrong(args, if args.has("size") { "size" } else { "y" }, message));
    };
    if let Some((start, _)) = ops.known_range(start)
        && !(0..=last as i64).contains(&start)
    {
        let message = format!("{count} elements from {start} on are not all in axis {axis} of {ty}");
        return Err(wrong(args, "start", message).help(format!("they begin at 0 to {last}")));
    }
    let start = ops.reshape(start, &[])?;
    let start = ops.convert(start, DType::I64)?;
    let (first, last) = (ops.int_scalar(0, DType::I64)?, ops.int_scalar(last as i64, DType::I64)?);
    let start = ops.max(start, first)?;
    let start = ops.min(start, last)?;
    let along = ops.b.iota(DType::I64, &[count], 0)?;
    ops.add(start, along)
}

/// `x` with `y` in the place of as many elements along an axis, from a computed position on.
fn update_slice(builder: &mut Builder, args: &Args) -> Built<Val> {
    let [x, y] = promoted(builder, args, ["x", "y"])?;
    let axis = axis(builder, args, x, 0)?;
    let ops = builder.ops();
    let (whole, part) = (ops.ty(x), ops.ty(y));
    let same = |at: usize| at == axis || whole.dims[at] == part.dims[at];
    if whole.rank() != part.rank() || !(0..whole.rank()).all(same) {
        let message = format!("{part} must have the extents of {whole} but for axis {axis}");
        return Err(wrong(args, "y", message));
    }
    let places = run(builder, args, (x, axis), part.dims[axis])?;
    Ok(Val::Tensor(builder.ops().b.scatter(x, places, y, axis, ScatterMode::Set)?))
}
