//! Into which chains the sums of a gradient with respect to convolution weights are cut: a part of the numeric plan, decided by
//! the sizes alone.

use super::boxes::boxes;
use super::shape::Shape;
use crate::facts::blocking::plan::{CHAIN, PARTS, PIECES};
use crate::facts::blocking::weights::DEPTH;
use crate::facts::blocks::{column_blocks, count};
use crate::facts::windows::Window;

/// The chains of a gradient.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(in crate::lower) struct Parts {
    /// Into how many parts the images are cut, which are added in the end.
    pub count: usize,
    /// Where the chains of a part end.
    pub ends: ChainEnd,
}

/// Where a chain ends and is added, as `f64`, to those before it. Two images of 56 x 56 positions are chains of one image each
/// (`Images(1)`), one image of 224 x 224 is chains of 18 rows (`Chunks { axis: 0, every: 18 }`).
#[derive(Clone, Copy, PartialEq, Debug)]
pub(in crate::lower) enum ChainEnd {
    /// With its part, which is one chain.
    Part,
    /// Behind so many images.
    Images(usize),
    /// Inside of an image: behind so many chunks of an axis.
    Chunks { axis: usize, every: usize },
}

impl Parts {
    /// Of direct sums. Pieces of work are panels of the compiler's own width, whatever is chosen.
    pub fn of(shape: &Shape) -> Parts {
        let panels = shape.groups * count(&column_blocks(shape.outputs, None));
        let parts = parts(shape.batch, shape.space(), panels);
        Parts { count: parts, ends: chain_end(shape.batch / parts, shape) }
    }
}

/// Into how many parts the images are cut: the smallest divisor of the batch with enough pieces of work and short
/// enough chains; if none is, the largest up to 16. 32 images of 14 x 14 positions and 4 panels of columns make 4 parts: 16
/// pieces of work, and chains of 1,568 positions.
pub(super) fn parts(batch: usize, positions: usize, pieces: usize) -> usize {
    let divisors = (1..=PARTS.min(batch)).filter(|parts| batch.is_multiple_of(*parts));
    let enough = |parts: &usize| parts * pieces >= PIECES && batch / parts * positions <= CHAIN;
    divisors.clone().find(enough).or(divisors.max()).unwrap_or(1)
}

/// Where the chains of a part of so many images end: they have about `CHAIN` positions.
fn chain_end(images: usize, shape: &Shape) -> ChainEnd {
    let (windows, space) = (&shape.windows, shape.space());
    if images * space <= CHAIN {
        return ChainEnd::Part;
    }
    if space <= CHAIN || shape.is_large() {
        return ChainEnd::Images((CHAIN / space.max(1)).clamp(1, images));
    }
    // Only now: of a large kernel there would be as many chunks as positions.
    let chunks = boxes(windows.iter(), DEPTH);
    let outputs = |windows: &[Window]| windows.iter().map(|window| window.output).product::<usize>();
    let inside = |axis: usize| chunks[axis].length * outputs(&windows[axis + 1..]);
    let last = windows.len() - 1;
    let axis = (0..last).find(|&axis| inside(axis) <= CHAIN).unwrap_or(last);
    ChainEnd::Chunks { axis, every: (CHAIN / inside(axis).max(1)).clamp(1, chunks[axis].count.max(1)) }
}
