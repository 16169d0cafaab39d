//! How a tile is cut into blocks of registers.

use brolga_ir::program::work::point;

use super::machine::{Isa, Machine, Vector, is_whole};
use crate::limits::{SETS, WAYS};
use crate::portable::split_rows;

/// Columns cut into blocks: how many, of how many vectors, and the columns of the last vector.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ColumnBlocks {
    pub count: usize,
    pub vectors: usize,
    pub last: usize,
}

/// A register block: so many rows, of so many vectors, and what a vector holds.
#[derive(Clone, Copy)]
pub(crate) struct RegisterBlock {
    pub rows: usize,
    pub vectors: usize,
    /// Columns of a full vector, and of the last one.
    pub lanes: usize,
    pub last: usize,
}

impl RegisterBlock {
    /// Columns of a vector.
    pub fn columns(self, vector: usize) -> usize {
        if vector + 1 == self.vectors { self.last } else { self.lanes }
    }

    /// Where a sum is.
    pub fn sum(self, row: usize, vector: usize) -> Vector {
        Vector(row * self.vectors + vector)
    }

    /// Where a vector of the row of B is.
    pub fn b(self, vector: usize) -> Vector {
        Vector(self.rows * self.vectors + vector)
    }

    /// Where an element of A is.
    pub fn a(self) -> Vector {
        self.b(self.vectors)
    }
}

/// Whether multiply-adds take the element of A from memory, as they can with AVX-512. It is read as often as there
/// are vectors, so that only one gains from it.
pub(crate) fn broadcasts(machine: Machine, vectors: usize) -> bool {
    machine.isa == Isa::Avx512 && vectors == 1
}

/// The most rows of A, so many bytes apart, whose lines stay in the first-level cache while the reduction goes along them.
pub(crate) fn rows_in_cache(apart: i64) -> usize {
    if apart == 0 {
        return usize::MAX;
    }
    let shared = 1 << apart.trailing_zeros().min(SETS.trailing_zeros());
    (SETS / shared * WAYS) as usize
}

/// The most rows of a block, if the cache holds so many: sums, a row of B, an element of A and the mask are in registers.
pub(crate) fn most_rows(machine: Machine, in_cache: usize, vectors: usize, last: usize) -> usize {
    let mask = machine.isa == Isa::Avx2 && !is_whole(last);
    let others = mask as usize + !broadcasts(machine, vectors) as usize;
    ((machine.registers - others - vectors) / vectors).min(in_cache)
}

/// How `n` columns of `m.0` rows, of which the cache holds `m.1`, are given to registers: so that a point of the sum takes least
/// time ([`point`]) in all blocks of the tile together.
pub(crate) fn split_columns(machine: Machine, m: (usize, usize), n: usize) -> Vec<ColumnBlocks> {
    let lanes = machine.lanes;
    let total = n.div_ceil(lanes);
    let ragged = !n.is_multiple_of(lanes);
    let cut = |vectors: usize| {
        let mut blocks = Vec::new();
        let rest = total % vectors;
        let full = total / vectors - (ragged && rest == 0) as usize;
        blocks.push(ColumnBlocks { count: full, vectors, last: lanes });
        let vectors = if rest == 0 { vectors } else { rest };
        if ragged || rest > 0 {
            blocks.push(ColumnBlocks { count: 1, vectors, last: if ragged { n % lanes } else { lanes } });
        }
        blocks.retain(|b| b.count > 0);
        blocks
    };
    let beside = |block: &ColumnBlocks| -> usize {
        let rows = split_rows(m.0, most_rows(machine, m.1, block.vectors, block.last));
        rows.iter().map(|&(count, rows)| count * point(rows, block.vectors)).sum()
    };
    let points = |blocks: &Vec<ColumnBlocks>| -> usize { blocks.iter().map(|b| b.count * beside(b)).sum() };
    let cuts = (1..=total.min(machine.most_vectors)).map(cut);
    cuts.min_by_key(points).expect("at least one column")
}

