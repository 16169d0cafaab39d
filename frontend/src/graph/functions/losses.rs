//! Losses, with PyTorch's definitions; `reduction` is 'mean' (the default), 'sum', or 'none'.

use brolga_ir::scalar::{Comparison, Function as Elementary, ScalarOp};

use super::classes::{Labels, class_weights, labels, probability_axis};
use super::function::{Function, float_tensor, function, wrong};
use crate::graph::builder::Builder;
use crate::graph::ops::Ops;
use crate::graph::value::{Args, Built, Tensor, Val};
use crate::signature::{Bounds, Parameter, int, number, optional, required, word, words};

words! {
    /// What becomes of the losses of all elements.
    enum Reduction { Mean = "mean", Sum = "sum", None = "none" }
}

const REDUCTION: Parameter = word::<Reduction>("reduction", false).or_word("mean");

const PREDICTION: [Parameter; 3] = [required("x"), required("target"), REDUCTION];
const BINARY: [Parameter; 5] =
    [required("x"), required("target"), REDUCTION, optional("pos_weight"), optional("weights")];
const CLASSES: [Parameter; 7] = [
    required("logits"),
    required("label"),
    number("smoothing", Bounds::UNIT).or(0.0),
    optional("weights"),
    REDUCTION,
    int("ignore_index"),
    int("axis"),
];
const NLL: [Parameter; 6] = [
    required("log_probability"),
    required("label"),
    optional("weights"),
    REDUCTION,
    int("ignore_index"),
    int("axis"),
];
const FOCAL: [Parameter; 7] = [
    required("logits"),
    required("label"),
    number("gamma", Bounds::NOT_NEGATIVE).or(2.0),
    REDUCTION,
    optional("weights"),
    int("ignore_index"),
    int("axis"),
];

pub(super) const FUNCTIONS: [Function; 12] = [
    function("cross_entropy", &CLASSES, cross_entropy),
    function("nll", &NLL, nll),
    function("mse", &PREDICTION, |builder, args| {
        elementwise(builder, args, |ops, x, target| {
            let difference = ops.sub(x, target)?;
            ops.square(difference)
        })
    }),
    function("l1", &PREDICTION, |builder, args| {
        elementwise(builder, args, |ops, x, target| {
            let difference = ops.sub(x, target)?;
            ops.elementwise(ScalarOp::Abs, difference)
        })
    }),
    function(
        "smooth_l1",
        &[required("x"), required("target"), number("beta", Bounds::NOT_NEGATIVE).or(1.0), REDUCTION],
        |builder, args| {
            let beta = args.float_or("beta", 1.0)?;
            elementwise(builder, args, |ops, x, target| smooth_l1(ops, x, target, beta))
        },
    ),
    function(
        "huber",
        &[required("x"), required("target"), number("delta", Bounds::POSITIVE).or(1.0), REDUCTION],
        |builder, args| {
            let delta = args.float_or("delta", 1.0)?;
            elementwise(builder, args, |ops, x, target| ops.rounded_corner(x, target, delta))
        },
    ),
    function("hinge", &PREDICTION, |builder, args| {
        // max(0, 1 - target x), targets -1 and 1
        elementwise(builder, args, |ops, x, target| {
            let margin = ops.mul(x, target)?;
            let short = ops.num_sub(1.0, margin)?;
            ops.relu(short)
        })
    }),
    function("bce", &BINARY, |builder, args| {
        binary(builder, args, |ops, x, target, positive| ops.binary_cross_entropy(x, target, positive))
    }),
    function("bce_with_logits", &BINARY, |builder, args| binary(builder, args, logistic)),
    function("kl", &[required("log_q"), required("p"), REDUCTION], |builder, args| {
        // p (ln p - ln q), 0 where p is 0: PyTorch's `kl_div`
        let (log_q, p) = (float_tensor(builder, args, "log_q")?, float_tensor(builder, args, "p")?);
        let mut ops = builder.ops();
        same_shape(&ops, log_q, p, args, "p")?;
        let one = ops.full(1.0, &ops.ty(p))?;
        let zero = ops.b.zeros_like(p)?;
        let positive = ops.compare(Comparison::Gt, p, zero)?;
        let safe = ops.select(positive, p, one)?;
        let log = ops.function(Elementary::Log, safe)?;
        let difference = ops.sub(log, log_q)?;
        let product = ops.mul(p, difference)?;
        reduced(&mut ops, product, args)
    }),
    function(
        "gauss_nll",
        &[required("x"), required("target"), required("variance"), REDUCTION],
        |builder, args| {
            // (ln v + (x - t)² / v) / 2, v not below 1e-6, as in PyTorch
            let variance = float_tensor(builder, args, "variance")?;
            elementwise(builder, args, |ops, x, target| {
                let variance = aligned_variance(ops, x, variance, args)?;
                let variance = ops.at_least(variance, 1e-6)?;
                let difference = ops.sub(x, target)?;
                let square = ops.square(difference)?;
                let share = ops.div(square, variance)?;
                let log = ops.function(Elementary::Log, variance)?;
                let sum = ops.add(log, share)?;
                ops.mul_num(sum, 0.5)
            })
        },
    ),
    function("focal", &FOCAL, focal),
];

