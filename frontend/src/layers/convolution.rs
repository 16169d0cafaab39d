//! Convolutions in one to three dimensions, and transposed convolutions. Layout `[batch, channels, spatial...]`.

use super::{Layer, expect_rank, input};
use crate::arguments::{Parameter, Signature, call, flag, optional, required, size, word};
use crate::build::Builder;
use crate::build::ops::{Convolution, Tensor};
use crate::build::value::{Args, Built, Fault, MAX_SIZE, Val};
use crate::init::{INITS, Init};

const PARAMETERS: [Parameter; 9] = [
    size("features"),
    required("kernel"),
    optional("stride"),
    word("padding", &["same", "valid"], false),
    optional("dilation"),
    optional("groups"),
    flag("bias"),
    call("init", &INITS, false),
    call("bias_init", &INITS, false),
];

const TRANSPOSED: [Parameter; 10] = [
    size("features"),
    required("kernel"),
    optional("stride"),
    optional("padding"),
    optional("output_padding"),
    optional("dilation"),
    optional("groups"),
    flag("bias"),
    call("init", &INITS, false),
    call("bias_init", &INITS, false),
];

macro_rules! convolution {
    ($name:literal, $spatial:literal) => {
        Layer {
            signature: Signature { name: $name, parameters: &PARAMETERS },
            label: "conv",
            source: false,
            build: |builder, x, args| conv(builder, input(x)?, args, $spatial),
        }
    };
}

macro_rules! transposed {
    ($name:literal, $spatial:literal) => {
        Layer {
            signature: Signature { name: $name, parameters: &TRANSPOSED },
            label: "deconv",
            source: false,
            build: |builder, x, args| conv_transpose(builder, input(x)?, args, $spatial),
        }
    };
}

