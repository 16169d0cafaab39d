//! Functions of every element of a tensor.

use brolga_ir::scalar::{Function as Elementary, ScalarOp};

use super::numbers::rounded;
use super::{Function, float_tensor, function, promoted, tensor, tensor_value};
use crate::arguments::{Parameter, optional, required};
use crate::build::Builder;
use crate::build::value::{Args, Built, Val};
use crate::layers::activation;

const X: [Parameter; 1] = [required("x")];

fn unary(builder: &mut Builder, args: &Args, elementary: Elementary) -> Built<Val> {
    let x = float_tensor(builder, args, "x")?;
    tensor_value(builder.ops().function(elementary, x))
}

pub(super) static FUNCTIONS: [Function; 23] = [
    function("log1p", &X, |builder, args| unary(builder, args, Elementary::Log1p)),
    function("expm1", &X, |builder, args| unary(builder, args, Elementary::Expm1)),
    function("tanh", &X, |builder, args| unary(builder, args, Elementary::Tanh)),
    function("sigmoid", &X, |builder, args| unary(builder, args, Elementary::Sigmoid)),
    function("erf", &X, |builder, args| unary(builder, args, Elementary::Erf)),
    function("sin", &X, |builder, args| unary(builder, args, Elementary::Sin)),
    function("cos", &X, |builder, args| unary(builder, args, Elementary::Cos)),
    function("rsqrt", &X, |builder, args| unary(builder, args, Elementary::Rsqrt)),
    function("lgamma", &X, |builder, args| unary(builder, args, Elementary::Lgamma)),
    function("digamma", &X, |builder, args| unary(builder, args, Elementary::Digamma)),
    function("relu", &X, |builder, args| activated(builder, args, activation::relu)),
    function("softplus", &X, |builder, args| activated(builder, args, activation::softplus)),
    function("silu", &X, |builder, args| activated(builder, args, activation::silu)),
    function("gelu", &X, |builder, args| activated(builder, args, activation::gelu)),
    function("elu", &X, |builder, args| activated(builder, args, activation::elu)),
    function("leaky_relu", &[required("x"), optional("slope")], |builder, args| {
        activated(builder, args, activation::leaky_relu)
    }),
    function("square", &X, |builder, args| {
        let x = tensor(builder, args, "x")?;
        tensor_value(builder.ops().square(x))
    }),
    function("sign", &X, |builder, args| {
        let x = tensor(builder, args, "x")?;
        Ok(Val::Tensor(builder.ops().b.sign(x)?))
    }),
    function("clip", &[required("x"), required("low"), required("high")], |builder, args| {
        // Of equal operands the first has the gradient: it is 0 at the bounds.
        let [x, low, high] = promoted(builder, args, ["x", "low", "high"])?;
        let mut ops = builder.ops();
        let above = ops.max(low, x)?;
        tensor_value(ops.min(high, above))
    }),
    function("where", &[required("condition"), required("a"), required("b")], |builder, args| {
        let condition = args.tensor("condition")?;
        let [a, b] = promoted(builder, args, ["a", "b"])?;
        tensor_value(builder.ops().select(condition, a, b))
    }),
    function("trunc", &X, |builder, args| {
        let x = tensor(builder, args, "x")?;
        tensor_value(rounded(builder, ScalarOp::Trunc, x))
    }),
    function("stop_gradient", &X, |builder, args| {
        let x = tensor(builder, args, "x")?;
        tensor_value(builder.ops().stop_gradient(x))
    }),
    function("hard_sigmoid", &X, |builder, args| activated(builder, args, activation::hard_sigmoid)),
];

/// An activation layer as a function.
fn activated(builder: &mut Builder, args: &Args, layer: activation::Apply) -> Built<Val> {
    let x = float_tensor(builder, args, "x")?;
    tensor_value(layer(builder, x, args))
}
