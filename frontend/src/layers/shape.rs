//! Layers that arrange elements.

use super::{Layer, input};
use crate::arguments::{Parameter, Signature, optional, required};
use crate::build::Builder;
use crate::build::ops::Tensor;
use crate::build::value::{Args, Built, Fault, Val};

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

const PAD: [Parameter; 2] = [required("padding"), optional("value")];
const SLICE: [Parameter; 4] = [required("axis"), optional("start"), optional("stop"), optional("step")];

pub(super) static LAYERS: [Layer; 6] = [
    shape!("Flatten", &[optional("start")], flatten),
    shape!("Reshape", &[required("dims")], |builder, x, args| {
        let dims = args.ints("dims")?.unwrap_or_default();
        builder.ops().reshape_to(input(x)?, &dims)
    }),
    shape!("Transpose", &[required("axes")], |builder, x, args| {
        let x = input(x)?;
        let axes = args.ints("axes")?.unwrap_or_default();
        let ops = &mut builder.ops();
        let axes = axes.into_iter().map(|axis| ops.axis(x, axis)).collect::<Built<Vec<_>>>()?;
        ops.transpose(x, &axes)
    }),
    shape!("Pad", &PAD, pad),
    shape!("Slice", &SLICE, |builder, x, args| {
        let x = input(x)?;
        let ops = &mut builder.ops();
        let axis = ops.axis(x, args.int_or("axis", 0)?)?;
        let bound = |name: &str| if args.has(name) { args.int_or(name, 0).map(Some) } else { Ok(None) };
        let mut ranges = vec![(None, None, None, false); axis];
        ranges.push((bound("start")?, bound("stop")?, bound("step")?, false));
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
    if start < 0 || start as usize > dims.len() {
        return Err(Fault::new(format!("there is no axis {start} in {}", ops.ty(x))));
    }
    let mut flat = dims[..start as usize].to_vec();
    flat.push(dims[start as usize..].iter().product());
    ops.reshape(x, &flat)
}

/// `padding` is a list with `[before, after]` (or one number) for each axis; negative padding crops.
fn pad(builder: &mut Builder, x: Option<Tensor>, args: &Args) -> Built {
    let x = input(x)?;
    let ops = &mut builder.ops();
    let ty = ops.ty(x);
    let wrong = || {
        let fault = Fault::new(format!("`padding` needs a number or [before, after] for each axis of {ty}"));
        args.place("padding").map_or(fault.clone(), |place| fault.at(place))
    };
    let Some(Val::List(items)) = args.get("padding").map(|value| &value.value) else { return Err(wrong()) };
    let pair = |item: &Val| match item {
        Val::List(pair) if pair.len() == 2 => Some((pair[0].as_int()?, pair[1].as_int()?)),
        Val::List(_) => None,
        single => single.as_int().map(|size| (size, size)),
    };
    let pairs = items.iter().map(pair).collect::<Option<Vec<_>>>().ok_or_else(wrong)?;
    if pairs.len() != ty.rank() {
        return Err(wrong());
    }
    ops.pad(x, &pairs, args.float_or("value", 0.0)?)
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
    let factors = args.sizes_or("factor", dims.len() - 2, 1, &[2])?;
    let (mut wide, mut axes, mut result) = (dims[..2].to_vec(), vec![0, 1], dims[..2].to_vec());
    for (&extent, factor) in dims[2..].iter().zip(factors) {
        axes.push(wide.len());
        wide.extend([extent, factor]);
        result.push(extent.saturating_mul(factor));
    }
    let repeated = ops.b.broadcast(x, &wide, &axes)?;
    ops.reshape(repeated, &result)
}
