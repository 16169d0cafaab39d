//! Functions of numbers and lists; those that tensors have too serve both.

use brolga_ir::DType;
use brolga_ir::program::Combine;
use brolga_ir::scalar::{Function as Elementary, ScalarOp};

use super::{Function, function, is_tensor, tensor, wrong};
use crate::arguments::{Parameter, optional, required};
use crate::build::Builder;
use crate::build::value::{Args, Built, Fault, Val};
use crate::expr::eval;

const X: [Parameter; 1] = [required("x")];
const MANY: [Parameter; 8] = [
    required("x"),
    optional("y"),
    optional("z"),
    optional("u"),
    optional("v"),
    optional("w"),
    optional("axis"),
    optional("keepdims"),
];

pub(super) static FUNCTIONS: [Function; 15] = [
    function("min", &MANY, min),
    function("max", &MANY, max),
    function("abs", &X, |builder, args| rounding(builder, args, ScalarOp::Abs)),
    function("floor", &X, |builder, args| rounding(builder, args, ScalarOp::Floor)),
    function("ceil", &X, |builder, args| rounding(builder, args, ScalarOp::Ceil)),
    function("round", &X, |builder, args| rounding(builder, args, ScalarOp::Round)),
    function("sqrt", &X, sqrt),
    function("exp", &X, |builder, args| elementary(builder, args, Elementary::Exp, f64::exp)),
    function("log", &X, |builder, args| elementary(builder, args, Elementary::Log, f64::ln)),
    function("len", &X, len),
    function("range", &[required("start"), optional("stop"), optional("step")], range),
    function("int", &X, int),
    function("float", &X, float),
    function("divisible", &[required("x"), required("by")], divisible),
    function("size", &[required("x"), optional("axis")], size),
];

fn min(builder: &mut Builder, args: &Args) -> Built<Val> {
    extreme(builder, args, Combine::Min)
}

fn max(builder: &mut Builder, args: &Args) -> Built<Val> {
    extreme(builder, args, Combine::Max)
}

/// Of several numbers or tensors the extreme one, elementwise; of one list or tensor its extreme element.
fn extreme(builder: &mut Builder, args: &Args, combine: Combine) -> Built<Val> {
    let values: Vec<&Val> =
        args.values.iter().filter(|(name, _)| name.len() == 1).map(|(_, value)| &value.value).collect();
    if let [Val::Tensor(x)] = values[..] {
        let axes = args.ints("axis")?;
        let keep = args.bool_or("keepdims", false)?;
        let mut ops = builder.ops();
        let axes = ops.axes(*x, axes)?;
        return ops.reduce(combine, *x, &axes, keep).map(Val::Tensor);
    }
    let items: Vec<Val> = match values[..] {
        [Val::List(items)] => items.clone(),
        _ => values.into_iter().cloned().collect(),
    };
    let mut items = items.into_iter();
    let first = items.next().ok_or_else(|| Fault::new("an empty list has no extreme"))?;
    items.try_fold(first, |best, next| match (&best, &next) {
        (Val::Tensor(_), _) | (_, Val::Tensor(_)) => {
            let (a, b) = builder.ops().operands(crate::expr::Binary::Add, &best, &next)?;
            let op = if combine == Combine::Min { ScalarOp::Min } else { ScalarOp::Max };
            builder.ops().elementwise2(op, a, b).map(Val::Tensor)
        }
        _ => match (best.as_float(), next.as_float()) {
            (Some(a), Some(b)) => {
                let first = if combine == Combine::Min { a <= b } else { a >= b };
                Ok(if first { best } else { next })
            }
            _ => Err(Fault::new(format!("cannot compare {} and {}", best.describe(), next.describe()))),
        },
    })
}

fn number(args: &Args) -> Built<f64> {
    let Some(value) = args.get("x") else { return Err(Fault::new("the argument `x` is missing")) };
    value
        .value
        .as_float()
        .ok_or_else(|| wrong(args, "x", format!("expected a number, found {}", value.value.describe())))
}

fn finite(value: f64) -> Built<Val> {
    if value.is_finite() {
        Ok(Val::Float(value))
    } else {
        Err(Fault::new("the result is not a finite number"))
    }
}

