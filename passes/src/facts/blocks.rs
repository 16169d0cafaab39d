//! Into which blocks the terms of a sum and the columns of a result are cut.

use brolga_ir::index::Index;
use brolga_ir::program::Panels;

use super::blocking::panels::EVEN;
use super::blocking::plan::CHANNELS;

/// A run of equal blocks along an axis. 40 columns by 16: `{ first: 0, width: 16, count: 2 }`, `{ first: 32, width: 8, count: 1 }`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cut {
    /// First element of the first block.
    pub first: usize,
    /// Elements of a block.
    pub width: usize,
    /// Number of blocks.
    pub count: usize,
}

impl Cut {
    /// One block.
    pub fn whole(extent: usize) -> Cut {
        Cut { first: 0, width: extent, count: 1 }
    }

    /// The first element of a block of the run.
    pub fn start(&self, block: &Index) -> Index {
        block.scale(self.width as i64).plus(self.first as i64)
    }

    /// Elements of all blocks.
    pub fn extent(&self) -> usize {
        self.width * self.count
    }
}

/// Output channels of a block: so many if that is chosen, else 16, or 24 if nothing is left over then; all if they are fewer.
pub(crate) fn column_block(outputs: usize, chosen: Option<usize>) -> usize {
    let even = || EVEN.into_iter().find(|&width| outputs.is_multiple_of(width));
    chosen.or_else(even).unwrap_or(if outputs <= EVEN[1] { outputs } else { EVEN[0] })
}

/// Output channels in such blocks.
pub(crate) fn column_blocks(outputs: usize, chosen: Option<usize>) -> Vec<Cut> {
    blocks_of(outputs, column_block(outputs, chosen))
}

/// Whole blocks and a rest.
pub(crate) fn blocks_of(extent: usize, width: usize) -> Vec<Cut> {
    let (count, rest) = (extent / width, extent % width);
    let mut cuts = vec![Cut { first: 0, width, count }, Cut { first: extent - rest, width: rest, count: 1 }];
    cuts.retain(|cut| cut.extent() > 0);
    cuts
}

/// How many blocks there are.
pub(crate) fn count(cuts: &[Cut]) -> usize {
    cuts.iter().map(|cut| cut.count).sum()
}

/// Input channels of a block; `area`: kernel positions. Only where there is one may the blocks be others than the numeric
/// plan's: about `depth` channels then.
pub(crate) fn channel_block(area: usize, depth: usize) -> usize {
    if area == 1 { depth } else { CHANNELS }
}

/// The columns of panels: runs of equal blocks, and where the first of each begins among the elements of a group.
pub(crate) fn panel_columns(panels: &Panels) -> Vec<(Cut, usize)> {
    let begin = |cut: Cut| (cut, cut.first / panels.columns * panels.block(panels.columns));
    blocks_of(panels.dims[3], panels.columns).into_iter().map(begin).collect()
}

/// Their terms.
pub(crate) fn panel_terms(panels: &Panels) -> Vec<Cut> {
    blocks_of(panels.dims[2], panels.terms)
}

/// Blocks of terms in runs of equal ones. The last block, which ends the sums, stands alone, and so does the first one, if
/// it starts them: three blocks make runs of 1, 1 and 1, five of 1, 3 and 1.
pub(crate) fn runs(cuts: Vec<Cut>, starts: bool) -> Vec<Cut> {
    let mut runs: Vec<Cut> = Vec::new();
    for Cut { first, width, count } in cuts {
        let alone = usize::from(runs.is_empty() && starts && count > 1);
        runs.extend([
            Cut { first, width, count: alone },
            Cut { first: first + alone * width, width, count: count - alone },
        ]);
    }
    runs.retain(|run| run.count > 0);
    if let Some(last) = runs.pop() {
        let before = Cut { count: last.count - 1, ..last };
        let ends = Cut { first: last.first + before.extent(), count: 1, ..last };
        runs.extend((before.count > 0).then_some(before));
        runs.push(ends);
    }
    runs
}

/// Blocks of terms in runs of equal ones, of which the first, which starts the sums, stands alone.
pub(crate) fn starting(cuts: Vec<Cut>) -> Vec<Cut> {
    let mut runs = cuts;
    if let Some(&Cut { first, width, count }) = runs.first() {
        runs[0] = Cut { first, width, count: 1 };
        runs.insert(1, Cut { first: first + width, width, count: count - 1 });
    }
    runs.retain(|run| run.count > 0);
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cuts(of: &[(usize, usize, usize)]) -> Vec<Cut> {
        of.iter().map(|&(first, width, count)| Cut { first, width, count }).collect()
    }

    #[test]
    fn blocks_fill_the_extent() {
        assert_eq!(blocks_of(40, 16), cuts(&[(0, 16, 2), (32, 8, 1)]));
        assert_eq!(blocks_of(32, 16), cuts(&[(0, 16, 2)]));
        assert_eq!(blocks_of(5, 16), cuts(&[(0, 5, 1)]));
        assert_eq!(blocks_of(0, 16), cuts(&[]));
        assert_eq!(column_blocks(72, None), cuts(&[(0, 24, 3)]));
        assert_eq!(column_blocks(20, None), cuts(&[(0, 20, 1)]));
        assert_eq!(column_blocks(40, None), cuts(&[(0, 16, 2), (32, 8, 1)]));
        assert_eq!(column_blocks(0, None), cuts(&[]));
    }

    #[test]
    fn what_starts_and_ends_sums_stands_alone() {
        let all = || blocks_of(84, 16);
        assert_eq!(runs(all(), true), cuts(&[(0, 16, 1), (16, 16, 4), (80, 4, 1)]));
        assert_eq!(runs(blocks_of(80, 16), false), cuts(&[(0, 16, 4), (64, 16, 1)]));
        assert_eq!(runs(blocks_of(16, 16), true), cuts(&[(0, 16, 1)]));
        assert_eq!(runs(Vec::new(), true), cuts(&[]));
        assert_eq!(starting(all()), cuts(&[(0, 16, 1), (16, 16, 4), (80, 4, 1)]));
        assert_eq!(starting(blocks_of(16, 16)), cuts(&[(0, 16, 1)]));
        assert_eq!(starting(Vec::new()), cuts(&[]));
    }
}
