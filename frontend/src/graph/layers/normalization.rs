//! Normalisation: batch (Ioffe & Szegedy 2015), layer (Ba et al. 2016), instance, group (Wu & He 2018), and local
//! response (Krizhevsky et al. 2012).

use brolga_ir::Size;
use brolga_ir::program::Combine;
use brolga_ir::scalar::Function;

use super::layer::{Layer, input};
use crate::graph::builder::Builder;
use crate::graph::init::Init;
use crate::graph::ops::reductions::Moments;
use crate::graph::ops::{Ops, Window};
use crate::graph::value::{Args, Built, Fault, Tensor};
use crate::signature::{Bounds, Parameter, Rule, Signature, flag, number, ruled, size, within};

const EPS: Parameter = within("eps", 0.0, 1.0).or(1e-5);
const BATCH: [Parameter; 4] =
    [EPS, within("momentum", 0.0, 1.0).or(0.1), flag("affine", true), flag("zero_init", false)];
const AFFINE: [Parameter; 2] = [EPS, flag("affine", false)];

macro_rules! norm {
    ($name:literal, $label:literal, $parameters:expr, $build:expr) => {
        Layer {
            signature: Signature { name: $name, parameters: $parameters },
            label: $label,
            source: false,
            build: $build,
        }
    };
}

pub(super) const LAYERS: [Layer; 7] = [
    norm!("BatchNorm", "bn", &BATCH, |builder, x, args| batch_norm(builder, input(x)?, args)),
    norm!("BatchNorm1d", "bn", &BATCH, |builder, x, args| batch_norm(builder, input(x)?, args)),
    norm!("BatchNorm2d", "bn", &BATCH, |builder, x, args| batch_norm(builder, input(x)?, args)),
    norm!(
        "LayerNorm",
        "ln",
        &[ruled("axes", Rule::Size, false).or_int(1), EPS, flag("affine", true)],
        layer_norm
    ),
    norm!("GroupNorm", "gn", &[size("groups"), EPS, flag("affine", true)], |builder, x, args| {
        let groups = args.size("groups")?.get()?;
        group_norm(builder, input(x)?, args, Some(groups), true)
    }),
    norm!("InstanceNorm", "in", &AFFINE, |builder, x, args| group_norm(
        builder,
        input(x)?,
        args,
        None,
        false
    )),
    norm!(
        "LocalResponseNorm",
        "lrn",
        &[
            size("size"),
            number("alpha", Bounds::NOT_NEGATIVE).or(1e-4),
            number("beta", Bounds::ANY).or(0.75),
            number("k", Bounds::NOT_NEGATIVE).or(1.0),
            flag("divide", true),
        ],
        local_response_norm
    ),
];

fn channels(builder: &mut Builder, x: Tensor) -> Built<Vec<usize>> {
    let ty = builder.ops().ty(x);
    if ty.rank() < 2 || !ty.dtype.is_float() {
        return Err(Fault::new(format!(
            "the input must be floating-point, [batch, channels, ...], found {ty}"
        )));
    }
    Ok(ty.dims)
}

/// `1 / sqrt(variance + eps)`.
fn scale(ops: &mut Ops, variance: Tensor, eps: f64) -> Built {
    let variance = ops.add_num(variance, eps)?;
    ops.function(Function::Rsqrt, variance)
}

/// `centred / sqrt(variance + eps)`, the variance with axes of extent 1.
fn normalize(ops: &mut Ops, centred: Tensor, variance: Tensor, eps: f64) -> Built {
    let scale = scale(ops, variance, eps)?;
    ops.mul(centred, scale)
}

/// `x weight + bias` with a weight and a bias for each element along `axes` (a block of axes, in order).
fn affine(builder: &mut Builder, x: Tensor, axes: &[usize]) -> Built {
    let dims = builder.ops().dims(x);
    let own: Vec<usize> = axes.iter().map(|&axis| dims[axis]).collect();
    let weight = builder.parameter("weight", &own, Init::Constant(1.0))?;
    let bias = builder.parameter("bias", &own, Init::Constant(0.0))?;
    let ops = &mut builder.ops();
    let (weight, bias) = (ops.b.broadcast(weight, &dims, axes)?, ops.b.broadcast(bias, &dims, axes)?);
    let scaled = ops.mul(x, weight)?;
    ops.add(scaled, bias)
}

