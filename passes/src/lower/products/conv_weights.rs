//! The gradient of a convolution with respect to its weights.
//!
//! ```text
//! dw[o, c, k] = Σ over images and output positions p of  x[image, i(p, k), c] · dy[image, p, o]
//! ```
//!
//! Input channels are the rows of the tiles, output channels the columns, and positions the chain: over (image,
//! position), taps outside the image left out. Images are cut into parts with chains of their own, which are added in
//! ascending order; their number depends on the shape (the numeric plan, [`parts`]). Where there are fewer channels
//! than kernel positions along the last axis (a first layer), these are the rows instead.
//!
//! Where a part has more positions than a chain should, its chains are cut into pieces ([`piece`]): of images, or of chunks of
//! one. Each begins from 0, and they are added in ascending order, in `f64`. Kernels of more than 512 positions are cut at
//! images only.

use brolga_ir::index::Index;
use brolga_ir::program::{Access, Panel, Tile, TileLoop};
use brolga_ir::scalar::{Comparison, Scalar, ScalarOp};
use brolga_ir::{DType, NodeId, Type};

use super::blocks::{Cut, column_blocks};
use super::boxes::{boxes, for_each_kind};
use super::image::Image;
use super::taps::{TapAxis, close_taps, open_taps};
use super::windows::{Chunks, Group, Segment, Window};
use crate::lower::blocking::code;
use crate::lower::blocking::plan::{CHAIN, PARTS, PIECES};
use crate::lower::blocking::weights::DEPTH;
use crate::lower::kernel::KernelBuilder;
use crate::lower::regions::compose::Composer;
use crate::lower::{Location, Lowering};
use crate::schedule::Algorithm;

/// Into how many parts the images are cut: the smallest divisor of the batch with enough pieces of work and short
/// enough chains; if none is, the largest up to 16.
pub(in crate::lower) fn parts(batch: usize, positions: usize, pieces: usize) -> usize {
    let divisors = (1..=PARTS.min(batch)).filter(|parts| batch.is_multiple_of(*parts));
    let enough = |parts: &usize| parts * pieces >= PIECES && batch / parts * positions <= CHAIN;
    divisors.clone().find(enough).or(divisors.max()).unwrap_or(1)
}

/// Where a chain ends and is added, as `f64`, to those before it.
#[derive(Clone, Copy, PartialEq)]
enum Piece {
    /// Nowhere: a part is one chain.
    Whole,
    /// Behind so many images.
    Images(usize),
    /// Inside of an image: behind so many chunks of an axis.
    Chunks { axis: usize, every: usize },
}

/// The pieces of a part of so many images: chains of about `CHAIN` positions.
fn piece(images: usize, windows: &[Window], large: bool) -> Piece {
    let space: usize = windows.iter().map(|window| window.output).product();
    if images * space <= CHAIN {
        return Piece::Whole;
    }
    if space <= CHAIN || large {
        return Piece::Images((CHAIN / space.max(1)).clamp(1, images));
    }
    // Only now: of a large kernel there would be as many chunks as positions.
    let chunks = boxes(windows.iter(), DEPTH);
    let inside =
        |axis: usize| chunks[axis].length * windows[axis + 1..].iter().map(|w| w.output).product::<usize>();
    let last = windows.len() - 1;
    let axis = (0..last).find(|&axis| inside(axis) <= CHAIN).unwrap_or(last);
    Piece::Chunks { axis, every: (CHAIN / inside(axis).max(1)).clamp(1, chunks[axis].count.max(1)) }
}

/// One tap along every axis: the kernel position, and where outputs see it.
struct Gradient<'a> {
    windows: &'a [Window],
    x: &'a Image,
    dy: &'a Image,
    /// Input channels of a group.
    channels: usize,
    width: usize,
    /// Whether rows are kernel positions of the last axis instead of channels.
    by_taps: bool,
    /// Positions, about, that a tile goes through.
    depth: usize,
    piece: Piece,
    dtype: DType,
}

