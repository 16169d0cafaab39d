//! Winograd's gradient with respect to the weights, of convolutions of stride 1: the transpose of the forward algorithm.
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
use brolga_ir::program::{Access, Kernel, Panel, Tile, TileLoop, ValueId};
use brolga_ir::{DType, Type};

use super::super::boxes::for_each_kind;
use super::super::image::Image;
use super::super::method::Filter;
use super::super::product::Product;
use super::super::shape::Shape;
use super::super::tiling::{Tiling, shares_columns_of_weights, transformed_rows};
use super::lanes::Lane;
use super::transform::{Params, Side, Target, TileBox, Tiles, apart};
use crate::facts::blocking::winograd::LANES;
use crate::facts::blocks::{Cut, blocks_of, count, starting};
use crate::facts::windows::{Segment, Window, balanced};
use crate::lower::kernel::KernelBuilder;
use crate::lower::regions::compose::Composer;
use crate::lower::{DEEPEST, Location, Lowering};

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
    /// x, and the gradient with respect to y.
    fn both(asked: &Product<'_>, sizes: &Sizes) -> [Operand; 2] {
        let &[rows, columns] = asked.shape.windows.as_slice() else { unreachable!("images have two axes") };
        [
            Operand {
                side: Side::Input,
                source: asked.source.clone(),
                extents: [rows.input, columns.input],
                low: [rows.low, columns.low],
                blocks: sizes.rows.clone(),
            },
            Operand {
                side: Side::Gradient,
                source: asked.weights.image(),
                extents: [rows.output, columns.output],
                low: [0, 0],
                blocks: sizes.columns.clone(),
            },
        ]
    }

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

/// The sizes of a gradient, and how they are cut.
struct Sizes {
    filter: Filter,
    dtype: DType,
    /// Tiles along the columns of an image, and along its rows.
    across: usize,
    down: usize,
    channels: usize,
    outputs: usize,
    /// Input channels and output channels in blocks: rows and columns of the products.
    rows: Vec<Cut>,
    columns: Vec<Cut>,
    /// Images, and rows of tiles of one, that are transformed together.
    together: [usize; 2],
    /// Tiles, about, of a block of the products.
    depth: usize,
}

/// A gradient that is being lowered: both images, and where a piece of them lies when it is transformed.
struct Transposed<'a> {
    asked: &'a Product<'a>,
    sizes: Sizes,
    images: [Location; 2],
}

/// A part of the channels of an image: those of a run of blocks (`cut`), which begins at `start`, that a run of lanes in a block
/// stands for; and of which piece.
#[derive(Clone, Copy)]
struct ChannelPart {
    piece: Piece,
    cut: Cut,
    lanes: Cut,
    start: usize,
}

/// A block of input channels and one of output channels: the runs that they are of, and their numbers in there.
struct BlockPair<'b> {
    rows: Cut,
    row: &'b Index,
    columns: Cut,
    column: &'b Index,
}

/// Where sums are: the parameter, the first of a block, and whether they start.
struct Sums<'b> {
    param: usize,
    at: &'b Index,
    starts: bool,
}

