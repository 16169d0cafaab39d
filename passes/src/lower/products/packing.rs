//! Weights of convolutions and products, packed into panels: in `prepare` where they are fixed, else in each call, before the loops
//! in which they are the same.
//!
//! A [`Packing`] is the request, [`Packed`] what comes of it, and [`Lowering::packed`] the one place that makes such a buffer. What it
//! holds is declared with it: the type that the graph chooses for the weights, and the [`Panels`] that the product's tiling asks for.

use brolga_ir::choice::Layout;
use brolga_ir::index::Index;
use brolga_ir::program::{Access, Panels, ValueId};
use brolga_ir::scalar::ScalarOp;
use brolga_ir::{DType, NodeId, Type};

use super::access::StridedAccess;
use super::image::Image;
use super::shape::Shape;
use super::tiling::Tiling;
use crate::facts::blocking::panels::PACKED_ROWS;
use crate::facts::blocks::{Cut, panel_columns, panel_terms};
use crate::facts::windows::Window;
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

    /// The gradient with respect to the result of a convolution, in the place of its weights: that with respect to the weights is
    /// summed over images as over input channels, and over positions as over those of a kernel.
    pub fn gradient(access: StridedAccess, layout: Layout, outputs: usize, dtype: DType) -> Weights {
        let Image { offset, channel, mut positions, .. } = Image::new(access.clone(), layout);
        Weights {
            input: positions.remove(0),
            kernel: positions,
            output: channel,
            group: outputs as i64 * channel,
            offset,
            access,
            stored: dtype,
        }
    }

    /// The same as the image that it is.
    pub fn image(&self) -> Image {
        let StridedAccess { location, len, .. } = self.access;
        let positions = [&[self.input][..], &self.kernel].concat();
        Image { location, len, offset: self.offset, positions, channel: self.output }
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

/// A request for packed weights.
pub(super) struct Packing<'a> {
    /// The name of the kernel that packs them.
    pub name: &'static str,
    pub weights: &'a Weights,
    /// The type of the weights, and what they are stored as.
    pub dtype: DType,
    pub stored: DType,
    /// How they are to lie.
    pub panels: Panels,
    /// The product that they are packed for.
    pub origin: NodeId,
}

/// Packed weights: where they are, and what is said where that buffer is declared.
#[derive(Clone, Copy)]
pub(super) struct Packed {
    pub location: Location,
    pub stored: DType,
    pub panels: Panels,
}

/// The parameters of a kernel that packs weights.
pub(super) const WEIGHTS: usize = 0;
pub(super) const PANELS: usize = 1;

impl Packed {
    /// Declares the parameter of a kernel that reads them.
    pub fn param(&self, k: &mut KernelBuilder) -> usize {
        k.param(self.stored, self.panels.elements(), Access::Read)
    }
}

impl Packing<'_> {
    /// For a run of blocks of columns, which begin at `base` in the panels of a group, and for one of blocks of terms.
    fn fill(&self, k: &mut KernelBuilder, windows: &[Window], (columns, base): (Cut, usize), terms: Cut) {
        let Packing { weights, panels, dtype, stored, .. } = *self;
        let [groups, area, _, _] = panels.dims;
        let (width, inner) = (columns.width, terms.width);
        let group = Index::var(k.open_for(groups));
        // Rows of weights that reach across blocks are read a few at a time: a page each.
        let few = if weights.output == 1 && inner.is_multiple_of(PACKED_ROWS) { PACKED_ROWS } else { inner };
        let outer = Index::var(k.open_for(terms.count));
        let part = Index::var(k.open_for(inner / few));
        let block = Index::var(k.open_for(columns.count));
        let mut from = group
            .scale(weights.group)
            .add(&columns.start(&block).scale(weights.output))
            .add(&terms.start(&outer).scale(weights.input))
            .plus(weights.offset);
        let mut to = group
            .scale(panels.group() as i64)
            .add(&block.scale(panels.block(width) as i64))
            .add(&terms.start(&outer).scale((area * width) as i64))
            .plus(base as i64);
        let mut rest = area;
        for (window, &stride) in windows.iter().zip(&weights.kernel) {
            rest /= window.kernel.max(1);
            let var = Index::var(k.open_for(window.kernel));
            from = from.add(&var.scale(stride));
            to = to.add(&var.scale((rest * panels.matrix(inner, width)) as i64));
        }
        let input = part.scale(few as i64).add(&Index::var(k.open_for(few)));
        let output = Index::var(k.open_for(width));
        from = from.add(&input.scale(weights.input)).add(&output.scale(weights.output));
        to = to.add(&input.scale(width as i64)).add(&output);
        let value = k.load(WEIGHTS, &from, None);
        let value = if stored == dtype { value } else { k.op(ScalarOp::Convert(stored), &[value]) };
        k.store(PANELS, to, value);
        (0..6 + windows.len()).for_each(|_| k.close());
    }
}

