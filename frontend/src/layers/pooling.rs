//! Pooling. Layout `[batch, channels, spatial...]`.

use brolga_ir::program::Combine;

use super::convolution::{form, paddings};
use super::{Layer, expect_rank, input};
use crate::arguments::{Parameter, Signature, flag, optional, required, word};
use crate::build::Builder;
use crate::build::ops::Tensor;
use crate::build::value::{Args, Built, Fault};

const MAX: [Parameter; 4] = [required("kernel"), optional("stride"), optional("padding"), flag("ceil_mode")];
const AVERAGE: [Parameter; 5] = [
    required("kernel"),
    optional("stride"),
    optional("padding"),
    flag("ceil_mode"),
    flag("count_include_pad"),
];
const KIND: [&str; 2] = ["max", "avg"];
const EITHER: [Parameter; 6] = [
    word("kind", &KIND, true),
    required("kernel"),
    optional("stride"),
    optional("padding"),
    flag("ceil_mode"),
    flag("count_include_pad"),
];

macro_rules! pooling {
    ($name:literal, $parameters:ident, $build:expr) => {
        Layer {
            signature: Signature { name: $name, parameters: &$parameters },
            label: "pool",
            source: false,
            build: $build,
        }
    };
}

const SIZE: [Parameter; 1] = [required("size")];
const NOTHING: [Parameter; 0] = [];

pub(super) static LAYERS: [Layer; 12] = [
    pooling!("MaxPool1d", MAX, |builder, x, args| pool(builder, input(x)?, args, 1, true)),
    pooling!("MaxPool2d", MAX, |builder, x, args| pool(builder, input(x)?, args, 2, true)),
    pooling!("MaxPool3d", MAX, |builder, x, args| pool(builder, input(x)?, args, 3, true)),
    pooling!("AvgPool1d", AVERAGE, |builder, x, args| pool(builder, input(x)?, args, 1, false)),
    pooling!("AvgPool2d", AVERAGE, |builder, x, args| pool(builder, input(x)?, args, 2, false)),
    pooling!("AvgPool3d", AVERAGE, |builder, x, args| pool(builder, input(x)?, args, 3, false)),
    pooling!("Pool2d", EITHER, |builder, x, args| {
        let max = args.word_or("kind", &KIND, "max")? == "max";
        pool(builder, input(x)?, args, 2, max)
    }),
    pooling!("GlobalAvgPool", NOTHING, |builder, x, _| global(builder, input(x)?, Combine::Add)),
    pooling!("GlobalMaxPool", NOTHING, |builder, x, _| global(builder, input(x)?, Combine::Max)),
    pooling!("AdaptiveAvgPool1d", SIZE, |builder, x, args| adaptive(builder, input(x)?, args, 1, false)),
    pooling!("AdaptiveAvgPool2d", SIZE, |builder, x, args| adaptive(builder, input(x)?, args, 2, false)),
    pooling!("AdaptiveMaxPool2d", SIZE, |builder, x, args| adaptive(builder, input(x)?, args, 2, true)),
];

fn pool(builder: &mut Builder, x: Tensor, args: &Args, spatial: usize, max: bool) -> Built {
    let dims = expect_rank(builder, x, spatial + 2, form(spatial))?;
    let kernel = args.sizes_or("kernel", spatial, 1, &[1])?;
    let stride = args.sizes_or("stride", spatial, 1, &kernel)?;
    let padding = paddings(args, spatial)?;
    let ceil_mode = args.bool_or("ceil_mode", false)?;
    let include = args.bool_or("count_include_pad", true)?;
    let mut counts: Vec<Vec<usize>> = Vec::new();
    let mut windows = Vec::new();
    for axis in 0..spatial {
        let (window, count) = windows_along(
            dims[axis + 2],
            kernel[axis],
            stride[axis],
            padding[axis],
            ceil_mode,
            include,
            axis + 2,
        )?;
        windows.push(window);
        counts.push(count);
    }
    let ops = &mut builder.ops();
    if max {
        return ops.pool(Combine::Max, x, &kernel, &stride, &windows);
    }
    let sum = ops.pool(Combine::Add, x, &kernel, &stride, &windows)?;
    let area: usize = kernel.iter().product();
    if counts.iter().zip(&kernel).all(|(counts, &kernel)| counts.iter().all(|&count| count == kernel)) {
        return ops.div_num(sum, area as f64);
    }
    // How many elements each window counts is known now: one factor for each axis.
    let dtype = ops.dtype(sum);
    let result = ops.dims(sum);
    let mut divisor = None;
    for (axis, counts) in counts.iter().enumerate() {
        let values: Vec<f64> = counts.iter().map(|&count| count as f64).collect();
        let along = ops.constants(&values, dtype)?;
        let along = ops.along(along, &result, axis + 2)?;
        divisor = Some(match divisor {
            None => along,
            Some(divisor) => ops.mul(divisor, along)?,
        });
    }
    match divisor {
        Some(divisor) => ops.div(sum, divisor),
        None => Ok(sum),
    }
}

