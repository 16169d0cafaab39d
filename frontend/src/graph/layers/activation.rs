//! Activations: layers, and words of `Activation("relu")`.
//!
//! How one is added: a row in the table `activations!` below, and the function that it names, which builds primitives; their
//! gradients are there. The row makes the layer, its arguments, and the word if it has one. Tests fail until it has its rows too:
//! in the root's `tests/functions/rows/layers.py`, of which `make.py` makes references with PyTorch, and in
//! `frontend/tests/arguments/tables.rs`; and until `brolga language` has been written to `docs/language-reference.md` again. Where
//! expressions shall call it, as `relu(x)`: a row in `graph/functions/elementwise.rs`.
//!
//! Sources: tanh and its scaled form LeCun 1998, softsign Glorot 2010, ReLU Nair 2010, leaky Maas
//! 2013, RReLU Xu 2015, PReLU He 2015, ELU Clevert 2016, SELU Klambauer 2017, softplus Dugas 2001, GELU Hendrycks
//! 2016, swish Ramachandran 2017, Mish Misra 2019, maxout Goodfellow 2013, CReLU Shang 2016, GLU Dauphin 2017.

use brolga_ir::program::Combine;
use brolga_ir::scalar::{Comparison, Function, ScalarOp};

use super::layer::{Layer, input};
use crate::graph::builder::Builder;
use crate::graph::init::{INIT, Init};
use crate::graph::ops::Ops;
use crate::graph::value::{Args, Built, Fault, Tensor};
use crate::signature::{
    Bounds, Parameter, Rule, Signature, flag, int, number, one_of, ruled, size, word, words,
};

/// How an activation is built on its input.
pub(crate) type Apply = fn(&mut Builder, Tensor, &Args) -> Built;

/// The table: one row for each activation, with the input it takes ([`float`] or [`any`]), the word of
/// `Activation("...")` if it has one, its parameters, and its function. Everything that names activations is made of it.
macro_rules! activations {
    ($($input:ident $name:literal $([$word:literal])? ($($parameter:expr),*) = $apply:expr;)*) => {
        pub(super) const LAYERS: &[Layer] = &[$(Layer {
            signature: Signature { name: $name, parameters: &[$($parameter),*] },
            label: "activation",
            source: false,
            build: |builder, x, args| {
                let x = $input(builder, input(x)?)?;
                $apply(builder, x, args)
            },
        }),*];

        /// Names that `Activation("...")` takes.
        pub(crate) const WORDS: &[&str] = &[$($($word,)?)*];

        /// What they stand for, in that order.
        const MEANINGS: &[Apply] = &[$($({ let _ = $word; $apply },)?)*];
    };
}

const AXIS: Parameter = int("axis").or_int(1);

activations! {
    float "Activation" (one_of("kind", WORDS, true)) = named;
    any "Identity" ["identity"] () = identity;
    float "Relu" ["relu"] () = relu;
    float "Relu6" ["relu6"] () = relu6;
    float "LeakyRelu" ["leaky_relu"] (number("slope", Bounds::ANY).or(0.01)) = leaky_relu;
    float "PRelu" (ruled("parameters", Rule::Size, false).or_int(1), INIT) = prelu;
    float "RRelu" (number("low", Bounds::ANY).or(1.0 / 8.0), number("high", Bounds::ANY).or(1.0 / 3.0)) = rrelu;
    float "Elu" ["elu"] (number("alpha", Bounds::ANY).or(1.0)) = elu;
    float "Celu" ["celu"] (number("alpha", Bounds::POSITIVE).or(1.0)) = celu;
    float "Selu" ["selu"] () = selu;
    float "Gelu" ["gelu"] (word::<GeluForm>("form", false).or_word("erf")) = gelu;
    float "Silu" ["silu"] () = silu;
    float "Swish" ["swish"] (number("beta", Bounds::ANY).or(1.0), flag("learned", false)) = swish;
    float "HardSwish" ["hard_swish"] () = hard_swish;
    float "Mish" ["mish"] () = mish;
    float "Sigmoid" ["sigmoid"] () = sigmoid;
    float "HardSigmoid" ["hard_sigmoid"] () = hard_sigmoid;
    float "LogSigmoid" () = log_sigmoid;
    float "Tanh" ["tanh"] () = tanh;
    float "ScaledTanh" () = scaled_tanh;
    float "HardTanh" ["hard_tanh"] (number("low", Bounds::ANY).or(-1.0), number("high", Bounds::ANY).or(1.0)) = hard_tanh;
    float "Softsign" ["softsign"] () = softsign;
    float "Softplus" ["softplus"] (number("beta", Bounds::POSITIVE).or(1.0)) = softplus;
    float "CRelu" () = crelu;
    float "Glu" (AXIS) = glu;
    float "Maxout" (size("pieces")) = maxout;
    float "Softmax" (AXIS) = softmax;
    float "LogSoftmax" (AXIS) = log_softmax;
}

