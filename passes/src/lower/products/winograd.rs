//! Convolutions by Winograd's minimal filtering, F(m x m, k x k): kernels of 2 x 2 to 5 x 5.
//!
//! Outputs are computed in tiles of m x m, from tiles of a x a inputs, a = m + k - 1 (Lavin & Gray, "Fast algorithms for
//! convolutional neural networks", 2016):
//!
//! ```text
//! Y = Aᵀ [ Σ_c (G g_c Gᵀ) ⊙ (Bᵀ d_c B) ] A
//! ```
//!
//! The products in the middle are a² matrix products over input channels, a² multiplications for m² outputs where the
//! direct way has k² m². Tiles have 4 or 6 inputs along an axis: with more, the factors of the transforms grow, and so do
//! errors. The gradient with respect to the weights is the transpose of it (`winograd/weight_gradient.rs`).
//!
//! The transformed input of a box of tiles stays in local memory. Where there are too few boxes to share among threads
//! (small images), the transformed input is written first, by a kernel of its own, and blocks of output channels are
//! shared.
//!
//! Numeric plan: sums over input channels are chains of fused multiply-adds in their order; the transforms are
//! those written here.

mod lanes;
mod transform;
mod weight_gradient;

use brolga_ir::Type;
use brolga_ir::index::Index;
use brolga_ir::program::{Access, Panel, Panels, Tile, TileLoop, ValueId};

use self::lanes::Lane;
use self::transform::{Side, Target, TileBox, Tiles, apart};
use super::boxes::for_each_kind;
use super::epilogue::RESULT;
use super::method::Filter;
use super::packing::{PANELS, Packed, Packing, WEIGHTS};
use super::product::Product;
use super::tiling::shares_columns;
use crate::facts::blocking::winograd::LANES;
use crate::facts::blocks::{Cut, blocks_of, panel_columns, starting};
use crate::facts::windows::Group;
use crate::lower::kernel::KernelBuilder;
use crate::lower::regions::compose::Composer;
use crate::lower::{Location, Lowering};
use crate::tuning::Outer;

/// A product, and how it is cut into tiles.
struct Tiled<'a> {
    product: &'a Product<'a>,
    tiles: Tiles<'a>,
    /// How the transformed weights lie, a matrix for each position of a tile; and their columns.
    panels: Panels,
    blocks: Vec<(Cut, usize)>,
    /// Outputs along the rows and along the columns.
    rows: usize,
    columns: usize,
}

impl<'a> Tiled<'a> {
    fn of(product: &'a Product<'a>, filter: Filter) -> Tiled<'a> {
        let Product { shape, tiling, source, .. } = product;
        let &[rows, columns] = shape.windows.as_slice() else { unreachable!("images have two axes") };
        let tiles = Tiles {
            side: Side::Input,
            dtype: shape.dtype,
            filter,
            source,
            low: columns.low as usize,
            columns: columns.input,
            across: filter.tiles(&columns),
            chunks: tiling.chunks().to_vec(),
        };
        let panels = Panels {
            dims: [1, filter.area(), shape.channels, shape.outputs],
            terms: shape.channels.max(1),
            columns: tiling.columns,
            line: LANES,
        };
        let blocks = panel_columns(&panels);
        Tiled { product, tiles, panels, blocks, rows: rows.output, columns: columns.output }
    }

    /// Input channels.
    fn channels(&self) -> usize {
        self.product.shape.channels
    }

    /// Tiles of a whole box.
    fn tiles_of_box(&self) -> usize {
        self.tiles.chunks.iter().map(|chunk| chunk.length).product::<usize>() * self.tiles.across
    }

    fn boxes(&self) -> usize {
        self.tiles.chunks.iter().map(|chunk| chunk.count).product()
    }

    /// Inputs of a tile along an axis.
    fn a(&self) -> usize {
        self.tiles.filter.a()
    }

    /// Where the transformed weights of a block of output channels begin, of a run of them that begins there.
    fn panel(&self, (cut, start): (Cut, usize), block: &Index) -> Index {
        block.scale(self.panels.block(cut.width) as i64).plus(start as i64)
    }

    /// Elements from one position of a tile to the next in a box.
    fn matrix(&self, columns: usize) -> usize {
        apart(self.tiles_of_box() * columns)
    }

    /// Elements of a box's transformed input.
    fn transformed(&self) -> usize {
        self.tiles.filter.area() * self.matrix(self.channels())
    }

    /// Elements of the products of a column of positions, for so many output channels.
    fn products(&self, width: usize) -> usize {
        self.a() * self.matrix(width)
    }

    /// Elements of the products of a box, transformed along columns, for so many output channels.
    fn halves(&self, width: usize) -> usize {
        self.tiles_of_box() * self.tiles.filter.m * self.a() * width
    }

    /// The channels of a block of a run of them, and where they lie in a box's transformed input, which begins at `start`.
    fn target(&self, start: &Index, (cut, block): (Cut, &Index), groups: &[&Group]) -> Target {
        let (channel, position) = (cut.start(block), self.matrix(self.channels()) as i64);
        Target {
            start: start.add(&channel),
            channel,
            lanes: cut.width,
            positions: [position, self.a() as i64 * position],
            image: (groups[1].extent * self.tiles.across * self.channels()) as i64,
            tile: self.channels() as i64,
        }
    }

    /// Output rows of the tiles of row `row` of a group: all, or what the last one of the image has.
    fn rows_of(&self, group: &Group, last: bool) -> usize {
        let ends = group.first + group.count == self.tiles.chunks[1].count;
        let total = (self.rows - 1) % self.tiles.filter.m + 1;
        if ends && last { total } else { self.tiles.filter.m }
    }
}

