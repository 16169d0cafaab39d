//! What is done to data before the network sees it.

use brolga_ir::scalar::Comparison;
use brolga_ir::{DType, Size, Type};

use super::layer::{Layer, input};
use crate::graph::builder::{Builder, Fit};
use crate::graph::init::Init;
use crate::graph::ops::Ops;
use crate::graph::state::SlotKind;
use crate::graph::value::{Args, Built, Fault, Tensor, extents};
use crate::signature::{
    Bounds, Rule, Signature, number, required_number, ruled, size, sizes, within, word, words,
};

words! {
    /// Whether each channel, each element, or the whole has a mean and a deviation of its own.
    enum Per { Channel = "channel", Feature = "feature", All = "all" }
}

macro_rules! data {
    ($name:literal, $label:expr, $parameters:expr, $build:expr) => {
        Layer {
            signature: Signature { name: $name, parameters: $parameters },
            label: $label,
            source: false,
            build: $build,
        }
    };
}

/// The largest matrix of a resizing: it is made while compiling.
const MOST_WEIGHTS: usize = 1 << 24;

/// Unnamed, it gives its state the name of the input alone.
const STANDARDIZE: &str = "standardize";

pub(super) const LAYERS: [Layer; 6] = [
    data!("Standardize", STANDARDIZE, &[word::<Per>("per", false)], standardize),
    data!(
        "Normalize",
        "normalize",
        &[ruled("mean", Rule::Numbers, true), ruled("std", Rule::Numbers, true)],
        normalize
    ),
    data!(
        "Rescale",
        "rescale",
        &[required_number("scale", Bounds::ANY), number("offset", Bounds::ANY).or(0.0)],
        |builder, x, args| {
            let x = floats(builder, input(x)?)?;
            let (scale, offset) = (args.float_or("scale", 1.0)?, args.float_or("offset", 0.0)?);
            let ops = &mut builder.ops();
            let scaled = ops.mul_num(x, scale)?;
            if offset == 0.0 { Ok(scaled) } else { ops.add_num(scaled, offset) }
        }
    ),
    data!("Resize", "resize", &[sizes("size", 2, true)], resize),
    data!("RandomFlip", "flip", &[within("p", 0.0, 1.0).or(0.5)], random_flip),
    data!("RandomCrop", "crop", &[size("padding")], random_crop),
];

/// Pictures of another size: bilinear interpolation with pixel centres at half positions, edges clamped; where it shrinks
/// the triangle is as wide as the scale, so that every source pixel counts (PyTorch's `interpolate(mode="bilinear",
/// antialias=True)`). Two products with constant matrices, whose rows sum to 1.
fn resize(builder: &mut Builder, x: Option<Tensor>, args: &Args) -> Built {
    let x = floats(builder, input(x)?)?;
    let ty = builder.ops().ty(x);
    let sizes = extents(&args.sizes_or("size", 2, 1, &[Size::ONE])?)?;
    let &[batch, channels, height, width] = &ty.dims[..] else {
        return Err(Fault::new(format!("the input must be [batch, channels, height, width], found {ty}")));
    };
    if height == 0 || width == 0 {
        return Err(Fault::new(format!("a picture without pixels cannot be resized: {ty}")));
    }
    for (from, to) in [(height, sizes[0]), (width, sizes[1])] {
        if from.saturating_mul(to) > MOST_WEIGHTS {
            return Err(Fault::new(format!("an extent of {from} is too much to be resized to {to}")));
        }
    }
    let ops = &mut builder.ops();
    let rows = ops.reshape(x, &[batch, channels * height, width])?;
    let across = interpolation(ops, width, sizes[1], ty.dtype)?;
    let wide = ops.b.dot(rows, across, [&[], &[]], [&[2], &[1]])?;
    let wide = ops.reshape(wide, &[batch, channels, height, sizes[1]])?;
    let down = interpolation(ops, height, sizes[0], ty.dtype)?;
    let both = ops.b.dot(wide, down, [&[], &[]], [&[2], &[1]])?;
    ops.transpose(both, &[0, 1, 3, 2])
}