/// Training: statistics of the batch, and running averages `r = (1 - momentum) r + momentum statistic`, the
/// variance unbiased. Inference: the running averages.
fn batch_norm(builder: &mut Builder, x: Tensor, args: &Args) -> Built {
    let dims = channels(builder, x)?;
    let eps = args.float_or("eps", 1e-5)?;
    let momentum = args.float_or("momentum", 0.1)?;
    let (count, features) = ((Size::product(&dims) / dims[1].max(1)).get()?, dims[1]);
    // Declared in the order of PyTorch's state: weight and bias stand before the running averages.
    let affine = if args.bool_or("affine", true)? {
        let one = if args.bool_or("zero_init", false)? { 0.0 } else { 1.0 };
        let weight = builder.parameter("weight", &[features], Init::Constant(one))?;
        Some((weight, builder.parameter("bias", &[features], Init::Constant(0.0))?))
    } else {
        None
    };
    let running = Running {
        mean: builder.buffer("running_mean", &[features], Init::Constant(0.0))?,
        variance: builder.buffer("running_var", &[features], Init::Constant(1.0))?,
    };
    let training = builder.layer_trains();
    let mut single = vec![1; dims.len()];
    single[1] = features;
    let Moments { mean, variance, centred } = if training {
        if count < 2 {
            let fault = Fault::new(format!("training needs more than one value per channel, found {count}"));
            builder.refuse_single(fault.help("enlarge the batch"))?;
        }
        let axes: Vec<usize> = (0..dims.len()).filter(|&axis| axis != 1).collect();
        builder.ops().moments(x, &axes)?
    } else {
        let ops = &mut builder.ops();
        let (mean, variance) = (ops.reshape(running.mean, &single)?, ops.reshape(running.variance, &single)?);
        Moments { mean, variance, centred: ops.sub(x, mean)? }
    };
    let ops = &mut builder.ops();
    // One factor for each channel, so that the gradients by weight and variance come from one sum.
    let mut factor = scale(ops, variance, eps)?;
    if let Some((weight, _)) = affine {
        let weight = ops.reshape(weight, &single)?;
        factor = ops.mul(factor, weight)?;
    }
    let mut y = ops.mul(centred, factor)?;
    if let Some((_, bias)) = affine {
        let bias = ops.reshape(bias, &single)?;
        y = ops.add(y, bias)?;
    }
    if training {
        let batch = Batch { mean, variance, count, features };
        running.update(builder, &batch, momentum)?;
    }
    Ok(y)
}

/// The running averages of a batch normalisation, `f32[features]`.
struct Running {
    mean: Tensor,
    variance: Tensor,
}

/// The statistics of a batch.
struct Batch {
    mean: Tensor,
    variance: Tensor,
    /// The number of values of each feature.
    count: usize,
    features: usize,
}

impl Running {
    /// The averages go towards the statistics of the batch.
    fn update(&self, builder: &mut Builder, batch: &Batch, momentum: f64) -> Built<()> {
        let ops = &mut builder.ops();
        let (mean, variance) = (ops.stop_gradient(batch.mean)?, ops.stop_gradient(batch.variance)?);
        let single = [batch.features];
        let (mean, variance) = (ops.reshape(mean, &single)?, ops.reshape(variance, &single)?);
        let count = batch.count;
        let unbiased = ops.mul_num(variance, count as f64 / (count.max(2) - 1) as f64)?;
        // The state has its own type, whatever the input has.
        let mut average = |running: Tensor, now: Tensor| -> Built {
            let dtype = ops.dtype(running);
            let now = ops.convert(now, dtype)?;
            let kept = ops.mul_num(running, 1.0 - momentum)?;
            let new = ops.mul_num(now, momentum)?;
            ops.add(kept, new)
        };
        let (mean, variance) = (average(self.mean, mean)?, average(self.variance, unbiased)?);
        builder.set_buffer("running_mean", mean);
        builder.set_buffer("running_var", variance);
        Ok(())
    }
}