/// Parameters of a kernel, by role; what it does not have is 0.
#[derive(Clone, Copy, Default)]
struct Params {
    x: usize,
    weights: usize,
    transformed: usize,
    products: usize,
    line: usize,
    halves: usize,
}

impl Params {
    fn transform(&self) -> transform::Params {
        transform::Params { image: self.x, line: self.line, transformed: self.transformed }
    }
}

/// A block of output channels, whose weights are transformed from one parameter of a kernel to another.
struct WeightBlock<'b> {
    source: usize,
    target: usize,
    /// The run of blocks that it is of, and its number in there.
    cut: Cut,
    block: &'b Index,
    /// Where its transformed weights begin.
    start: &'b Index,
}

/// A block of output channels of a box of tiles.
struct ChannelBlock<'b> {
    params: Params,
    boxed: TileBox<'b>,
    /// The run of blocks that it is of, and its number in there.
    cut: Cut,
    block: &'b Index,
    /// Where the box's transformed input begins, and the block's transformed weights.
    transformed: &'b Index,
    panel: &'b Index,
}

impl ChannelBlock<'_> {
    /// Images of the box, and its rows of tiles.
    fn extents(&self) -> [usize; 2] {
        [0, 1].map(|axis: usize| self.boxed.groups[axis].extent)
    }
}

