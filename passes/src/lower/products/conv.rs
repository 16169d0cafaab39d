//! `conv` in its three forms: which kernels compute it, and what they see of it.
//!
//! The gradient with respect to the input is a convolution too, with the kernel turned round, stride and dilation of the
//! input having changed places; so both are one [correlation](super::correlate), or Winograd's algorithm. The gradient with
//! respect to the weights has [kernels of its own](super::conv_weights).

use brolga_ir::choice::{Choice, Layout};
use brolga_ir::index::Index;
use brolga_ir::ops::{Conv, ConvForm};
use brolga_ir::program::Access;
use brolga_ir::{GraphError, NodeId, Type};

use super::channels_first;
use super::epilogue::Epilogue;
use super::image::Image;
use super::packing::Weights;
use super::windows::Window;
use crate::lower::blocking::code;
use crate::lower::kernel::KernelBuilder;
use crate::lower::{Location, Lowering, StridedAccess};

impl Lowering<'_> {
    pub(in crate::lower) fn conv(&mut self, id: NodeId, conv: &Conv) -> Result<(), GraphError> {
        let graph = self.graph;
        let node = graph.node(id);
        let types = [graph.ty(node.operands[0]), graph.ty(node.operands[1])];
        let second = match conv.form {
            ConvForm::WeightGradient { .. } => self.access(node.operands[1])?,
            _ => self.access_weights(node.operands[1])?,
        };
        let operands = [self.access(node.operands[0])?, second];
        let result = node.types[0].clone();
        let target = self.target(graph.result(id));
        let last = graph.choice(id).layout == Layout::ChannelsLast;
        if last || matches!(conv.form, ConvForm::WeightGradient { .. }) {
            self.convolve(conv, types, operands, (target, &result), None, id);
            return Ok(());
        }
        if channels_first::applies(conv, types[0], types[1]) && operands[1].dtype == result.dtype {
            let [x, w] = operands;
            let x = self.contiguous(x, node.operands[0])?;
            self.channels_first(conv, types, [x, w], (target, &result), None, id);
            return Ok(());
        }
        // Computed with the channels last, then copied.
        let [batch, channels] = [result.dims[0], result.dims[1]];
        let turned = result.with_dims(Layout::ChannelsLast.dims(batch, channels, &result.dims[2..]));
        let name = self.name_of(graph.result(id));
        let aside = self.arena(&name, turned.clone());
        self.convolve(conv, types, operands, (aside, &turned), None, id);
        self.copy_channels_first((aside, &turned), (target, &result), id);
        Ok(())
    }

    /// Copies an image with its channels last to one with its channels first.
    fn copy_channels_first(
        &mut self,
        (source, last): (Location, &Type),
        (target, first): (Location, &Type),
        id: NodeId,
    ) {
        let mut k = KernelBuilder::new("channels_first");
        let from = k.param(first.dtype, last.elements(), Access::Read);
        let to = k.param(first.dtype, first.elements(), Access::Write);
        let mut strides = last.strides().to_vec();
        let channel = strides.pop().expect("a channel axis");
        strides.insert(1, channel);
        let (mut read, mut write) = (Index::default(), Index::default());
        for ((&extent, step), source_step) in first.dims.iter().zip(first.strides()).zip(strides) {
            let var = Index::var(k.open_for(extent));
            read = read.add(&var.scale(source_step as i64));
            write = write.add(&var.scale(step as i64));
        }
        let value = k.load(from, &read, None);
        k.store(to, write, value);
        first.dims.iter().for_each(|_| k.close());
        self.call(k.finish_kernel(), vec![source, target], id);
    }

    /// A convolution in any form between operands in memory; the result, and the layout of its type, has its channels
    /// last.
    pub(super) fn convolve(
        &mut self,
        conv: &Conv,
        types: [&Type; 2],
        operands: [StridedAccess; 2],
        to: (Location, &Type),
        epilogue: Option<Epilogue<'_>>,
        id: NodeId,
    ) {
        if matches!(conv.form, ConvForm::WeightGradient { .. }) {
            return self.convolve_weights(conv, types, operands, to, id);
        }
        let [first, second] = operands;
        let choice = self.graph.choice(id);
        // Of the image that is read, and of the one that is written.
        let extents = [choice.layout.extents(types[0]), Layout::ChannelsLast.extents(to.1)];
        let Correlated { name, sizes, windows, weights } = match conv.form {
            ConvForm::Forward => Correlated::forward(conv, extents, &types[1].dims, second),
            _ => Correlated::input_gradient(conv, extents, &types[1].dims, second),
        };
        let source = Image::new(first, choice.layout);
        match (windows.as_slice(), choice.algorithm.winograd()) {
            (&[rows, columns], Some(tile)) => {
                let windows = [rows, columns];
                self.winograd(name, tile, sizes, windows, &source, &weights, to, epilogue, id);
            }
            (windows, _) => {
                self.correlate(name, conv.groups, sizes, windows, source, weights, to, epilogue, id);
            }
        }
    }

    /// The gradient of a convolution with respect to its weights, between x and the gradient of y in memory.
    fn convolve_weights(
        &mut self,
        conv: &Conv,
        types: [&Type; 2],
        [x, dy]: [StridedAccess; 2],
        to: (Location, &Type),
        id: NodeId,
    ) {
        let (kernel, batch) = (&to.1.dims, types[0].dims[0]);
        let Choice { layout, algorithm } = self.graph.choice(id);
        let windows = windows(conv, layout.extents(types[0]), &kernel[2..], layout.extents(types[1]));
        let images = [Image::new(x, layout), Image::new(dy, layout)];
        let few = kernel[2..].iter().product::<usize>() <= code::KERNEL;
        if conv.groups > 1 && kernel[1] == 1 && kernel[0] == conv.groups && few {
            return self.depthwise_weight_gradient(batch, &windows, images.each_ref(), to, id);
        }
        if let (&[rows, columns], Some(tile)) = (windows.as_slice(), algorithm.winograd()) {
            let windows = [rows, columns];
            return self.winograd_gradient(tile, batch, windows, images.each_ref(), to, id);
        }
        self.weight_gradient(conv.groups, batch, &windows, images, to, id);
    }
}

