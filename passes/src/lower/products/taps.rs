//! Loops over the taps of a segment of windows: those that a tile goes through, and those that are tested one by one.

use brolga_ir::index::Index;
use brolga_ir::program::TileLoop;

use crate::facts::windows::{Segment, Window};
use crate::lower::kernel::KernelBuilder;

/// The taps of a segment along one axis.
pub(in crate::lower) struct TapAxis<'t> {
    pub window: &'t Window,
    pub segment: &'t Segment,
    /// The output whose taps they are.
    pub at: &'t Index,
    /// Elements from one input to the next, and from one kernel position to the next.
    pub source: i64,
    pub weights: i64,
}

/// The taps of a tile.
pub(in crate::lower) struct Taps {
    /// Where the first one lies in the image and in the weights.
    pub source: Index,
    pub weights: Index,
    /// Loops over them that the tile goes through itself.
    pub reduce: Vec<TileLoop>,
    /// Loops that are open around it, outermost first; whether a condition is open in each.
    pub open: Vec<bool>,
}

/// Opens what must stand around a tile so that it goes through its taps in row-major order. A tap that is tested needs a
/// condition, so that axis and all before it become loops around the tile: of (row, column), if rows are tested there is a loop over
/// rows with a condition, and the tile goes through columns. Of an axis that is not tested the inputs count from the first tap's.
pub(super) fn open_taps(k: &mut KernelBuilder, axes: &[TapAxis<'_>]) -> Taps {
    let explicit = axes.iter().rposition(|axis| axis.segment.tested).map_or(0, |last| last + 1);
    let mut taps =
        Taps { source: Index::default(), weights: Index::default(), reduce: Vec::new(), open: Vec::new() };
    for (number, axis) in axes.iter().enumerate() {
        let (s, source, weights) = (axis.segment, axis.source, axis.weights);
        let (source_step, step) = (s.source_tap * source, s.tap_step as i64 * weights);
        taps.weights = taps.weights.plus(s.tap as i64 * weights);
        if number >= explicit {
            let tile = TileLoop { extent: s.taps, a: source_step, b: step };
            taps.reduce.extend((s.taps > 1).then_some(tile));
            continue;
        }
        let tap = Index::var(k.open_for(s.taps));
        if !s.tested {
            taps.source = taps.source.add(&tap.scale(source_step));
            taps.weights = taps.weights.add(&tap.scale(step));
            taps.open.push(false);
            continue;
        }
        let tried = axis.window.tried(axis.at, &tap, &|atom| k.range(atom));
        let mut inside = None;
        for (index, extent) in &tried.bounds {
            let test = k.in_bounds(index, *extent);
            inside = k.and(inside, test);
        }
        inside.into_iter().for_each(|inside| k.open_if(inside));
        taps.source = taps.source.add(&tried.input.scale(source));
        taps.weights = taps.weights.add(&tried.tap.scale(weights));
        taps.open.push(inside.is_some());
    }
    taps
}

/// Closes what [`open_taps`] has opened.
pub(super) fn close_taps(k: &mut KernelBuilder, open: &[bool]) {
    for &condition in open.iter().rev() {
        if condition {
            k.close_if();
        }
        k.close();
    }
}
