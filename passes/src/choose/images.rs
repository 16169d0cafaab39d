//! `images`: convolutions with few channels and many images, with blocks of images last.
//!
//! Behind [`layout`](mod@crate::choose::layout) lanes are channels, and lie idle where there are fewer channels than lanes, or as many as
//! one vector has: a tile of one vector waits for its multiply-adds. Where the batch is a multiple of 16, images fill all
//! lanes. The pass then gives all images of a graph the form `[N / 16, C, spatial…, 16]`.
//!
//! Such a convolution is one with the channels first and a further spatial axis, along which its kernel has the extent
//! 1; it needs no operator of its own. Borders cost less too, since a tile belongs to one position.
//!
//! Every sum keeps its terms and their order (`lower/products/channels_first.rs`): the choice changes no bit, so that an image
//! has the same results in a batch of any size. Only what keeps that moves along: convolutions, elementwise operations,
//! windows, padding. Linear.

use brolga_ir::choice::{Choice, Layout};
use brolga_ir::ops::{Conv, ConvForm, Op, Pad, ReduceWindow};
use brolga_ir::{Builder, Graph, GraphError, NodeId, Value};
use rustc_hash::FxHashMap;

use crate::facts::blocking::channels_first::{IMAGES, WEIGHTS};
use crate::facts::cost::LANES;
use crate::facts::cost::images::{ALONE, WORTH};
use crate::options::Options;
use crate::rewrite::regions;
use crate::rewrite::rewriter::{Replacement, sweep};

/// Puts blocks of images last, if the convolutions of the graph gain by it.
pub fn images(graph: &mut Graph, _: &Options) -> Result<bool, GraphError> {
    images_all(graph)
}

fn images_all(graph: &mut Graph) -> Result<bool, GraphError> {
    let inside = regions::apply(graph, &mut images_all)?;
    if !gains(graph) {
        return Ok(inside);
    }
    let mut turned = Turned::default();
    let here = sweep(graph, |graph, id| turn(graph, id, &mut turned))?;
    Ok(inside || here)
}

/// Whether all convolutions of the graph may have their images last, and take less time together.
fn gains(graph: &Graph) -> bool {
    let (mut now, mut then) = (0.0, 0.0);
    for id in graph.order() {
        let node = graph.node(id);
        let Op::Conv(conv) = &node.op else { continue };
        let (x, w) = (graph.ty(node.operands[0]), graph.ty(node.operands[1]));
        let simple = graph.choice(id) == Choice::from(Layout::ChannelsLast)
            && conv.form == ConvForm::Forward
            && conv.groups == 1
            && conv.spatial() < 3
            && x.dims[0] > 0
            && x.dims[0].is_multiple_of(IMAGES)
            && w.elements() <= WEIGHTS;
        if !simple {
            return false;
        }
        let vectors = w.dims[0].div_ceil(LANES);
        let lanes = (vectors * LANES) as f64 * if vectors == 1 { ALONE } else { 1.0 };
        let sums = node.types[0].elements() as f64 / w.dims[0].max(1) as f64;
        let terms = (w.elements() / w.dims[0].max(1)) as f64;
        now += sums * terms * lanes;
        then += sums * terms * w.dims[0] as f64;
    }
    now > then * WORTH
}

/// The values that are images with their channels last, and what they were before: with the images last.
type Turned = FxHashMap<Value, Value>;

/// `[N, …, C]` as `[N / 16, C, …, 16]`.
fn to_images(b: &mut Builder, turned: &mut Turned, value: Value) -> Result<Value, GraphError> {
    if let Some(&image) = turned.get(&value) {
        return Ok(image);
    }
    let dims = b.ty(value).dims.clone();
    let rank = dims.len();
    let node = b.graph.node(value.node);
    if let Op::Broadcast(broadcast) = &node.op
        && broadcast.axes.iter().all(|&axis| axis + 1 == rank)
    {
        // A value for each channel, or one for all.
        let (operand, axes) = (node.operands[0], vec![1; broadcast.axes.len()]);
        return b.broadcast(operand, &blocked(&dims), &axes);
    }
    let split: Vec<usize> = [dims[0] / IMAGES, IMAGES].into_iter().chain(dims[1..].iter().copied()).collect();
    let split = b.reshape(value, &split)?;
    let axes: Vec<usize> = [0, rank].into_iter().chain(2..rank).chain([1]).collect();
    let image = b.transpose(split, &axes)?;
    turned.insert(value, image);
    Ok(image)
}

