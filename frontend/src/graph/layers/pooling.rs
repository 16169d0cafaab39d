//! Pooling. Layout `[batch, channels, spatial...]`.

use brolga_ir::program::Combine;
use brolga_ir::scalar::Comparison;
use brolga_ir::{DType, Size};

use super::convolution::{form, numbers, reach};
use super::layer::{Layer, expect_rank, input};
use crate::graph::builder::Builder;
use crate::graph::ops::{Ops, Window};
use crate::graph::value::{Args, Built, Fault, Padding, Tensor, Val, extents};
use crate::signature::{Parameter, Rule, Signature, flag, required, ruled, sizes, word, words};
use crate::source::Spanned;

const fn maximum(axes: usize) -> [Parameter; 5] {
    let [kernel, stride, padding, dilation] = windows(axes);
    [kernel, stride, padding, dilation, flag("ceil_mode", false)]
}

const fn average(axes: usize) -> [Parameter; 7] {
    let [kernel, stride, padding, dilation] = windows(axes);
    let divisor = ruled("divisor_override", Rule::Size, false);
    [kernel, stride, padding, flag("ceil_mode", false), flag("count_include_pad", true), divisor, dilation]
}

const fn either(axes: usize) -> [Parameter; 8] {
    let [kernel, stride, padding, ceil_mode, count_include_pad, divisor, dilation] = average(axes);
    let kind = word::<Pooling>("kind", true);
    [kind, kernel, stride, padding, ceil_mode, count_include_pad, divisor, dilation]
}

/// Kernel, stride, padding, dilation.
const fn windows(axes: usize) -> [Parameter; 4] {
    [
        sizes("kernel", axes, true),
        sizes("stride", axes, false),
        ruled("padding", Rule::Padding(axes), false).or_int(0),
        sizes("dilation", axes, false).or_int(1),
    ]
}

words! {
    /// Whether a window gives its largest element or its mean.
    enum Pooling { Max = "max", Average = "avg" }
}

macro_rules! pooling {
    ($name:literal, $parameters:expr, $build:expr) => {
        Layer {
            signature: Signature { name: $name, parameters: &const { $parameters } },
            label: "pool",
            source: false,
            build: $build,
        }
    };
}

/// `none` in the list leaves an axis as it is.
const SIZE: [Parameter; 1] = [required("size")];
const NOTHING: [Parameter; 0] = [];

pub(super) const LAYERS: [Layer; 15] = [
    pooling!("MaxPool1d", maximum(1), |builder, x, args| pool(builder, input(x)?, args, 1, Pooling::Max)),
    pooling!("MaxPool2d", maximum(2), |builder, x, args| pool(builder, input(x)?, args, 2, Pooling::Max)),
    pooling!("MaxPool3d", maximum(3), |builder, x, args| pool(builder, input(x)?, args, 3, Pooling::Max)),
    pooling!("AvgPool1d", average(1), |builder, x, args| pool(builder, input(x)?, args, 1, Pooling::Average)),
    pooling!("AvgPool2d", average(2), |builder, x, args| pool(builder, input(x)?, args, 2, Pooling::Average)),
    pooling!("AvgPool3d", average(3), |builder, x, args| pool(builder, input(x)?, args, 3, Pooling::Average)),
    pooling!("Pool2d", either(2), |builder, x, args| {
        let kind = args.word("kind", Pooling::Max)?;
        pool(builder, input(x)?, args, 2, kind)
    }),
    pooling!("GlobalAvgPool", NOTHING, |builder, x, _| global(builder, input(x)?, Combine::Add)),
    pooling!("GlobalMaxPool", NOTHING, |builder, x, _| global(builder, input(x)?, Combine::Max)),
    pooling!("AdaptiveAvgPool1d", SIZE, |builder, x, args| adaptive(builder, input(x)?, args, 1, false)),
    pooling!("AdaptiveAvgPool2d", SIZE, |builder, x, args| adaptive(builder, input(x)?, args, 2, false)),
    pooling!("AdaptiveAvgPool3d", SIZE, |builder, x, args| adaptive(builder, input(x)?, args, 3, false)),
    pooling!("AdaptiveMaxPool1d", SIZE, |builder, x, args| adaptive(builder, input(x)?, args, 1, true)),
    pooling!("AdaptiveMaxPool2d", SIZE, |builder, x, args| adaptive(builder, input(x)?, args, 2, true)),
    pooling!("AdaptiveMaxPool3d", SIZE, |builder, x, args| adaptive(builder, input(x)?, args, 3, true)),
];