impl Lowering<'_> {
    /// The gradient of a convolution with respect to its weights, by tiles of outputs.
    pub(in super::super) fn winograd_gradient(&mut self, asked: &Product<'_>, filter: Filter) {
        let sizes = Sizes::of(&asked.shape, &asked.tiling, filter);
        let operands = Operand::both(asked, &sizes);
        let batch = asked.shape.batch;
        let whole = Piece { images: batch, rows: (0, sizes.down) };
        // Deep inside loops there is none left for the pieces.
        let deep = self.loops.len() + 2 > DEEPEST;
        let largest = if deep { whole } else { sizes.largest_piece(batch) };
        let images = [0, 1].map(|side: usize| {
            let elements = sizes.transformed(sizes.tiles(largest), &operands[side].blocks);
            self.arena("winograd", Type::new(sizes.dtype, [elements]))
        });
        let single = largest.images == batch && largest.rows.1 == sizes.down && sizes.tiles(whole) > 0;
        let all = Transposed { asked, sizes, images };
        if single && shares_columns_of_weights(count(&all.sizes.columns)) {
            self.transform(&all, &operands, whole);
            return self.multiply_and_finish(&all, whole);
        }
        let name = format!("{}:winograd", self.graph.node(asked.origin).origin.path);
        let sums = self.arena(&name, Type::new(all.sizes.dtype, [all.sizes.sums()]));
        if single {
            self.transform(&all, &operands, whole);
            self.add_products(&all, whole, sums, true);
        } else {
            self.by_pieces(&all, &operands, largest, sums);
        }
        self.finish(&all, sums);
    }

    /// The sums, by pieces of the images. Pieces that look alike are one loop of the schedule.
    fn by_pieces(&mut self, all: &Transposed<'_>, operands: &[Operand; 2], largest: Piece, sums: Location) {
        self.clear(all.sizes.dtype, all.sizes.sums(), sums, all.asked.origin);
        let rows = all.sizes.row_runs(operands, largest.rows.1);
        for Cut { first, width: images, count } in blocks_of(all.asked.shape.batch, largest.images.max(1)) {
            let mut from = operands.clone();
            for operand in &mut from {
                operand.source.offset += first as i64 * operand.source.positions[0];
            }
            self.repeat(count, from, (0, images), &mut |lowering, from| {
                for &(rows, count) in &rows {
                    let piece = Piece { images, rows };
                    let positions = rows.1 * all.sizes.filter.m;
                    lowering.repeat(count, from.clone(), (1, positions), &mut |lowering, from| {
                        lowering.transform(all, from, piece);
                        lowering.add_products(all, piece, sums, false);
                    });
                }
            });
        }
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
            *source = source.moving(self.loops.len(), count, positions as i64 * source.positions[axis]);
        }
        self.looped(count, Vec::new(), |lowering| body(lowering, &operands));
    }

    /// Both images of a piece.
    fn transform(&mut self, all: &Transposed<'_>, operands: &[Operand; 2], piece: Piece) {
        for (operand, to) in operands.iter().zip(all.images) {
            self.transform_tiles(all, operand, piece, to);
        }
    }

    /// `[block of channels][position][image, row, tile][channel]`
    fn transform_tiles(&mut self, all: &Transposed<'_>, operand: &Operand, piece: Piece, to: Location) {
        let sizes = &all.sizes;
        let rows = operand.window(sizes.filter, piece.rows);
        let tiles = Tiles {
            side: operand.side,
            dtype: sizes.dtype,
            filter: sizes.filter,
            source: &operand.source,
            low: operand.low[1] as usize,
            columns: operand.extents[1],
            across: sizes.across,
            chunks: vec![
                Window::identity(piece.images).chunks(1),
                rows.chunks(transformed_rows(sizes.across)),
            ],
        };
        let mut start = 0;
        for &cut in &operand.blocks {
            for lanes in blocks_of(cut.width, LANES) {
                let kernel =
                    self.tiles_kernel(all, operand, &tiles, &ChannelPart { piece, cut, lanes, start });
                self.call(kernel, vec![operand.source.location, to], all.asked.origin);
            }
            start += sizes.transformed(sizes.tiles(piece), &[cut]);
        }
    }

    /// The kernel that transforms a part of the channels of an image.
    fn tiles_kernel(
        &self,
        all: &Transposed<'_>,
        operand: &Operand,
        tiles: &Tiles<'_>,
        part: &ChannelPart,
    ) -> Kernel {
        let (sizes, ChannelPart { piece, cut, lanes, start }) = (&all.sizes, *part);
        let count = sizes.tiles(piece);
        let mut c = Composer::new(self.graph, "winograd_tiles");
        c.k.param(sizes.dtype, tiles.source.len, Access::Read);
        c.k.param(sizes.dtype, sizes.transformed(count, &operand.blocks), Access::Write);
        let params = Params { image: 0, transformed: 1, line: c.k.local(sizes.dtype, tiles.buffer()) };
        let at = tiles.open_boxes(&mut c);
        let (block, run) = (Index::var(c.k.open_grid(cut.count)), Index::var(c.k.open_grid(lanes.count)));
        tiles.clear(&mut c, params);
        let inside = lanes.start(&run);
        let row = (sizes.across * cut.width) as i64;
        let image = piece.rows.1 as i64 * row;
        let position = apart(count * cut.width) as i64;
        let to = Target {
            channel: cut.start(&block).add(&inside),
            lanes: lanes.width,
            start: block
                .scale(sizes.area() as i64 * position)
                .add(&at[0].scale(image))
                .add(&at[1].scale(tiles.chunks[1].length as i64 * row))
                .add(&inside)
                .plus(start as i64),
            positions: [sizes.filter.a() as i64 * position, position],
            image,
            tile: cut.width as i64,
        };
        for_each_kind(&mut c, &tiles.chunks, &at, &mut |c, groups| {
            tiles.emit(c, params, TileBox { groups, at: &at }, &to);
        });
        (0..4).for_each(|_| c.k.close());
        c.k.finish_kernel()
    }

    /// Adds the products of a piece to the sums, `[block of inputs][block of outputs][position][input][output]`; `starts`: there are
    /// none yet.
    fn add_products(&mut self, all: &Transposed<'_>, piece: Piece, sums: Location, starts: bool) {
        let (sizes, tiles) = (&all.sizes, all.sizes.tiles(piece));
        sizes.for_each_cut(&mut |rows, columns, start| {
            let mut k = sizes.kernel("winograd_products", tiles);
            let param = k.param(sizes.dtype, sizes.sums(), Access::ReadWrite);
            let position = Index::var(k.open_grid(sizes.area()));
            let row = &Index::var(k.open_grid(rows.count));
            let column = &Index::var(k.open_grid(columns.count));
            let size = (rows.width * columns.width) as i64;
            let number = row.scale(columns.count as i64).add(column);
            let at = &number.scale(sizes.area() as i64).add(&position).scale(size).plus(start as i64);
            let pair = BlockPair { rows, row, columns, column };
            sizes.multiply(&mut k, tiles, &pair, &position, &Sums { param, at, starts });
            (0..3).for_each(|_| k.close());
            self.call(k.finish_kernel(), all.images.into_iter().chain([sums]).collect(), all.asked.origin);
        });
    }

    /// The weights' gradient from all sums.
    fn finish(&mut self, all: &Transposed<'_>, sums: Location) {
        let (sizes, asked) = (&all.sizes, all.asked);
        sizes.for_each_cut(&mut |rows, columns, start| {
            let mut k = KernelBuilder::new("winograd_weights");
            let param = k.param(sizes.dtype, sizes.sums(), Access::Read);
            let to = k.param(sizes.dtype, asked.result.elements(), Access::Write);
            let row = &Index::var(k.open_grid(rows.count));
            let column = &Index::var(k.open_grid(columns.count));
            let number = row.scale(columns.count as i64).add(column);
            let size = sizes.area() * rows.width * columns.width;
            let at = &number.scale(size as i64).plus(start as i64);
            let pair = BlockPair { rows, row, columns, column };
            sizes.turn(&mut k, &Sums { param, at, starts: false }, to, &pair);
            (0..2).for_each(|_| k.close());
            self.call(k.finish_kernel(), vec![sums, asked.target], asked.origin);
        });
    }

    /// Both for a block of output channels after the other, with the sums in local memory.
    fn multiply_and_finish(&mut self, all: &Transposed<'_>, piece: Piece) {
        let (sizes, asked, tiles) = (&all.sizes, all.asked, all.sizes.tiles(piece));
        sizes.for_each_cut(&mut |rows, columns, _| {
            let mut k = sizes.kernel("winograd_products", tiles);
            let block = rows.width * columns.width;
            let to = k.param(sizes.dtype, asked.result.elements(), Access::Write);
            let param = k.local(sizes.dtype, sizes.area() * block);
            let column = &Index::var(k.open_grid(columns.count));
            let row = &Index::var(k.open_for(rows.count));
            let position = Index::var(k.open_for(sizes.area()));
            let pair = BlockPair { rows, row, columns, column };
            let sums = Sums { param, at: &position.scale(block as i64), starts: true };
            sizes.multiply(&mut k, tiles, &pair, &position, &sums);
            k.close();
            sizes.turn(&mut k, &Sums { at: &Index::default(), ..sums }, to, &pair);
            (0..2).for_each(|_| k.close());
            let arguments = all.images.into_iter().chain([asked.target]).collect();
            self.call(k.finish_kernel(), arguments, asked.origin);
        });
    }
}