/// The constants of SELU: the fixed point at mean 0 and variance 1 (Klambauer et al. 2017).
const SELU_SCALE: f64 = 1.050_700_987_355_480_5;
const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;

words! {
    /// Forms of GELU.
    enum GeluForm { Erf = "erf", Tanh = "tanh" }
}

/// An input that must have floating-point elements.
fn float(builder: &mut Builder, x: Tensor) -> Built {
    let ty = builder.ops().ty(x);
    if !ty.dtype.is_float() {
        return Err(Fault::new(format!("the input must have floating-point elements, found {ty}")));
    }
    Ok(x)
}

/// An input of any type.
fn any(_: &mut Builder, x: Tensor) -> Built {
    Ok(x)
}

/// The activation that a word names, with its own defaults.
fn named(builder: &mut Builder, x: Tensor, args: &Args) -> Built {
    let Some(position) = args.position("kind", WORDS)? else {
        return Err(Fault::new("the argument `kind` is missing"));
    };
    MEANINGS[position](builder, x, &Args::default())
}

fn identity(_: &mut Builder, x: Tensor, _: &Args) -> Built {
    Ok(x)
}

pub(crate) fn relu(builder: &mut Builder, x: Tensor, _: &Args) -> Built {
    builder.ops().relu(x)
}

fn relu6(builder: &mut Builder, x: Tensor, _: &Args) -> Built {
    builder.ops().saturate(x, 0.0, 6.0)
}

pub(crate) fn leaky_relu(builder: &mut Builder, x: Tensor, args: &Args) -> Built {
    leaky(&mut builder.ops(), x, args.float_or("slope", 0.01)?)
}

pub(crate) fn elu(builder: &mut Builder, x: Tensor, args: &Args) -> Built {
    elu_of(&mut builder.ops(), x, args.float_or("alpha", 1.0)?)
}

/// `x > 0 ? x : a (e^(x/a) - 1)`
fn celu(builder: &mut Builder, x: Tensor, args: &Args) -> Built {
    let alpha = args.float_or("alpha", 1.0)?;
    let ops = &mut builder.ops();
    let inner = ops.min_num(x, 0.0)?;
    let inner = ops.div_num(inner, alpha)?;
    let below = ops.function(Function::Expm1, inner)?;
    let below = ops.mul_num(below, alpha)?;
    let positive = ops.compare_num(Comparison::Gt, x, 0.0)?;
    ops.select(positive, x, below)
}

fn selu(builder: &mut Builder, x: Tensor, _: &Args) -> Built {
    let ops = &mut builder.ops();
    let elu = elu_of(ops, x, SELU_ALPHA)?;
    ops.mul_num(elu, SELU_SCALE)
}

pub(crate) fn gelu(builder: &mut Builder, x: Tensor, args: &Args) -> Built {
    let form = args.word("form", GeluForm::Erf)?;
    let ops = &mut builder.ops();
    let f = match form {
        GeluForm::Tanh => {
            // x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x³)))
            // From 16 on the tangent is 1 long since; bounded, the square does not overflow.
            let square = ops.square(x)?;
            let square = ops.min_num(square, 256.0)?;
            let cube = ops.mul(square, x)?;
            let cube = ops.mul_num(cube, 0.044715)?;
            let inner = ops.add(x, cube)?;
            let inner = ops.mul_num(inner, (2.0 / std::f64::consts::PI).sqrt())?;
            ops.function(Function::Tanh, inner)?
        }
        GeluForm::Erf => {
            // x/2 (1 + erf(x / sqrt 2))
            let inner = ops.mul_num(x, std::f64::consts::FRAC_1_SQRT_2)?;
            ops.function(Function::Erf, inner)?
        }
    };
    half_times(ops, x, f)
}