impl Lowering<'_> {
    pub(super) fn weight_gradient(
        &mut self,
        groups: usize,
        batch: usize,
        windows: &[Window],
        images: [Image; 2],
        (target, result): (Location, &Type),
        id: NodeId,
    ) {
        let [x, dy] = images;
        let outputs = result.dims[0] / groups;
        let dy = if dy.channel == 1 || outputs == 1 {
            dy
        } else {
            self.channels_last(&dy, batch, windows, result, id)
        };
        let (channels, kernel) = (result.dims[1], &result.dims[2..]);
        let area: usize = kernel.iter().product();
        let space: usize = windows.iter().map(|w| w.output).product();
        // The numeric plan counts panels of the compiler's own width.
        let pieces: usize = groups * column_blocks(outputs, None).iter().map(|cut| cut.2).sum::<usize>();
        let parts = parts(batch, space, pieces);
        self.choose(Algorithm::Weights, id);
        let cuts = column_blocks(outputs, self.schedule.columns());
        let elements = groups * channels * area * outputs;
        let name = format!("{}:parts", self.graph.node(id).origin.path);
        let partial = self.arena(&name, Type::new(result.dtype, [parts, elements]));
        let last = windows.last().expect("a spatial axis");
        let large = area > code::KERNEL;
        let by_taps = !large && channels < last.kernel && last.spread == 1;
        // Elsewhere the boxes say in which order segments with the same tap come.
        let row_major = !by_taps && windows.iter().all(|window| window.spread == 1);
        let (x, turned) = match large {
            true => self.turned(x, windows, (batch, groups * channels, result.dtype), id),
            false => (x, Vec::new()),
        };
        let depth = if row_major { self.schedule.depth(DEPTH) } else { DEPTH };
        let each = batch / parts;
        let piece = piece(each, windows, large);
        // Where chunks end chains, their length is part of the plan.
        let depth = if matches!(piece, Piece::Chunks { .. }) { DEPTH } else { depth };
        let (sums, summed) = match piece {
            Piece::Whole => (partial, result.dtype),
            _ => (self.arena(&format!("{name}:sums"), Type::new(DType::F64, [parts, elements])), DType::F64),
        };
        for &(first, width, count) in &cuts {
            let dtype = result.dtype;
            let plan = Gradient { windows, x: &x, dy: &dy, channels, width, by_taps, depth, piece, dtype };
            let mut c = Composer::new(self.graph, "conv_weight_gradient");
            c.k.param(result.dtype, x.len, Access::Read);
            c.k.param(result.dtype, dy.len, Access::Read);
            c.k.param(result.dtype, parts * elements, Access::ReadWrite);
            let mut args = vec![x.location, dy.location, partial];
            if piece != Piece::Whole {
                c.k.param(summed, parts * elements, Access::ReadWrite);
                args.push(sums);
            }
            let part = Index::var(c.k.open_grid(parts));
            let group = Index::var(c.k.open_grid(groups));
            let column = Index::var(c.k.open_grid(count));
            let to = part
                .scale(elements as i64)
                .add(&group.scale((channels * area * outputs) as i64))
                .add(&column.scale((channels * area * width) as i64))
                .plus((first * channels * area) as i64);
            let from = group.scale(channels as i64 * x.channel).plus(x.offset);
            let gradient = group.scale(outputs as i64).add(&column.scale(width as i64)).scale(dy.channel);
            let gradient = gradient.plus(dy.offset + first as i64 * dy.channel);
            for param in 2..args.len() {
                let fill = Index::var(c.k.open_for(channels * area * width));
                let zero = c.k.zero_of(param);
                c.k.store(param, to.add(&fill), zero);
                c.k.close();
            }
            let within = Index::var(c.k.open_for(each));
            let image = part.scale(each as i64).add(&within);
            let from = from.add(&image.scale(x.positions[0]));
            let gradient = gradient.add(&image.scale(dy.positions[0]));
            match large {
                true => plan.large(&mut c, &turned, &mut Vec::new(), (&from, &gradient, &to)),
                false => plan.image(&mut c, &from, &gradient, &to),
            }
            if let Piece::Images(every) = piece {
                plan.end_pieces(&mut c, &within, (every, each), &to);
            }
            (0..4).for_each(|_| c.k.close());
            self.call(c.k.finish_kernel(), args, id);
        }
        self.add_parts((sums, summed, parts), (target, result), groups, &cuts, id);
    }

    /// A copy of dy with its channels contiguous; `result` is the type of the gradient.
    fn channels_last(
        &mut self,
        dy: &Image,
        batch: usize,
        windows: &[Window],
        result: &Type,
        id: NodeId,
    ) -> Image {
        let outputs = windows.iter().map(|window| window.output);
        let dims: Vec<usize> = [batch].into_iter().chain(outputs).chain([result.dims[0]]).collect();
        let ones = windows.iter().map(|_| 1);
        self.copy_image("channels_last", dy, ones, result.with_dims(dims), id)
    }

    /// The windows as the kernel sees them: its positions are the outputs, those of dy the taps. None has many segments.
    fn turned(
        &mut self,
        x: Image,
        windows: &[Window],
        image: (usize, usize, DType),
        id: NodeId,
    ) -> (Image, Vec<Window>) {
        let turn = |window: &Window| Window {
            stride: window.dilation,
            kernel: window.output,
            dilation: window.stride,
            output: window.kernel,
            ..*window
        };
        let mut turned: Vec<Window> = windows.iter().map(turn).collect();
        let x = self.few_pieces(x, &mut turned, image, id);
        (x, turned)
    }

    /// dw[g outputs + o, c, k…] = Σ over parts, in ascending order, of partial[part][g][block of o][k…][c][o].
    fn add_parts(
        &mut self,
        (partial, summed, parts): (Location, DType, usize),
        (target, result): (Location, &Type),
        groups: usize,
        cuts: &[Cut],
        id: NodeId,
    ) {
        let (outputs, channels, kernel) = (result.dims[0] / groups, result.dims[1], &result.dims[2..]);
        let area: usize = kernel.iter().product();
        let elements = result.elements();
        let mut k = KernelBuilder::new("add_parts");
        let source = k.param(summed, parts * elements, Access::Read);
        let to = k.param(result.dtype, elements, Access::Write);
        for &(first, width, count) in cuts {
            let group = Index::var(k.open_for(groups));
            let block = Index::var(k.open_for(count));
            let output = Index::var(k.open_for(width));
            let channel = Index::var(k.open_for(channels));
            let tap = Index::var(k.open_for(area));
            let size = channels * area;
            let read = group
                .scale((size * outputs) as i64)
                .add(&block.scale((size * width) as i64))
                .add(&tap.scale((channels * width) as i64))
                .add(&channel.scale(width as i64))
                .add(&output)
                .plus((first * size) as i64);
            let row = group.scale(outputs as i64).add(&block.scale(width as i64)).add(&output);
            let write = row.plus(first as i64).scale(size as i64).add(&channel.scale(area as i64)).add(&tap);
            let mut sum = k.load(source, &read, None);
            for part in 1..parts {
                let next = k.load(source, &read.plus((part * elements) as i64), None);
                sum = k.op(ScalarOp::Add, &[sum, next]);
            }
            if summed != result.dtype {
                sum = k.op(ScalarOp::Convert(result.dtype), &[sum]);
            }
            k.store(to, write, sum);
            (0..5).for_each(|_| k.close());
        }
        self.call(k.finish_kernel(), vec![partial, target], id);
    }
}

