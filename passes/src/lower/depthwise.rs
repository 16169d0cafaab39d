//! Depthwise convolutions: every channel by itself. Lanes are channels, and a sum is a chain of fused
//! multiply-adds over the kernel positions inside the image, in row-major order.

use brolga_ir::index::Index;
use brolga_ir::program::{Access, Combine, ValueId};
use brolga_ir::scalar::ScalarOp;
use brolga_ir::{NodeId, Type};

use super::compose::Composer;
use super::conv::{Image, Positions, box_of, boxes, for_each_kind, positions};
use super::conv_weights::parts;
use super::epilogue::Epilogue;
use super::windows::{Chunks, Group, Segment, Window};
use super::{Location, Lowering};

/// Output positions of a grid point.
const ROWS: usize = 56;

impl Lowering<'_> {
    /// y[n, p, c] = Σ_k x[n, i(p, k), c] · w[k][c], or the gradient with respect to x; `packed` is w.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn depthwise(
        &mut self,
        name: &'static str,
        windows: &[Window],
        source: &Image,
        packed: Location,
        (target, result): (Location, &Type),
        epilogue: Option<Epilogue<'_>>,
        id: NodeId,
    ) {
        let channels = *result.dims.last().expect("a channel axis");
        let area: usize = windows.iter().map(|w| w.kernel).product();
        let axes = positions(windows, result, source);
        let chunks = boxes(axes.iter().map(|axis| &axis.window), ROWS);
        let graph = epilogue.map_or(self.graph, |epilogue| epilogue.body);
        let mut c = Composer::new(graph, epilogue.map_or(name, |epilogue| epilogue.name));
        let mut params = vec![source.location, packed, target];
        c.k.param(result.dtype, source.len, Access::Read);
        c.k.param(result.dtype, channels * area, Access::Read);
        c.k.param(result.dtype, result.elements(), Access::ReadWrite);
        if let Some(epilogue) = epilogue {
            epilogue.parameters(&mut c, &mut params);
        }
        let at: Vec<Index> = chunks.iter().map(|chunk| Index::var(c.k.open_grid(chunk.count))).collect();
        for_each_kind(&mut c, &chunks, &at, &mut |c, groups| {
            let all = Depthwise { axes: &axes, chunks: &chunks, at: &at, source, channels };
            all.segments(c, groups, &mut Vec::new());
            if let Some(epilogue) = epilogue {
                epilogue.emit(c, &box_of(&axes, &chunks, &at, groups), &Index::default(), channels);
            }
        });
        at.iter().for_each(|_| c.k.close());
        self.call(c.k.finish_kernel(), params, id);
    }

    /// dw[c, 0, k…] = Σ over images and positions of x · dy: a chain for each image's part, then over the parts.
    pub(super) fn depthwise_weight_gradient(
        &mut self,
        batch: usize,
        windows: &[Window],
        images: [&Image; 2],
        (target, result): (Location, &Type),
        id: NodeId,
    ) {
        let [x, dy] = images;
        let channels = result.dims[0];
        let area: usize = result.dims[2..].iter().product();
        let space: usize = windows.iter().map(|w| w.output).product();
        let parts = parts(batch, space, area);
        let each = batch / parts;
        let name = format!("{}:parts", self.graph.node(id).origin.path);
        let partial = self.arena(&name, Type::new(result.dtype, [parts, area, channels]));
        let mut c = Composer::new(self.graph, "depthwise_weight_gradient");
        c.k.param(result.dtype, x.len, Access::Read);
        c.k.param(result.dtype, dy.len, Access::Read);
        c.k.param(result.dtype, parts * area * channels, Access::Write);
        let part = Index::var(c.k.open_grid(parts));
        let mut taps = vec![Vec::new()];
        for window in windows {
            let with = |tap: usize| {
                move |before: &Vec<usize>| before.iter().copied().chain([tap]).collect::<Vec<usize>>()
            };
            taps = taps.iter().flat_map(|t| (0..window.kernel).map(move |tap| with(tap)(t))).collect();
        }
        for (number, tap) in taps.iter().enumerate() {
            let channel = Index::var(c.k.open_for(channels));
            let acc = c.k.declare(result.dtype, Combine::Add, 1);
            let image = part.scale(each as i64).add(&Index::var(c.k.open_for(each)));
            let mut runs = vec![Vec::new()];
            for (window, &tap) in windows.iter().zip(tap) {
                let single = Window { kernel: 1, low: window.low - tap as i64 * window.dilation, ..*window };
                let segments = single.segments(0, window.output as i64);
                let segments: Vec<Segment> = segments.into_iter().filter(|s| s.taps > 0).collect();
                runs = runs
                    .iter()
                    .flat_map(|run: &Vec<Segment>| {
                        segments.iter().map(move |&s| run.iter().copied().chain([s]).collect())
                    })
                    .collect();
            }
            for run in &runs {
                let mut from = image.scale(x.positions[0]).add(&channel.scale(x.channel)).plus(x.offset);
                let mut at = image.scale(dy.positions[0]).add(&channel.scale(dy.channel)).plus(dy.offset);
                for (axis, s) in run.iter().enumerate() {
                    let var = Index::var(c.k.open_for(s.count));
                    from = from.add(&var.scale(s.source_step).plus(s.source).scale(x.positions[axis + 1]));
                    at = at.add(&var.scale(s.step).plus(s.start).scale(dy.positions[axis + 1]));
                }
                let values = [c.k.load(0, &from, None), c.k.load(1, &at, None)];
                let product = c.k.op(ScalarOp::Mul, &values);
                c.k.accumulate(acc, product);
                run.iter().for_each(|_| c.k.close());
            }
            c.k.close();
            let sum = c.k.finish(acc);
            let to = part.scale(area as i64).plus(number as i64).scale(channels as i64).add(&channel);
            c.k.store(2, to, sum);
            c.k.close();
        }
        c.k.close();
        self.call(c.k.finish_kernel(), vec![x.location, dy.location, partial], id);
        let mut k = super::kernel::KernelBuilder::new("add_parts");
        let from = k.param(result.dtype, parts * area * channels, Access::Read);
        let to = k.param(result.dtype, result.elements(), Access::Write);
        let channel = Index::var(k.open_for(channels));
        let tap = Index::var(k.open_for(area));
        let read = tap.scale(channels as i64).add(&channel);
        let mut sum = k.load(from, &read, None);
        for part in 1..parts {
            let next = k.load(from, &read.plus((part * area * channels) as i64), None);
            sum = k.op(ScalarOp::Add, &[sum, next]);
        }
        k.store(to, channel.scale(area as i64).add(&tap), sum);
        (0..2).for_each(|_| k.close());
        self.call(k.finish_kernel(), vec![partial, target], id);
    }
}

