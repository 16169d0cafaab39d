//! Attention as a function of queries, keys and values.

use super::{Function, function, tensor_value};
use crate::arguments::{Parameter, optional, required};
use crate::build::attention::Visible;
use crate::build::value::Built;

const PARAMETERS: [Parameter; 6] =
    [required("q"), required("k"), required("v"), optional("heads"), optional("causal"), optional("mask")];

pub(super) static FUNCTIONS: [Function; 1] = [function("attention", &PARAMETERS, |builder, args| {
    let (q, k, v) = (args.tensor("q")?, args.tensor("k")?, args.tensor("v")?);
    let heads = args.size_or("heads", 1)?.get()?;
    let mask = args.has("mask").then(|| args.tensor("mask")).transpose()?;
    let visible = Visible { causal: args.bool_or("causal", false)?, mask };
    let result: Built = builder.ops().attention(q, k, v, heads, visible);
    tensor_value(result)
})];
