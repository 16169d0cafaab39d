//! A pointwise convolution and the depthwise one that alone reads its result, in one kernel.
//!
//! The blocks of MobileNet first make an image of several times as many channels, by far the largest tensor of the block,
//! and then see it through small windows, channel by channel. Here it never goes to memory: a grid point computes a
//! band of its rows, for a block of channels and with what is fused behind it, into local memory, where the depthwise
//! convolution reads it. Neighbouring bands both compute the rows that both see; there are as few bands as the cache and
//! the threads allow. Every sum is the chain that it is in a kernel of its own. No tuning is asked for.

use brolga_ir::choice::Layout;
use brolga_ir::index::Index;
use brolga_ir::program::{Access, Kernel, Panel, Tile, TileLoop};
use brolga_ir::{DType, Graph, GraphError, NodeId, Value};

use super::boxes::{for_each_kind, positions};
use super::depthwise::GridPoint;
use super::epilogue::{Epilogue, Patch, Span};
use super::image::Image;
use super::method::{Method, Reading};
use super::packing::{Packed, Weights};
use super::product::Product;
use super::shape::Shape;
use super::tiling::Tiling;
use crate::facts::blocks::{Cut, panel_columns};
use crate::facts::expansion::Pair;
use crate::facts::windows::{Chunks, Group, Window};
use crate::lower::regions::compose::Composer;
use crate::lower::{Location, Lowering};

/// The shapes of both convolutions.
fn shapes(pair: &Pair, dtype: DType) -> [Shape; 2] {
    let (batch, points) = (pair.batch, pair.windows.map(|window| Window::identity(window.input)));
    let (inputs, channels) = (pair.inputs, pair.channels);
    [
        Shape { dtype, batch, groups: 1, channels: inputs, outputs: channels, windows: points.to_vec() },
        Shape { dtype, batch, groups: channels, channels: 1, outputs: 1, windows: pair.windows.to_vec() },
    ]
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
        let Some([read, rest]) = self.around_pair(roots, [image, weights], outputs) else { return Ok(false) };
        let result = &second.types[0];
        let source = Image::new(self.access(first.operands[0])?, Layout::ChannelsLast);
        let pointwise =
            Weights::forward(self.access(first.operands[1])?, pair.channels, self.stored(roots[0]));
        let depthwise = Weights::forward(self.access(weights)?, 1, self.stored(roots[1]));
        let [points, windows] = shapes(&pair, result.dtype);
        let tiling = Tiling::expansion(&pair);
        let packed = [
            self.pack_weights(&pointwise, &points, &tiling, roots[0]),
            self.pack_depthwise(&depthwise, &windows, roots[1]),
        ];
        let [inner, root] = roots.map(|id| graph.result(id));
        let target = self.place_of(root, outputs);
        let (read, rest) = (self.with_locations(&read)?, self.with_locations(&rest)?);
        // The image between them is local: its place is not looked at.
        let (between, ty) = ([(image, target)], graph.ty(image));
        let inner = Epilogue { body: graph, name, root: inner, target, operands: &read, outputs: &between };
        let outer = Epilogue { body: graph, name, root, target, operands: &rest, outputs };
        let inner = Product {
            name: "conv",
            method: Method::Direct(Reading::of(&points, &source, ty)),
            tiling: tiling.clone(),
            shape: points,
            source,
            weights: pointwise,
            target,
            result: ty.clone(),
            epilogue: Some(inner),
            origin: roots[0],
        };
        let outer = Product {
            name: "conv",
            method: Method::Depthwise,
            tiling,
            shape: windows,
            source: Image::dense(target, ty),
            weights: depthwise,
            target,
            result: result.clone(),
            epilogue: Some(outer),
            origin: roots[1],
        };
        self.expansion(&Expansion { pair: &pair, inner: &inner, outer: &outer, packed });
        Ok(true)
    }

    /// What the operations behind either product read; nothing where they cannot run in its kernel, or the second one's weights
    /// depend on the first. `operands`: those of the second.
    fn around_pair(
        &self,
        roots: [NodeId; 2],
        operands: [Value; 2],
        outputs: &[(Value, Location)],
    ) -> Option<[Vec<Value>; 2]> {
        let [image, weights] = operands;
        let read = self.rest(roots[0], std::iter::once(image))?;
        let rest = self.rest(roots[1], outputs.iter().map(|output| output.0))?;
        (!self.dependents(roots[0]).contains(&weights.node)).then_some([read, rest])
    }

    /// A kernel for each run of blocks of channels.
    fn expansion(&mut self, expansion: &Expansion<'_>) {
        let Expansion { outer, packed: [first, _], .. } = expansion;
        for (columns, boxes) in panel_columns(&first.panels).into_iter().zip(&outer.tiling.boxes) {
            let (kernel, params) = expansion.kernel(self.graph, columns, &boxes.chunks);
            self.call(kernel, params, outer.origin);
        }
    }
}

