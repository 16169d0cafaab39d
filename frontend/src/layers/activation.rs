//! Activations. Sources: tanh and its scaled form LeCun 1998, softsign Glorot 2010, ReLU Nair 2010, leaky Maas
//! 2013, RReLU Xu 2015, PReLU He 2015, ELU Clevert 2016, SELU Klambauer 2017, softplus Dugas 2001, GELU Hendrycks
//! 2016, swish Ramachandran 2017, Mish Misra 2019, maxout Goodfellow 2013, CReLU Shang 2016, GLU Dauphin 2017.

use brolga_ir::program::Combine;
use brolga_ir::scalar::{Comparison, Function, ScalarOp};

use super::{Layer, input};
use crate::arguments::{Parameter, Signature, call, optional, required, word};
use crate::build::Builder;
use crate::build::ops::Ops;
use crate::build::value::{Args, Built, Fault, Tensor};
use crate::init::{INITS, Init};

macro_rules! activations {
    ($($name:literal: [$($parameter:expr),*]),* $(,)?) => {
        [$(Layer {
            signature: Signature { name: $name, parameters: &[$($parameter),*] },
            label: "activation",
            source: false,
            build: |builder, x, args| apply(builder, $name, input(x)?, args),
        }),*]
    };
}

/// Names that `Activation("...")` takes.
const WORDS: [&str; 18] = [
    "relu",
    "relu6",
    "tanh",
    "sigmoid",
    "gelu",
    "silu",
    "swish",
    "mish",
    "elu",
    "selu",
    "celu",
    "softplus",
    "softsign",
    "leaky_relu",
    "hard_sigmoid",
    "hard_tanh",
    "hard_swish",
    "identity",
];

const AXIS: Parameter = optional("axis");

pub(super) static LAYERS: [Layer; 28] = activations! {
    "Activation": [word("kind", &WORDS, true)],
    "Identity": [],
    "Relu": [],
    "Relu6": [],
    "LeakyRelu": [optional("slope")],
    "PRelu": [optional("parameters"), call("init", &INITS, false)],
    "RRelu": [optional("low"), optional("high")],
    "Elu": [optional("alpha")],
    "Celu": [optional("alpha")],
    "Selu": [],
    "Gelu": [word("form", &["erf", "tanh"], false)],
    "Silu": [],
    "Swish": [optional("beta"), optional("learned")],
    "HardSwish": [],
    "Mish": [],
    "Sigmoid": [],
    "HardSigmoid": [],
    "LogSigmoid": [],
    "Tanh": [],
    "ScaledTanh": [],
    "HardTanh": [optional("low"), optional("high")],
    "Softsign": [],
    "Softplus": [optional("beta")],
    "CRelu": [],
    "Glu": [AXIS],
    "Maxout": [required("pieces")],
    "Softmax": [AXIS],
    "LogSoftmax": [AXIS],
};

/// The constants of SELU: the fixed point at mean 0 and variance 1 (Klambauer et al. 2017).
const SELU_SCALE: f64 = 1.050_700_987_355_480_5;
const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;