/// Reads the arguments and combines the elements of each window; a mean divides by what it counts.
fn pool(builder: &mut Builder, x: Tensor, args: &Args, spatial: usize, kind: Pooling) -> Built {
    let dims = expect_rank(builder, x, spatial + 2, form(spatial))?;
    let kernel = args.sizes_or("kernel", spatial, 1, &[Size::ONE])?;
    let stride = args.sizes_or("stride", spatial, 1, &kernel)?;
    let dilation = args.sizes_or("dilation", spatial, 1, &[Size::ONE])?;
    let padding = args.paddings("padding", spatial)?;
    let ceil_mode = args.bool_or("ceil_mode", false)?;
    let counting = counting(kind, args)?;
    let mut windows = Vec::new();
    for axis in 0..spatial {
        let window =
            Windows::along(dims[axis + 2], kernel[axis], stride[axis], dilation[axis], padding[axis]);
        let window = window.checked(ceil_mode, axis + 2)?;
        // Padding that counts is a value; without it a window of padding alone has none.
        if matches!(counting, Counting::Nothing | Counting::Elements) && window.has_empty() {
            let larger = padding[axis].0.max(padding[axis].1);
            let message =
                format!("with padding {larger}, a window along axis {} would see padding only", axis + 2);
            return Err(args.fault("padding", message).note("it would have no value"));
        }
        windows.push(window);
    }
    let attributes = Window {
        kernel: &extents(&kernel)?,
        stride: &extents(&stride)?,
        padding: &numbers(&windows.iter().map(|window| window.padding).collect::<Vec<_>>())?,
        dilation: &extents(&dilation)?,
    };
    let ops = &mut builder.ops();
    let combine = if kind == Pooling::Max { Combine::Max } else { Combine::Add };
    let combined = ops.pool(combine, x, &attributes)?;
    let include = match counting {
        Counting::Nothing => return Ok(combined),
        Counting::Fixed(divisor) => return ops.div_num(combined, divisor),
        Counting::Padded => true,
        Counting::Elements => false,
    };
    if windows.iter().all(|window| window.is_full(include)) {
        let area = Size::product(&kernel).get()?;
        return ops.div_num(combined, area as f64);
    }
    by_counts(ops, combined, &windows, include)
}

/// What the windows of a layer are divided by.
fn counting(kind: Pooling, args: &Args) -> Built<Counting> {
    Ok(match kind {
        Pooling::Max => Counting::Nothing,
        Pooling::Average if args.has("divisor_override") => {
            Counting::Fixed(args.size("divisor_override")?.get()? as f64)
        }
        Pooling::Average if args.bool_or("count_include_pad", true)? => Counting::Padded,
        Pooling::Average => Counting::Elements,
    })
}

/// Sums divided by the number of elements that each window counts, padding included or not. These are known now: they are a
/// product of one factor for each axis.
fn by_counts(ops: &mut Ops, sums: Tensor, windows: &[Windows], include: bool) -> Built {
    let result = ops.ty(sums);
    let mut divisor = None;
    for (axis, window) in windows.iter().enumerate() {
        let along = window.counts(ops, include, result.dtype)?;
        let along = ops.along(along, &result.dims, axis + 2)?;
        divisor = Some(match divisor {
            None => along,
            Some(divisor) => ops.mul(divisor, along)?,
        });
    }
    match divisor {
        Some(divisor) => ops.div(sums, divisor),
        None => Ok(sums),
    }
}

