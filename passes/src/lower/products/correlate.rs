//! The kernels of direct convolutions, as loops around tiles.
//!
//! Images are read and written with their channels last: output channels are the tile's columns, output positions
//! along one axis its rows, and the chain of a sum runs over (block of 16 input channels, kernel position, channel in
//! the block). Taps outside the image are left out of the chain: every axis is cut into segments without bounds
//! ([`windows`](crate::facts::windows)), so nothing is padded, but for kernels so large that segments would be too much code; where
//! most of the work lies in short segments, images are taken together ([`borders`](super::borders)).
//!
//! A grid point computes the product for a box of positions and a block of output channels: it goes through the
//! blocks of input channels, each with its panel of weights in the first-level cache, and ends with what is fused
//! behind the convolution, while the box is still there. Weights are packed into panels ([`packing`](super::packing)).

use brolga_ir::index::Index;
use brolga_ir::program::{Access, Panel, Tile, TileLoop};

use super::boxes::{Positions, box_of, for_each_kind};
use super::epilogue::{Epilogue, Patch, RESULT, Rows, Span, store_sums};
use super::image::Image;
use super::method::{ImageCopy, Reading};
use super::packing::Packed;
use super::product::Product;
use super::shape::Shape;
use super::taps::{TapAxis, Taps, close_taps, open_taps};
use super::tiling::Boxes;
use crate::facts::blocks::{Cut, panel_columns, panel_terms, runs};
use crate::facts::windows::{Chunks, Group, Segment};
use crate::lower::Lowering;
use crate::lower::regions::compose::Composer;
use crate::tuning::Outer;

/// A product, and what its kernels read.
struct Correlation<'a> {
    product: &'a Product<'a>,
    /// The batch and the windowed axes; those that lie one behind the other are one.
    axes: &'a [Positions],
    /// The image, or the copy of it.
    source: Image,
    packed: Packed,
}

impl Lowering<'_> {
    /// Direct sums over packed weights.
    pub(super) fn correlate(&mut self, product: &Product<'_>, reading: &Reading) {
        let Product { shape, tiling, weights, .. } = product;
        let packed = self.pack_weights(weights, shape, tiling, product.origin);
        let source = self.read_image(product, reading);
        let all = Correlation { product, axes: &reading.axes, source, packed };
        for (columns, boxes) in panel_columns(&packed.panels).into_iter().zip(&tiling.boxes) {
            self.correlate_columns(&all, columns, boxes);
        }
    }

    /// The image as the kernels read it.
    fn read_image(&mut self, product: &Product<'_>, reading: &Reading) -> Image {
        let Product { shape: Shape { windows, .. }, source, origin, .. } = product;
        let planes = product.shape.planes();
        match &reading.copy {
            None => source.clone(),
            Some(ImageCopy::EveryOther) => {
                let ty = planes.of(windows.iter().map(|window| window.output));
                let steps = windows.iter().map(|window| window.stride);
                self.copy_image("every_other", source, steps, ty, *origin)
            }
            Some(ImageCopy::Padded(axes)) => self.pad_image(source, windows, axes, planes, *origin),
        }
    }

    /// The kernel for a run of blocks of output channels, whose panels begin at `start`, and for the boxes that meet them.
    fn correlate_columns(
        &mut self,
        all: &Correlation<'_>,
        (columns, start): (Cut, usize),
        Boxes { chunks, outer, aside }: &Boxes,
    ) {
        let Correlation { product, source, packed, .. } = all;
        let (shape, panels) = (&product.shape, packed.panels);
        let mut params = vec![source.location, packed.location, product.target];
        let mut c = product.composer(self.graph);
        c.k.param(shape.dtype, source.len, Access::Read);
        packed.param(&mut c.k);
        c.k.param(shape.dtype, product.result.elements(), Access::ReadWrite);
        if let Some(epilogue) = product.epilogue {
            epilogue.parameters(&mut c, &mut params);
        }
        let mut grid = |extent: usize| Index::var(c.k.open_grid(extent));
        let outside = (*outer == Outer::Columns).then(|| [grid(shape.groups), grid(columns.count)]);
        let at: Vec<Index> = chunks.iter().map(|chunk| grid(chunk.count)).collect();
        let [group, column] = outside.unwrap_or_else(|| [grid(shape.groups), grid(columns.count)]);
        let sums = aside.then(|| c.k.local(shape.dtype, chunks[0].length * columns.width));
        let block = column.scale(panels.block(columns.width) as i64);
        let point = GridPoint {
            all,
            chunks,
            at: &at,
            source: group.scale(shape.channels as i64 * source.channel).plus(source.offset),
            panel: group.scale(panels.group() as i64).add(&block).plus(start as i64),
            channel: group.scale(shape.outputs as i64).add(&columns.start(&column)),
            width: columns.width,
            sums,
        };
        for_each_kind(&mut c, chunks, &at, &mut |c, groups| point.emit(c, groups));
        (0..2 + at.len()).for_each(|_| c.k.close());
        self.call(c.k.finish_kernel(), params, product.origin);
    }
}

