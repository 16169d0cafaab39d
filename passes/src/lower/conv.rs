//! `conv` and its gradient with respect to the input, as loops around tiles.
//!
//! Images are read and written with their channels last: output channels are the tile's columns, output positions
//! along one axis its rows, and the chain of a sum runs over (block of 16 input channels, kernel position, channel in
//! the block). Taps outside the image are left out of the chain: every axis is cut into segments without bounds
//! ([`windows`](super::windows)), so nothing is padded, but for kernels so large that segments would be too much code; where
//! most of the work lies in short segments, images are taken together ([`borders`](super::borders)). The gradient with
//! respect to the input is the same with the kernel turned round, stride and dilation of the input having changed places.
//!
//! A grid point computes the product for a box of positions and a block of output channels: it goes through the
//! blocks of input channels, each with its panel of weights in the first-level cache, and ends with what is fused
//! behind the convolution, while the box is still there. Weights are packed into panels once for each call, or in
//! `prepare` where they are fixed.

use brolga_ir::index::Index;
use brolga_ir::ops::{Conv, ConvForm};
use brolga_ir::program::{Access, Panel, Tile, TileLoop};
use brolga_ir::{DType, GraphError, NodeId, Type};

use super::borders::together;
use super::channels_first;
use super::compose::Composer;
use super::conv_weights::WRITTEN_OUT;
use super::depthwise::is_short;
use super::epilogue::{Epilogue, Span, store_sums};
use super::image::Image;
use super::kernel::KernelBuilder;
use super::packing::Weights;
use super::windows::{Chunks, Group, Segment, Window};
use super::{Location, Lowering, StridedAccess};
use crate::schedule::{Algorithm, Outer, Schedule};

/// Input channels in a block of a convolution's sum (the numeric plan).
pub(super) const CHANNELS: usize = 16;
/// The same where the kernel has one position, so that blocks do not change the order of the sum: a panel of
/// 16 KiB, half of the first-level cache.
pub(super) const DEPTH: usize = 256;
/// Output positions, about, that a grid point computes: they share a panel of weights.
pub(super) const ROWS: usize = 112;
/// Positions that a panel of weights has to meet, at least, for grid points to be cut further.
const FEWEST_ROWS: usize = 24;
/// Multiply-adds that each of them keeps then.
const LEAST_WORK: usize = 1 << 17;
/// Weights for each activation up to which threads share a product by its rows.
const MOST_WEIGHTS: usize = 4;
/// Grid points that are shared evenly enough, whatever their number and that of threads.
const MANY: usize = 16;

/// Columns of a panel that has one row to meet.
const WIDE: usize = 48;
/// Columns of a panel that several rows meet: two of the widest vectors, so that an element of the image is loaded once for
/// both, and few rows are enough to hide the latency of multiply-adds. And positions of a kernel up to which such a panel
/// finds room in the first-level cache.
pub(super) const PAIR: usize = 32;
const MOST_TAPS: usize = 9;

/// Combinations of segments that are written out, at most: kernels of 16 x 16 with all of their borders have 961.
const MOST_PIECES: usize = 1024;
/// Segments of an axis that is tested.
const TESTED_PIECES: usize = 5;

/// A run of equal blocks along an axis: first element, extent of a block, number of blocks.
pub(super) type Cut = (usize, usize, usize);

/// Output channels in blocks: of so many if that is chosen, else of 16, or 24 if nothing is left over then: panels of one
/// vector take a third more time.
pub(super) fn column_blocks(outputs: usize, chosen: Option<usize>) -> Vec<Cut> {
    if let Some(width) = chosen {
        return blocks_of(outputs, width);
    }
    let even = [16, 24].into_iter().find(|&width| outputs.is_multiple_of(width));
    match even {
        Some(width) => vec![(0, width, outputs / width)],
        None if outputs <= 24 => vec![(0, outputs, 1)],
        None => blocks_of(outputs, 16),
    }
}

/// Whether windows have one position each, all inside, and leave others out.
fn skips(windows: &[Window]) -> bool {
    let inside = |w: &Window| w.output.saturating_sub(1).saturating_mul(w.stride as usize) < w.input;
    let single = |w: &Window| w.kernel == 1 && w.low == 0 && w.spread == 1 && inside(w);
    windows.iter().all(single) && windows.iter().any(|w| w.stride > 1)
}

