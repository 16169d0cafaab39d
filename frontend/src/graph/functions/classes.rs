//! Labels and their classes: along which axis of the scores these lie, which labels count, and for how much.
//!
//! Labels have the shape of the scores without the axis of classes, so the shapes say which axis that is: `[batch, 10]`
//! and `[batch]`, `[batch, 10, 4, 4]` and `[batch, 4, 4]`, `[batch, length, words]` and `[batch, length]`. The first of
//! several axes holds samples, never classes unless it is named. Where two axes fit, equal by chance, symbolic sizes
//! decide: the entry is built for other sizes as well, and an axis must fit in all of them. Where two fit still, the
//! axis must be named.

use brolga_ir::DType;
use brolga_ir::scalar::{Comparison, ScalarOp};

use super::function::{axis, wrong};
use crate::graph::arguments::tensor;
use crate::graph::builder::Builder;
use crate::graph::ops::Ops;
use crate::graph::value::{Args, Built, Fault, Tensor, Val};
use crate::source::Spanned;

/// The axes of classes by which labels could fit scores.
fn fitting(scores: &[usize], labels: &[usize]) -> Vec<usize> {
    let first = usize::from(scores.len() > 1);
    let without = |axis: usize| scores[..axis].iter().chain(&scores[axis + 1..]);
    (first..scores.len()).filter(|&axis| without(axis).eq(labels)).collect()
}

/// The axis of the argument `axis`, if it is given.
fn given_axis(builder: &mut Builder, scores: Tensor, args: &Args) -> Built<Option<usize>> {
    if !args.has("axis") {
        return Ok(None);
    }
    axis(builder, args, scores, 1).map(Some)
}

/// The axis of classes of scores with integer labels.
pub(super) fn class_axis(builder: &mut Builder, scores: Tensor, label: Tensor, args: &Args) -> Built<usize> {
    let given = given_axis(builder, scores, args)?;
    let ops = builder.ops();
    let (x, y) = (ops.ty(scores), ops.ty(label));
    if x.rank() == 0 {
        return Err(Fault::new("scores need an axis of classes"));
    }
    if let Some(axis) = given {
        let mut rest = x.dims.clone();
        rest.remove(axis);
        if rest == y.dims && y.dtype.is_int() {
            return Ok(axis);
        }
        let message = format!("scores {x} without axis {axis} and labels {y} do not match");
        return Err(counted(wrong(args, "label", message), y.dtype)
            .note("labels are integers, one for each place of the scores"));
    }
    let axes = if y.dtype.is_int() { fitting(&x.dims, &y.dims) } else { Vec::new() };
    if axes.is_empty() {
        let message = format!("scores {x} and labels {y} do not match");
        return Err(counted(wrong(args, "label", message), y.dtype).note(
            "labels are integers, of the scores' shape without the axis of classes; the first axis holds samples",
        ));
    }
    match agreed_axis(builder, &axes, args) {
        Some(axis) => Ok(axis),
        None => {
            let list: Vec<String> = axes.iter().map(usize::to_string).collect();
            let message = format!("labels {y} fit scores {x} with classes along axis {}", list.join(" or "));
            Err(wrong(args, "label", message).help(format!("say which one: `axis={}`", axes[0])))
        }
    }
}

/// A mistake of labels; floats may be classes that were read as such.
fn counted(fault: Fault, labels: DType) -> Fault {
    match labels.is_float() {
        true => fault.help(
            "classes are declared as whole numbers, `\"label\": \"i32[batch]\"`, or made them: `int(label)`",
        ),
        false => fault,
    }
}

/// Of the axes that fit the one that fits with all sizes, if there is one alone.
fn agreed_axis(builder: &mut Builder, axes: &[usize], args: &Args) -> Option<usize> {
    let agreed = match args.place("label") {
        Some(span) => {
            let file = builder.source.name.clone();
            builder.class_axes.agreed(file, span.start, axes.to_vec())
        }
        None => axes.to_vec(),
    };
    match agreed[..] {
        [axis] => Some(axis),
        // Any axis will do for now: the entry is built again with more knowledge.
        _ if builder.class_axes.undecided => Some(axes[0]),
        _ => None,
    }
}

/// The axis of classes of scores with a probability for each of them.
pub(super) fn probability_axis(builder: &mut Builder, scores: Tensor, args: &Args) -> Built<usize> {
    if let Some(axis) = given_axis(builder, scores, args)? {
        return Ok(axis);
    }
    let ty = builder.ops().ty(scores);
    match ty.rank() {
        1 => Ok(0),
        2 => Ok(1),
        _ => {
            let message = format!("class probabilities {ty} do not say along which axis the classes lie");
            Err(wrong(args, "label", message).help("say it: `axis=1` for [batch, classes, ...]"))
        }
    }
}

/// The weights of the classes, if they are given: a list of numbers, or a tensor.
pub(super) fn class_weights(
    ops: &mut Ops,
    dtype: DType,
    classes: usize,
    args: &Args,
) -> Built<Option<Tensor>> {
    let Some(given) = args.get("weights") else { return Ok(None) };
    let weights = match &given.value {
        Val::Tensor(weights) => *weights,
        Val::List(_) => ops.list(given, dtype)?,
        _ => ops.constants(&args.floats("weights")?.unwrap_or_default(), dtype)?,
    };
    let ty = ops.ty(weights);
    let message = match ty.dims[..] {
        [found] if found == classes => return ops.convert(weights, dtype).map(Some),
        [found] => format!("there are {classes} classes, but {found} weights"),
        _ => format!("there are {classes} classes, but the weights are {ty}"),
    };
    Err(wrong(args, "weights", message))
}

