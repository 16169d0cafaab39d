//! Depthwise convolutions: every channel by itself. Lanes are channels, and a sum is a chain of fused
//! multiply-adds over the kernel positions inside the image, in row-major order.
//!
//! Neighbouring positions along the last two axes are computed together: they share the loads of weights and of the image,
//! as many as there are registers for. What is fused behind the convolution is computed from the sums.

use brolga_ir::Type;
use brolga_ir::index::Index;
use brolga_ir::program::{Access, Combine, ValueId};
use brolga_ir::scalar::ScalarOp;

use super::boxes::{Positions, for_each_kind, positions};
use super::parts::parts;
use super::product::Product;
use super::tiling::depthwise_block;
use super::weight_gradient::sum_of_parts;
use crate::facts::blocking::code;
use crate::facts::blocks::{Cut, blocks_of};
use crate::facts::windows::{Chunks, Group, Segment, Window};
use crate::lower::Lowering;
use crate::lower::kernel::KernelBuilder;
use crate::lower::regions::compose::Composer;

impl Lowering<'_> {
    /// y[n, p, c] = Σ_k x[n, i(p, k), c] · w[k][c], or the gradient with respect to x.
    pub(super) fn depthwise(&mut self, product: &Product<'_>) {
        let Product { shape, source, result, .. } = product;
        let packed = self.pack_depthwise(&product.weights, shape, product.origin);
        let axes = positions(&shape.windows, result, &source.positions);
        let chunks = product.tiling.chunks();
        for columns in blocks_of(shape.groups, product.tiling.columns) {
            let mut c = product.composer(self.graph);
            let mut params = vec![source.location, packed.location, product.target];
            c.k.param(shape.dtype, source.len, Access::Read);
            packed.param(&mut c.k);
            c.k.param(shape.dtype, result.elements(), Access::ReadWrite);
            if let Some(epilogue) = product.epilogue {
                epilogue.parameters(&mut c, &mut params);
            }
            let at: Vec<Index> = chunks.iter().map(|chunk| Index::var(c.k.open_grid(chunk.count))).collect();
            let first = columns.start(&Index::var(c.k.open_grid(columns.count)));
            let along = at.iter().zip(chunks).zip(&axes);
            let from = first.scale(source.channel).plus(source.offset);
            let from = along
                .fold(from, |from, ((at, chunk), axis)| from.add(&at.scale(chunk.source_step * axis.source)));
            let point = GridPoint {
                product,
                axes: &axes,
                chunks,
                at: &at,
                params: (0, 1),
                from,
                step: source.channel,
                first,
                count: columns.width,
            };
            for_each_kind(&mut c, chunks, &at, &mut |c, groups| {
                point.segments(c, groups, &mut Vec::new());
            });
            (0..=at.len()).for_each(|_| c.k.close());
            self.call(c.k.finish_kernel(), params, product.origin);
        }
    }

    /// dw[c, 0, k…] = Σ over images and positions of x · dy: a chain for each image's part, then over the parts.
    pub(super) fn depthwise_weight_gradient(&mut self, gradient: &Product<'_>) {
        let Product { shape, source, weights, origin, .. } = gradient;
        let (area, channels, dtype) = (shape.area(), shape.groups, shape.dtype);
        let parts = parts(shape.batch, shape.space(), area);
        let name = format!("{}:parts", self.graph.node(*origin).origin.path);
        let partial = self.arena(&name, Type::new(dtype, [parts, area, channels]));
        let taps: Vec<(usize, Vec<usize>)> =
            combinations(shape.windows.iter().map(|window| 0..window.kernel))
                .into_iter()
                .enumerate()
                .collect();
        // Each has code of its own, and tables on the stack.
        for some in taps.chunks(code::DEPTHWISE_WEIGHTS) {
            let mut c = gradient.composer(self.graph);
            c.k.param(dtype, source.len, Access::Read);
            c.k.param(dtype, weights.access.len, Access::Read);
            c.k.param(dtype, parts * area * channels, Access::Write);
            let part = Index::var(c.k.open_grid(parts));
            for (number, tap) in some {
                let channel = Index::var(c.k.open_for(channels));
                let sum = sum_of_tap(&mut c.k, gradient, tap, (&part, shape.batch / parts), &channel);
                let to = part.scale(area as i64).plus(*number as i64).scale(channels as i64).add(&channel);
                c.k.store(2, to, sum);
                c.k.close();
            }
            c.k.close();
            let arguments = vec![source.location, weights.access.location, partial];
            self.call(c.k.finish_kernel(), arguments, *origin);
        }
        let mut k = KernelBuilder::new("add_parts");
        let from = k.param(dtype, parts * area * channels, Access::Read);
        let to = k.param(dtype, gradient.result.elements(), Access::Write);
        let channel = Index::var(k.open_for(channels));
        let tap = Index::var(k.open_for(area));
        let read = tap.scale(channels as i64).add(&channel);
        let sum = sum_of_parts(&mut k, from, &read, (parts, area * channels));
        k.store(to, channel.scale(area as i64).add(&tap), sum);
        (0..2).for_each(|_| k.close());
        self.call(k.finish_kernel(), vec![partial, gradient.target], *origin);
    }
}

