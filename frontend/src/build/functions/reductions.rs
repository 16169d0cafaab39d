//! Functions that combine the elements along axes.

use brolga_ir::program::Combine;
use brolga_ir::scalar::Function as Elementary;

use super::{Function, axis, float_tensor, function, tensor, tensor_value, wrong};
use crate::arguments::{Parameter, optional, required};
use crate::build::Builder;
use crate::build::value::{Args, Built, Val};
use crate::expr::{Binary, eval};

const REDUCTION: [Parameter; 3] = [required("x"), optional("axis"), optional("keepdims")];
const ALONG: [Parameter; 2] = [required("x"), optional("axis")];

pub(super) static FUNCTIONS: [Function; 14] = [
    function("sum", &REDUCTION, sum),
    function("mean", &REDUCTION, mean),
    function("prod", &REDUCTION, |builder, args| reduce(builder, args, Combine::Mul)),
    function("all", &REDUCTION, |builder, args| reduce(builder, args, Combine::And)),
    function("any", &REDUCTION, |builder, args| reduce(builder, args, Combine::Or)),
    function("norm", &REDUCTION, norm),
    function("var", &REDUCTION, variance),
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
        tensor_value(builder.ops().cumsum(x, axis))
    }),
    function("max_along", &REDUCTION, |builder, args| reduce(builder, args, Combine::Max)),
];

fn reduce(builder: &mut Builder, args: &Args, combine: Combine) -> Built<Val> {
    let x = tensor(builder, args, "x")?;
    let (axes, keep) = (args.ints("axis")?, args.bool_or("keepdims", false)?);
    let mut ops = builder.ops();
    let axes = ops.axes(x, axes)?;
    tensor_value(ops.reduce(combine, x, &axes, keep))
}

/// The sum of a list of numbers, or of a tensor; truth values are counted.
fn sum(builder: &mut Builder, args: &Args) -> Built<Val> {
    if let Some(Val::List(items)) = args.get("x").map(|value| &value.value) {
        return items
            .iter()
            .try_fold(Val::Int(0), |total, next| eval::binary(builder, Binary::Add, &total, next));
    }
    let x = counted(builder, args)?;
    let (axes, keep) = (args.ints("axis")?, args.bool_or("keepdims", false)?);
    let mut ops = builder.ops();
    let axes = ops.axes(x, axes)?;
    tensor_value(ops.sum(x, &axes, keep))
}

/// Truth values as floats, so that they can be counted.
fn counted(builder: &mut Builder, args: &Args) -> Built {
    let x = tensor(builder, args, "x")?;
    match builder.ops().dtype(x) {
        brolga_ir::DType::Bool => float_tensor(builder, args, "x"),
        _ => Ok(x),
    }
}

fn mean(builder: &mut Builder, args: &Args) -> Built<Val> {
    let x = float_tensor(builder, args, "x")?;
    let (axes, keep) = (args.ints("axis")?, args.bool_or("keepdims", false)?);
    let mut ops = builder.ops();
    let axes = ops.axes(x, axes)?;
    tensor_value(ops.mean(x, &axes, keep))
}

/// The Euclidean norm.
fn norm(builder: &mut Builder, args: &Args) -> Built<Val> {
    let x = float_tensor(builder, args, "x")?;
    let (axes, keep) = (args.ints("axis")?, args.bool_or("keepdims", false)?);
    let mut ops = builder.ops();
    let axes = ops.axes(x, axes)?;
    let square = ops.square(x)?;
    let sum = ops.sum(square, &axes, keep)?;
    tensor_value(ops.sqrt(sum))
}

/// The mean squared distance from the mean.
fn variance(builder: &mut Builder, args: &Args) -> Built<Val> {
    let x = float_tensor(builder, args, "x")?;
    let (axes, keep) = (args.ints("axis")?, args.bool_or("keepdims", false)?);
    let mut ops = builder.ops();
    let axes = ops.axes(x, axes)?;
    let mean = ops.mean(x, &axes, true)?;
    let centred = ops.sub(x, mean)?;
    let square = ops.square(centred)?;
    tensor_value(ops.mean(square, &axes, keep))
}

fn logsumexp(builder: &mut Builder, args: &Args) -> Built<Val> {
    let x = float_tensor(builder, args, "x")?;
    let (axes, keep) = (args.ints("axis")?, args.bool_or("keepdims", false)?);
    let mut ops = builder.ops();
    let axes = ops.axes(x, axes)?;
    let max = ops.reduce(Combine::Max, x, &axes, true)?;
    let max = ops.stop_gradient(max)?;
    let shifted = ops.sub(x, max)?;
    let exp = ops.function(Elementary::Exp, shifted)?;
    let sum = ops.sum(exp, &axes, true)?;
    let log = ops.function(Elementary::Log, sum)?;
    let result = ops.add(log, max)?;
    if keep {
        return Ok(Val::Tensor(result));
    }
    let dims: Vec<usize> = ops
        .dims(x)
        .into_iter()
        .enumerate()
        .filter(|(axis, _)| !axes.contains(axis))
        .map(|(_, n)| n)
        .collect();
    tensor_value(ops.reshape(result, &dims))
}

/// The position of the first extreme element, as `i32`.
fn extreme_index(builder: &mut Builder, args: &Args, largest: bool) -> Built<Val> {
    let x = tensor(builder, args, "x")?;
    let axis = axis(builder, args, x, -1)?;
    if builder.ops().dims(x)[axis] == 0 {
        return Err(wrong(args, "x", "there is no extreme along an axis without elements"));
    }
    tensor_value(builder.ops().arg_extreme(x, axis, largest))
}