/// Whole blocks and a rest.
pub(super) fn blocks_of(extent: usize, block: usize) -> Vec<Cut> {
    let rest = extent % block;
    let cuts = [(0, block, extent / block), (extent - rest, rest, 1)];
    cuts.into_iter().filter(|&(_, extent, count)| extent * count > 0).collect()
}

/// Input channels in blocks; `area`: kernel positions. Only where there is one may the blocks be others.
pub(super) fn channel_blocks(channels: usize, area: usize, schedule: &Schedule) -> Vec<Cut> {
    blocks_of(channels, if area == 1 { schedule.depth(DEPTH) } else { CHANNELS })
}

/// Blocks of terms in runs of equal ones. The last step, which ends the sums, stands alone, and so does the first one, if
/// it starts them.
pub(super) fn steps(cuts: Vec<Cut>, starts: bool) -> Vec<Cut> {
    let mut runs: Vec<Cut> = Vec::new();
    for (start, inner, count) in cuts {
        let first = usize::from(runs.is_empty() && starts && count > 1);
        runs.extend([(start, inner, first), (start + first * inner, inner, count - first)]);
    }
    runs.retain(|run| run.2 > 0);
    if let Some(&(start, inner, count)) = runs.last().filter(|run| run.2 > 1) {
        runs.pop();
        runs.extend([(start, inner, count - 1), (start + (count - 1) * inner, inner, 1)]);
    }
    runs
}

/// One axis of positions: how it is windowed, and its strides in the source and in the result.
#[derive(Clone)]
pub(super) struct Positions {
    pub window: Window,
    pub source: i64,
    pub target: i64,
    /// Extents of the result's axes that are counted as this one.
    pub dims: Vec<usize>,
}

/// What a convolution's kernels have in common.
struct Correlation<'a> {
    name: &'static str,
    dtype: DType,
    /// What panels of weights hold.
    stored: DType,
    groups: usize,
    /// Of one group.
    channels: usize,
    outputs: usize,
    axes: Vec<Positions>,
    /// Kernel positions of every axis.
    taps: Vec<usize>,
    source: &'a Image,
    packed: Location,
    result: Type,
    schedule: Schedule,
}

impl Correlation<'_> {
    /// The rows of a box whose sums are better kept apart until they are final: they are added to several times, and would
    /// lie in few sets of the first-level cache, where they drive each other out.
    fn sums_apart(&self, chunks: &[Chunks]) -> Option<usize> {
        let [axis] = self.axes.as_slice() else { return None };
        let steps: usize = channel_blocks(self.channels, 1, &self.schedule).iter().map(|cut| cut.2).sum();
        let few_sets = axis.target % 1024 == 0;
        (axis.window.is_identity() && steps > 1 && few_sets).then_some(chunks[0].length)
    }
}

