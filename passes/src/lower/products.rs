//! `dot` and `conv` in all its forms, as contractions over memory.
//!
//! A convolution is a contraction whose right operand is read through a window: y's last axis is the tile's n axis,
//! output channels are m, and the chain of a sum runs over (block of 16 input channels, kernel position, channel in
//! the block). The gradient with respect to the input is the same contraction over dy with the kernel turned round,
//! stride and dilation of the input having changed places. x is read where it lies, unless it is padded, dilated or
//! strided along the last axis: then it is copied once, with its zeros, so that tiles need no bounds.
//!
//! The gradient with respect to the weights sums over images and positions: at most 8 parts of the images have
//! chains of their own over (image, position), and parts are added in ascending order (the numeric plan).

use brolga_ir::index::{Atom, Index};
use brolga_ir::ops::{Conv, ConvForm, Dot};
use brolga_ir::program::Access;
use brolga_ir::scalar::ScalarOp;
use brolga_ir::{DType, GraphError, NodeId, Type, Value};

use super::contraction::{Axis, Contraction};
use super::kernel::KernelBuilder;
use super::{Location, Lowering, StridedAccess};

/// Input channels in a block of a convolution's sum.
const CHANNELS: usize = 16;
/// Parts, at most, of the images that a weight gradient sums over.
const PARTS: usize = 8;

/// One side of a window: which element of x the position `q` of the padded, dilated image is.
#[derive(Clone, Copy)]
struct Window {
    stride: i64,
    kernel: usize,
    /// Between kernel positions.
    dilation: i64,
    /// Zeros before x (negative: elements left out).
    low: i64,
    /// Between neighbours of x.
    spread: i64,
    input: usize,
    output: usize,
}

impl Window {
    /// Positions of the padded image that any output sees.
    fn span(&self) -> usize {
        if self.output == 0 || self.kernel == 0 {
            return 0;
        }
        (self.output - 1) * self.stride as usize + (self.kernel - 1) * self.dilation as usize + 1
    }

    /// Whether x itself can stand for the padded image.
    fn is_plain(&self) -> bool {
        self.low == 0 && self.spread == 1 && self.span() <= self.input
    }
}

