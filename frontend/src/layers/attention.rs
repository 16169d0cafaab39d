//! Multi-head self-attention (Vaswani et al., "Attention is all you need", 2017, section 3.2.2).

use brolga_ir::Size;

use super::{Layer, expect_rank, input};
use crate::arguments::{Parameter, Signature, flag, size};
use crate::build::Builder;
use crate::build::attention::Visible;
use crate::build::value::{Args, Built, Fault, Tensor};
use crate::init::Init;

const PARAMETERS: [Parameter; 3] = [size("heads"), flag("causal"), flag("bias")];

pub(super) static LAYERS: [Layer; 1] = [Layer {
    signature: Signature { name: "MultiHeadAttention", parameters: &PARAMETERS },
    label: "attention",
    source: false,
    build: |builder, x, args| self_attention(builder, input(x)?, args),
}];

/// `[batch, length, width]` to the same; parameters and their initial values are those of PyTorch's
/// `MultiheadAttention`: `in_proj_weight` `[3 width, width]` for queries, keys and values, and `out_proj`.
fn self_attention(builder: &mut Builder, x: Tensor, args: &Args) -> Built {
    let width = expect_rank(builder, x, 3, "[batch, length, width]")?[2];
    let heads = args.size("heads")?.get()?;
    if !width.is_multiple_of(heads) {
        let fault = Fault::new(format!("a width of {width} cannot be divided into {heads} heads"));
        return Err(args.place("heads").map_or(fault.clone(), |place| fault.at(place)));
    }
    let bias = args.bool_or("bias", true)?;
    // Glorot's uniform rule over [3 width, width]: a variance of 2 / (4 width).
    let bound = (6.0 / (4.0 * width.max(1) as f64)).sqrt();
    let inner = Init::Uniform { low: -bound, high: bound };
    let joint =
        projection(builder, x, ["in_proj_weight", "in_proj_bias"], Size::from(width) * 3, inner, bias)?;
    let ops = &mut builder.ops();
    let [q, k, v] = [0, 1, 2].map(|n| ops.slice_axis(joint, 2, n * width, (n + 1) * width, 1));
    let visible = Visible { causal: args.bool_or("causal", false)?, mask: None };
    let mixed = ops.attention(q?, k?, v?, heads, visible)?;
    let outer = Init::fan_uniform(width);
    projection(builder, mixed, ["out_proj.weight", "out_proj.bias"], Size::from(width), outer, bias)
}

fn projection(
    builder: &mut Builder,
    x: Tensor,
    [weight, bias]: [&str; 2],
    features: Size,
    init: Init,
    with_bias: bool,
) -> Built {
    let features = features.get()?;
    let mut dims = builder.ops().dims(x);
    let inputs = dims.pop().unwrap_or(1);
    dims.push(features);
    let weight = builder.parameter(weight, &[features, inputs], init)?;
    let y = builder.ops().linear(x, weight)?;
    if !with_bias {
        return Ok(y);
    }
    let bias = builder.parameter(bias, &[features], Init::Constant(0.0))?;
    let ops = &mut builder.ops();
    let bias = ops.broadcast_to(bias, &dims)?;
    ops.add(y, bias)
}
