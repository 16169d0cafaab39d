//! Images in memory, and copies of them.

use brolga_ir::index::Index;
use brolga_ir::ops::Conv;
use brolga_ir::program::Access;
use brolga_ir::{NodeId, Type};

use super::kernel::KernelBuilder;
use super::{Location, Lowering, StridedAccess};

/// x or y of a convolution in memory: strides of (batch, spatial axes), and of the channels.
#[derive(Clone, Debug)]
pub(super) struct Image {
    pub location: Location,
    pub len: usize,
    pub offset: i64,
    pub positions: Vec<i64>,
    pub channel: i64,
}

impl Image {
    pub fn new(access: StridedAccess, conv: &Conv) -> Image {
        let mut positions = access.strides;
        let channel = positions.remove(conv.channel_axis());
        Image { location: access.location, len: access.len, offset: access.offset, positions, channel }
    }

    /// The first of `count` images that lie `step` elements apart, the others of which follow in the iterations of a loop of
    /// the schedule, the one that is `depth` deep.
    pub fn moving(&self, depth: usize, count: usize, step: i64) -> Image {
        let mut moving = self.clone();
        let way = (count as i64 - 1) * step;
        moving.location.strides[depth] = step;
        moving.len -= way.unsigned_abs() as usize;
        if way < 0 {
            // The last image lies first: that is where the argument has to be inside.
            moving.location.offset += way.unsigned_abs() as usize;
            moving.offset += way;
        }
        moving
    }
}

impl Lowering<'_> {
    /// A copy of type `ty`, `[batch, positions…, channels]`, of the positions at multiples of `steps`.
    pub(super) fn copy_image(
        &mut self,
        name: &'static str,
        image: &Image,
        steps: impl IntoIterator<Item = i64>,
        ty: Type,
        id: NodeId,
    ) -> Image {
        let copy = self.arena(name, ty.clone());
        let mut k = KernelBuilder::new(name);
        let source = k.param(ty.dtype, image.len, Access::Read);
        let target = k.param(ty.dtype, ty.elements(), Access::Write);
        let strides: Vec<i64> = ty.strides().into_iter().map(|s| s as i64).collect();
        let steps = [1].into_iter().chain(steps);
        let mut read: Vec<i64> = image.positions.iter().zip(steps).map(|(s, step)| s * step).collect();
        read.push(image.channel);
        let (mut from, mut to) = (Index::constant(image.offset), Index::default());
        for ((&extent, &read), &write) in ty.dims.iter().zip(&read).zip(&strides) {
            let var = Index::var(k.open_for(extent));
            from = from.add(&var.scale(read));
            to = to.add(&var.scale(write));
        }
        let value = k.load(source, &from, None);
        k.store(target, to, value);
        ty.dims.iter().for_each(|_| k.close());
        self.call(k.finish_kernel(), vec![image.location, copy], id);
        let positions = strides[..strides.len() - 1].to_vec();
        Image { location: copy, len: ty.elements(), offset: 0, positions, channel: 1 }
    }
}
