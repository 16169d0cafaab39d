//! Functions that draw random numbers, in every mode.
//!
//! Each place of the model that calls one has a stream of its own, named like a layer: the path of the layers around, then the
//! function, `walk.normal`; from the second call of a run on with its number, `walk.normal#2`. Where random numbers are given
//! instead of drawn, they are the input of that name (`random.walk.normal`): normal ones for `normal`, whole ones for
//! `permutation`, which orders positions by them, and uniform ones from 0 to below 1 for all others.

use std::collections::HashMap;

use brolga_ir::scalar::{Comparison, Function as Elementary};
use brolga_ir::{DType, Type};

use super::creation::dims;
use super::function::{Function, float_tensor, function, tensor_value, wrong};
use super::sequences::count;
use crate::graph::builder::{Builder, Numbering};
use crate::graph::value::{Args, Built, Tensor, Val};
use crate::signature::{Parameter, Rule, required, ruled};

const DIMS: [Parameter; 1] = [ruled("dims", Rule::Ints, true)];

/// Half of the least uniform number above 0, which stands for 0 where a logarithm is taken.
const LEAST: f64 = 1.0 / (1 << 25) as f64;

pub(super) const FUNCTIONS: [Function; 6] = [
    function("uniform", &DIMS, |builder, args| {
        let ty = Type::new(builder.float(), dims(args)?);
        tensor_value(uniform(builder, "uniform", &ty))
    }),
    function("normal", &DIMS, |builder, args| {
        let ty = Type::new(builder.float(), dims(args)?);
        tensor_value(at_place(builder, "normal", |builder| builder.random_normal(&ty)))
    }),
    function("gumbel", &DIMS, gumbel),
    function("bernoulli", &[required("p")], bernoulli),
    function("categorical", &[required("logits"), ruled("dims", Rule::Ints, false)], categorical),
    function("permutation", &[ruled("n", Rule::Int, true)], permutation),
];

/// What is drawn at this place, whose stream bears the function's name.
fn at_place(builder: &mut Builder, name: &str, draw: impl FnOnce(&mut Builder) -> Built) -> Built {
    builder.in_scope(name, Numbering::Kind(HashMap::new()), draw)
}

fn uniform(builder: &mut Builder, name: &str, ty: &Type) -> Built {
    at_place(builder, name, |builder| builder.random_uniform(ty))
}

/// `-log(-log(u))` of a uniform u: standard Gumbel numbers (Gumbel 1954).
fn gumbel(builder: &mut Builder, args: &Args) -> Built<Val> {
    let ty = Type::new(builder.float(), dims(args)?);
    let drawn = uniform(builder, "gumbel", &ty)?;
    let mut ops = builder.ops();
    let mut value = ops.max_num(drawn, LEAST)?;
    for _ in 0..2 {
        let log = ops.function(Elementary::Log, value)?;
        value = ops.neg(log)?;
    }
    Ok(Val::Tensor(value))
}

/// 1 with probability `p`, else 0, each element for itself: of the type and shape of `p`.
fn bernoulli(builder: &mut Builder, args: &Args) -> Built<Val> {
    let number = args.get("p").and_then(|p| p.value.as_float());
    if let Some(p) = number.filter(|p| !(0.0..=1.0).contains(p)) {
        return Err(wrong(args, "p", format!("a probability is a number from 0 to 1, found {p}")));
    }
    let p = float_tensor(builder, args, "p")?;
    let ty = builder.ops().ty(p);
    let drawn = uniform(builder, "bernoulli", &ty)?;
    let mut ops = builder.ops();
    let below = ops.compare(Comparison::Lt, drawn, p)?;
    tensor_value(ops.convert(below, ty.dtype))
}

/// Classes, as `i32`, with the probabilities `softmax(logits)` along the last axis: one for each row, `[..., classes]` to
/// `[...]`, or as many as `dims` says, to which the rows are repeated.
///
/// A uniform number falls between the running sums of the probabilities (the inverse of the distribution function). A class
/// whose probability is 0 is never drawn.
fn categorical(builder: &mut Builder, args: &Args) -> Built<Val> {
    let logits = float_tensor(builder, args, "logits")?;
    let ty = builder.ops().ty(logits);
    let Some((&classes, rows)) = ty.dims.split_last().filter(|(classes, _)| **classes > 0) else {
        return Err(wrong(
            args,
            "logits",
            format!("`logits` have classes along their last axis, found {ty}"),
        ));
    };
    if classes >= 1 << 31 {
        let message = format!("there are {classes} classes, and they are i32: below 2^31");
        return Err(wrong(args, "logits", message));
    }
    let wanted = if args.has("dims") { dims(args)? } else { rows.to_vec() };
    let pairs = || rows.iter().rev().zip(wanted.iter().rev());
    if rows.len() > wanted.len() || !pairs().all(|(row, wanted)| row == wanted || *row == 1) {
        let message = format!("the rows of logits {ty} cannot be repeated to {wanted:?}");
        return Err(
            wrong(args, "dims", message).help("`dims` is the shape of what is drawn, without the classes")
        );
    }
    let drawn = uniform(builder, "categorical", &Type::new(ty.dtype, wanted.clone()))?;
    fallen(builder, (logits, &ty), drawn, &wanted)
}

/// The class into whose share each drawn number falls: the first with a probability whose running sum is beyond it. Where
/// rounding leaves none, the most probable one.
fn fallen(
    builder: &mut Builder,
    (logits, ty): (Tensor, &Type),
    drawn: Tensor,
    wanted: &[usize],
) -> Built<Val> {
    let (axis, classes) = (ty.rank() - 1, ty.dims[ty.rank() - 1]);
    let (single, all) = ([wanted, &[1]].concat(), [wanted, &[classes]].concat());
    let mut ops = builder.ops();
    let p = ops.softmax(logits, axis)?;
    let sums = ops.cumsum(p, axis)?;
    let total = ops.slice_axis(sums, axis, classes - 1, classes, 1)?;
    let possible = ops.compare_num(Comparison::Gt, p, 0.0)?;
    let never = ops.full(-1.0, ty)?;
    let (p, sums) = (ops.select(possible, p, never)?, ops.select(possible, sums, never)?);
    let drawn = ops.reshape(drawn, &single)?;
    let drawn = ops.mul(drawn, total)?;
    let beyond = ops.compare(Comparison::Gt, sums, drawn)?;
    let (beyond, p) = (ops.broadcast_to(beyond, &all)?, ops.broadcast_to(p, &all)?);
    // More than any probability.
    let chosen = ops.full(2.0, &Type::new(ty.dtype, all))?;
    let score = ops.select(beyond, chosen, p)?;
    tensor_value(ops.arg_extreme(score, wanted.len(), true))
}

/// The whole numbers below `n` in an order that is drawn, as `i32[n]`.
fn permutation(builder: &mut Builder, args: &Args) -> Built<Val> {
    let n = count(args, "n")?;
    let ty = Type::new(DType::I32, [n]);
    let keys = at_place(builder, "permutation", |builder| builder.random_bits(&ty))?;
    let mut ops = builder.ops();
    let positions = ops.b.iota(DType::I32, &[n], 0)?;
    let results = ops.b.sort(&[keys, positions], 0, false)?;
    Ok(Val::Tensor(results[1]))
}
