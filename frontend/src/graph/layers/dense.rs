//! Fully connected layers, embeddings, and free parameters.

use brolga_ir::scalar::Comparison;
use brolga_ir::{DType, Size};

use super::layer::{Layer, input};
use crate::graph::builder::Builder;
use crate::graph::init::{BIAS_INIT, INIT, Init};
use crate::graph::value::{Args, Built, Fault, Tensor, extents};
use crate::signature::{Rule, Signature, flag, int, ruled, size};

pub(super) const LAYERS: [Layer; 3] = [
    Layer {
        signature: Signature {
            name: "Linear",
            parameters: &[size("features"), flag("bias", true), INIT, BIAS_INIT],
        },
        label: "fc",
        source: false,
        build: linear,
    },
    Layer {
        signature: Signature {
            name: "Embedding",
            parameters: &[size("vocabulary"), size("features"), int("padding_idx"), INIT],
        },
        label: "embedding",
        source: false,
        build: embedding,
    },
    Layer {
        signature: Signature { name: "Parameter", parameters: &[ruled("dims", Rule::Ints, true), INIT] },
        label: "parameter",
        source: true,
        build: parameter,
    },
];

/// `x W^T + b` along the last axis: `[..., in]` to `[..., features]`; `weight` is `[features, in]`.
fn linear(builder: &mut Builder, x: Option<Tensor>, args: &Args) -> Built {
    let x = input(x)?;
    let ty = builder.ops().ty(x);
    let features = args.size("features")?.get()?;
    let Some((&inputs, outer)) = ty.dims.split_last().filter(|_| ty.dtype.is_float()) else {
        return Err(Fault::new(format!("the input must be floating-point, [..., features], found {ty}")));
    };
    let init = Init::weight(args, "init", inputs, features)?;
    let weight = builder.parameter("weight", &[features, inputs], init)?;
    let mut y = builder.ops().linear(x, weight)?;
    if args.bool_or("bias", true)? {
        let init = Init::from_args(args, "bias_init", inputs, features, Init::fan_uniform(inputs))?;
        let bias = builder.parameter("bias", &[features], init)?;
        let mut dims = outer.to_vec();
        dims.push(features);
        let ops = &mut builder.ops();
        let bias = ops.broadcast_to(bias, &dims)?;
        y = ops.add(y, bias)?;
    }
    Ok(y)
}

/// Rows of `weight` `[vocabulary, features]` by index: `[...]` to `[..., features]`. PyTorch's default is N(0, 1). The
/// row of `padding_idx` is 0 at first and has no gradient.
fn embedding(builder: &mut Builder, x: Option<Tensor>, args: &Args) -> Built {
    let x = input(x)?;
    let ty = builder.ops().ty(x);
    if !ty.dtype.is_int() {
        return Err(Fault::new(format!("the input must be indices, found {ty}")));
    }
    let (vocabulary, features) = (args.size("vocabulary")?.get()?, args.size("features")?.get()?);
    let mut init = Init::from_args(args, "init", vocabulary, features, Init::Normal { mean: 0.0, std: 1.0 })?;
    let padding = match args.get("padding_idx").map(|given| given.span) {
        None => None,
        Some(span) => {
            let row = args.int_or("padding_idx", 0)?;
            let outside = || format!("`padding_idx` must be a row of the {vocabulary}, found {row}");
            Some(row.axis(vocabulary).map_err(|_| Fault::new(outside()).at(span))?)
        }
    };
    if let Some(row) = padding {
        init = Init::ZeroRow { row, others: Box::new(init) };
    }
    let weight = builder.parameter("weight", &[vocabulary, features], init)?;
    let mut ops = builder.ops();
    let table = ops.ty(weight);
    let indices = ops.checked_indices(&table, 0, x)?;
    let rows = ops.take(weight, indices, 0)?;
    let Some(row) = padding else { return Ok(rows) };
    let dims = ops.dims(rows);
    // The index of the row must be one of the input's type, whatever the vocabulary.
    let wide = ops.convert(indices, DType::I64)?;
    let row = ops.int_scalar(row as i64, DType::I64)?;
    let is_padding = ops.compare(Comparison::Eq, wide, row)?;
    let axes: Vec<usize> = (0..dims.len() - 1).collect();
    let is_padding = ops.b.broadcast(is_padding, &dims, &axes)?;
    let fixed = ops.stop_gradient(rows)?;
    ops.select(is_padding, fixed, rows)
}

/// A parameter under the layer's own name.
fn parameter(builder: &mut Builder, _: Option<Tensor>, args: &Args) -> Built {
    let dims = extents(&args.ints("dims")?.unwrap_or_default())?;
    let fan = Size::product(dims.iter().skip(1));
    let init = Init::from_args(args, "init", fan, dims.first().copied().unwrap_or(1), Init::Constant(0.0))?;
    builder.parameter("", &dims, init)
}
