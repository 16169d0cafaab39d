//! What a register block ends with: its sums, or what the epilogue makes of them, to memory.

use super::super::assembler::TABLE;
use super::super::instructions::{Asm, Instructions};
use super::super::operate::{FIRST, SECOND, THIRD, choose};
use super::emission::{Emission, Epilogue, imm};
use crate::limits::MOST_WORDS;
use crate::wide::types::blocks::{RegisterBlock, cells};
use crate::wide::types::epilogue::{OtherOperand, Stream, SumOp};
use crate::wide::types::machine::{Isa, Vector};
use crate::wide::types::operands::registers::*;
use crate::wide::types::operands::{Gpr64, Memory, Operand, Simd, dword_ptr, qword_ptr};
use crate::wide::types::operations::{Binary, UNORDERED};
use crate::wide::types::tile::SIZE;

/// Addresses of an epilogue.
const ADDRESSES: [Gpr64; MOST_WORDS] = [r8, r9, rax, rcx, r10, r11, r12];

impl Emission<'_> {
    /// The sums, which no loop changes any more, to C; or what the epilogue makes of them, to where it says.
    pub fn end(&mut self, block: RegisterBlock) -> Asm {
        let Some(Epilogue { ops, constants }) = self.epilogue.take() else {
            return cells(block).try_for_each(|(i, j)| self.store(self.place(i, j), block, i, j));
        };
        for (&(word, ..), address) in self.words.iter().zip(ADDRESSES) {
            self.a.mov(address, qword_ptr(TABLE + 8 * word as i32))?;
        }
        let mut next = constants.iter();
        // The row of B is not needed any more.
        let spare = block.b(0);
        for sum_op in ops {
            match sum_op {
                SumOp::OneNan => {
                    let nan = *next.next().expect("every constant has a place");
                    cells(block).try_for_each(|(i, j)| self.one_nan(block.sum(i, j), spare, nan))?;
                }
                SumOp::StoreSum => {
                    cells(block).try_for_each(|(i, j)| self.store(self.place(i, j), block, i, j))?;
                }
                SumOp::Store(stream) => {
                    cells(block)
                        .try_for_each(|(i, j)| self.store(self.element(stream, i, j), block, i, j))?;
                }
                SumOp::Binary { op, operand: OtherOperand::Constant(_), turned } => {
                    let constant = *next.next().expect("every constant has a place");
                    self.a.vmovups(spare.of(self.machine.lanes), constant)?;
                    cells(block).try_for_each(|(i, j)| self.combine(*op, block, (i, j), *turned))?;
                }
                SumOp::Binary { op, operand: OtherOperand::Stream(stream), turned } => {
                    self.combine_stream(*op, stream, *turned, block)?;
                }
            }
        }
        self.epilogue = Some(Epilogue { ops, constants });
        Ok(())
    }

    /// All sums of a block with the elements of a stream.
    fn combine_stream(&mut self, op: Binary, stream: &Stream, turned: bool, block: RegisterBlock) -> Asm {
        // The row of B is not needed any more.
        let spare = block.b(0);
        // Rows share what does not move with them.
        let shared = stream.row == 0;
        for j in 0..block.vectors {
            for i in 0..block.rows {
                let place = self.element(stream, i, j);
                let columns = block.columns(j);
                if i > 0 && shared {
                    // It is there.
                } else if !stream.columns {
                    self.a.vbroadcastss(spare.of(self.machine.lanes), dword_ptr(place))?;
                } else if columns == self.machine.lanes && !shared && !turned {
                    let sum = block.sum(i, j);
                    let sum = sum.of(self.machine.lanes);
                    binary(self.a, op, sum, sum, place)?;
                    continue;
                } else {
                    // A row's last vector may be the end of memory.
                    self.load(spare, place, columns)?;
                }
                self.combine(op, block, (i, j), turned)?;
            }
        }
        Ok(())
    }

    /// `sum` = the NaN at a place, where it is any. Lanes that are no columns may be anything.
    fn one_nan(&mut self, sum: Vector, spare: Vector, nan: Memory) -> Asm {
        match self.machine.isa {
            Isa::Avx2 => {
                self.a.vcmpps(spare.ymm(), sum.ymm(), sum.ymm(), UNORDERED as u32)?;
                self.a.vblendvps(sum.ymm(), sum.ymm(), nan, spare.ymm())
            }
            Isa::Avx512 => {
                self.a.vcmpps(k2, sum.zmm(), sum.zmm(), UNORDERED as u32)?;
                self.a.vpmovm2d(spare.zmm(), k2)?;
                self.a.vpternlogd(sum.zmm(), spare.zmm(), nan, choose(SECOND, THIRD, FIRST))
            }
        }
    }

    /// `sum = sum op` what lies where the row of B began, or the other way round.
    fn combine(&mut self, op: Binary, block: RegisterBlock, (i, j): (usize, usize), turned: bool) -> Asm {
        let (sum, other) = (block.sum(i, j), block.b(0));
        let (a, b) = if turned { (other, sum) } else { (sum, other) };
        let columns = block.columns(j);
        binary(self.a, op, sum.of(columns), a.of(columns), b.of(columns))
    }

    /// Where the elements of a stream lie that belong to a vector.
    fn element(&self, stream: &Stream, row: usize, vector: usize) -> Memory {
        let number = self.words.iter().position(|word| word.0 == stream.word).expect("all words are listed");
        let column = if stream.columns { (vector * self.machine.lanes) as i64 * SIZE } else { 0 };
        ADDRESSES[number] + (stream.offset + imm(row as i64 * stream.row + column))
    }
}

/// One of the operations that epilogues have.
fn binary(instructions: &mut Instructions, op: Binary, to: Simd, a: Simd, b: impl Into<Operand>) -> Asm {
    match op {
        Binary::Addps => instructions.vaddps(to, a, b),
        Binary::Subps => instructions.vsubps(to, a, b),
        Binary::Mulps => instructions.vmulps(to, a, b),
        Binary::Maxps => instructions.vmaxps(to, a, b),
        Binary::Minps => instructions.vminps(to, a, b),
        _ => unreachable!("an epilogue is made of these"),
    }
}
