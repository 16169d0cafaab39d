//! Words of the table that hold addresses, in registers or in memory.
//!
//! They are in registers through the outermost loop whose addresses all find one, or else through a strip. Elsewhere they are
//! used and moved in the table. Example: a loop over rows around a strip that adds two vectors has three addresses, which stay
//! in `rdi`, `rsi` and `r8` from the first row to the last.

use std::ops::Range;

use super::assembler::{Assembler, POINTERS, TABLE};
use super::instructions::Asm;
use crate::wide::types::lane_code::{Define, Inst};
use crate::wide::types::operands::registers::rax;
use crate::wide::types::operands::{Gpr64, Memory, qword_ptr};

impl Assembler<'_> {
    /// Runs `body` with the words that the instructions use in registers; if `all`, only if they all find one.
    pub fn with_registers(
        &mut self,
        range: Range<usize>,
        all: bool,
        body: impl FnOnce(&mut Self) -> Asm,
    ) -> Asm {
        if self.in_registers.is_some() {
            return body(self);
        }
        let (mut uses, tiles) = self.uses(range);
        if all && (tiles || uses.len() > POINTERS.len()) {
            return body(self);
        }
        // Those used most; equal ones in the order of use.
        uses.sort_by_key(|entry| std::cmp::Reverse(entry.1));
        let registers: Vec<(usize, Gpr64)> = uses.iter().map(|entry| entry.0).zip(POINTERS).collect();
        for &(word, register) in &registers {
            self.a.mov(register, self.in_table(word))?;
        }
        self.in_registers = Some(registers.clone());
        body(self)?;
        self.in_registers = None;
        // The table has what was there before.
        for (word, _) in registers {
            self.ahead.remove(&word);
        }
        Ok(())
    }

    /// The words that instructions use as addresses, with how often, and whether there is a tile among them.
    fn uses(&self, range: Range<usize>) -> (Vec<(usize, usize)>, bool) {
        let mut uses: Vec<(usize, usize)> = Vec::new();
        let mut count = |word: usize| match uses.iter_mut().find(|entry| entry.0 == word) {
            Some(entry) => entry.1 += 1,
            None => uses.push((word, 1)),
        };
        let mut tiles = false;
        for inst in &self.lanes.insts[range] {
            match *inst {
                Inst::Define(_, Define::Load(place, _))
                | Inst::LoadColumns { place, .. }
                | Inst::StoreColumns { place, .. }
                | Inst::Store(place, _) => {
                    count(place.word);
                }
                Inst::Point { to, from, .. } => {
                    count(to);
                    count(from);
                }
                Inst::Tile(_) => tiles = true,
                _ => {}
            }
        }
        (uses, tiles)
    }

    pub fn in_table(&self, word: usize) -> Memory {
        qword_ptr(TABLE + 8 * word as i32)
    }

    pub fn register_of(&self, word: usize) -> Option<Gpr64> {
        let words = self.in_registers.as_ref()?;
        words.iter().find(|entry| entry.0 == word).map(|entry| entry.1)
    }

    /// A word in a register: its own, or `rax`.
    pub fn word(&mut self, word: usize) -> Asm<Gpr64> {
        if let Some(register) = self.register_of(word) {
            return Ok(register);
        }
        self.a.mov(rax, self.in_table(word))?;
        Ok(rax)
    }

    pub fn advance(&mut self, word: usize, by: i64) -> Asm {
        match (self.register_of(word), i32::try_from(by)) {
            (_, Ok(0)) => Ok(()),
            (Some(register), Ok(by)) => self.a.add(register, by),
            (None, Ok(by)) => self.a.add(self.in_table(word), by),
            (register, Err(_)) => {
                self.a.mov(rax, by)?;
                match register {
                    Some(register) => self.a.add(register, rax),
                    None => self.a.add(self.in_table(word), rax),
                }
            }
        }
    }

    /// Puts words back that loops inside have moved.
    pub fn settle(&mut self) -> Asm {
        let mut ahead: Vec<(usize, i64)> = self.ahead.drain().collect();
        ahead.sort_unstable();
        ahead.into_iter().try_for_each(|(word, by)| self.advance(word, -by))
    }
}
