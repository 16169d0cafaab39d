//! A pointwise convolution and the depthwise one that alone reads its result, in one kernel.
//!
//! The blocks of MobileNet first make an image of several times as many channels, by far the largest tensor of the block,
//! and then see it through small windows, channel by channel. Here it never goes to memory: a grid point computes a
//! band of its rows, for a block of channels and with what is fused behind it, into local memory, where the depthwise
//! convolution reads it. Neighbouring bands both compute the rows that both see; there are as few bands as the cache and
//! the threads allow. Every sum is the chain that it is in a kernel of its own. No schedule is asked for.

use brolga_ir::choice::{Choice, Layout};
use brolga_ir::index::Index;
use brolga_ir::ops::{ConvForm, Op};
use brolga_ir::program::{Access, Kernel, Panel, Tile, TileLoop};
use brolga_ir::{DType, Graph, GraphError, NodeId, Type, Value};

use super::blocks::{Cut, column_blocks};
use super::boxes::{for_each_kind, positions};
use super::depthwise::{Depthwise, is_short};
use super::epilogue::{Epilogue, Patch, Span};
use super::image::Image;
use super::packing::Weights;
use super::windows::{Chunks, Group, Window};
use crate::lower::blocking::direct::DEPTH;
use crate::lower::blocking::expansion::{BAND, MANY, PIECES, TWICE};
use crate::lower::regions::compose::Composer;
use crate::lower::{Location, Lowering};

/// The shapes of two convolutions that can be one kernel.
struct Pair {
    /// Bytes of an element.
    size: usize,
    batch: usize,
    /// Channels of the image that is read, and of both results.
    inputs: usize,
    channels: usize,
    /// Rows and columns of the second.
    windows: [Window; 2],
}

/// Whether two convolutions, the second of which alone reads what the first makes, are better one kernel.
///
/// What is saved is the way to memory and back of each element between them, which weighs the less the more terms its sum has;
/// what it costs are the rows that several bands compute. Of mobilenet_v2, this takes 12 % of the time of the first
/// pair and 2 to 4 % of the next two with a batch of 1, and 25 to 40 % with a batch of 8.
pub(crate) fn expansion_pays(graph: &Graph, first: NodeId, second: NodeId) -> bool {
    let Some(pair) = Pair::of(graph, [first, second]) else { return false };
    let [rows, columns] = pair.windows.map(|window| window.input);
    let few = |(_, width, _)| {
        let (needed, affordable) = pair.bands(width);
        needed <= affordable
    };
    pair.inputs <= DEPTH
        && pair.batch * rows * columns * pair.channels >= MANY * pair.inputs
        && column_blocks(pair.channels, None).into_iter().all(few)
}

impl Pair {
    fn of(graph: &Graph, [first, second]: [NodeId; 2]) -> Option<Pair> {
        let conv = |id: NodeId| match &graph.node(id).op {
            Op::Conv(conv) => {
                let direct = graph.choice(id) == Choice::from(Layout::ChannelsLast);
                (direct && conv.form == ConvForm::Forward && conv.spatial() == 2).then_some(conv)
            }
            _ => None,
        };
        let (pointwise, depthwise) = (conv(first)?, conv(second)?);
        let dims = |id: NodeId, operand: usize| graph.ty(graph.node(id).operands[operand]).dims.as_slice();
        let &[batch, rows, columns, inputs] = dims(first, 0) else { return None };
        let &[channels, _, _, _] = dims(first, 1) else { return None };
        let &[outputs, each, tall, wide] = dims(second, 1) else { return None };
        let result = &graph.node(second).types[0].dims;
        let fits = pointwise.is_pointwise(&dims(first, 1)[2..])
            && *dims(second, 0) == [batch, rows, columns, channels]
            && (depthwise.groups, outputs, each) == (channels, channels, 1)
            && channels > 1
            && depthwise.lhs_dilation == [1, 1]
            && inputs > 0;
        let windows = [(rows, tall, result[1]), (columns, wide, result[2])];
        let along = |axis: usize| Window::forward(depthwise, axis, windows[axis]);
        let windows = [along(0), along(1)];
        let fits = fits && is_short(&windows);
        let size = graph.node(second).types[0].dtype.size();
        fits.then_some(Pair { size, batch, inputs, channels, windows })
    }