fn elementwise(
    builder: &mut Builder,
    args: &Args,
    loss: impl FnOnce(&mut Ops, Tensor, Tensor) -> Built,
) -> Built<Val> {
    let (x, target) = (float_tensor(builder, args, "x")?, float_tensor(builder, args, "target")?);
    let mut ops = builder.ops();
    same_shape(&ops, x, target, args, "target")?;
    let value = loss(&mut ops, x, target)?;
    reduced(&mut ops, value, args)
}

/// A target has the prediction's shape, or is one number: nothing else is repeated, which in a loss is most often a
/// mistake.
pub(super) fn same_shape(ops: &Ops, x: Tensor, target: Tensor, args: &Args, name: &str) -> Built<()> {
    if ops.dims(x) == ops.dims(target) || ops.rank(target) == 0 {
        return Ok(());
    }
    let message = format!(
        "prediction and target must have one shape, found {} and {}",
        ops.written(x),
        ops.written(target)
    );
    Err(wrong(args, name, message))
}

/// A variance for each element of `x`, as PyTorch aligns them: of the same shape, of that without the last axis, or
/// with extents of 1; a number is one for all.
fn aligned_variance(ops: &mut Ops, x: Tensor, variance: Tensor, args: &Args) -> Built {
    let (dims, found) = (ops.dims(x), ops.dims(variance));
    let repeats = found.len() == dims.len() && found.iter().zip(&dims).all(|(&f, &n)| f == n || f == 1);
    if repeats || found.is_empty() {
        return Ok(variance);
    }
    if found[..] == dims[..dims.len().saturating_sub(1)] {
        let mut single = found;
        single.push(1);
        return ops.reshape(variance, &single);
    }
    let message =
        format!("the variance {} does not fit the prediction {}", ops.written(variance), ops.written(x));
    Err(wrong(args, "variance", message)
        .note("it has the prediction's shape, or that without the last axis, or extents of 1"))
}

/// Huber's loss divided by its corner `beta`; for 0, or less than f32 has, that is the distance.
fn smooth_l1(ops: &mut Ops, x: Tensor, target: Tensor, beta: f64) -> Built {
    if beta < f64::from(f32::MIN_POSITIVE) {
        let difference = ops.sub(x, target)?;
        return ops.elementwise(ScalarOp::Abs, difference);
    }
    let huber = ops.rounded_corner(x, target, beta)?;
    ops.div_num(huber, beta)
}

fn reduced(ops: &mut Ops, value: Tensor, args: &Args) -> Built<Val> {
    let result = match args.word("reduction", Reduction::Mean)? {
        Reduction::Mean => ops.mean_all(value)?,
        Reduction::Sum => ops.sum_all(value)?,
        Reduction::None => value,
    };
    Ok(Val::Tensor(result))
}

/// The losses of labels, which have been multiplied by the weights of their classes: the mean is over these.
fn reduced_labels(ops: &mut Ops, losses: Tensor, labels: &Labels, args: &Args) -> Built<Val> {
    let losses = labels.kept(ops, losses)?;
    let result = match args.word("reduction", Reduction::Mean)? {
        Reduction::Mean => labels.mean(ops, losses)?,
        Reduction::Sum => ops.sum_all(losses)?,
        Reduction::None => losses,
    };
    Ok(Val::Tensor(result))
}

/// `-log_softmax(logits)[label]`, mean over the labels; with label smoothing e: the target is
/// `(1 - e) one_hot + e / classes` (Szegedy et al. 2016); labels of floating type are probabilities. Weights are
/// PyTorch's: every class counts times its weight, and the mean over labels is that over their weights, the mean over
/// probabilities that over the samples. Ignored labels have no loss and no part in the mean.
fn cross_entropy(builder: &mut Builder, args: &Args) -> Built<Val> {
    let logits = float_tensor(builder, args, "logits")?;
    let label = labels(builder, args)?;
    let smoothing = args.float_or("smoothing", 0.0)?;
    if builder.ops().dtype(label).is_float() {
        return soft_cross_entropy(builder, logits, label, smoothing, args);
    }
    let labels = Labels::read(builder, logits, args)?;
    let mut ops = builder.ops();
    let (axis, dims) = (labels.axis, ops.dims(logits));
    let log = ops.log_softmax(logits, axis)?;
    let picked = labels.pick(&mut ops, log)?;
    let loss = ops.neg(picked)?;
    let mut loss = labels.weighted(&mut ops, loss)?;
    if smoothing != 0.0 {
        let log = match labels.weights {
            Some(weights) => {
                let weights = ops.along(weights, &dims, axis)?;
                ops.mul(log, weights)?
            }
            None => log,
        };
        let sum = ops.sum(log, &[axis], false)?;
        let even = ops.mul_num(sum, -smoothing / dims[axis] as f64)?;
        let own = ops.mul_num(loss, 1.0 - smoothing)?;
        loss = ops.add(own, even)?;
    }
    reduced_labels(&mut ops, loss, &labels, args)
}