/// What the sum of a window is divided by.
#[derive(Clone, Copy, PartialEq)]
enum Counting {
    /// Nothing: it is a maximum.
    Nothing,
    /// The places inside the padded input.
    Padded,
    /// The elements of the input.
    Elements,
    /// A number.
    Fixed(f64),
}

/// Windows along which elements are counted one by one; more are counted by their positions, inside the model.
const MOST_COUNTED: usize = 4096;

/// The windows of a pooling along one axis.
struct Windows {
    input: Size,
    kernel: Size,
    stride: Size,
    dilation: Size,
    /// As given; enlarged for the last window of the ceiling mode by [`Windows::checked`].
    padding: Padding,
    /// Elements with the padding as given.
    padded: Size,
    /// Elements from the first place of a window to its last.
    reach: Size,
    /// Number of windows.
    count: Size,
}

impl Windows {
    fn along(input: usize, kernel: Size, stride: Size, dilation: Size, padding: Padding) -> Windows {
        let input = Size::from(input);
        let padded = padding.0 + padding.1 + input;
        let reach = reach(kernel, dilation);
        let count = (padded - reach) / stride + 1;
        Windows { input, kernel, stride, dilation, padding, padded, reach, count }
    }

    /// An error where no window has a place; else the windows, with the last one of the ceiling mode, which may reach
    /// beyond the input and its padding.
    fn checked(mut self, ceil_mode: bool, axis: usize) -> Built<Windows> {
        let inside = self.input + self.padding.0;
        if ceil_mode {
            self.count = (self.padded - self.reach + self.stride - 1) / self.stride + 1;
            // That window must begin inside the input or the padding before it.
            if !((self.count - 1) * self.stride).is_below(inside) {
                self.count = self.count - 1;
            }
        }
        if self.count.is_below(1) {
            return Err(Fault::new(format!(
                "the kernel covers {} elements of axis {axis}, which has {}",
                self.reach, self.padded
            ))
            .help("make the kernel smaller, or the input or the padding larger"));
        }
        let end = (self.count - 1) * self.stride + self.reach;
        self.padding.1 = (end - inside).max(0);
        Ok(self)
    }

    /// Whether some window sees no element of the input. Where that would take too many windows to find out, it counts
    /// as so.
    fn has_empty(&self) -> bool {
        let before = self.padding.0;
        let sees = |window: Size| {
            let start = window * self.stride;
            let skipped = (before - start).max(0).div_ceil(self.dilation);
            let first = start + skipped * self.dilation;
            skipped.is_below(self.kernel) && first.is_below(before + self.input)
        };
        if !sees(Size::ZERO) || !sees(self.count - 1) {
            return true;
        }
        if !self.input.is_below(self.dilation) {
            return false; // Whatever begins in the padding before sees an element as soon as it has left that.
        }
        let starting = self.count.min(before.div_ceil(self.stride));
        match starting.get() {
            Ok(starting) if starting <= MOST_COUNTED => !(0..starting).all(|window| sees(Size::from(window))),
            _ => true,
        }
    }

    /// The elements from and up to which a window counts for an average (PyTorch: padding counts if asked for, what
    /// lies beyond it never).
    fn counted(&self, include: bool) -> (Size, Size) {
        if include { (Size::ZERO, self.padded) } else { (self.padding.0, self.padding.0 + self.input) }
    }

    /// Whether every window counts as many elements as the kernel has.
    fn is_full(&self, include: bool) -> bool {
        let (from, to) = self.counted(include);
        let end = (self.count - 1) * self.stride + self.reach;
        from == Size::ZERO && end.is_below(to + 1)
    }

