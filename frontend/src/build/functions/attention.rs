//! Attention as a function of queries, keys and values.

use super::{Function, function, tensor_value};
use crate::arguments::{Bounds, Parameter, Rule, flag, number, optional, required, ruled};
use crate::build::attention::Visible;

const PARAMETERS: [Parameter; 8] = [
    required("q"),
    required("k"),
    required("v"),
    ruled("heads", Rule::Size, false),
    flag("causal"),
    optional("mask"),
    number("scale", Bounds::ANY),
    optional("key_mask"),
];

pub(super) static FUNCTIONS: [Function; 1] = [function("attention", &PARAMETERS, |builder, args| {
    let (q, k, v) = (args.tensor("q")?, args.tensor("k")?, args.tensor("v")?);
    let heads = args.size_or("heads", 1)?.get()?;
    let scale = args.has("scale").then(|| args.float_or("scale", 1.0)).transpose()?;
    let visible = Visible { scale, ..Visible::read(args)? };
    tensor_value(builder.ops().attention(q, k, v, heads, visible))
})];
