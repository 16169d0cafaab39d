//! The way into the transformed domain: tiles of an image, of x or of the gradient with respect to y, as matrices of
//! (tile, channel) for every position of a tile.
//!
//! A row of tiles is transformed along columns first, from the image to a line buffer, then along rows. Lanes are
//! channels. Rows that the image does not have count as zero; columns are padded in the line buffer.

use brolga_ir::DType;
use brolga_ir::index::Index;
use brolga_ir::program::ValueId;

use super::super::image::Image;
use super::super::method::Filter;
use super::lanes::Lane;
use crate::facts::blocking::winograd::LANES;
use crate::facts::windows::{Chunks, Group, Segment};
use crate::lower::regions::compose::Composer;

/// The distance of the positions of a tile whose matrices have that many elements: an odd number of cache lines, so that
/// the positions of one tile do not all fall into the same set of the cache.
pub(super) fn apart(elements: usize) -> usize {
    (elements.div_ceil(LANES) | 1) * LANES
}

/// Which image is cut into tiles.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    /// x, in overlapping tiles of a: `Bᵀ d B`.
    Input,
    /// The gradient with respect to y, in tiles of m: `A e Aᵀ`.
    Gradient,
}

/// An image in tiles.
pub(super) struct Tiles<'a> {
    pub side: Side,
    pub dtype: DType,
    pub filter: Filter,
    pub source: &'a Image,
    /// Padding before the columns, and their number.
    pub low: usize,
    pub columns: usize,
    /// Tiles along the columns.
    pub across: usize,
    /// Pieces of (batch, rows of tiles).
    pub chunks: Vec<Chunks>,
}

/// The parameters of a kernel that transforms.
#[derive(Clone, Copy)]
pub(super) struct Params {
    pub image: usize,
    pub line: usize,
    pub transformed: usize,
}

/// A box of tiles: of what kind its chunks of (batch, rows of tiles) are, and which these are.
#[derive(Clone, Copy)]
pub(super) struct TileBox<'b> {
    pub groups: &'b [&'b Group],
    pub at: &'b [Index],
}

/// Neighbouring channels of the tiles of a box: the first one, their number, and where they lie when they are transformed.
pub(super) struct Target {
    pub channel: Index,
    pub lanes: usize,
    pub start: Index,
    /// From one position of a tile to the next, down and across; from one image to the next, from one tile to the next.
    pub positions: [i64; 2],
    pub image: i64,
    pub tile: i64,
}

impl Tiles<'_> {
    /// Positions of a tile along an axis, before the transform.
    fn taps(&self) -> usize {
        if self.side == Side::Input { self.filter.a() } else { self.filter.m }
    }

    /// Columns of the line buffer.
    fn line(&self) -> usize {
        self.filter.m * self.across + self.taps() - self.filter.m
    }

    /// Elements of a line buffer.
    pub fn buffer(&self) -> usize {
        self.filter.a() * self.line() * LANES
    }

    /// Opens a grid of boxes: along the batch, and along the rows of tiles.
    pub fn open_boxes(&self, c: &mut Composer<'_>) -> Vec<Index> {
        self.chunks.iter().map(|chunk| Index::var(c.k.open_grid(chunk.count))).collect()
    }

    /// Zeros in the columns of the line buffer that no input is written to.
    pub fn clear(&self, c: &mut Composer<'_>, params: Params) {
        let (from, to) = (self.low, self.low + self.columns);
        for (start, count) in [(0, from), (to, self.line().saturating_sub(to))] {
            let row = Index::var(c.k.open_for(self.filter.a()));
            let column = Index::var(c.k.open_for(count));
            let lane = Index::var(c.k.open_for(LANES));
            let at = row.scale(self.line() as i64).add(&column).plus(start as i64).scale(LANES as i64);
            let zero = c.k.zero_of(params.line);
            c.k.store(params.line, at.add(&lane), zero);
            (0..3).for_each(|_| c.k.close());
        }
    }

    fn along(&self, c: &mut Composer<'_>, values: &[ValueId]) -> Vec<ValueId> {
        let mut lane = Lane { k: &mut c.k, dtype: self.dtype };
        match self.side {
            Side::Input => lane.input(values),
            Side::Gradient => lane.gradient(self.filter.a(), values),
        }
    }

    /// Transforms the tiles of a box, for the channels of a target.
    pub fn emit(&self, c: &mut Composer<'_>, params: Params, boxed: TileBox<'_>, target: &Target) {
        let (source, chunk) = (self.source, &self.chunks[1]);
        let TileBox { groups, at } = boxed;
        let image = Index::var(c.k.open_for(groups[0].extent));
        let whole = at[0].scale(self.chunks[0].length as i64).add(&image);
        let base =
            whole.scale(source.positions[0]).plus(source.offset).add(&target.channel.scale(source.channel));
        for segment in &groups[1].segments {
            let row = Index::var(c.k.open_for(segment.count));
            let first =
                at[1].scale(chunk.source_step).add(&row.scale(segment.source_step)).plus(segment.source);
            self.fill_line(c, params, segment, &base.add(&first.scale(source.positions[1])), target.lanes);
            let number = row.scale(segment.step).plus(segment.start).scale(self.across as i64);
            let to = target.start.add(&image.scale(target.image)).add(&number.scale(target.tile));
            self.read_line(c, params, &to, target);
            c.k.close();
        }
        c.k.close();
    }

    /// A row of tiles along columns, from the image, where its first input lies at `first`, to the line buffer.
    fn fill_line(
        &self,
        c: &mut Composer<'_>,
        params: Params,
        segment: &Segment,
        first: &Index,
        lanes: usize,
    ) {
        let source = self.source;
        let column = Index::var(c.k.open_for(self.columns));
        let lane = Index::var(c.k.open_for(lanes));
        let from = first.add(&column.scale(source.positions[2])).add(&lane.scale(source.channel));
        let present = segment.tap..segment.tap + segment.taps;
        let d: Vec<ValueId> = (0..self.taps())
            .map(|tap| match present.contains(&tap) {
                true => {
                    let row = (tap - segment.tap) as i64 * segment.source_tap;
                    c.k.load_now(params.image, &from.plus(row * source.positions[1]))
                }
                false => c.k.zero_of(params.line),
            })
            .collect();
        for (i, value) in self.along(c, &d).into_iter().enumerate() {
            let to = column.plus((i * self.line() + self.low) as i64).scale(LANES as i64);
            c.k.store(params.line, to.add(&lane), value);
        }
        (0..2).for_each(|_| c.k.close());
    }

    /// A row of tiles along rows, from the line buffer to the target, where its first tile lies at `first`.
    fn read_line(&self, c: &mut Composer<'_>, params: Params, first: &Index, target: &Target) {
        let tile = Index::var(c.k.open_for(self.across));
        let i = Index::var(c.k.open_for(self.filter.a()));
        let lane = Index::var(c.k.open_for(target.lanes));
        let from = i.scale(self.line() as i64).add(&tile.scale(self.filter.m as i64)).scale(LANES as i64);
        let d: Vec<ValueId> = (0..self.taps())
            .map(|j| c.k.load_now(params.line, &from.add(&lane).plus((j * LANES) as i64)))
            .collect();
        let to = first.add(&tile.scale(target.tile)).add(&i.scale(target.positions[0])).add(&lane);
        for (j, value) in self.along(c, &d).into_iter().enumerate() {
            c.k.store(params.transformed, to.plus(j as i64 * target.positions[1]), value);
        }
        (0..3).for_each(|_| c.k.close());
    }
}
