//! Convolutions in one to three dimensions, and transposed convolutions. Layout `[batch, channels, spatial...]`.

use brolga_ir::Size;

use super::layer::{Layer, expect_rank, input};
use crate::graph::builder::Builder;
use crate::graph::init::{BIAS_INIT, INIT, Init};
use crate::graph::ops::Convolution;
use crate::graph::value::{Args, Built, Fault, Padding, Tensor, Val, extents};
use crate::signature::{Parameter, Rule, Signature, flag, ruled, size, sizes, word, words};

words! {
    /// Padding that is not given in numbers.
    enum PaddingWord { Same = "same", Valid = "valid" }
}

const fn parameters(axes: usize) -> [Parameter; 9] {
    [
        size("features"),
        sizes("kernel", axes, true),
        sizes("stride", axes, false).or_int(1),
        Parameter { rule: Rule::Padding(axes), ..word::<PaddingWord>("padding", false) }.or_int(0),
        sizes("dilation", axes, false).or_int(1),
        ruled("groups", Rule::Size, false).or_int(1),
        flag("bias", true),
        INIT,
        BIAS_INIT,
    ]
}

const fn transposed(axes: usize) -> [Parameter; 10] {
    [
        size("features"),
        sizes("kernel", axes, true),
        sizes("stride", axes, false).or_int(1),
        ruled("padding", Rule::Sizes { axes, low: 0 }, false).or_int(0),
        ruled("output_padding", Rule::Sizes { axes, low: 0 }, false).or_int(0),
        ruled("groups", Rule::Size, false).or_int(1),
        flag("bias", true),
        sizes("dilation", axes, false).or_int(1),
        INIT,
        BIAS_INIT,
    ]
}

macro_rules! convolution {
    ($name:literal, $spatial:literal) => {
        Layer {
            signature: Signature { name: $name, parameters: &const { parameters($spatial) } },
            label: "conv",
            source: false,
            build: |builder, x, args| conv(builder, input(x)?, args, $spatial),
        }
    };
}

macro_rules! transposed {
    ($name:literal, $spatial:literal) => {
        Layer {
            signature: Signature { name: $name, parameters: &const { transposed($spatial) } },
            label: "deconv",
            source: false,
            build: |builder, x, args| conv_transpose(builder, input(x)?, args, $spatial),
        }
    };
}

pub(super) const LAYERS: [Layer; 6] = [
    convolution!("Conv1d", 1),
    convolution!("Conv2d", 2),
    convolution!("Conv3d", 3),
    transposed!("ConvTranspose1d", 1),
    transposed!("ConvTranspose2d", 2),
    transposed!("ConvTranspose3d", 3),
];

/// The form of an input with that many spatial axes.
pub(super) fn form(spatial: usize) -> &'static str {
    match spatial {
        1 => "[batch, channels, length]",
        2 => "[batch, channels, height, width]",
        _ => "[batch, channels, depth, height, width]",
    }
}

/// The numbers of paddings.
pub(super) fn numbers(paddings: &[Padding]) -> Built<Vec<(usize, usize)>> {
    paddings.iter().map(|(before, after)| Ok((before.get()?, after.get()?))).collect()
}

/// An error unless the kernel fits into its axis.
fn check_reach(
    input: usize,
    kernel: Size,
    dilation: Size,
    (before, after): Padding,
    axis: usize,
) -> Built<()> {
    let reach = reach(kernel, dilation);
    let padded = before + after + input;
    if reach.is_below(padded + 1) {
        return Ok(());
    }
    let unpadded = before + after == Size::ZERO;
    let from = if unpadded { String::new() } else { format!(" ({input} before padding)") };
    Err(Fault::new(format!(
        "the kernel reaches over {reach} elements of axis {axis}, which has {padded}{from}"
    ))
    .help("make the kernel smaller, or the input or the padding larger"))
}

/// How many elements a kernel reaches over.
pub(super) fn reach(kernel: Size, dilation: Size) -> Size {
    dilation * (kernel - 1) + 1
}

