//! Weights of convolutions and products, packed into panels: in `prepare` where they are fixed, else in each call.

use brolga_ir::index::Index;
use brolga_ir::program::{Access, ValueId};
use brolga_ir::scalar::ScalarOp;
use brolga_ir::{DType, NodeId, Type};

use super::access::StridedAccess;
use super::shape::Shape;
use super::tiling::Tiling;
use crate::facts::blocking::panels::PACKED_ROWS;
use crate::facts::blocks::{Cut, channel_blocks, column_blocks};
use crate::lower::kernel::KernelBuilder;
use crate::lower::{Location, Lowering};

/// Weights in memory as `[output, input, kernel axes…]` of one group.
pub(in crate::lower) struct Weights {
    pub access: StridedAccess,
    /// What they are stored as where they are packed.
    pub stored: DType,
    /// Elements from one to the next: along outputs, inputs and kernel positions, and from group to group.
    pub output: i64,
    pub input: i64,
    pub kernel: Vec<i64>,
    pub group: i64,
    /// The first element; a kernel that is turned round begins at its end.
    pub offset: i64,
}

impl Weights {
    /// The weights of a convolution, `[output, input, kernel axes…]`, all groups one behind the other.
    pub fn forward(access: StridedAccess, outputs: usize, stored: DType) -> Weights {
        Weights {
            output: access.strides[0],
            input: access.strides[1],
            kernel: access.strides[2..].to_vec(),
            group: outputs as i64 * access.strides[0],
            offset: access.offset,
            access,
            stored,
        }
    }

    /// A loaded weight, rounded to what weights are stored as, for what does not store them so.
    pub fn rounded(&self, k: &mut KernelBuilder, value: ValueId, dtype: DType) -> ValueId {
        if self.stored == dtype {
            return value;
        }
        let stored = k.op_now(ScalarOp::Convert(self.stored), &[value]);
        k.op_now(ScalarOp::Convert(dtype), &[stored])
    }
}

impl Weights {
    /// Panels for a run of blocks of columns, which begin at `base`, and for one of blocks of terms: from a kernel's first
    /// parameter to its second.
    fn pack(&self, k: &mut KernelBuilder, shape: &Shape, columns: Cut, terms: Cut, base: usize) {
        let (area, width, inner) = (shape.area(), columns.width, terms.width);
        let group = Index::var(k.open_for(shape.groups));
        // Rows of weights that reach across blocks are read a few at a time: a page each.
        let few = if self.output == 1 && inner.is_multiple_of(PACKED_ROWS) { PACKED_ROWS } else { inner };
        let outer = Index::var(k.open_for(terms.count));
        let part = Index::var(k.open_for(inner / few));
        let block = Index::var(k.open_for(columns.count));
        let mut from = group
            .scale(self.group)
            .add(&columns.start(&block).scale(self.output))
            .add(&terms.start(&outer).scale(self.input))
            .plus(self.offset);
        let mut to = group
            .scale(shape.weights() as i64)
            .add(&block.scale((width * shape.channels * area) as i64))
            .add(&terms.start(&outer).scale((area * width) as i64))
            .plus(base as i64);
        let mut rest = area;
        for (window, &stride) in shape.windows.iter().zip(&self.kernel) {
            rest /= window.kernel.max(1);
            let var = Index::var(k.open_for(window.kernel));
            from = from.add(&var.scale(stride));
            to = to.add(&var.scale((rest * inner * width) as i64));
        }
        let input = part.scale(few as i64).add(&Index::var(k.open_for(few)));
        let output = Index::var(k.open_for(width));
        from = from.add(&input.scale(self.input)).add(&output.scale(self.output));
        to = to.add(&input.scale(width as i64)).add(&output);
        let (value, stored) = (k.load(0, &from, None), self.stored);
        let value = if stored == shape.dtype { value } else { k.op(ScalarOp::Convert(stored), &[value]) };
        k.store(1, to, value);
        (0..6 + shape.windows.len()).for_each(|_| k.close());
    }
}

impl Lowering<'_> {
    /// What the weights of a product are stored as.
    pub(super) fn stored(&self, id: NodeId) -> DType {
        let own = self.graph.ty(self.graph.node(id).operands[1]).dtype;
        self.graph.choice(id).weights.unwrap_or(own)
    }

    /// Weights of a depthwise convolution, `[kernel position][channel]`.
    pub(super) fn pack_depthwise(&mut self, weights: &Weights, shape: &Shape, id: NodeId) -> Location {
        let (dtype, channels) = (shape.dtype, shape.groups);
        let elements = channels * shape.area();
        let mut k = KernelBuilder::new("pack_weights");
        let source = k.param(dtype, weights.access.len, Access::Read);
        let target = k.param(dtype, elements, Access::Write);
        let (mut from, mut to) = (Index::constant(weights.offset), Index::default());
        for (window, &stride) in shape.windows.iter().zip(&weights.kernel) {
            let var = Index::var(k.open_for(window.kernel));
            from = from.add(&var.scale(stride));
            to = to.scale(window.kernel as i64).add(&var);
        }
        let channel = Index::var(k.open_for(channels));
        let value = k.load(source, &from.add(&channel.scale(weights.group)), None);
        let value = weights.rounded(&mut k, value, dtype);
        k.store(target, to.scale(channels as i64).add(&channel), value);
        (0..=shape.windows.len()).for_each(|_| k.close());
        self.packed(weights, k, Type::new(dtype, [elements]), id)
    }

    /// Weights in panels, `[group][block of outputs][block of inputs][kernel position][input][output]`.
    pub(super) fn pack_weights(
        &mut self,
        weights: &Weights,
        shape: &Shape,
        tiling: Tiling,
        id: NodeId,
    ) -> Location {
        let (stored, elements) = (weights.stored, shape.groups * shape.weights());
        let mut k = KernelBuilder::new("pack_weights");
        k.param(shape.dtype, weights.access.len, Access::Read);
        k.param(stored, elements, Access::Write);
        let mut base = 0;
        for columns in column_blocks(shape.outputs, tiling.columns) {
            for terms in channel_blocks(shape.channels, shape.area(), tiling.depth) {
                weights.pack(&mut k, shape, columns, terms, base);
            }
            base += columns.extent() * shape.channels * shape.area();
        }
        self.packed(weights, k, Type::new(stored, [elements]), id)
    }

    /// What a kernel makes of weights: once for each state where they are fixed.
    pub(super) fn packed(&mut self, weights: &Weights, k: KernelBuilder, ty: Type, id: NodeId) -> Location {
        let name = format!("{}:packed", self.graph.node(id).origin.path);
        self.once(&name, k.finish_kernel(), weights.access.location, ty, id)
    }
}
