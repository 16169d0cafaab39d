//! What is known while a tile is emitted, and what all of its parts write with.

use brolga_ir::DType;
use brolga_ir::program::{Tile, TileLoop};

use super::super::assembler::TABLE;
use super::super::instructions::{Asm, Instructions};
use super::super::partial;
use crate::wide::types::blocks::RegisterBlock;
use crate::wide::types::epilogue::SumOp;
use crate::wide::types::machine::{Isa, Machine, Mask, Vector};
use crate::wide::types::operands::registers::*;
use crate::wide::types::operands::{Gpr64, Memory, qword_ptr};
use crate::wide::types::tile::SIZE;

/// What is done to the sums in their registers, and where its constants lie, in order.
pub(crate) struct Epilogue<'e> {
    pub ops: &'e [SumOp],
    pub constants: Vec<Memory>,
}

/// A tile that is being emitted.
pub(crate) struct Emission<'t> {
    pub a: &'t mut Instructions,
    pub machine: Machine,
    pub tile: &'t Tile,
    pub stored: DType,
    pub loops: &'t [TileLoop],
    /// Cache lines that each written-out group of points fetches ahead.
    pub ahead: usize,
    pub epilogue: Option<Epilogue<'t>>,
    /// Words of the table that the epilogue uses: bytes from row to row, and whether columns move them too.
    pub words: Vec<(usize, i64, bool)>,
}

/// A displacement or immediate; `small` has shown that it fits.
pub(crate) fn imm(value: i64) -> i32 {
    value as i32
}

impl Emission<'_> {
    /// Moves the words of the epilogue by so many bytes, told by bytes from row to row and whether columns move it.
    pub fn move_words(&mut self, by: impl Fn(i64, bool) -> i64) -> Asm {
        for &(word, row, columns) in &self.words {
            let bytes = by(row, columns);
            if bytes != 0 {
                self.a.add(qword_ptr(TABLE + 8 * word as i32), imm(bytes))?;
            }
        }
        Ok(())
    }

    /// The mask of the last vector.
    pub fn mask(&self) -> Mask {
        match self.machine.isa {
            Isa::Avx2 => Mask::Vector(Vector(self.machine.registers - 1)),
            Isa::Avx512 => Mask::K1,
        }
    }

    pub fn set_mask(&mut self, columns: usize, place: Option<Memory>) -> Asm {
        match (self.mask(), place) {
            (Mask::Vector(mask), Some(place)) => self.a.vmovups(mask.ymm(), place),
            _ => {
                self.a.mov(eax, (1u32 << columns) - 1)?;
                self.a.kmovw(k1, eax)
            }
        }
    }

    /// `body`, `count` times, counted in a register that it keeps.
    pub fn repeat(&mut self, counter: Gpr64, count: usize, body: impl FnOnce(&mut Self) -> Asm) -> Asm {
        if count == 0 {
            return Ok(());
        }
        if count == 1 {
            return body(self);
        }
        self.a.mov(counter.half(), count as u32)?;
        let top = self.a.create_label();
        self.a.set_label(top);
        body(self)?;
        self.a.dec(counter.half())?;
        self.a.jnz(top)
    }

    pub fn advance(&mut self, register: Gpr64, bytes: i64) -> Asm {
        if bytes == 0 { Ok(()) } else { self.a.add(register, imm(bytes)) }
    }

    /// Where a vector of the block's part of C lies.
    pub fn place(&self, row: usize, vector: usize) -> Memory {
        let columns = (vector * self.machine.lanes) as i64;
        rdx + imm((row as i64 * self.tile.c.row + columns) * SIZE)
    }

    pub fn load(&mut self, to: Vector, place: Memory, columns: usize) -> Asm {
        let mask = self.mask();
        partial::load(self.a, to, place, columns, mask)
    }

    pub fn store(&mut self, place: Memory, block: RegisterBlock, row: usize, vector: usize) -> Asm {
        // The row of B is not needed any more.
        let (sum, spare) = (block.sum(row, vector), block.b(0));
        partial::store(self.a, self.machine, place, sum, block.columns(vector), spare)
    }
}