fn conv(builder: &mut Builder, x: Tensor, args: &Args, spatial: usize) -> Built {
    let dims = expect_rank(builder, x, spatial + 2, form(spatial))?;
    let features = args.size("features")?;
    let one = [Size::ONE];
    let kernel = args.sizes_or("kernel", spatial, 1, &one)?;
    let stride = args.sizes_or("stride", spatial, 1, &one)?;
    let dilation = args.sizes_or("dilation", spatial, 1, &one)?;
    let groups = args.size_or("groups", 1)?.get()?;
    let channels = dims[1];
    check_groups(channels, features.get()?, groups, args)?;
    let padding = match args.get("padding").map(|value| &value.value) {
        Some(Val::Text(_)) => match args.word("padding", PaddingWord::Valid)? {
            PaddingWord::Valid => vec![(Size::ZERO, Size::ZERO); spatial],
            PaddingWord::Same => same(args, &kernel, &stride, &dilation)?,
        },
        _ => args.paddings("padding", spatial)?,
    };
    for axis in 0..spatial {
        check_reach(dims[axis + 2], kernel[axis], dilation[axis], padding[axis], axis + 2)?;
    }
    let kernel = extents(&kernel)?;
    let mut weight_dims = vec![features.get()?, channels / groups];
    weight_dims.extend(&kernel);
    let fan_in = Size::product(&weight_dims[1..]);
    let fan_out = features * Size::product(&kernel) / groups;
    let init = Init::weight(args, "init", fan_in, fan_out)?;
    let weight = builder.parameter("weight", &weight_dims, init)?;
    let (stride, dilation, padding) = (extents(&stride)?, extents(&dilation)?, numbers(&padding)?);
    let convolution = Convolution { stride: &stride, padding: &padding, dilation: &dilation, groups };
    let y = builder.ops().conv(x, weight, &convolution)?;
    add_bias(builder, y, args, features, fan_in)
}

/// The padding that keeps the extents; as PyTorch, the odd element after.
fn same(args: &Args, kernel: &[Size], stride: &[Size], dilation: &[Size]) -> Built<Vec<Padding>> {
    if stride.iter().any(|&stride| stride != Size::ONE) {
        let fault = args.fault("padding", "padding \"same\" needs stride 1");
        return Err(fault.help("give the padding as numbers"));
    }
    let halves = |(&kernel, &dilation): (&Size, &Size)| {
        let total = dilation * (kernel - 1);
        (total / 2, total - total / 2)
    };
    Ok(kernel.iter().zip(dilation).map(halves).collect())
}

