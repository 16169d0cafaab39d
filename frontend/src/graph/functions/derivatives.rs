//! Derivatives as values of expressions. They stand for what the pass `grad` builds, and may be differentiated again.

use std::collections::HashSet;

use super::function::{Function, function, tensor_value, wrong};
use crate::graph::arguments::tensor;
use crate::graph::builder::Builder;
use crate::graph::value::{Args, Built, Tensor, Val};
use crate::signature::required;

pub(super) const FUNCTIONS: [Function; 2] = [
    function("grad", &[required("y"), required("x")], |builder, args| {
        let y = float(builder, args, "y")?;
        let ty = builder.ops().ty(y);
        if ty.rank() != 0 {
            let fault = wrong(args, "y", format!("`grad` is of one number, found {ty}"));
            return Err(fault.help("`grad(sum(y), x)` is the gradient of a sum; `jvp(y, x, v)` takes any y"));
        }
        let x = by(builder, args, y)?;
        tensor_value(builder.ops().gradient(y, &[x]).map(|gradients| gradients[0]))
    }),
    function("jvp", &[required("y"), required("x"), required("v")], |builder, args| {
        let y = float(builder, args, "y")?;
        let x = by(builder, args, y)?;
        let v = float(builder, args, "v")?;
        let mut ops = builder.ops();
        let (of, along) = (ops.ty(x), ops.ty(v));
        if of != along {
            return Err(wrong(args, "v", format!("`v` is a direction of `x`, {of}, but it is {along}")));
        }
        Ok(Val::Tensor(ops.b.jvp(&[y], &[(x, v)])?[0]))
    }),
];

/// The argument as a tensor of floats as it is: a conversion would be another value.
fn float(builder: &mut Builder, args: &Args, name: &str) -> Built {
    let value = tensor(builder, args, name)?;
    let ty = builder.ops().ty(value);
    if !ty.dtype.is_float() {
        return Err(wrong(args, name, format!("`{name}` must have floating-point elements, found {ty}")));
    }
    Ok(value)
}

/// The argument `x`, by which `y` is differentiated: a value that `y` is made of.
fn by(builder: &mut Builder, args: &Args, y: Tensor) -> Built {
    let x = float(builder, args, "x")?;
    if is_made_of(builder, y, x) {
        return Ok(x);
    }
    let fault = wrong(args, "x", "`y` does not depend on this value");
    Err(fault.help(
        "`x` is a value that `y` was computed from: an input, a parameter, or what `Let` or `As` has named",
    ))
}

/// Whether a value depends on another. Nodes come behind their operands, so nothing before `x` is looked at.
fn is_made_of(builder: &Builder, y: Tensor, x: Tensor) -> bool {
    let graph = &builder.graph.graph;
    let (mut stack, mut seen) = (vec![y], HashSet::from([y]));
    while let Some(value) = stack.pop() {
        if value == x {
            return true;
        }
        let operands = graph.node(value.node).operands.iter();
        stack.extend(
            operands.filter(|operand| operand.node.index() >= x.node.index() && seen.insert(**operand)),
        );
    }
    false
}
