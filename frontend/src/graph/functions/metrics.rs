//! Metrics of classification and regression, and sums over a whole set.

use brolga_ir::DType;
use brolga_ir::scalar::Comparison;

use super::classes::{class_axis, labels};
use super::function::{Function, float_tensor, function, tensor_value, wrong};
use super::losses::same_shape;
use crate::graph::arguments::tensor;
use crate::graph::builder::Builder;
use crate::graph::value::{Args, Built, Tensor, Val};
use crate::signature::{Parameter, Rule, int, required, ruled, size};
use crate::source::Span;

const AXIS: Parameter = int("axis");

pub(super) const FUNCTIONS: [Function; 4] = [
    function("accuracy", &[required("logits"), required("label"), AXIS], accuracy),
    function("top_k_accuracy", &[required("logits"), required("label"), size("k"), AXIS], top_k_accuracy),
    function("r2", &[required("x"), required("target")], r2),
    function("total", &[required("x"), ruled("axis", Rule::Ints, false)], total),
];

/// The sum of all elements, or along axes, over the whole set.
fn total(builder: &mut Builder, args: &Args) -> Built<Val> {
    let x = tensor(builder, args, "x")?;
    let axes = match args.ints("axis")? {
        Some(axes) => Some(builder.ops().axes(x, Some(axes))?),
        None => None,
    };
    let span = args.place("x").unwrap_or(Span::new(0, 0));
    tensor_value(builder.total(x, axes.as_deref(), span))
}

/// Below this part of the mean square of the targets, in f64, their variance is what rounding has left.
const NO_VARIANCE: f64 = 1e-13;

/// The coefficient of determination over the whole set, `1 - sum((t - x)^2) / sum((t - mean)^2)`; of several outputs,
/// which are the axes behind the first, the mean. Differences, squares and sums are in f64, in which the squares of f32 are
/// exact. NaN where the targets do not vary: of one sample, for instance.
fn r2(builder: &mut Builder, args: &Args) -> Built<Val> {
    builder.only_in_metrics("r2")?;
    let (x, target) = (float_tensor(builder, args, "x")?, float_tensor(builder, args, "target")?);
    same_shape(&builder.ops(), x, target, args, "target")?;
    let span = args.place("x").unwrap_or(Span::new(0, 0));
    let mut ops = builder.ops();
    let dims = ops.dims(x);
    let Some(&samples) = dims.first() else {
        return Err(wrong(args, "x", "predictions need an axis of samples"));
    };
    let (x, target) = (ops.convert(x, DType::F64)?, ops.convert(target, DType::F64)?);
    let target = ops.broadcast_to(target, &dims)?;
    let error = ops.sub(target, x)?;
    let parts =
        [ops.square(error)?, target, ops.square(target)?, ops.constants(&[samples as f64], DType::F64)?];
    let mut totals = parts;
    for (total, parts) in totals.iter_mut().zip(parts) {
        *total = builder.total_of(parts, span)?;
    }
    let [errors, sum, squares, samples] = totals;
    let mut ops = builder.ops();
    let mean = ops.div(sum, samples)?;
    let of_mean = ops.mul(sum, mean)?;
    let spread = ops.sub(squares, of_mean)?;
    let least = ops.mul_num(squares, NO_VARIANCE)?;
    let equal = ops.compare(Comparison::Le, spread, least)?;
    let share = ops.div(errors, spread)?;
    let found = ops.num_sub(1.0, share)?;
    let nan = ops.full(f64::NAN, &ops.ty(found))?;
    let each = ops.select(equal, nan, found)?;
    let axes: Vec<usize> = (0..dims.len() - 1).collect();
    tensor_value(ops.mean(each, &axes, false))
}

/// Scores, their labels, and the axis of classes.
fn pair(builder: &mut Builder, args: &Args) -> Built<(Tensor, Tensor, usize)> {
    let (logits, label) = (tensor(builder, args, "logits")?, labels(builder, args)?);
    let axis = class_axis(builder, logits, label, args)?;
    Ok((logits, label, axis))
}

/// The share of samples whose highest score is the label's.
fn accuracy(builder: &mut Builder, args: &Args) -> Built<Val> {
    let (logits, label, axis) = pair(builder, args)?;
    let float = builder.float();
    let mut ops = builder.ops();
    let found = ops.arg_extreme(logits, axis, true)?;
    let right = ops.compare(Comparison::Eq, found, label)?;
    let right = ops.convert(right, float)?;
    tensor_value(ops.mean_all(right))
}

/// The share of samples with fewer than `k` scores above the label's (of equal scores, the lower class first; NaN is
/// above every number). A label whose score is NaN is never found.
fn top_k_accuracy(builder: &mut Builder, args: &Args) -> Built<Val> {
    let (logits, label, axis) = pair(builder, args)?;
    let (k, float) = (args.size("k")?.get()?, builder.float());
    let mut ops = builder.ops();
    let dims = ops.dims(logits);
    if k > dims[axis] {
        return Err(wrong(args, "k", format!("k is {k}, but there are {} classes", dims[axis])));
    }
    let label = if ops.dtype(label) == DType::U8 { ops.convert(label, DType::I32)? } else { label };
    let classes = ops.b.iota(ops.dtype(label), &dims, axis)?;
    let axes: Vec<usize> = (0..dims.len()).filter(|&other| other != axis).collect();
    let label = ops.b.broadcast(label, &dims, &axes)?;
    let own = ops.compare(Comparison::Eq, classes, label)?;
    let zero = ops.b.zeros_like(logits)?;
    let own_score = ops.select(own, logits, zero)?;
    let own_score = ops.sum(own_score, &[axis], true)?;
    // Not `>`: a NaN is above, too. Where the own score is NaN, all are.
    let reached = ops.compare(Comparison::Le, logits, own_score)?;
    let above = ops.not(reached)?;
    let equal = ops.compare(Comparison::Eq, logits, own_score)?;
    let earlier = ops.compare(Comparison::Lt, classes, label)?;
    let ahead = ops.elementwise2(brolga_ir::scalar::ScalarOp::And, equal, earlier)?;
    let ahead = ops.elementwise2(brolga_ir::scalar::ScalarOp::Or, above, ahead)?;
    let count = ops.convert(ahead, float)?;
    let count = ops.sum(count, &[axis], false)?;
    let within = ops.compare_num(Comparison::Lt, count, k as f64)?;
    let within = ops.convert(within, float)?;
    tensor_value(ops.mean_all(within))
}
