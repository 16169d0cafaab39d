//! `conv` in its three forms: what is asked for, as a [`Product`].
//!
//! The gradient with respect to the input is a convolution too, with the kernel turned round, stride and dilation of the
//! input having changed places. The gradient with respect to the weights has methods of its own: it sums over positions.

use brolga_ir::choice::{Choice, Layout};
use brolga_ir::index::Index;
use brolga_ir::ops::{Conv, ConvForm};
use brolga_ir::program::Access;
use brolga_ir::{DType, GraphError, NodeId, Type};

use super::access::StridedAccess;
use super::epilogue::Epilogue;
use super::image::Image;
use super::method::{Filter, Method, Reading};
use super::packing::Weights;
use super::parts::Parts;
use super::product::Product;
use super::shape::Shape;
use crate::facts::products::has_lanes_last;
use crate::facts::windows::Window;
use crate::lower::kernel::KernelBuilder;
use crate::lower::{Location, Lowering};

/// A convolution, in any form, of operands in memory.
pub(in crate::lower) struct Convolution<'a> {
    pub conv: &'a Conv,
    /// What it reads: types, and how these lie.
    pub types: [&'a Type; 2],
    pub operands: [StridedAccess; 2],
    /// Where the result goes, and how it lies there.
    pub target: Location,
    pub result: &'a Type,
    /// What is fused behind it.
    pub epilogue: Option<Epilogue<'a>>,
    /// The node.
    pub origin: NodeId,
}

impl Lowering<'_> {
    pub(in crate::lower) fn conv(&mut self, id: NodeId, conv: &Conv) -> Result<(), GraphError> {
        let graph = self.graph;
        let node = graph.node(id);
        let types = [graph.ty(node.operands[0]), graph.ty(node.operands[1])];
        let weights = matches!(conv.form, ConvForm::WeightGradient { .. });
        // What may be copied of weights does not stand between the kernels of the image.
        let w = self.access(node.operands[1])?;
        let operands = [self.access(node.operands[0])?, w];
        let result = &node.types[0];
        let target = self.target(graph.result(id));
        let mut asked = Convolution { conv, types, operands, target, result, epilogue: None, origin: id };
        if weights {
            self.convolve_weights(asked);
            return Ok(());
        }
        if graph.choice(id).layout == Layout::ChannelsLast {
            self.convolve(asked);
            return Ok(());
        }
        if has_lanes_last(conv, types[1]) && graph.choice(id).weights.is_none() {
            let [x, w] = asked.operands;
            asked.operands = [self.contiguous(x, node.operands[0])?, w];
            self.convolve_channels_first(asked);
            return Ok(());
        }
        // Computed with the channels last, then copied.
        let [batch, channels] = [result.dims[0], result.dims[1]];
        let turned = result.with_dims(Layout::ChannelsLast.dims(batch, channels, &result.dims[2..]));
        let name = self.name_of(graph.result(id));
        let aside = self.arena(&name, turned.clone());
        self.convolve(Convolution { target: aside, result: &turned, ..asked });
        self.copy_channels_first((aside, &turned), (target, result), id);
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

    /// A convolution, or its gradient with respect to the input; the result, and the layout of its type, has its channels last.
    pub(super) fn convolve(&mut self, asked: Convolution<'_>) {
        let Convolution { conv, types, operands: [x, w], target, result, epilogue, origin } = asked;
        let Choice { layout, algorithm, .. } = self.graph.choice(origin);
        // Of the image that is read, and of the one that is written.
        let extents = [layout.extents(types[0]), Layout::ChannelsLast.extents(result)];
        let stored = self.stored(origin);
        let sides = match conv.form {
            ConvForm::Forward => Sides::forward(conv, extents, &types[1].dims, (w, stored)),
            _ => Sides::input_gradient(conv, extents, &types[1].dims, (w, stored)),
        };
        let Sides { name, channels, outputs, windows, weights } = sides;
        let (dtype, batch, groups) = (result.dtype, result.dims[0], conv.groups);
        let shape = Shape { dtype, batch, groups, channels, outputs, windows };
        let source = Image::new(x, layout);
        let method = match (shape.windows.as_slice(), algorithm.winograd()) {
            (&[rows, _], Some(m)) => Method::Winograd(Filter { m, k: rows.kernel }),
            _ if shape.is_depthwise() => Method::Depthwise,
            _ => Method::Direct(Reading::of(&shape, &source, result)),
        };
        let (tiling, result) = (self.tiling(&method, &shape, origin), result.clone());
        self.product(&Product {
            name,
            method,
            tiling,
            shape,
            source,
            weights,
            target,
            result,
            epilogue,
            origin,
        });
    }

    /// A convolution that [has lanes last](has_lanes_last), of an image that is contiguous along its last axis.
    pub(super) fn convolve_channels_first(&mut self, asked: Convolution<'_>) {
        let Convolution { conv, types, operands: [x, w], target, result, epilogue, origin } = asked;
        let (groups, outputs) = (conv.groups, result.dims[1] / conv.groups);
        let shape = Shape {
            dtype: result.dtype,
            batch: result.dims[0],
            groups,
            channels: types[1].dims[1],
            outputs,
            windows: windows(conv, &types[0].dims[2..], &types[1].dims[2..], &result.dims[2..]),
        };
        let method = Method::ChannelsFirst;
        let tiling = self.tiling(&method, &shape, origin);
        self.product(&Product {
            name: "conv",
            method,
            tiling,
            shape,
            source: Image::new(x, Layout::ChannelsFirst),
            weights: Weights::forward(w, outputs, result.dtype),
            target,
            result: result.clone(),
            epilogue,
            origin,
        });
    }

    /// The gradient of a convolution with respect to its weights, between x and the gradient of y.
    fn convolve_weights(&mut self, asked: Convolution<'_>) {
        let Convolution { conv, types, operands: [x, dy], target, result, origin, .. } = asked;
        let Choice { layout, algorithm, .. } = self.graph.choice(origin);
        let (dtype, groups, outputs) = (result.dtype, conv.groups, result.dims[0] / conv.groups);
        let shape = Shape {
            dtype,
            batch: types[0].dims[0],
            groups,
            channels: result.dims[1],
            outputs,
            windows: windows(conv, layout.extents(types[0]), &result.dims[2..], layout.extents(types[1])),
        };
        let (name, method) = match (shape.windows.as_slice(), algorithm.winograd()) {
            _ if shape.is_depthwise_gradient() => ("depthwise_weight_gradient", Method::DepthwiseWeights),
            (&[rows, _], Some(m)) => {
                ("conv_weight_gradient", Method::WinogradWeights(Filter { m, k: rows.kernel }))
            }
            _ => ("conv_weight_gradient", Method::Weights(Parts::of(&shape))),
        };
        let tiling = self.tiling(&method, &shape, origin);
        self.product(&Product {
            name,
            method,
            tiling,
            shape,
            source: Image::new(x, layout),
            weights: Weights::gradient(dy, layout, outputs, dtype),
            target,
            result: result.clone(),
            epilogue: None,
            origin,
        });
    }
}