impl Lowering<'_> {
    pub(super) fn conv(&mut self, id: NodeId, conv: &Conv) -> Result<(), GraphError> {
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
        if conv.channels_last || matches!(conv.form, ConvForm::WeightGradient { .. }) {
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
        let extents = conv.extents(&result);
        let last = Conv { channels_last: true, ..conv.clone() };
        let dims = last.dims(result.dims[0], result.dims[1], extents);
        let turned = result.with_dims(dims);
        let name = self.name_of(graph.result(id));
        let aside = self.arena(&name, turned.clone());
        self.convolve(conv, types, operands, (aside, &turned), None, id);
        let mut k = KernelBuilder::new("channels_first");
        let from = k.param(result.dtype, turned.elements(), Access::Read);
        let to = k.param(result.dtype, result.elements(), Access::Write);
        let strides = turned.strides();
        let mut order = strides.to_vec();
        let channel = order.pop().expect("a channel axis");
        order.insert(1, channel);
        let (mut read, mut write) = (Index::default(), Index::default());
        for ((&extent, stride), source) in result.dims.iter().zip(result.strides()).zip(order) {
            let var = Index::var(k.open_for(extent));
            read = read.add(&var.scale(source as i64));
            write = write.add(&var.scale(stride as i64));
        }
        let value = k.load(from, &read, None);
        k.store(to, write, value);
        result.dims.iter().for_each(|_| k.close());
        self.call(k.finish_kernel(), vec![aside, target], id);
        Ok(())
    }

    /// A convolution in any form between operands in memory; the result, and the layout of `result`, has its channels
    /// last.
    pub(super) fn convolve(
        &mut self,
        conv: &Conv,
        types: [&Type; 2],
        operands: [StridedAccess; 2],
        (target, result): (Location, &Type),
        epilogue: Option<Epilogue<'_>>,
        id: NodeId,
    ) {
        let last = Conv { channels_last: true, ..conv.clone() };
        let [first, second] = operands;
        let forward = |axis: usize, input: usize, kernel: usize, output: usize| {
            Window::forward(conv, axis, (input, kernel, output))
        };
        let spatial = 0..conv.spatial();
        let (name, sizes, windows, weights) = match &conv.form {
            ConvForm::Forward => {
                let (x, y, w) = (conv.extents(types[0]), last.extents(result), &types[1].dims);
                let windows: Vec<Window> = spatial.map(|a| forward(a, x[a], w[a + 2], y[a])).collect();
                let outputs = w[0] / conv.groups;
                ("conv", (w[1], outputs), windows, Weights::forward(second, outputs))
            }
            ConvForm::InputGradient { .. } => {
                // i · spread = p · stride + k · dilation - low, solved for p with the kernel turned round.
                let (x, y, w) = (last.extents(result), conv.extents(types[0]), &types[1].dims);
                let turned = |axis: usize| {
                    let f = forward(axis, x[axis], w[axis + 2], y[axis]);
                    let low = (f.kernel as i64 - 1) * f.dilation - f.low;
                    Window { stride: f.spread, spread: f.stride, low, input: f.output, output: f.input, ..f }
                };
                let windows: Vec<Window> = spatial.map(turned).collect();
                let kernel = &second.strides[2..];
                let end: i64 = kernel.iter().zip(&w[2..]).map(|(s, &e)| s * (e as i64 - 1)).sum();
                let weights = Weights {
                    output: second.strides[1],
                    input: second.strides[0],
                    kernel: kernel.iter().map(|s| -s).collect(),
                    group: (w[0] / conv.groups) as i64 * second.strides[0],
                    offset: second.offset + end,
                    access: second,
                };
                ("conv_input_gradient", (w[0] / conv.groups, w[1]), windows, weights)
            }
            ConvForm::WeightGradient { .. } => {
                let (x, y, w) = (conv.extents(types[0]), conv.extents(types[1]), &result.dims);
                let windows: Vec<Window> = spatial.map(|a| forward(a, x[a], w[a + 2], y[a])).collect();
                let images = [Image::new(first, conv), Image::new(second, conv)];
                let few = w[2..].iter().product::<usize>() <= WRITTEN_OUT;
                if conv.groups > 1 && w[1] == 1 && w[0] == conv.groups && few {
                    let [x, dy] = &images;
                    return self.depthwise_weight_gradient(
                        types[0].dims[0],
                        &windows,
                        [x, dy],
                        (target, result),
                        id,
                    );
                }
                if let (&[rows, columns], true) = (windows.as_slice(), conv.winograd != 0) {
                    let ([x, dy], to) = (&images, (target, result));
                    return self.winograd_gradient(
                        conv.winograd,
                        types[0].dims[0],
                        [rows, columns],
                        [x, dy],
                        to,
                        id,
                    );
                }
                return self.weight_gradient(
                    conv.groups,
                    types[0].dims[0],
                    &windows,
                    images,
                    (target, result),
                    id,
                );
            }
        };
        let source = Image::new(first, conv);
        let to = (target, result);
        match windows.as_slice() {
            &[rows, columns] if conv.winograd != 0 => {
                let windows = [rows, columns];
                self.winograd(name, conv.winograd, sizes, windows, &source, &weights, to, epilogue, id);
            }
            windows => {
                self.correlate(name, conv.groups, sizes, windows, source, weights, to, epilogue, id);
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    pub(super) fn correlate(
        &mut self,
        name: &'static str,
        groups: usize,
        (channels, outputs): (usize, usize),
        windows: &[Window],
        source: Image,
        weights: Weights,
        (target, result): (Location, &Type),
        epilogue: Option<Epilogue<'_>>,
        id: NodeId,
    ) {
        let taps: Vec<usize> = windows.iter().map(|w| w.kernel).collect();
        if groups > 1 && channels == 1 && outputs == 1 && is_short(windows) {
            self.choose(Algorithm::Depthwise, id);
            let packed = self.pack_depthwise(&weights, result.dtype, groups, &taps, id);
            return self.depthwise(name, windows, &source, packed, (target, result), epilogue, id);
        }
        self.choose(Algorithm::Direct, id);
        if outputs > 0 && result.elements() == groups * outputs {
            // One position: only columns are left to hide the latency of its multiply-adds.
            self.schedule.columns.get_or_insert(WIDE);
        } else if outputs.is_multiple_of(PAIR) && taps.iter().product::<usize>() <= MOST_TAPS {
            self.schedule.columns.get_or_insert(PAIR);
        }
        let packed = self.pack_weights(&weights, result.dtype, groups, (channels, outputs), &taps, id);
        let (mut source, mut windows) = (source, windows.to_vec());
        if skips(&windows) {
            // The positions that are read, side by side: all of them are the rows of one matrix then.
            let outputs = windows.iter().map(|window| window.output);
            let dims: Vec<usize> =
                [result.dims[0]].into_iter().chain(outputs).chain([groups * channels]).collect();
            let steps = windows.iter().map(|window| window.stride);
            source = self.copy_image("every_other", &source, steps, result.with_dims(dims), id);
            windows.iter_mut().for_each(|window| *window = Window::identity(window.output));
        }
        let image = (result.dims[0], groups * channels, result.dtype);
        source = self.few_pieces(source, &mut windows, image, id);
        let axes = positions(&windows, result, &source.positions);
        let plan = Correlation {
            name,
            dtype: result.dtype,
            stored: weights.access.dtype,
            groups,
            channels,
            outputs,
            axes: merged(axes),
            taps,
            source: &source,
            packed,
            result: result.clone(),
            schedule: self.schedule,
        };
        let mut start = 0;
        for cut in column_blocks(outputs, self.schedule.columns()) {
            self.correlate_columns(&plan, cut, start, target, epilogue, id);
            start += cut.1 * cut.2 * channels * plan.taps.iter().product::<usize>();
        }
    }

    /// Sees to it that axes have few combinations of segments: pads the image along those that have the most, or where zeros
    /// would be most of it, has their borders tested. Nothing in a chain changes, but zeros may be added.
    pub(super) fn few_pieces(
        &mut self,
        source: Image,
        windows: &mut [Window],
        image: (usize, usize, DType),
        id: NodeId,
    ) -> Image {
        let mut pieces: Vec<usize> = windows.iter().map(Window::pieces).collect();
        let (mut left, mut padded): (Vec<usize>, Vec<usize>) = ((0..windows.len()).collect(), Vec::new());
        let product = |pieces: &[usize]| pieces.iter().copied().fold(1, usize::saturating_mul);
        // Progress: an axis less is left.
        while product(&pieces) > MOST_PIECES
            && let Some(at) = (0..left.len()).max_by_key(|&at| pieces[left[at]])
        {
            let axis = left.swap_remove(at);
            if windows[axis].takes_padding() {
                pieces[axis] = 1;
                padded.push(axis);
            } else {
                pieces[axis] = TESTED_PIECES;
                windows[axis].tested = true;
            }
        }
        if padded.is_empty() { source } else { self.pad_image(&source, windows, &padded, image, id) }
    }

    /// The kernel for a run of blocks of output channels, whose panels begin at `start`.
    fn correlate_columns(
        &mut self,
        plan: &Correlation<'_>,
        (first, width, count): Cut,
        start: usize,
        target: Location,
        epilogue: Option<Epilogue<'_>>,
        id: NodeId,
    ) {
        let axes = &plan.axes;
        let area: usize = plan.taps.iter().product();
        let chunks =
            plan.schedule.rows.is_none().then(|| together(axes, plan.channels, plan.outputs)).flatten();
        let weights = plan.outputs * plan.channels * area;
        let extents = |of: fn(&Window) -> usize| axes.iter().map(|axis| of(&axis.window)).product::<usize>();
        let (inputs, outputs) = (extents(|window| window.input), extents(|window| window.output));
        let by_rows = self.is_by_rows(inputs * plan.channels + outputs * plan.outputs, weights);
        let windows = axes.iter().map(|axis| &axis.window);
        let panels = (plan.groups * count, plan.channels * area * width);
        let chunks = chunks.unwrap_or_else(|| self.boxes(windows, by_rows, panels));
        let mut params = vec![plan.source.location, plan.packed, target];
        let graph = epilogue.map_or(self.graph, |epilogue| epilogue.body);
        let name = epilogue.map_or(plan.name, |epilogue| epilogue.name);
        let mut c = Composer::new(graph, name);
        c.k.param(plan.dtype, plan.source.len, Access::Read);
        c.k.param(plan.stored, plan.groups * weights, Access::Read);
        c.k.param(plan.dtype, plan.result.elements(), Access::ReadWrite);
        if let Some(epilogue) = epilogue {
            epilogue.parameters(&mut c, &mut params);
        }
        // Outermost what is read again less, the positions or the panels, unless threads are to have rows of their own.
        let count_of_boxes: usize = chunks.iter().map(|c| c.count).product();
        let positions: usize = axes.iter().map(|a| a.window.input.max(a.window.output)).product();
        let columns_first = match plan.schedule.outer {
            Some(outer) => outer == Outer::Columns,
            None => !by_rows && positions * plan.channels * count <= weights * count_of_boxes,
        };
        let mut group = Index::default();
        let mut column = Index::default();
        if columns_first {
            group = Index::var(c.k.open_grid(plan.groups));
            column = Index::var(c.k.open_grid(count));
        }
        let at: Vec<Index> = chunks.iter().map(|chunk| Index::var(c.k.open_grid(chunk.count))).collect();
        if !columns_first {
            group = Index::var(c.k.open_grid(plan.groups));
            column = Index::var(c.k.open_grid(count));
        }
        let source = group.scale(plan.channels as i64 * plan.source.channel).plus(plan.source.offset);
        let panel = group
            .scale(weights as i64)
            .add(&column.scale((width * plan.channels * area) as i64))
            .plus(start as i64);
        let channel = group.scale(plan.outputs as i64).add(&column.scale(width as i64)).plus(first as i64);
        let sums = plan.sums_apart(&chunks).map(|rows| c.k.local(plan.dtype, rows * width));
        let block = Block { plan, chunks: &chunks, at: &at, source, panel, channel, width, sums };
        for_each_kind(&mut c, &chunks, &at, &mut |c, groups| {
            block.emit(c, groups, epilogue);
        });
        (0..2 + at.len()).for_each(|_| c.k.close());
        self.call(c.k.finish_kernel(), params, id);
    }
}

/// The axes of positions of a result with its channels last, the batch and the windowed ones; `source`: how far apart
/// inputs lie.
pub(super) fn positions(windows: &[Window], result: &Type, source: &[i64]) -> Vec<Positions> {
    let all = std::iter::once(Window::identity(result.dims[0])).chain(windows.iter().copied());
    let strides = result.strides();
    let axis = |(axis, window): (usize, Window)| Positions {
        window,
        source: source[axis],
        target: strides[axis] as i64,
        dims: vec![result.dims[axis]],
    };
    all.enumerate().map(axis).collect()
}

/// Axes with neighbours that lie one after the other counted as one.
fn merged(axes: Vec<Positions>) -> Vec<Positions> {
    let mut result: Vec<Positions> = Vec::new();
    for mut axis in axes {
        let inner = axis.window.output as i64;
        match result.last_mut() {
            Some(last)
                if last.window.is_identity()
                    && axis.window.is_identity()
                    && last.source == axis.source * inner
                    && last.target == axis.target * inner =>
            {
                let window = Window::identity(last.window.output * axis.window.output);
                let mut dims = std::mem::take(&mut last.dims);
                dims.append(&mut axis.dims);
                *last = Positions { window, dims, ..axis };
            }
            _ => result.push(axis),
        }
    }
    result
}

/// Cuts axes so that a box has about `room` positions: inner axes whole, one axis in pieces, outer ones one by one.
pub(super) fn boxes<'w>(axes: impl DoubleEndedIterator<Item = &'w Window>, mut room: usize) -> Vec<Chunks> {
    let mut chunks: Vec<Chunks> = Vec::new();
    for window in axes.rev() {
        let output = window.output;
        let whole = output <= room + room / 2;
        chunks.push(window.chunks(if whole { output } else { room }));
        room = if whole { room / output.max(1) } else { 1 };
    }
    chunks.reverse();
    chunks
}

impl Lowering<'_> {
    /// Whether threads share a product by its rows. What a thread finds in its own cache is what it has computed itself;
    /// rows go from layer to layer, and what other threads have computed takes long to arrive. But each thread reads all
    /// weights then.
    pub(super) fn is_by_rows(&self, activations: usize, weights: usize) -> bool {
        self.is_shared() && weights <= MOST_WEIGHTS * activations
    }

    /// Boxes of so many positions as are chosen, or [`ROWS`], each for so many panels of so many weights. Where nothing is
    /// chosen they are smaller if threads could not share them evenly otherwise, or are to have rows of their own
    /// (`by_rows`).
    pub(super) fn boxes<'w>(
        &self,
        axes: impl DoubleEndedIterator<Item = &'w Window> + Clone,
        by_rows: bool,
        (panels, weights): (usize, usize),
    ) -> Vec<Chunks> {
        let mut chunks = boxes(axes.clone(), self.schedule.rows(ROWS));
        if self.schedule.rows.is_some() || !self.is_shared() {
            return chunks;
        }
        let mut room = ROWS;
        // Progress: lengths are rounded up to a period of the axis, so boxes may stay as they are where the room shrinks
        // (2 x 60 positions for a room of 60). So it is the room that a quarter is taken from, at least, in every round;
        // there are six, at most, until too little is left.
        while room >= FEWEST_ROWS {
            let positions = chunks.iter().map(|chunk| chunk.length).product::<usize>();
            room = positions.div_ceil(2).min(room - room / 4);
            let small = room < FEWEST_ROWS || room.saturating_mul(weights) < LEAST_WORK;
            let one = chunks.iter().all(|chunk| chunk.count == 1);
            if small || !(by_rows && one) && is_even(&chunks, axes.clone(), panels) {
                break;
            }
            chunks = boxes(axes.clone(), room);
        }
        chunks
    }
}