/// Applies the activation layer of that name.
pub(crate) fn apply(builder: &mut Builder, name: &str, x: Tensor, args: &Args) -> Built {
    let ty = builder.ops().ty(x);
    if name != "Identity" && !ty.dtype.is_float() {
        return Err(Fault::new(format!("the input must have floating-point elements, found {ty}")));
    }
    match name {
        "Activation" => return activation(builder, x, args),
        "PRelu" => return prelu(builder, x, args),
        "RRelu" => return rrelu(builder, x, args),
        "Swish" if args.bool_or("learned", false)? => {
            let beta = builder.parameter("beta", &[1], Init::Constant(args.float_or("beta", 1.0)?))?;
            let mut ops = builder.ops();
            let scaled = ops.mul(x, beta)?;
            let gate = ops.function(Function::Sigmoid, scaled)?;
            return ops.mul(x, gate);
        }
        _ => {}
    }
    let ops = &mut builder.ops();
    match name {
        "Relu" => ops.relu(x),
        "Relu6" => ops.saturate(x, 0.0, 6.0),
        "LeakyRelu" => leaky(ops, x, args.float_or("slope", 0.01)?),
        "Elu" => elu(ops, x, args.float_or("alpha", 1.0)?),
        "Celu" => {
            // x > 0 ? x : a (e^(x/a) - 1)
            let alpha = args.float_in("alpha", 1.0, f64::MIN_POSITIVE, f64::MAX)?;
            let inner = ops.min_num(x, 0.0)?;
            let inner = ops.div_num(inner, alpha)?;
            let below = ops.function(Function::Expm1, inner)?;
            let below = ops.mul_num(below, alpha)?;
            let positive = ops.compare_num(Comparison::Gt, x, 0.0)?;
            ops.select(positive, x, below)
        }
        "Selu" => {
            let elu = elu(ops, x, SELU_ALPHA)?;
            ops.mul_num(elu, SELU_SCALE)
        }
        "Gelu" if args.word_or("form", &["erf", "tanh"], "erf")? == "tanh" => {
            // x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x³)))
            let square = ops.square(x)?;
            let cube = ops.mul(square, x)?;
            let cube = ops.mul_num(cube, 0.044715)?;
            let inner = ops.add(x, cube)?;
            let inner = ops.mul_num(inner, (2.0 / std::f64::consts::PI).sqrt())?;
            let tanh = ops.function(Function::Tanh, inner)?;
            half_times(ops, x, tanh)
        }
        "Gelu" => {
            // x/2 (1 + erf(x / sqrt 2))
            let inner = ops.mul_num(x, std::f64::consts::FRAC_1_SQRT_2)?;
            let erf = ops.function(Function::Erf, inner)?;
            half_times(ops, x, erf)
        }
        "Silu" | "Swish" => {
            let scaled = ops.mul_num(x, args.float_or("beta", 1.0)?)?;
            let gate = ops.function(Function::Sigmoid, scaled)?;
            ops.mul(x, gate)
        }
        "HardSwish" => {
            let gate = hard_sigmoid(ops, x)?;
            ops.mul(x, gate)
        }
        "Mish" => {
            let soft = softplus(ops, x, 1.0)?;
            let tanh = ops.function(Function::Tanh, soft)?;
            ops.mul(x, tanh)
        }
        "Sigmoid" => ops.function(Function::Sigmoid, x),
        "HardSigmoid" => hard_sigmoid(ops, x),
        "LogSigmoid" => {
            let minus = ops.neg(x)?;
            let soft = softplus(ops, minus, 1.0)?;
            ops.neg(soft)
        }
        "Tanh" => ops.function(Function::Tanh, x),
        "ScaledTanh" => {
            // 1.7159 tanh(2x/3), LeCun's form
            let inner = ops.mul_num(x, 2.0 / 3.0)?;
            let tanh = ops.function(Function::Tanh, inner)?;
            ops.mul_num(tanh, 1.7159)
        }
        "HardTanh" => ops.saturate(x, args.float_or("low", -1.0)?, args.float_or("high", 1.0)?),
        "Softsign" => {
            let size = ops.elementwise(ScalarOp::Abs, x)?;
            let size = ops.add_num(size, 1.0)?;
            ops.div(x, size)
        }
        "Softplus" => softplus(ops, x, args.float_in("beta", 1.0, f64::MIN_POSITIVE, f64::MAX)?),
        "CRelu" => {
            let minus = ops.neg(x)?;
            let (above, below) = (ops.relu(x)?, ops.relu(minus)?);
            ops.concat(&[above, below], 1)
        }
        "Glu" => {
            let axis = ops.axis(x, args.int_or("axis", 1)?)?;
            let halves = ops.split(x, axis, 2)?;
            let gate = ops.function(Function::Sigmoid, halves[1])?;
            ops.mul(halves[0], gate)
        }
        "Maxout" => {
            let pieces = args.size("pieces")?;
            let axis = ops.axis(x, 1)?;
            let mut dims = ops.dims(x);
            if !dims[axis].is_multiple_of(pieces) {
                return Err(Fault::new(format!(
                    "{} channels cannot be divided into {pieces} pieces",
                    dims[axis]
                )));
            }
            dims[axis] /= pieces;
            dims.insert(axis + 1, pieces);
            let parts = ops.reshape(x, &dims)?;
            ops.reduce(Combine::Max, parts, &[axis + 1], false)
        }
        "Softmax" => {
            let axis = ops.axis(x, args.int_or("axis", 1)?)?;
            ops.softmax(x, axis)
        }
        "LogSoftmax" => {
            let axis = ops.axis(x, args.int_or("axis", 1)?)?;
            ops.log_softmax(x, axis)
        }
        _ => Ok(x),
    }
}

