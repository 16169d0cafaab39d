//! Convolutions with the channels first whose last axis is not windowed: lanes are positions along that axis.
//!
//! A tile's rows are output channels, its columns positions along the last axis, and it belongs to one position along
//! each other axis. Its chain is that of the kernels with the channels last (`lower/products/correlate.rs`): over (block of input
//! channels, kernel position, channel in the block), without taps outside the image. Weights are read where they
//! lie.

use brolga_ir::index::Index;
use brolga_ir::program::{Access, Panel, Tile, TileLoop};

use super::boxes::for_each_kind;
use super::epilogue::{Patch, RESULT, Span};
use super::product::Product;
use crate::facts::blocks::{Cut, blocks_of};
use crate::facts::windows::{Chunks, Group, Segment, Window};
use crate::lower::Lowering;
use crate::lower::regions::compose::Composer;

/// A convolution, and into which pieces its windowed axes are cut.
struct Chunked<'a> {
    product: &'a Product<'a>,
    /// Along the windowed axes: all but the last, along which lanes lie.
    windows: &'a [Window],
    chunks: &'a [Chunks],
}

impl Lowering<'_> {
    /// y[n, o, p, i] = Σ over c, k of x[n, c, j(p, k), i] · w[o, c, k], with x contiguous along the last axis.
    pub(super) fn channels_first(&mut self, product: &Product<'_>) {
        let Product { shape, tiling, .. } = product;
        let (lanes, windows) = shape.windows.split_last().expect("a spatial axis");
        let all = Chunked { product, windows, chunks: tiling.chunks() };
        for rows in blocks_of(shape.outputs, tiling.rows) {
            for columns in blocks_of(lanes.output, tiling.columns) {
                self.channels_first_blocks(&all, rows, columns);
            }
        }
    }

    /// The kernel for a run of blocks of output channels and one of blocks of positions along the last axis.
    fn channels_first_blocks(&mut self, all: &Chunked<'_>, rows: Cut, columns: Cut) {
        let Chunked { product, chunks, .. } = *all;
        let (shape, source, result) = (&product.shape, &product.source, &product.result);
        let mut c = product.composer(self.graph);
        let mut params = vec![source.location, product.weights.access.location, product.target];
        c.k.param(result.dtype, source.len, Access::Read);
        c.k.param(result.dtype, product.weights.access.len, Access::Read);
        c.k.param(result.dtype, result.elements(), Access::ReadWrite);
        if let Some(epilogue) = product.epilogue {
            epilogue.parameters(&mut c, &mut params);
        }
        let mut grid = |count: usize| Index::var(c.k.open_grid(count));
        let (image, group) = (grid(shape.batch), grid(shape.groups));
        let row = group.scale(shape.outputs as i64).add(&rows.start(&grid(rows.count)));
        let column = columns.start(&grid(columns.count));
        let at: Vec<Index> = chunks.iter().map(|chunk| grid(chunk.count)).collect();
        let block = GridPoint {
            all,
            at: &at,
            source: group.scale(shape.channels as i64 * source.channel),
            image,
            row,
            rows: rows.width,
            column,
            columns: columns.width,
        };
        for_each_kind(&mut c, chunks, &at, &mut |c, groups| {
            block.segments(c, groups, &mut Vec::new());
            if let Some(epilogue) = product.epilogue {
                let axes = &block.spans(groups);
                epilogue.emit_rest(c, &Patch { axes, column: &block.column, width: block.columns });
            }
        });
        (0..4 + at.len()).for_each(|_| c.k.close());
        self.call(c.k.finish_kernel(), params, product.origin);
    }
}

/// What a grid point computes: a chunk of every windowed axis, a block of output channels, and one of positions along the
/// last axis.
struct GridPoint<'b, 'a> {
    all: &'b Chunked<'a>,
    /// Position of the chunk, for each windowed axis.
    at: &'b [Index],
    /// Where the group's channels begin in the source.
    source: Index,
    image: Index,
    row: Index,
    rows: usize,
    column: Index,
    columns: usize,
}

/// A tile of one position: where its operands and its result begin, and the taps of each axis.
struct TileAt<'b> {
    weights: Index,
    image: Index,
    to: Index,
    taps: Vec<TileLoop>,
    /// The axes, as the epilogue wants them.
    spans: Vec<Span<'b>>,
}