/// Whether threads have about equally much to do, if each point of a grid is a box of positions and one of so many others:
/// there are many, or two or four threads have the same number of equal ones.
pub(super) fn is_even<'w>(chunks: &[Chunks], axes: impl Iterator<Item = &'w Window>, others: usize) -> bool {
    let points = chunks.iter().map(|chunk| chunk.count).product::<usize>() * others;
    let equal = chunks.iter().zip(axes).all(|(chunk, axis)| chunk.count * chunk.length == axis.output);
    points >= MANY || points.is_multiple_of(4) && equal
}

/// Emits `body` for every combination of kinds of chunks, each under the condition that the chunks at `at` are of
/// that kind.
pub(super) fn for_each_kind<'g, 'c>(
    c: &mut Composer<'c>,
    chunks: &'g [Chunks],
    at: &[Index],
    body: &mut dyn FnMut(&mut Composer<'c>, &[&'g Group]),
) {
    fn choose<'g, 'c>(
        c: &mut Composer<'c>,
        chunks: &'g [Chunks],
        at: &[Index],
        chosen: &mut Vec<&'g Group>,
        body: &mut dyn FnMut(&mut Composer<'c>, &[&'g Group]),
    ) {
        let Some(axis) = chunks.get(chosen.len()) else { return body(c, chosen) };
        for group in &axis.groups {
            let inside = c.k.in_bounds(&at[chosen.len()].plus(-(group.first as i64)), group.count);
            inside.into_iter().for_each(|inside| c.k.open_if(inside));
            chosen.push(group);
            choose(c, chunks, at, chosen, body);
            chosen.pop();
            inside.into_iter().for_each(|_| c.k.close_if());
        }
    }
    choose(c, chunks, at, &mut Vec::new(), body);
}

