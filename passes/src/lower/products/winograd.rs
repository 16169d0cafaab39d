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
//! errors. The gradient with respect to the weights is the transpose of it (`gradient.rs`).
//!
//! The transformed input of a box of tiles stays in local memory. Where there are too few boxes to share among threads
//! (small images), the transformed input is written first, by a kernel of its own, and blocks of output channels are
//! shared.
//!
//! Numeric plan: sums over input channels are chains of fused multiply-adds in their order; the transforms are
//! those written here.

mod gradient;
mod lanes;
mod transform;

use brolga_ir::index::Index;
use brolga_ir::program::{Access, Panel, Tile, TileLoop, ValueId};
use brolga_ir::{NodeId, Type};

use self::lanes::Lane;
use self::transform::{Filter, Side, Target, Tiling, apart};
use super::blocks::{Cut, blocks_of, column_blocks};
use super::boxes::{boxes, for_each_kind};
use super::epilogue::{Epilogue, RESULT};
use super::image::Image;
use super::packing::Weights;
use super::windows::{Group, Window};
use crate::lower::blocking::winograd::{
    DEPTH, EVEN_BOXES, FEWEST_BLOCKS, FEWEST_BOXES, FEWEST_TILES, FEWEST_TILES_OF_MANY_WEIGHTS, LANES,
    MANY_WEIGHTS, MOST_BOXES, TILES,
};
use crate::lower::kernel::KernelBuilder;
use crate::lower::regions::compose::Composer;
use crate::lower::{Location, Lowering};
use crate::schedule::{Algorithm, Outer, Schedule};

/// What the kernels of one convolution have in common.
struct Plan<'a> {
    name: &'static str,
    tiling: Tiling<'a>,
    channels: usize,
    /// Output channels in panels.
    panels: Vec<Cut>,
    schedule: Schedule,
    /// Outputs along the rows and along the columns.
    rows: usize,
    columns: usize,
    result: &'a Type,
}

