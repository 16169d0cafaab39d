//! Functions of numbers and lists; those that tensors have too serve both.

use brolga_ir::program::Combine;
use brolga_ir::scalar::{Function as Elementary, ScalarOp};
use brolga_ir::{DType, Size};

use super::function::{Function, float_tensor, function, is_combined_along_axes, is_tensor, wrong};
use crate::graph::arguments::tensor;
use crate::graph::builder::Builder;
use crate::graph::operators;
use crate::graph::value::{Args, Built, Fault, Tensor, Val};
use crate::signature::{Parameter, Rule, flag, optional, required, ruled};
use crate::source::Spanned;

const X: [Parameter; 1] = [required("x")];
const MANY: [Parameter; 8] = [
    required("x"),
    optional("y"),
    optional("z"),
    optional("u"),
    optional("v"),
    optional("w"),
    ruled("axis", Rule::Ints, false),
    flag("keepdims", false),
];

pub(super) const FUNCTIONS: [Function; 15] = [
    function("min", &MANY, min),
    function("max", &MANY, max),
    function("abs", &X, abs),
    function("floor", &X, |builder, args| rounding(builder, args, ScalarOp::Floor, f64::floor)),
    function("ceil", &X, |builder, args| rounding(builder, args, ScalarOp::Ceil, f64::ceil)),
    function("round", &X, |builder, args| rounding(builder, args, ScalarOp::Round, f64::round_ties_even)),
    function("sqrt", &X, sqrt),
    function("exp", &X, |builder, args| elementary(builder, args, Elementary::Exp, f64::exp)),
    function("log", &X, |builder, args| elementary(builder, args, Elementary::Log, f64::ln)),
    function("len", &X, len),
    function("range", &[required("start"), optional("stop"), optional("step").or_int(1)], range),
    function("int", &X, int),
    function("float", &X, float),
    function("divisible", &[required("x"), ruled("by", Rule::Size, true)], divisible),
    function("size", &[required("x"), ruled("axis", Rule::Int, false).or_int(0)], size),
];

fn min(builder: &mut Builder, args: &Args) -> Built<Val> {
    extreme(builder, args, Combine::Min)
}

fn max(builder: &mut Builder, args: &Args) -> Built<Val> {
    extreme(builder, args, Combine::Max)
}

/// Of several numbers or tensors the extreme one, elementwise; of one list or tensor its extreme element.
fn extreme(builder: &mut Builder, args: &Args, combine: Combine) -> Built<Val> {
    let values: Vec<&Spanned<Val>> =
        ["x", "y", "z", "u", "v", "w"].iter().filter_map(|name| args.get(name)).collect();
    match values[..] {
        [Spanned { value: Val::Tensor(_), .. }] => extreme_along_axes(builder, args, combine),
        [Spanned { value: Val::List(items), .. }] if is_combined_along_axes(items) => {
            extreme_along_axes(builder, args, combine)
        }
        [Spanned { value: Val::List(items), span }] => {
            let items = items.iter().map(|item| Spanned::new(item.clone(), *span)).collect();
            extreme_of(builder, items, combine)
        }
        _ => extreme_of(builder, values.into_iter().cloned().collect(), combine),
    }
}

/// The extreme elements of `x` along axes, all of them if none are given.
fn extreme_along_axes(builder: &mut Builder, args: &Args, combine: Combine) -> Built<Val> {
    let x = tensor(builder, args, "x")?;
    let axes = args.ints("axis")?;
    let keep = args.bool_or("keepdims", false)?;
    let mut ops = builder.ops();
    let axes = ops.axes(x, axes)?;
    let dims = ops.dims(x);
    if axes.iter().any(|&axis| dims[axis] == 0) {
        return Err(wrong(args, "x", "there is no extreme along an axis without elements"));
    }
    ops.reduce(combine, x, &axes, keep).map(Val::Tensor)
}

