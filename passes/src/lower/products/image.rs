//! Images in memory, and copies of them.

use brolga_ir::choice::Layout;
use brolga_ir::index::Index;
use brolga_ir::program::Access;
use brolga_ir::{DType, NodeId, Type};

use super::access::StridedAccess;
use crate::facts::blocking::code;
use crate::facts::windows::Window;
use crate::lower::kernel::KernelBuilder;
use crate::lower::{Location, Lowering};

/// x or y of a convolution in memory: strides of (batch, spatial axes), and of the channels.
#[derive(Clone, Debug)]
pub(in crate::lower) struct Image {
    pub location: Location,
    pub len: usize,
    pub offset: i64,
    pub positions: Vec<i64>,
    pub channel: i64,
}

impl Image {
    pub fn new(access: StridedAccess, layout: Layout) -> Image {
        let mut positions = access.strides;
        let channel = positions.remove(layout.channel_axis(positions.len()));
        Image { location: access.location, len: access.len, offset: access.offset, positions, channel }
    }

    /// An image that lies densely with its channels last.
    pub fn dense(location: Location, ty: &Type) -> Image {
        let mut positions: Vec<i64> = ty.strides().into_iter().map(|stride| stride as i64).collect();
        positions.pop();
        Image { location, len: ty.elements(), offset: 0, positions, channel: 1 }
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

/// What an image has besides its positions: images of a batch, channels of all groups, and the element type.
#[derive(Clone, Copy)]
pub(in crate::lower) struct Planes {
    pub batch: usize,
    pub channels: usize,
    pub dtype: DType,
}

impl Planes {
    /// The type of an image of so many positions, with its channels last.
    pub fn of(self, positions: impl IntoIterator<Item = usize>) -> Type {
        let dims = [self.batch].into_iter().chain(positions).chain([self.channels]);
        Type::new(self.dtype, dims.collect::<Vec<usize>>())
    }
}

/// A window over the same axis with zeros around it: all of its positions see all taps.
fn padded(window: &Window) -> Window {
    Window { input: window.padded(), low: 0, ..*window }
}

/// Sees to it that windows have few combinations of segments. Of the axes with the most of them, some are to be padded: these are
/// the answer, and their windows are those over the padded image. Where zeros would be most of that, taps at borders are
/// tested instead. Nothing in a chain changes, but zeros may be added.
pub(super) fn few_pieces(windows: &mut [Window]) -> Vec<usize> {
    let mut pieces: Vec<usize> = windows.iter().map(Window::pieces).collect();
    let (mut left, mut axes): (Vec<usize>, Vec<usize>) = ((0..windows.len()).collect(), Vec::new());
    let product = |pieces: &[usize]| pieces.iter().copied().fold(1, usize::saturating_mul);
    let is_long = |pieces: usize, window: &Window| pieces / window.phases() > code::SEGMENTS_OF_AXIS;
    // Progress: an axis less is left.
    while let Some(at) = (0..left.len()).max_by_key(|&at| pieces[left[at]])
        && (product(&pieces) > code::SEGMENTS || is_long(pieces[left[at]], &windows[left[at]]))
    {
        let axis = left.swap_remove(at);
        if windows[axis].takes_padding() {
            pieces[axis] = 1;
            axes.push(axis);
        } else {
            pieces[axis] = code::TESTED_SEGMENTS;
            windows[axis].tested = true;
        }
    }
    axes.iter().for_each(|&axis| windows[axis] = padded(&windows[axis]));
    axes
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
        Image::dense(copy, &ty)
    }

    /// A copy of an image that windows see, with zeros around it along some axes, so that all positions see all taps.
    pub(super) fn pad_image(
        &mut self,
        image: &Image,
        windows: &[Window],
        axes: &[usize],
        planes: Planes,
        id: NodeId,
    ) -> Image {
        let with = |axis: usize| if axes.contains(&axis) { padded(&windows[axis]) } else { windows[axis] };
        let all: Vec<Window> = (0..windows.len()).map(with).collect();
        let ty = planes.of(all.iter().map(|window| window.input));
        let copy = self.arena("padded", ty.clone());
        let mut k = KernelBuilder::new("pad");
        let source = k.param(ty.dtype, image.len, Access::Read);
        let target = k.param(ty.dtype, ty.elements(), Access::Write);
        let sample = Index::var(k.open_for(planes.batch));
        let (mut from, mut to) = (sample.scale(image.positions[0]).plus(image.offset), sample);
        let mut inside = None;
        for (axis, (window, larger)) in windows.iter().zip(&all).enumerate() {
            let var = Index::var(k.open_for(larger.input));
            let input = var.plus(larger.low - window.low);
            let test = k.in_bounds(&input, window.input);
            inside = k.and(inside, test);
            from = from.add(&input.scale(image.positions[axis + 1]));
            to = to.scale(larger.input as i64).add(&var);
        }
        let channel = Index::var(k.open_for(planes.channels));
        let value = k.load(source, &from.add(&channel.scale(image.channel)), inside);
        k.store(target, to.scale(planes.channels as i64).add(&channel), value);
        (0..ty.rank()).for_each(|_| k.close());
        self.call(k.finish_kernel(), vec![image.location, copy], id);
        Image::dense(copy, &ty)
    }
}
