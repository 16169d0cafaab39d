//! Convolutions with the channels first whose last axis is not windowed: lanes are positions along that axis.
//!
//! A tile's rows are output channels, its columns positions along the last axis, and it belongs to one position along
//! each other axis. Its chain is that of the kernels with the channels last (`lower/correlate.rs`): over (block of input
//! channels, kernel position, channel in the block), without taps outside the image. Weights are read where they
//! lie.

use brolga_ir::index::Index;
use brolga_ir::ops::{Conv, ConvForm};
use brolga_ir::program::{Access, Panel, Tile, TileLoop};
use brolga_ir::{NodeId, Type};

use super::blocks::{Cut, blocks_of, channel_blocks};
use super::boxes::{boxes, for_each_kind};
use super::epilogue::{Epilogue, Patch, RESULT, Span};
use super::windows::{Chunks, Group, Segment, Window};
use crate::lower::blocking::channels_first::{COLUMNS, POSITIONS, ROWS};
use crate::lower::blocking::code;
use crate::lower::regions::compose::Composer;
use crate::lower::{Location, Lowering, StridedAccess};
use crate::schedule::{Algorithm, Schedule};

/// Whether a convolution with the channels first has this form: an extent of 1 along the last of several axes.
pub(super) fn applies(conv: &Conv, x: &Type, w: &Type) -> bool {
    conv.form == ConvForm::Forward
        && conv.spatial() > 1
        && w.dims.last() == Some(&1)
        && axis(conv, conv.spatial() - 1, x, w, x.dims[x.rank() - 1]).is_identity()
        && w.dims[2..].iter().product::<usize>() <= code::KERNEL
}

/// One spatial axis with so many outputs.
fn axis(conv: &Conv, axis: usize, x: &Type, w: &Type, output: usize) -> Window {
    Window::forward(conv, axis, (x.dims[axis + 2], w.dims[axis + 2], output))
}

/// What the kernels of a convolution have in common.
struct Plan<'a> {
    /// Along the windowed axes.
    windows: &'a [Window],
    chunks: &'a [Chunks],
    x: &'a StridedAccess,
    w: &'a StridedAccess,
    target: Location,
    result: &'a Type,
    groups: usize,
    /// Of one group.
    channels: usize,
    outputs: usize,
    schedule: Schedule,
    epilogue: Option<Epilogue<'a>>,
}

impl Lowering<'_> {
    /// y[n, o, p, i] = Σ over c, k of x[n, c, j(p, k), i] · w[o, c, k], with x contiguous along the last axis.
    pub(super) fn channels_first(
        &mut self,
        conv: &Conv,
        types: [&Type; 2],
        [x, w]: [StridedAccess; 2],
        (target, result): (Location, &Type),
        epilogue: Option<Epilogue<'_>>,
        id: NodeId,
    ) {
        self.choose(Algorithm::Direct, id);
        let windowed = 0..conv.spatial() - 1;
        let windows: Vec<Window> =
            windowed.map(|a| axis(conv, a, types[0], types[1], result.dims[a + 2])).collect();
        let row = windows.last().map_or(1, |along| along.output);
        let room = row.clamp(*POSITIONS.start(), *POSITIONS.end());
        let plan = Plan {
            windows: &windows,
            chunks: &boxes(windows.iter(), self.schedule.rows(room)),
            x: &x,
            w: &w,
            target,
            result,
            groups: conv.groups,
            channels: types[1].dims[1],
            outputs: result.dims[1] / conv.groups,
            schedule: self.schedule,
            epilogue,
        };
        let last = *result.dims.last().expect("a spatial axis");
        for rows in blocks_of(plan.outputs, ROWS) {
            for columns in blocks_of(last, self.schedule.columns().unwrap_or(COLUMNS)) {
                self.channels_first_blocks(&plan, rows, columns, id);
            }
        }
    }

    /// The kernel for a run of blocks of output channels and one of blocks of positions along the last axis.
    fn channels_first_blocks(&mut self, plan: &Plan<'_>, rows: Cut, columns: Cut, id: NodeId) {
        let (result, chunks) = (plan.result, plan.chunks);
        let graph = plan.epilogue.map_or(self.graph, |epilogue| epilogue.body);
        let mut c = Composer::new(graph, plan.epilogue.map_or("conv", |epilogue| epilogue.name));
        let mut params = vec![plan.x.location, plan.w.location, plan.target];
        c.k.param(result.dtype, plan.x.len, Access::Read);
        c.k.param(result.dtype, plan.w.len, Access::Read);
        c.k.param(result.dtype, result.elements(), Access::ReadWrite);
        if let Some(epilogue) = plan.epilogue {
            epilogue.parameters(&mut c, &mut params);
        }
        let mut grid = |count: usize| Index::var(c.k.open_grid(count));
        let (image, group) = (grid(result.dims[0]), grid(plan.groups));
        let row = group.scale(plan.outputs as i64).add(&grid(rows.2).scale(rows.1 as i64));
        let column = grid(columns.2).scale(columns.1 as i64).plus(columns.0 as i64);
        let at: Vec<Index> = chunks.iter().map(|chunk| grid(chunk.count)).collect();
        let block = Block {
            plan,
            at: &at,
            source: group.scale(plan.channels as i64 * plan.x.strides[1]),
            image,
            row: row.plus(rows.0 as i64),
            rows: rows.1,
            column,
            columns: columns.1,
        };
        for_each_kind(&mut c, chunks, &at, &mut |c, groups| {
            block.segments(c, groups, &mut Vec::new());
            if let Some(epilogue) = plan.epilogue {
                let axes = &block.spans(groups);
                epilogue.emit_rest(c, &Patch { axes, column: &block.column, width: block.columns });
            }
        });
        (0..4 + at.len()).for_each(|_| c.k.close());
        self.call(c.k.finish_kernel(), params, id);
    }
}