impl Plan<'_> {
    /// Tiles of a whole box.
    fn tiles(&self) -> usize {
        self.tiling.chunks.iter().map(|chunk| chunk.length).product::<usize>() * self.tiling.across
    }

    fn boxes(&self) -> usize {
        self.tiling.chunks.iter().map(|chunk| chunk.count).product()
    }

    /// Inputs of a tile along an axis.
    fn a(&self) -> usize {
        self.tiling.filter.a()
    }

    /// Elements of the transformed weights of some blocks of output channels.
    fn weights_of(&self, blocks: &[Cut]) -> usize {
        let area = self.a() * self.a();
        blocks.iter().map(|&(_, width, count)| area * apart(self.channels * width) * count).sum()
    }

    /// Elements of the transformed weights.
    fn weights(&self) -> usize {
        self.weights_of(&self.panels)
    }

    /// Where the transformed weights of a block of output channels begin.
    fn panel(&self, (first, width, _): Cut, block: &Index) -> Index {
        let mut before = self.panels.clone();
        before.retain(|cut| cut.0 < first);
        let size = self.a() * self.a() * apart(self.channels * width);
        block.scale(size as i64).plus(self.weights_of(&before) as i64)
    }

    /// Elements from one position of a tile to the next in a box.
    fn matrix(&self, columns: usize) -> usize {
        apart(self.tiles() * columns)
    }

    /// Elements of a box's transformed input.
    fn transformed(&self) -> usize {
        self.a() * self.a() * self.matrix(self.channels)
    }

    /// Elements of the products of a column of positions, for so many output channels.
    fn products(&self, width: usize) -> usize {
        self.a() * self.matrix(width)
    }

    /// Elements of the products of a box, transformed along columns, for so many output channels.
    fn halves(&self, width: usize) -> usize {
        self.tiles() * self.tiling.filter.m * self.a() * width
    }

    /// Opens a grid of boxes: along the batch, and along the rows of tiles.
    fn open_boxes(&self, c: &mut Composer<'_>) -> Vec<Index> {
        self.tiling.chunks.iter().map(|chunk| Index::var(c.k.open_grid(chunk.count))).collect()
    }

    /// Where a box's transformed input lies.
    fn target(&self, start: &Index, channel: &Index, groups: &[&Group]) -> Target {
        let position = self.matrix(self.channels) as i64;
        Target {
            start: start.add(channel),
            positions: [position, self.a() as i64 * position],
            image: (groups[1].extent * self.tiling.across * self.channels) as i64,
            tile: self.channels as i64,
        }
    }

    /// Output rows of the tiles of row `row` of a group: all, or what the last one of the image has.
    fn rows_of(&self, group: &Group, last: bool) -> usize {
        let ends = group.first + group.count == self.tiling.chunks[1].count;
        let total = (self.rows - 1) % self.tiling.filter.m + 1;
        if ends && last { total } else { self.tiling.filter.m }
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

impl Lowering<'_> {
    /// A convolution, or its gradient with respect to the input, with tiles of m x m outputs.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn winograd(
        &mut self,
        name: &'static str,
        m: usize,
        (channels, outputs): (usize, usize),
        windows: [Window; 2],
        source: &Image,
        weights: &Weights,
        (target, result): (Location, &Type),
        epilogue: Option<Epilogue<'_>>,
        id: NodeId,
    ) {
        let [rows, columns] = windows;
        let filter = Filter { m, k: rows.kernel };
        let across = columns.output.div_ceil(m);
        let tiles = Window { stride: m as i64, kernel: filter.a(), output: rows.output.div_ceil(m), ..rows };
        let batch = Window::identity(result.dims[0]);
        self.choose(Algorithm::Winograd, id);
        let schedule = self.schedule;
        let rows_of = |tiles: usize| (tiles / across).max(1);
        let mut chunks = boxes([&batch, &tiles].into_iter(), rows_of(schedule.rows(TILES)));
        let few = (FEWEST_BOXES..EVEN_BOXES).contains(&chunks.iter().map(|chunk| chunk.count).product());
        if few && schedule.rows.is_none() {
            let weights = filter.area() * channels * outputs * result.dtype.size();
            let fewest = if weights < MANY_WEIGHTS { FEWEST_TILES } else { FEWEST_TILES_OF_MANY_WEIGHTS };
            chunks = boxes([&batch, &tiles].into_iter(), rows_of(fewest));
        }
        let tiling = Tiling {
            side: Side::Input,
            dtype: result.dtype,
            filter,
            source,
            low: columns.low as usize,
            columns: columns.input,
            across,
            chunks,
        };
        let panels = column_blocks(outputs, schedule.columns());
        let (rows, columns) = (rows.output, columns.output);
        let plan = Plan { name, tiling, channels, panels, schedule, rows, columns, result };
        let by_boxes = match schedule.outer {
            Some(Outer::Positions) => plan.boxes() > 0,
            Some(Outer::Columns) => plan.boxes() > MOST_BOXES,
            None => plan.boxes() >= FEWEST_BOXES,
        };
        if by_boxes {
            let packed = self.transform_weights(&plan, weights, id);
            self.winograd_by_boxes(&plan, packed, target, epilogue, id);
        } else {
            self.winograd_by_columns(&plan, weights, target, epilogue, id);
        }
    }

    /// `U[block of outputs][position][input][output] = G g Gᵀ`, in the order in which it is read.
    fn transform_weights(&mut self, plan: &Plan<'_>, weights: &Weights, id: NodeId) -> Location {
        let (dtype, elements) = (plan.result.dtype, plan.weights());
        let mut k = KernelBuilder::new("winograd_weights");
        let source = k.param(dtype, weights.access.len, Access::Read);
        let target = k.param(dtype, elements, Access::Write);
        let single = plan.panels.len() == 1;
        for &cut in &plan.panels {
            let mut open = |extent| Index::var(if single { k.open_grid(extent) } else { k.open_for(extent) });
            let (block, channel) = (open(cut.2), open(plan.channels));
            let to = plan.panel(cut, &block);
            plan.transform_channel(&mut k, weights, (source, target), (cut, &block), &channel, &to);
            (0..2).for_each(|_| k.close());
        }
        let name = format!("{}:winograd", self.graph.node(id).origin.path);
        self.once(&name, k.finish_kernel(), weights.access.location, Type::new(dtype, [elements]), id)
    }

    /// One kernel, with a grid of boxes.
    fn winograd_by_boxes(
        &mut self,
        plan: &Plan<'_>,
        weights: Location,
        target: Location,
        epilogue: Option<Epilogue<'_>>,
        id: NodeId,
    ) {
        let dtype = plan.result.dtype;
        let graph = epilogue.map_or(self.graph, |epilogue| epilogue.body);
        let mut c = Composer::new(graph, epilogue.map_or(plan.name, |epilogue| epilogue.name));
        let mut arguments = vec![plan.tiling.source.location, weights, target];
        c.k.param(dtype, plan.tiling.source.len, Access::Read);
        c.k.param(dtype, plan.weights(), Access::Read);
        c.k.param(dtype, plan.result.elements(), Access::Write);
        if let Some(epilogue) = epilogue {
            epilogue.parameters(&mut c, &mut arguments);
        }
        let widest = plan.panels.iter().map(|cut| cut.1).max().unwrap_or(0);
        let transformed = c.k.local(dtype, plan.transformed());
        let products = c.k.local(dtype, plan.products(widest));
        let line = c.k.local(dtype, plan.tiling.buffer());
        let halves = c.k.local(dtype, plan.halves(widest));
        let params = Params { x: 0, weights: 1, transformed, products, line, halves };
        let at = plan.open_boxes(&mut c);
        plan.tiling.clear(&mut c, params.transform());
        for_each_kind(&mut c, &plan.tiling.chunks, &at, &mut |c, groups| {
            for cut in blocks_of(plan.channels, LANES) {
                let block = Index::var(c.k.open_for(cut.2));
                let channel = block.scale(cut.1 as i64).plus(cut.0 as i64);
                let to = plan.target(&Index::default(), &channel, groups);
                plan.tiling.emit(c, params.transform(), groups, &at, (&channel, cut.1), &to);
                c.k.close();
            }
            for &cut in &plan.panels {
                let block = Index::var(c.k.open_for(cut.2));
                plan.columns(
                    c,
                    params,
                    groups,
                    &at,
                    (cut, &block),
                    (&Index::default(), &plan.panel(cut, &block)),
                    epilogue,
                );
                c.k.close();
            }
        });
        (0..2).for_each(|_| c.k.close());
        self.call(c.k.finish_kernel(), arguments, id);
    }

    /// Two kernels: the transformed input of all boxes, then blocks of output channels. Weights that change with every
    /// call are transformed block by block just before they are used: in the fastest cache that they find room in, and
    /// never all at once.
    fn winograd_by_columns(
        &mut self,
        plan: &Plan<'_>,
        weights: &Weights,
        target: Location,
        epilogue: Option<Epilogue<'_>>,
        id: NodeId,
    ) {
        let name = format!("{}:winograd", self.graph.node(id).origin.path);
        let size = plan.transformed();
        let dtype = plan.result.dtype;
        let counts = [0, 1].map(|axis| plan.tiling.chunks[axis].count);
        let transformed = self.arena(&name, Type::new(dtype, [plan.boxes(), size]));
        let box_at = |at: &[Index]| at[0].scale(counts[1] as i64).add(&at[1]).scale(size as i64);
        for cut in blocks_of(plan.channels, LANES) {
            let mut c = Composer::new(self.graph, "winograd_input");
            c.k.param(dtype, plan.tiling.source.len, Access::Read);
            c.k.param(dtype, plan.boxes() * size, Access::Write);
            let params =
                transform::Params { image: 0, transformed: 1, line: c.k.local(dtype, plan.tiling.buffer()) };
            let at = plan.open_boxes(&mut c);
            let block = Index::var(c.k.open_grid(cut.2));
            plan.tiling.clear(&mut c, params);
            let channel = block.scale(cut.1 as i64).plus(cut.0 as i64);
            for_each_kind(&mut c, &plan.tiling.chunks, &at, &mut |c, groups| {
                let to = plan.target(&box_at(&at), &channel, groups);
                plan.tiling.emit(c, params, groups, &at, (&channel, cut.1), &to);
            });
            (0..3).for_each(|_| c.k.close());
            self.call(c.k.finish_kernel(), vec![plan.tiling.source.location, transformed], id);
        }
        let enough = matches!(*plan.panels, [(_, _, count)] if count >= FEWEST_BLOCKS);
        let inside = enough && !self.is_fixed(weights.access.location);
        let packed = (!inside).then(|| self.transform_weights(plan, weights, id));
        for &cut in &plan.panels {
            let graph = epilogue.map_or(self.graph, |epilogue| epilogue.body);
            let mut c = Composer::new(graph, epilogue.map_or(plan.name, |epilogue| epilogue.name));
            let mut arguments = vec![transformed, packed.unwrap_or(weights.access.location), target];
            c.k.param(dtype, plan.boxes() * size, Access::Read);
            c.k.param(
                dtype,
                if packed.is_none() { weights.access.len } else { plan.weights() },
                Access::Read,
            );
            c.k.param(dtype, plan.result.elements(), Access::Write);
            if let Some(epilogue) = epilogue {
                epilogue.parameters(&mut c, &mut arguments);
            }
            let products = c.k.local(dtype, plan.products(cut.1));
            let halves = c.k.local(dtype, plan.halves(cut.1));
            let mut params = Params { transformed: 0, weights: 1, products, halves, ..Params::default() };
            let block = Index::var(c.k.open_grid(cut.2));
            let (panel, at);
            if inside {
                params.weights = c.k.local(dtype, plan.weights_of(&[(cut.0, cut.1, 1)]));
                panel = Index::default();
                let channel = Index::var(c.k.open_for(plan.channels));
                let roles = (1, params.weights);
                plan.transform_channel(&mut c.k, weights, roles, (cut, &block), &channel, &panel);
                c.k.close();
                at = counts.map(|count| Index::var(c.k.open_for(count))).to_vec();
            } else {
                panel = plan.panel(cut, &block);
                at = plan.open_boxes(&mut c);
            }
            for_each_kind(&mut c, &plan.tiling.chunks, &at, &mut |c, groups| {
                plan.columns(c, params, groups, &at, (cut, &block), (&box_at(&at), &panel), epilogue);
            });
            (0..3).for_each(|_| c.k.close());
            self.call(c.k.finish_kernel(), arguments, id);
        }
    }
}