impl Sizes {
    fn of(shape: &Shape, tiling: &Tiling, filter: Filter) -> Sizes {
        let &[rows, columns] = shape.windows.as_slice() else { unreachable!("images have two axes") };
        let [images, rows_of_tiles] = tiling.chunks() else { unreachable!("images and rows of tiles") };
        Sizes {
            filter,
            dtype: shape.dtype,
            across: filter.tiles(&columns),
            down: filter.tiles(&rows),
            channels: shape.channels,
            outputs: shape.outputs,
            rows: blocks_of(shape.channels, tiling.rows),
            columns: blocks_of(shape.outputs, tiling.columns),
            together: [images.length, rows_of_tiles.length],
            depth: tiling.depth,
        }
    }

    /// Positions of a tile.
    fn area(&self) -> usize {
        self.filter.area()
    }

    /// Weights of one input and one output.
    fn weights(&self) -> usize {
        self.filter.k * self.filter.k
    }

    /// Sums of all positions.
    fn sums(&self) -> usize {
        self.area() * self.channels * self.outputs
    }

    fn tiles(&self, piece: Piece) -> usize {
        piece.images * piece.rows.1 * self.across
    }

    /// Elements of a transformed image.
    fn transformed(&self, tiles: usize, blocks: &[Cut]) -> usize {
        blocks.iter().map(|cut| self.area() * apart(tiles * cut.width) * cut.count).sum()
    }