/// What distinguishes a convolution from its gradient with respect to the input.
struct Sides {
    /// The name of its kernels.
    name: &'static str,
    /// Channels that are summed over, and that are computed, of one group.
    channels: usize,
    outputs: usize,
    windows: Vec<Window>,
    weights: Weights,
}

impl Sides {
    /// By the extents of x and y, those of w, and w in memory with what it is stored as.
    fn forward(
        conv: &Conv,
        [x, y]: [&[usize]; 2],
        w: &[usize],
        (weights, stored): (StridedAccess, DType),
    ) -> Sides {
        let outputs = w[0] / conv.groups;
        Sides {
            name: "conv",
            channels: w[1],
            outputs,
            windows: windows(conv, x, &w[2..], y),
            weights: Weights::forward(weights, outputs, stored),
        }
    }

    /// i · spread = p · stride + k · dilation - low, solved for p with the kernel turned round. By the extents of y and x, those of
    /// w, and w in memory with what it is stored as.
    fn input_gradient(
        conv: &Conv,
        [y, x]: [&[usize]; 2],
        w: &[usize],
        (weights, stored): (StridedAccess, DType),
    ) -> Sides {
        let outputs = w[0] / conv.groups;
        let turned = |f: Window| {
            let low = (f.kernel as i64 - 1) * f.dilation - f.low;
            Window { stride: f.spread, spread: f.stride, low, input: f.output, output: f.input, ..f }
        };
        let windows = windows(conv, x, &w[2..], y);
        let kernel = &weights.strides[2..];
        let end: i64 = kernel.iter().zip(&w[2..]).map(|(s, &e)| s * (e as i64 - 1)).sum();
        Sides {
            name: "conv_input_gradient",
            channels: outputs,
            outputs: w[1],
            windows: windows.into_iter().map(turned).collect(),
            weights: Weights {
                output: weights.strides[1],
                input: weights.strides[0],
                kernel: kernel.iter().map(|s| -s).collect(),
                group: outputs as i64 * weights.strides[0],
                offset: weights.offset + end,
                access: weights,
                stored,
            },
        }
    }
}

/// How the outputs of a convolution see its input along every spatial axis; by the extents of x, of the kernel and of y.
fn windows(conv: &Conv, x: &[usize], kernel: &[usize], y: &[usize]) -> Vec<Window> {
    (0..conv.spatial()).map(|axis| Window::forward(conv, axis, (x[axis], kernel[axis], y[axis]))).collect()
}