    /// How many elements each window counts, as a vector: its places from the first that is counted to the last.
    fn counts(&self, ops: &mut Ops, include: bool, dtype: DType) -> Built {
        let (from, to) = self.counted(include);
        let count = self.count.get()?;
        if count <= MOST_COUNTED {
            let counted = |window: usize| {
                let start = self.stride * window;
                let first = (from - start).max(0).div_ceil(self.dilation);
                (self.kernel.min((to - start).div_ceil(self.dilation)) - first).max(0).get()
            };
            let counts = (0..count).map(counted).collect::<Result<Vec<_>, _>>()?;
            let counts: Vec<f64> = counts.into_iter().map(|count| count as f64).collect();
            return ops.constants(&counts, dtype);
        }
        let position = ops.b.iota(DType::I64, &[count], 0)?;
        let size = |ops: &mut Ops, size: Size| -> Built { ops.int_scalar(size.get()? as i64, DType::I64) };
        let (stride, kernel) = (size(ops, self.stride)?, size(ops, self.kernel)?);
        let start = ops.mul(position, stride)?;
        let (from, to) = (size(ops, from)?, size(ops, to)?);
        let (skipped, left) = (ops.sub(from, start)?, ops.sub(to, start)?);
        let skipped = ops.max_num(skipped, 0.0)?;
        let (first, last) = (self.places(ops, skipped)?, self.places(ops, left)?);
        let last = ops.min(last, kernel)?;
        let counts = ops.sub(last, first)?;
        let counts = ops.max_num(counts, 0.0)?;
        ops.convert(counts, dtype)
    }

    /// The number of places of a window within so many elements, which are not negative.
    fn places(&self, ops: &mut Ops, elements: Tensor) -> Built {
        if self.dilation == Size::ONE {
            return Ok(elements);
        }
        let more = ops.int_scalar((self.dilation - 1).get()? as i64, DType::I64)?;
        let dilation = ops.int_scalar(self.dilation.get()? as i64, DType::I64)?;
        let more = ops.add(elements, more)?;
        ops.div(more, dilation)
    }
}

/// The mean or maximum over all spatial axes: `[batch, channels, ...]` to `[batch, channels]`.
fn global(builder: &mut Builder, x: Tensor, combine: Combine) -> Built {
    let ops = &mut builder.ops();
    let ty = ops.ty(x);
    if ty.rank() < 3 || !ty.dtype.is_float() {
        return Err(Fault::new(format!("the input must be [batch, channels, spatial...], found {ty}")));
    }
    let axes: Vec<usize> = (2..ty.rank()).collect();
    if combine == Combine::Max && ty.dims[2..].contains(&0) {
        return Err(Fault::new(format!("there is no maximum of an image without elements, found {ty}")));
    }
    if combine == Combine::Add { ops.mean(x, &axes, false) } else { ops.reduce(combine, x, &axes, false) }
}

/// Pools to a given size: window i of n goes from `floor(i in / n)` to `ceil((i + 1) in / n)`.
fn adaptive(builder: &mut Builder, x: Tensor, args: &Args, spatial: usize, max: bool) -> Built {
    let dims = expect_rank(builder, x, spatial + 2, form(spatial))?;
    let sizes = adaptive_sizes(args, &dims[2..])?;
    let ops = &mut builder.ops();
    let mut x = x;
    // Windows are products of intervals, so the axes can be pooled one after the other: a mean of means over
    // windows of one length along each axis is the mean. Of equal maxima the first in the order of elements is chosen
    // if the last axis comes first.
    for place in 0..spatial {
        let axis = if max { spatial - 1 - place } else { place };
        let (input, output) = (dims[axis + 2], sizes[axis]);
        if input == 0 {
            return Err(Fault::new(format!("axis {} has no elements", axis + 2)));
        }
        if input == output {
            continue;
        }
        let axis = axis + 2;
        x = match (input.is_multiple_of(output), output <= MOST_WRITTEN_OUT) {
            (true, _) => adaptive_even(ops, x, axis, output, max)?,
            (_, true) => adaptive_written_out(ops, x, axis, output, max)?,
            _ => adaptive_gathered(ops, x, axis, output, max)?,
        };
    }
    Ok(x)
}

/// The argument `size`: a number for all axes, or a list with one for each; `none` in it leaves an axis as it is.
fn adaptive_sizes(args: &Args, dims: &[usize]) -> Built<Vec<usize>> {
    if let Some(Spanned { value: Val::List(items), .. }) = args.get("size")
        && items.len() == dims.len()
        && items.iter().all(|item| *item == Val::None || item.as_size(1).is_some())
    {
        let size = |(item, &dim): (&Val, &usize)| item.as_size(1).map_or(Ok(dim), Size::get);
        return Ok(items.iter().zip(dims).map(size).collect::<Result<_, _>>()?);
    }
    extents(&args.sizes_or("size", dims.len(), 1, &[Size::ONE])?)
}