    /// How many bands there must be, with blocks of so many channels, and how many there may be: rows that are computed
    /// twice are an eighth of all, at most.
    fn bands(&self, width: usize) -> (usize, usize) {
        let [rows, columns] = &self.windows;
        let most = BAND / (columns.input * (self.inputs + width) * self.size).max(1);
        let reach = (rows.kernel as i64 - 1) * rows.dilation + 1;
        let room = (most as i64 - reach).max(0) / rows.stride + 1;
        let twice = (reach - rows.stride).max(1) as usize;
        (rows.output.div_ceil(room as usize).max(1), 1 + rows.input / (TWICE * twice))
    }

    /// The rows of the result in bands.
    fn chunks(&self, width: usize) -> Chunks {
        let (needed, affordable) = self.bands(width);
        let blocks = self.batch * self.channels.div_ceil(width);
        let bands = needed.max(PIECES.div_ceil(blocks.max(1)).min(affordable));
        self.windows[0].chunks(self.windows[0].output.div_ceil(bands))
    }
}

/// The first row of the image that the chunks of a group see, from the beginning of the chunk, and their number.
fn seen(group: &Group) -> (i64, usize) {
    let mut rows = 0..0;
    for s in group.segments.iter().filter(|s| s.taps > 0) {
        let reach = (s.count as i64 - 1) * s.source_step + (s.taps as i64 - 1) * s.source_tap;
        let (first, end) = (s.source, s.source + reach + 1);
        rows = if rows.is_empty() { first..end } else { rows.start.min(first)..rows.end.max(end) };
    }
    (rows.start, (rows.end - rows.start) as usize)
}

impl Lowering<'_> {
    /// A region of two products, by a kernel for each run of blocks of channels; false if they are no pair.
    pub(super) fn expanded(
        &mut self,
        name: &str,
        roots: [NodeId; 2],
        outputs: &[(Value, Location)],
    ) -> Result<bool, GraphError> {
        let graph = self.graph;
        let Some(pair) = Pair::of(graph, roots) else { return Ok(false) };
        let [first, second] = roots.map(|id| graph.node(id));
        let (image, weights) = (second.operands[0], second.operands[1]);
        let read = self.rest(roots[0], std::iter::once(image));
        let rest = self.rest(roots[1], outputs.iter().map(|output| output.0));
        let (Some(read), Some(rest)) = (read, rest) else { return Ok(false) };
        if self.dependents(roots[0]).contains(&weights.node) {
            return Ok(false);
        }
        let result = &second.types[0];
        let source = Image::new(self.access(first.operands[0])?, Layout::ChannelsLast);
        let pointwise = Weights::forward(self.access_weights(first.operands[1])?, pair.channels);
        let depthwise = Weights::forward(self.access_weights(weights)?, 1);
        let (sizes, taps) = ((pair.inputs, pair.channels), pair.windows.map(|window| window.kernel));
        let packed = [
            self.pack_weights(&pointwise, result.dtype, 1, sizes, &[1, 1], roots[0]),
            self.pack_depthwise(&depthwise, result.dtype, pair.channels, &taps, roots[1]),
        ];
        let [inner, root] = roots.map(|id| graph.result(id));
        let target = self.place_of(root, outputs);
        let (read, rest) = (self.with_locations(&read)?, self.with_locations(&rest)?);
        // The image between them is local: its place is not looked at.
        let between = [(image, target)];
        let plan = Plan {
            pair: &pair,
            source: &source,
            stored: pointwise.access.dtype,
            packed,
            result,
            inner: Epilogue { body: graph, name, root: inner, target, operands: &read, outputs: &between },
            outer: Epilogue { body: graph, name, root, target, operands: &rest, outputs },
        };
        let mut start = 0;
        for cut in column_blocks(pair.channels, None) {
            let (kernel, params) = plan.kernel(cut, start);
            self.call(kernel, params, roots[1]);
            start += cut.1 * cut.2 * pair.inputs;
        }
        Ok(true)
    }
}

/// What the kernels of a pair have in common.
struct Plan<'a> {
    pair: &'a Pair,
    /// What the first convolution reads, and what its weights are stored as.
    source: &'a Image,
    stored: DType,
    /// The weights of both.
    packed: [Location; 2],
    result: &'a Type,
    /// What follows either of them.
    inner: Epilogue<'a>,
    outer: Epilogue<'a>,
}