pub(crate) fn silu(builder: &mut Builder, x: Tensor, _: &Args) -> Built {
    let ops = &mut builder.ops();
    let gate = ops.function(Function::Sigmoid, x)?;
    ops.mul(x, gate)
}

fn sigmoid(builder: &mut Builder, x: Tensor, _: &Args) -> Built {
    builder.ops().function(Function::Sigmoid, x)
}

fn tanh(builder: &mut Builder, x: Tensor, _: &Args) -> Built {
    builder.ops().function(Function::Tanh, x)
}

/// `x sigmoid(b x)`, b a number or a parameter.
fn swish(builder: &mut Builder, x: Tensor, args: &Args) -> Built {
    let beta = args.float_or("beta", 1.0)?;
    let scaled = if args.bool_or("learned", false)? {
        let beta = builder.parameter("beta", &[1], Init::Constant(beta))?;
        builder.ops().mul(x, beta)?
    } else {
        builder.ops().mul_num(x, beta)?
    };
    let ops = &mut builder.ops();
    let gate = ops.function(Function::Sigmoid, scaled)?;
    ops.mul(x, gate)
}

fn hard_swish(builder: &mut Builder, x: Tensor, _: &Args) -> Built {
    let ops = &mut builder.ops();
    let gate = hard_gate(ops, x)?;
    ops.mul(x, gate)
}

fn mish(builder: &mut Builder, x: Tensor, _: &Args) -> Built {
    let ops = &mut builder.ops();
    let soft = ops.softplus(x, 1.0)?;
    let tanh = ops.function(Function::Tanh, soft)?;
    ops.mul(x, tanh)
}

pub(crate) fn hard_sigmoid(builder: &mut Builder, x: Tensor, _: &Args) -> Built {
    hard_gate(&mut builder.ops(), x)
}

fn log_sigmoid(builder: &mut Builder, x: Tensor, _: &Args) -> Built {
    let ops = &mut builder.ops();
    let minus = ops.neg(x)?;
    let soft = ops.softplus(minus, 1.0)?;
    ops.neg(soft)
}

/// `1.7159 tanh(2x/3)`, LeCun's form.
fn scaled_tanh(builder: &mut Builder, x: Tensor, _: &Args) -> Built {
    let ops = &mut builder.ops();
    let inner = ops.mul_num(x, 2.0 / 3.0)?;
    let tanh = ops.function(Function::Tanh, inner)?;
    ops.mul_num(tanh, 1.7159)
}

fn hard_tanh(builder: &mut Builder, x: Tensor, args: &Args) -> Built {
    let (low, high) = (args.float_or("low", -1.0)?, args.float_or("high", 1.0)?);
    if low >= high {
        let message = format!("`low` must be below `high`, found {low:?} and {high:?}");
        return Err(args.fault(if args.has("low") { "low" } else { "high" }, message));
    }
    builder.ops().saturate(x, low, high)
}

fn softsign(builder: &mut Builder, x: Tensor, _: &Args) -> Built {
    let ops = &mut builder.ops();
    let size = ops.elementwise(ScalarOp::Abs, x)?;
    let size = ops.add_num(size, 1.0)?;
    ops.div(x, size)
}

pub(crate) fn softplus(builder: &mut Builder, x: Tensor, args: &Args) -> Built {
    builder.ops().softplus(x, args.float_or("beta", 1.0)?)
}

fn crelu(builder: &mut Builder, x: Tensor, _: &Args) -> Built {
    let ops = &mut builder.ops();
    let minus = ops.neg(x)?;
    let (above, below) = (ops.relu(x)?, ops.relu(minus)?);
    ops.concat(&[above, below], 1)
}

fn glu(builder: &mut Builder, x: Tensor, args: &Args) -> Built {
    let ops = &mut builder.ops();
    let axis = ops.axis(x, args.int_or("axis", 1)?)?;
    let halves = ops.split(x, axis, 2)?;
    let gate = ops.function(Function::Sigmoid, halves[1])?;
    ops.mul(halves[0], gate)
}