fn rounding(builder: &mut Builder, args: &Args, op: ScalarOp) -> Built<Val> {
    if is_tensor(args, "x") {
        let x = tensor(builder, args, "x")?;
        return builder.ops().elementwise(op, x).map(Val::Tensor);
    }
    if let (Some(Val::Int(value)), ScalarOp::Abs) = (args.get("x").map(|value| &value.value), op) {
        return value
            .checked_abs()
            .map(Val::Int)
            .ok_or_else(|| Fault::new("the result does not fit into 64 bits"));
    }
    let x = number(args)?;
    let value = match op {
        ScalarOp::Abs => return finite(x.abs()),
        ScalarOp::Floor => x.floor(),
        ScalarOp::Ceil => x.ceil(),
        _ => x.round_ties_even(),
    };
    Val::Float(value).as_int().map(Val::Int).ok_or_else(|| Fault::new("the result does not fit into 64 bits"))
}

fn sqrt(builder: &mut Builder, args: &Args) -> Built<Val> {
    if is_tensor(args, "x") {
        let x = super::float_tensor(builder, args, "x")?;
        return builder.ops().sqrt(x).map(Val::Tensor);
    }
    finite(number(args)?.sqrt())
}

fn elementary(
    builder: &mut Builder,
    args: &Args,
    function: Elementary,
    scalar: fn(f64) -> f64,
) -> Built<Val> {
    if is_tensor(args, "x") {
        let x = super::float_tensor(builder, args, "x")?;
        return builder.ops().function(function, x).map(Val::Tensor);
    }
    finite(scalar(number(args)?))
}

fn len(_: &mut Builder, args: &Args) -> Built<Val> {
    match args.get("x").map(|value| &value.value) {
        Some(Val::List(items)) => Ok(Val::Int(items.len() as i64)),
        Some(other) => Err(wrong(args, "x", format!("expected a list, found {}", other.describe()))),
        None => Err(Fault::new("the argument `x` is missing")),
    }
}

fn range(_: &mut Builder, args: &Args) -> Built<Val> {
    let start = args.int_or("start", 0)?;
    match args.has("stop") {
        true => eval::range(start, args.int_or("stop", 0)?, args.int_or("step", 1)?),
        false => eval::range(0, start, args.int_or("step", 1)?),
    }
}

fn int(builder: &mut Builder, args: &Args) -> Built<Val> {
    if is_tensor(args, "x") {
        let x = tensor(builder, args, "x")?;
        return builder.ops().convert(x, DType::I32).map(Val::Tensor);
    }
    match args.get("x").map(|value| &value.value) {
        Some(Val::Bool(value)) => Ok(Val::Int(i64::from(*value))),
        _ => Val::Float(number(args)?.trunc())
            .as_int()
            .map(Val::Int)
            .ok_or_else(|| Fault::new("the result does not fit into 64 bits")),
    }
}

fn float(builder: &mut Builder, args: &Args) -> Built<Val> {
    if is_tensor(args, "x") {
        return super::float_tensor(builder, args, "x").map(Val::Tensor);
    }
    match args.get("x").map(|value| &value.value) {
        Some(Val::Bool(value)) => Ok(Val::Float(f64::from(u8::from(*value)))),
        _ => number(args).map(Val::Float),
    }
}

/// The multiple of `by` nearest to x, but neither 0 nor below nine tenths of x: how MobileNet and its descendants
/// round a scaled number of channels (Sandler et al. 2018, in the authors' code).
fn divisible(_: &mut Builder, args: &Args) -> Built<Val> {
    let (x, by) = (number(args)?, args.size("by")? as f64);
    let near = by.max(((x + by / 2.0) / by).floor() * by);
    let value = if near < 0.9 * x { near + by } else { near };
    Val::Float(value).as_int().map(Val::Int).ok_or_else(|| Fault::new("the result does not fit into 64 bits"))
}

/// `size(x, axis)` of a tensor; `size(axis)` of the current value.
fn size(builder: &mut Builder, args: &Args) -> Built<Val> {
    let (x, axis) = match args.get("x").map(|value| &value.value) {
        Some(Val::Tensor(x)) => (*x, args.int_or("axis", 0)?),
        _ => match builder.current {
            Val::Tensor(x) => (x, args.int_or("x", 0)?),
            _ => return Ok(Val::Unknown),
        },
    };
    let ops = builder.ops();
    let axis = ops.axis(x, axis)?;
    Ok(Val::Int(ops.dims(x)[axis] as i64))
}