    /// The first piece of a batch: no other has more images, or rows of tiles.
    fn largest_piece(&self, batch: usize) -> Piece {
        let [images, rows] = self.together;
        Piece { images: images.min(batch), rows: (0, rows.min(self.down)) }
    }

    /// The rows of tiles of an image in pieces of so many, in order: the first of each run of pieces that look alike, and
    /// the number of these.
    fn row_runs(&self, operands: &[Operand; 2], rows: usize) -> Vec<((usize, usize), usize)> {
        let look = |piece: (usize, usize)| [0, 1].map(|side: usize| operands[side].look(self.filter, piece));
        let mut runs: Vec<((usize, usize), usize)> = Vec::new();
        for first in (0..self.down).step_by(rows.max(1)) {
            let piece = (first, rows.min(self.down - first));
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
                start += self.area() * rows.extent() * columns.extent();
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

    /// Where the tiles of a block begin in a transformed image, at a position of the tiles.
    fn panel(&self, tiles: usize, blocks: &[Cut], (cut, block): (Cut, &Index), position: &Index) -> Index {
        let before: Vec<Cut> = blocks.iter().copied().take_while(|other| other.first < cut.first).collect();
        let size = apart(tiles * cut.width);
        let block = block.scale((self.area() * size) as i64);
        block.add(&position.scale(size as i64)).plus(self.transformed(tiles, &before) as i64)
    }

    /// Adds up the products of one position, for a block of inputs and one of outputs.
    fn multiply(
        &self,
        k: &mut KernelBuilder,
        tiles: usize,
        pair: &BlockPair<'_>,
        position: &Index,
        sums: &Sums<'_>,
    ) {
        let a = self.panel(tiles, &self.rows, (pair.rows, pair.row), position);
        let b = self.panel(tiles, &self.columns, (pair.columns, pair.column), position);
        let (rows, columns) = (pair.rows.width, pair.columns.width);
        let cuts = blocks_of(tiles, balanced(tiles, self.depth));
        let runs = if sums.starts { starting(cuts) } else { cuts };
        for (number, run) in runs.into_iter().enumerate() {
            let step = run.start(&Index::var(k.open_for(run.count)));
            k.tile(Tile {
                dtype: self.dtype,
                m: rows,
                n: columns,
                reduce: vec![TileLoop { extent: run.width, a: rows as i64, b: columns as i64 }],
                a: Panel { param: 0, index: a.add(&step.scale(rows as i64)), row: 1 },
                b: Panel { param: 1, index: b.add(&step.scale(columns as i64)), row: 0 },
                c: Panel { param: sums.param, index: sums.at.clone(), row: columns as i64 },
                zero: sums.starts && number == 0,
            });
            k.close();
        }
    }

    /// `Gᵀ P G` for a block of inputs and one of outputs. Lanes are output channels, which are far apart in the weights.
    fn turn(&self, k: &mut KernelBuilder, sums: &Sums<'_>, target: usize, pair: &BlockPair<'_>) {
        let (Filter { k: size, .. }, a, weights) = (self.filter, self.filter.a(), self.weights());
        let (rows, columns) = (pair.rows.width, pair.columns.width);
        let channel = Index::var(k.open_for(rows));
        let output = Index::var(k.open_for(columns));
        let from = sums.at.add(&channel.scale(columns as i64)).add(&output);
        let half: Vec<Vec<ValueId>> = (0..a)
            .map(|j| {
                let position = |i: usize| ((i * a + j) * rows * columns) as i64;
                let p: Vec<ValueId> =
                    (0..a).map(|i| k.load_now(sums.param, &from.plus(position(i)))).collect();
                Lane { k, dtype: self.dtype }.kernel_gradient(size, &p)
            })
            .collect();
        let output = pair.columns.start(pair.column).add(&output);
        let channel = pair.rows.start(pair.row).add(&channel);
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

    use super::super::super::method::Method;
    use super::*;
    use crate::tuning::Tuning;

    #[test]
    fn pieces_cover_every_row_of_tiles_in_order() {
        for (channels, outputs, across, down, batch) in [
            (64, 64, 14, 14, 8),
            (64, 128, 56, 56, 3),
            (512, 512, 2, 2, 8),
            (1, 1, 1, 1, 0),
            (3, 5, 200, 7, 2),
        ] {
            let filter = Filter { m: 4, k: 3 };
            let windows =
                [4 * down, 4 * across].map(|extent| Window { kernel: 3, low: 1, ..Window::identity(extent) });
            let (dtype, groups, windows) = (DType::F32, 1, windows.to_vec());
            let shape = Shape { dtype, batch, groups, channels, outputs, windows };
            let tiling = Tiling::of(&Method::WinogradWeights(filter), &shape, Tuning::default(), true);
            let sizes = Sizes::of(&shape, &tiling, filter);
            let image =
                Image { location: BufferId(0).into(), len: 0, offset: 0, positions: Vec::new(), channel: 1 };
            let operand = |side, low| {
                let extents = [4 * down, 4 * across];
                Operand { side, source: image.clone(), extents, low: [low; 2], blocks: Vec::new() }
            };
            let largest = sizes.largest_piece(batch);
            let operands = [operand(Side::Input, 1), operand(Side::Gradient, 0)];
            let runs = sizes.row_runs(&operands, largest.rows.1);
            assert!(runs.len() <= 4, "borders and a rest");
            let rows: Vec<(usize, usize)> = runs
                .iter()
                .flat_map(|&((first, rows), count)| (0..count).map(move |n| (first + n * rows, rows)))
                .collect();
            let images = blocks_of(batch, largest.images.max(1));
            let images = images.into_iter().flat_map(|Cut { first, width: each, count }| {
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
