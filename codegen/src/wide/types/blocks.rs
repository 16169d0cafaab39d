//! How a tile is cut into blocks of registers.

use super::limits::{SETS, WAYS};
use super::machine::{Isa, Machine, Vector, is_whole};
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

/// Half cycles for one reduction point of all rows beside a column block: what takes longest of its multiply-adds, of which two
/// begin in a cycle, of its loads, two a cycle, and of the four cycles from one multiply-add of a chain to the next. Example: 6 rows
/// of 2 vectors take 12 half cycles, for 12 multiply-adds; 6 rows of 1 vector take 8,
/// for no chain goes faster.
pub(crate) fn column_cost(machine: Machine, (m, in_cache): (usize, usize), block: &ColumnBlocks) -> usize {
    split_rows(m, most_rows(machine, in_cache, block.vectors, block.last))
        .iter()
        .map(|&(count, rows)| count * (rows * block.vectors).max(rows + block.vectors).max(8))
        .sum()
}

/// The cheapest way to cut `n` columns of `m.0` rows, of which the cache holds `m.1`.
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
    let cost = |blocks: &Vec<ColumnBlocks>| -> usize {
        blocks.iter().map(|b| b.count * column_cost(machine, m, b)).sum()
    };
    let cuts = (1..=total.min(machine.most_vectors)).map(cut);
    cuts.min_by_key(cost).expect("at least one column")
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
}
