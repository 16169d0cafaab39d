//! Functions of every element of a tensor. Those that are layers too, such as `relu`, are built by `graph/layers/activation.rs`.

use brolga_ir::scalar::{Comparison, Function as Elementary, ScalarOp};

use super::function::{Function, float_tensor, function, promoted, tensor_value};
use super::numbers::rounded;
use crate::graph::arguments::tensor;
use crate::graph::builder::Builder;
use crate::graph::layers::activation;
use crate::graph::value::{Args, Built, Tensor, Val};
use crate::signature::{Bounds, Parameter, number, required};

const X: [Parameter; 1] = [required("x")];

fn unary(builder: &mut Builder, args: &Args, elementary: Elementary) -> Built<Val> {
    let x = float_tensor(builder, args, "x")?;
    tensor_value(builder.ops().function(elementary, x))
}

/// Arguments as tensors of one floating-point type.
fn floats<const N: usize>(builder: &mut Builder, args: &Args, names: [&str; N]) -> Built<[Tensor; N]> {
    let mut tensors = promoted(builder, args, names)?;
    let float = builder.float();
    for tensor in &mut tensors {
        *tensor = builder.ops().floated(*tensor, float)?;
    }
    Ok(tensors)
}

pub(super) const FUNCTIONS: [Function; 41] = [
    function("log1p", &X, |builder, args| unary(builder, args, Elementary::Log1p)),
    function("expm1", &X, |builder, args| unary(builder, args, Elementary::Expm1)),
    function("tanh", &X, |builder, args| unary(builder, args, Elementary::Tanh)),
    function("sigmoid", &X, |builder, args| unary(builder, args, Elementary::Sigmoid)),
    function("erf", &X, |builder, args| unary(builder, args, Elementary::Erf)),
    function("sin", &X, |builder, args| unary(builder, args, Elementary::Sin)),
    function("cos", &X, |builder, args| unary(builder, args, Elementary::Cos)),
    function("tan", &X, |builder, args| unary(builder, args, Elementary::Tan)),
    function("asin", &X, |builder, args| unary(builder, args, Elementary::Asin)),
    function("acos", &X, |builder, args| unary(builder, args, Elementary::Acos)),
    function("atan", &X, |builder, args| unary(builder, args, Elementary::Atan)),
    function("atan2", &[required("y"), required("x")], |builder, args| {
        let [y, x] = floats(builder, args, ["y", "x"])?;
        let op = ScalarOp::Function(Elementary::Atan2);
        tensor_value(builder.ops().elementwise2(op, y, x))
    }),
    function("sinh", &X, |builder, args| unary(builder, args, Elementary::Sinh)),
    function("cosh", &X, |builder, args| unary(builder, args, Elementary::Cosh)),
    function("asinh", &X, |builder, args| unary(builder, args, Elementary::Asinh)),
    function("acosh", &X, |builder, args| unary(builder, args, Elementary::Acosh)),
    function("atanh", &X, |builder, args| unary(builder, args, Elementary::Atanh)),
    function("log2", &X, |builder, args| unary(builder, args, Elementary::Log2)),
    function("log10", &X, |builder, args| unary(builder, args, Elementary::Log10)),
    function("exp2", &X, |builder, args| {
        let x = float_tensor(builder, args, "x")?;
        let mut ops = builder.ops();
        let two = ops.full(2.0, &ops.ty(x))?;
        tensor_value(ops.elementwise2(ScalarOp::Function(Elementary::Pow), two, x))
    }),
    function("erfinv", &X, |builder, args| unary(builder, args, Elementary::ErfInv)),
    function("isnan", &X, |builder, args| {
        let x = float_tensor(builder, args, "x")?;
        tensor_value(builder.ops().compare(Comparison::Ne, x, x))
    }),
    function("isinf", &X, |builder, args| {
        let x = float_tensor(builder, args, "x")?;
        let size = builder.ops().elementwise(ScalarOp::Abs, x)?;
        tensor_value(builder.ops().compare_num(Comparison::Eq, size, f64::INFINITY))
    }),
    function("isfinite", &X, |builder, args| {
        let x = float_tensor(builder, args, "x")?;
        let size = builder.ops().elementwise(ScalarOp::Abs, x)?;
        tensor_value(builder.ops().compare_num(Comparison::Lt, size, f64::INFINITY))
    }),
    function("xor", &[required("a"), required("b")], |builder, args| {
        let [a, b] = promoted(builder, args, ["a", "b"])?;
        let mut ops = builder.ops();
        let (a, b) = (ops.truth(a)?, ops.truth(b)?);
        tensor_value(ops.elementwise2(ScalarOp::Xor, a, b))
    }),
    function("rsqrt", &X, |builder, args| unary(builder, args, Elementary::Rsqrt)),
    function("lgamma", &X, |builder, args| unary(builder, args, Elementary::Lgamma)),
    function("digamma", &X, |builder, args| unary(builder, args, Elementary::Digamma)),
    function("relu", &X, relu),
    function("softplus", &X, |builder, args| activated(builder, args, activation::softplus)),
    function("silu", &X, |builder, args| activated(builder, args, activation::silu)),
    function("gelu", &X, |builder, args| activated(builder, args, activation::gelu)),
    function("elu", &X, |builder, args| activated(builder, args, activation::elu)),
    function("leaky_relu", &[required("x"), number("slope", Bounds::ANY).or(0.01)], |builder, args| {
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
        let condition = tensor(builder, args, "condition")?;
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

/// Whole numbers stay what they are, as in PyTorch.
fn relu(builder: &mut Builder, args: &Args) -> Built<Val> {
    let x = tensor(builder, args, "x")?;
    if builder.ops().dtype(x).is_int() {
        return tensor_value(builder.ops().relu(x));
    }
    activated(builder, args, activation::relu)
}

/// An activation layer as a function.
fn activated(builder: &mut Builder, args: &Args, layer: activation::Apply) -> Built<Val> {
    let x = float_tensor(builder, args, "x")?;
    tensor_value(layer(builder, x, args))
}