/// A message if one of the labels is a constant and no class. Classes do not count from the end.
pub(super) fn check_classes(ops: &mut Ops, labels: Tensor, classes: usize) -> Result<(), String> {
    let Some((least, greatest)) = ops.known_range(labels) else { return Ok(()) };
    let last = classes as i64 - 1;
    match [least, greatest].into_iter().find(|class| !(0..=last).contains(class)) {
        Some(class) => Err(format!("{class} is no class: they are 0 to {last}")),
        None => Ok(()),
    }
}

/// The labels: a tensor, a list of whole numbers, or one of them.
pub(super) fn labels(builder: &mut Builder, args: &Args) -> Built {
    match args.get("label") {
        Some(label @ Spanned { value: Val::Int(_), .. }) => builder.ops().tensor(label),
        _ => tensor(builder, args, "label"),
    }
}

/// Integer labels of scores, and what is said of them.
pub(super) struct Labels {
    /// The axis of classes.
    pub axis: usize,
    /// The weights of the classes.
    pub weights: Option<Tensor>,
    /// The class of each label; class 0 for those that are ignored.
    class: Tensor,
    /// Which labels are not ignored; all of them if there is nothing.
    kept: Option<Tensor>,
    /// What each label counts for: the weight of its class, or 0 if it is ignored; 1 if there is nothing.
    share: Option<Tensor>,
}

impl Labels {
    /// Reads the arguments `label`, `weights`, `ignore_index` and `axis`.
    pub fn read(builder: &mut Builder, scores: Tensor, args: &Args) -> Built<Labels> {
        let label = labels(builder, args)?;
        let axis = class_axis(builder, scores, label, args)?;
        let mut ops = builder.ops();
        let (classes, dtype) = (ops.dims(scores)[axis], ops.dtype(scores));
        let weights = class_weights(&mut ops, dtype, classes, args)?;
        let (mut class, mut kept) = (label, None);
        if let Some(ignored) = args.get("ignore_index") {
            let ignored = ops.literal(ignored, ops.dtype(label))?;
            let counts = ops.compare(Comparison::Ne, label, ignored)?;
            let zero = ops.b.zeros_like(label)?;
            class = ops.select(counts, label, zero)?;
            kept = Some(counts);
        } else {
            check_classes(&mut ops, label, classes).map_err(|message| {
                let fault = wrong(args, "label", message);
                match ops.known_range(label) {
                    Some((-1, _)) => {
                        fault.help("where -1 marks what does not count, say so: `ignore_index=-1`")
                    }
                    _ => fault,
                }
            })?;
        }
        let share = match (weights, kept) {
            (Some(weights), None) => Some(ops.take(weights, class, 0)?),
            (Some(weights), Some(kept)) => {
                let each = ops.take(weights, class, 0)?;
                let zero = ops.b.zeros_like(each)?;
                Some(ops.select(kept, each, zero)?)
            }
            (None, Some(kept)) => Some(ops.convert(kept, dtype)?),
            (None, None) => None,
        };
        Ok(Labels { axis, weights, class, kept, share })
    }

    /// The element of each label along the axis of classes. Labels are indices: an input is checked before anything
    /// runs. Beside ignored ones they are computed, so that no check is possible: what is no class gives NaN.
    pub fn pick(&self, ops: &mut Ops, x: Tensor) -> Built {
        let picked = ops.pick(x, self.class, self.axis)?;
        if self.kept.is_none() {
            return Ok(picked);
        }
        let classes = ops.dims(x)[self.axis];
        let above = ops.compare_num(Comparison::Ge, self.class, 0.0)?;
        let count = ops.int_scalar(classes as i64, DType::I64)?;
        let wide = ops.convert(self.class, DType::I64)?;
        let below = ops.compare(Comparison::Lt, wide, count)?;
        let valid = ops.elementwise2(ScalarOp::And, above, below)?;
        let nan = ops.full(f64::NAN, &ops.ty(picked))?;
        ops.select(valid, picked, nan)
    }

    /// Losses times the weights of their classes.
    pub fn weighted(&self, ops: &mut Ops, losses: Tensor) -> Built {
        match (self.weights, self.share) {
            (Some(_), Some(share)) => ops.mul(losses, share),
            _ => Ok(losses),
        }
    }

    /// Losses, 0 for labels that are ignored.
    pub fn kept(&self, ops: &mut Ops, losses: Tensor) -> Built {
        let Some(kept) = self.kept else { return Ok(losses) };
        let zero = ops.b.zeros_like(losses)?;
        ops.select(kept, losses, zero)
    }

    /// The mean: the sum of the losses over the sum of what their labels count for.
    pub fn mean(&self, ops: &mut Ops, losses: Tensor) -> Built {
        let Some(share) = self.share else { return ops.mean_all(losses) };
        let (sum, total) = (ops.sum_all(losses)?, ops.sum_all(share)?);
        ops.div(sum, total)
    }
}

#[cfg(test)]
mod tests {
    use super::fitting;

    #[test]
    fn labels_fit_by_their_shape() {
        assert_eq!(fitting(&[7], &[]), [0]);
        assert_eq!(fitting(&[4, 4], &[4]), [1], "the first of two axes holds samples");
        assert_eq!(fitting(&[2, 5, 3], &[2, 3]), [1]);
        assert_eq!(fitting(&[2, 3, 5], &[2, 3]), [2]);
        assert_eq!(fitting(&[2, 3, 3], &[2, 3]), [1, 2]);
        assert_eq!(fitting(&[2, 3], &[3]), [], "[classes, samples] must be said");
    }
}
