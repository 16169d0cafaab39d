//! The gradient of a convolution with respect to its weights, of any stride and dilation. Depthwise convolutions and Winograd's
//! algorithm have forms of their own; `convolve_weights` in `conv.rs` chooses.
//!
//! ```text
//! dw[o, c, k] = Σ over images and output positions p of  x[image, i(p, k), c] · dy[image, p, o]
//! ```
//!
//! where `i(p, k) = stride p + dilation k - padding` along every axis, by `Window`. Input channels are the rows of the tiles,
//! output channels the columns, and positions the chain: over (image, position), taps outside the image left out. Images are
//! cut into parts with chains of their own, which are added in ascending order; their number depends on the shape (the
//! numeric plan, [`Parts`]). Where there are fewer channels than kernel positions along the last axis (a first layer), these
//! are the rows instead.
//!
//! Where a part has more positions than a chain should, it has several, which end ([`ChainEnd`]) behind images, or behind chunks of
//! one. Each begins from 0, and they are added in ascending order, in `f64`. Kernels of more than 512 positions are cut at
//! images only.

use brolga_ir::index::Index;
use brolga_ir::program::{Access, Panel, Tile, TileLoop, ValueId};
use brolga_ir::scalar::{Comparison, Scalar, ScalarOp};
use brolga_ir::{DType, Type};

use super::boxes::for_each_kind;
use super::image::{Image, Planes, few_pieces};
use super::parts::{ChainEnd, Parts};
use super::product::Product;
use super::shape::Shape;
use super::taps::{TapAxis, close_taps, open_taps};
use crate::facts::blocks::{Cut, blocks_of};
use crate::facts::windows::{Chunks, Group, Segment, Window};
use crate::lower::kernel::KernelBuilder;
use crate::lower::regions::compose::Composer;
use crate::lower::{Location, Lowering};

/// How a gradient is summed.
struct Chains<'a> {
    gradient: &'a Product<'a>,
    /// The images as they are read; copies, where they lie badly.
    x: Image,
    dy: Image,
    /// Of large kernels, the windows as the kernel sees them.
    turned: Option<Vec<Window>>,
    /// How many parts there are, and where chains end.
    parts: usize,
    ends: ChainEnd,
    /// Where the chains of all parts are, and the sums of those that have ended (the same where a part is one chain).
    partial: Location,
    sums: Location,
    summed: DType,
}