fn activation(builder: &mut Builder, x: Tensor, args: &Args) -> Built {
    let layer = match args.word_or("kind", &WORDS, "identity")? {
        "relu" => "Relu",
        "relu6" => "Relu6",
        "tanh" => "Tanh",
        "sigmoid" => "Sigmoid",
        "gelu" => "Gelu",
        "silu" | "swish" => "Silu",
        "mish" => "Mish",
        "elu" => "Elu",
        "selu" => "Selu",
        "celu" => "Celu",
        "softplus" => "Softplus",
        "softsign" => "Softsign",
        "leaky_relu" => "LeakyRelu",
        "hard_sigmoid" => "HardSigmoid",
        "hard_tanh" => "HardTanh",
        "hard_swish" => "HardSwish",
        _ => "Identity",
    };
    apply(builder, layer, x, &Args::default())
}

/// `x > 0 ? x : slope x`
fn leaky(ops: &mut Ops, x: Tensor, slope: f64) -> Built {
    let below = ops.mul_num(x, slope)?;
    let positive = ops.compare_num(Comparison::Gt, x, 0.0)?;
    ops.select(positive, x, below)
}

/// `x > 0 ? x : a (e^x - 1)`; the exponential sees no positive number, so that it cannot overflow.
fn elu(ops: &mut Ops, x: Tensor, alpha: f64) -> Built {
    let inner = ops.min_num(x, 0.0)?;
    let below = ops.function(Function::Expm1, inner)?;
    let below = ops.mul_num(below, alpha)?;
    let positive = ops.compare_num(Comparison::Gt, x, 0.0)?;
    ops.select(positive, x, below)
}

/// `ln(1 + e^(b x)) / b`
fn softplus(ops: &mut Ops, x: Tensor, beta: f64) -> Built {
    let x = ops.mul_num(x, beta)?;
    let soft = ops.softplus(x)?;
    ops.mul_num(soft, 1.0 / beta)
}

/// `clip(x/6 + 1/2, 0, 1)`
fn hard_sigmoid(ops: &mut Ops, x: Tensor) -> Built {
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
    let count = args.size_or("parameters", 1)?;
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
    let below = ops.mul(slope, x)?;
    let positive = ops.compare_num(Comparison::Gt, x, 0.0)?;
    ops.select(positive, x, below)
}

/// A slope below zero drawn from `low..high` for each element in training, its mean in inference.
fn rrelu(builder: &mut Builder, x: Tensor, args: &Args) -> Built {
    let low = args.float_or("low", 1.0 / 8.0)?;
    let high = args.float_or("high", 1.0 / 3.0)?;
    if !builder.train {
        return leaky(&mut builder.ops(), x, (low + high) / 2.0);
    }
    let ty = builder.ops().ty(x);
    let uniform = builder.random_uniform(&ty)?;
    let ops = &mut builder.ops();
    let slope = ops.mul_num(uniform, high - low)?;
    let slope = ops.add_num(slope, low)?;
    let below = ops.mul(slope, x)?;
    let positive = ops.compare_num(Comparison::Gt, x, 0.0)?;
    ops.select(positive, x, below)
}