impl Lowering<'_> {
    pub(super) fn dot(&mut self, id: NodeId, dot: &Dot) -> Result<(), GraphError> {
        let graph = self.graph;
        let node = graph.node(id);
        let (left, right) = (node.operands[0], node.operands[1]);
        let dims = [graph.ty(left).dims.clone(), graph.ty(right).dims.clone()];
        let free = [dot.free(0, dims[0].len()), dot.free(1, dims[1].len())];
        let c_strides: Vec<i64> = node.types[0].strides().iter().map(|&s| s as i64).collect();
        let batches = dot.batch[0].len();
        let columns: usize = free[1].iter().map(|&axis| dims[1][axis]).product();
        let rows: usize = free[0].iter().map(|&axis| dims[0][axis]).product();
        // A product with a single column is computed as its transpose: rows become the contiguous axis.
        let swap = columns == 1 && rows > 1;
        let (m_side, n_side) = if swap { (1, 0) } else { (0, 1) };
        let operand = [left, right];
        let a = self.access(operand[m_side])?;
        let mut b = self.access(operand[n_side])?;
        let c_of = |side: usize, position: usize| {
            c_strides[batches + if side == 0 { position } else { free[0].len() + position }]
        };
        // n: the innermost axis of extent above 1 must be contiguous.
        let n_axes = &free[n_side];
        let last = n_axes.iter().rev().find(|&&axis| dims[n_side][axis] > 1);
        if last.is_some_and(|&axis| b.strides[axis] != 1) {
            let order: Vec<usize> =
                dot.batch[n_side].iter().chain(&dot.contract[n_side]).chain(n_axes).copied().collect();
            b = self.pack(&b, &dims[n_side], &order, graph.ty(right).dtype, id);
        }
        let extent = |side: usize, axis: usize| dims[side][axis];
        let pair = |axes: &[Vec<usize>; 2], i: usize| (axes[m_side][i], axes[n_side][i]);
        let contraction = Contraction {
            name: "dot",
            dtype: node.types[0].dtype,
            batch: (0..batches)
                .map(|i| {
                    let (x, y) = pair(&dot.batch, i);
                    Axis { extent: extent(m_side, x), a: a.strides[x], b: b.strides[y], c: c_strides[i] }
                })
                .collect(),
            m: free[m_side]
                .iter()
                .enumerate()
                .map(|(i, &x)| Axis { extent: extent(m_side, x), a: a.strides[x], b: 0, c: c_of(m_side, i) })
                .collect(),
            n: n_axes
                .iter()
                .enumerate()
                .map(|(i, &y)| Axis { extent: extent(n_side, y), a: 0, b: b.strides[y], c: c_of(n_side, i) })
                .collect(),
            k: (0..dot.contract[0].len())
                .map(|i| {
                    let (x, y) = pair(&dot.contract, i);
                    Axis { extent: extent(m_side, x), a: a.strides[x], b: b.strides[y], c: 0 }
                })
                .collect(),
            offset: [a.offset, b.offset, 0],
            len: [a.len, b.len, node.types[0].elements()],
            accumulate: false,
        };
        let target = self.target(graph.result(id));
        self.call(contraction.kernel(), vec![a.location, b.location, target], id);
        Ok(())
    }

    pub(super) fn conv(&mut self, id: NodeId, conv: &Conv) -> Result<(), GraphError> {
        let graph = self.graph;
        let node = graph.node(id);
        let types = [graph.ty(node.operands[0]), graph.ty(node.operands[1])];
        let [x, w, y] = conv.roles(&types, &node.types[0]).map(|ty| ty.dims.clone());
        let spatial = conv.spatial();
        let forward = |axis: usize| Window {
            stride: conv.stride[axis] as i64,
            kernel: w[axis + 2],
            dilation: conv.rhs_dilation[axis] as i64,
            low: conv.padding[axis].0 as i64,
            spread: conv.lhs_dilation[axis] as i64,
            input: x[axis + 2],
            output: y[axis + 2],
        };
        match conv.form {
            ConvForm::Forward => {
                let windows: Vec<Window> = (0..spatial).map(forward).collect();
                self.correlate(id, &node.operands, conv.groups, &windows, false)
            }
            ConvForm::InputGradient { .. } => {
                // i * spread = p * stride + k * dilation - low, solved for p with the kernel turned round.
                let turned = |axis: usize| {
                    let f = forward(axis);
                    let low = (f.kernel as i64 - 1) * f.dilation - f.low;
                    Window { stride: f.spread, spread: f.stride, low, input: f.output, output: f.input, ..f }
                };
                let windows: Vec<Window> = (0..spatial).map(turned).collect();
                self.correlate(id, &node.operands, conv.groups, &windows, true)
            }
            ConvForm::WeightGradient { .. } => {
                let windows: Vec<Window> = (0..spatial).map(forward).collect();
                self.weight_gradient(id, conv.groups, &windows, &w)
            }
        }
    }

    /// Correlates the first operand with the kernels of the second; `turned`: with the kernels turned round and
    /// their channel axes exchanged.
    fn correlate(
        &mut self,
        id: NodeId,
        operands: &[Value],
        groups: usize,
        windows: &[Window],
        turned: bool,
    ) -> Result<(), GraphError> {
        let graph = self.graph;
        let (source, weights) = (operands[0], operands[1]);
        let result = graph.node(id).types[0].clone();
        let (batch, channels) = (graph.ty(source).dims[0], graph.ty(source).dims[1] / groups);
        let outputs = result.dims[1] / groups;
        let w = self.access(weights)?;
        let image = self.image(source, windows, id)?;
        // Strides of the weights along (output channel, input channel, kernel axes), and of the group.
        let w_dims = &graph.ty(weights).dims;
        let (w_output, w_input) =
            if turned { (w.strides[1], w.strides[0]) } else { (w.strides[0], w.strides[1]) };
        let group_extent = (w_dims[0] / groups) as i64;
        let mut w_offset = w.offset;
        let mut kernel_axes = Vec::new();
        for (axis, window) in windows.iter().enumerate() {
            let stride = w.strides[axis + 2];
            if turned {
                w_offset += (window.kernel as i64 - 1) * stride;
            }
            let step = if turned { -stride } else { stride };
            kernel_axes.push(Axis { extent: window.kernel, a: step, b: image.kernel[axis], c: 0 });
        }
        let c_strides: Vec<i64> = result.strides().iter().map(|&s| s as i64).collect();
        let target = self.target(graph.result(id));
        let rest = channels % CHANNELS;
        let whole = channels - rest;
        let mut accumulate = false;
        // (first channel, blocks, channels of a block)
        let cuts = [(0, whole / CHANNELS, CHANNELS), (whole, 1, rest)];
        for (first, count, block) in
            cuts.into_iter().filter(|&(_, count, block)| count * block > 0 || channels == 0)
        {
            let mut k = vec![Axis {
                extent: count,
                a: w_input * block as i64,
                b: image.channel * block as i64,
                c: 0,
            }];
            k.extend(&kernel_axes);
            k.push(Axis { extent: block, a: w_input, b: image.channel, c: 0 });
            let contraction = Contraction {
                name: if turned { "conv_input_gradient" } else { "conv" },
                dtype: result.dtype,
                batch: vec![
                    Axis { extent: batch, a: 0, b: image.batch, c: c_strides[0] },
                    Axis {
                        extent: groups,
                        a: group_extent * w.strides[0],
                        b: image.channel * channels as i64,
                        c: c_strides[1] * outputs as i64,
                    },
                ],
                m: vec![Axis { extent: outputs, a: w_output, b: 0, c: c_strides[1] }],
                n: windows
                    .iter()
                    .enumerate()
                    .map(|(axis, window)| Axis {
                        extent: window.output,
                        a: 0,
                        b: image.position[axis],
                        c: c_strides[axis + 2],
                    })
                    .collect(),
                k,
                offset: [w_offset + first as i64 * w_input, image.offset + first as i64 * image.channel, 0],
                len: [w.len, image.len, result.elements()],
                accumulate,
            };
            self.call(contraction.kernel(), vec![w.location, image.location, target], id);
            accumulate = true;
            if channels == 0 {
                break;
            }
        }
        Ok(())
    }

    fn weight_gradient(
        &mut self,
        id: NodeId,
        groups: usize,
        windows: &[Window],
        w: &[usize],
    ) -> Result<(), GraphError> {
        let graph = self.graph;
        let (x, dy) = (graph.node(id).operands[0], graph.node(id).operands[1]);
        let dtype = graph.ty(x).dtype;
        let y_dims = graph.ty(dy).dims.clone();
        let (batch, channels, outputs) = (y_dims[0], w[1], w[0] / groups);
        let image = self.image(x, windows, id)?;
        // dy with its channels innermost: the contiguous axis of the tile.
        let y = self.access(dy)?;
        let order: Vec<usize> = [0].into_iter().chain(2..y_dims.len()).chain([1]).collect();
        let y = self.pack(&y, &y_dims, &order, dtype, id);
        let parts = (1..=PARTS).rev().find(|parts| batch.is_multiple_of(*parts)).unwrap_or(1);
        // Partial sums: [part, group, kernel axes…, channel, output channel].
        let kernel: Vec<usize> = w[2..].to_vec();
        let mut partial_dims = vec![parts, groups];
        partial_dims.extend(&kernel);
        partial_dims.extend([channels, outputs]);
        let partial_ty = Type::new(dtype, partial_dims.clone());
        let p_strides: Vec<i64> = partial_ty.strides().iter().map(|&s| s as i64).collect();
        let name = self.name_of(graph.result(id));
        let partial = self.arena(&name, partial_ty.clone());
        // The longer of channels and last kernel axis goes innermost among the rows.
        let mut m: Vec<Axis> = kernel
            .iter()
            .enumerate()
            .map(|(axis, &extent)| Axis { extent, a: image.kernel[axis], b: 0, c: p_strides[axis + 2] })
            .collect();
        let channel = Axis { extent: channels, a: image.channel, b: 0, c: p_strides[kernel.len() + 2] };
        let at = if m.last().is_some_and(|last| last.extent > channels) { m.len() - 1 } else { m.len() };
        m.insert(at, channel);
        let each = batch / parts;
        let mut k = vec![Axis { extent: each, a: image.batch, b: y.strides[0], c: 0 }];
        for (axis, window) in windows.iter().enumerate() {
            k.push(Axis { extent: window.output, a: image.position[axis], b: y.strides[axis + 2], c: 0 });
        }
        let contraction = Contraction {
            name: "conv_weight_gradient",
            dtype,
            batch: vec![
                Axis {
                    extent: parts,
                    a: image.batch * each as i64,
                    b: y.strides[0] * each as i64,
                    c: p_strides[0],
                },
                Axis {
                    extent: groups,
                    a: image.channel * channels as i64,
                    b: outputs as i64 * y.strides[1],
                    c: p_strides[1],
                },
            ],
            m,
            n: vec![Axis { extent: outputs, a: 0, b: y.strides[1], c: 1 }],
            k,
            offset: [image.offset, y.offset, 0],
            len: [image.len, y.len, partial_ty.elements()],
            accumulate: false,
        };
        self.call(contraction.kernel(), vec![image.location, y.location, partial], id);
        self.add_parts(id, partial, &partial_dims, w, groups)
    }

    /// dw[g outputs + o, c, k…] = Σ over parts, in ascending order, of partial[part, g, k…, c, o].
    fn add_parts(
        &mut self,
        id: NodeId,
        partial: Location,
        partial_dims: &[usize],
        w: &[usize],
        groups: usize,
    ) -> Result<(), GraphError> {
        let ty = self.graph.node(id).types[0].clone();
        let from = Type::new(ty.dtype, partial_dims.to_vec());
        let target = self.target(self.graph.result(id));
        let (p_strides, w_strides) = (from.strides(), ty.strides());
        let mut b = KernelBuilder::new("add_parts");
        let source = b.param(ty.dtype, from.elements(), Access::Read);
        let result = b.param(ty.dtype, ty.elements(), Access::Write);
        let outputs = w[0] / groups;
        // Loops in the order of dw: group, output channel, channel, kernel axes.
        let rank = partial_dims.len();
        let mut steps: Vec<(usize, usize, usize)> = vec![
            (groups, p_strides[1], w_strides[0] * outputs),
            (outputs, p_strides[rank - 1], w_strides[0]),
            (w[1], p_strides[rank - 2], w_strides[1]),
        ];
        for axis in 2..w.len() {
            steps.push((w[axis], p_strides[axis], w_strides[axis]));
        }
        let (mut read, mut written) = (Index::default(), Index::default());
        for &(extent, p, d) in &steps {
            let var = Index::var(b.open_for(extent));
            read = read.add(&var.scale(p as i64));
            written = written.add(&var.scale(d as i64));
        }
        let mut sum = b.load(source, &read, None);
        for part in 1..partial_dims[0] {
            let next = b.load(source, &read.plus((part * p_strides[0]) as i64), None);
            sum = b.op(ScalarOp::Add, &[sum, next]);
        }
        b.store(result, written, sum);
        steps.iter().for_each(|_| b.close());
        self.call(b.finish_kernel(), vec![partial, target], id);
        Ok(())
    }

    /// Copies a tensor into row-major memory with its axes in another order; strides are still by the old axes.
    fn pack(
        &mut self,
        access: &StridedAccess,
        dims: &[usize],
        order: &[usize],
        dtype: DType,
        id: NodeId,
    ) -> StridedAccess {
        let packed = Type::new(dtype, order.iter().map(|&axis| dims[axis]).collect::<Vec<_>>());
        let location = self.arena("packed", packed.clone());
        let mut k = KernelBuilder::new("pack");
        let source = k.param(dtype, access.len, Access::Read);
        let target = k.param(dtype, packed.elements(), Access::Write);
        let mut strides = vec![0; dims.len()];
        let (mut from, mut to) = (Index::constant(access.offset), Index::default());
        for (&axis, stride) in order.iter().zip(packed.strides()) {
            let var = Index::var(k.open_for(dims[axis]));
            from = from.add(&var.scale(access.strides[axis]));
            to = to.add(&var.scale(stride as i64));
            strides[axis] = stride as i64;
        }
        let value = k.load(source, &from, None);
        k.store(target, to, value);
        order.iter().for_each(|_| k.close());
        self.call(k.finish_kernel(), vec![access.location, location], id);
        StridedAccess { location, len: packed.elements(), offset: 0, strides }
    }

    /// The image that windows slide over: x itself, or a copy with its zeros.
    fn image(&mut self, x: Value, windows: &[Window], id: NodeId) -> Result<Image, GraphError> {
        let dtype = self.graph.ty(x).dtype;
        let dims = self.graph.ty(x).dims.clone();
        let access = self.access(x)?;
        let last = windows.last().expect("a spatial axis");
        let contiguous = last.stride == 1 && (access.strides[dims.len() - 1] == 1 || last.output == 1);
        if windows.iter().all(Window::is_plain) && contiguous {
            let along = |f: fn(&Window) -> i64| {
                windows.iter().zip(&access.strides[2..]).map(|(w, s)| f(w) * s).collect::<Vec<i64>>()
            };
            return Ok(Image {
                location: access.location,
                len: access.len,
                offset: access.offset,
                batch: access.strides[0],
                channel: access.strides[1],
                position: along(|w| w.stride),
                kernel: along(|w| w.dilation),
            });
        }
        // [image, (last kernel axis,) channel, spatial…, last]: with a stride along the last axis, a copy for each
        // kernel position, so that outputs lie side by side.
        let split = last.stride != 1;
        let mut copy_dims = vec![dims[0], if split { last.kernel } else { 1 }, dims[1]];
        copy_dims.extend(windows.iter().map(Window::span));
        if split {
            *copy_dims.last_mut().expect("a spatial axis") = last.output;
        }
        let copied = Type::new(dtype, copy_dims.clone());
        let location = self.arena("image", copied.clone());
        let strides: Vec<i64> = copied.strides().iter().map(|&s| s as i64).collect();
        let mut k = KernelBuilder::new("image");
        let source = k.param(dtype, access.len, Access::Read);
        let target = k.param(dtype, copied.elements(), Access::Write);
        let mut from = Index::constant(access.offset);
        let mut to = Index::default();
        let mut shift = Index::default();
        for (position, stride) in [(0, access.strides[0]), (1, 0), (2, access.strides[1])] {
            let var = Index::var(k.open_for(copy_dims[position]));
            from = from.add(&var.scale(stride));
            to = to.add(&var.scale(strides[position]));
            if position == 1 {
                shift = var.scale(last.dilation);
            }
        }
        let mut fill =
            Fill { windows, access: &access, strides: &strides[3..], extents: &copy_dims[3..], shift, split };
        fill.axis(&mut k, (source, target), 0, from, to, None);
        (0..3).for_each(|_| k.close());
        self.call(k.finish_kernel(), vec![access.location, location], id);
        let count = windows.len();
        let along = |f: fn(&Window) -> i64, split_value: i64| {
            let mut all: Vec<i64> = windows.iter().zip(&strides[3..]).map(|(w, s)| f(w) * s).collect();
            if split {
                all[count - 1] = split_value;
            }
            all
        };
        Ok(Image {
            location,
            len: copied.elements(),
            offset: 0,
            batch: strides[0],
            channel: strides[2],
            position: along(|w| w.stride, 1),
            kernel: along(|w| w.dilation, strides[1]),
        })
    }
}