impl Plan<'_> {
    /// The kernel for a run of blocks of channels, whose panels of the first weights begin at `start`, and its arguments.
    fn kernel(&self, (first, width, count): Cut, start: usize) -> (Kernel, Vec<Location>) {
        let Plan { pair, source, result, .. } = *self;
        let [rows, columns] = pair.windows;
        let dtype = result.dtype;
        let mut c = Composer::new(self.inner.body, self.inner.name);
        let mut params = vec![source.location, self.packed[0], self.outer.target];
        c.k.param(dtype, source.len, Access::Read);
        c.k.param(self.stored, pair.inputs * pair.channels, Access::Read);
        c.k.param(dtype, result.elements(), Access::ReadWrite);
        self.outer.parameters(&mut c, &mut params);
        self.inner.operands(&mut c, &mut params);
        let weights = c.k.param(dtype, rows.kernel * columns.kernel * pair.channels, Access::Read);
        params.push(self.packed[1]);
        let chunks =
            [Window::identity(pair.batch).chunks(1), pair.chunks(width), columns.chunks(columns.output)];
        // Blocks of channels follow each other, so that they find the rows that all of them read in the cache.
        let mut at: Vec<Index> = chunks.iter().map(|chunk| Index::var(c.k.open_grid(chunk.count))).collect();
        let block = Index::var(c.k.open_grid(count));
        at[2] = Index::default();
        let most = chunks[1].groups.iter().map(|group| seen(group).1).max().unwrap_or(0);
        let line = columns.input * width;
        let band = c.k.local(dtype, most * line);
        let channel = block.scale(width as i64).plus(first as i64);
        let panel = block.scale((width * pair.inputs) as i64).plus(start as i64);
        let axes = positions(&pair.windows, result, &[0, line as i64, width as i64]);
        for_each_kind(&mut c, &chunks, &at, &mut |c, groups| {
            let (low, many) = seen(groups[1]);
            let row = at[1].scale(chunks[1].source_step).plus(low);
            self.expand(c, (&at[0], &row, many), (&channel, width), &panel, band);
            let all = Depthwise {
                axes: &axes,
                chunks: &chunks,
                at: &at,
                params: (band, weights),
                from: Index::constant(-low * line as i64),
                step: 1,
                first: channel.clone(),
                count: width,
                channels: pair.channels,
                epilogue: Some(self.outer),
            };
            all.segments(c, groups, &mut Vec::new());
        });
        (0..4).for_each(|_| c.k.close());
        (c.k.finish_kernel(), params)
    }

    /// Computes rows of the image between the convolutions into `band`, for `width` channels from `channel` on.
    fn expand(
        &self,
        c: &mut Composer<'_>,
        (batch, row, many): (&Index, &Index, usize),
        (channel, width): (&Index, usize),
        panel: &Index,
        band: usize,
    ) {
        let (pair, source) = (self.pair, self.source);
        let [rows, columns] = pair.windows.map(|window| window.input);
        let [images, down, along] = *source.positions else { unreachable!("an image has two spatial axes") };
        // Rows that lie one behind the other are one tile.
        let dense = down == along * columns as i64;
        let line = Index::var(c.k.open_for(if dense { 1 } else { many }));
        let count = if dense { many * columns } else { columns };
        let row = row.add(&line);
        let place = line.scale((columns * width) as i64);
        let from = batch.scale(images).add(&row.scale(down)).plus(source.offset);
        c.k.tile(Tile {
            dtype: self.result.dtype,
            m: count,
            n: width,
            reduce: vec![TileLoop { extent: pair.inputs, a: source.channel, b: width as i64 }],
            a: Panel { param: 0, index: from, row: along },
            b: Panel { param: 1, index: panel.clone(), row: 0 },
            c: Panel { param: band, index: place.clone(), row: width as i64 },
            zero: true,
        });
        let image = Span { first: batch.clone(), count: 1, step: 1, dims: &[pair.batch] };
        let first = row.scale(columns as i64);
        let inside = Span { first, count, step: 1, dims: &[rows, columns] };
        let patch = Patch { axes: &[image, inside], column: channel, width };
        self.inner.emit_local(c, &patch, (band, &place));
        c.k.close();
    }
}
