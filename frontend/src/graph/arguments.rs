//! Reads tensors among the arguments of a call.

use super::builder::Builder;
use super::value::{Args, Built, Fault, Val};

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
