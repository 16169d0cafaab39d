//! `layout`: convolutions with their channels last, across whole chains.
//!
//! Lanes are channels in the kernels of convolutions (`lower/products/correlate.rs`), so images lie as `[batch, spatial…, channels]`.
//! The pass gives every convolution that form, with a transpose before and behind it, and moves the transposes
//! towards the outputs through whatever works on images: elementwise operations, reductions, windows, padding,
//! slices, concatenations. Those of neighbours cancel; what is left stands at the borders of the chains, where
//! mostly nothing has to be copied (an image that a convolution reads through strides, a flattened 1 x 1 image).
//!
//! A plain transpose was chosen over blocks of 16 channels: any number of channels fits without padding,
//! a 1 x 1 convolution is a matrix product over all positions, a channel's concatenation a view by
//! strides, and the panels of weights, which profit most from blocks, are packed anyway. Sums over positions
//! run in another order afterwards: rounding. Linear.

use brolga_ir::choice::Layout;
use brolga_ir::ops::{Concat, ConvForm, Op, Pad, Reduce, ReduceWindow, Reverse, Slice, WindowSelect};
use brolga_ir::program::Combine;
use brolga_ir::{Builder, Graph, GraphError, NodeId, Value};
use rustc_hash::FxHashMap;

use crate::options::Options;
use crate::rewrite::regions;
use crate::rewrite::rewriter::{Replacement, sweep};

/// Puts channels last.
pub fn layout(graph: &mut Graph, _: &Options) -> Result<bool, GraphError> {
    layout_all(graph)
}

fn layout_all(graph: &mut Graph) -> Result<bool, GraphError> {
    let inside = regions::apply(graph, &mut layout_all)?;
    let mut turned = Turned::default();
    let here = sweep(graph, |graph, id| layout_node(graph, id, &mut turned))?;
    Ok(inside || here)
}

/// The axes that bring `[N, …, C]` to `[N, C, …]`.
fn first_axes(rank: usize) -> Vec<usize> {
    [0, rank - 1].into_iter().chain(1..rank - 1).collect()
}

/// The axes that bring `[N, C, …]` to `[N, …, C]`.
fn last_axes(rank: usize) -> Vec<usize> {
    std::iter::once(0).chain(2..rank).chain([1]).collect()
}

/// Entries for each axis, in the order of the axes with the channels last.
fn moved<T: Clone>(entries: &[T]) -> Vec<T> {
    last_axes(entries.len()).into_iter().map(|axis| entries[axis].clone()).collect()
}

/// The values that are an image with its channels put first, and that image.
type Turned = FxHashMap<Value, Value>;

/// A value with its channels last. A window over a spread image, the gradient of pooling, makes a larger image: the
/// smaller one is turned.
fn to_last(b: &mut Builder, turned: &mut Turned, value: Value) -> Result<Value, GraphError> {
    if let Some(&image) = turned.get(&value) {
        return Ok(image);
    }
    let node = b.graph.node(value.node);
    if let Op::ReduceWindow(window) = &node.op
        && window.window[1] == 1
        && window.base_dilation.iter().any(|&dilation| dilation > 1)
    {
        let (x, window) = (node.operands[0], window_last(window));
        let x = to_last(b, turned, x)?;
        let image = b.add_node(window, &[x])?;
        turned.insert(value, image);
        return Ok(image);
    }
    let axes = last_axes(b.ty(value).rank());
    if let Op::Broadcast(broadcast) = &node.op {
        let (x, dims) = (node.operands[0], moved(&broadcast.dims));
        let now: Vec<usize> = broadcast.axes.iter().map(|&axis| place(&axes, axis)).collect();
        if now.is_sorted() {
            return b.broadcast(x, &dims, &now);
        }
    }
    b.transpose(value, &axes)
}

/// Where an axis stands among others.
fn place(axes: &[usize], axis: usize) -> usize {
    axes.iter().position(|&a| a == axis).expect("a permutation of the axes")
}

