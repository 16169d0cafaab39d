//! The kernels of direct convolutions, as loops around tiles.
//!
//! Images are read and written with their channels last: output channels are the tile's columns, output positions
//! along one axis its rows, and the chain of a sum runs over (block of 16 input channels, kernel position, channel in
//! the block). Taps outside the image are left out of the chain: every axis is cut into segments without bounds
//! ([`windows`](super::windows)), so nothing is padded, but for kernels so large that segments would be too much code; where
//! most of the work lies in short segments, images are taken together ([`borders`](super::borders)).
//!
//! A grid point computes the product for a box of positions and a block of output channels: it goes through the
//! blocks of input channels, each with its panel of weights in the first-level cache, and ends with what is fused
//! behind the convolution, while the box is still there. Weights are packed into panels once for each call, or in
//! `prepare` where they are fixed.

use brolga_ir::index::Index;
use brolga_ir::program::{Access, Panel, Tile, TileLoop};
use brolga_ir::{DType, NodeId, Type};

use super::blocks::{Cut, channel_blocks, column_blocks, steps};
use super::borders::together;
use super::boxes::{Positions, box_of, for_each_kind, merged, positions};
use super::depthwise::is_short;
use super::epilogue::{Epilogue, Patch, Span, store_sums};
use super::image::Image;
use super::packing::Weights;
use super::taps::{TapAxis, Taps, close_taps, open_taps};
use super::windows::{Chunks, Group, Segment, Window};
use crate::lower::blocking::{direct, panels};
use crate::lower::regions::compose::Composer;
use crate::lower::{Location, Lowering};
use crate::schedule::{Algorithm, Outer, Schedule};

/// Whether windows have one position each, all inside, and leave others out.
fn skips(windows: &[Window]) -> bool {
    let inside = |w: &Window| w.output.saturating_sub(1).saturating_mul(w.stride as usize) < w.input;
    let single = |w: &Window| w.kernel == 1 && w.low == 0 && w.spread == 1 && inside(w);
    windows.iter().all(single) && windows.iter().any(|w| w.stride > 1)
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
    /// Kernel positions.
    fn area(&self) -> usize {
        self.taps.iter().product()
    }

    /// Weights of one group.
    fn weights(&self) -> usize {
        self.outputs * self.channels * self.area()
    }

    /// Whether the loops over groups and their blocks of columns, so many, are outside of those over boxes. Outermost is what is
    /// read again less, the positions or the panels, unless threads are to have rows of their own.
    fn columns_first(&self, chunks: &[Chunks], by_rows: bool, columns: usize) -> bool {
        let boxes: usize = chunks.iter().map(|chunk| chunk.count).product();
        let positions: usize = self.axes.iter().map(|a| a.window.input.max(a.window.output)).product();
        match self.schedule.outer {
            Some(outer) => outer == Outer::Columns,
            None => !by_rows && positions * self.channels * columns <= self.weights() * boxes,
        }
    }

    /// The rows of a box whose sums are better kept apart until they are final: they are added to several times, and would
    /// lie in few sets of the first-level cache, where they drive each other out.
    fn sums_apart(&self, chunks: &[Chunks]) -> Option<usize> {
        let [axis] = self.axes.as_slice() else { return None };
        let steps: usize = channel_blocks(self.channels, 1, &self.schedule).iter().map(|cut| cut.2).sum();
        let few_sets = axis.target % direct::FEW_SETS == 0;
        (axis.window.is_identity() && steps > 1 && few_sets).then_some(chunks[0].length)
    }
}

impl Lowering<'_> {
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
            self.schedule.columns.get_or_insert(panels::SINGLE);
        } else if outputs.is_multiple_of(panels::PAIR) && taps.iter().product::<usize>() <= panels::MOST_TAPS
        {
            self.schedule.columns.get_or_insert(panels::PAIR);
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
            start += cut.1 * cut.2 * channels * plan.area();
        }
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
        let (axes, area, weights) = (&plan.axes, plan.area(), plan.weights());
        let extents = |of: fn(&Window) -> usize| axes.iter().map(|axis| of(&axis.window)).product::<usize>();
        let (inputs, outputs) = (extents(|window| window.input), extents(|window| window.output));
        let by_rows = self.is_by_rows(inputs * plan.channels + outputs * plan.outputs, weights);
        let windows = axes.iter().map(|axis| &axis.window);
        let panels = (plan.groups * count, plan.channels * area * width);
        let chosen = plan.schedule.rows.is_some();
        let images = if chosen { None } else { together(axes, plan.channels, plan.outputs) };
        let chunks = images.unwrap_or_else(|| self.boxes(windows, by_rows, panels));
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
        let columns_first = plan.columns_first(&chunks, by_rows, count);
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

