//! In which pieces a product is computed: one value, resolved once and passed on.

use super::shape::{Method, Shape};
use crate::facts::blocking::{
    boxes, channels_first, depthwise, direct, panels, strassen, strided, weights, winograd, winograd_weights,
};
use crate::schedule::{Outer, Schedule};

/// The pieces of a product. They change no bit: rows and columns are different elements, and a chain that goes through memory
/// goes on exactly.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(in crate::lower) struct Tiling {
    /// About how many rows of the result are computed together: positions of a box, tiles of a box (Winograd), rows of a block
    /// (strided), input channels of a block (weights by Winograd's algorithm).
    pub rows: usize,
    /// Whether these were chosen by measuring: nothing is cut further for threads then.
    pub fixed: bool,
    /// Columns of a panel; without, as [`column_blocks`](super::blocks::column_blocks) finds them.
    pub columns: Option<usize>,
    /// About how many terms are added before sums go to memory.
    pub depth: usize,
    /// Which loop is outermost; without, the one that reads less again.
    pub outer: Option<Outer>,
}

impl Tiling {
    /// What is chosen, else so many rows and terms.
    fn new(chosen: Schedule, rows: usize, depth: usize) -> Tiling {
        Tiling {
            rows: chosen.rows(rows),
            fixed: chosen.rows.is_some(),
            columns: chosen.columns(),
            depth: chosen.depth(depth),
            outer: chosen.outer,
        }
    }

    /// Panels of so many columns, unless others are chosen.
    fn with_columns(self, columns: usize) -> Tiling {
        Tiling { columns: self.columns.or(Some(columns)), ..self }
    }

    /// The pieces of a product of that shape.
    pub fn of(method: Method, shape: &Shape, chosen: Schedule) -> Tiling {
        match method {
            Method::Direct => Tiling::direct(shape, chosen),
            Method::Depthwise => {
                // At least two rows of the image. The chain of a sum is never cut.
                let room = depthwise::ROWS.max(shape.windows.last().map_or(1, |along| 2 * along.output));
                Tiling::new(chosen, room, 1)
            }
            Method::ChannelsFirst => {
                let positions = channels_first::POSITIONS;
                // The last window is that of the lanes.
                let row = shape.windows.iter().rev().nth(1).map_or(1, |along| along.output);
                let room = row.clamp(*positions.start(), *positions.end());
                Tiling::new(chosen, room, direct::DEPTH).with_columns(channels_first::COLUMNS)
            }
            Method::Winograd(_) => Tiling::new(chosen, winograd::TILES, winograd::DEPTH),
            Method::Strassen => {
                let tiling = Tiling::new(chosen, boxes::ROWS, strassen::DEPTH);
                let even = (shape.outputs / 2).is_multiple_of(panels::PAIR);
                if even { tiling.with_columns(panels::PAIR) } else { tiling }
            }
        }
    }

    fn direct(shape: &Shape, chosen: Schedule) -> Tiling {
        let tiling = Tiling::new(chosen, boxes::ROWS, direct::DEPTH);
        if shape.outputs > 0 && shape.positions() == 1 {
            // Only columns are left to hide the latency of its multiply-adds.
            return tiling.with_columns(panels::SINGLE);
        }
        let pairs = shape.outputs.is_multiple_of(panels::PAIR) && shape.area() <= panels::MOST_TAPS;
        if pairs { tiling.with_columns(panels::PAIR) } else { tiling }
    }

    /// Packed weights of a kernel that no schedule is asked for.
    pub fn packed() -> Tiling {
        Tiling::new(Schedule::default(), boxes::ROWS, direct::DEPTH)
    }

    /// A product of two tensors where they lie.
    pub fn strided(chosen: Schedule) -> Tiling {
        let tiling = Tiling::new(chosen, strided::ROWS, strided::DEPTH);
        let fixed = tiling.fixed || tiling.columns.is_some();
        Tiling { fixed, ..tiling.with_columns(strided::COLUMNS) }
    }

    /// The gradient of a convolution with respect to its weights, by direct sums. Its rows are input channels, all of a group.
    pub fn weights(chosen: Schedule) -> Tiling {
        Tiling::new(chosen, boxes::ROWS, weights::DEPTH)
    }

    /// The same by Winograd's algorithm.
    pub fn winograd_weights(chosen: Schedule) -> Tiling {
        Tiling::new(chosen, winograd_weights::ROWS[0], winograd_weights::DEPTH)
    }
}