fn layout_node(graph: &mut Graph, id: NodeId, turned: &mut Turned) -> Replacement {
    let (node, mut choice) = (graph.node(id).clone(), graph.choice(id));
    let b = &mut Builder::new(graph, node.origin);
    let (last, all) = match node.op {
        Op::Conv(conv) if choice.layout == Layout::ChannelsFirst => {
            choice.layout = Layout::ChannelsLast;
            if matches!(conv.form, ConvForm::WeightGradient { .. }) {
                let x = to_last(b, turned, node.operands[0])?;
                let dy = to_last(b, turned, node.operands[1])?;
                return Ok(Some(vec![b.add_chosen(conv, choice, &[x, dy])?]));
            }
            (conv.into(), false)
        }
        _ if !node.operands.iter().any(|v| turned.contains_key(v)) => return Ok(None),
        Op::Reduce(Reduce { combine, axes }) => {
            let image = to_last(b, turned, node.operands[0])?;
            return Ok(Some(vec![reduce(b, combine, &axes, image)?]));
        }
        Op::Pad(pad) => {
            let pad = Pad { low: moved(&pad.low), high: moved(&pad.high), interior: moved(&pad.interior) };
            (pad.into(), false)
        }
        op => match with_channels_last(op, node.types[0].rank()) {
            Some(op) => (op, true),
            None => return Ok(None),
        },
    };
    // The first operand alone is an image of a convolution (beside its weights) and of a padding (beside its value).
    let mut operands = node.operands;
    for operand in operands.iter_mut().take(if all { usize::MAX } else { 1 }) {
        *operand = to_last(b, turned, *operand)?;
    }
    let image = b.add_chosen(last, choice, &operands)?;
    let axes = first_axes(b.ty(image).rank());
    let result = b.transpose(image, &axes)?;
    turned.insert(result, image);
    Ok(Some(vec![result]))
}

/// An operator whose operands and result are all images, with the channels last.
fn with_channels_last(op: Op, rank: usize) -> Option<Op> {
    let order = last_axes(rank);
    Some(match op {
        Op::Elementwise(_) => op,
        // The order of a window's elements must stay what it is.
        Op::ReduceWindow(window) if window.window[1] == 1 => window_last(&window).into(),
        Op::WindowSelect(select) if select.window.window[1] == 1 => {
            WindowSelect { window: window_last(&select.window), form: select.form }.into()
        }
        Op::Slice(slice) => {
            Slice { start: moved(&slice.start), limit: moved(&slice.limit), stride: moved(&slice.stride) }
                .into()
        }
        Op::Reverse(reverse) => {
            let mut axes: Vec<usize> = reverse.axes.iter().map(|&axis| place(&order, axis)).collect();
            axes.sort_unstable();
            Reverse { axes }.into()
        }
        Op::Concat(concat) => Concat { axis: place(&order, concat.axis) }.into(),
        _ => return None,
    })
}

fn window_last(window: &ReduceWindow) -> ReduceWindow {
    ReduceWindow {
        combine: window.combine,
        window: moved(&window.window),
        stride: moved(&window.stride),
        padding: moved(&window.padding),
        window_dilation: moved(&window.window_dilation),
        base_dilation: moved(&window.base_dilation),
    }
}

/// The reduction of an image along axes that are counted with the channels first; what is left of the axes is put in
/// the order with the channels first.
fn reduce(b: &mut Builder, combine: Combine, axes: &[usize], image: Value) -> Result<Value, GraphError> {
    let order = last_axes(b.ty(image).rank());
    let mut now: Vec<usize> = axes.iter().map(|&axis| place(&order, axis)).collect();
    now.sort_unstable();
    let result = b.reduce(combine, image, &now)?;
    let left: Vec<usize> = order.into_iter().filter(|axis| !axes.contains(axis)).collect();
    let mut sorted = left.clone();
    sorted.sort_unstable();
    let back: Vec<usize> = sorted.into_iter().map(|axis| place(&left, axis)).collect();
    if back.is_sorted() { Ok(result) } else { b.transpose(result, &back) }
}