/// Over the last `axes` axes (default 1) of each sample.
fn layer_norm(builder: &mut Builder, x: Option<Tensor>, args: &Args) -> Built {
    let x = input(x)?;
    let ty = builder.ops().ty(x);
    let count = args.size_or("axes", 1)?.get()?;
    if count > ty.rank() || !ty.dtype.is_float() {
        return Err(Fault::new(format!(
            "the input must be floating-point with at least {count} axes, found {ty}"
        )));
    }
    let axes: Vec<usize> = (ty.rank() - count..ty.rank()).collect();
    let eps = args.float_or("eps", 1e-5)?;
    let ops = &mut builder.ops();
    let Moments { variance, centred, .. } = ops.moments(x, &axes)?;
    let normal = normalize(ops, centred, variance, eps)?;
    if args.bool_or("affine", true)? { affine(builder, normal, &axes) } else { Ok(normal) }
}

/// Over the channels of a group and all positions of one sample; instance normalisation has a group per channel.
fn group_norm(builder: &mut Builder, x: Tensor, args: &Args, groups: Option<usize>, default: bool) -> Built {
    let dims = channels(builder, x)?;
    let groups = groups.unwrap_or(dims[1]);
    if groups == 0 || !dims[1].is_multiple_of(groups) {
        let message = format!("{} channels cannot be divided into {groups} groups", dims[1]);
        return Err(args.fault("groups", message));
    }
    let eps = args.float_or("eps", 1e-5)?;
    let ops = &mut builder.ops();
    let mut split = vec![dims[0], groups, dims[1] / groups];
    split.extend(&dims[2..]);
    let parts = ops.reshape(x, &split)?;
    let axes: Vec<usize> = (2..split.len()).collect();
    let Moments { variance, centred, .. } = ops.moments(parts, &axes)?;
    let normal = normalize(ops, centred, variance, eps)?;
    let normal = ops.reshape(normal, &dims)?;
    if args.bool_or("affine", default)? { affine(builder, normal, &[1]) } else { Ok(normal) }
}

/// `x / (k + a sum x²)^beta`, the sum over `size` neighbouring channels; a is alpha / size as in PyTorch, or
/// alpha itself with `divide: false` as in the paper.
fn local_response_norm(builder: &mut Builder, x: Option<Tensor>, args: &Args) -> Built {
    let x = input(x)?;
    let dims = channels(builder, x)?;
    let size = args.size("size")?.get()?;
    let alpha = args.float_or("alpha", 1e-4)?;
    let beta = args.float_or("beta", 0.75)?;
    let k = args.float_or("k", 1.0)?;
    let alpha = if args.bool_or("divide", true)? { alpha / size as f64 } else { alpha };
    if (Size::from(dims[1]).max(1) * 2).is_below(size) {
        return Err(Fault::new(format!("`size` is {size}, but there are {} channels", dims[1])));
    }
    let ops = &mut builder.ops();
    let square = ops.square(x)?;
    let (mut window, mut padding) = (vec![1; dims.len()], vec![(0, 0); dims.len()]);
    window[1] = size;
    padding[1] = (size / 2, (size - 1) / 2);
    let ones = vec![1; dims.len()];
    let window = Window { kernel: &window, stride: &ones, padding: &padding, dilation: &ones };
    let sum = ops.reduce_window(Combine::Add, square, &window)?;
    let scaled = ops.mul_num(sum, alpha)?;
    let base = ops.add_num(scaled, k)?;
    if beta == 0.75 {
        // base^-3/4 = 1 / (sqrt base sqrt sqrt base)
        let root = ops.sqrt(base)?;
        let fourth = ops.sqrt(root)?;
        let divisor = ops.mul(root, fourth)?;
        return ops.div(x, divisor);
    }
    let power = ops.pow_num(base, beta)?;
    ops.div(x, power)
}