/// Padding along one axis, enlarged for the last window of the ceiling mode, and how many elements each window
/// counts for an average (PyTorch: padding counts if asked for, what lies beyond it never).
fn windows_along(
    input: usize,
    kernel: usize,
    stride: usize,
    padding: (usize, usize),
    ceil_mode: bool,
    include: bool,
    axis: usize,
) -> Built<((usize, usize), Vec<usize>)> {
    if padding.0.max(padding.1) > kernel / 2 {
        return Err(Fault::new(format!(
            "padding {} is more than half of the kernel {kernel} along axis {axis}",
            padding.0.max(padding.1)
        ))
        .note("a window of padding only would have no value"));
    }
    let padded = input + padding.0 + padding.1;
    if kernel > padded {
        return Err(Fault::new(format!(
            "the kernel covers {kernel} elements of axis {axis}, which has {padded}"
        ))
        .help("make the kernel smaller, or the input or the padding larger"));
    }
    let mut count = (padded - kernel) / stride + 1;
    // The last window of the ceiling mode must begin inside the input or the padding before it.
    if ceil_mode && !(padded - kernel).is_multiple_of(stride) && count * stride < input + padding.0 {
        count += 1;
    }
    let reach = (count - 1) * stride + kernel;
    let after = reach.saturating_sub(input + padding.0);
    let counted = |window: usize| {
        let start = window * stride;
        let end = start + kernel;
        if include {
            end.min(padded) - start
        } else {
            end.min(padding.0 + input) - start.max(padding.0).min(end)
        }
    };
    Ok(((padding.0, after), (0..count).map(counted).collect()))
}

/// The mean or maximum over all spatial axes: `[batch, channels, ...]` to `[batch, channels]`.
fn global(builder: &mut Builder, x: Tensor, combine: Combine) -> Built {
    let ops = &mut builder.ops();
    let ty = ops.ty(x);
    if ty.rank() < 3 || !ty.dtype.is_float() {
        return Err(Fault::new(format!("the input must be [batch, channels, spatial...], found {ty}")));
    }
    let axes: Vec<usize> = (2..ty.rank()).collect();
    if combine == Combine::Add { ops.mean(x, &axes, false) } else { ops.reduce(combine, x, &axes, false) }
}

/// Pools to a given size: window i of n goes from `floor(i in / n)` to `ceil((i + 1) in / n)`.
fn adaptive(builder: &mut Builder, x: Tensor, args: &Args, spatial: usize, max: bool) -> Built {
    let dims = expect_rank(builder, x, spatial + 2, form(spatial))?;
    let sizes = args.sizes_or("size", spatial, 1, &[1])?;
    let ops = &mut builder.ops();
    let mut x = x;
    // Windows are products of intervals, so the axes can be pooled one after the other: a mean of means over
    // windows of one length along each axis is the mean.
    for axis in 0..spatial {
        let (input, output) = (dims[axis + 2], sizes[axis]);
        if input == 0 {
            return Err(Fault::new(format!("axis {} has no elements", axis + 2)));
        }
        if input == output {
            continue;
        }
        x = adaptive_axis(ops, x, axis + 2, input, output, max)?;
    }
    Ok(x)
}

fn adaptive_axis(
    ops: &mut crate::build::ops::Ops,
    x: Tensor,
    axis: usize,
    input: usize,
    output: usize,
    max: bool,
) -> Built {
    let combine = if max { Combine::Max } else { Combine::Add };
    if input.is_multiple_of(output) {
        let width = input / output;
        let mut split = ops.dims(x);
        split[axis] = output;
        split.insert(axis + 1, width);
        let parts = ops.reshape(x, &split)?;
        return if max {
            ops.reduce(combine, parts, &[axis + 1], false)
        } else {
            ops.mean(parts, &[axis + 1], false)
        };
    }
    let mut parts = Vec::with_capacity(output);
    for window in 0..output {
        let (start, end) = (window * input / output, ((window + 1) * input).div_ceil(output));
        let part = ops.slice_axis(x, axis, start, end, 1)?;
        parts.push(if max {
            ops.reduce(combine, part, &[axis], true)?
        } else {
            ops.mean(part, &[axis], true)?
        });
    }
    ops.concat(&parts, axis as i64)
}
