//! The gradient with respect to the weights: the transpose of the forward algorithm.
//!
//! ```text
//! dg = Gᵀ [ Σ_tiles (Bᵀ d B) ⊙ (A e Aᵀ) ] G        d, e: a tile of x, and of the gradient with respect to y
//! ```
//!
//! Both images are transformed first, then each of the a² positions of a tile is a matrix product over all tiles,
//! (input channels x tiles) times (tiles x output channels), whose result is transformed back. Images that do not fit
//! the scratch memory are taken in pieces, through which the sums go on. Pieces that look alike are one loop of the schedule,
//! so the program does not grow with the batch.
//!
//! Numeric plan: sums are chains over (image, row of tiles, tile); pieces of images and blocks of tiles only cut them.

use brolga_ir::index::Index;
use brolga_ir::program::{Access, Panel, Step, Tile, TileLoop, ValueId};
use brolga_ir::{DType, NodeId, Type};

use super::super::blocks::{Cut, blocks_of, column_blocks};
use super::super::boxes::for_each_kind;
use super::super::image::Image;
use super::super::windows::{Segment, Window, balanced};
use super::lanes::Lane;
use super::transform::{Filter, Params, Side, Target, Tiling, apart};
use crate::lower::blocking::winograd::LANES;
use crate::lower::blocking::winograd_weights::{DEPTH, FEWEST_BLOCKS, ROWS, SCRATCH, TILES};
use crate::lower::kernel::KernelBuilder;
use crate::lower::regions::compose::Composer;
use crate::lower::{DEEPEST, Location, Lowering};
use crate::schedule::Algorithm;

/// Input channels in blocks.
fn row_blocks(channels: usize, chosen: Option<usize>) -> Vec<Cut> {
    if let Some(rows) = chosen {
        return blocks_of(channels, rows);
    }
    let even = ROWS.into_iter().find(|&rows| channels.is_multiple_of(rows));
    match even {
        Some(rows) => vec![(0, rows, channels / rows)],
        None => blocks_of(channels, ROWS[0]),
    }
}

/// Images that are taken together, and of each rows of tiles: the first one, and their number.
#[derive(Clone, Copy)]
struct Piece {
    images: usize,
    rows: (usize, usize),
}

/// One of the two images.
#[derive(Clone)]
struct Operand {
    side: Side,
    source: Image,
    /// Its rows and columns, and the padding before them.
    extents: [usize; 2],
    low: [i64; 2],
    blocks: Vec<Cut>,
}

impl Operand {
    /// The rows of tiles of a piece.
    fn window(&self, Filter { m, k }: Filter, (first, count): (usize, usize)) -> Window {
        Window {
            stride: m as i64,
            kernel: if self.side == Side::Input { m + k - 1 } else { m },
            low: self.low[0] - (first * m) as i64,
            input: self.extents[0],
            ..Window::identity(count)
        }
    }

    /// What a piece of rows sees, from its own beginning on.
    fn look(&self, filter: Filter, rows: (usize, usize)) -> Vec<Segment> {
        let mut segments = self.window(filter, rows).segments(0, rows.1 as i64);
        let moved = (rows.0 * filter.m) as i64;
        segments.iter_mut().filter(|s| s.taps > 0).for_each(|s| s.source -= moved);
        segments
    }
}

struct Plan {
    filter: Filter,
    dtype: DType,
    across: usize,
    channels: usize,
    outputs: usize,
    rows: Vec<Cut>,
    columns: Vec<Cut>,
    /// Tiles, about, of a step of the products.
    depth: usize,
}