/// The extreme one of several numbers; elementwise if there are tensors among them.
fn extreme_of(builder: &mut Builder, items: Vec<Spanned<Val>>, combine: Combine) -> Built<Val> {
    if items.iter().any(|item| matches!(item.value, Val::Tensor(_) | Val::List(_))) {
        let mut ops = builder.ops();
        let tensors = ops.promote(&items.iter().collect::<Vec<_>>())?;
        let op = if combine == Combine::Min { ScalarOp::Min } else { ScalarOp::Max };
        return tensors[1..]
            .iter()
            .try_fold(tensors[0], |best, &next| ops.elementwise2(op, best, next))
            .map(Val::Tensor);
    }
    let mut items = items.into_iter().map(|item| item.value);
    let first = items.next().ok_or_else(|| Fault::new("an empty list has no extreme"))?;
    items.try_fold(first, |best, next| match (best.as_float(), next.as_float()) {
        (Some(a), Some(b)) => {
            let first = if combine == Combine::Min { a <= b } else { a >= b };
            Ok(if first { best } else { next })
        }
        _ => Err(Fault::new(format!("cannot compare {} and {}", best.describe(), next.describe()))),
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

/// Rounds floats; whole numbers stay what they are.
pub(super) fn rounded(builder: &mut Builder, op: ScalarOp, x: Tensor) -> Built {
    let mut ops = builder.ops();
    if ops.dtype(x).is_int() { Ok(x) } else { ops.elementwise(op, x) }
}

/// A rounding of a tensor or number: a number becomes a whole one.
fn rounding(builder: &mut Builder, args: &Args, op: ScalarOp, round: fn(f64) -> f64) -> Built<Val> {
    if is_tensor(args, "x") {
        let x = tensor(builder, args, "x")?;
        return rounded(builder, op, x).map(Val::Tensor);
    }
    whole(round(number(args)?))
}

/// A float with an integral value as a whole number.
fn whole(value: f64) -> Built<Val> {
    Val::Float(value).as_int().map(Val::Int).ok_or_else(|| Fault::new("the result does not fit into 64 bits"))
}

fn abs(builder: &mut Builder, args: &Args) -> Built<Val> {
    if is_tensor(args, "x") {
        let x = tensor(builder, args, "x")?;
        return builder.ops().elementwise(ScalarOp::Abs, x).map(Val::Tensor);
    }
    match args.get("x").map(|value| &value.value) {
        Some(Val::Int(value)) => {
            let overflow = || Fault::new("the result does not fit into 64 bits");
            value.checked_abs().map(Val::Int).ok_or_else(overflow)
        }
        _ => finite(number(args)?.abs()),
    }
}

fn sqrt(builder: &mut Builder, args: &Args) -> Built<Val> {
    if is_tensor(args, "x") {
        let x = float_tensor(builder, args, "x")?;
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
        let x = float_tensor(builder, args, "x")?;
        return builder.ops().function(function, x).map(Val::Tensor);
    }
    finite(scalar(number(args)?))
}

fn len(_: &mut Builder, args: &Args) -> Built<Val> {
    match args.get("x").map(|value| &value.value) {
        Some(Val::List(items)) => Ok(Val::Int(items.len() as i64)),
        Some(other) => Err(wrong(args, "x", format!("expected a list, found {}", other.describe()))
            .help("the extent of an axis of a tensor is `size(x, 0)`")),
        None => Err(Fault::new("the argument `x` is missing")),
    }
}

fn range(_: &mut Builder, args: &Args) -> Built<Val> {
    let (start, step) = (args.int_or("start", 0)?, args.int_or("step", 1)?);
    match args.has("stop") {
        true => operators::range(start, args.int_or("stop", 0)?, step),
        false => operators::range(Size::ZERO, start, step),
    }
}

fn int(builder: &mut Builder, args: &Args) -> Built<Val> {
    if is_tensor(args, "x") {
        let x = tensor(builder, args, "x")?;
        let mut ops = builder.ops();
        // Nothing is lost of an i64.
        return if ops.dtype(x) == DType::I64 {
            Ok(Val::Tensor(x))
        } else {
            ops.convert(x, DType::I32).map(Val::Tensor)
        };
    }
    match args.get("x").map(|value| &value.value) {
        Some(Val::Bool(value)) => Ok(Val::Int(i64::from(*value))),
        _ => whole(number(args)?.trunc()),
    }
}

fn float(builder: &mut Builder, args: &Args) -> Built<Val> {
    if is_tensor(args, "x") {
        let (x, float) = (tensor(builder, args, "x")?, builder.float());
        let mut ops = builder.ops();
        let is_float = ops.dtype(x).is_float();
        return if is_float { Ok(Val::Tensor(x)) } else { ops.convert(x, float).map(Val::Tensor) };
    }
    match args.get("x").map(|value| &value.value) {
        Some(Val::Bool(value)) => Ok(Val::Float(f64::from(u8::from(*value)))),
        _ => number(args).map(Val::Float),
    }
}

/// The multiple of `by` nearest to x, but neither 0 nor below nine tenths of x: how MobileNet and its descendants
/// round a scaled number of channels (Sandler et al. 2018, in the authors' code).
fn divisible(_: &mut Builder, args: &Args) -> Built<Val> {
    let (x, by) = (number(args)?, args.size("by")?.get()? as f64);
    let near = by.max(((x + by / 2.0) / by).floor() * by);
    let value = if near < 0.9 * x { near + by } else { near };
    whole(value)
}

/// `size(x, axis)` of a tensor; `size(axis)` of the current value.
fn size(builder: &mut Builder, args: &Args) -> Built<Val> {
    let (x, axis) = match args.get("x").map(|value| &value.value) {
        Some(Val::Tensor(_) | Val::List(_)) => (tensor(builder, args, "x")?, args.int_or("axis", 0)?),
        _ => match builder.current {
            Val::Tensor(x) => (x, args.int_or("x", 0)?),
            Val::Unknown => return Ok(Val::Unknown),
            _ => {
                let fault = Fault::new("there is no current value here of which this could be the size");
                return Err(fault.help("name the tensor: `size(x, 0)`"));
            }
        },
    };
    let ops = builder.ops();
    let axis = ops.axis(x, axis)?;
    Ok(Val::Int(ops.dims(x)[axis] as i64))
}