impl<'b> GridPoint<'b, '_> {
    /// The axes in front of the windowed ones, as the epilogue wants them.
    fn first_spans(&self) -> Vec<Span<'b>> {
        let dims = &self.all.product.result.dims;
        let span = |axis: usize, first: &Index, count| Span {
            first: first.clone(),
            count,
            step: 1,
            dims: std::slice::from_ref(&dims[axis]),
        };
        vec![span(0, &self.image, 1), span(1, &self.row, self.rows)]
    }

    /// Everything, as the epilogue wants it.
    fn spans(&self, groups: &[&Group]) -> Vec<Span<'b>> {
        let mut spans = self.first_spans();
        let axes = self.at.iter().zip(self.all.chunks).zip(groups).zip(self.all.windows);
        spans.extend(axes.map(|(((at, chunk), group), window)| Span {
            first: at.scale(chunk.length as i64),
            count: group.extent,
            step: 1,
            dims: std::slice::from_ref(&window.output),
        }));
        spans
    }

    /// Tiles for every combination of segments.
    fn segments(&self, c: &mut Composer<'_>, groups: &[&Group], chosen: &mut Vec<Segment>) {
        match groups.get(chosen.len()) {
            Some(group) => {
                for &segment in &group.segments {
                    chosen.push(segment);
                    self.segments(c, groups, chosen);
                    chosen.pop();
                }
            }
            None => self.tiles(c, chosen),
        }
    }

    /// Elements of the result from one position to the next, along its axes.
    fn strides(&self) -> Vec<i64> {
        self.all.product.result.strides().into_iter().map(|stride| stride as i64).collect()
    }

    /// A tile for every position of a combination of segments, and its part of the epilogue.
    fn tiles(&self, c: &mut Composer<'_>, chosen: &[Segment]) {
        let product = self.all.product;
        let at = self.open_positions(c, chosen);
        let blocks = blocks_of(product.shape.channels, product.tiling.depth);
        if blocks.is_empty() || chosen.iter().any(|s| s.taps == 0) {
            self.clear(c, &at.to);
        } else {
            self.tile(c, &at, &blocks);
        }
        if let Some(epilogue) = product.epilogue {
            let patch = Patch { axes: &at.spans, column: &self.column, width: self.columns };
            epilogue.emit_chain(c, &patch, &[]);
        }
        chosen.iter().for_each(|_| c.k.close());
    }

    /// Opens loops over the positions of a combination of segments.
    fn open_positions(&self, c: &mut Composer<'_>, chosen: &[Segment]) -> TileAt<'b> {
        let Product { source, weights, .. } = self.all.product;
        let strides = self.strides();
        let mut at = TileAt {
            weights: self.row.scale(weights.output).plus(weights.offset),
            image: self.image.scale(source.positions[0]).add(&self.source).add(&self.column),
            to: self.image.scale(strides[0]).add(&self.row.scale(strides[1])).add(&self.column),
            taps: Vec::new(),
            spans: self.first_spans(),
        };
        at.image = at.image.plus(source.offset);
        for (axis, s) in chosen.iter().enumerate() {
            let (box_at, chunk) = (&self.at[axis], &self.all.chunks[axis]);
            let (from, kernel, along) = (source.positions[axis + 1], weights.kernel[axis], strides[axis + 2]);
            let var = Index::var(c.k.open_for(s.count));
            let first = box_at.scale(chunk.length as i64).plus(s.start).add(&var.scale(s.step));
            let input = box_at.scale(chunk.source_step).plus(s.source).add(&var.scale(s.source_step));
            at.weights = at.weights.plus(s.tap as i64 * kernel);
            at.image = at.image.add(&input.scale(from));
            at.to = at.to.add(&first.scale(along));
            if s.taps > 1 {
                let (a, b) = (s.tap_step as i64 * kernel, s.source_tap * from);
                at.taps.push(TileLoop { extent: s.taps, a, b });
            }
            let dims = std::slice::from_ref(&self.all.windows[axis].output);
            at.spans.push(Span { first, count: 1, step: 1, dims });
        }
        at
    }

    /// Zeros, where no tap is inside.
    fn clear(&self, c: &mut Composer<'_>, to: &Index) {
        let at = Index::var(c.k.open_for(self.rows)).scale(self.strides()[1]);
        let at = to.add(&at).add(&Index::var(c.k.open_for(self.columns)));
        let zero = c.k.zero_of(RESULT);
        c.k.store(RESULT, at, zero);
        (0..2).for_each(|_| c.k.close());
    }

    /// The tile of a position: one for each run of blocks of channels.
    fn tile(&self, c: &mut Composer<'_>, at: &TileAt<'_>, blocks: &[Cut]) {
        let Product { source, weights, result, .. } = self.all.product;
        for (number, &Cut { first, width, count }) in blocks.iter().enumerate() {
            let over = |extent: usize, channels: usize| TileLoop {
                extent,
                a: channels as i64 * weights.input,
                b: channels as i64 * source.channel,
            };
            let outer = (count > 1).then(|| over(count, width));
            let (a, b) = (first as i64 * weights.input, first as i64 * source.channel);
            c.k.tile(Tile {
                dtype: result.dtype,
                m: self.rows,
                n: self.columns,
                reduce: outer.into_iter().chain(at.taps.iter().cloned()).chain([over(width, 1)]).collect(),
                a: Panel { param: 1, index: at.weights.plus(a), row: weights.output },
                b: Panel { param: 0, index: at.image.plus(b), row: 0 },
                c: Panel { param: RESULT, index: at.to.clone(), row: self.strides()[1] },
                zero: number == 0,
            });
        }
    }
}
