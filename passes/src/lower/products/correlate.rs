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
//! behind the convolution, while the box is still there. Weights are packed into panels once for each call, or in
//! `prepare` where they are fixed.

use brolga_ir::index::Index;
use brolga_ir::program::{Access, Panel, Tile, TileLoop};

use super::borders::together;
use super::boxes::{PanelsOfBox, Positions, box_of, for_each_kind, merged, positions};
use super::epilogue::{Epilogue, Patch, RESULT, Rows, Span, store_sums};
use super::image::{Image, Planes};
use super::packing::Packed;
use super::product::Product;
use super::taps::{TapAxis, Taps, close_taps, open_taps};
use crate::facts::blocking::direct::FEW_SETS;
use crate::facts::blocks::{Cut, count, panel_columns, panel_terms, runs};
use crate::facts::windows::{Chunks, Group, Segment, Window};
use crate::lower::Lowering;
use crate::lower::regions::compose::Composer;
use crate::tuning::Outer;

/// Whether windows have one position each, all inside, and leave others out: a pointwise convolution by steps of 2.
fn skips(windows: &[Window]) -> bool {
    let inside = |w: &Window| w.output.saturating_sub(1).saturating_mul(w.stride as usize) < w.input;
    let single = |w: &Window| w.kernel == 1 && w.low == 0 && w.spread == 1 && inside(w);
    windows.iter().all(single) && windows.iter().any(|w| w.stride > 1)
}

/// A product, and what its kernels read.
struct Correlation<'a> {
    product: &'a Product<'a>,
    /// The batch and the windowed axes; those that lie one behind the other are one.
    axes: Vec<Positions>,
    /// The image; or a copy of it, see [`Lowering::correlated`].
    source: Image,
    packed: Packed,
}

impl Correlation<'_> {
    /// Whether the loops over groups and their blocks of columns, so many, are outside of those over boxes. Outermost is what is
    /// read again less, the positions or the panels, unless threads are to have rows of their own.
    fn columns_first(&self, chunks: &[Chunks], by_rows: bool, columns: usize) -> bool {
        let shape = &self.product.shape;
        let boxes: usize = chunks.iter().map(|chunk| chunk.count).product();
        let positions: usize = self.axes.iter().map(|a| a.window.input.max(a.window.output)).product();
        match self.product.tiling.outer {
            Some(outer) => outer == Outer::Columns,
            None => !by_rows && positions * shape.channels * columns <= shape.weights() * boxes,
        }
    }

    /// The rows of a box whose sums are better kept apart until they are final: they are added to several times, and would
    /// lie in few sets of the first-level cache, where they drive each other out.
    fn sums_apart(&self, chunks: &[Chunks]) -> Option<usize> {
        let [axis] = self.axes.as_slice() else { return None };
        let blocks = count(&panel_terms(&self.packed.panels));
        let few_sets = axis.target % FEW_SETS == 0;
        (axis.window.is_identity() && blocks > 1 && few_sets).then_some(chunks[0].length)
    }
}

impl Lowering<'_> {
    /// Direct sums over packed weights.
    pub(super) fn correlate(&mut self, product: &Product<'_>) {
        let shape = &product.shape;
        let packed = self.pack_weights(&product.weights, shape, product.tiling, product.origin);
        let (source, windows) = self.correlated(product);
        let axes = merged(positions(&windows, &product.result, &source.positions));
        let all = Correlation { product, axes, source, packed };
        for (cut, start) in panel_columns(&packed.panels) {
            self.correlate_columns(&all, cut, start);
        }
    }

    /// The image as the kernels read it. Of windows that leave positions out, the others are copied side by side: all of them
    /// are the rows of one matrix then. Of windows with too many kinds of borders, zeros are put around it.
    fn correlated(&mut self, product: &Product<'_>) -> (Image, Vec<Window>) {
        let (shape, id) = (&product.shape, product.origin);
        let (batch, channels) = (shape.batch, shape.groups * shape.channels);
        let planes = Planes { batch, channels, dtype: shape.dtype };
        let (mut source, mut windows) = (product.source.clone(), shape.windows.clone());
        if skips(&windows) {
            let ty = planes.of(windows.iter().map(|window| window.output));
            let steps = windows.iter().map(|window| window.stride);
            source = self.copy_image("every_other", &source, steps, ty, id);
            windows.iter_mut().for_each(|window| *window = Window::identity(window.output));
        }
        let source = self.few_pieces(source, &mut windows, planes, id);
        (source, windows)
    }

    /// The kernel for a run of blocks of output channels, whose panels begin at `start`.
    fn correlate_columns(&mut self, all: &Correlation<'_>, columns: Cut, start: usize) {
        let Correlation { product, axes, source, .. } = all;
        let (shape, tiling) = (&product.shape, product.tiling);
        let extents = |of: fn(&Window) -> usize| axes.iter().map(|axis| of(&axis.window)).product::<usize>();
        let (inputs, outputs) = (extents(|window| window.input), extents(|window| window.output));
        let by_rows = self.is_by_rows(inputs * shape.channels + outputs * shape.outputs, shape.weights());
        let panel = all.packed.panels.block(columns.width);
        let panels = PanelsOfBox { count: shape.groups * columns.count, weights: panel, by_rows };
        let images = if tiling.fixed { None } else { together(axes, shape.channels, shape.outputs) };
        let windows = axes.iter().map(|axis| &axis.window);
        let chunks = images.unwrap_or_else(|| self.boxes(tiling, windows, &panels));
        let mut params = vec![source.location, all.packed.location, product.target];
        let mut c = product.composer(self.graph);
        c.k.param(shape.dtype, source.len, Access::Read);
        all.packed.param(&mut c.k);
        c.k.param(shape.dtype, product.result.elements(), Access::ReadWrite);
        if let Some(epilogue) = product.epilogue {
            epilogue.parameters(&mut c, &mut params);
        }
        let columns_first = all.columns_first(&chunks, by_rows, columns.count);
        let mut grid = |extent: usize| Index::var(c.k.open_grid(extent));
        let outside = columns_first.then(|| [grid(shape.groups), grid(columns.count)]);
        let at: Vec<Index> = chunks.iter().map(|chunk| grid(chunk.count)).collect();
        let [group, column] = outside.unwrap_or_else(|| [grid(shape.groups), grid(columns.count)]);
        let sums = all.sums_apart(&chunks).map(|rows| c.k.local(shape.dtype, rows * columns.width));
        let point = GridPoint {
            all,
            chunks: &chunks,
            at: &at,
            source: group.scale(shape.channels as i64 * source.channel).plus(source.offset),
            panel: group
                .scale(all.packed.panels.group() as i64)
                .add(&column.scale(panel as i64))
                .plus(start as i64),
            channel: group.scale(shape.outputs as i64).add(&columns.start(&column)),
            width: columns.width,
            sums,
        };
        for_each_kind(&mut c, &chunks, &at, &mut |c, groups| point.emit(c, groups));
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
        for ((at, chunk), axis) in self.at.iter().zip(self.chunks).zip(&self.all.axes) {
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
            let whole = box_of(&self.all.axes, self.chunks, self.at, groups);
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
        for (group, axis) in groups.iter().zip(&self.all.axes) {
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
        for ((segment, axis), position) in chosen.iter().zip(&self.all.axes).zip(positions).rev() {
            let (window, source) = (&axis.window, axis.source);
            taps.push(TapAxis { window, segment, at: &position.first, source, weights });
            weights *= window.kernel as i64;
        }
        taps.reverse();
        taps
    }
}
