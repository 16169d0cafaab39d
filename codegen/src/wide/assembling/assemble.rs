//! Lane code as machine code: the leaf around it, loops, and what is in them.

use std::ops::Range;

use brolga_ir::scalar::NAN_F32;
use rustc_hash::FxHashMap;

use super::allocate::{Home, Homes};
use super::assembler::{Assembler, Chunk, SAVED, TABLE};
use super::instructions::Asm;
use super::tile;
use crate::wide::types::epilogue::{OtherOperand, SumOp};
use crate::wide::types::lane_code::{Define, Inst, Lane, Lanes};
use crate::wide::types::machine::{Mask, SCRATCH, Vector};
use crate::wide::types::operands::registers::*;
use crate::wide::types::operands::{dword_ptr, qword_ptr};
use crate::wide::types::tile::PlacedTile;
use crate::wide::types::words::Word;

/// The code of `leaf(words)`.
pub(crate) fn assemble(lanes: &Lanes, homes: &Homes, words: &[Word]) -> Asm<Vec<u8>> {
    let (ends, depth) = nesting(lanes);
    let mut asm = Assembler::new(lanes, homes, words, ends);
    // Spilled vectors, aligned, counters, and the old stack pointer.
    let old = asm.spilled + 8 * depth as i32;
    asm.enter(old)?;
    asm.constants()?;
    asm.run(0..lanes.insts.len())?;
    asm.leave(old)?;
    Ok(asm.finish())
}

/// Where loops and strips end, and how deep loops are nested.
fn nesting(lanes: &Lanes) -> (FxHashMap<usize, usize>, usize) {
    let (mut open, mut ends, mut depth) = (Vec::new(), FxHashMap::default(), 0);
    for (at, inst) in lanes.insts.iter().enumerate() {
        match inst {
            Inst::Loop(_) | Inst::Strip(_) => open.push(at),
            Inst::End => {
                ends.insert(open.pop().expect("loops are nested"), at);
            }
            _ => {}
        }
        depth = depth.max(open.len());
    }
    (ends, depth)
}