/// A box of positions, all channels.
struct Depthwise<'a> {
    axes: &'a [Positions],
    chunks: &'a [Chunks],
    at: &'a [Index],
    source: &'a Image,
    channels: usize,
}

impl Depthwise<'_> {
    /// Loops for every combination of segments.
    fn segments(&self, c: &mut Composer<'_>, groups: &[&Group], chosen: &mut Vec<Segment>) {
        if let Some(group) = groups.get(chosen.len()) {
            for &segment in &group.segments {
                chosen.push(segment);
                self.segments(c, groups, chosen);
                chosen.pop();
            }
            return;
        }
        let mut from = Index::constant(self.source.offset);
        let mut to = Index::default();
        // Offsets of the taps in the source and in the weights, in row-major order.
        let mut taps = vec![(0, 0)];
        for (axis, s) in chosen.iter().enumerate() {
            let (positions, chunk) = (&self.axes[axis], &self.chunks[axis]);
            let var = Index::var(c.k.open_for(s.count));
            let at = &self.at[axis];
            let source = at.scale(chunk.source_step).add(&var.scale(s.source_step)).plus(s.source);
            from = from.add(&source.scale(positions.source));
            let target = at.scale(chunk.length as i64).add(&var.scale(s.step)).plus(s.start);
            to = to.add(&target.scale(positions.target));
            let kernel = positions.window.kernel as i64;
            let along = |&(x, w): &(i64, i64)| {
                (0..s.taps as i64)
                    .map(|t| {
                        let tap = s.tap as i64 + t * s.tap_step as i64;
                        (x + t * s.source_tap * positions.source, w * kernel + tap)
                    })
                    .collect::<Vec<(i64, i64)>>()
            };
            taps = taps.iter().flat_map(along).collect();
        }
        let channel = Index::var(c.k.open_for(self.channels));
        let mut sum: Option<ValueId> = None;
        for (x, w) in taps {
            let x = c.k.load(0, &from.plus(x).add(&channel.scale(self.source.channel)), None);
            let w = c.k.load(1, &channel.plus(w * self.channels as i64), None);
            let so_far = match sum {
                Some(sum) => sum,
                None => c.k.zero_of(2),
            };
            sum = Some(c.k.op(ScalarOp::Fma, &[x, w, so_far]));
        }
        let sum = sum.unwrap_or_else(|| c.k.zero_of(2));
        c.k.store(2, to.add(&channel), sum);
        (0..=chosen.len()).for_each(|_| c.k.close());
    }
}