impl Lowering<'_> {
    /// The gradient of a convolution with respect to its weights, by direct sums.
    pub(super) fn weight_gradient(&mut self, gradient: &Product<'_>, plan: &Parts) {
        let (shape, id) = (&gradient.shape, gradient.origin);
        let Parts { count: parts, ends } = *plan;
        let dy = match gradient.weights.output == 1 || shape.outputs == 1 {
            true => gradient.weights.image(),
            false => self.channels_last(gradient),
        };
        let name = format!("{}:parts", self.graph.node(id).origin.path);
        let all = [parts, gradient.result.elements()];
        let partial = self.arena(&name, Type::new(shape.dtype, all));
        let (x, turned) = match shape.is_large() {
            true => self.turned(gradient),
            false => (gradient.source.clone(), None),
        };
        let (sums, summed) = match ends {
            ChainEnd::Part => (partial, shape.dtype),
            _ => (self.arena(&format!("{name}:sums"), Type::new(DType::F64, all)), DType::F64),
        };
        let chains = Chains { gradient, x, dy, turned, parts, ends, partial, sums, summed };
        let cuts = blocks_of(shape.outputs, gradient.tiling.columns);
        cuts.iter().for_each(|&cut| self.weight_columns(&chains, cut));
        self.add_parts(&chains, &cuts);
    }

    /// The kernel for a run of blocks of output channels.
    fn weight_columns(&mut self, chains: &Chains<'_>, columns: Cut) {
        let Chains { gradient, x, dy, parts, ends, .. } = chains;
        let (shape, elements) = (&gradient.shape, gradient.result.elements());
        let (channels, outputs, each) = (shape.channels, shape.outputs, shape.batch / parts);
        let size = channels * shape.area();
        let mut c = gradient.composer(self.graph);
        c.k.param(shape.dtype, x.len, Access::Read);
        c.k.param(shape.dtype, dy.len, Access::Read);
        c.k.param(shape.dtype, parts * elements, Access::ReadWrite);
        let mut args = vec![x.location, dy.location, chains.partial];
        if *ends != ChainEnd::Part {
            c.k.param(chains.summed, parts * elements, Access::ReadWrite);
            args.push(chains.sums);
        }
        let part = Index::var(c.k.open_grid(*parts));
        let group = Index::var(c.k.open_grid(shape.groups));
        let first = columns.start(&Index::var(c.k.open_grid(columns.count)));
        let to = part
            .scale(elements as i64)
            .add(&group.scale((size * outputs) as i64))
            .add(&first.scale(size as i64));
        for param in 2..args.len() {
            let fill = Index::var(c.k.open_for(size * columns.width));
            let zero = c.k.zero_of(param);
            c.k.store(param, to.add(&fill), zero);
            c.k.close();
        }
        let within = Index::var(c.k.open_for(each));
        let image = part.scale(each as i64).add(&within);
        let channel = group.scale(channels as i64);
        let output = group.scale(outputs as i64).add(&first);
        let start = Start {
            x: channel.scale(x.channel).add(&image.scale(x.positions[0])).plus(x.offset),
            dy: output.scale(dy.channel).add(&image.scale(dy.positions[0])).plus(dy.offset),
            to,
        };
        let panel = GridPoint { chains, width: columns.width };
        match &chains.turned {
            Some(turned) => panel.large(&mut c, turned, &mut Vec::new(), &start),
            None => panel.image(&mut c, &start),
        }
        if let ChainEnd::Images(every) = *ends {
            panel.end_chains(&mut c, &within, (every, each), &start.to);
        }
        (0..4).for_each(|_| c.k.close());
        self.call(c.k.finish_kernel(), args, gradient.origin);
    }

    /// A copy of dy with its channels contiguous.
    fn channels_last(&mut self, gradient: &Product<'_>) -> Image {
        let (shape, dy) = (&gradient.shape, gradient.weights.image());
        let planes = Planes { channels: shape.groups * shape.outputs, ..shape.planes() };
        let ty = planes.of(shape.windows.iter().map(|window| window.output));
        let ones = shape.windows.iter().map(|_| 1);
        self.copy_image("channels_last", &dy, ones, ty, gradient.origin)
    }

    /// The image and the windows as a large kernel sees them: its positions are the outputs, those of dy the taps. None has many
    /// segments.
    fn turned(&mut self, gradient: &Product<'_>) -> (Image, Option<Vec<Window>>) {
        let Product { shape, source, origin, .. } = gradient;
        let turn = |window: &Window| Window {
            stride: window.dilation,
            kernel: window.output,
            dilation: window.stride,
            output: window.kernel,
            ..*window
        };
        let all: Vec<Window> = shape.windows.iter().map(turn).collect();
        let mut turned = all.clone();
        let padded = few_pieces(&mut turned);
        let x = match padded.is_empty() {
            true => source.clone(),
            false => self.pad_image(source, &all, &padded, shape.planes(), *origin),
        };
        (x, Some(turned))
    }

    /// dw[g outputs + o, c, k…] = Σ over parts, in ascending order, of sums[part][g][block of o][k…][c][o].
    fn add_parts(&mut self, chains: &Chains<'_>, cuts: &[Cut]) {
        let Chains { gradient, parts, summed, .. } = *chains;
        let Shape { dtype, groups, channels, outputs, .. } = gradient.shape;
        let (area, elements) = (gradient.shape.area(), gradient.result.elements());
        let mut k = KernelBuilder::new("add_parts");
        let source = k.param(summed, parts * elements, Access::Read);
        let to = k.param(dtype, elements, Access::Write);
        for cut in cuts {
            let group = Index::var(k.open_for(groups));
            let first = cut.start(&Index::var(k.open_for(cut.count)));
            let output = Index::var(k.open_for(cut.width));
            let channel = Index::var(k.open_for(channels));
            let tap = Index::var(k.open_for(area));
            let size = channels * area;
            let read = group
                .scale((size * outputs) as i64)
                .add(&first.scale(size as i64))
                .add(&tap.scale((channels * cut.width) as i64))
                .add(&channel.scale(cut.width as i64))
                .add(&output);
            let row = group.scale(outputs as i64).add(&first).add(&output);
            let write = row.scale(size as i64).add(&channel.scale(area as i64)).add(&tap);
            let mut sum = sum_of_parts(&mut k, source, &read, (parts, elements));
            if summed != dtype {
                sum = k.op(ScalarOp::Convert(dtype), &[sum]);
            }
            k.store(to, write, sum);
            (0..5).for_each(|_| k.close());
        }
        self.call(k.finish_kernel(), vec![chains.sums, gradient.target], gradient.origin);
    }
}