/// Every choice of one from each, the last changing first.
fn combinations<T: Clone>(of: impl Iterator<Item = impl Iterator<Item = T> + Clone>) -> Vec<Vec<T>> {
    of.fold(vec![Vec::new()], |before, each| {
        let with = |chosen: &Vec<T>| {
            let chosen = chosen.clone();
            each.clone().map(move |one| chosen.iter().cloned().chain([one]).collect())
        };
        before.iter().flat_map(with).collect()
    })
}

/// The sum of a gradient for one tap and channel, over `each` images of a part.
fn sum_of_tap(
    k: &mut KernelBuilder,
    gradient: &Product<'_>,
    tap: &[usize],
    (part, each): (&Index, usize),
    channel: &Index,
) -> ValueId {
    let Product { shape, source: x, weights: dy, .. } = gradient;
    let sum = k.declare(shape.dtype, Combine::Add, 1);
    let image = part.scale(each as i64).add(&Index::var(k.open_for(each)));
    let segments = |(window, &tap): (&Window, &usize)| {
        let single = Window { kernel: 1, low: window.low - tap as i64 * window.dilation, ..*window };
        let segments = single.segments(0, window.output as i64);
        segments.into_iter().filter(|s| s.taps > 0)
    };
    for run in combinations(shape.windows.iter().zip(tap).map(segments)) {
        let mut from = image.scale(x.positions[0]).add(&channel.scale(x.channel)).plus(x.offset);
        let mut at = image.scale(dy.input).add(&channel.scale(dy.group)).plus(dy.offset);
        for (axis, s) in run.iter().enumerate() {
            let var = Index::var(k.open_for(s.count));
            from = from.add(&var.scale(s.source_step).plus(s.source).scale(x.positions[axis + 1]));
            at = at.add(&var.scale(s.step).plus(s.start).scale(dy.kernel[axis]));
        }
        let values = [k.load(0, &from, None), k.load(1, &at, None)];
        let product = k.op(ScalarOp::Mul, &values);
        k.accumulate(sum, product);
        run.iter().for_each(|_| k.close());
    }
    k.close();
    k.finish(sum)
}

/// What a grid point computes: a box of positions, of neighbouring channels.
pub(in crate::lower) struct GridPoint<'a> {
    pub product: &'a Product<'a>,
    pub axes: &'a [Positions],
    pub chunks: &'a [Chunks],
    pub at: &'a [Index],
    /// The parameters that hold the image and the weights.
    pub params: (usize, usize),
    /// Where the box and the first of its channels begin in the image, and how far apart channels lie.
    pub from: Index,
    pub step: i64,
    /// The first channel, and their number.
    pub first: Index,
    pub count: usize,
}

