//! Lane code as machine code: loops, strips, registers.
//!
//! A strip of few iterations is written out; else it is a loop of one to four steps of as many iterations as a vector
//! has lanes. The iterations that are left run masked.
//!
//! Words of the table that hold addresses are in registers through a *region*: the outermost loop whose addresses
//! all find a register, or else a strip. Elsewhere they are used and moved in memory.
//!
//! Registers: `r14` the table of words, `rcx` the first iteration of a strip's loop, `rax` and `rdx` addresses, `r15`
//! counts loops that contain no other, the others hold addresses; in tiles they are the tile's. Vectors 13 to 15 pass
//! values through; with AVX2 vector 12 is the mask of the last step of a strip, with AVX-512 `k1` is, and `k2` any other
//! mask. The other vectors hold values.

use std::ops::Range;

use brolga_ir::scalar::NAN_F32;
use rustc_hash::FxHashMap;

use super::allocate::{Home, Homes};
use super::epilogue;
use super::instructions::registers::*;
use super::instructions::{
    self, Asm, Gpr64, Instructions, Label, Memory, Simd, dword_bcst, dword_ptr, qword_ptr,
};
use super::lanes::{Define, Inst, Lane, Lanes, PlacedTile};
use super::machine::{Machine, Mask, SCRATCH, Vector};
use super::nest::Word;
use super::tile;

const SAVED: [Gpr64; 6] = [rbx, rbp, r12, r13, r14, r15];
pub(super) const TABLE: Gpr64 = r14;
pub(super) const POINTERS: [Gpr64; 10] = [rdi, rsi, r8, r9, r10, r11, rbx, rbp, r12, r13];

/// The most steps of a strip that are written out.
const MOST_STEPS: usize = 8;
/// Instructions to which steps are written out where there is no loop then, and where there is one.
const WRITTEN_OUT: usize = 256;
const IN_LOOP: usize = 128;
/// Steps in a strip's loop, at most.
const STEPS: usize = 4;

#[derive(Clone, Copy)]
pub(super) enum Operand {
    Register(Vector),
    Memory(Memory),
    /// 32 bits in memory that are to be in all lanes.
    Everywhere(Label),
}

/// Which iterations of a strip a step runs.
#[derive(Clone, Copy)]
pub(super) struct Step {
    /// The first one; in a loop, added to `rcx`.
    pub first: usize,
    pub in_loop: bool,
    /// How many: as a vector has lanes, unless masked.
    pub count: usize,
}

pub(super) struct Assembler<'l> {
    pub a: Instructions,
    pub machine: Machine,
    pub lanes: &'l Lanes,
    homes: &'l Homes,
    words: &'l [Word],
    /// Where the loop or strip ends that begins at an instruction.
    ends: FxHashMap<usize, usize>,
    /// Words that are in registers; `None` outside of regions.
    pub region: Option<Vec<(usize, Gpr64)>>,
    /// By how much words are ahead of what they are in the first iterations of the loops inside the current one.
    pub ahead: FxHashMap<usize, i64>,
    /// Loops around that have their counter on the stack.
    counters: usize,
    /// Bytes on the stack below the counters.
    spilled: i32,
    /// The current step; `None` outside of strips.
    pub step: Option<Step>,
    /// Vectors, or single lanes of them, behind the code.
    pub pool: Vec<(Vec<u32>, Label)>,
    /// Pool entry of each constant value.
    pub constants: Vec<Option<usize>>,
}