/// The matrix `[to, from]` of a resizing along one axis.
fn interpolation(ops: &mut Ops, from: usize, to: usize, dtype: DType) -> Built {
    let scale = from as f64 / to as f64;
    let radius = if from == to { 1.0 } else { scale.max(1.0) };
    let mut matrix = vec![0.0; from * to];
    for (at, row) in matrix.chunks_exact_mut(from).enumerate() {
        let centre = (at as f64 + 0.5) * scale - 0.5;
        for (source, weight) in row.iter_mut().enumerate() {
            *weight = (1.0 - (source as f64 - centre).abs() / radius).max(0.0);
        }
        let sum: f64 = row.iter().sum();
        row.iter_mut().for_each(|weight| *weight /= sum);
    }
    let constants = ops.constants(&matrix, dtype)?;
    ops.reshape(constants, &[to, from])
}

/// Each picture of a batch is mirrored, left for right, with probability `p`; in training.
fn random_flip(builder: &mut Builder, x: Option<Tensor>, args: &Args) -> Built {
    let x = input(x)?;
    let p = args.float_in("p", 0.5, 0.0, 1.0)?;
    let ty = pictures(builder, x)?;
    if !builder.train || p == 0.0 {
        return Ok(x);
    }
    let mut single = vec![1; ty.rank()];
    single[0] = ty.dims[0];
    let uniform = builder.random_uniform(&Type::new(builder.float(), single))?;
    let ops = &mut builder.ops();
    let flipped = ops.b.reverse(x, &[ty.rank() - 1])?;
    let chosen = ops.compare_num(Comparison::Lt, uniform, p)?;
    let chosen = ops.broadcast_to(chosen, &ty.dims)?;
    ops.select(chosen, flipped, x)
}

/// Each picture of a batch is moved by up to `padding` in both directions, zeros follow from the edges; in training. The
/// same as a cut of its own size at random from the picture with so many zeros around it.
fn random_crop(builder: &mut Builder, x: Option<Tensor>, args: &Args) -> Built {
    let x = input(x)?;
    let padding = args.size("padding")?;
    let ty = pictures(builder, x)?;
    if !builder.train {
        return Ok(x);
    }
    let rank = ty.rank();
    let mut paddings = vec![(Size::from(0), Size::from(0)); rank];
    paddings[rank - 2..].fill((padding, padding));
    let offsets = (Size::from(2) * padding + 1).get()?;
    let mut moved = x;
    let zero = builder.ops().scalar(0.0, ty.dtype)?;
    moved = builder.ops().pad(moved, &paddings, zero)?;
    for axis in [rank - 2, rank - 1] {
        let drawn = builder.random_uniform(&Type::new(builder.float(), [ty.dims[0]]))?;
        let ops = &mut builder.ops();
        // Rows (columns) from the offset on; a draw of nearly 1 may round up to one too many.
        let scaled = ops.mul_num(drawn, offsets as f64)?;
        let offset = ops.convert(scaled, DType::I32)?;
        let offset = ops.min_num(offset, (offsets - 1) as f64)?;
        let mut dims = ops.dims(moved);
        dims[axis] = ty.dims[axis];
        let offset = ops.b.broadcast(offset, &dims, &[0])?;
        let position = ops.b.iota(DType::I32, &dims, axis)?;
        let from = ops.add(offset, position)?;
        moved = ops.b.gather_along(moved, from, axis)?;
    }
    Ok(moved)
}

/// The type of a batch of pictures, `[batch, ..., height, width]`.
fn pictures(builder: &mut Builder, x: Tensor) -> Built<Type> {
    let ty = builder.ops().ty(x);
    if ty.rank() < 3 || !ty.dtype.is_float() {
        return Err(Fault::new(format!("the input must be floats, [batch, ..., height, width], found {ty}")));
    }
    Ok(ty)
}

/// The values as floating-point numbers.
fn floats(builder: &mut Builder, x: Tensor) -> Built {
    let float = builder.float();
    builder.ops().floated(x, float)
}