fn maxout(builder: &mut Builder, x: Tensor, args: &Args) -> Built {
    let pieces = args.size("pieces")?.get()?;
    let ops = &mut builder.ops();
    let axis = ops.axis(x, 1)?;
    let mut dims = ops.dims(x);
    if !dims[axis].is_multiple_of(pieces) {
        return Err(Fault::new(format!("{} channels cannot be divided into {pieces} pieces", dims[axis])));
    }
    dims[axis] /= pieces;
    dims.insert(axis + 1, pieces);
    let parts = ops.reshape(x, &dims)?;
    ops.reduce(Combine::Max, parts, &[axis + 1], false)
}

fn softmax(builder: &mut Builder, x: Tensor, args: &Args) -> Built {
    let ops = &mut builder.ops();
    let axis = ops.axis(x, args.int_or("axis", 1)?)?;
    ops.softmax(x, axis)
}

fn log_softmax(builder: &mut Builder, x: Tensor, args: &Args) -> Built {
    let ops = &mut builder.ops();
    let axis = ops.axis(x, args.int_or("axis", 1)?)?;
    ops.log_softmax(x, axis)
}

/// `x > 0 ? x : slope x`
fn leaky(ops: &mut Ops, x: Tensor, slope: f64) -> Built {
    let below = ops.mul_num(x, slope)?;
    let positive = ops.compare_num(Comparison::Gt, x, 0.0)?;
    ops.select(positive, x, below)
}

/// `x > 0 ? x : a (e^x - 1)`; the exponential sees no positive number, so that it cannot overflow.
fn elu_of(ops: &mut Ops, x: Tensor, alpha: f64) -> Built {
    let inner = ops.min_num(x, 0.0)?;
    let below = ops.function(Function::Expm1, inner)?;
    let below = ops.mul_num(below, alpha)?;
    let positive = ops.compare_num(Comparison::Gt, x, 0.0)?;
    ops.select(positive, x, below)
}

/// `clip(x/6 + 1/2, 0, 1)`
fn hard_gate(ops: &mut Ops, x: Tensor) -> Built {
    let line = ops.div_num(x, 6.0)?;
    let line = ops.add_num(line, 0.5)?;
    ops.saturate(line, 0.0, 1.0)
}

/// `x/2 (1 + f)`
fn half_times(ops: &mut Ops, x: Tensor, f: Tensor) -> Built {
    let half = ops.mul_num(x, 0.5)?;
    let one = ops.add_num(f, 1.0)?;
    ops.mul(half, one)
}

/// A learned slope below zero: one for all channels, or one each.
fn prelu(builder: &mut Builder, x: Tensor, args: &Args) -> Built {
    let dims = builder.ops().dims(x);
    let count = args.size_or("parameters", 1)?.get()?;
    let channels = dims.get(1).copied().unwrap_or(1);
    if count != 1 && count != channels {
        return Err(Fault::new(format!(
            "`parameters` must be 1 or the number of channels, {channels}; found {count}"
        )));
    }
    let init = Init::from_args(args, "init", 1, 1, Init::Constant(0.25))?;
    let weight = builder.parameter("weight", &[count], init)?;
    let ops = &mut builder.ops();
    let slope = if count == 1 { ops.broadcast_to(weight, &dims)? } else { ops.along(weight, &dims, 1)? };
    sloped(ops, x, slope)
}

/// `x > 0 ? x : slope x`, with the slope's gradient 0 above, for an infinite x too.
fn sloped(ops: &mut Ops, x: Tensor, slope: Tensor) -> Built {
    let negative = ops.min_num(x, 0.0)?;
    let below = ops.mul(slope, negative)?;
    let positive = ops.compare_num(Comparison::Gt, x, 0.0)?;
    ops.select(positive, x, below)
}

/// A slope below zero drawn from `low..high` for each element in training, its mean in inference.
fn rrelu(builder: &mut Builder, x: Tensor, args: &Args) -> Built {
    let low = args.float_or("low", 1.0 / 8.0)?;
    let high = args.float_or("high", 1.0 / 3.0)?;
    if low > high {
        let message = format!("`low` must not be above `high`, found {low:?} and {high:?}");
        return Err(args.fault(if args.has("low") { "low" } else { "high" }, message));
    }
    if !builder.layer_trains() {
        return leaky(&mut builder.ops(), x, (low + high) / 2.0);
    }
    let ty = builder.ops().ty(x);
    let uniform = builder.random_uniform(&ty)?;
    let ops = &mut builder.ops();
    let slope = ops.mul_num(uniform, high - low)?;
    let slope = ops.add_num(slope, low)?;
    sloped(ops, x, slope)
}