/// Adaptive windows, at most, that are slices of their own.
const MOST_WRITTEN_OUT: usize = 64;

fn combined(ops: &mut Ops, x: Tensor, axis: usize, max: bool, keep: bool) -> Built {
    if max { ops.reduce(Combine::Max, x, &[axis], keep) } else { ops.mean(x, &[axis], keep) }
}

/// Windows of one length, side by side.
fn adaptive_even(ops: &mut Ops, x: Tensor, axis: usize, output: usize, max: bool) -> Built {
    let mut split = ops.dims(x);
    let width = split[axis] / output;
    split[axis] = output;
    split.insert(axis + 1, width);
    let parts = ops.reshape(x, &split)?;
    combined(ops, parts, axis + 1, max, false)
}

/// A slice for each window.
fn adaptive_written_out(ops: &mut Ops, x: Tensor, axis: usize, output: usize, max: bool) -> Built {
    let input = Size::from(ops.dims(x)[axis]);
    let mut parts = Vec::with_capacity(output);
    for window in (0..output).map(Size::from) {
        let (start, end) = (window * input / output, ((window + 1) * input).div_ceil(output));
        let part = ops.slice_axis(x, axis, start.get()?, end.get()?, 1)?;
        parts.push(combined(ops, part, axis, max, true)?);
    }
    ops.concat(&parts, Size::from(axis))
}

/// Many windows: all of the greatest length, `[..., window, place, ...]`, by computed indices; places behind the end of
/// a window do not count.
fn adaptive_gathered(ops: &mut Ops, x: Tensor, axis: usize, output: usize, max: bool) -> Built {
    let ty = ops.ty(x);
    let input = ty.dims[axis];
    // The largest number below is (output + 1) (input + 1).
    if ((Size::from(output) + 1) * (Size::from(input) + 1)).number().is_none() {
        return Err(Fault::new(format!("{output} windows over {input} elements are too many")));
    }
    let width = (Size::from(input).div_ceil(output) + 1).min(input).get()?;
    let table = [output, width];
    let number = |ops: &mut Ops, value: usize| ops.int_scalar(value as i64, DType::I64);
    let (window, place) = (ops.b.iota(DType::I64, &table, 0)?, ops.b.iota(DType::I64, &table, 1)?);
    let (inputs, outputs) = (number(ops, input)?, number(ops, output)?);
    let (one, last) = (number(ops, 1)?, number(ops, output - 1)?);
    let scaled = ops.mul(window, inputs)?;
    let start = ops.div(scaled, outputs)?;
    let next = ops.add(window, one)?;
    let next = ops.mul(next, inputs)?;
    let next = ops.add(next, last)?;
    let end = ops.div(next, outputs)?;
    let index = ops.add(start, place)?;
    let inside = ops.compare(Comparison::Lt, index, end)?;
    let gathered = ops.b.gather(x, index, axis)?;
    let dims = ops.dims(gathered);
    let inside = ops.b.broadcast(inside, &dims, &[axis, axis + 1])?;
    let nothing = ops.scalar(if max { f64::NEG_INFINITY } else { 0.0 }, ty.dtype)?;
    let counted = ops.select(inside, gathered, nothing)?;
    if max {
        return ops.reduce(Combine::Max, counted, &[axis + 1], false);
    }
    let sum = ops.sum(counted, &[axis + 1], false)?;
    let length = ops.sub(end, start)?;
    let length = ops.slice_axis(length, 1, 0, 1, 1)?;
    let length = ops.reshape(length, &[output])?;
    let length = ops.convert(length, ty.dtype)?;
    let dims = ops.dims(sum);
    let length = ops.along(length, &dims, axis)?;
    ops.div(sum, length)
}
