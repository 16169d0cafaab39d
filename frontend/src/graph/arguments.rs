//! Reads tensors among the arguments of a call, and what layers and functions have in common.

use brolga_ir::Size;

use super::builder::Builder;
use super::value::{Args, Built, Fault, Tensor, Val};

/// The argument as a tensor, wherever a layer or function takes one: a list is what it holds, a number a float.
pub(crate) fn tensor(builder: &mut Builder, args: &Args, name: &str) -> Built {
    let Some(given) = args.get(name) else {
        return Err(Fault::new(format!("the argument `{name}` is missing")));
    };
    match &given.value {
        Val::Tensor(tensor) => Ok(*tensor),
        Val::List(_) | Val::Bool(_) => builder.ops().tensor(given),
        Val::Int(_) | Val::Float(_) => {
            let float = builder.float();
            builder.ops().literal(given, float)
        }
        other => Err(args.fault(name, format!("`{name}` must be a tensor, found {}", other.describe()))),
    }
}

/// `padding` is a list with `[before, after]` (or one number) for each axis; negative padding crops.
pub(crate) fn padded(builder: &mut Builder, x: Tensor, args: &Args) -> Built {
    let ops = &mut builder.ops();
    let ty = ops.ty(x);
    let wrong = || {
        args.fault("padding", format!("`padding` needs a number or [before, after] for each axis of {ty}"))
    };
    let Some(Val::List(items)) = args.get("padding").map(|value| &value.value) else { return Err(wrong()) };
    let size = |item: &Val| item.as_int().map(Size::from);
    let pair = |item: &Val| match item {
        Val::List(pair) if pair.len() == 2 => Some((size(&pair[0])?, size(&pair[1])?)),
        Val::List(_) => None,
        single => size(single).map(|size| (size, size)),
    };
    let pairs = items.iter().map(pair).collect::<Option<Vec<_>>>().ok_or_else(wrong)?;
    if pairs.len() != ty.rank() {
        return Err(wrong());
    }
    let value = match args.get("value") {
        Some(value) => ops.literal(value, ty.dtype)?,
        None => ops.scalar(0.0, ty.dtype)?,
    };
    ops.pad(x, &pairs, value)
}