/// A pair that is being lowered: two products, whose pieces are those of one kernel.
struct Expansion<'a> {
    pair: &'a Pair,
    /// The pointwise convolution, and the depthwise one that reads its result.
    inner: &'a Product<'a>,
    outer: &'a Product<'a>,
    /// The weights of both.
    packed: [Packed; 2],
}

/// A band of the image between the convolutions: so many rows of an image of the batch, and a block of channels.
struct Band<'b> {
    image: &'b Index,
    row: Index,
    rows: usize,
    channel: &'b Index,
    width: usize,
    /// Where the block's panel of weights begins.
    panel: &'b Index,
    /// The parameter that holds the band.
    param: usize,
}

impl Expansion<'_> {
    /// The kernel for a run of blocks of channels, whose panels of the first weights begin at `start`, and its arguments. `chunks`:
    /// the images, bands of rows, and whole columns.
    fn kernel(
        &self,
        graph: &Graph,
        (cut, start): (Cut, usize),
        chunks: &[Chunks],
    ) -> (Kernel, Vec<Location>) {
        let Expansion { pair, inner, outer, packed } = *self;
        let (width, [_, columns]) = (cut.width, pair.windows);
        let dtype = outer.shape.dtype;
        let mut c = inner.composer(graph);
        let mut params = vec![inner.source.location, packed[0].location, outer.target];
        c.k.param(dtype, inner.source.len, Access::Read);
        packed[0].param(&mut c.k);
        c.k.param(dtype, outer.result.elements(), Access::ReadWrite);
        if let Some(epilogue) = outer.epilogue {
            epilogue.parameters(&mut c, &mut params);
        }
        if let Some(epilogue) = inner.epilogue {
            epilogue.operands(&mut c, &mut params);
        }
        let weights = packed[1].param(&mut c.k);
        params.push(packed[1].location);
        // Blocks of channels follow each other, so that they find the rows that all of them read in the cache.
        let mut at: Vec<Index> = chunks.iter().map(|chunk| Index::var(c.k.open_grid(chunk.count))).collect();
        let block = Index::var(c.k.open_grid(cut.count));
        at[2] = Index::default();
        let most = chunks[1].groups.iter().map(|group| seen(group).1).max().unwrap_or(0);
        let line = columns.input * width;
        let band = c.k.local(dtype, most * line);
        let channel = cut.start(&block);
        let panel = block.scale(packed[0].panels.block(width) as i64).plus(start as i64);
        let axes = positions(&pair.windows, &outer.result, &[0, line as i64, width as i64]);
        for_each_kind(&mut c, chunks, &at, &mut |c, groups| {
            let (low, many) = seen(groups[1]);
            let row = at[1].scale(chunks[1].source_step).plus(low);
            let (channel, panel) = (&channel, &panel);
            self.expand(c, &Band { image: &at[0], row, rows: many, channel, width, panel, param: band });
            let point = GridPoint {
                product: outer,
                axes: &axes,
                chunks,
                at: &at,
                params: (band, weights),
                from: Index::constant(-low * line as i64),
                step: 1,
                first: channel.clone(),
                count: width,
            };
            point.segments(c, groups, &mut Vec::new());
        });
        (0..4).for_each(|_| c.k.close());
        (c.k.finish_kernel(), params)
    }

    /// Computes a band of the image between the convolutions.
    fn expand(&self, c: &mut Composer<'_>, band: &Band<'_>) {
        let (pair, source, width) = (self.pair, &self.inner.source, band.width);
        let [rows, columns] = pair.windows.map(|window| window.input);
        let [images, down, along] = *source.positions else { unreachable!("an image has two spatial axes") };
        // Rows that lie one behind the other are one tile.
        let dense = down == along * columns as i64;
        let line = Index::var(c.k.open_for(if dense { 1 } else { band.rows }));
        let count = if dense { band.rows * columns } else { columns };
        let row = band.row.add(&line);
        let place = line.scale((columns * width) as i64);
        let from = band.image.scale(images).add(&row.scale(down)).plus(source.offset);
        c.k.tile(Tile {
            dtype: self.inner.shape.dtype,
            m: count,
            n: width,
            reduce: vec![TileLoop { extent: pair.inputs, a: source.channel, b: width as i64 }],
            a: Panel { param: 0, index: from, row: along },
            b: Panel { param: 1, index: band.panel.clone(), row: 0 },
            c: Panel { param: band.param, index: place.clone(), row: width as i64 },
            zero: true,
        });
        let image = Span { first: band.image.clone(), count: 1, step: 1, dims: &[pair.batch] };
        let first = row.scale(columns as i64);
        let inside = Span { first, count, step: 1, dims: &[rows, columns] };
        let patch = Patch { axes: &[image, inside], column: band.channel, width };
        if let Some(epilogue) = self.inner.epilogue {
            epilogue.emit_local(c, &patch, (band.param, &place));
        }
        c.k.close();
    }
}