/// The tiles of a block of input channels.
struct Step<'s, 'e> {
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

impl Block<'_, '_> {
    fn emit(&self, c: &mut Composer<'_>, groups: &[&Group], epilogue: Option<Epilogue<'_>>) {
        let (plan, area) = (self.plan, self.plan.area());
        // Whether there are positions whose sums no tile starts.
        let bare = |s: &Segment| s.taps == 0 || s.tested;
        let bare = plan.channels == 0 || groups.iter().any(|g| g.segments.iter().any(bare));
        // The first position of the box in the result.
        let mut corner = self.channel.clone();
        for ((at, chunk), axis) in self.at.iter().zip(self.chunks).zip(&plan.axes) {
            corner = corner.add(&at.scale(chunk.length as i64 * axis.target));
        }
        if bare {
            self.clear(c, groups, &corner);
        }
        let runs = steps(channel_blocks(plan.channels, area, &plan.schedule), !bare);
        for (number, &(channel, inner, count)) in runs.iter().enumerate() {
            let var = Index::var(c.k.open_for(count));
            let source = self
                .source
                .add(&var.scale(inner as i64 * plan.source.channel))
                .plus(channel as i64 * plan.source.channel);
            let panel = self
                .panel
                .add(&var.scale((inner * area * self.width) as i64))
                .plus((channel * area * self.width) as i64);
            let last = number + 1 == runs.len();
            let zero = number == 0 && !bare;
            // Each tile is followed by its part of the epilogue, if they cover the box.
            let epilogue = epilogue.filter(|_| last && !bare);
            let step = Step { source, panel, corner: &corner, channels: inner, zero, last, epilogue };
            self.segments(c, groups, &mut Vec::new(), &step);
            c.k.close();
        }
        if let Some(epilogue) = epilogue {
            let whole = box_of(&plan.axes, self.chunks, self.at, groups);
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
        for (group, axis) in groups.iter().zip(&self.plan.axes) {
            to = to.add(&Index::var(c.k.open_for(group.extent)).scale(axis.target));
        }
        to = to.add(&Index::var(c.k.open_for(self.width)));
        let zero = c.k.zero_of(2);
        c.k.store(2, to, zero);
        (0..=groups.len()).for_each(|_| c.k.close());
    }

    /// Tiles for every combination of segments, one of each axis; `chosen` has those of the first axes.
    fn segments(
        &self,
        c: &mut Composer<'_>,
        groups: &[&Group],
        chosen: &mut Vec<Segment>,
        step: &Step<'_, '_>,
    ) {
        let Some(group) = groups.get(chosen.len()) else { return self.tile(c, chosen, step) };
        for &segment in group.segments.iter().filter(|s| s.taps > 0) {
            chosen.push(segment);
            self.segments(c, groups, chosen, step);
            chosen.pop();
        }
    }

    /// A tile for the positions of one combination of segments: its rows are those along one axis, loops go over the others.
    fn tile(&self, c: &mut Composer<'_>, chosen: &[Segment], step: &Step<'_, '_>) {
        let plan = self.plan;
        // Rows of the tile: the longest axis, the last of several.
        let plain = (0..chosen.len()).filter(|&axis| !chosen[axis].tested);
        let rows = plain.max_by_key(|&axis| (chosen[axis].count, axis)).expect("a batch axis");
        let (mut a, mut to) = (step.source.clone(), step.corner.clone());
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
            }
            let (count, apart) = if axis == rows { (s.count, s.step) } else { (1, 1) };
            box_of_tile.push(Span { first, count, step: apart, dims: &positions.dims });
        }
        let taps = self.taps(chosen, &box_of_tile, step.channels);
        let Taps { source, weights, mut reduce, open: tested } = open_taps(&mut c.k, &taps);
        reduce.push(TileLoop { extent: step.channels, a: plan.source.channel, b: self.width as i64 });
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
            a: Panel { param: 0, index: a.add(&source), row: s.source_step * positions.source },
            b: Panel { param: 1, index: step.panel.add(&weights), row: 0 },
            c: sums,
            zero: step.zero,
        });
        close_taps(&mut c.k, &tested);
        let sums = self.sums.as_slice();
        match step.epilogue {
            Some(epilogue) => epilogue.emit_chain(c, &self.patch(&box_of_tile), sums),
            None if step.last => store_sums(&mut c.k, sums, (s.count, self.width), (&to, row)),
            None => {}
        }
        // The loops over positions of all axes but that of the rows.
        (1..chosen.len()).for_each(|_| c.k.close());
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
        for ((segment, axis), position) in chosen.iter().zip(&self.plan.axes).zip(positions).rev() {
            let (window, source) = (&axis.window, axis.source);
            taps.push(TapAxis { window, segment, at: &position.first, source, weights });
            weights *= window.kernel as i64;
        }
        taps.reverse();
        taps
    }
}