/// The positions of a box, as the epilogue wants them.
pub(super) fn box_of<'p>(
    axes: &'p [Positions],
    chunks: &[Chunks],
    at: &[Index],
    groups: &[&Group],
) -> Vec<Span<'p>> {
    let first = |(at, chunk): (&Index, &Chunks)| at.scale(chunk.length as i64);
    let firsts = at.iter().zip(chunks).map(first);
    let span = |((first, group), axis): ((Index, &&Group), &'p Positions)| Span {
        first,
        count: group.extent,
        step: 1,
        dims: &axis.dims,
    };
    firsts.zip(groups).zip(axes).map(span).collect()
}

/// What a grid point computes: one chunk of every axis, and a block of output channels.
struct Block<'b, 'a> {
    plan: &'b Correlation<'a>,
    chunks: &'b [Chunks],
    /// Position of the chunk, for each axis.
    at: &'b [Index],
    /// Where the group's channels begin in the source, the panel in the weights, the columns in the result.
    source: Index,
    panel: Index,
    channel: Index,
    width: usize,
    /// The parameter that sums are kept in until they are final, if not in the result.
    sums: Option<usize>,
}

impl Block<'_, '_> {
    fn emit(&self, c: &mut Composer<'_>, groups: &[&Group], epilogue: Option<Epilogue<'_>>) {
        let plan = self.plan;
        let area: usize = plan.taps.iter().product();
        let cuts = channel_blocks(plan.channels, area, &plan.schedule);
        let bare = |s: &Segment| s.taps == 0 || s.tested;
        let bare = plan.channels == 0 || groups.iter().any(|g| g.segments.iter().any(bare));
        // The first position of the box in the result.
        let mut corner = self.channel.clone();
        for ((at, chunk), axis) in self.at.iter().zip(self.chunks).zip(&plan.axes) {
            corner = corner.add(&at.scale(chunk.length as i64 * axis.target));
        }
        if bare {
            let mut to = corner.clone();
            for (group, axis) in groups.iter().zip(&plan.axes) {
                to = to.add(&Index::var(c.k.open_for(group.extent)).scale(axis.target));
            }
            to = to.add(&Index::var(c.k.open_for(self.width)));
            let zero = c.k.zero_of(2);
            c.k.store(2, to, zero);
            (0..=groups.len()).for_each(|_| c.k.close());
        }
        // Each tile is followed by its part of the epilogue, if they cover the box.
        let epilogue_of_tiles = epilogue.filter(|_| !bare);
        let runs = steps(cuts, !bare);
        let last = runs.len().saturating_sub(1);
        for (number, &(channel, inner, count)) in runs.iter().enumerate() {
            let step = Index::var(c.k.open_for(count));
            let source = self
                .source
                .add(&step.scale(inner as i64 * plan.source.channel))
                .plus(channel as i64 * plan.source.channel);
            let panel = self
                .panel
                .add(&step.scale((inner * area * self.width) as i64))
                .plus((channel * area * self.width) as i64);
            let zero = number == 0 && !bare;
            let epilogue = epilogue_of_tiles.filter(|_| number == last);
            let ends = (zero, number == last, epilogue);
            self.segments(c, groups, &mut Vec::new(), (&source, &panel, &corner), inner, ends);
            c.k.close();
        }
        if let Some(epilogue) = epilogue {
            let whole = box_of(&plan.axes, self.chunks, self.at, groups);
            match bare {
                true => epilogue.emit(c, &whole, &self.channel, self.width, &[]),
                false => epilogue.emit_rest(c, &whole, &self.channel, self.width),
            }
        }
    }