/// A convolution, or its gradient with respect to the input, as a correlation of an image with weights.
struct Correlated {
    /// The name of its kernels.
    name: &'static str,
    /// Channels that are read and that are written, of one group.
    sizes: (usize, usize),
    windows: Vec<Window>,
    weights: Weights,
}

impl Correlated {
    /// By the extents of x and y, those of w, and w in memory.
    fn forward(conv: &Conv, [x, y]: [&[usize]; 2], w: &[usize], weights: StridedAccess) -> Correlated {
        let outputs = w[0] / conv.groups;
        Correlated {
            name: "conv",
            sizes: (w[1], outputs),
            windows: windows(conv, x, &w[2..], y),
            weights: Weights::forward(weights, outputs),
        }
    }

    /// i · spread = p · stride + k · dilation - low, solved for p with the kernel turned round.
    /// By the extents of y and x, those of w, and w in memory.
    fn input_gradient(conv: &Conv, [y, x]: [&[usize]; 2], w: &[usize], weights: StridedAccess) -> Correlated {
        let outputs = w[0] / conv.groups;
        let turned = |f: Window| {
            let low = (f.kernel as i64 - 1) * f.dilation - f.low;
            Window { stride: f.spread, spread: f.stride, low, input: f.output, output: f.input, ..f }
        };
        let windows = windows(conv, x, &w[2..], y);
        let kernel = &weights.strides[2..];
        let end: i64 = kernel.iter().zip(&w[2..]).map(|(s, &e)| s * (e as i64 - 1)).sum();
        Correlated {
            name: "conv_input_gradient",
            sizes: (outputs, w[1]),
            windows: windows.into_iter().map(turned).collect(),
            weights: Weights {
                output: weights.strides[1],
                input: weights.strides[0],
                kernel: kernel.iter().map(|s| -s).collect(),
                group: outputs as i64 * weights.strides[0],
                offset: weights.offset + end,
                access: weights,
            },
        }
    }
}

/// How the outputs of a convolution see its input along every spatial axis; by the extents of x, of the kernel and of y.
fn windows(conv: &Conv, x: &[usize], kernel: &[usize], y: &[usize]) -> Vec<Window> {
    (0..conv.spatial()).map(|axis| Window::forward(conv, axis, (x[axis], kernel[axis], y[axis]))).collect()
}
