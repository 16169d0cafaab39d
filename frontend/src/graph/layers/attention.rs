//! Multi-head attention (Vaswani et al., "Attention is all you need", 2017, section 3.2.2).

use super::layer::{Layer, expect_rank, input};
use crate::graph::arguments::tensor;
use crate::graph::attention::Visible;
use crate::graph::builder::Builder;
use crate::graph::init::Init;
use crate::graph::ops::Ops;
use crate::graph::value::{Args, Built, Tensor, Val};
use crate::signature::{Parameter, Signature, flag, optional, size};
use crate::source::Spanned;

const PARAMETERS: [Parameter; 7] = [
    size("heads"),
    flag("causal", false),
    flag("bias", true),
    optional("mask"),
    optional("key_mask"),
    optional("key"),
    optional("value"),
];

pub(super) const LAYERS: [Layer; 1] = [Layer {
    signature: Signature { name: "MultiHeadAttention", parameters: &PARAMETERS },
    label: "attention",
    source: false,
    build: |builder, x, args| multi_head_attention(builder, input(x)?, args),
}];

/// Queries `[batch, queries, width]` to the same; keys and values are `[batch, keys, ...]`, by default the queries.
/// Parameters and their initial values are those of PyTorch's `MultiheadAttention`.
fn multi_head_attention(builder: &mut Builder, x: Tensor, args: &Args) -> Built {
    let width = expect_rank(builder, x, 3, "[batch, length, width]")?[2];
    let heads = args.size("heads")?.get()?;
    if !width.is_multiple_of(heads) {
        return Err(args.fault("heads", format!("a width of {width} cannot be divided into {heads} heads")));
    }
    let key = other(builder, x, args, "key")?.unwrap_or(x);
    let value = other(builder, x, args, "value")?.unwrap_or(key);
    let bias = args.bool_or("bias", true)?;
    let [q, k, v] = projected(builder, [x, key, value], bias)?;
    let visible = Visible::read(builder, args)?;
    let mixed = builder.ops().attention(q, k, v, heads, visible)?;
    let outer = Init::fan_uniform(width);
    let weight = builder.parameter("out_proj.weight", &[width, width], outer)?;
    let bias = bias.then(|| builder.parameter("out_proj.bias", &[width], Init::Constant(0.0))).transpose()?;
    linear(&mut builder.ops(), mixed, weight, bias)
}

/// Keys or values that are not the queries.
fn other(builder: &mut Builder, x: Tensor, args: &Args, name: &str) -> Built<Option<Tensor>> {
    if !args.has(name) {
        return Ok(None);
    }
    let dtype = builder.ops().dtype(x);
    let given = match args.get(name) {
        Some(list @ Spanned { value: Val::List(_), .. }) => builder.ops().list(list, dtype)?,
        _ => tensor(builder, args, name)?,
    };
    let ops = builder.ops();
    let (found, queries) = (ops.ty(given), ops.ty(x));
    if found.rank() == 3 && found.dtype == queries.dtype && found.dims[0] == queries.dims[0] {
        return Ok(Some(given));
    }
    let message = format!(
        "`{name}` must be floating-point, [batch, length, width], for queries {queries}, found {found}"
    );
    Err(args.fault(name, message))
}

/// Queries, keys and values, each in the queries' width. Where all have that width, one weight `in_proj_weight`
/// `[3 width, width]` holds the three; else each has its own.
fn projected(builder: &mut Builder, sources: [Tensor; 3], with_bias: bool) -> Built<[Tensor; 3]> {
    let widths = sources.map(|source| builder.ops().dims(source)[2]);
    let width = widths[0];
    // Glorot's uniform rule over [rows, columns].
    let glorot = |rows: usize, columns: usize| {
        let bound = (6.0 / (rows + columns).max(1) as f64).sqrt();
        Init::Uniform { low: -bound, high: bound }
    };
    let joint = widths.iter().all(|&other| other == width);
    let weights: Vec<Tensor> = if joint {
        let weight = builder.parameter("in_proj_weight", &[3 * width, width], glorot(3 * width, width))?;
        vec![weight]
    } else {
        let named = ["q_proj_weight", "k_proj_weight", "v_proj_weight"].into_iter().zip(widths);
        let own = |(name, columns)| builder.parameter(name, &[width, columns], glorot(width, columns));
        named.map(own).collect::<Built<_>>()?
    };
    let zero = Init::Constant(0.0);
    let bias = with_bias.then(|| builder.parameter("in_proj_bias", &[3 * width], zero)).transpose()?;
    let ops = &mut builder.ops();
    let [x, key, value] = sources;
    if x == key && x == value {
        let all = linear(ops, x, weights[0], bias)?;
        let [q, k, v] = [0, 1, 2].map(|n| ops.slice_axis(all, 2, n * width, (n + 1) * width, 1));
        return Ok([q?, k?, v?]);
    }
    let mut part = |n: usize| -> Built {
        let rows = |ops: &mut Ops, x: Tensor| ops.slice_axis(x, 0, n * width, (n + 1) * width, 1);
        let weight = if joint { rows(ops, weights[0])? } else { weights[n] };
        let bias = bias.map(|bias| rows(ops, bias)).transpose()?;
        linear(ops, sources[n], weight, bias)
    };
    Ok([part(0)?, part(1)?, part(2)?])
}

/// `x weight^T + bias`
fn linear(ops: &mut Ops, x: Tensor, weight: Tensor, bias: Option<Tensor>) -> Built {
    let y = ops.linear(x, weight)?;
    let Some(bias) = bias else { return Ok(y) };
    let dims = ops.dims(y);
    let bias = ops.broadcast_to(bias, &dims)?;
    ops.add(y, bias)
}