/// The sum, in ascending order, of what lies at a place of each of so many parts, so many elements apart.
pub(super) fn sum_of_parts(
    k: &mut KernelBuilder,
    source: usize,
    at: &Index,
    (parts, apart): (usize, usize),
) -> ValueId {
    let mut sum = k.load(source, at, None);
    for part in 1..parts {
        let next = k.load(source, &at.plus((part * apart) as i64), None);
        sum = k.op(ScalarOp::Add, &[sum, next]);
    }
    sum
}

/// Where a panel's channels begin: in an image of x and of dy, and in the chains.
struct Start {
    x: Index,
    dy: Index,
    to: Index,
}

/// A box of positions of an image.
struct InBox<'b> {
    chunks: &'b [Chunks],
    /// Position of the chunk along each axis, and what kind it is of.
    at: &'b [Index],
    groups: &'b [&'b Group],
    start: &'b Start,
}

/// What a grid point computes: a block of output channels, for all input channels of a group.
struct GridPoint<'a> {
    chains: &'a Chains<'a>,
    width: usize,
}

impl GridPoint<'_> {
    /// Everything of one image.
    fn image(&self, c: &mut Composer<'_>, start: &Start) {
        let chunks = self.chains.gradient.tiling.chunks();
        let at: Vec<Index> = chunks.iter().map(|chunk| Index::var(c.k.open_for(chunk.count))).collect();
        for_each_kind(c, chunks, &at, &mut |c, groups| {
            let inside = InBox { chunks, at: &at, groups, start };
            self.taps(c, &inside, &mut Vec::new());
        });
        for axis in (0..at.len()).rev() {
            match self.chains.ends {
                ChainEnd::Chunks { axis: cut, every } if cut == axis => {
                    self.end_chains(c, &at[axis], (every, chunks[axis].count), &start.to);
                }
                _ => {}
            }
            c.k.close();
        }
    }

    /// Ends chains behind every so many of the iterations of a loop, and behind the last.
    fn end_chains(&self, c: &mut Composer<'_>, at: &Index, (every, count): (usize, usize), to: &Index) {
        if every == 1 {
            return self.end_chain(c, to);
        }
        let within = at.rem(every as i64, &|atom| c.k.range(atom));
        let is = |c: &mut Composer<'_>, index: &Index, last: usize| {
            let (index, last) = (c.k.index(index, DType::I64), c.k.constant(Scalar::I64(last as i64)));
            c.k.op(ScalarOp::Compare(Comparison::Eq), &[index, last])
        };
        let (full, last) = (is(c, &within, every - 1), is(c, at, count - 1));
        let ends = c.k.op(ScalarOp::Or, &[full, last]);
        c.k.open_if(ends);
        self.end_chain(c, to);
        c.k.close_if();
    }

    /// Adds the chains to the sums of those before them, and begins anew.
    fn end_chain(&self, c: &mut Composer<'_>, to: &Index) {
        let shape = &self.chains.gradient.shape;
        let size = shape.channels * shape.area() * self.width;
        let at = to.add(&Index::var(c.k.open_for(size)));
        let (sum, mut chain) = (c.k.load_now(3, &at), c.k.load_now(2, &at));
        if shape.dtype != DType::F64 {
            chain = c.k.op_now(ScalarOp::Convert(DType::F64), &[chain]);
        }
        let sum = c.k.op_now(ScalarOp::Add, &[sum, chain]);
        c.k.store(3, at.clone(), sum);
        let zero = c.k.zero_of(2);
        c.k.store(2, at, zero);
        c.k.close();
    }

    /// Everything of one image, by loops over kernel positions.
    fn large(&self, c: &mut Composer<'_>, turned: &[Window], chosen: &mut Vec<Segment>, start: &Start) {
        let Some(window) = turned.get(chosen.len()) else { return self.large_tile(c, turned, chosen, start) };
        for segment in window.segments(0, window.output as i64).into_iter().filter(|s| s.taps > 0) {
            chosen.push(segment);
            self.large(c, turned, chosen, start);
            chosen.pop();
        }
    }

    fn large_tile(&self, c: &mut Composer<'_>, turned: &[Window], chosen: &[Segment], start: &Start) {
        let Chains { gradient, x, dy, .. } = self.chains;
        let (mut a, mut to) = (start.x.clone(), start.to.clone());
        let mut at = Vec::new();
        for s in chosen {
            let var = Index::var(c.k.open_for(s.count));
            at.push(var.scale(s.step).plus(s.start));
            let axis = at.len();
            a = a.add(&var.scale(s.source_step).plus(s.source).scale(x.positions[axis]));
        }
        let mut size = (gradient.shape.channels * self.width) as i64;
        for (window, at) in turned.iter().zip(&at).rev() {
            to = to.add(&at.scale(size));
            size *= window.output as i64;
        }
        let axes: Vec<TapAxis<'_>> = (turned.iter().zip(chosen).zip(&at).enumerate())
            .map(|(axis, ((window, segment), at))| {
                let (source, weights) = (x.positions[axis + 1], dy.positions[axis + 1]);
                TapAxis { window, segment, at, source, weights }
            })
            .collect();
        let taps = open_taps(&mut c.k, &axes);
        c.k.tile(Tile {
            dtype: gradient.shape.dtype,
            m: gradient.shape.channels,
            n: self.width,
            reduce: taps.reduce,
            a: Panel { param: 0, index: a.add(&taps.source), row: x.channel },
            b: Panel { param: 1, index: start.dy.add(&taps.weights), row: 0 },
            c: Panel { param: 2, index: to, row: self.width as i64 },
            zero: false,
        });
        close_taps(&mut c.k, &taps.open);
        chosen.iter().for_each(|_| c.k.close());
    }

    /// One kernel position for every axis; of the last one a run, if these are the rows.
    fn taps(&self, c: &mut Composer<'_>, inside: &InBox<'_>, chosen: &mut Vec<Segment>) {
        let (gradient, axis) = (self.chains.gradient, chosen.len());
        let Some(window) = gradient.shape.windows.get(axis) else { return self.tile(c, inside, chosen) };
        let (chunk, group) = (&inside.chunks[axis], inside.groups[axis]);
        if gradient.shape.is_by_taps() && axis + 1 == gradient.shape.windows.len() {
            for &segment in group.segments.iter().filter(|s| s.taps > 0) {
                chosen.push(segment);
                self.taps(c, inside, chosen);
                chosen.pop();
            }
            return;
        }
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
                self.taps(c, inside, chosen);
                chosen.pop();
            }
        }
    }

    /// A tile: the rows are input channels, or kernel positions of the last axis, of one input channel after the other.
    fn tile(&self, c: &mut Composer<'_>, inside: &InBox<'_>, chosen: &[Segment]) {
        let Chains { gradient, x, dy, .. } = self.chains;
        let InBox { start, chunks, at, .. } = *inside;
        let (mut a, mut b, mut to) = (start.x.clone(), start.dy.clone(), start.to.clone());
        let mut reduce = Vec::new();
        let mut size = gradient.shape.channels * self.width;
        for axis in (0..chosen.len()).rev() {
            let (s, chunk) = (&chosen[axis], &chunks[axis]);
            let (x, dy) = (x.positions[axis + 1], dy.positions[axis + 1]);
            a = a.add(&at[axis].scale(chunk.source_step * x)).plus(s.source * x);
            b = b.add(&at[axis].scale(chunk.length as i64 * dy)).plus(s.start * dy);
            to = to.plus((s.tap * size) as i64);
            size *= gradient.shape.windows[axis].kernel;
            if s.count > 1 {
                reduce.push(TileLoop { extent: s.count, a: s.source_step * x, b: s.step * dy });
            }
        }
        reduce.reverse();
        let tile = |a: Index, to: Index, [rows, row, apart]: [i64; 3]| Tile {
            dtype: gradient.shape.dtype,
            m: rows as usize,
            n: self.width,
            reduce: reduce.clone(),
            a: Panel { param: 0, index: a, row },
            b: Panel { param: 1, index: b.clone(), row: 0 },
            c: Panel { param: 2, index: to, row: apart },
            zero: false,
        };
        if !gradient.shape.is_by_taps() {
            return c.k.tile(tile(a, to, [gradient.shape.channels as i64, x.channel, self.width as i64]));
        }
        let last = chosen.last().expect("a spatial axis");
        let row = last.source_tap * x.positions[chosen.len()];
        let step = (last.tap_step * gradient.shape.channels * self.width) as i64;
        for channel in 0..gradient.shape.channels as i64 {
            let (a, to) = (a.plus(channel * x.channel), to.plus(channel * self.width as i64));
            c.k.tile(tile(a, to, [last.taps as i64, row, step]));
        }
    }
}