/// Blocks of neighbouring positions with the same taps.
#[derive(PartialEq, Debug)]
struct Run {
    /// First position of the first block.
    first: usize,
    /// Number of blocks.
    count: usize,
    /// Inputs from one block to the next.
    source_step: i64,
    /// For each position of the first block: kernel positions, and the inputs under them.
    positions: Vec<Vec<(usize, i64)>>,
}

/// Rows of positions: where their first inputs lie, their positions along the outer axes, and the taps of these.
struct OpenRows {
    from: Index,
    at: Vec<Index>,
    taps: Vec<Tap>,
}

/// A tap of the outer axes: the row of the block that sees it, how far behind the first input it lies, and its kernel position.
#[derive(Clone, Copy)]
struct Tap {
    row: usize,
    x: i64,
    w: i64,
}

/// The positions of a group in blocks.
fn runs(group: &Group, block: usize) -> Vec<Run> {
    let mut positions: Vec<Vec<(usize, i64)>> = vec![Vec::new(); group.extent];
    for s in &group.segments {
        for n in 0..s.count as i64 {
            let source = s.source + n * s.source_step;
            let tap = |t: usize| (s.tap + t * s.tap_step, source + t as i64 * s.source_tap);
            positions[(s.start + n * s.step) as usize] = (0..s.taps).map(tap).collect();
        }
    }
    let mut runs: Vec<Run> = Vec::new();
    let mut first = 0;
    for block in positions.chunks(block) {
        let start = first;
        first += block.len();
        if let Some(last) = runs.last_mut() {
            let source = |positions: &[Vec<(usize, i64)>]| positions.iter().flatten().next().map(|tap| tap.1);
            let moved = source(block).zip(source(&last.positions)).map_or(0, |(to, from)| to - from);
            let step = if last.count == 1 { moved } else { last.source_step };
            let shift = |tap: &(usize, i64)| (tap.0, tap.1 + last.count as i64 * step);
            let next: Vec<Vec<_>> = last.positions.iter().map(|p| p.iter().map(shift).collect()).collect();
            if next == block {
                last.source_step = step;
                last.count += 1;
                continue;
            }
        }
        runs.push(Run { first: start, count: 1, source_step: 0, positions: block.to_vec() });
    }
    runs
}

/// A segment as blocks of so many of its positions, and a smaller one of what is left over.
fn blocks(segment: Segment, many: usize) -> impl Iterator<Item = (Segment, usize)> {
    blocks_of(segment.count, many).into_iter().map(move |Cut { first, width: many, count }| {
        let (first, apart) = (first as i64, many as i64);
        let blocks = Segment {
            count,
            start: segment.start + first * segment.step,
            source: segment.source + first * segment.source_step,
            step: segment.step * apart,
            source_step: segment.source_step * apart,
            ..segment
        };
        (blocks, many)
    })
}