impl Gradient<'_> {
    /// Everything of one image.
    fn image(&self, c: &mut Composer<'_>, x: &Index, dy: &Index, to: &Index) {
        let chunks = boxes(self.windows.iter(), self.depth);
        let at: Vec<Index> = chunks.iter().map(|chunk| Index::var(c.k.open_for(chunk.count))).collect();
        for_each_kind(c, &chunks, &at, &mut |c, groups| {
            self.taps(c, &chunks, &at, groups, &mut Vec::new(), (x, dy, to));
        });
        for axis in (0..at.len()).rev() {
            match self.piece {
                Piece::Chunks { axis: cut, every } if cut == axis => {
                    self.end_pieces(c, &at[axis], (every, chunks[axis].count), to);
                }
                _ => {}
            }
            c.k.close();
        }
    }

    /// Ends chains behind every so many of the iterations of a loop, and behind the last.
    fn end_pieces(&self, c: &mut Composer<'_>, at: &Index, (every, count): (usize, usize), to: &Index) {
        if every == 1 {
            return self.end_piece(c, to);
        }
        let within = at.rem(every as i64, &|atom| c.k.range(atom));
        let is = |c: &mut Composer<'_>, index: &Index, last: usize| {
            let (index, last) = (c.k.index(index, DType::I64), c.k.constant(Scalar::I64(last as i64)));
            c.k.op(ScalarOp::Compare(Comparison::Eq), &[index, last])
        };
        let (full, last) = (is(c, &within, every - 1), is(c, at, count - 1));
        let ends = c.k.op(ScalarOp::Or, &[full, last]);
        c.k.open_if(ends);
        self.end_piece(c, to);
        c.k.close_if();
    }

    /// Adds the chains to the sums of those before them, and begins anew.
    fn end_piece(&self, c: &mut Composer<'_>, to: &Index) {
        let area: usize = self.windows.iter().map(|window| window.kernel).product();
        let at = to.add(&Index::var(c.k.open_for(self.channels * area * self.width)));
        let (sum, mut chain) = (c.k.load_now(3, &at), c.k.load_now(2, &at));
        if self.dtype != DType::F64 {
            chain = c.k.op_now(ScalarOp::Convert(DType::F64), &[chain]);
        }
        let sum = c.k.op_now(ScalarOp::Add, &[sum, chain]);
        c.k.store(3, at.clone(), sum);
        let zero = c.k.zero_of(2);
        c.k.store(2, at, zero);
        c.k.close();
    }

    /// Everything of one image, by loops over kernel positions.
    fn large(
        &self,
        c: &mut Composer<'_>,
        turned: &[Window],
        chosen: &mut Vec<Segment>,
        bases: (&Index, &Index, &Index),
    ) {
        let Some(window) = turned.get(chosen.len()) else { return self.large_tile(c, turned, chosen, bases) };
        for segment in window.segments(0, window.output as i64).into_iter().filter(|s| s.taps > 0) {
            chosen.push(segment);
            self.large(c, turned, chosen, bases);
            chosen.pop();
        }
    }

    fn large_tile(
        &self,
        c: &mut Composer<'_>,
        turned: &[Window],
        chosen: &[Segment],
        (x, dy, to): (&Index, &Index, &Index),
    ) {
        let (mut a, mut to) = (x.clone(), to.clone());
        let mut at = Vec::new();
        for s in chosen {
            let var = Index::var(c.k.open_for(s.count));
            at.push(var.scale(s.step).plus(s.start));
            let axis = at.len();
            a = a.add(&var.scale(s.source_step).plus(s.source).scale(self.x.positions[axis]));
        }
        let mut size = (self.channels * self.width) as i64;
        for (window, at) in turned.iter().zip(&at).rev() {
            to = to.add(&at.scale(size));
            size *= window.output as i64;
        }
        let axes: Vec<TapAxis<'_>> = (turned.iter().zip(chosen).zip(&at).enumerate())
            .map(|(axis, ((window, segment), at))| {
                let (source, weights) = (self.x.positions[axis + 1], self.dy.positions[axis + 1]);
                TapAxis { window, segment, at, source, weights }
            })
            .collect();
        let taps = open_taps(&mut c.k, &axes);
        c.k.tile(Tile {
            dtype: self.dtype,
            m: self.channels,
            n: self.width,
            reduce: taps.reduce,
            a: Panel { param: 0, index: a.add(&taps.source), row: self.x.channel },
            b: Panel { param: 1, index: dy.add(&taps.weights), row: 0 },
            c: Panel { param: 2, index: to, row: self.width as i64 },
            zero: false,
        });
        close_taps(&mut c.k, &taps.open);
        chosen.iter().for_each(|_| c.k.close());
    }

    /// One kernel position for every axis; of the last one a run, if these are the rows.
    fn taps(
        &self,
        c: &mut Composer<'_>,
        chunks: &[Chunks],
        at: &[Index],
        groups: &[&Group],
        chosen: &mut Vec<Segment>,
        bases: (&Index, &Index, &Index),
    ) {
        let axis = chosen.len();
        let Some(window) = self.windows.get(axis) else { return self.tile(c, chunks, at, chosen, bases) };
        if self.by_taps && axis + 1 == self.windows.len() {
            for &segment in groups[axis].segments.iter().filter(|s| s.taps > 0) {
                chosen.push(segment);
                self.taps(c, chunks, at, groups, chosen, bases);
                chosen.pop();
            }
            return;
        }
        let (chunk, group) = (&chunks[axis], groups[axis]);
        let from = (group.first * chunk.length) as i64;
        for tap in 0..window.kernel {
            let low = window.low - tap as i64 * window.dilation;
            let single = Window { kernel: 1, low, ..*window };
            for mut segment in single.segments(from, from + group.extent as i64) {
                if segment.taps == 0 {
                    continue;
                }
                segment.tap = tap;
                segment.source -= group.first as i64 * chunk.source_step;
                chosen.push(segment);
                self.taps(c, chunks, at, groups, chosen, bases);
                chosen.pop();
            }
        }
    }

    fn tile(
        &self,
        c: &mut Composer<'_>,
        chunks: &[Chunks],
        at: &[Index],
        chosen: &[Segment],
        (x, dy, to): (&Index, &Index, &Index),
    ) {
        let (mut a, mut b, mut to) = (x.clone(), dy.clone(), to.clone());
        let mut reduce = Vec::new();
        let mut size = self.channels * self.width;
        for axis in (0..chosen.len()).rev() {
            let (s, chunk) = (&chosen[axis], &chunks[axis]);
            let (x, dy) = (self.x.positions[axis + 1], self.dy.positions[axis + 1]);
            a = a.add(&at[axis].scale(chunk.source_step * x)).plus(s.source * x);
            b = b.add(&at[axis].scale(chunk.length as i64 * dy)).plus(s.start * dy);
            to = to.plus((s.tap * size) as i64);
            size *= self.windows[axis].kernel;
            if s.count > 1 {
                reduce.push(TileLoop { extent: s.count, a: s.source_step * x, b: s.step * dy });
            }
        }
        reduce.reverse();
        let last = chosen.last().expect("a spatial axis");
        let tile = |a: Index, to: Index, rows: (usize, i64, i64)| Tile {
            dtype: self.dtype,
            m: rows.0,
            n: self.width,
            reduce: reduce.clone(),
            a: Panel { param: 0, index: a, row: rows.1 },
            b: Panel { param: 1, index: b.clone(), row: 0 },
            c: Panel { param: 2, index: to, row: rows.2 },
            zero: false,
        };
        if !self.by_taps {
            let tile = tile(a, to, (self.channels, self.x.channel, self.width as i64));
            return c.k.tile(tile);
        }
        let row = last.source_tap * self.x.positions[chosen.len()];
        let step = (last.tap_step * self.channels * self.width) as i64;
        for channel in 0..self.channels as i64 {
            let a = a.plus(channel * self.x.channel);
            let to = to.plus(channel * self.width as i64);
            let tile = tile(a, to, (last.taps, row, step));
            c.k.tile(tile);
        }
    }
}
