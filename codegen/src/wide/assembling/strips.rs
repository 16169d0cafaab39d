//! Strips as machine code.
//!
//! A strip of few iterations is written out; else it is a loop of one to four chunks, each as many iterations as a vector
//! has lanes. The iterations that are left run masked.

use std::ops::Range;

use super::assembler::{Assembler, Chunk};
use super::instructions::Asm;
use crate::limits::{IN_LOOP, LOOP_CHUNKS, MOST_CHUNKS, WRITTEN_OUT};
use crate::wide::types::lane_code::{Define, Inst};
use crate::wide::types::machine::Mask;
use crate::wide::types::operands::registers::*;

impl Assembler<'_> {
    pub fn strip(&mut self, extent: usize, range: Range<usize>) -> Asm {
        let outside = std::mem::take(&mut self.ahead);
        let width = self.machine.lanes;
        let (full, rest) = (extent / width, extent % width);
        let together = self.together(full, &range);
        let rounds = full.checked_div(together).unwrap_or(0);
        if rounds > 1 {
            self.a.xor(ecx, ecx)?;
            let top = self.a.create_label();
            self.a.set_label(top);
            for chunk in 0..together {
                self.run_chunk(&range, Chunk { first: width * chunk, in_loop: true, count: width })?;
            }
            self.a.add(ecx, (together * width) as i32)?;
            self.a.cmp(ecx, (rounds * together * width) as i32)?;
            self.a.jb(top)?;
        }
        let done = if rounds > 1 { rounds * together } else { 0 };
        for chunk in done..full {
            self.run_chunk(&range, Chunk { first: width * chunk, in_loop: false, count: width })?;
        }
        if rest > 0 {
            self.set_tail(rest)?;
            self.run_chunk(&range, Chunk { first: width * full, in_loop: false, count: rest })?;
        }
        self.ahead = outside;
        Ok(())
    }

    /// How many chunks, of `full` ones, stand one behind the other: all of them, or those of a loop's round.
    fn together(&self, full: usize, range: &Range<usize>) -> usize {
        let insts = &self.lanes.insts[range.clone()];
        let each = insts.iter().map(|inst| self.instructions(inst)).sum::<usize>().max(1);
        let chunks = match full {
            _ if full <= MOST_CHUNKS && full * each <= WRITTEN_OUT => full,
            _ if each * LOOP_CHUNKS <= IN_LOOP => LOOP_CHUNKS,
            _ if each * 2 <= IN_LOOP => 2,
            _ => 1,
        };
        let sums =
            insts.iter().any(|inst| matches!(inst, Inst::Assign(to, _) if self.lanes.sums.contains_key(to)));
        match sums && chunks != full {
            // The parts of an accumulator take turns.
            true => chunks.max(self.machine.parts()),
            false => chunks,
        }
    }

    /// About how many instructions it takes.
    fn instructions(&self, inst: &Inst) -> usize {
        match inst {
            Inst::Define(_, Define::Constant(_) | Define::Ramp(_)) => 0,
            Inst::Define(_, Define::Load(place, None)) | Inst::Store(place, _) if place.is_strided() => {
                self.machine.lanes
            }
            Inst::LoadColumns { .. } | Inst::StoreColumns { .. } => 2 * self.machine.lanes,
            _ => 1,
        }
    }

    fn run_chunk(&mut self, range: &Range<usize>, chunk: Chunk) -> Asm {
        self.chunk = Some(chunk);
        self.run(range.clone())?;
        self.chunk = None;
        self.settle()
    }

    /// Has the mask of the last chunk tell its iterations.
    fn set_tail(&mut self, rest: usize) -> Asm {
        match self.machine.tail() {
            Mask::Vector(tail) => {
                let lanes = 0..self.machine.lanes;
                let mask = self.pooled(lanes.map(|i| if i < rest { u32::MAX } else { 0 }).collect());
                self.a.vmovups(tail.ymm(), mask)
            }
            _ => {
                self.a.mov(eax, (1u32 << rest) - 1)?;
                self.a.kmovw(k1, eax)
            }
        }
    }
}