    /// Tiles for every combination of segments.
    fn segments(
        &self,
        c: &mut Composer<'_>,
        groups: &[&Group],
        chosen: &mut Vec<Segment>,
        at: (&Index, &Index, &Index),
        inner: usize,
        (zero, last, epilogue): (bool, bool, Option<Epilogue<'_>>),
    ) {
        if let Some(group) = groups.get(chosen.len()) {
            for &segment in group.segments.iter().filter(|s| s.taps > 0) {
                chosen.push(segment);
                self.segments(c, groups, chosen, at, inner, (zero, last, epilogue));
                chosen.pop();
            }
            return;
        }
        let plan = self.plan;
        // Rows of the tile: the longest axis, the last of several.
        let plain = (0..chosen.len()).filter(|&axis| !chosen[axis].tested);
        let rows = plain.max_by_key(|&axis| (chosen[axis].count, axis)).expect("a batch axis");
        let (mut a, mut to) = (at.0.clone(), at.2.clone());
        let mut open = 0;
        // The positions of the tile, as the epilogue wants them.
        let mut box_of_tile = Vec::new();
        for (axis, s) in chosen.iter().enumerate() {
            let (positions, chunk) = (&plan.axes[axis], &self.chunks[axis]);
            if !s.tested {
                a = a.add(&self.at[axis].scale(chunk.source_step * positions.source));
                a = a.plus(s.source * positions.source);
            }
            to = to.plus(s.start * positions.target);
            let mut first = self.at[axis].scale(chunk.length as i64).plus(s.start);
            if axis != rows {
                let var = Index::var(c.k.open_for(s.count));
                first = first.add(&var.scale(s.step));
                a = a.add(&var.scale(s.source_step * positions.source));
                to = to.add(&var.scale(s.step * positions.target));
                open += 1;
            }
            let (count, step) = if axis == rows { (s.count, s.step) } else { (1, 1) };
            box_of_tile.push(Span { first, count, step, dims: &positions.dims });
        }
        let mut tap_stride = (inner * self.width) as i64;
        let mut taps: Vec<TapAxis<'_>> = Vec::new();
        for (axis, s) in chosen.iter().enumerate().rev() {
            let (positions, at) = (&plan.axes[axis], &box_of_tile[axis].first);
            let (window, source) = (&positions.window, positions.source);
            taps.push(TapAxis { window, segment: s, at, source, weights: tap_stride });
            tap_stride *= window.kernel as i64;
        }
        taps.reverse();
        let Taps { source, weights, mut reduce, open: tested } = open_taps(&mut c.k, &taps);
        let (a, b) = (a.add(&source), at.1.add(&weights));
        reduce.push(TileLoop { extent: inner, a: plan.source.channel, b: self.width as i64 });
        let (s, positions) = (&chosen[rows], &plan.axes[rows]);
        let row = s.step * positions.target;
        let sums = match self.sums {
            Some(param) => Panel { param, index: Index::default(), row: self.width as i64 },
            None => Panel { param: 2, index: to.clone(), row },
        };
        c.k.tile(Tile {
            dtype: plan.dtype,
            m: s.count,
            n: self.width,
            reduce,
            a: Panel { param: 0, index: a, row: s.source_step * positions.source },
            b: Panel { param: 1, index: b, row: 0 },
            c: sums,
            zero,
        });
        close_taps(&mut c.k, &tested);
        match epilogue {
            Some(epilogue) => {
                epilogue.emit_chain(c, &box_of_tile, &self.channel, self.width, self.sums.as_slice());
            }
            None if last => store_sums(&mut c.k, self.sums.as_slice(), (s.count, self.width), (&to, row)),
            None => {}
        }
        (0..open).for_each(|_| c.k.close());
    }
}

/// The taps of a segment along one axis: at output `at`; how far apart inputs and weights lie.
pub(super) struct TapAxis<'t> {
    pub window: &'t Window,
    pub segment: &'t Segment,
    pub at: &'t Index,
    pub source: i64,
    pub weights: i64,
}