/// The way back.
fn from_images(b: &mut Builder, image: Value) -> Result<Value, GraphError> {
    let dims = b.ty(image).dims.clone();
    let rank = dims.len();
    let axes: Vec<usize> = [0, rank - 1].into_iter().chain(2..rank - 1).chain([1]).collect();
    let split = b.transpose(image, &axes)?;
    let whole: Vec<usize> =
        [dims[0] * IMAGES].into_iter().chain(dims[2..rank - 1].iter().copied()).chain([dims[1]]).collect();
    b.reshape(split, &whole)
}

/// The extents `[N, …, C]` as `[N / 16, C, …, 16]`.
fn blocked(dims: &[usize]) -> Vec<usize> {
    let (channels, front) = dims.split_last().expect("an image has channels");
    [front[0] / IMAGES, *channels].into_iter().chain(front[1..].iter().copied()).chain([IMAGES]).collect()
}

/// Entries for each axis of `[N, …, C]`, where that of the batch says nothing, for the axes of `[N / 16, C, …, 16]`.
fn moved<T: Clone>(entries: &[T]) -> Vec<T> {
    let (channels, front) = entries.split_last().expect("an image has channels");
    [&front[0], channels].into_iter().chain(&front[1..]).chain([&front[0]]).cloned().collect()
}

/// Whether a window looks at every image and every channel by itself.
fn alone(window: &ReduceWindow) -> bool {
    [0, window.window.len() - 1].into_iter().all(|axis| {
        let steps = [window.window[axis], window.stride[axis], window.base_dilation[axis]];
        steps == [1; 3] && window.padding[axis] == (0, 0)
    })
}

fn turn(graph: &mut Graph, id: NodeId, turned: &mut Turned) -> Replacement {
    let node = graph.node(id).clone();
    let last = graph.choice(id).layout == Layout::ChannelsLast;
    let b = &mut Builder::new(graph, node.origin);
    let conv = matches!(&node.op, Op::Conv(_)) && last;
    if !conv && !node.operands.iter().any(|v| turned.contains_key(v)) {
        return Ok(None);
    }
    let image = match node.op {
        Op::Conv(conv) if last => {
            let mut dims = b.ty(node.operands[1]).dims.clone();
            dims.push(1);
            let w = b.reshape(node.operands[1], &dims)?;
            let x = to_images(b, turned, node.operands[0])?;
            b.add_node(over_images(conv), &[x, w])?
        }
        Op::Elementwise(_) => {
            let mut images = Vec::new();
            for &operand in &node.operands {
                images.push(to_images(b, turned, operand)?);
            }
            b.add_node(node.op, &images)?
        }
        Op::ReduceWindow(window) if alone(&window) => {
            let x = to_images(b, turned, node.operands[0])?;
            let window = ReduceWindow {
                combine: window.combine,
                window: moved(&window.window),
                stride: moved(&window.stride),
                padding: moved(&window.padding),
                window_dilation: moved(&window.window_dilation),
                base_dilation: moved(&window.base_dilation),
            };
            b.add_node(window, &[x])?
        }
        Op::Pad(pad) if (pad.low[0], pad.high[0], pad.interior[0]) == (0, 0, 0) => {
            let x = to_images(b, turned, node.operands[0])?;
            let pad = Pad { low: moved(&pad.low), high: moved(&pad.high), interior: moved(&pad.interior) };
            b.add_node(pad, &[x, node.operands[1]])?
        }
        _ => return Ok(None),
    };
    let result = from_images(b, image)?;
    turned.insert(result, image);
    Ok(Some(vec![result]))
}

/// The same convolution with the channels first, and the images of a block as its last spatial axis.
fn over_images(conv: Conv) -> Conv {
    let with = |mut list: Vec<usize>| {
        list.push(1);
        list
    };
    Conv {
        stride: with(conv.stride),
        padding: conv.padding.into_iter().chain([(0, 0)]).collect(),
        lhs_dilation: with(conv.lhs_dilation),
        rhs_dilation: with(conv.rhs_dilation),
        ..conv
    }
}
