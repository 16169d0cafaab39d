//! A register block's sums: how they begin, and the reduction.

use brolga_ir::DType;
use brolga_ir::program::TileLoop;

use super::super::bf16;
use super::super::instructions::Asm;
use super::emission::{Emission, imm};
use crate::limits::{LINE, MOST_LOOPS, POINT_UNROLL};
use crate::wide::types::blocks::{RegisterBlock, broadcasts, cells};
use crate::wide::types::operands::registers::*;
use crate::wide::types::operands::{Gpr64, byte_ptr, dword_bcst, dword_ptr};
use crate::wide::types::tile::SIZE;

/// Counters of the reduction loops, outermost first.
const COUNTERS: [Gpr64; MOST_LOOPS] = [rax, rcx, r10, r11];

/// Groups of written-out points of the innermost loop, if it is long enough to be a loop.
pub(crate) fn rounds(extent: usize) -> usize {
    if extent < 2 * POINT_UNROLL { 0 } else { extent / POINT_UNROLL }
}

impl Emission<'_> {
    /// The sums, zero or what C holds.
    pub fn begin(&mut self, block: RegisterBlock) -> Asm {
        for (i, j) in cells(block) {
            let sum = block.sum(i, j);
            if self.tile.zero {
                let sum = sum.of(block.columns(j));
                self.a.vxorps(sum, sum, sum)?;
            } else {
                let place = self.place(i, j);
                self.load(sum, place, block.columns(j))?;
            }
        }
        Ok(())
    }

    /// The reduction loops from `level` on; gives the bytes by which they leave `r8` and `r9` advanced.
    pub fn reduce(&mut self, level: usize, block: RegisterBlock) -> Asm<(i64, i64)> {
        let Some(&TileLoop { extent, a, b }) = self.loops.get(level) else {
            self.point(0, 0, block)?;
            return Ok((0, 0));
        };
        let (a, b) = (a * SIZE, b * self.stored.size() as i64);
        if level + 1 < self.loops.len() {
            self.repeat(COUNTERS[level], extent, |e| {
                let (moved_a, moved_b) = e.reduce(level + 1, block)?;
                e.advance(r8, a - moved_a)?;
                e.advance(r9, b - moved_b)
            })?;
            return Ok((extent as i64 * a, extent as i64 * b));
        }
        let rounds = rounds(extent);
        self.repeat(COUNTERS[level], rounds, |e| {
            for u in 0..POINT_UNROLL as i64 {
                e.point(u * a, u * b, block)?;
            }
            for line in 0..e.ahead as i64 {
                e.a.prefetcht0(byte_ptr(r13 + imm(line * LINE)))?;
            }
            e.advance(r13, e.ahead as i64 * LINE)?;
            e.advance(r8, POINT_UNROLL as i64 * a)?;
            e.advance(r9, POINT_UNROLL as i64 * b)
        })?;
        for u in 0..(extent - rounds * POINT_UNROLL) as i64 {
            self.point(u * a, u * b, block)?;
        }
        let moved = (rounds * POINT_UNROLL) as i64;
        Ok((moved * a, moved * b))
    }

    /// One point of the reduction: a column of A times a row of B.
    fn point(&mut self, da: i64, db: i64, block: RegisterBlock) -> Asm {
        for j in 0..block.vectors {
            let place = r9 + imm(db + (j * self.machine.lanes * self.stored.size()) as i64);
            match self.stored {
                DType::Bf16 => {
                    bf16::load_widened(self.a, self.machine, block.b(j), place, block.columns(j))?;
                }
                _ => self.load(block.b(j), place, block.columns(j))?,
            }
        }
        for i in 0..block.rows {
            let place = r8 + imm(da + i as i64 * self.tile.a.row * SIZE);
            if broadcasts(self.machine, block.vectors) {
                let (sum, b) = (block.sum(i, 0), block.b(0));
                self.a.vfmadd231ps(sum.of(block.last), b.of(block.last), dword_bcst(place))?;
                continue;
            }
            let x = block.a();
            self.a.vbroadcastss(x.of(self.machine.lanes), dword_ptr(place))?;
            for j in 0..block.vectors {
                let (sum, b) = (block.sum(i, j), block.b(j));
                self.a.vfmadd231ps(
                    sum.of(block.columns(j)),
                    x.of(block.columns(j)),
                    b.of(block.columns(j)),
                )?;
            }
        }
        Ok(())
    }
}