/// Where the current tap lies, loops over those that are left to the tile, and which loops are open, with or without a
/// condition inside.
pub(super) struct Taps {
    pub source: Index,
    pub weights: Index,
    pub reduce: Vec<TileLoop>,
    pub open: Vec<bool>,
}

/// Taps in row-major order: loops up to the last axis that is tested, the others for the tile. Of an axis that is not tested
/// the inputs count from the first tap's.
pub(super) fn open_taps(k: &mut KernelBuilder, axes: &[TapAxis<'_>]) -> Taps {
    let explicit = axes.iter().rposition(|axis| axis.segment.tested).map_or(0, |last| last + 1);
    let mut taps =
        Taps { source: Index::default(), weights: Index::default(), reduce: Vec::new(), open: Vec::new() };
    for (number, axis) in axes.iter().enumerate() {
        let (s, source, weights) = (axis.segment, axis.source, axis.weights);
        let (source_step, step) = (s.source_tap * source, s.tap_step as i64 * weights);
        taps.weights = taps.weights.plus(s.tap as i64 * weights);
        if number >= explicit {
            let tile = TileLoop { extent: s.taps, a: source_step, b: step };
            taps.reduce.extend((s.taps > 1).then_some(tile));
            continue;
        }
        let tap = Index::var(k.open_for(s.taps));
        if !s.tested {
            taps.source = taps.source.add(&tap.scale(source_step));
            taps.weights = taps.weights.add(&tap.scale(step));
            taps.open.push(false);
            continue;
        }
        let tried = axis.window.tried(axis.at, &tap, &|atom| k.range(atom));
        let mut inside = None;
        for (index, extent) in &tried.bounds {
            let test = k.in_bounds(index, *extent);
            inside = k.and(inside, test);
        }
        inside.into_iter().for_each(|inside| k.open_if(inside));
        taps.source = taps.source.add(&tried.input.scale(source));
        taps.weights = taps.weights.add(&tried.tap.scale(weights));
        taps.open.push(inside.is_some());
    }
    taps
}

/// Closes what [`open_taps`] has opened.
pub(super) fn close_taps(k: &mut KernelBuilder, open: &[bool]) {
    for &condition in open.iter().rev() {
        if condition {
            k.close_if();
        }
        k.close();
    }
}
