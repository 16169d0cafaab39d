//! Functions that combine the elements along axes.

use brolga_ir::program::Combine;

use super::function::{
    Function, axis, counted_axis, float_tensor, function, is_combined_along_axes, mean_of, tensor_value,
    wrong,
};
use crate::expr::Binary;
use crate::graph::arguments::tensor;
use crate::graph::builder::Builder;
use crate::graph::operators;
use crate::graph::ops::Ops;
use crate::graph::value::{Args, Built, Tensor, Val};
use crate::signature::{Bounds, Parameter, Rule, flag, int, number, required, ruled};
use crate::source::Spanned;

/// One axis or several; all of them where none is given.
const AXES: Parameter = ruled("axis", Rule::Ints, false);
const REDUCTION: [Parameter; 3] = [required("x"), AXES, flag("keepdims", false)];
const ALONG: [Parameter; 2] = [required("x"), int("axis").or_int(-1)];
const SPREAD: [Parameter; 4] =
    [required("x"), AXES, flag("keepdims", false), number("correction", Bounds::NOT_NEGATIVE).or(0.0)];

pub(super) const FUNCTIONS: [Function; 15] = [
    function("sum", &REDUCTION, sum),
    function("mean", &REDUCTION, mean),
    function("prod", &REDUCTION, |builder, args| {
        reduce(builder, args, Combine::Mul, |ops, x| ops.widened(x))
    }),
    function("all", &REDUCTION, |builder, args| reduce(builder, args, Combine::And, |ops, x| ops.truth(x))),
    function("any", &REDUCTION, |builder, args| reduce(builder, args, Combine::Or, |ops, x| ops.truth(x))),
    function("norm", &REDUCTION, norm),
    function("var", &SPREAD, variance),
    function("std", &SPREAD, deviation),
    function("argmax", &ALONG, |builder, args| extreme_index(builder, args, true)),
    function("argmin", &ALONG, |builder, args| extreme_index(builder, args, false)),
    function("softmax", &ALONG, |builder, args| {
        let x = float_tensor(builder, args, "x")?;
        let axis = axis(builder, args, x, -1)?;
        tensor_value(builder.ops().softmax(x, axis))
    }),
    function("log_softmax", &ALONG, |builder, args| {
        let x = float_tensor(builder, args, "x")?;
        let axis = axis(builder, args, x, -1)?;
        tensor_value(builder.ops().log_softmax(x, axis))
    }),
    function("logsumexp", &REDUCTION, logsumexp),
    function("cumsum", &ALONG, |builder, args| {
        let x = tensor(builder, args, "x")?;
        let axis = axis(builder, args, x, -1)?;
        let x = builder.ops().widened(x)?;
        tensor_value(builder.ops().cumsum(x, axis))
    }),
    function("cumprod", &ALONG, |builder, args| {
        let x = tensor(builder, args, "x")?;
        let axis = axis(builder, args, x, -1)?;
        let x = builder.ops().widened(x)?;
        tensor_value(builder.ops().b.cumulative(Combine::Mul, x, axis).map_err(Into::into))
    }),
];

/// Combines what `prepare` makes of the elements.
fn reduce(
    builder: &mut Builder,
    args: &Args,
    combine: Combine,
    prepare: fn(&mut Ops<'_>, Tensor) -> Built,
) -> Built<Val> {
    let x = tensor(builder, args, "x")?;
    let x = prepare(&mut builder.ops(), x)?;
    let (axes, keep) = (args.ints("axis")?, args.bool_or("keepdims", false)?);
    let mut ops = builder.ops();
    let axes = ops.axes(x, axes)?;
    tensor_value(ops.reduce(combine, x, &axes, keep))
}

/// The sum of a list of numbers or tensors, or of a tensor; truth values are counted, whole numbers added in i64.
fn sum(builder: &mut Builder, args: &Args) -> Built<Val> {
    if let Some(Spanned { value: Val::List(items), span }) = args.get("x")
        && !is_combined_along_axes(items)
    {
        let mut total = Spanned::new(Val::Int(0), *span);
        for item in items {
            let item = Spanned::new(item.clone(), *span);
            total.value = operators::binary(builder, Binary::Add, &total, &item)?;
        }
        return Ok(total.value);
    }
    let x = tensor(builder, args, "x")?;
    let (axes, keep) = (args.ints("axis")?, args.bool_or("keepdims", false)?);
    let mut ops = builder.ops();
    let axes = ops.axes(x, axes)?;
    let of_all = axes.len() == ops.rank(x) && !keep;
    if ops.is_precise() && ops.dtype(x).is_float() && of_all {
        return tensor_value(ops.sum_all(x));
    }
    let x = ops.widened(x)?;
    let sum = ops.sum(x, &axes, keep)?;
    if of_all {
        ops.note_sum(sum);
    }
    Ok(Val::Tensor(sum))
}

fn mean(builder: &mut Builder, args: &Args) -> Built<Val> {
    let x = tensor(builder, args, "x")?;
    let (axes, keep) = (args.ints("axis")?, args.bool_or("keepdims", false)?);
    let axes = builder.ops().axes(x, axes)?;
    tensor_value(mean_of(builder, x, &axes, keep))
}

/// The Euclidean norm.
fn norm(builder: &mut Builder, args: &Args) -> Built<Val> {
    let x = float_tensor(builder, args, "x")?;
    let (axes, keep) = (args.ints("axis")?, args.bool_or("keepdims", false)?);
    let mut ops = builder.ops();
    let axes = ops.axes(x, axes)?;
    tensor_value(ops.norm(x, &axes, keep))
}

/// How much less than the number of elements a variance divides by.
fn correction(args: &Args) -> Built<f64> {
    args.float_in("correction", 0.0, 0.0, f64::MAX)
}

/// The mean squared distance from the mean.
fn variance(builder: &mut Builder, args: &Args) -> Built<Val> {
    let (x, correction) = (float_tensor(builder, args, "x")?, correction(args)?);
    let (axes, keep) = (args.ints("axis")?, args.bool_or("keepdims", false)?);
    let mut ops = builder.ops();
    let axes = ops.axes(x, axes)?;
    tensor_value(ops.variance(x, &axes, keep, correction))
}

/// The root of the variance.
fn deviation(builder: &mut Builder, args: &Args) -> Built<Val> {
    let (x, correction) = (float_tensor(builder, args, "x")?, correction(args)?);
    let (axes, keep) = (args.ints("axis")?, args.bool_or("keepdims", false)?);
    let mut ops = builder.ops();
    let axes = ops.axes(x, axes)?;
    tensor_value(ops.deviation(x, &axes, keep, correction))
}

fn logsumexp(builder: &mut Builder, args: &Args) -> Built<Val> {
    let x = float_tensor(builder, args, "x")?;
    let (axes, keep) = (args.ints("axis")?, args.bool_or("keepdims", false)?);
    let mut ops = builder.ops();
    let axes = ops.axes(x, axes)?;
    tensor_value(ops.logsumexp(x, &axes, keep))
}

/// The position of the first extreme element, as `i32`.
fn extreme_index(builder: &mut Builder, args: &Args, largest: bool) -> Built<Val> {
    let x = tensor(builder, args, "x")?;
    let axis = counted_axis(builder, args, x)?;
    if builder.ops().dims(x)[axis] == 0 {
        return Err(wrong(args, "x", "there is no extreme along an axis without elements"));
    }
    tensor_value(builder.ops().arg_extreme(x, axis, largest))
}