/// The code of `leaf(words)`.
pub(super) fn assemble(lanes: &Lanes, homes: &Homes, words: &[Word]) -> Asm<Vec<u8>> {
    let (ends, depth) = nesting(lanes);
    let machine = lanes.machine;
    let mut asm = Assembler {
        a: machine.instructions(),
        machine,
        lanes,
        homes,
        words,
        ends,
        region: None,
        ahead: FxHashMap::default(),
        counters: 0,
        spilled: machine.bytes() * homes.spills as i32,
        step: None,
        pool: Vec::new(),
        constants: vec![None; lanes.count as usize],
    };
    for register in SAVED {
        asm.a.push(register)?;
    }
    asm.a.mov(TABLE, rdi)?;
    // Spilled vectors, aligned, counters, and the old stack pointer.
    let old = asm.spilled + 8 * depth as i32;
    let frame = old + 8;
    if old > 0 {
        asm.a.mov(rax, rsp)?;
        asm.a.sub(rsp, frame)?;
        asm.a.and(rsp, -machine.bytes())?;
        asm.a.mov(qword_ptr(rsp + old), rax)?;
    }
    asm.constants()?;
    asm.run(0..lanes.insts.len())?;
    asm.a.vzeroupper()?;
    if old > 0 {
        asm.a.mov(rsp, qword_ptr(rsp + old))?;
    }
    for register in SAVED.into_iter().rev() {
        asm.a.pop(register)?;
    }
    asm.a.ret()?;
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
    /// Runs instructions with all that lies inside of them.
    fn run(&mut self, range: Range<usize>) -> Asm {
        let mut at = range.start;
        while at < range.end {
            let next = self.ends.get(&at).map_or(at + 1, |end| end + 1);
            match self.lanes.insts[at] {
                Inst::Loop(number) => self.region(at..next, true, |s| s.counted(number, at + 1..next - 1))?,
                Inst::Strip(extent) => self.region(at..next, false, |s| s.strip(extent, at + 1..next - 1))?,
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
        // The step of this loop, less what loops inside have moved.
        let mut moved = Vec::new();
        for (word, step) in self.words.iter().enumerate() {
            if let Some(&(_, by)) = step.steps.iter().find(|step| step.0 == number) {
                *self.ahead.entry(word).or_default() -= by;
                moved.push((word, by));
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

    fn strip(&mut self, extent: usize, range: Range<usize>) -> Asm {
        let insts = &self.lanes.insts[range.clone()];
        let cost = insts.iter().map(|inst| self.cost(inst)).sum::<usize>().max(1);
        let sums =
            insts.iter().any(|inst| matches!(inst, Inst::Assign(to, _) if self.lanes.sums.contains_key(to)));
        let outside = std::mem::take(&mut self.ahead);
        let width = self.machine.lanes;
        let (full, rest) = (extent / width, extent % width);
        let steps = match full {
            _ if full <= MOST_STEPS && full * cost <= WRITTEN_OUT => full,
            _ if cost * STEPS <= IN_LOOP => STEPS,
            _ if cost * 2 <= IN_LOOP => 2,
            _ => 1,
        };
        // The parts of an accumulator take turns.
        let in_loop = if sums { steps.max(self.machine.parts()) } else { steps };
        let steps = if steps == full { full } else { in_loop };
        let rounds = full.checked_div(steps).unwrap_or(0);
        if rounds > 1 {
            self.a.xor(ecx, ecx)?;
            let top = self.a.create_label();
            self.a.set_label(top);
            for step in 0..steps {
                self.step(&range, Step { first: width * step, in_loop: true, count: width })?;
            }
            self.a.add(ecx, (steps * width) as i32)?;
            self.a.cmp(ecx, (rounds * steps * width) as i32)?;
            self.a.jb(top)?;
        }
        let done = if rounds > 1 { rounds * steps } else { 0 };
        for step in done..full {
            self.step(&range, Step { first: width * step, in_loop: false, count: width })?;
        }
        if rest > 0 {
            match self.machine.tail() {
                Mask::Vector(tail) => {
                    let mask = self.pooled((0..width).map(|i| if i < rest { u32::MAX } else { 0 }).collect());
                    self.a.vmovups(tail.ymm(), mask)?;
                }
                _ => {
                    self.a.mov(eax, (1u32 << rest) - 1)?;
                    self.a.kmovw(k1, eax)?;
                }
            }
            self.step(&range, Step { first: width * full, in_loop: false, count: rest })?;
        }
        self.ahead = outside;
        Ok(())
    }

    /// About how many instructions it takes.
    fn cost(&self, inst: &Inst) -> usize {
        match inst {
            Inst::Define(_, Define::Constant(_) | Define::Steps(_)) => 0,
            Inst::Define(_, Define::Load(place, None)) | Inst::Store(place, _) if place.is_strided() => {
                self.machine.lanes
            }
            Inst::LoadColumns { .. } | Inst::StoreColumns { .. } => 2 * self.machine.lanes,
            _ => 1,
        }
    }

    fn step(&mut self, range: &Range<usize>, step: Step) -> Asm {
        self.step = Some(step);
        self.run(range.clone())?;
        self.step = None;
        self.settle()
    }

    /// How many lanes count.
    pub fn count(&self) -> usize {
        self.step.map_or(self.machine.lanes, |step| step.count)
    }

    /// Whether only some lanes count.
    pub fn masked(&self) -> bool {
        self.count() < self.machine.lanes
    }

    /// The value that a part of an accumulator is in this step.
    fn actual(&self, lane: Lane) -> Lane {
        match self.lanes.sums.get(&lane) {
            Some(parts) => parts[self.step.map_or(0, |step| step.first / self.machine.lanes % parts.len())],
            None => lane,
        }
    }

    pub fn home(&self, lane: Lane) -> Home {
        self.homes.homes[self.actual(lane).0 as usize]
    }

    fn spill_place(&self, slot: usize) -> Memory {
        rsp + self.machine.bytes() * slot as i32
    }

    pub fn operand(&self, lane: Lane) -> Operand {
        match self.home(lane) {
            Home::Register(number) => Operand::Register(self.machine.value(number)),
            Home::Spilled(slot) => Operand::Memory(self.spill_place(slot)),
            Home::Constant => {
                self.pool_operand(self.constants[lane.0 as usize].expect("every constant has a place"))
            }
            Home::Nowhere => unreachable!("an operand is used"),
        }
    }

    /// The value in a register: its own, or that scratch register.
    pub fn register(&mut self, lane: Lane, scratch: usize) -> Asm<Vector> {
        self.load_operand(self.operand(lane), scratch)
    }

    /// The whole register.
    pub fn v(&self, vector: Vector) -> Simd {
        vector.of(self.machine.lanes)
    }

    /// The operand as that of an instruction on whole registers.
    pub fn whole(&self, operand: Operand) -> instructions::Operand {
        match operand {
            Operand::Register(vector) => self.v(vector).into(),
            Operand::Memory(place) => place.into(),
            Operand::Everywhere(label) => dword_bcst(label).into(),
        }
    }

    /// The operand in a register: its own, or that scratch register.
    pub fn load_operand(&mut self, operand: Operand, scratch: usize) -> Asm<Vector> {
        if let Operand::Register(register) = operand {
            return Ok(register);
        }
        self.load_to(SCRATCH[scratch], operand)?;
        Ok(SCRATCH[scratch])
    }

    /// Moves an operand to a register.
    pub fn load_to(&mut self, to: Vector, operand: Operand) -> Asm {
        match operand {
            Operand::Register(from) => self.a.vmovaps(self.v(to), self.v(from)),
            Operand::Memory(place) => self.a.vmovups(self.v(to), place),
            Operand::Everywhere(label) => self.a.vbroadcastss(self.v(to), dword_ptr(label)),
        }
    }

    /// The register of a value that has one.
    pub fn own(&self, lane: Lane) -> Vector {
        match self.home(lane) {
            Home::Register(number) => self.machine.value(number),
            home => unreachable!("a value that is only copied has a register, not {home:?}"),
        }
    }

    /// Where a value is computed: its register, or the last scratch register on the way to the stack.
    fn target(&self, lane: Lane) -> Vector {
        match self.home(lane) {
            Home::Register(number) => self.machine.value(number),
            _ => SCRATCH[2],
        }
    }

    /// Moves a value to its home.
    fn put(&mut self, lane: Lane, value: Vector) -> Asm {
        match self.home(lane) {
            Home::Register(number) if self.machine.value(number) == value => Ok(()),
            Home::Register(number) => self.load_to(self.machine.value(number), Operand::Register(value)),
            Home::Spilled(slot) => {
                let place = self.spill_place(slot);
                self.a.vmovups(place, self.v(value))
            }
            Home::Constant | Home::Nowhere => Ok(()),
        }
    }

    fn assign(&mut self, to: Lane, from: Lane) -> Asm {
        let value = self.register(from, 0)?;
        // The lanes of an accumulator that the step has no iterations for stay as they are.
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
            Define::Constant(_) | Define::Steps(_) => {}
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
        let Step { first, in_loop, .. } = self.step.expect("in a strip");
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
        match self.in_region(to) {
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
        let epilogue = epilogue.as_ref().map(|steps| {
            let constants = steps.iter().filter_map(|step| match step {
                epilogue::Step::Binary { operand: epilogue::Operand::Constant(bits), .. } => Some(*bits),
                epilogue::Step::OneNan => Some(NAN_F32),
                _ => None,
            });
            let constants = constants.map(|bits| self.pooled(vec![bits; self.machine.lanes])).collect();
            tile::Epilogue { steps, constants }
        });
        tile::emit(&mut self.a, self.machine, (tile, *stored), mask, epilogue)
    }
}