impl Lowering<'_> {
    /// The gradient of a convolution of `batch` images with respect to its weights, by tiles of m x m.
    pub(in super::super) fn winograd_gradient(
        &mut self,
        m: usize,
        batch: usize,
        windows: [Window; 2],
        [x, dy]: [&Image; 2],
        (target, result): (Location, &Type),
        id: NodeId,
    ) {
        self.choose(Algorithm::WinogradWeights, id);
        let (outputs, channels) = (result.dims[0], result.dims[1]);
        let [down, across] = [windows[0].output.div_ceil(m), windows[1].output.div_ceil(m)];
        let plan = Plan {
            filter: Filter { m, k: windows[0].kernel },
            dtype: result.dtype,
            across,
            channels,
            outputs,
            rows: row_blocks(channels, self.schedule.rows.map(|_| self.schedule.rows(ROWS[0]))),
            columns: column_blocks(outputs, self.schedule.columns()),
            depth: self.schedule.depth(DEPTH),
        };
        let operands = [
            Operand {
                side: Side::Input,
                source: x.clone(),
                extents: [windows[0].input, windows[1].input],
                low: [windows[0].low, windows[1].low],
                blocks: plan.rows.clone(),
            },
            Operand {
                side: Side::Gradient,
                source: dy.clone(),
                extents: [windows[0].output, windows[1].output],
                low: [0, 0],
                blocks: plan.columns.clone(),
            },
        ];
        let whole = Piece { images: batch, rows: (0, down) };
        // Deep inside loops there is none left for the pieces.
        let deep = self.depth + 2 > DEEPEST;
        let largest = if deep { whole } else { plan.largest_piece(batch, down) };
        let transformed = [0, 1].map(|side: usize| {
            let elements = plan.transformed(plan.tiles(largest), &operands[side].blocks);
            self.arena("winograd", Type::new(plan.dtype, [elements]))
        });
        let single = largest.images == batch && largest.rows.1 == down && plan.tiles(whole) > 0;
        let blocks: usize = plan.columns.iter().map(|cut| cut.2).sum();
        if single && blocks >= FEWEST_BLOCKS {
            self.transform(&plan, &operands, whole, transformed, id);
            return self.multiply_and_finish(&plan, transformed, whole, (target, result), id);
        }
        let name = format!("{}:winograd", self.graph.node(id).origin.path);
        let sums = self.arena(&name, Type::new(plan.dtype, [plan.area() * channels * outputs]));
        if single {
            self.transform(&plan, &operands, whole, transformed, id);
            self.add_products(&plan, transformed, whole, (sums, true), id);
        } else {
            self.clear(plan.dtype, plan.area() * channels * outputs, sums, id);
            let rows = plan.row_runs(&operands, down, largest.rows.1);
            for (first, images, count) in blocks_of(batch, largest.images.max(1)) {
                let mut from = operands.clone();
                for operand in &mut from {
                    operand.source.offset += first as i64 * operand.source.positions[0];
                }
                self.repeat(count, from, (0, images), &mut |lowering, from| {
                    for &(rows, count) in &rows {
                        let piece = Piece { images, rows };
                        lowering.repeat(count, from.clone(), (1, rows.1 * m), &mut |lowering, from| {
                            lowering.transform(&plan, from, piece, transformed, id);
                            lowering.add_products(&plan, transformed, piece, (sums, false), id);
                        });
                    }
                });
            }
        }
        self.finish(&plan, sums, (target, result), id);
    }

    /// What `body` lowers, `count` times, with images that move on along an axis by so many positions each time.
    fn repeat(
        &mut self,
        count: usize,
        mut operands: [Operand; 2],
        (axis, positions): (usize, usize),
        body: &mut dyn FnMut(&mut Self, &[Operand; 2]),
    ) {
        if count <= 1 {
            return body(self, &operands);
        }
        for Operand { source, .. } in &mut operands {
            *source = source.moving(self.depth, count, positions as i64 * source.positions[axis]);
        }
        let before = std::mem::take(&mut self.program.schedule);
        self.depth += 1;
        body(self, &operands);
        self.depth -= 1;
        let steps = std::mem::replace(&mut self.program.schedule, before);
        self.program.schedule.push(Step::Loop { extent: count, body: steps });
    }

    /// Zeros, from which sums start.
    fn clear(&mut self, dtype: DType, elements: usize, to: Location, id: NodeId) {
        let mut k = KernelBuilder::new("clear");
        let target = k.param(dtype, elements, Access::Write);
        let at = Index::var(k.open_for(elements));
        let zero = k.zero_of(target);
        k.store(target, at, zero);
        k.close();
        self.call(k.finish_kernel(), vec![to], id);
    }

    /// Both images of a piece.
    fn transform(
        &mut self,
        plan: &Plan,
        operands: &[Operand; 2],
        piece: Piece,
        to: [Location; 2],
        id: NodeId,
    ) {
        for (operand, to) in operands.iter().zip(to) {
            self.transform_tiles(plan, operand, piece, to, id);
        }
    }

    /// `[block of channels][position][image, row, tile][channel]`
    fn transform_tiles(
        &mut self,
        plan: &Plan,
        operand: &Operand,
        piece: Piece,
        transformed: Location,
        id: NodeId,
    ) {
        let (dtype, source) = (plan.dtype, &operand.source);
        let tiles = plan.tiles(piece);
        let elements = plan.transformed(tiles, &operand.blocks);
        let rows = operand.window(plan.filter, piece.rows);
        let chunks =
            vec![Window::identity(piece.images).chunks(1), rows.chunks((TILES / plan.across).max(1))];
        let tiling = Tiling {
            side: operand.side,
            dtype,
            filter: plan.filter,
            source,
            low: operand.low[1] as usize,
            columns: operand.extents[1],
            across: plan.across,
            chunks,
        };
        let mut start = 0;
        for &(first, width, count) in &operand.blocks {
            for (lane, lanes, runs) in blocks_of(width, LANES) {
                let mut c = Composer::new(self.graph, "winograd_tiles");
                let counts = [tiling.chunks[0].count, tiling.chunks[1].count];
                c.k.param(dtype, source.len, Access::Read);
                c.k.param(dtype, elements, Access::Write);
                let params = Params { image: 0, transformed: 1, line: c.k.local(dtype, tiling.buffer()) };
                let at = counts.map(|count| Index::var(c.k.open_grid(count)));
                let (block, run) = (Index::var(c.k.open_grid(count)), Index::var(c.k.open_grid(runs)));
                tiling.clear(&mut c, params);
                let inside = run.scale(lanes as i64).plus(lane as i64);
                let channel = block.scale(width as i64).add(&inside).plus(first as i64);
                let row = (plan.across * width) as i64;
                let image = piece.rows.1 as i64 * row;
                let position = apart(tiles * width) as i64;
                let to = Target {
                    start: block
                        .scale((plan.area() * apart(tiles * width)) as i64)
                        .add(&at[0].scale(image))
                        .add(&at[1].scale(tiling.chunks[1].length as i64 * row))
                        .add(&inside)
                        .plus(start as i64),
                    positions: [plan.filter.a() as i64 * position, position],
                    image,
                    tile: width as i64,
                };
                for_each_kind(&mut c, &tiling.chunks, &at, &mut |c, groups| {
                    tiling.emit(c, params, groups, &at, (&channel, lanes), &to);
                });
                (0..4).for_each(|_| c.k.close());
                self.call(c.k.finish_kernel(), vec![source.location, transformed], id);
            }
            start += plan.transformed(tiles, &[(first, width, count)]);
        }
    }

    /// Adds the products of a piece to the sums, `[block of inputs][block of outputs][position][input][output]`.
    fn add_products(
        &mut self,
        plan: &Plan,
        [x, dy]: [Location; 2],
        piece: Piece,
        (sums, first): (Location, bool),
        id: NodeId,
    ) {
        let tiles = plan.tiles(piece);
        plan.for_each_cut(&mut |rows, columns, start| {
            let mut k = plan.kernel("winograd_products", tiles);
            let to = k.param(plan.dtype, plan.area() * plan.channels * plan.outputs, Access::ReadWrite);
            let position = Index::var(k.open_grid(plan.area()));
            let (row, column) = (Index::var(k.open_grid(rows.2)), Index::var(k.open_grid(columns.2)));
            let size = (rows.1 * columns.1) as i64;
            let number = row.scale(columns.2 as i64).add(&column);
            let sums_at = number.scale(plan.area() as i64).add(&position).scale(size).plus(start as i64);
            plan.multiply(&mut k, tiles, (rows, &row), (columns, &column), &position, (to, &sums_at, first));
            (0..3).for_each(|_| k.close());
            self.call(k.finish_kernel(), vec![x, dy, sums], id);
        });
    }

    /// The weights' gradient from all sums.
    fn finish(&mut self, plan: &Plan, sums: Location, (target, result): (Location, &Type), id: NodeId) {
        plan.for_each_cut(&mut |rows, columns, start| {
            let mut k = KernelBuilder::new("winograd_weights");
            let from = k.param(plan.dtype, plan.area() * plan.channels * plan.outputs, Access::Read);
            let to = k.param(plan.dtype, result.elements(), Access::Write);
            let (row, column) = (Index::var(k.open_grid(rows.2)), Index::var(k.open_grid(columns.2)));
            let number = row.scale(columns.2 as i64).add(&column);
            let first = number.scale((plan.area() * rows.1 * columns.1) as i64).plus(start as i64);
            plan.turn(&mut k, (from, &first), to, (rows, &row), (columns, &column));
            (0..2).for_each(|_| k.close());
            self.call(k.finish_kernel(), vec![sums, target], id);
        });
    }

    /// Both for a block of output channels after the other, with the sums in local memory.
    fn multiply_and_finish(
        &mut self,
        plan: &Plan,
        [x, dy]: [Location; 2],
        piece: Piece,
        (target, result): (Location, &Type),
        id: NodeId,
    ) {
        let tiles = plan.tiles(piece);
        plan.for_each_cut(&mut |rows, columns, _| {
            let mut k = plan.kernel("winograd_products", tiles);
            let block = rows.1 * columns.1;
            let to = k.param(plan.dtype, result.elements(), Access::Write);
            let sums = k.local(plan.dtype, plan.area() * block);
            let column = Index::var(k.open_grid(columns.2));
            let row = Index::var(k.open_for(rows.2));
            let position = Index::var(k.open_for(plan.area()));
            let at = position.scale(block as i64);
            plan.multiply(&mut k, tiles, (rows, &row), (columns, &column), &position, (sums, &at, true));
            k.close();
            plan.turn(&mut k, (sums, &Index::default()), to, (rows, &row), (columns, &column));
            (0..2).for_each(|_| k.close());
            self.call(k.finish_kernel(), vec![x, dy, target], id);
        });
    }
}