/// `(x - mean) / deviation` with what they are in the training part of the data: before they are fitted nothing changes.
/// The state is `data.<input>.mean` and `data.<input>.std`; in a body, the layer's path takes the place of the input.
fn standardize(builder: &mut Builder, x: Option<Tensor>, args: &Args) -> Built {
    let path = builder.full_name("");
    let name = match path.strip_prefix("data.") {
        Some(inside) => {
            inside.strip_suffix(STANDARDIZE).and_then(|name| name.strip_suffix('.')).unwrap_or(inside)
        }
        None => &path,
    };
    let name = &format!("data.{name}");
    let x = floats(builder, input(x)?)?;
    let ty = builder.ops().ty(x);
    let default = if ty.rank() > 1 { Per::Channel } else { Per::All };
    let axes: Vec<usize> = match args.word("per", default)? {
        Per::All => vec![],
        Per::Channel => vec![1],
        Per::Feature => (1..ty.rank()).collect(),
    };
    if axes.iter().any(|&axis| axis >= ty.rank()) {
        return Err(Fault::new(format!(
            "there are no channels: expected [batch, channels, ...], found {ty}"
        ))
        .help("write `per: \"all\"`"));
    }
    if !builder.loops.open.is_empty() {
        return Err(Fault::new("it is fitted to the data before training, and cannot stand in a loop")
            .help("standardise the whole sequence before the loop, or in `prepare`"));
    }
    if !builder.fits.iter().any(|fit| fit.name == *name) {
        builder.fits.push(Fit { name: name.clone(), input: x });
    }
    let own = Type::new(ty.dtype, axes.iter().map(|&axis| ty.dims[axis]).collect::<Vec<_>>());
    let mean = builder.state(&format!("{name}.mean"), own.clone(), SlotKind::Fitted, Init::Constant(0.0))?;
    let std = builder.state(&format!("{name}.std"), own, SlotKind::Fitted, Init::Constant(1.0))?;
    affine(builder, x, mean, std, &axes)
}

/// `(x - mean) / std` with given numbers: one for all, or one for each channel.
fn normalize(builder: &mut Builder, x: Option<Tensor>, args: &Args) -> Built {
    let x = floats(builder, input(x)?)?;
    let ty = builder.ops().ty(x);
    let numbers = |name: &str| -> Built<Vec<f64>> {
        let numbers = args.floats(name)?.unwrap_or_default();
        let fits = numbers.len() == 1 || ty.rank() > 1 && numbers.len() == ty.dims[1];
        let good = numbers.iter().all(|n| n.is_finite() && (name == "mean" || *n > 0.0));
        if fits && good {
            return Ok(numbers);
        }
        let fault = if fits {
            Fault::new(format!("`{name}` must be finite{}", if name == "std" { " and above 0" } else { "" }))
        } else {
            let found = numbers.len();
            Fault::new(format!("`{name}` has {found} numbers, but one is needed, or one a channel of {ty}"))
        };
        Err(args.place(name).map_or(fault.clone(), |place| fault.at(place)))
    };
    let (mut mean, mut std) = (numbers("mean")?, numbers("std")?);
    let count = if mean.len() == 1 && std.len() == 1 { 1 } else { ty.dims[1] };
    [&mut mean, &mut std]
        .into_iter()
        .filter(|list| list.len() == 1)
        .for_each(|list| list.resize(count, list[0]));
    let ops = &mut builder.ops();
    if count == 1 {
        let centred = ops.sub_num(x, mean[0])?;
        return ops.div_num(centred, std[0]);
    }
    let (mean, std) = (ops.constants(&mean, ty.dtype)?, ops.constants(&std, ty.dtype)?);
    affine(builder, x, mean, std, &[1])
}

/// `(x - mean) / std`, both along `axes`.
fn affine(builder: &mut Builder, x: Tensor, mean: Tensor, std: Tensor, axes: &[usize]) -> Built {
    let ops = &mut builder.ops();
    let dims = ops.dims(x);
    let (mean, std) = (ops.b.broadcast(mean, &dims, axes)?, ops.b.broadcast(std, &dims, axes)?);
    let centred = ops.sub(x, mean)?;
    ops.div(centred, std)
}