/// The transpose of a convolution: the gradient with respect to its input. `weight` is
/// `[in, features / groups, kernel...]`.
fn conv_transpose(builder: &mut Builder, x: Tensor, args: &Args, spatial: usize) -> Built {
    let dims = expect_rank(builder, x, spatial + 2, form(spatial))?;
    let features = args.size("features")?;
    let (zero, one) = ([Size::ZERO], [Size::ONE]);
    let kernel = args.sizes_or("kernel", spatial, 1, &one)?;
    let stride = args.sizes_or("stride", spatial, 1, &one)?;
    let dilation = args.sizes_or("dilation", spatial, 1, &one)?;
    let padding = args.sizes_or("padding", spatial, 0, &zero)?;
    let extra = args.sizes_or("output_padding", spatial, 0, &zero)?;
    let groups = args.size_or("groups", 1)?.get()?;
    let channels = dims[1];
    check_groups(channels, features.get()?, groups, args)?;
    let (mut size, mut paddings, mut behind) = (Vec::new(), Vec::new(), vec![(Size::ZERO, Size::ZERO); 2]);
    for axis in 0..spatial {
        if !extra[axis].is_below(stride[axis].max(dilation[axis])) {
            let message = format!(
                "`output_padding` must be smaller than the stride {} or the dilation {}, found {}",
                stride[axis], dilation[axis], extra[axis]
            );
            return Err(args.fault("output_padding", message));
        }
        let spread = Spread {
            extent: Size::from(dims[axis + 2]),
            reach: reach(kernel[axis], dilation[axis]),
            stride: stride[axis],
            padding: padding[axis],
            extra: extra[axis],
        };
        let (left, empty) = spread.lengths(axis + 2)?;
        size.push((left - empty).get()?);
        paddings.push((padding[axis], spread.padding_behind()));
        behind.push((Size::ZERO, empty));
    }
    let kernel = extents(&kernel)?;
    let mut weight_dims = vec![channels, (features / groups).get()?];
    weight_dims.extend(&kernel);
    // PyTorch takes the second axis of the weight for the fan in, here too.
    let fan_in = Size::product(&weight_dims[1..]);
    let init = Init::weight(args, "init", fan_in, Size::product(&kernel) * channels)?;
    let weight = builder.parameter("weight", &weight_dims, init)?;
    let (stride, dilation, padding) = (extents(&stride)?, extents(&dilation)?, numbers(&paddings)?);
    let convolution = Convolution { stride: &stride, padding: &padding, dilation: &dilation, groups };
    let mut ops = builder.ops();
    let mut y = ops.conv_transpose(x, weight, &size, &convolution)?;
    if behind.iter().any(|&(_, empty)| empty != Size::ZERO) {
        let zero = ops.scalar(0.0, ops.dtype(y))?;
        y = ops.pad(y, &behind, zero)?;
    }
    add_bias(builder, y, args, features, fan_in)
}

/// What a transposed convolution does along one axis: each element of the input is spread over `reach` elements of the result,
/// `stride` apart from the next one's.
struct Spread {
    extent: Size,
    reach: Size,
    stride: Size,
    padding: Size,
    /// `output_padding`: elements behind the last one that the input reaches.
    extra: Size,
}

impl Spread {
    /// The extent of the result, and how many elements at its end no element of the input reaches:
    /// `(in - 1) stride - 2 padding + dilation (kernel - 1) + 1 + output_padding`.
    fn lengths(&self, axis: usize) -> Built<(Size, Size)> {
        let whole = (self.extent - 1).max(0) * self.stride + self.reach;
        let left = whole + self.extra - self.padding * 2;
        if left.is_below(1) {
            let padding = self.padding;
            let message =
                format!("the padding {padding} leaves nothing of the {whole} elements of axis {axis}");
            return Err(Fault::new(message));
        }
        Ok((left, if self.is_beyond() { (self.extra - self.padding).max(0) } else { Size::ZERO }))
    }

    /// The padding behind. What `output_padding` reaches beyond the last stride is taken from it; beyond that is bias alone.
    fn padding_behind(&self) -> Size {
        if self.is_beyond() { (self.padding - self.extra).max(0) } else { self.padding }
    }

    /// Whether the result goes on for a stride or more behind the last element that the input reaches.
    fn is_beyond(&self) -> bool {
        !self.extra.is_below(self.stride)
    }
}

fn check_groups(channels: usize, features: usize, groups: usize, args: &Args) -> Built<()> {
    if channels.is_multiple_of(groups) && features.is_multiple_of(groups) {
        return Ok(());
    }
    let message = format!(
        "`groups` must divide the channels of the input and the features, but {groups} does not divide both \
         {channels} and {features}"
    );
    Err(args.fault("groups", message))
}

fn add_bias(builder: &mut Builder, y: Tensor, args: &Args, features: Size, fan_in: Size) -> Built {
    if !args.bool_or("bias", true)? {
        return Ok(y);
    }
    let init = Init::from_args(args, "bias_init", fan_in, features, Init::fan_uniform(fan_in))?;
    let bias = builder.parameter("bias", &[features.get()?], init)?;
    let ops = &mut builder.ops();
    let dims = ops.dims(y);
    let bias = ops.along(bias, &dims, 1)?;
    ops.add(y, bias)
}