pub(super) static LAYERS: [Layer; 6] = [
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

/// Padding before and after each spatial axis: a number, one for each axis, or a list with `[before, after]` for
/// each axis.
pub(super) fn paddings(args: &Args, spatial: usize) -> Built<Vec<(usize, usize)>> {
    let pair = |value: &Val| -> Option<(usize, usize)> {
        let size = |value: &Val| match value.as_int() {
            Some(size @ 0..=MAX_SIZE) => Some(size as usize),
            _ => None,
        };
        match value {
            Val::List(items) if items.len() == 2 => Some((size(&items[0])?, size(&items[1])?)),
            Val::List(_) => None,
            single => size(single).map(|size| (size, size)),
        }
    };
    let Some(value) = args.get("padding") else { return Ok(vec![(0, 0); spatial]) };
    let pairs = match &value.value {
        Val::List(items) if items.len() == spatial => items.iter().map(pair).collect::<Option<Vec<_>>>(),
        Val::List(_) => None,
        single => pair(single).map(|pair| vec![pair; spatial]),
    };
    pairs.ok_or_else(|| {
        let message = format!(
            "`padding` must be a whole number from 0 on, or a list of {spatial}, one for each axis; found {}",
            value.value.describe()
        );
        Fault::new(message).at(value.span).help("unequal padding is written [[before, after], ...]")
    })
}

/// The extent of a result along one axis, or the rule that is broken.
pub(super) fn extent(
    input: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    padding: (usize, usize),
    axis: usize,
) -> Built<usize> {
    let reach = dilation.saturating_mul(kernel - 1).saturating_add(1);
    let padded = input.saturating_add(padding.0).saturating_add(padding.1);
    if reach > padded {
        let from = if padding == (0, 0) { String::new() } else { format!(" ({input} before padding)") };
        return Err(Fault::new(format!(
            "the kernel reaches over {reach} elements of axis {axis}, which has {padded}{from}"
        ))
        .help("make the kernel smaller, or the input or the padding larger"));
    }
    Ok((padded - reach) / stride + 1)
}

fn conv(builder: &mut Builder, x: Tensor, args: &Args, spatial: usize) -> Built {
    let dims = expect_rank(builder, x, spatial + 2, form(spatial))?;
    let features = args.size("features")?;
    let kernel = args.sizes_or("kernel", spatial, 1, &[1])?;
    let stride = args.sizes_or("stride", spatial, 1, &[1])?;
    let dilation = args.sizes_or("dilation", spatial, 1, &[1])?;
    let groups = args.size_or("groups", 1)?;
    let channels = dims[1];
    check_groups(channels, features, groups, args)?;
    let padding = match args.get("padding").map(|value| &value.value) {
        Some(Val::Text(word)) if word == "valid" => vec![(0, 0); spatial],
        Some(Val::Text(word)) if word == "same" => {
            if stride.iter().any(|&stride| stride != 1) {
                let fault = Fault::new("padding \"same\" needs stride 1").help("give the padding as numbers");
                return Err(args.place("padding").map_or(fault.clone(), |place| fault.at(place)));
            }
            // As PyTorch: the odd element after.
            let total = |axis: usize| dilation[axis].saturating_mul(kernel[axis] - 1);
            (0..spatial).map(|axis| (total(axis) / 2, total(axis) - total(axis) / 2)).collect()
        }
        _ => paddings(args, spatial)?,
    };
    for axis in 0..spatial {
        extent(dims[axis + 2], kernel[axis], stride[axis], dilation[axis], padding[axis], axis + 2)?;
    }
    let mut weight_dims = vec![features, channels / groups];
    weight_dims.extend(&kernel);
    let area: usize = kernel.iter().product();
    let (fan_in, fan_out) =
        ((channels / groups).saturating_mul(area), features.saturating_mul(area) / groups);
    let init = Init::weight(args, "init", fan_in, fan_out)?;
    let weight = builder.parameter("weight", &weight_dims, init)?;
    let convolution = Convolution { stride: &stride, padding: &padding, dilation: &dilation, groups };
    let y = builder.ops().conv(x, weight, &convolution)?;
    add_bias(builder, y, args, features, fan_in)
}

/// The transpose of a convolution: the gradient with respect to its input. `weight` is
/// `[in, features / groups, kernel...]`.
fn conv_transpose(builder: &mut Builder, x: Tensor, args: &Args, spatial: usize) -> Built {
    let dims = expect_rank(builder, x, spatial + 2, form(spatial))?;
    let features = args.size("features")?;
    let kernel = args.sizes_or("kernel", spatial, 1, &[1])?;
    let stride = args.sizes_or("stride", spatial, 1, &[1])?;
    let dilation = args.sizes_or("dilation", spatial, 1, &[1])?;
    let padding = args.sizes_or("padding", spatial, 0, &[0])?;
    let extra = args.sizes_or("output_padding", spatial, 0, &[0])?;
    let groups = args.size_or("groups", 1)?;
    let channels = dims[1];
    check_groups(channels, features, groups, args)?;
    let mut size = Vec::new();
    for axis in 0..spatial {
        if extra[axis] >= stride[axis] {
            let fault = Fault::new(format!(
                "`output_padding` must be smaller than the stride {}, found {}",
                stride[axis], extra[axis]
            ));
            return Err(args.place("output_padding").map_or(fault.clone(), |place| fault.at(place)));
        }
        // (in - 1) stride - 2 padding + dilation (kernel - 1) + 1 + output_padding
        let reach = dilation[axis].saturating_mul(kernel[axis] - 1).saturating_add(1);
        let whole = (dims[axis + 2].max(1) - 1).saturating_mul(stride[axis]).saturating_add(reach);
        match (whole + extra[axis]).checked_sub(2 * padding[axis]) {
            Some(extent @ 1..) => size.push(extent),
            _ => {
                return Err(Fault::new(format!(
                    "the padding {} leaves nothing of the {whole} elements of axis {}",
                    padding[axis],
                    axis + 2
                )));
            }
        }
    }
    let mut weight_dims = vec![channels, features / groups];
    weight_dims.extend(&kernel);
    let area: usize = kernel.iter().product();
    // PyTorch takes the second axis of the weight for the fan in, here too.
    let fan_in = (features / groups).saturating_mul(area);
    let init = Init::weight(args, "init", fan_in, channels.saturating_mul(area))?;
    let weight = builder.parameter("weight", &weight_dims, init)?;
    let paddings: Vec<(usize, usize)> = padding.iter().map(|&size| (size, size)).collect();
    let convolution = Convolution { stride: &stride, padding: &paddings, dilation: &dilation, groups };
    let y = builder.ops().conv_transpose(x, weight, &size, &convolution)?;
    add_bias(builder, y, args, features, fan_in)
}

fn check_groups(channels: usize, features: usize, groups: usize, args: &Args) -> Built<()> {
    if channels.is_multiple_of(groups) && features.is_multiple_of(groups) {
        return Ok(());
    }
    let message = format!(
        "`groups` must divide the channels of the input and the features, but {groups} does not divide both {channels} and {features}"
    );
    let fault = Fault::new(message);
    Err(args.place("groups").map_or(fault.clone(), |place| fault.at(place)))
}

fn add_bias(builder: &mut Builder, y: Tensor, args: &Args, features: usize, fan_in: usize) -> Built {
    if !args.bool_or("bias", true)? {
        return Ok(y);
    }
    let init = Init::from_args(args, "bias_init", fan_in, features, Init::fan_uniform(fan_in))?;
    let bias = builder.parameter("bias", &[features], init)?;
    let ops = &mut builder.ops();
    let dims = ops.dims(y);
    let bias = ops.along(bias, &dims, 1)?;
    ops.add(y, bias)
}
