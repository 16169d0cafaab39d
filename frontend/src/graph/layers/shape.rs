//! Layers that arrange elements.

use brolga_ir::Size;

use super::layer::{Layer, input};
use crate::graph::arguments::padded;
use crate::graph::builder::Builder;
use crate::graph::ops::IndexPart;
use crate::graph::value::{Args, Built, Fault, Tensor, extents};
use crate::signature::{Parameter, Rule, Signature, int, optional, required, ruled};

macro_rules! shape {
    ($name:literal, $parameters:expr, $build:expr) => {
        Layer {
            signature: Signature { name: $name, parameters: $parameters },
            label: "shape",
            source: false,
            build: $build,
        }
    };
}

const PAD: [Parameter; 2] = [required("padding"), optional("value").or_int(0)];
const SLICE: [Parameter; 4] = [ruled("axis", Rule::Int, true), int("start"), int("stop"), int("step")];

pub(super) const LAYERS: [Layer; 6] = [
    shape!("Flatten", &[int("start").or_int(1)], flatten),
    shape!("Reshape", &[ruled("dims", Rule::Ints, true)], |builder, x, args| {
        let dims = args.ints("dims")?.unwrap_or_default();
        builder.ops().reshape_to(input(x)?, &dims)
    }),
    shape!("Transpose", &[ruled("axes", Rule::Ints, true)], |builder, x, args| {
        let x = input(x)?;
        let axes = args.ints("axes")?.unwrap_or_default();
        let ops = &mut builder.ops();
        let axes = axes.into_iter().map(|axis| ops.axis(x, axis)).collect::<Built<Vec<_>>>()?;
        ops.transpose(x, &axes)
    }),
    shape!("Pad", &PAD, |builder, x, args| padded(builder, input(x)?, args)),
    shape!("Slice", &SLICE, |builder, x, args| {
        let x = input(x)?;
        let ops = &mut builder.ops();
        let axis = ops.axis(x, args.int_or("axis", 0)?)?;
        let bound = |name: &str| if args.has(name) { args.int_or(name, 0).map(Some) } else { Ok(None) };
        let mut ranges = vec![IndexPart::ALL; axis];
        ranges.push(IndexPart::Slice { start: bound("start")?, stop: bound("stop")?, step: bound("step")? });
        ops.index(x, &ranges)
    }),
    shape!("Upsample", &[required("factor")], upsample),
];

/// One axis of all from `start` (default 1) on.
fn flatten(builder: &mut Builder, x: Option<Tensor>, args: &Args) -> Built {
    let x = input(x)?;
    let ops = &mut builder.ops();
    let dims = ops.dims(x);
    let start = args.int_or("start", 1)?;
    // Negative: from the end, as of every axis.
    let from = if start.is_below(0) { start + dims.len() } else { start };
    let Some(first) = from.get().ok().filter(|&first| first <= dims.len()) else {
        return Err(Fault::new(format!("there is no axis {start} in {}", ops.ty(x))));
    };
    let mut flat = dims[..first].to_vec();
    flat.push(Size::product(&dims[first..]).get()?);
    ops.reshape(x, &flat)
}

/// Repeats every spatial element `factor` times along each spatial axis (nearest neighbour).
fn upsample(builder: &mut Builder, x: Option<Tensor>, args: &Args) -> Built {
    let x = input(x)?;
    let ops = &mut builder.ops();
    let dims = ops.dims(x);
    if dims.len() < 3 {
        return Err(Fault::new(format!(
            "the input must be [batch, channels, spatial...], found {}",
            ops.ty(x)
        )));
    }
    let factors = extents(&args.sizes_or("factor", dims.len() - 2, 1, &[Size::from(2)])?)?;
    let (mut wide, mut axes, mut result) = (dims[..2].to_vec(), vec![0, 1], dims[..2].to_vec());
    for (&extent, factor) in dims[2..].iter().zip(factors) {
        axes.push(wide.len());
        wide.extend([extent, factor]);
        result.push((Size::from(extent) * factor).get()?);
    }
    let repeated = ops.b.broadcast(x, &wide, &axes)?;
    ops.reshape(repeated, &result)
}