impl Plan {
    /// Positions of a tile.
    fn area(&self) -> usize {
        self.filter.area()
    }

    /// Weights of one input and one output.
    fn weights(&self) -> usize {
        self.filter.k * self.filter.k
    }

    fn tiles(&self, piece: Piece) -> usize {
        piece.images * piece.rows.1 * self.across
    }

    /// Elements of a transformed image.
    fn transformed(&self, tiles: usize, blocks: &[Cut]) -> usize {
        blocks.iter().map(|&(_, width, count)| self.area() * apart(tiles * width) * count).sum()
    }

    /// The images, and the rows of tiles of the `down` ones of an image, of the first piece: no other has more.
    fn largest_piece(&self, batch: usize, down: usize) -> Piece {
        let row = self.area() * self.across * (self.channels + self.outputs);
        let images = balanced(batch, (SCRATCH / (row * down).max(1)).max(1)).min(batch);
        let rows = if row * down <= SCRATCH { down } else { balanced(down, (SCRATCH / row.max(1)).max(1)) };
        Piece { images, rows: (0, rows) }
    }

    /// The rows of tiles of an image in pieces of so many, in order: the first of each run of pieces that look alike, and
    /// the number of these.
    fn row_runs(&self, operands: &[Operand; 2], down: usize, rows: usize) -> Vec<((usize, usize), usize)> {
        let look = |piece: (usize, usize)| [0, 1].map(|side: usize| operands[side].look(self.filter, piece));
        let mut runs: Vec<((usize, usize), usize)> = Vec::new();
        for first in (0..down).step_by(rows.max(1)) {
            let piece = (first, rows.min(down - first));
            match runs.last_mut() {
                Some((start, count)) if start.1 == piece.1 && look(*start) == look(piece) => *count += 1,
                _ => runs.push((piece, 1)),
            }
        }
        runs
    }