/// What a point of the grid computes: one chunk of every axis, and a block of output channels.
struct GridPoint<'b, 'a> {
    all: &'b Correlation<'a>,
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

/// The tiles of a block of input channels.
struct Terms<'s, 'e> {
    /// Where its channels begin in the source and in the weights, and the box in the result.
    source: Index,
    panel: Index,
    corner: &'s Index,
    channels: usize,
    /// Whether it starts the sums.
    zero: bool,
    /// Whether it ends them, and what follows each tile then.
    last: bool,
    epilogue: Option<Epilogue<'e>>,
}

/// Where a tile begins in the image and in the result, and its positions, as the epilogue wants them.
struct TileAt<'p> {
    image: Index,
    to: Index,
    spans: Vec<Span<'p>>,
}

impl GridPoint<'_, '_> {
    fn emit(&self, c: &mut Composer<'_>, groups: &[&Group]) {
        let product = self.all.product;
        let (shape, area) = (&product.shape, product.shape.area());
        // Whether there are positions whose sums no tile starts.
        let bare = |s: &Segment| s.taps == 0 || s.tested;
        let bare = shape.channels == 0 || groups.iter().any(|g| g.segments.iter().any(bare));
        // The first position of the box in the result.
        let mut corner = self.channel.clone();
        for ((at, chunk), axis) in self.at.iter().zip(self.chunks).zip(self.all.axes) {
            corner = corner.add(&at.scale(chunk.length as i64 * axis.target));
        }
        if bare {
            self.clear(c, groups, &corner);
        }
        let runs = runs(panel_terms(&self.all.packed.panels), !bare);
        for (number, run) in runs.iter().enumerate() {
            let channel = run.start(&Index::var(c.k.open_for(run.count)));
            let last = number + 1 == runs.len();
            let terms = Terms {
                source: self.source.add(&channel.scale(self.all.source.channel)),
                panel: self.panel.add(&channel.scale((area * self.width) as i64)),
                corner: &corner,
                channels: run.width,
                zero: number == 0 && !bare,
                last,
                // Each tile is followed by its part of the epilogue, if they cover the box.
                epilogue: product.epilogue.filter(|_| last && !bare),
            };
            self.segments(c, groups, &mut Vec::new(), &terms);
            c.k.close();
        }
        if let Some(epilogue) = product.epilogue {
            let whole = box_of(self.all.axes, self.chunks, self.at, groups);
            match bare {
                true => epilogue.emit(c, &self.patch(&whole), &[]),
                false => epilogue.emit_rest(c, &self.patch(&whole)),
            }
        }
    }