impl Lowering<'_> {
    /// A convolution, or its gradient with respect to the input, by tiles of outputs.
    pub(super) fn winograd(&mut self, product: &Product<'_>, filter: Filter) {
        let tiled = Tiled::of(product, filter);
        if product.tiling.boxes.iter().any(|boxes| boxes.outer == Outer::Positions) {
            let packed = self.transform_weights(&tiled);
            self.winograd_by_boxes(&tiled, &packed);
        } else {
            self.winograd_by_columns(&tiled);
        }
    }

    /// `U[position][input][output] = G g Gᵀ`.
    fn transform_weights(&mut self, tiled: &Tiled<'_>) -> Packed {
        let Tiled { product, panels, .. } = *tiled;
        let (weights, dtype, origin) = (&product.weights, product.shape.dtype, product.origin);
        let asked = Packing { name: "winograd_weights", weights, dtype, stored: dtype, panels, origin };
        self.packed(&asked, |k| {
            let single = tiled.blocks.len() == 1;
            for &(cut, start) in &tiled.blocks {
                let mut open =
                    |extent| Index::var(if single { k.open_grid(extent) } else { k.open_for(extent) });
                let (block, channel) = (&open(cut.count), open(tiled.channels()));
                let start = &tiled.panel((cut, start), block);
                let to = WeightBlock { source: WEIGHTS, target: PANELS, cut, block, start };
                tiled.transform_channel(k, &to, &channel);
                (0..2).for_each(|_| k.close());
            }
        })
    }

    /// One kernel, with a grid of boxes.
    fn winograd_by_boxes(&mut self, tiled: &Tiled<'_>, packed: &Packed) {
        let Tiled { product, tiles, .. } = tiled;
        let dtype = product.shape.dtype;
        let mut c = product.composer(self.graph);
        let mut arguments = vec![tiles.source.location, packed.location, product.target];
        c.k.param(dtype, tiles.source.len, Access::Read);
        packed.param(&mut c.k);
        c.k.param(dtype, product.result.elements(), Access::Write);
        if let Some(epilogue) = product.epilogue {
            epilogue.parameters(&mut c, &mut arguments);
        }
        let widest = tiled.blocks.iter().map(|(cut, _)| cut.width).max().unwrap_or(0);
        let transformed = c.k.local(dtype, tiled.transformed());
        let products = c.k.local(dtype, tiled.products(widest));
        let line = c.k.local(dtype, tiles.buffer());
        let halves = c.k.local(dtype, tiled.halves(widest));
        let params = Params { x: 0, weights: 1, transformed, products, line, halves };
        let at = tiles.open_boxes(&mut c);
        tiles.clear(&mut c, params.transform());
        for_each_kind(&mut c, &tiles.chunks, &at, &mut |c, groups| {
            let boxed = TileBox { groups, at: &at };
            let start = &Index::default();
            for cut in blocks_of(tiled.channels(), LANES) {
                let block = Index::var(c.k.open_for(cut.count));
                tiles.emit(c, params.transform(), boxed, &tiled.target(start, (cut, &block), groups));
                c.k.close();
            }
            for &(cut, first) in &tiled.blocks {
                let block = &Index::var(c.k.open_for(cut.count));
                let panel = &tiled.panel((cut, first), block);
                tiled.columns(c, &ChannelBlock { params, boxed, cut, block, transformed: start, panel });
                c.k.close();
            }
        });
        (0..2).for_each(|_| c.k.close());
        self.call(c.k.finish_kernel(), arguments, product.origin);
    }

    /// Two kernels: the transformed input of all boxes, then blocks of output channels. Weights that change with every
    /// call are transformed block by block just before they are used: in the fastest cache that they find room in, and
    /// never all at once.
    fn winograd_by_columns(&mut self, tiled: &Tiled<'_>) {
        let product = tiled.product;
        let name = format!("{}:winograd", self.graph.node(product.origin).origin.path);
        let ty = Type::new(product.shape.dtype, [tiled.boxes(), tiled.transformed()]);
        let transformed = self.arena(&name, ty);
        self.transform_input(tiled, transformed);
        let enough = matches!(*tiled.blocks, [(cut, _)] if shares_columns(cut.count));
        let inside = enough && self.uses(product.weights.access.location) == 1;
        let packed = (!inside).then(|| self.transform_weights(tiled));
        for &columns in &tiled.blocks {
            self.winograd_columns(tiled, columns, transformed, packed.as_ref());
        }
    }

    /// The transformed input of all boxes, one behind the other.
    fn transform_input(&mut self, tiled: &Tiled<'_>, transformed: Location) {
        let Tiled { product, tiles, .. } = tiled;
        let dtype = product.shape.dtype;
        for cut in blocks_of(tiled.channels(), LANES) {
            let mut c = Composer::new(self.graph, "winograd_input");
            c.k.param(dtype, tiles.source.len, Access::Read);
            c.k.param(dtype, tiled.boxes() * tiled.transformed(), Access::Write);
            let line = c.k.local(dtype, tiles.buffer());
            let params = transform::Params { image: 0, transformed: 1, line };
            let at = tiles.open_boxes(&mut c);
            let block = Index::var(c.k.open_grid(cut.count));
            tiles.clear(&mut c, params);
            for_each_kind(&mut c, &tiles.chunks, &at, &mut |c, groups| {
                let to = tiled.target(&tiled.box_at(&at), (cut, &block), groups);
                tiles.emit(c, params, TileBox { groups, at: &at }, &to);
            });
            (0..3).for_each(|_| c.k.close());
            self.call(c.k.finish_kernel(), vec![tiles.source.location, transformed], product.origin);
        }
    }

    /// The kernel for a run of blocks of output channels, from the transformed input of all boxes. Weights that are not packed are
    /// transformed by whoever uses them.
    fn winograd_columns(
        &mut self,
        tiled: &Tiled<'_>,
        (cut, start): (Cut, usize),
        transformed: Location,
        packed: Option<&Packed>,
    ) {
        let Tiled { product, tiles, .. } = tiled;
        let (dtype, access) = (product.shape.dtype, &product.weights.access);
        let mut c = product.composer(self.graph);
        let weights = packed.map_or(access.location, |packed| packed.location);
        let mut arguments = vec![transformed, weights, product.target];
        c.k.param(dtype, tiled.boxes() * tiled.transformed(), Access::Read);
        match packed {
            Some(packed) => packed.param(&mut c.k),
            None => c.k.param(dtype, access.len, Access::Read),
        };
        c.k.param(dtype, product.result.elements(), Access::Write);
        if let Some(epilogue) = product.epilogue {
            epilogue.parameters(&mut c, &mut arguments);
        }
        let products = c.k.local(dtype, tiled.products(cut.width));
        let halves = c.k.local(dtype, tiled.halves(cut.width));
        let mut params = Params { transformed: 0, weights: 1, products, halves, ..Params::default() };
        let block = &Index::var(c.k.open_grid(cut.count));
        let (panel, at): (Index, Vec<Index>);
        if packed.is_none() {
            params.weights = c.k.local(dtype, tiled.panels.block(cut.width));
            panel = Index::default();
            let channel = Index::var(c.k.open_for(tiled.channels()));
            let weights = WeightBlock { source: 1, target: params.weights, cut, block, start: &panel };
            tiled.transform_channel(&mut c.k, &weights, &channel);
            c.k.close();
            at = tiles.chunks.iter().map(|chunk| Index::var(c.k.open_for(chunk.count))).collect();
        } else {
            panel = tiled.panel((cut, start), block);
            at = tiles.open_boxes(&mut c);
        }
        for_each_kind(&mut c, &tiles.chunks, &at, &mut |c, groups| {
            let boxed = TileBox { groups, at: &at };
            let transformed = &tiled.box_at(&at);
            tiled.columns(c, &ChannelBlock { params, boxed, cut, block, transformed, panel: &panel });
        });
        (0..3).for_each(|_| c.k.close());
        self.call(c.k.finish_kernel(), arguments, product.origin);
    }
}