impl Lowering<'_> {
    /// What the weights of a product are stored as.
    pub(super) fn stored(&self, id: NodeId) -> DType {
        let own = self.graph.ty(self.graph.node(id).operands[1]).dtype;
        self.graph.choice(id).weights.unwrap_or(own)
    }

    /// Weights of a depthwise convolution, one panel of `[kernel position][channel]`. They are few: what they are rounded to is
    /// not what is stored.
    pub(super) fn pack_depthwise(&mut self, weights: &Weights, shape: &Shape, origin: NodeId) -> Packed {
        let (dtype, channels, area) = (shape.dtype, shape.groups, shape.area());
        let dims = [1, 1, area, channels];
        let panels = Panels { dims, terms: area.max(1), columns: channels.max(1), line: 0 };
        let asked = Packing { name: "pack_weights", weights, dtype, stored: dtype, panels, origin };
        self.packed(&asked, |k| {
            let (mut from, mut to) = (Index::constant(weights.offset), Index::default());
            for (window, &stride) in shape.windows.iter().zip(&weights.kernel) {
                let var = Index::var(k.open_for(window.kernel));
                from = from.add(&var.scale(stride));
                to = to.scale(window.kernel as i64).add(&var);
            }
            let channel = Index::var(k.open_for(channels));
            let value = k.load(WEIGHTS, &from.add(&channel.scale(weights.group)), None);
            let value = weights.rounded(k, value, dtype);
            k.store(PANELS, to.scale(channels as i64).add(&channel), value);
            (0..=shape.windows.len()).for_each(|_| k.close());
        })
    }

    /// Weights of direct sums, a matrix for each kernel position: blocks of input channels are those of the chain.
    pub(super) fn pack_weights(
        &mut self,
        weights: &Weights,
        shape: &Shape,
        tiling: &Tiling,
        origin: NodeId,
    ) -> Packed {
        let panels = Panels {
            dims: [shape.groups, shape.area(), shape.channels, shape.outputs],
            terms: tiling.depth.min(shape.channels).max(1),
            columns: tiling.columns.min(shape.outputs).max(1),
            line: 0,
        };
        let (dtype, stored) = (shape.dtype, weights.stored);
        let asked = Packing { name: "pack_weights", weights, dtype, stored, panels, origin };
        self.packed(&asked, |k| {
            for columns in panel_columns(&panels) {
                for terms in panel_terms(&panels) {
                    asked.fill(k, &shape.windows, columns, terms);
                }
            }
        })
    }

    /// Weights in panels: the one place that makes such a buffer, and says how it lies and as what. It is filled by a kernel of
    /// two parameters ([`WEIGHTS`], [`PANELS`]), once for each state where the weights are fixed.
    pub(super) fn packed(&mut self, asked: &Packing<'_>, fill: impl FnOnce(&mut KernelBuilder)) -> Packed {
        let Packing { name, weights, dtype, stored, panels, origin } = *asked;
        let ty = Type::new(stored, [panels.elements()]);
        let mut k = KernelBuilder::new(name);
        k.param(dtype, weights.access.len, Access::Read);
        k.param(stored, panels.elements(), Access::Write);
        fill(&mut k);
        let name = format!("{}:packed", self.graph.node(origin).origin.path);
        let location = self.once(&name, k.finish_kernel(), weights.access.location, ty, origin);
        self.program.buffers[location.buffer.0 as usize].panels = Some(panels);
        Packed { location, stored, panels }
    }
}