/// How windows find their elements.
struct Image {
    location: Location,
    len: usize,
    offset: i64,
    batch: i64,
    channel: i64,
    /// Stride from one output position to the next, for each spatial axis.
    position: Vec<i64>,
    /// Stride from one kernel position to the next.
    kernel: Vec<i64>,
}

/// Copies one channel of an image with the zeros around and between its elements.
struct Fill<'a> {
    windows: &'a [Window],
    access: &'a StridedAccess,
    /// Strides and extents of the copy's spatial axes.
    strides: &'a [i64],
    extents: &'a [usize],
    /// Added to the position along the last axis.
    shift: Index,
    split: bool,
}

impl Fill<'_> {
    fn axis(
        &mut self,
        k: &mut KernelBuilder,
        params: (usize, usize),
        axis: usize,
        from: Index,
        to: Index,
        guard: Option<brolga_ir::program::ValueId>,
    ) {
        let Some(window) = self.windows.get(axis).copied() else {
            let value = k.load(params.0, &from, guard);
            let value = match guard {
                Some(guard) => {
                    let zero = k.zero_of(params.1);
                    k.op(ScalarOp::Select, &[guard, value, zero])
                }
                None => value,
            };
            return k.store(params.1, to, value);
        };
        let (x_stride, stride, extent) =
            (self.access.strides[axis + 2], self.strides[axis], self.extents[axis]);
        let strided = self.split && axis + 1 == self.windows.len();
        if !strided && window.spread == 1 {
            // Three runs: zeros, the elements, zeros.
            let low = window.low.clamp(0, extent as i64);
            let high = (window.low + window.input as i64).clamp(low, extent as i64);
            self.zeros(k, params.1, axis, low as usize, to.clone());
            let var = Index::var(k.open_for((high - low) as usize));
            let source = from.add(&var.plus(low - window.low).scale(x_stride));
            self.axis(k, params, axis + 1, source, to.add(&var.plus(low).scale(stride)), guard);
            k.close();
            self.zeros(k, params.1, axis, extent - high as usize, to.plus(high * stride));
            return;
        }
        // Element by element: the position in the padded image, and whether an element of x is there.
        let var = Index::var(k.open_for(extent));
        let mut q = var.clone();
        if strided {
            q = q.scale(window.stride).add(&self.shift);
        }
        let (element, between) = {
            let range = |atom: &Atom| k.range(atom);
            let at = q.plus(-window.low);
            (at.div(window.spread, &range), at.rem(window.spread, &range))
        };
        let inside = k.in_bounds(&element, window.input);
        let hit = k.in_bounds(&between, 1);
        let here = k.and(inside, hit);
        let guard = k.and(guard, here);
        let source = from.add(&element.scale(x_stride));
        self.axis(k, params, axis + 1, source, to.add(&var.scale(stride)), guard);
        k.close();
    }

    /// Zeros over `count` positions of an axis and everything inside of it.
    fn zeros(&self, k: &mut KernelBuilder, target: usize, axis: usize, count: usize, to: Index) {
        let mut to = to;
        let inner = self.extents[axis + 1..].iter().zip(&self.strides[axis + 1..]);
        let loops: Vec<(usize, i64)> =
            [(count, self.strides[axis])].into_iter().chain(inner.map(|(&e, &s)| (e, s))).collect();
        for &(extent, stride) in &loops {
            let var = Index::var(k.open_for(extent));
            to = to.add(&var.scale(stride));
        }
        let zero = k.zero_of(target);
        k.store(target, to, zero);
        loops.iter().for_each(|_| k.close());
    }
}
