//! Boxes of positions: what a grid point computes.
//!
//! Each axis of a result (images, rows, columns) is cut into *chunks*; one chunk of every axis is a *box*. 8 images of 56 x 56
//! positions make boxes of one image, two rows and 56 columns, 8 x 28 of them: about 112 positions each. Chunks at a border see
//! other taps than those inside, so boxes are of several *kinds*; code is written for each kind, under a condition.

use brolga_ir::Type;
use brolga_ir::index::Index;

use super::epilogue::Span;
use crate::facts::cost::threads::EVEN;
use crate::facts::windows::{Chunks, Group, Window};
use crate::lower::regions::compose::Composer;

/// One axis of positions: how it is windowed, and its strides in the source and in the result.
#[derive(Clone, PartialEq, Debug)]
pub(in crate::lower) struct Positions {
    pub window: Window,
    pub source: i64,
    pub target: i64,
    /// Extents of the result's axes that are counted as this one.
    pub dims: Vec<usize>,
}

/// The axes of positions of a result with its channels last, the batch and the windowed ones; `source`: how far apart
/// inputs lie.
pub(in crate::lower) fn positions(windows: &[Window], result: &Type, source: &[i64]) -> Vec<Positions> {
    let all = std::iter::once(Window::identity(result.dims[0])).chain(windows.iter().copied());
    let strides = result.strides();
    let axis = |(axis, window): (usize, Window)| Positions {
        window,
        source: source[axis],
        target: strides[axis] as i64,
        dims: vec![result.dims[axis]],
    };
    all.enumerate().map(axis).collect()
}

/// The same with axes as one where nothing is windowed and one follows the other in memory: 56 x 56 positions of a pointwise
/// convolution are an axis of 3,136.
pub(in crate::lower) fn merged(axes: Vec<Positions>) -> Vec<Positions> {
    let mut result: Vec<Positions> = Vec::new();
    for mut axis in axes {
        let inner = axis.window.output as i64;
        match result.last_mut() {
            Some(last)
                if last.window.is_identity()
                    && axis.window.is_identity()
                    && last.source == axis.source * inner
                    && last.target == axis.target * inner =>
            {
                let window = Window::identity(last.window.output * axis.window.output);
                let mut dims = std::mem::take(&mut last.dims);
                dims.append(&mut axis.dims);
                *last = Positions { window, dims, ..axis };
            }
            _ => result.push(axis),
        }
    }
    result
}

/// Cuts axes so that a box has about `room` positions: inner axes whole, one axis in pieces, outer ones one by one. An axis that
/// is at most half as long again as the room stays whole.
pub(super) fn boxes<'w>(axes: impl DoubleEndedIterator<Item = &'w Window>, mut room: usize) -> Vec<Chunks> {
    let mut chunks: Vec<Chunks> = Vec::new();
    for window in axes.rev() {
        let output = window.output;
        let whole = output <= room + room / 2;
        chunks.push(window.chunks(if whole { output } else { room }));
        room = if whole { room / output.max(1) } else { 1 };
    }
    chunks.reverse();
    chunks
}

/// Whether threads have about equally much to do, if each point of a grid is a box of positions and one of so many others:
/// there are many, or two or four threads have the same number of equal ones.
pub(super) fn is_even<'w>(chunks: &[Chunks], axes: impl Iterator<Item = &'w Window>, others: usize) -> bool {
    let points = chunks.iter().map(|chunk| chunk.count).product::<usize>() * others;
    let equal = chunks.iter().zip(axes).all(|(chunk, axis)| chunk.count * chunk.length == axis.output);
    points >= EVEN || points.is_multiple_of(4) && equal
}

/// Emits `body` for every combination of kinds of chunks, each under the condition that the chunks at `at` are of
/// that kind.
pub(super) fn for_each_kind<'g, 'c>(
    c: &mut Composer<'c>,
    chunks: &'g [Chunks],
    at: &[Index],
    body: &mut dyn FnMut(&mut Composer<'c>, &[&'g Group]),
) {
    fn choose<'g, 'c>(
        c: &mut Composer<'c>,
        chunks: &'g [Chunks],
        at: &[Index],
        chosen: &mut Vec<&'g Group>,
        body: &mut dyn FnMut(&mut Composer<'c>, &[&'g Group]),
    ) {
        let Some(axis) = chunks.get(chosen.len()) else { return body(c, chosen) };
        for group in &axis.groups {
            let inside = c.k.in_bounds(&at[chosen.len()].plus(-(group.first as i64)), group.count);
            inside.into_iter().for_each(|inside| c.k.open_if(inside));
            chosen.push(group);
            choose(c, chunks, at, chosen, body);
            chosen.pop();
            inside.into_iter().for_each(|_| c.k.close_if());
        }
    }
    choose(c, chunks, at, &mut Vec::new(), body);
}

/// The positions of a box, as the epilogue wants them.
pub(super) fn box_of<'p>(
    axes: &'p [Positions],
    chunks: &[Chunks],
    at: &[Index],
    groups: &[&Group],
) -> Vec<Span<'p>> {
    let first = |(at, chunk): (&Index, &Chunks)| at.scale(chunk.length as i64);
    let firsts = at.iter().zip(chunks).map(first);
    let span = |((first, group), axis): ((Index, &&Group), &'p Positions)| Span {
        first,
        count: group.extent,
        step: 1,
        dims: &axis.dims,
    };
    firsts.zip(groups).zip(axes).map(span).collect()
}
