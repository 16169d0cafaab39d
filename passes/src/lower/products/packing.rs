//! Weights of convolutions and products, packed into panels: in `prepare` where they are fixed, else in each call.

use brolga_ir::index::Index;
use brolga_ir::program::{Access, ValueId};
use brolga_ir::scalar::ScalarOp;
use brolga_ir::{DType, NodeId, Type};

use super::blocks::{channel_blocks, column_blocks};
use crate::lower::blocking::panels::PACKED_ROWS;
use crate::lower::kernel::KernelBuilder;
use crate::lower::{Location, Lowering, StridedAccess};

/// Weights as `[output, input, kernel axes…]` of one group, and the distance of groups.
pub(in crate::lower) struct Weights {
    pub access: StridedAccess,
    pub output: i64,
    pub input: i64,
    pub kernel: Vec<i64>,
    pub group: i64,
    pub offset: i64,
}

impl Weights {
    /// The weights of a convolution, `[output, input, kernel axes…]`, all groups one behind the other.
    pub fn forward(access: StridedAccess, outputs: usize) -> Weights {
        Weights {
            output: access.strides[0],
            input: access.strides[1],
            kernel: access.strides[2..].to_vec(),
            group: outputs as i64 * access.strides[0],
            offset: access.offset,
            access,
        }
    }

    /// A loaded weight, rounded to what weights are stored as, for what does not store them so.
    pub fn rounded(&self, k: &mut KernelBuilder, value: ValueId, dtype: DType) -> ValueId {
        if self.access.dtype == dtype {
            return value;
        }
        let stored = k.op_now(ScalarOp::Convert(self.access.dtype), &[value]);
        k.op_now(ScalarOp::Convert(dtype), &[stored])
    }
}

impl Lowering<'_> {
    /// Weights of a depthwise convolution, `[kernel position][channel]`.
    pub(super) fn pack_depthwise(
        &mut self,
        weights: &Weights,
        dtype: DType,
        channels: usize,
        taps: &[usize],
        id: NodeId,
    ) -> Location {
        let elements = channels * taps.iter().product::<usize>();
        let mut k = KernelBuilder::new("pack_weights");
        let source = k.param(dtype, weights.access.len, Access::Read);
        let target = k.param(dtype, elements, Access::Write);
        let (mut from, mut to) = (Index::constant(weights.offset), Index::default());
        for (&extent, &stride) in taps.iter().zip(&weights.kernel) {
            let var = Index::var(k.open_for(extent));
            from = from.add(&var.scale(stride));
            to = to.scale(extent as i64).add(&var);
        }
        let channel = Index::var(k.open_for(channels));
        let value = k.load(source, &from.add(&channel.scale(weights.group)), None);
        let value = weights.rounded(&mut k, value, dtype);
        k.store(target, to.scale(channels as i64).add(&channel), value);
        (0..=taps.len()).for_each(|_| k.close());
        let name = format!("{}:packed", self.graph.node(id).origin.path);
        self.once(&name, k.finish_kernel(), weights.access.location, Type::new(dtype, [elements]), id)
    }

    /// Weights in panels, `[group][block of outputs][block of inputs][kernel position][input][output]`.
    pub(super) fn pack_weights(
        &mut self,
        weights: &Weights,
        dtype: DType,
        groups: usize,
        (channels, outputs): (usize, usize),
        taps: &[usize],
        id: NodeId,
    ) -> Location {
        let area: usize = taps.iter().product();
        let elements = groups * channels * outputs * area;
        let mut k = KernelBuilder::new("pack_weights");
        let source = k.param(dtype, weights.access.len, Access::Read);
        let stored = weights.access.dtype;
        let target = k.param(stored, elements, Access::Write);
        let mut base = 0;
        for (first, width, count) in column_blocks(outputs, self.schedule.columns()) {
            for (channel, inner, blocks) in channel_blocks(channels, area, &self.schedule) {
                let group = Index::var(k.open_for(groups));
                // Rows of weights that reach across blocks are read a few at a time: a page each.
                let few = if weights.output == 1 && inner.is_multiple_of(PACKED_ROWS) {
                    PACKED_ROWS
                } else {
                    inner
                };
                let outer = Index::var(k.open_for(blocks));
                let part = Index::var(k.open_for(inner / few));
                let block = Index::var(k.open_for(count));
                let from = group
                    .scale(weights.group)
                    .add(&block.scale(width as i64 * weights.output))
                    .plus(weights.offset + first as i64 * weights.output + channel as i64 * weights.input);
                let to = group
                    .scale((outputs * channels * area) as i64)
                    .add(&block.scale((width * channels * area) as i64))
                    .plus((base + channel * area * width) as i64);
                let mut from = from.add(&outer.scale(inner as i64 * weights.input));
                let mut to = to.add(&outer.scale((inner * area * width) as i64));
                let mut rest = area;
                for (&extent, &stride) in taps.iter().zip(&weights.kernel) {
                    rest /= extent.max(1);
                    let var = Index::var(k.open_for(extent));
                    from = from.add(&var.scale(stride));
                    to = to.add(&var.scale((rest * inner * width) as i64));
                }
                let input = part.scale(few as i64).add(&Index::var(k.open_for(few)));
                let output = Index::var(k.open_for(width));
                from = from.add(&input.scale(weights.input)).add(&output.scale(weights.output));
                to = to.add(&input.scale(width as i64)).add(&output);
                let value = k.load(source, &from, None);
                let value = if stored == dtype { value } else { k.op(ScalarOp::Convert(stored), &[value]) };
                k.store(target, to, value);
                (0..6 + taps.len()).for_each(|_| k.close());
            }
            base += width * count * channels * area;
        }
        let name = format!("{}:packed", self.graph.node(id).origin.path);
        self.once(&name, k.finish_kernel(), weights.access.location, Type::new(stored, [elements]), id)
    }
}