    /// Every run of blocks of rows with every run of blocks of columns, and where its sums begin.
    fn for_each_cut(&self, body: &mut dyn FnMut(Cut, Cut, usize)) {
        let mut start = 0;
        for &rows in &self.rows {
            for &columns in &self.columns {
                body(rows, columns, start);
                start += self.area() * rows.1 * rows.2 * columns.1 * columns.2;
            }
        }
    }

    /// A kernel whose first parameters are the transformed images.
    fn kernel(&self, name: &str, tiles: usize) -> KernelBuilder {
        let mut k = KernelBuilder::new(name);
        k.param(self.dtype, self.transformed(tiles, &self.rows), Access::Read);
        k.param(self.dtype, self.transformed(tiles, &self.columns), Access::Read);
        k
    }

    /// Adds up the products of one position, for a block of inputs and one of outputs.
    fn multiply(
        &self,
        k: &mut KernelBuilder,
        tiles: usize,
        (rows, row): (Cut, &Index),
        (columns, column): (Cut, &Index),
        position: &Index,
        (sums, to, first): (usize, &Index, bool),
    ) {
        let panel = |blocks: &[Cut], (first, width, _): Cut, block: &Index| {
            let before: Vec<Cut> = blocks.iter().copied().take_while(|cut| cut.0 < first).collect();
            let position = position.scale(apart(tiles * width) as i64);
            let block = block.scale((self.area() * apart(tiles * width)) as i64);
            block.add(&position).plus(self.transformed(tiles, &before) as i64)
        };
        let (a, b) = (panel(&self.rows, rows, row), panel(&self.columns, columns, column));
        let mut zero = first;
        for (start, depth, count) in blocks_of(tiles, balanced(tiles, self.depth)) {
            // The first step starts the chain and stands alone.
            let alone = usize::from(zero).min(count);
            for (start, count) in [(start, alone), (start + depth * alone, count - alone)] {
                if count == 0 {
                    continue;
                }
                let step = Index::var(k.open_for(count)).scale(depth as i64).plus(start as i64);
                k.tile(Tile {
                    dtype: self.dtype,
                    m: rows.1,
                    n: columns.1,
                    reduce: vec![TileLoop { extent: depth, a: rows.1 as i64, b: columns.1 as i64 }],
                    a: Panel { param: 0, index: a.add(&step.scale(rows.1 as i64)), row: 1 },
                    b: Panel { param: 1, index: b.add(&step.scale(columns.1 as i64)), row: 0 },
                    c: Panel { param: sums, index: to.clone(), row: columns.1 as i64 },
                    zero,
                });
                k.close();
                zero = false;
            }
        }
    }