impl Plan<'_> {
    /// The transformed weights of an input channel and a block of output channels, whose panel begins at `to`.
    fn transform_channel(
        &self,
        k: &mut KernelBuilder,
        weights: &Weights,
        (source, target): (usize, usize),
        ((first, width, _), block): (Cut, &Index),
        channel: &Index,
        to: &Index,
    ) {
        let (a, size, dtype) = (self.a(), self.tiling.filter.k as i64, self.result.dtype);
        let output = Index::var(k.open_for(width));
        let row = block.scale(width as i64).add(&output).plus(first as i64);
        let from = row.scale(weights.output).add(&channel.scale(weights.input)).plus(weights.offset);
        let to = to.add(&channel.scale(width as i64)).add(&output);
        let position = apart(self.channels * width);
        let mut columns = Vec::new();
        for column in 0..size {
            let mut g = Vec::new();
            for row in 0..size {
                let at = from.plus(row * weights.kernel[0] + column * weights.kernel[1]);
                let value = k.load_now(source, &at);
                g.push(weights.rounded(k, value, dtype));
            }
            columns.push(Lane { k, dtype }.kernel(a, &g));
        }
        for i in 0..a {
            let g: Vec<ValueId> = columns.iter().map(|column| column[i]).collect();
            let whole = Lane { k, dtype }.kernel(a, &g);
            for (j, value) in whole.into_iter().enumerate() {
                k.store(target, to.plus(((j * a + i) * position) as i64), value);
            }
        }
        k.close();
    }

    /// A block of output channels of a box: the products, their transform, and the epilogue. The block's weights begin at
    /// `panel`.
    #[allow(clippy::too_many_arguments)]
    fn columns(
        &self,
        c: &mut Composer<'_>,
        params: Params,
        groups: &[&Group],
        at: &[Index],
        (cut, block): (Cut, &Index),
        (transformed, panel): (&Index, &Index),
        epilogue: Option<Epilogue<'_>>,
    ) {
        let a = self.a();
        let tiles = groups[0].extent * groups[1].extent * self.tiling.across;
        let (_, width, _) = cut;
        // A column of positions at a time: its products are still in the first-level cache when they are transformed.
        let j = Index::var(c.k.open_for(a));
        let i = Index::var(c.k.open_for(a));
        let position = j.scale(a as i64).add(&i);
        let from = transformed.add(&position.scale(self.matrix(self.channels) as i64));
        let weights = panel.add(&position.scale(apart(self.channels * width) as i64));
        let to = i.scale(self.matrix(width) as i64);
        let mut zero = true;
        for (start, depth, count) in blocks_of(self.channels, self.schedule.depth(DEPTH)) {
            // The first step starts the chain and stands alone.
            for (start, count) in [
                (start, count.min(usize::from(zero))),
                (start + depth * usize::from(zero), count - usize::from(zero)),
            ] {
                if count == 0 {
                    continue;
                }
                let step = Index::var(c.k.open_for(count)).scale(depth as i64).plus(start as i64);
                c.k.tile(Tile {
                    dtype: self.result.dtype,
                    m: tiles,
                    n: width,
                    reduce: vec![TileLoop { extent: depth, a: 1, b: width as i64 }],
                    a: Panel { param: params.transformed, index: from.add(&step), row: self.channels as i64 },
                    b: Panel { param: params.weights, index: weights.add(&step.scale(width as i64)), row: 0 },
                    c: Panel { param: params.products, index: to.clone(), row: width as i64 },
                    zero,
                });
                c.k.close();
                zero = false;
            }
        }
        c.k.close();
        self.transform_column(c, params, &j, tiles, width);
        c.k.close();
        self.transform_rows(c, params, groups, at, (cut, block), epilogue);
    }

    /// `Aᵀ M` for column `j` of the tiles of a box.
    fn transform_column(&self, c: &mut Composer<'_>, params: Params, j: &Index, tiles: usize, width: usize) {
        let (a, m) = (self.a(), self.tiling.filter.m);
        let tile = Index::var(c.k.open_for(tiles));
        let lane = Index::var(c.k.open_for(width));
        let from = tile.scale(width as i64).add(&lane);
        let p: Vec<ValueId> = (0..a)
            .map(|i| c.k.load_now(params.products, &from.plus((i * self.matrix(width)) as i64)))
            .collect();
        let half = Lane { k: &mut c.k, dtype: self.result.dtype }.output(m, &p);
        for (y, value) in half.into_iter().enumerate() {
            let to = tile.scale(m as i64).plus(y as i64).scale(a as i64).add(j).scale(width as i64);
            c.k.store(params.halves, to.add(&lane), value);
        }
        (0..2).for_each(|_| c.k.close());
    }

    /// `Y = (Aᵀ M) A` for the tiles of a box, and the epilogue, into the result.
    fn transform_rows(
        &self,
        c: &mut Composer<'_>,
        params: Params,
        groups: &[&Group],
        at: &[Index],
        ((first, width, _), block): (Cut, &Index),
        epilogue: Option<Epilogue<'_>>,
    ) {
        let (a, m, chunks) = (self.a(), self.tiling.filter.m, &self.tiling.chunks);
        let inside = Index::var(c.k.open_for(groups[0].extent));
        let image = at[0].scale(chunks[0].length as i64).add(&inside);
        let extent = groups[1].extent;
        // Rows of tiles with all their outputs, and the last one of the image, which may have fewer.
        let last = self.rows_of(groups[1], true);
        let whole = if last == m { extent } else { extent - 1 };
        for (start, count, outputs) in [(0, whole, m), (whole, extent - whole, last)] {
            let row = Index::var(c.k.open_for(count)).plus(start as i64);
            let first_tile = inside.scale(extent as i64).add(&row).scale(self.tiling.across as i64);
            let full = self.columns / m;
            for (start, count, across) in [(0, full, m), (full, self.tiling.across - full, self.columns % m)]
            {
                let y = Index::var(c.k.open_for(outputs));
                let tile = Index::var(c.k.open_for(count)).plus(start as i64);
                let lane = Index::var(c.k.open_for(width));
                let number = first_tile.add(&tile);
                let from = number.scale(m as i64).add(&y).scale((a * width) as i64).add(&lane);
                let p: Vec<ValueId> =
                    (0..a).map(|j| c.k.load_now(params.halves, &from.plus((j * width) as i64))).collect();
                let values = Lane { k: &mut c.k, dtype: self.result.dtype }.output(m, &p);
                let down = at[1].scale(chunks[1].length as i64).add(&row).scale(m as i64).add(&y);
                let channel = block.scale(width as i64).plus(first as i64).add(&lane);
                let points = values.into_iter().take(across).enumerate().map(|(x, value)| {
                    let column = tile.scale(m as i64).plus(x as i64);
                    (vec![image.clone(), down.clone(), column, channel.clone()], value)
                });
                match epilogue {
                    Some(epilogue) => epilogue.finish(c, &points.collect::<Vec<_>>()),
                    None => points.for_each(|(place, value)| {
                        let position = c.flat(self.result, &place);
                        c.k.store(RESULT, position, value);
                    }),
                }
                (0..3).for_each(|_| c.k.close());
            }
            c.k.close();
        }
        c.k.close();
    }
}