/// Rows and vectors of a block.
pub(crate) fn cells(block: RegisterBlock) -> impl Iterator<Item = (usize, usize)> {
    (0..block.rows).flat_map(move |i| (0..block.vectors).map(move |j| (i, j)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_all_columns_and_fit_the_registers() {
        for machine in [Machine::AVX2, Machine::AVX512] {
            for (m, n) in (1..40).flat_map(|m| (1..100).map(move |n| (m, n))) {
                let blocks = split_columns(machine, (m, usize::MAX), n);
                let columns: usize =
                    blocks.iter().map(|b| b.count * ((b.vectors - 1) * machine.lanes + b.last)).sum();
                assert_eq!(columns, n);
                for block in &blocks {
                    let rows = split_rows(m, most_rows(machine, usize::MAX, block.vectors, block.last));
                    assert_eq!(rows.iter().map(|r| r.0 * r.1).sum::<usize>(), m);
                    let masked = machine.isa == Isa::Avx2 && !is_whole(block.last);
                    for (count, rows) in rows {
                        let a = if broadcasts(machine, block.vectors) { 0 } else { 1 };
                        let registers = (rows + 1) * block.vectors + a + masked as usize;
                        assert!(count == 0 || registers <= machine.registers);
                    }
                }
            }
        }
    }

    #[test]
    fn full_tiles_take_blocks_of_two_vectors_and_as_many_rows_as_fit() {
        let any = usize::MAX;
        assert_eq!(
            split_columns(Machine::AVX2, (48, any), 64),
            [ColumnBlocks { count: 4, vectors: 2, last: 8 }]
        );
        assert_eq!(most_rows(Machine::AVX2, any, 2, 8), 6);
        let wide = split_columns(Machine::AVX512, (56, any), 64);
        assert_eq!(wide, [ColumnBlocks { count: 2, vectors: 2, last: 16 }]);
        assert_eq!(most_rows(Machine::AVX512, any, 2, 16), 14);
    }

    #[test]
    fn rows_of_a_block_do_not_drive_each_other_out_of_the_cache() {
        assert_eq!(
            [0, 4, -4096, 8192, 2048, 4096 + 64].map(rows_in_cache),
            [usize::MAX, 10240, 10, 10, 20, 640]
        );
        assert_eq!(most_rows(Machine::AVX512, rows_in_cache(4096), 1, 16), 10);
        assert_eq!(most_rows(Machine::AVX512, rows_in_cache(2048), 1, 16), 20);
    }

    /// The blocks of a tile of rows, columns and terms, whose rows of A lie as many elements apart as there are terms: how many of
    /// so many vectors, the last of so many columns, and how many blocks of how many rows are beside each.
    fn described(machine: Machine, (m, n, k): (usize, usize, usize)) -> String {
        let in_cache = rows_in_cache(4 * k as i64);
        let blocks = split_columns(machine, (m, in_cache), n).into_iter().map(|block| {
            let rows = split_rows(m, most_rows(machine, in_cache, block.vectors, block.last));
            let rows = rows.into_iter().filter(|(count, _)| *count > 0);
            let rows: Vec<String> = rows.map(|(count, rows)| format!("{count}x{rows}")).collect();
            format!("{} of {} to {}: {}", block.count, block.vectors, block.last, rows.join("+"))
        });
        blocks.collect::<Vec<String>>().join("; ")
    }

    /// Whoever changes them on purpose measures the layers of all models.
    #[test]
    fn register_blocks_stay_what_they_are() {
        for (tile, avx2, avx512) in [
            ((1, 16, 64), "1 of 2 to 8: 1x1", "1 of 1 to 16: 1x1"),
            ((1, 48, 256), "1 of 6 to 8: 1x1", "1 of 3 to 16: 1x1"),
            ((4, 96, 48), "6 of 2 to 8: 1x4", "3 of 2 to 16: 1x4"),
            ((6, 16, 256), "1 of 2 to 8: 1x6", "1 of 1 to 16: 1x6"),
            ((7, 10, 84), "1 of 1 to 8: 1x7; 1 of 1 to 2: 1x7", "1 of 1 to 10: 1x7"),
            ((12, 24, 144), "1 of 3 to 8: 3x4", "1 of 2 to 8: 1x12"),
            ((14, 32, 64), "2 of 2 to 8: 2x5+1x4", "1 of 2 to 16: 1x14"),
            ((28, 32, 576), "2 of 2 to 8: 3x6+2x5", "1 of 2 to 16: 2x14"),
            ((48, 64, 64), "4 of 2 to 8: 8x6", "2 of 2 to 16: 4x12"),
            ((56, 32, 1024), "2 of 2 to 8: 6x6+4x5", "1 of 2 to 16: 2x10+4x9"),
            (
                (49, 100, 512),
                "6 of 2 to 8: 4x6+5x5; 1 of 1 to 4: 1x13+3x12",
                "1 of 4 to 16: 4x6+5x5; 1 of 3 to 4: 1x9+5x8",
            ),
            ((96, 96, 256), "6 of 2 to 8: 16x6", "3 of 2 to 16: 5x14+2x13"),
            ((112, 40, 147), "1 of 3 to 8: 28x4; 1 of 2 to 8: 17x6+2x5", "1 of 3 to 8: 8x9+5x8"),
            ((3, 1, 27), "1 of 1 to 1: 1x3", "1 of 1 to 1: 1x3"),
        ] {
            assert_eq!(described(Machine::AVX2, tile), avx2, "{tile:?}");
            assert_eq!(described(Machine::AVX512, tile), avx512, "{tile:?}");
        }
        // All others, by the FNV-1a hash of their descriptions.
        for (machine, expected) in
            [(Machine::AVX2, 0xd471_7036_8b27_fd7c_u64), (Machine::AVX512, 0xa331_6460_e611_7675)]
        {
            let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
            let columns = |m| (1..=100).map(move |n| (m, n));
            for ((m, n), k) in (1..=64).flat_map(columns).flat_map(|mn| [27, 64, 512, 1024].map(|k| (mn, k)))
            {
                for byte in (described(machine, (m, n, k)) + "\n").bytes() {
                    hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
                }
            }
            assert_eq!(hash, expected, "{hash:#x} of {:?}", machine.isa);
        }
    }
}
