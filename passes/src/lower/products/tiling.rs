//! In which pieces a product is computed: one value, resolved once and passed on.

use super::shape::{Method, Shape};
use crate::facts::blocking::{
    boxes, channels_first, depthwise, direct, panels, strassen, strided, weights, winograd, winograd_weights,
};
use crate::tuning::{Outer, Tuning};

/// The pieces of a product. They change no bit: rows and columns are different elements, and a chain that goes through memory
/// goes on exactly.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(in crate::lower) struct Tiling {
    /// About how many rows of the result are computed together: positions of a box, tiles of a box (Winograd), rows of a block
    /// (strided), input channels of a block (weights by Winograd's algorithm).
    pub rows: usize,
    /// Whether these were chosen by measuring: nothing is cut further for threads then.
    pub fixed: bool,
    /// Columns of a panel; without, as [`column_blocks`](crate::facts::blocks::column_blocks) finds them.
    pub columns: Option<usize>,
    /// About how many terms are added before sums go to memory.
    pub depth: usize,
    /// Which loop is outermost; without, the one that reads less again.
    pub outer: Option<Outer>,
}

impl Tiling {
    /// What is chosen, else so many rows and terms.
    fn new(chosen: Tuning, rows: usize, depth: usize) -> Tiling {
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
    pub fn of(method: Method, shape: &Shape, chosen: Tuning) -> Tiling {
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

    fn direct(shape: &Shape, chosen: Tuning) -> Tiling {
        let tiling = Tiling::new(chosen, boxes::ROWS, direct::DEPTH);
        if shape.outputs > 0 && shape.positions() == 1 {
            // Only columns are left to hide the latency of its multiply-adds.
            return tiling.with_columns(panels::SINGLE);
        }
        let pairs = shape.outputs.is_multiple_of(panels::PAIR) && shape.area() <= panels::MOST_TAPS;
        if pairs { tiling.with_columns(panels::PAIR) } else { tiling }
    }

    /// Packed weights of a kernel that no tuning is asked for.
    pub fn packed() -> Tiling {
        Tiling::new(Tuning::default(), boxes::ROWS, direct::DEPTH)
    }

    /// A product of two tensors where they lie.
    pub fn strided(chosen: Tuning) -> Tiling {
        let tiling = Tiling::new(chosen, strided::ROWS, strided::DEPTH);
        let fixed = tiling.fixed || tiling.columns.is_some();
        Tiling { fixed, ..tiling.with_columns(strided::COLUMNS) }
    }

    /// The gradient of a convolution with respect to its weights, by direct sums. Its rows are input channels, all of a group.
    pub fn weights(chosen: Tuning) -> Tiling {
        Tiling::new(chosen, boxes::ROWS, weights::DEPTH)
    }

    /// The same by Winograd's algorithm.
    pub fn winograd_weights(chosen: Tuning) -> Tiling {
        Tiling::new(chosen, winograd_weights::ROWS[0], winograd_weights::DEPTH)
    }
}

#[cfg(test)]
mod tests {
    use brolga_ir::DType;

    use super::*;
    use crate::facts::windows::Window;

    fn shape(outputs: usize, kernel: usize, positions: usize) -> Shape {
        let window = Window { kernel, input: positions + kernel - 1, ..Window::identity(positions) };
        Shape { dtype: DType::F32, batch: 1, groups: 1, channels: 64, outputs, windows: vec![window; 2] }
    }

    #[test]
    fn panels_suit_the_rows_that_meet_them() {
        let columns = |shape: &Shape| Tiling::of(Method::Direct, shape, Tuning::default()).columns;
        assert_eq!(columns(&shape(64, 3, 14)), Some(32));
        assert_eq!(columns(&shape(48, 3, 14)), None);
        assert_eq!(columns(&shape(64, 5, 14)), None, "25 kernel positions");
        assert_eq!(columns(&shape(1000, 1, 1)), Some(48), "one row");
        assert_eq!(columns(&shape(0, 1, 1)), Some(32), "nothing");
    }

    #[test]
    fn what_is_chosen_goes_first() {
        let chosen = Tuning { columns: Some(24), rows: Some(28), ..Tuning::default() };
        for method in
            [Method::Direct, Method::Depthwise, Method::ChannelsFirst, Method::Winograd(4), Method::Strassen]
        {
            let tiling = Tiling::of(method, &shape(64, 3, 14), chosen);
            assert_eq!((tiling.columns, tiling.rows, tiling.fixed), (Some(24), 28, true), "{method:?}");
            let free = Tiling::of(method, &shape(64, 3, 14), Tuning::default());
            assert!(!free.fixed && free.outer.is_none(), "{method:?}");
            assert_eq!(free.depth, tiling.depth, "{method:?}");
        }
        let columns = Tuning { columns: Some(64), ..Tuning::default() };
        assert!(Tiling::strided(columns).fixed && !Tiling::strided(Tuning::default()).fixed);
    }
}