/// What a grid point computes: a chunk of every windowed axis, a block of output channels, and one of positions along the
/// last axis.
struct Block<'b, 'a> {
    plan: &'b Plan<'a>,
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

impl<'b> Block<'b, '_> {
    /// The axes in front of the windowed ones, as the epilogue wants them.
    fn first_spans(&self) -> Vec<Span<'b>> {
        let dims = &self.plan.result.dims;
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
        let axes = self.at.iter().zip(self.plan.chunks).zip(groups).zip(self.plan.windows);
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

    /// A tile for every position of a combination of segments, and its part of the epilogue.
    fn tiles(&self, c: &mut Composer<'_>, chosen: &[Segment]) {
        let plan = self.plan;
        let (x, w) = (plan.x, plan.w);
        let strides: Vec<i64> = plan.result.strides().into_iter().map(|s| s as i64).collect();
        let mut a = self.row.scale(w.strides[0]).plus(w.offset);
        let mut b = self.image.scale(x.strides[0]).add(&self.source).add(&self.column).plus(x.offset);
        let mut to = self.image.scale(strides[0]).add(&self.row.scale(strides[1])).add(&self.column);
        let mut spans = self.first_spans();
        let mut taps = Vec::new();
        for (axis, s) in chosen.iter().enumerate() {
            let (at, chunk) = (&self.at[axis], &plan.chunks[axis]);
            let (from, kernel, along) = (x.strides[axis + 2], w.strides[axis + 2], strides[axis + 2]);
            let var = Index::var(c.k.open_for(s.count));
            let first = at.scale(chunk.length as i64).plus(s.start).add(&var.scale(s.step));
            let source = at.scale(chunk.source_step).plus(s.source).add(&var.scale(s.source_step));
            a = a.plus(s.tap as i64 * kernel);
            b = b.add(&source.scale(from));
            to = to.add(&first.scale(along));
            if s.taps > 1 {
                let (a, b) = (s.tap_step as i64 * kernel, s.source_tap * from);
                taps.push(TileLoop { extent: s.taps, a, b });
            }
            spans.push(Span {
                first,
                count: 1,
                step: 1,
                dims: std::slice::from_ref(&plan.windows[axis].output),
            });
        }
        let area: usize = plan.windows.iter().map(|window| window.kernel).product();
        let blocks = channel_blocks(plan.channels, area, &plan.schedule);
        if blocks.is_empty() || chosen.iter().any(|s| s.taps == 0) {
            let at = Index::var(c.k.open_for(self.rows)).scale(strides[1]);
            let at = to.add(&at).add(&Index::var(c.k.open_for(self.columns)));
            let zero = c.k.zero_of(RESULT);
            c.k.store(RESULT, at, zero);
            (0..2).for_each(|_| c.k.close());
        } else {
            for (number, &(channel, inner, count)) in blocks.iter().enumerate() {
                let over = |extent: usize, channels: usize| TileLoop {
                    extent,
                    a: channels as i64 * w.strides[1],
                    b: channels as i64 * x.strides[1],
                };
                let outer = (count > 1).then(|| over(count, inner));
                c.k.tile(Tile {
                    dtype: plan.result.dtype,
                    m: self.rows,
                    n: self.columns,
                    reduce: outer.into_iter().chain(taps.iter().cloned()).chain([over(inner, 1)]).collect(),
                    a: Panel { param: 1, index: a.plus(channel as i64 * w.strides[1]), row: w.strides[0] },
                    b: Panel { param: 0, index: b.plus(channel as i64 * x.strides[1]), row: 0 },
                    c: Panel { param: RESULT, index: to.clone(), row: strides[1] },
                    zero: number == 0,
                });
            }
        }
        if let Some(epilogue) = plan.epilogue {
            let patch = Patch { axes: &spans, column: &self.column, width: self.columns };
            epilogue.emit_chain(c, &patch, &[]);
        }
        chosen.iter().for_each(|_| c.k.close());
    }
}
