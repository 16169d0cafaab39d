//! Whether a convolution takes images together, because its borders are most of it.
//!
//! A tile wants about eight rows to hide the latency of its multiply-adds. Segments near a border are short; with a
//! large kernel and a small image most of the work can be there. Then the rows of a tile are better the same position
//! of several images. Nothing in a chain changes.
//!
//! To copy images into larger ones with zeros around them, so that every position has all taps, is for kernels so large that
//! segments would be too much code ([`few_pieces`](super::image::few_pieces)). Elsewhere it was measured not to
//! pay: for 5 x 5 windows over 28 x 28 pixels of one channel the copy costs what the segments do, and a full
//! correlation does twice the work.

use super::boxes::{Positions, boxes};
use crate::facts::blocking::borders::{BOX, BOXES, FEWEST, IMAGES, SET};
use crate::facts::blocking::boxes::ROWS;
use crate::facts::blocking::plan::CHANNELS;
use crate::facts::blocks::{Cut, column_blocks};
use crate::facts::cost::{LANES, TOGETHER, tile};
use crate::facts::windows::{Chunks, balanced};

/// Half cycles of a convolution over boxes of chunks of its axes.
fn cost(chunks: &[Chunks], channels: usize, outputs: usize) -> f64 {
    // Kinds of boxes so far: how many, the longest axis, positions, taps.
    let mut kinds: Vec<(f64, usize, usize, usize)> = vec![(1.0, 1, 1, 1)];
    for axis in chunks {
        let mut next = Vec::new();
        for &(boxes, rows, positions, taps) in &kinds {
            for group in &axis.groups {
                next.extend(group.segments.iter().map(|s| {
                    let boxes = boxes * group.count as f64;
                    (boxes, rows.max(s.count), positions * s.count, taps * s.taps)
                }));
            }
        }
        kinds = next;
    }
    let inner = channels.min(CHANNELS);
    let steps = channels as f64 / inner.max(1) as f64;
    let columns = column_blocks(outputs, None);
    let of = |&(boxes, rows, positions, taps): &(f64, usize, usize, usize)| {
        let tiles = boxes * (positions / rows) as f64 * steps;
        let along = |cut: &Cut| cut.count as f64 * tile(rows, cut.width.div_ceil(LANES), taps * inner);
        tiles * columns.iter().map(along).sum::<f64>()
    };
    kinds.iter().map(of).sum()
}

/// Boxes of several images, if that makes up for short segments.
pub(in crate::lower) fn together(axes: &[Positions], channels: usize, outputs: usize) -> Option<Vec<Chunks>> {
    let (batch, space) = axes.split_first()?;
    let images = batch.window.output;
    let positions: usize = space.iter().map(|axis| axis.window.output).product();
    let count = balanced(images, IMAGES.min(images / BOXES).max(1));
    let alias = batch.source % SET == 0;
    if space.iter().any(|axis| axis.window.tested) {
        return None;
    }
    if space.is_empty() || !batch.window.is_identity() || batch.dims.len() > 1 || count < FEWEST || alias {
        return None;
    }
    if positions.checked_mul(count * outputs)? > BOX {
        return None;
    }
    let whole = space.iter().map(|axis| axis.window.chunks(axis.window.output));
    let several: Vec<Chunks> = std::iter::once(batch.window.chunks(count)).chain(whole).collect();
    let alone = boxes(axes.iter().map(|axis| &axis.window), ROWS);
    (cost(&several, channels, outputs) * TOGETHER < cost(&alone, channels, outputs)).then_some(several)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::windows::Window;

    #[test]
    fn short_segments_take_images_together() {
        // The gradient of a 5 x 5 convolution with respect to an image of 14 x 14: a full correlation.
        let axis =
            |window: Window, source: i64| Positions { window, source, target: 1, dims: vec![window.output] };
        let full = Window { kernel: 5, low: 4, input: 10, ..Window::identity(14) };
        let axes = |images| [axis(Window::identity(images), 1600), axis(full, 160), axis(full, 16)];
        let chunks = together(&axes(64), 16, 6).expect("most segments have one position");
        assert_eq!(chunks.iter().map(|c| c.length).collect::<Vec<_>>(), [16, 14, 14]);
        assert!(together(&axes(1), 16, 6).is_none());
        let small = Window { low: 2, input: 6, output: 6, ..full };
        let axes = [axis(Window::identity(36), 108), axis(small, 18), axis(small, 3)];
        let chunks = together(&axes, 3, 5).expect("a third of the positions has all taps along an axis");
        assert_eq!(chunks[0].length, 9);
    }
}