    /// `Gᵀ P G` for a block of inputs and one of outputs. Lanes are output channels, which are far apart in the weights.
    fn turn(
        &self,
        k: &mut KernelBuilder,
        (sums, from): (usize, &Index),
        target: usize,
        (rows, row): (Cut, &Index),
        (columns, column): (Cut, &Index),
    ) {
        let (Filter { k: size, .. }, a, weights) = (self.filter, self.filter.a(), self.weights());
        let channel = Index::var(k.open_for(rows.1));
        let output = Index::var(k.open_for(columns.1));
        let from = from.add(&channel.scale(columns.1 as i64)).add(&output);
        let half: Vec<Vec<ValueId>> = (0..a)
            .map(|j| {
                let position = |i: usize| ((i * a + j) * rows.1 * columns.1) as i64;
                let p: Vec<ValueId> = (0..a).map(|i| k.load_now(sums, &from.plus(position(i)))).collect();
                Lane { k, dtype: self.dtype }.kernel_gradient(size, &p)
            })
            .collect();
        let output = column.scale(columns.1 as i64).add(&output).plus(columns.0 as i64);
        let channel = row.scale(rows.1 as i64).add(&channel).plus(rows.0 as i64);
        let to = output.scale(self.channels as i64).add(&channel).scale(weights as i64);
        for y in 0..size {
            let p: Vec<ValueId> = half.iter().map(|column| column[y]).collect();
            let values = Lane { k, dtype: self.dtype }.kernel_gradient(size, &p);
            for (x, value) in values.into_iter().enumerate() {
                k.store(target, to.plus((size * y + x) as i64), value);
            }
        }
        (0..2).for_each(|_| k.close());
    }
}

#[cfg(test)]
mod tests {
    use brolga_ir::program::BufferId;

    use super::*;

    #[test]
    fn pieces_cover_every_row_of_tiles_in_order() {
        for (channels, outputs, across, down, batch) in [
            (64, 64, 14, 14, 8),
            (64, 128, 56, 56, 3),
            (512, 512, 2, 2, 8),
            (1, 1, 1, 1, 0),
            (3, 5, 200, 7, 2),
        ] {
            let plan = Plan {
                filter: Filter { m: 4, k: 3 },
                dtype: DType::F32,
                across,
                channels,
                outputs,
                rows: row_blocks(channels, None),
                columns: column_blocks(outputs, None),
                depth: DEPTH,
            };
            let image =
                Image { location: BufferId(0).into(), len: 0, offset: 0, positions: Vec::new(), channel: 1 };
            let operand = |side, low| {
                let extents = [4 * down, 4 * across];
                Operand { side, source: image.clone(), extents, low: [low; 2], blocks: Vec::new() }
            };
            let largest = plan.largest_piece(batch, down);
            let operands = [operand(Side::Input, 1), operand(Side::Gradient, 0)];
            let runs = plan.row_runs(&operands, down, largest.rows.1);
            assert!(runs.len() <= 4, "borders and a rest");
            let rows: Vec<(usize, usize)> = runs
                .iter()
                .flat_map(|&((first, rows), count)| (0..count).map(move |n| (first + n * rows, rows)))
                .collect();
            let images = blocks_of(batch, largest.images.max(1));
            let images = images.into_iter().flat_map(|(first, each, count)| {
                (0..count).map(move |n| first + n * each..first + (n + 1) * each)
            });
            let covered: Vec<(usize, usize)> = images
                .flat_map(|images| {
                    let rows = rows.clone();
                    rows.into_iter().flat_map(move |(first, count)| {
                        images.clone().flat_map(move |n| (first..first + count).map(move |row| (n, row)))
                    })
                })
                .collect();
            let all: Vec<(usize, usize)> = (0..batch).flat_map(|n| (0..down).map(move |r| (n, r))).collect();
            assert_eq!(covered, all);
        }
    }
}
