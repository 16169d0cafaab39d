//! Into which blocks the terms of a sum and the columns of a result are cut.

use crate::lower::blocking::direct::DEPTH;
use crate::lower::blocking::panels::EVEN;
use crate::lower::blocking::plan::CHANNELS;
use crate::schedule::Schedule;

/// A run of equal blocks along an axis: first element, extent of a block, number of blocks.
pub(in crate::lower) type Cut = (usize, usize, usize);

/// Output channels in blocks: of so many if that is chosen, else of 16, or 24 if nothing is left over then: panels of one
/// vector take a third more time.
pub(super) fn column_blocks(outputs: usize, chosen: Option<usize>) -> Vec<Cut> {
    if let Some(width) = chosen {
        return blocks_of(outputs, width);
    }
    let even = EVEN.into_iter().find(|&width| outputs.is_multiple_of(width));
    match even {
        Some(width) => vec![(0, width, outputs / width)],
        None if outputs <= EVEN[1] => vec![(0, outputs, 1)],
        None => blocks_of(outputs, EVEN[0]),
    }
}

/// Whole blocks and a rest.
pub(super) fn blocks_of(extent: usize, block: usize) -> Vec<Cut> {
    let rest = extent % block;
    let cuts = [(0, block, extent / block), (extent - rest, rest, 1)];
    cuts.into_iter().filter(|&(_, extent, count)| extent * count > 0).collect()
}

/// Input channels in blocks; `area`: kernel positions. Only where there is one may the blocks be others.
pub(super) fn channel_blocks(channels: usize, area: usize, schedule: &Schedule) -> Vec<Cut> {
    blocks_of(channels, if area == 1 { schedule.depth(DEPTH) } else { CHANNELS })
}

/// Blocks of terms in runs of equal ones. The last step, which ends the sums, stands alone, and so does the first one, if
/// it starts them.
pub(in crate::lower) fn steps(cuts: Vec<Cut>, starts: bool) -> Vec<Cut> {
    let mut runs: Vec<Cut> = Vec::new();
    for (start, inner, count) in cuts {
        let first = usize::from(runs.is_empty() && starts && count > 1);
        runs.extend([(start, inner, first), (start + first * inner, inner, count - first)]);
    }
    runs.retain(|run| run.2 > 0);
    if let Some(&(start, inner, count)) = runs.last().filter(|run| run.2 > 1) {
        runs.pop();
        runs.extend([(start, inner, count - 1), (start + (count - 1) * inner, inner, 1)]);
    }
    runs
}