impl Tiled<'_> {
    /// Where the transformed input of a box begins among those of all boxes.
    fn box_at(&self, at: &[Index]) -> Index {
        let number = at[0].scale(self.tiles.chunks[1].count as i64).add(&at[1]);
        number.scale(self.transformed() as i64)
    }

    /// The transformed weights of an input channel and a block of output channels.
    fn transform_channel(&self, k: &mut KernelBuilder, to: &WeightBlock<'_>, channel: &Index) {
        let (a, size, width) = (self.a(), self.tiles.filter.k as i64, to.cut.width);
        let (weights, dtype) = (&self.product.weights, self.product.shape.dtype);
        let output = Index::var(k.open_for(width));
        let row = to.cut.start(to.block).add(&output);
        let from = row.scale(weights.output).add(&channel.scale(weights.input)).plus(weights.offset);
        let start = to.start.add(&channel.scale(width as i64)).add(&output);
        let position = self.panels.matrix(self.channels(), width);
        let mut columns = Vec::new();
        for column in 0..size {
            let mut g = Vec::new();
            for row in 0..size {
                let at = from.plus(row * weights.kernel[0] + column * weights.kernel[1]);
                let value = k.load_now(to.source, &at);
                g.push(weights.rounded(k, value, dtype));
            }
            columns.push(Lane { k, dtype }.kernel(a, &g));
        }
        for i in 0..a {
            let g: Vec<ValueId> = columns.iter().map(|column| column[i]).collect();
            let whole = Lane { k, dtype }.kernel(a, &g);
            for (j, value) in whole.into_iter().enumerate() {
                k.store(to.target, start.plus(((j * a + i) * position) as i64), value);
            }
        }
        k.close();
    }

    /// A block of output channels of a box: the products, their transform, and the epilogue.
    fn columns(&self, c: &mut Composer<'_>, block: &ChannelBlock<'_>) {
        // A column of positions at a time: its products are still in the first-level cache when they are transformed.
        let j = Index::var(c.k.open_for(self.a()));
        self.multiply(c, block, &j);
        self.transform_column(c, block, &j);
        c.k.close();
        self.transform_rows(c, block);
    }

    /// The products of column `j` of the positions of a tile, for all tiles of a box.
    fn multiply(&self, c: &mut Composer<'_>, block: &ChannelBlock<'_>, j: &Index) {
        let (a, width, [images, rows]) = (self.a(), block.cut.width, block.extents());
        let (channels, params) = (self.channels(), block.params);
        let i = Index::var(c.k.open_for(a));
        let position = j.scale(a as i64).add(&i);
        let from = block.transformed.add(&position.scale(self.matrix(channels) as i64));
        let weights = block.panel.add(&position.scale(self.panels.matrix(channels, width) as i64));
        let to = i.scale(self.matrix(width) as i64);
        for (number, run) in starting(blocks_of(channels, self.product.tiling.depth)).into_iter().enumerate()
        {
            let step = run.start(&Index::var(c.k.open_for(run.count)));
            c.k.tile(Tile {
                dtype: self.product.shape.dtype,
                m: images * rows * self.tiles.across,
                n: width,
                reduce: vec![TileLoop { extent: run.width, a: 1, b: width as i64 }],
                a: Panel { param: params.transformed, index: from.add(&step), row: channels as i64 },
                b: Panel { param: params.weights, index: weights.add(&step.scale(width as i64)), row: 0 },
                c: Panel { param: params.products, index: to.clone(), row: width as i64 },
                zero: number == 0,
            });
            c.k.close();
        }
        c.k.close();
    }

    /// `Aᵀ M` for column `j` of the tiles of a box.
    fn transform_column(&self, c: &mut Composer<'_>, block: &ChannelBlock<'_>, j: &Index) {
        let (a, m, width, [images, rows]) = (self.a(), self.tiles.filter.m, block.cut.width, block.extents());
        let tile = Index::var(c.k.open_for(images * rows * self.tiles.across));
        let lane = Index::var(c.k.open_for(width));
        let from = tile.scale(width as i64).add(&lane);
        let load =
            |i: usize| c.k.load_now(block.params.products, &from.plus((i * self.matrix(width)) as i64));
        let p: Vec<ValueId> = (0..a).map(load).collect();
        let half = Lane { k: &mut c.k, dtype: self.product.shape.dtype }.output(m, &p);
        for (y, value) in half.into_iter().enumerate() {
            let to = tile.scale(m as i64).plus(y as i64).scale(a as i64).add(j).scale(width as i64);
            c.k.store(block.params.halves, to.add(&lane), value);
        }
        (0..2).for_each(|_| c.k.close());
    }

    /// `Y = (Aᵀ M) A` for the tiles of a box, and the epilogue, into the result.
    fn transform_rows(&self, c: &mut Composer<'_>, block: &ChannelBlock<'_>) {
        let (m, [images, rows], TileBox { groups, at }) = (self.tiles.filter.m, block.extents(), block.boxed);
        let inside = Index::var(c.k.open_for(images));
        let image = at[0].scale(self.tiles.chunks[0].length as i64).add(&inside);
        // Rows of tiles with all their outputs, and the last one of the image, which may have fewer.
        let last = self.rows_of(groups[1], true);
        let whole = if last == m { rows } else { rows - 1 };
        for (start, count, down) in [(0, whole, m), (whole, rows - whole, last)] {
            let row = Index::var(c.k.open_for(count)).plus(start as i64);
            let tiles = inside.scale(rows as i64).add(&row).scale(self.tiles.across as i64);
            let from = at[1].scale(self.tiles.chunks[1].length as i64).add(&row).scale(m as i64);
            // The same of tiles along a row.
            let full = self.columns / m;
            let cut = Cut { first: full, width: self.columns % m, count: self.tiles.across - full };
            for along in [Cut { first: 0, width: m, count: full }, cut] {
                let y = Index::var(c.k.open_for(down));
                let tile = Index::var(c.k.open_for(along.count)).plus(along.first as i64);
                let lane = Index::var(c.k.open_for(block.cut.width));
                let number = tiles.add(&tile).scale(m as i64).add(&y);
                let values = self.outputs(c, block, &number, &lane);
                let channel = block.cut.start(block.block).add(&lane);
                let points = values.into_iter().take(along.width).enumerate().map(|(x, value)| {
                    let column = tile.scale(m as i64).plus(x as i64);
                    (vec![image.clone(), from.add(&y), column, channel.clone()], value)
                });
                self.store(c, points.collect());
                (0..3).for_each(|_| c.k.close());
            }
            c.k.close();
        }
        c.k.close();
    }

    /// The outputs of a row of a tile, `number` among those of the box's tiles.
    fn outputs(
        &self,
        c: &mut Composer<'_>,
        block: &ChannelBlock<'_>,
        number: &Index,
        lane: &Index,
    ) -> Vec<ValueId> {
        let (a, width) = (self.a(), block.cut.width);
        let from = number.scale((a * width) as i64).add(lane);
        let load = |j: usize| c.k.load_now(block.params.halves, &from.plus((j * width) as i64));
        let p: Vec<ValueId> = (0..a).map(load).collect();
        Lane { k: &mut c.k, dtype: self.product.shape.dtype }.output(self.tiles.filter.m, &p)
    }

    /// Stores outputs at their positions, with what is fused behind them.
    fn store(&self, c: &mut Composer<'_>, points: Vec<(Vec<Index>, ValueId)>) {
        match self.product.epilogue {
            Some(epilogue) => epilogue.finish(c, &points),
            None => points.into_iter().for_each(|(place, value)| {
                let position = c.flat(&self.product.result, &place);
                c.k.store(RESULT, position, value);
            }),
        }
    }
}