impl Assembler<'_> {
    /// Keeps the caller's registers, and makes room on the stack: `old` is where the old stack pointer goes.
    fn enter(&mut self, old: i32) -> Asm {
        for register in SAVED {
            self.a.push(register)?;
        }
        self.a.mov(TABLE, rdi)?;
        if old > 0 {
            self.a.mov(rax, rsp)?;
            self.a.sub(rsp, old + 8)?;
            self.a.and(rsp, -self.machine.bytes())?;
            self.a.mov(qword_ptr(rsp + old), rax)?;
        }
        Ok(())
    }

    /// Gives back what `enter` has taken, and returns.
    fn leave(&mut self, old: i32) -> Asm {
        self.a.vzeroupper()?;
        if old > 0 {
            self.a.mov(rsp, qword_ptr(rsp + old))?;
        }
        for register in SAVED.into_iter().rev() {
            self.a.pop(register)?;
        }
        self.a.ret()
    }

    /// Runs instructions with all that lies inside of them.
    pub fn run(&mut self, range: Range<usize>) -> Asm {
        let mut at = range.start;
        while at < range.end {
            let next = self.ends.get(&at).map_or(at + 1, |end| end + 1);
            match self.lanes.insts[at] {
                Inst::Loop(number) => {
                    self.with_registers(at..next, true, |s| s.counted(number, at + 1..next - 1))?
                }
                Inst::Strip(extent) => {
                    self.with_registers(at..next, false, |s| s.strip(extent, at + 1..next - 1))?
                }
                Inst::Define(lane, define) => self.define(lane, define)?,
                Inst::LoadColumns { place, to } => self.load_columns(place, to)?,
                Inst::StoreColumns { place, from } => self.store_columns(place, from)?,
                Inst::Assign(to, from) => self.assign(to, from)?,
                Inst::Store(place, value) => self.store(place, value)?,
                Inst::StoreSums(word, part, value) => {
                    let value = self.register(value, 0)?;
                    let base = self.word(word)?;
                    let place = base + self.machine.bytes() * part as i32;
                    self.a.vmovups(place, self.v(value))?;
                }
                Inst::Point { to, from, by, size } => self.point(to, from, by, size)?,
                Inst::Tile(number) => self.tile(number)?,
                Inst::End => unreachable!("ends are left out"),
            }
            at = next;
        }
        Ok(())
    }

    /// A serial loop.
    fn counted(&mut self, number: usize, range: Range<usize>) -> Asm {
        let extent = self.lanes.loops[number];
        let innermost = !self.lanes.insts[range.clone()].iter().any(|inst| matches!(inst, Inst::Loop(_)));
        let counter = dword_ptr(rsp + (self.spilled + 8 * self.counters as i32));
        if innermost {
            self.a.mov(r15d, extent as u32)?;
        } else {
            self.a.mov(counter, extent as u32)?;
            self.counters += 1;
        }
        let top = self.a.create_label();
        self.a.set_label(top);
        let outside = std::mem::take(&mut self.ahead);
        self.run(range)?;
        // The stride of this loop, less what loops inside have moved.
        let mut moved = Vec::new();
        for (at, word) in self.words.iter().enumerate() {
            if let Some(&(_, by)) = word.strides.iter().find(|stride| stride.0 == number) {
                *self.ahead.entry(at).or_default() -= by;
                moved.push((at, by));
            }
        }
        self.settle()?;
        self.ahead = outside;
        for (word, by) in moved {
            *self.ahead.entry(word).or_default() += by * extent as i64;
        }
        if innermost {
            self.a.dec(r15d)?;
        } else {
            self.a.dec(counter)?;
            self.counters -= 1;
        }
        self.a.jnz(top)
    }

    fn assign(&mut self, to: Lane, from: Lane) -> Asm {
        let value = self.register(from, 0)?;
        // The lanes of an accumulator that the chunk has no iterations for stay as they are.
        if self.masked() && self.lanes.sums.contains_key(&to) {
            let old = self.register(to, 1)?;
            match self.machine.tail() {
                Mask::Vector(tail) => {
                    let new = SCRATCH[2];
                    self.a.vblendvps(new.ymm(), old.ymm(), value.ymm(), tail.ymm())?;
                    return self.put(to, new);
                }
                _ => self.a.vmovaps(old.zmm().k1(), value.zmm())?,
            }
            return self.put(to, old);
        }
        self.put(to, value)
    }

    fn define(&mut self, lane: Lane, define: Define) -> Asm {
        if matches!(self.home(lane), Home::Constant | Home::Nowhere) {
            return Ok(());
        }
        let to = self.target(lane);
        match define {
            Define::Constant(_) | Define::Ramp(_) => {}
            Define::Uniform(word) => {
                let place = dword_ptr(TABLE + 8 * word as i32);
                self.a.vbroadcastss(self.v(to), place)?;
            }
            Define::First => self.first(to)?,
            Define::Unary(op, a) => self.unary(op, to, a)?,
            Define::Binary(op, a, b) => {
                let a = self.register(a, 0)?;
                let b = self.operand(b);
                self.binary(op, to, a, b)?;
            }
            Define::Fma(a, b, c) => self.fma(to, a, b, c)?,
            Define::Select(mask, a, b) => self.select(to, mask, a, b)?,
            Define::Load(place, guard) => self.load(to, place, guard)?,
            Define::LoadSums(word, part) => {
                let base = self.word(word)?;
                let place = base + self.machine.bytes() * part as i32;
                self.a.vmovups(self.v(to), place)?;
            }
        }
        self.put(lane, to)
    }

    /// The number of the first iteration in all lanes.
    fn first(&mut self, to: Vector) -> Asm {
        let Chunk { first, in_loop, .. } = self.chunk.expect("in a strip");
        if !in_loop {
            let entry = self.constant(first as u32);
            return self.load_to(to, self.pool_operand(entry));
        }
        self.a.lea(edx, dword_ptr(rcx + first as i32))?;
        self.a.vmovd(SCRATCH[0].xmm(), edx)?;
        self.a.vpbroadcastd(self.v(to), SCRATCH[0].xmm())
    }

    fn point(&mut self, to: usize, from: usize, by: Lane, size: usize) -> Asm {
        let by = self.register(by, 0)?;
        let from = self.word(from)?;
        self.a.vmovd(edx, by.xmm())?;
        self.a.movsxd(rdx, edx)?;
        let sum = match size {
            1 => from + rdx,
            2 => from + rdx * 2,
            _ => from + rdx * 4,
        };
        match self.register_of(to) {
            Some(register) => self.a.lea(register, qword_ptr(sum)),
            None => {
                self.a.lea(rax, qword_ptr(sum))?;
                self.a.mov(self.in_table(to), rax)
            }
        }
    }

    fn tile(&mut self, number: usize) -> Asm {
        let PlacedTile { tile, stored, panels, epilogue } = &self.lanes.tiles[number];
        for (&(word, offset), register) in panels.iter().zip([rdi, rsi, rdx]) {
            self.a.mov(register, self.in_table(word))?;
            if offset != 0 {
                self.a.add(register, offset)?;
            }
        }
        let mask = tile::mask(self.machine, tile).map(|mask| self.pooled(mask));
        let epilogue = epilogue.as_ref().map(|ops| {
            let constants = ops.iter().filter_map(|op| match op {
                SumOp::Binary { operand: OtherOperand::Constant(bits), .. } => Some(*bits),
                SumOp::OneNan => Some(NAN_F32),
                _ => None,
            });
            let constants = constants.map(|bits| self.pooled(vec![bits; self.machine.lanes])).collect();
            tile::Epilogue { ops, constants }
        });
        tile::emit(&mut self.a, self.machine, (tile, *stored), mask, epilogue)
    }
}
