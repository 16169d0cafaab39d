//! Attention as a function of queries, keys and values.

use super::function::{Function, float_tensor, function, tensor_value};
use crate::graph::attention::Visible;
use crate::signature::{Bounds, Parameter, Rule, flag, number, optional, required, ruled};

const PARAMETERS: [Parameter; 8] = [
    required("q"),
    required("k"),
    required("v"),
    ruled("heads", Rule::Size, false).or_int(1),
    flag("causal", false),
    optional("mask"),
    number("scale", Bounds::ANY),
    optional("key_mask"),
];

pub(super) const FUNCTIONS: [Function; 1] = [function("attention", &PARAMETERS, |builder, args| {
    let q = float_tensor(builder, args, "q")?;
    let (k, v) = (float_tensor(builder, args, "k")?, float_tensor(builder, args, "v")?);
    let heads = args.size_or("heads", 1)?.get()?;
    let scale = args.has("scale").then(|| args.float_or("scale", 1.0)).transpose()?;
    let visible = Visible { scale, ..Visible::read(builder, args)? };
    tensor_value(builder.ops().attention(q, k, v, heads, visible))
})];
