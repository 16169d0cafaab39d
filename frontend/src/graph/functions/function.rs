//! What a function is, and how most of them read their arguments.

use brolga_ir::DType;

use crate::graph::arguments::tensor;
use crate::graph::builder::Builder;
use crate::graph::value::{Args, Built, Fault, Tensor, Val};
use crate::signature::{Parameter, Signature};

/// A function of the expression language.
pub(crate) struct Function {
    pub signature: Signature,
    pub build: fn(&mut Builder, &Args) -> Built<Val>,
}

pub(super) const fn function(
    name: &'static str,
    parameters: &'static [Parameter],
    build: fn(&mut Builder, &Args) -> Built<Val>,
) -> Function {
    Function { signature: Signature { name, parameters }, build }
}

/// The argument as a floating-point tensor; integers and truth values are converted.
pub(super) fn float_tensor(builder: &mut Builder, args: &Args, name: &str) -> Built {
    let tensor = tensor(builder, args, name)?;
    let float = builder.float();
    builder.ops().floated(tensor, float)
}

/// Arguments as tensors of one element type.
pub(super) fn promoted<const N: usize>(
    builder: &mut Builder,
    args: &Args,
    names: [&str; N],
) -> Built<[Tensor; N]> {
    let missing = |name| move || Fault::new(format!("the argument `{name}` is missing"));
    let values =
        names.iter().map(|name| args.get(name).ok_or_else(missing(*name))).collect::<Built<Vec<_>>>()?;
    let tensors = builder.ops().promote(&values)?;
    tensors.try_into().map_err(|_| Fault::new("arguments are missing"))
}

/// Whether the argument is a tensor or a list, which is one, rather than a number.
pub(super) fn is_tensor(args: &Args, name: &str) -> bool {
    matches!(args.get(name).map(|value| &value.value), Some(Val::Tensor(_) | Val::List(_)))
}

/// Whether a list is one tensor, whose elements are combined along axes: a list of lists. Any other is numbers or tensors that
/// are combined with each other, as Python's are.
pub(super) fn is_combined_along_axes(list: &[Val]) -> bool {
    let is_list = |item: &Val| matches!(item, Val::List(_));
    list.iter().any(is_list) && !list.iter().any(|item| matches!(item, Val::Tensor(_)))
}

/// The single axis `axis`.
pub(super) fn axis(builder: &mut Builder, args: &Args, x: Tensor, default: i64) -> Built<usize> {
    let axis = args.int_or("axis", default)?;
    builder.ops().axis(x, axis).map_err(|fault| match args.place("axis") {
        Some(place) => fault.at(place),
        None => fault,
    })
}

/// The single axis `axis`, whose positions are the result: they are `i32`, half of what PyTorch's take.
pub(super) fn counted_axis(builder: &mut Builder, args: &Args, x: Tensor) -> Built<usize> {
    let axis = axis(builder, args, x, -1)?;
    let extent = builder.ops().dims(x)[axis];
    if extent >= 1 << 31 {
        return Err(wrong(
            args,
            "x",
            format!("axis {axis} has {extent} elements, and positions are i32: below 2^31"),
        ));
    }
    Ok(axis)
}

pub(super) fn tensor_value(result: Built) -> Built<Val> {
    result.map(Val::Tensor)
}

/// The sum of whole numbers is exact: it is formed in i64.
pub(super) fn mean_of(builder: &mut Builder, x: Tensor, axes: &[usize], keep: bool) -> Built {
    let float = builder.float();
    let mut ops = builder.ops();
    if ops.is_precise() && axes.len() == ops.rank(x) {
        let mean = ops.mean_all(x)?;
        let dims = if keep { vec![1; axes.len()] } else { Vec::new() };
        return ops.reshape(mean, &dims);
    }
    if !ops.dtype(x).is_int() {
        let x = ops.floated(x, float)?;
        return ops.mean(x, axes, keep);
    }
    let count: usize = axes.iter().map(|&axis| ops.dims(x)[axis]).product();
    let wide = ops.widened(x)?;
    let sum = ops.sum(wide, axes, keep)?;
    let sum = ops.convert(sum, DType::F64)?;
    let mean = ops.div_num(sum, count as f64)?;
    ops.convert(mean, float)
}

/// An error at an argument.
pub(super) fn wrong(args: &Args, name: &str, message: impl Into<String>) -> Fault {
    args.fault(name, message)
}
