//! A tile's column blocks, one after the other, with their blocks of rows; and what is fetched ahead.

use brolga_ir::DType;
use brolga_ir::program::{Tile, TileLoop};

use super::super::assembler::TABLE;
use super::super::instructions::Asm;
use super::emission::{Emission, imm};
use super::reduce::rounds;
use crate::limits::{FAR, FEWEST_POINTS, LARGE_PANEL, LINE, POINT_UNROLL};
use crate::portable::split_rows;
use crate::wide::types::blocks::{ColumnBlocks, RegisterBlock, most_rows, rows_in_cache, split_columns};
use crate::wide::types::epilogue::{Stream, SumOp};
use crate::wide::types::machine::is_whole;
use crate::wide::types::operands::registers::*;
use crate::wide::types::operands::{Memory, byte_ptr, qword_ptr};
use crate::wide::types::tile::SIZE;

/// The cache lines of a panel of B that is contiguous, so that the one that is wanted next lies behind it: packed
/// weights are read once, and as fast as memory gives them only if they are asked for in time.
fn panel_lines(tile: &Tile, stored: DType, loops: &[TileLoop]) -> Option<usize> {
    // Without a reduction there is one row of B, and none behind it.
    loops.first()?;
    let mut size = tile.n as i64;
    for level in loops.iter().rev() {
        if level.b != size {
            return None;
        }
        size *= level.extent as i64;
    }
    let bytes = size * stored.size() as i64;
    (bytes >= LARGE_PANEL).then_some((bytes / LINE) as usize)
}

impl Emission<'_> {
    pub fn tile(&mut self, mask: Option<Memory>) -> Asm {
        let in_cache = rows_in_cache(self.tile.a.row * SIZE);
        let columns = split_columns(self.machine, (self.tile.m, in_cache), self.tile.n);
        // Every column block asks for its share of the next panel.
        let blocks: usize = columns.iter().map(|block| block.count).sum();
        let lines = panel_lines(self.tile, self.stored, self.loops).map(|lines| lines.div_ceil(blocks));
        if lines.is_some() {
            let panel = self.loops[0].extent as i64 * self.loops[0].b * self.stored.size() as i64;
            self.a.lea(r13, byte_ptr(rsi + imm(panel)))?;
        }
        let mut moved = 0;
        for (i, block) in columns.iter().enumerate() {
            let last = i + 1 == columns.len();
            if !is_whole(block.last) {
                // Not earlier: blocks without mask use all registers.
                self.set_mask(block.last, mask)?;
            }
            let alone = last && block.count == 1;
            self.repeat(rbp, block.count, |e| e.column(*block, alone, lines))?;
            moved += if alone { 0 } else { block.count * block.vectors * self.machine.lanes };
        }
        // The table has what was there before.
        self.move_words(|_, columns| if columns { -(moved as i64) * SIZE } else { 0 })
    }

    /// All rows of one column block; leaves the pointers at the next one. `lines`: those of a panel to fetch.
    fn column(&mut self, block: ColumnBlocks, last: bool, lines: Option<usize>) -> Asm {
        let tile = self.tile;
        let (row_a, row_c) = (tile.a.row * SIZE, tile.c.row * SIZE);
        let most = most_rows(self.machine, rows_in_cache(row_a), block.vectors, block.last);
        let rows = split_rows(tile.m, most);
        let blocks: usize = rows.iter().map(|&(count, _)| count).sum();
        let (ahead, mut fetching) = self.fetches(lines, blocks);
        for (count, rows) in rows {
            let with = count.min(fetching);
            fetching -= with;
            for (count, ahead) in [(with, ahead), (count - with, 0)] {
                self.ahead = ahead;
                self.repeat(rbx, count, |e| {
                    let ColumnBlocks { vectors, last, .. } = block;
                    e.block(RegisterBlock { rows, vectors, lanes: e.machine.lanes, last })?;
                    e.advance(rdi, rows as i64 * row_a)?;
                    e.move_words(|row, _| row * rows as i64)?;
                    e.advance(rdx, rows as i64 * row_c)
                })?;
            }
        }
        let width = (block.vectors * self.machine.lanes) as i64;
        let rows = tile.m as i64;
        if last {
            return self.move_words(|row, _| -row * rows);
        }
        self.move_words(|row, columns| if columns { width * SIZE } else { 0 } - row * rows)?;
        self.advance(rdi, -(tile.m as i64) * row_a)?;
        self.advance(rdx, width * SIZE - tile.m as i64 * row_c)?;
        self.advance(rsi, width * self.stored.size() as i64)
    }

    /// How a panel of so many cache lines is fetched while `blocks` blocks of rows go by: the lines for each group of points
    /// that is written out, and how many blocks fetch any.
    fn fetches(&self, lines: Option<usize>, blocks: usize) -> (usize, usize) {
        // The groups of all reduction loops.
        let (inner, outer) =
            self.loops.split_last().map_or((0, &[][..]), |(last, outer)| (last.extent, outer));
        let groups = rounds(inner) * outer.iter().map(|l| l.extent).product::<usize>();
        let needed = lines.map_or(0, |lines| lines.div_ceil(groups.max(1)));
        let ahead = needed.min(POINT_UNROLL.max(needed).div_ceil(blocks.max(1)));
        // Spread over as many of the first blocks of rows as it takes.
        let fetching = lines.filter(|_| groups > 0).map_or(0, |lines| lines.div_ceil(ahead * groups));
        (ahead, fetching)
    }

    /// A block: its sums begin, run through the reduction, and are stored.
    fn block(&mut self, block: RegisterBlock) -> Asm {
        self.begin(block)?;
        self.fetch_rows(block)?;
        self.a.mov(r8, rdi)?;
        self.a.mov(r9, rsi)?;
        self.reduce(0, block)?;
        self.end(block)
    }

    /// Asks for the rows that the block ends with, if they are far apart: nothing else foresees them.
    fn fetch_rows(&mut self, block: RegisterBlock) -> Asm {
        let points: usize = self.loops.iter().map(|l| l.extent).product();
        let far = |row: i64| row.abs() > FAR && points >= FEWEST_POINTS;
        let row_c = self.tile.c.row * SIZE;
        if self.tile.zero && far(row_c) {
            for i in 0..block.rows as i64 {
                self.a.prefetcht0(byte_ptr(rdx + imm(i * row_c)))?;
            }
        }
        let streams: Vec<Stream> =
            self.epilogue.iter().flat_map(|e| e.ops).filter_map(SumOp::stream).cloned().collect();
        for stream in streams.into_iter().filter(|stream| far(stream.row)) {
            self.a.mov(r8, qword_ptr(TABLE + 8 * stream.word as i32))?;
            for i in 0..block.rows as i64 {
                self.a.prefetcht0(byte_ptr(r8 + (stream.offset + imm(i * stream.row))))?;
            }
        }
        Ok(())
    }
}