impl GridPoint<'_> {
    /// Loops for every combination of segments of the outer axes, and every run of the last one.
    pub fn segments(&self, c: &mut Composer<'_>, groups: &[&Group], chosen: &mut Vec<Segment>) {
        let group = groups[chosen.len()];
        if chosen.len() + 1 < groups.len() {
            for &segment in &group.segments {
                chosen.push(segment);
                self.segments(c, groups, chosen);
                chosen.pop();
            }
            return;
        }
        // The images are no rows.
        let row = chosen.last().copied().filter(|_| chosen.len() > 1);
        let Some(along) = group.segments.iter().max_by_key(|s| s.count) else { return };
        let (many, count) = depthwise_block(row.as_ref(), along);
        let runs = runs(group, count);
        let Some(row) = row else {
            return runs.iter().for_each(|run| self.run(c, chosen, 1, run));
        };
        for (rows, many) in blocks(row, many) {
            *chosen.last_mut().expect("a row") = rows;
            runs.iter().for_each(|run| self.run(c, chosen, many, run));
        }
    }

    /// Loops over blocks of positions and over channels, with the sums of a block inside, each in a register. A block has `many`
    /// rows, by the positions of a block of the run: 2 rows of 3 positions are 6 sums. `chosen` has the segments of the outer
    /// axes, the last one that of the rows.
    fn run(&self, c: &mut Composer<'_>, chosen: &[Segment], many: usize, run: &Run) {
        let mut rows = self.open_rows(c, chosen, many);
        let axis = chosen.len();
        let (positions, chunk, at) = (&self.axes[axis], &self.chunks[axis], &self.at[axis]);
        let block = Index::var(c.k.open_for(run.count));
        let width = run.positions.len();
        let first = at.scale(chunk.length as i64).add(&block.scale(width as i64)).plus(run.first as i64);
        let channel = Index::var(c.k.open_for(self.count));
        rows.from =
            rows.from.add(&block.scale(run.source_step * positions.source)).add(&channel.scale(self.step));
        rows.at.push(first);
        let channel = self.first.add(&channel);
        let mut sums: Vec<Option<ValueId>> = vec![None; many * width];
        self.sum(c, run, &rows, &channel, &mut sums);
        let apart = chosen.last().map_or(0, |s| s.step / many as i64);
        let point = |(number, sum): (usize, Option<ValueId>)| {
            let mut point = rows.at.clone();
            if let [.., row, _] = point.as_mut_slice() {
                *row = row.plus((number / width) as i64 * apart);
            }
            if let Some(along) = point.last_mut() {
                *along = along.plus((number % width) as i64);
            }
            point.push(channel.clone());
            (point, sum.unwrap_or_else(|| c.k.zero_of(2)))
        };
        let points: Vec<(Vec<Index>, ValueId)> = sums.into_iter().enumerate().map(point).collect();
        self.store(c, &points);
        (0..chosen.len() + 2).for_each(|_| c.k.close());
    }

    /// Opens loops over the positions of the outer axes; of the last of them over blocks of `many`.
    fn open_rows(&self, c: &mut Composer<'_>, chosen: &[Segment], many: usize) -> OpenRows {
        let mut rows =
            OpenRows { from: self.from.clone(), at: Vec::new(), taps: vec![Tap { row: 0, x: 0, w: 0 }] };
        for (axis, s) in chosen.iter().enumerate() {
            let (positions, chunk) = (&self.axes[axis], &self.chunks[axis]);
            let var = Index::var(c.k.open_for(s.count));
            let source = var.scale(s.source_step).plus(s.source);
            rows.from = rows.from.add(&source.scale(positions.source));
            rows.at.push(self.at[axis].scale(chunk.length as i64).add(&var.scale(s.step)).plus(s.start));
            let kernel = positions.window.kernel as i64;
            let many = if axis + 1 == chosen.len() { many as i64 } else { 1 };
            // (input, row, kernel position)
            let mut taps: Vec<(i64, usize, i64)> = (0..many)
                .flat_map(|row| {
                    (0..s.taps as i64).map(move |t| {
                        let input = row * (s.source_step / many) + t * s.source_tap;
                        (input, row as usize, s.tap as i64 + t * s.tap_step as i64)
                    })
                })
                .collect();
            if many > 1 {
                taps.sort_unstable();
            }
            let along = |outer: &Tap| {
                let Tap { row, x, w } = *outer;
                let with = |&(input, own, tap): &(i64, usize, i64)| Tap {
                    row: row + own,
                    x: x + input * positions.source,
                    w: w * kernel + tap,
                };
                taps.iter().map(with).collect::<Vec<_>>()
            };
            rows.taps = rows.taps.iter().flat_map(along).collect();
        }
        rows
    }

    /// Adds to the sums of a block, row by row, the taps of the outer axes times those of a run. Each row of the image is loaded
    /// once: the rows of the block that need it take turns from tap to tap.
    fn sum(
        &self,
        c: &mut Composer<'_>,
        run: &Run,
        rows: &OpenRows,
        channel: &Index,
        sums: &mut [Option<ValueId>],
    ) {
        let positions = self.axes.last().expect("a spatial axis");
        let (kernel, width) = (positions.window.kernel, run.positions.len());
        for shared in rows.taps.chunk_by(|a, b| a.x == b.x && a.row < b.row) {
            for (tap, &Tap { row, x, w }) in
                (0..kernel).flat_map(|tap| shared.iter().map(move |row| (tap, row)))
            {
                for (sum, taps) in sums[row * width..].iter_mut().zip(&run.positions) {
                    let Some(&(_, input)) = taps.iter().find(|other| other.0 == tap) else { continue };
                    let x = c.k.load(self.params.0, &rows.from.plus(x + input * positions.source), None);
                    let weight = (w * kernel as i64 + tap as i64) * self.product.shape.groups as i64;
                    let w = c.k.load(self.params.1, &channel.plus(weight), None);
                    let so_far = sum.unwrap_or_else(|| c.k.zero_of(2));
                    *sum = Some(c.k.op(ScalarOp::Fma, &[x, w, so_far]));
                }
            }
        }
    }

    /// Stores sums at their points, with what is fused behind them.
    fn store(&self, c: &mut Composer<'_>, points: &[(Vec<Index>, ValueId)]) {
        if let Some(epilogue) = self.product.epilogue {
            return epilogue.finish(c, points);
        }
        for (point, sum) in points {
            let channel = point.last().expect("a channel axis").clone();
            let along = |(at, axis): (&Index, &Positions)| at.scale(axis.target);
            let at = point.iter().zip(self.axes).map(along);
            let to = at.fold(channel, |sum, term| sum.add(&term));
            c.k.store(2, to, *sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_hold_the_taps_of_every_position() {
        for stride in 1..3 {
            for spread in 1..3 {
                for (kernel, low, input, output) in [(3, 1, 9, 9), (5, 2, 11, 11), (2, 0, 5, 8), (3, 1, 2, 3)]
                {
                    let window = Window { stride, kernel, low, spread, input, ..Window::identity(output) };
                    for block in 1..5 {
                        for group in &window.chunks(output).groups {
                            let mut next = 0;
                            for run in runs(group, block) {
                                assert_eq!(run.first, next);
                                for b in 0..run.count {
                                    for (p, taps) in run.positions.iter().enumerate() {
                                        let at = (run.first + b * run.positions.len() + p) as i64;
                                        let there =
                                            (0..kernel).filter_map(|k| Some((k, window.input_at(at, k)?)));
                                        let moved = b as i64 * run.source_step;
                                        let found: Vec<_> = taps.iter().map(|t| (t.0, t.1 + moved)).collect();
                                        assert_eq!(
                                            found,
                                            there.collect::<Vec<_>>(),
                                            "{window:?}, position {at}"
                                        );
                                    }
                                }
                                next += run.count * run.positions.len();
                            }
                            assert_eq!(next, output);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn blocks_of_rows_are_the_segment() {
        let segment =
            Window { kernel: 3, low: 1, input: 9, ..Window::identity(9) }.segments(0, 9).into_iter();
        for segment in segment {
            for many in 1..4 {
                let mut rows = Vec::new();
                for (blocks, many) in blocks(segment, many) {
                    for (n, row) in
                        (0..blocks.count as i64).flat_map(|n| (0..many as i64).map(move |r| (n, r)))
                    {
                        let many = many as i64;
                        let along = |first: i64, step: i64| first + n * step + row * (step / many);
                        rows.push((
                            along(blocks.start, blocks.step),
                            along(blocks.source, blocks.source_step),
                        ));
                    }
                }
                let wanted = (0..segment.count as i64)
                    .map(|n| (segment.start + n * segment.step, segment.source + n * segment.source_step));
                assert_eq!(rows, wanted.collect::<Vec<_>>());
            }
        }
    }
}
