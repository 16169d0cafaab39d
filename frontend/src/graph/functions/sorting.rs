//! Functions that put elements into order. NaN is above every number, and equal elements keep their order.

use brolga_ir::DType;

use super::function::{Function, counted_axis, function, wrong};
use crate::graph::arguments::tensor;
use crate::graph::builder::Builder;
use crate::graph::ops::Ops;
use crate::graph::value::{Args, Built, Tensor, Val};
use crate::signature::{Parameter, flag, int, required, size};

const SORT: [Parameter; 3] = [required("x"), int("axis").or_int(-1), flag("descending", false)];
const TOP: [Parameter; 4] = [required("x"), size("k"), int("axis").or_int(-1), flag("largest", true)];

pub(super) const FUNCTIONS: [Function; 3] = [
    function("sort", &SORT, |builder, args| {
        let descending = args.bool_or("descending", false)?;
        Ok(Val::Tensor(sorted(builder, args, descending)?.0))
    }),
    function("argsort", &SORT, |builder, args| {
        let descending = args.bool_or("descending", false)?;
        Ok(Val::Tensor(sorted(builder, args, descending)?.1))
    }),
    function("top_k", &TOP, top_k),
];

/// The elements along an axis in order, and the positions that they come from, as `i32`.
fn sorted(builder: &mut Builder, args: &Args, descending: bool) -> Built<(Tensor, Tensor)> {
    let x = tensor(builder, args, "x")?;
    let axis = counted_axis(builder, args, x)?;
    let mut ops = builder.ops();
    let (dims, dtype) = (ops.dims(x), ops.dtype(x));
    let keys = keys(&mut ops, x)?;
    let positions = ops.b.iota(DType::I32, &dims, axis)?;
    let results = ops.b.sort(&[keys, positions], axis, descending)?;
    Ok((ops.convert(results[0], dtype)?, results[1]))
}

/// The `k` greatest elements along an axis in descending order (or the least, ascending), and their positions.
fn top_k(builder: &mut Builder, args: &Args) -> Built<Val> {
    let (k, largest) = (args.size("k")?.get()?, args.bool_or("largest", true)?);
    let x = tensor(builder, args, "x")?;
    let axis = counted_axis(builder, args, x)?;
    let mut ops = builder.ops();
    let (extent, dtype) = (ops.dims(x)[axis], ops.dtype(x));
    if k > extent {
        return Err(wrong(args, "k", format!("k is {k}, but axis {axis} has {extent} elements")));
    }
    let keys = keys(&mut ops, x)?;
    let [values, positions] = ops.b.top_k(keys, k, axis, largest)?;
    let values = ops.convert(values, dtype)?;
    Ok(Val::List(vec![Val::Tensor(values), Val::Tensor(positions)]))
}

/// What is sorted by: numbers.
fn keys(ops: &mut Ops, x: Tensor) -> Built {
    if ops.dtype(x) == DType::Bool { ops.convert(x, DType::U8) } else { Ok(x) }
}