    /// The block's columns at some positions.
    fn patch<'p>(&'p self, axes: &'p [Span<'p>]) -> Patch<'p> {
        Patch { axes, column: &self.channel, width: self.width }
    }

    /// Stores zeros in the box, which begins at `corner`.
    fn clear(&self, c: &mut Composer<'_>, groups: &[&Group], corner: &Index) {
        let mut to = corner.clone();
        for (group, axis) in groups.iter().zip(self.all.axes) {
            to = to.add(&Index::var(c.k.open_for(group.extent)).scale(axis.target));
        }
        to = to.add(&Index::var(c.k.open_for(self.width)));
        let zero = c.k.zero_of(RESULT);
        c.k.store(RESULT, to, zero);
        (0..=groups.len()).for_each(|_| c.k.close());
    }

    /// Tiles for every combination of segments, one of each axis; `chosen` has those of the first axes.
    fn segments(
        &self,
        c: &mut Composer<'_>,
        groups: &[&Group],
        chosen: &mut Vec<Segment>,
        terms: &Terms<'_, '_>,
    ) {
        let Some(group) = groups.get(chosen.len()) else { return self.tile(c, chosen, terms) };
        for &segment in group.segments.iter().filter(|s| s.taps > 0) {
            chosen.push(segment);
            self.segments(c, groups, chosen, terms);
            chosen.pop();
        }
    }

    /// A tile for the positions of one combination of segments: its rows are those along one axis, loops go over the others.
    fn tile(&self, c: &mut Composer<'_>, chosen: &[Segment], terms: &Terms<'_, '_>) {
        // Rows of the tile: the longest axis, the last of several.
        let plain = (0..chosen.len()).filter(|&axis| !chosen[axis].tested);
        let rows = plain.max_by_key(|&axis| (chosen[axis].count, axis)).expect("a batch axis");
        let TileAt { image, to, spans } = self.open_positions(c, chosen, rows, terms);
        let taps = self.taps(chosen, &spans, terms.channels);
        let Taps { source, weights, mut reduce, open: tested } = open_taps(&mut c.k, &taps);
        reduce.push(TileLoop { extent: terms.channels, a: self.all.source.channel, b: self.width as i64 });
        let (s, positions) = (&chosen[rows], &self.all.axes[rows]);
        let apart = s.step * positions.target;
        let sums = match self.sums {
            Some(param) => Panel { param, index: Index::default(), row: self.width as i64 },
            None => Panel { param: RESULT, index: to.clone(), row: apart },
        };
        c.k.tile(Tile {
            dtype: self.all.product.shape.dtype,
            m: s.count,
            n: self.width,
            reduce,
            a: Panel { param: 0, index: image.add(&source), row: s.source_step * positions.source },
            b: Panel { param: 1, index: terms.panel.add(&weights), row: 0 },
            c: sums,
            zero: terms.zero,
        });
        close_taps(&mut c.k, &tested);
        let sums = self.sums.as_slice();
        match terms.epilogue {
            Some(epilogue) => epilogue.emit_chain(c, &self.patch(&spans), sums),
            None if terms.last => {
                let rows = Rows { to: &to, apart, rows: s.count, columns: self.width };
                store_sums(&mut c.k, sums, &rows);
            }
            None => {}
        }
        // The loops over positions of all axes but that of the rows.
        (1..chosen.len()).for_each(|_| c.k.close());
    }

    /// Opens loops over the positions of one combination of segments, but not along the axis of the rows.
    fn open_positions(
        &self,
        c: &mut Composer<'_>,
        chosen: &[Segment],
        rows: usize,
        terms: &Terms<'_, '_>,
    ) -> TileAt<'_> {
        let (mut image, mut to) = (terms.source.clone(), terms.corner.clone());
        let mut spans = Vec::new();
        for (axis, s) in chosen.iter().enumerate() {
            let (positions, chunk) = (&self.all.axes[axis], &self.chunks[axis]);
            if !s.tested {
                image = image.add(&self.at[axis].scale(chunk.source_step * positions.source));
                image = image.plus(s.source * positions.source);
            }
            to = to.plus(s.start * positions.target);
            let mut first = self.at[axis].scale(chunk.length as i64).plus(s.start);
            if axis != rows {
                let var = Index::var(c.k.open_for(s.count));
                first = first.add(&var.scale(s.step));
                image = image.add(&var.scale(s.source_step * positions.source));
                to = to.add(&var.scale(s.step * positions.target));
            }
            let (count, step) = if axis == rows { (s.count, s.step) } else { (1, 1) };
            spans.push(Span { first, count, step, dims: &positions.dims });
        }
        TileAt { image, to, spans }
    }

    /// The taps of segments whose outputs are at `positions`; a panel has so many channels for each.
    fn taps<'t>(
        &'t self,
        chosen: &'t [Segment],
        positions: &'t [Span<'_>],
        channels: usize,
    ) -> Vec<TapAxis<'t>> {
        let mut weights = (channels * self.width) as i64;
        let mut taps = Vec::new();
        for ((segment, axis), position) in chosen.iter().zip(self.all.axes).zip(positions).rev() {
            let (window, source) = (&axis.window, axis.source);
            taps.push(TapAxis { window, segment, at: &position.first, source, weights });
            weights *= window.kernel as i64;
        }
        taps.reverse();
        taps
    }
}