/// `-sum w p log_softmax(logits)` over the classes, w their weights, mean over the rest.
fn soft_cross_entropy(
    builder: &mut Builder,
    logits: Tensor,
    target: Tensor,
    smoothing: f64,
    args: &Args,
) -> Built<Val> {
    let ops = builder.ops();
    if ops.dims(logits) != ops.dims(target) || ops.rank(logits) == 0 {
        let message = format!(
            "class probabilities must have the scores' shape: {} and {}",
            ops.ty(logits),
            ops.ty(target)
        );
        let fault = wrong(args, "label", message);
        return Err(match ops.rank(target) < ops.rank(logits) {
            true => fault.note("labels that are floats are probabilities of all classes").help(
                "classes are declared as whole numbers, `\"label\": \"i32[batch]\"`, or made them: `int(label)`",
            ),
            false => fault,
        });
    }
    let axis = probability_axis(builder, logits, args)?;
    let mut ops = builder.ops();
    let (dims, dtype) = (ops.dims(logits), ops.dtype(logits));
    let mut target = target;
    if smoothing != 0.0 {
        let kept = ops.mul_num(target, 1.0 - smoothing)?;
        target = ops.add_num(kept, smoothing / dims[axis] as f64)?;
    }
    let log = ops.log_softmax(logits, axis)?;
    let mut product = ops.mul(target, log)?;
    if let Some(weights) = class_weights(&mut ops, dtype, dims[axis], args)? {
        let weights = ops.along(weights, &dims, axis)?;
        product = ops.mul(product, weights)?;
    }
    let sum = ops.sum(product, &[axis], false)?;
    let loss = ops.neg(sum)?;
    reduced(&mut ops, loss, args)
}

/// `-log_probability[label]`.
fn nll(builder: &mut Builder, args: &Args) -> Built<Val> {
    let log = float_tensor(builder, args, "log_probability")?;
    let labels = Labels::read(builder, log, args)?;
    let mut ops = builder.ops();
    let picked = labels.pick(&mut ops, log)?;
    let loss = ops.neg(picked)?;
    let loss = labels.weighted(&mut ops, loss)?;
    reduced_labels(&mut ops, loss, &labels, args)
}

/// `-(1 - p)^gamma ln p`, p the label's probability (Lin et al. 2017).
fn focal(builder: &mut Builder, args: &Args) -> Built<Val> {
    let logits = float_tensor(builder, args, "logits")?;
    let gamma = args.float_or("gamma", 2.0)?;
    let labels = Labels::read(builder, logits, args)?;
    let mut ops = builder.ops();
    let log = ops.log_softmax(logits, labels.axis)?;
    let picked = labels.pick(&mut ops, log)?;
    let loss = ops.focal(picked, gamma)?;
    let loss = labels.weighted(&mut ops, loss)?;
    reduced_labels(&mut ops, loss, &labels, args)
}

/// A factor for each element of `x`: a number, a list, or a tensor, repeated by numpy's rule.
fn factor(builder: &mut Builder, args: &Args, name: &str, x: Tensor) -> Built<Option<Tensor>> {
    let Some(given) = args.get(name) else { return Ok(None) };
    let dtype = builder.ops().dtype(x);
    let mut ops = builder.ops();
    let factor = match &given.value {
        Val::Tensor(tensor) => ops.convert(*tensor, dtype)?,
        Val::List(_) => ops.list(given, dtype)?,
        _ => ops.literal(given, dtype)?,
    };
    let dims = ops.dims(x);
    let repeated = ops.broadcast_to(factor, &dims);
    repeated.map(Some).map_err(|fault| wrong(args, name, fault.message))
}

/// A loss of two classes for each element, with the factors `pos_weight` of the positive targets and `weights` of all.
fn binary(
    builder: &mut Builder,
    args: &Args,
    loss: impl FnOnce(&mut Ops, Tensor, Tensor, Option<Tensor>) -> Built,
) -> Built<Val> {
    let (x, target) = (float_tensor(builder, args, "x")?, float_tensor(builder, args, "target")?);
    same_shape(&builder.ops(), x, target, args, "target")?;
    let positive = factor(builder, args, "pos_weight", x)?;
    let weights = factor(builder, args, "weights", x)?;
    let mut ops = builder.ops();
    let mut value = loss(&mut ops, x, target, positive)?;
    if let Some(weights) = weights {
        value = ops.mul(value, weights)?;
    }
    reduced(&mut ops, value, args)
}

/// `(1 - t) x + (1 + (w - 1) t) ln(1 + e^-x)`
fn logistic(ops: &mut Ops, x: Tensor, target: Tensor, positive: Option<Tensor>) -> Built {
    let other = ops.num_sub(1.0, target)?;
    let linear = ops.mul(other, x)?;
    let minus = ops.neg(x)?;
    let mut soft = ops.softplus(minus, 1.0)?;
    if let Some(positive) = positive {
        let more = ops.sub_num(positive, 1.0)?;
        let more = ops.mul(more, target)?;
        let each = ops.add_num(more, 1.0)?;
        soft = ops.mul(each, soft)?;
    }
    ops.add(linear, soft)
}
