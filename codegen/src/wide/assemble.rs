//! Lane code as machine code: loops, strips, registers.
//!
//! A strip of few iterations is written out; else it is a loop of one to four steps of eight iterations. The
//! iterations that are left run masked.
//!
//! Words of the table that hold addresses are in registers through a *region*: the outermost loop whose addresses
//! all find a register, or else a strip. Elsewhere they are used and moved in memory.
//!
//! Registers: `r14` the table of words, `rcx` the first iteration of a strip's loop, `rax` and `rdx` addresses, `r15`
//! counts loops that contain no other, the others hold addresses; in tiles they are the tile's. `ymm0`-`ymm11`
//! hold values, `ymm12` the mask of the last step of a strip, `ymm13`-`ymm15` pass values through.

use std::collections::HashMap;
use std::ops::Range;

use iced_x86::IcedError;
use iced_x86::code_asm::{registers::*, *};

use super::allocate::{ALLOCATABLE, Home, Homes};
use super::lanes::{Define, Inst, Lane, Lanes, PlacedTile};
use super::nest::{WIDTH, Word};
use super::tile;

const SAVED: [AsmRegister64; 6] = [rbx, rbp, r12, r13, r14, r15];
const TABLE: AsmRegister64 = r14;
const POINTERS: [AsmRegister64; 10] = [rdi, rsi, r8, r9, r10, r11, rbx, rbp, r12, r13];
const YMM: [AsmRegisterYmm; ALLOCATABLE] =
    [ymm0, ymm1, ymm2, ymm3, ymm4, ymm5, ymm6, ymm7, ymm8, ymm9, ymm10, ymm11];
pub(super) const MASK: AsmRegisterYmm = ymm12;
pub(super) const SCRATCH: [AsmRegisterYmm; 3] = [ymm13, ymm14, ymm15];

/// The most steps of a strip that are written out.
const MOST_STEPS: usize = 8;
/// Instructions to which steps are written out where there is no loop then, and where there is one.
const WRITTEN_OUT: usize = 256;
const IN_LOOP: usize = 128;
/// Steps in a strip's loop, at most; those that the lanes of an accumulator take turns in.
const STEPS: usize = 4;

pub(super) type Asm<T = ()> = Result<T, IcedError>;

#[derive(Clone, Copy)]
pub(super) enum Operand {
    Register(AsmRegisterYmm),
    Memory(AsmMemoryOperand),
}

/// Which iterations of a strip a step runs.
#[derive(Clone, Copy)]
pub(super) struct Step {
    /// The first one; in a loop, added to `rcx`.
    pub first: usize,
    pub in_loop: bool,
    /// How many: eight, unless masked.
    pub count: usize,
}

pub(super) struct Assembler<'l> {
    pub a: CodeAssembler,
    lanes: &'l Lanes,
    homes: &'l Homes,
    words: &'l [Word],
    /// Where the loop or strip ends that begins at an instruction.
    ends: HashMap<usize, usize>,
    /// Words that are in registers; `None` outside of regions.
    region: Option<Vec<(usize, AsmRegister64)>>,
    /// By how much words are ahead of what they are in the first iterations of the loops inside the current one.
    ahead: HashMap<usize, i64>,
    /// Loops around that have their counter on the stack.
    counters: usize,
    /// Bytes on the stack below the counters.
    spilled: i32,
    /// The current step; `None` outside of strips.
    pub step: Option<Step>,
    /// Vectors behind the code.
    pool: Vec<([u32; WIDTH], CodeLabel)>,
    /// Pool entry of each constant value.
    constants: Vec<Option<usize>>,
}

/// The code of `leaf(words)`.
pub(super) fn assemble(lanes: &Lanes, homes: &Homes, words: &[Word]) -> Asm<Vec<u8>> {
    let (ends, depth) = nesting(lanes);
    let mut asm = Assembler {
        a: CodeAssembler::new(64)?,
        lanes,
        homes,
        words,
        ends,
        region: None,
        ahead: HashMap::new(),
        counters: 0,
        spilled: 32 * homes.spills as i32,
        step: None,
        pool: Vec::new(),
        constants: vec![None; lanes.count as usize],
    };
    for register in SAVED {
        asm.a.push(register)?;
    }
    asm.a.mov(TABLE, rdi)?;
    // Spilled vectors in whole cache lines' halves, counters, and the old stack pointer.
    let old = asm.spilled + 8 * depth as i32;
    let frame = old + 8;
    if old > 0 {
        asm.a.mov(rax, rsp)?;
        asm.a.sub(rsp, frame)?;
        asm.a.and(rsp, -32)?;
        asm.a.mov(qword_ptr(rsp + old), rax)?;
    }
    asm.constants();
    asm.run(0..lanes.insts.len())?;
    asm.a.vzeroupper()?;
    if old > 0 {
        asm.a.mov(rsp, qword_ptr(rsp + old))?;
    }
    for register in SAVED.into_iter().rev() {
        asm.a.pop(register)?;
    }
    asm.a.ret()?;
    for (vector, mut label) in std::mem::take(&mut asm.pool) {
        asm.a.set_label(&mut label)?;
        asm.a.dd(&vector)?;
    }
    asm.a.assemble(0)
}

/// Where loops and strips end, and how deep loops are nested.
fn nesting(lanes: &Lanes) -> (HashMap<usize, usize>, usize) {
    let (mut open, mut ends, mut depth) = (Vec::new(), HashMap::new(), 0);
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
    /// The place of a vector behind the code.
    pub fn pooled(&mut self, vector: [u32; WIDTH]) -> AsmMemoryOperand {
        let entry = self.pool_entry(vector);
        ymmword_ptr(self.pool[entry].1)
    }

    fn pool_entry(&mut self, vector: [u32; WIDTH]) -> usize {
        self.pool.iter().position(|entry| entry.0 == vector).unwrap_or_else(|| {
            let label = self.a.create_label();
            self.pool.push((vector, label));
            self.pool.len() - 1
        })
    }

    /// Places behind the code for all constants.
    fn constants(&mut self) {
        for inst in &self.lanes.insts {
            let (lane, vector) = match *inst {
                Inst::Define(lane, Define::Constant(bits)) => (lane, [bits; WIDTH]),
                Inst::Define(lane, Define::Steps(step)) => {
                    (lane, std::array::from_fn(|i| (i as i32).wrapping_mul(step) as u32))
                }
                _ => continue,
            };
            self.constants[lane.0 as usize] = Some(self.pool_entry(vector));
        }
    }

    /// Runs instructions with all that lies inside of them.
    fn run(&mut self, range: Range<usize>) -> Asm {
        let mut at = range.start;
        while at < range.end {
            let next = self.ends.get(&at).map_or(at + 1, |end| end + 1);
            match self.lanes.insts[at] {
                Inst::Loop(number) => self.region(at..next, true, |s| s.counted(number, at + 1..next - 1))?,
                Inst::Strip(extent) => self.region(at..next, false, |s| s.strip(extent, at + 1..next - 1))?,
                Inst::Define(lane, define) => self.define(lane, define)?,
                Inst::Assign(to, from) => self.assign(to, from)?,
                Inst::Store(place, value) => self.store(place, value)?,
                Inst::StoreSums(word, part, value) => {
                    let value = self.register(value, 0)?;
                    let base = self.word(word)?;
                    self.a.vmovups(ymmword_ptr(base + 32 * part as i32), value)?;
                }
                Inst::Point { to, from, by, size } => self.point(to, from, by, size)?,
                Inst::Tile(number) => self.tile(number)?,
                Inst::End => unreachable!("ends are left out"),
            }
            at = next;
        }
        Ok(())
    }

    /// Runs `body` with the words that the instructions use in registers; if `all`, only if they all find one.
    fn region(&mut self, range: Range<usize>, all: bool, body: impl FnOnce(&mut Self) -> Asm) -> Asm {
        if self.region.is_some() {
            return body(self);
        }
        let mut uses: Vec<(usize, usize)> = Vec::new();
        let mut count = |word: usize| match uses.iter_mut().find(|entry| entry.0 == word) {
            Some(entry) => entry.1 += 1,
            None => uses.push((word, 1)),
        };
        let mut tiles = false;
        for inst in &self.lanes.insts[range] {
            match *inst {
                Inst::Define(_, Define::Load(place, _)) | Inst::Store(place, _) => count(place.word),
                Inst::Point { to, from, .. } => {
                    count(to);
                    count(from);
                }
                Inst::Tile(_) => tiles = true,
                _ => {}
            }
        }
        if all && (tiles || uses.len() > POINTERS.len()) {
            return body(self);
        }
        // Those used most; equal ones in the order of use.
        uses.sort_by_key(|entry| std::cmp::Reverse(entry.1));
        let registers: Vec<(usize, AsmRegister64)> = uses.iter().map(|entry| entry.0).zip(POINTERS).collect();
        for &(word, register) in &registers {
            self.a.mov(register, self.in_table(word))?;
        }
        self.region = Some(registers.clone());
        body(self)?;
        self.region = None;
        // The table has what was there before.
        for (word, _) in registers {
            self.ahead.remove(&word);
        }
        Ok(())
    }

    fn in_table(&self, word: usize) -> AsmMemoryOperand {
        qword_ptr(TABLE + 8 * word as i32)
    }

    fn in_region(&self, word: usize) -> Option<AsmRegister64> {
        let region = self.region.as_ref()?;
        region.iter().find(|entry| entry.0 == word).map(|entry| entry.1)
    }

    /// A word in a register: its own, or `rax`.
    pub fn word(&mut self, word: usize) -> Asm<AsmRegister64> {
        if let Some(register) = self.in_region(word) {
            return Ok(register);
        }
        self.a.mov(rax, self.in_table(word))?;
        Ok(rax)
    }

    fn advance(&mut self, word: usize, by: i64) -> Asm {
        match (self.in_region(word), i32::try_from(by)) {
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
    fn settle(&mut self) -> Asm {
        let mut ahead: Vec<(usize, i64)> = self.ahead.drain().collect();
        ahead.sort_unstable();
        ahead.into_iter().try_for_each(|(word, by)| self.advance(word, -by))
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
        let mut top = self.a.create_label();
        self.a.set_label(&mut top)?;
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
        let constant =
            |inst: &&Inst| !matches!(inst, Inst::Define(_, Define::Constant(_) | Define::Steps(_)));
        let cost = insts.iter().filter(constant).count().max(1);
        let sums =
            insts.iter().any(|inst| matches!(inst, Inst::Assign(to, _) if self.lanes.sums.contains_key(to)));
        let outside = std::mem::take(&mut self.ahead);
        let (full, rest) = (extent / WIDTH, extent % WIDTH);
        let steps = match full {
            _ if full <= MOST_STEPS && full * cost <= WRITTEN_OUT => full,
            _ if sums || cost * STEPS <= IN_LOOP => STEPS,
            _ if cost * 2 <= IN_LOOP => 2,
            _ => 1,
        };
        let rounds = full.checked_div(steps).unwrap_or(0);
        if rounds > 1 {
            self.a.xor(ecx, ecx)?;
            let mut top = self.a.create_label();
            self.a.set_label(&mut top)?;
            for step in 0..steps {
                self.step(&range, Step { first: WIDTH * step, in_loop: true, count: WIDTH })?;
            }
            self.a.add(ecx, (steps * WIDTH) as i32)?;
            self.a.cmp(ecx, (rounds * steps * WIDTH) as i32)?;
            self.a.jb(top)?;
        }
        let done = if rounds > 1 { rounds * steps } else { 0 };
        for step in done..full {
            self.step(&range, Step { first: WIDTH * step, in_loop: false, count: WIDTH })?;
        }
        if rest > 0 {
            let mask = self.pooled(std::array::from_fn(|lane| if lane < rest { u32::MAX } else { 0 }));
            self.a.vmovups(MASK, mask)?;
            self.step(&range, Step { first: WIDTH * full, in_loop: false, count: rest })?;
        }
        self.ahead = outside;
        Ok(())
    }

    fn step(&mut self, range: &Range<usize>, step: Step) -> Asm {
        self.step = Some(step);
        self.run(range.clone())?;
        self.step = None;
        self.settle()
    }

    /// Whether only some lanes count.
    pub fn masked(&self) -> bool {
        self.step.is_some_and(|step| step.count < WIDTH)
    }

    /// The value that one of an accumulator's four is in this step.
    fn actual(&self, lane: Lane) -> Lane {
        match self.lanes.sums.get(&lane) {
            Some(parts) => parts[self.step.map_or(0, |step| step.first / WIDTH % STEPS)],
            None => lane,
        }
    }

    fn home(&self, lane: Lane) -> Home {
        self.homes.homes[self.actual(lane).0 as usize]
    }

    fn spill_place(&self, slot: usize) -> AsmMemoryOperand {
        ymmword_ptr(rsp + 32 * slot as i32)
    }

    pub fn operand(&self, lane: Lane) -> Operand {
        match self.home(lane) {
            Home::Register(register) => Operand::Register(YMM[register]),
            Home::Spilled(slot) => Operand::Memory(self.spill_place(slot)),
            Home::Constant => {
                let entry = self.constants[lane.0 as usize].expect("every constant has a place");
                Operand::Memory(ymmword_ptr(self.pool[entry].1))
            }
            Home::Nowhere => unreachable!("an operand is used"),
        }
    }

    /// The value in a register: its own, or that scratch register.
    pub fn register(&mut self, lane: Lane, scratch: usize) -> Asm<AsmRegisterYmm> {
        match self.operand(lane) {
            Operand::Register(register) => Ok(register),
            Operand::Memory(place) => {
                self.a.vmovups(SCRATCH[scratch], place)?;
                Ok(SCRATCH[scratch])
            }
        }
    }

    /// Where a value is computed: its register, or the last scratch register on the way to the stack.
    fn target(&self, lane: Lane) -> AsmRegisterYmm {
        match self.home(lane) {
            Home::Register(register) => YMM[register],
            _ => SCRATCH[2],
        }
    }

    /// Moves a value to its home.
    fn put(&mut self, lane: Lane, value: AsmRegisterYmm) -> Asm {
        match self.home(lane) {
            Home::Register(register) if YMM[register] == value => Ok(()),
            Home::Register(register) => self.a.vmovaps(YMM[register], value),
            Home::Spilled(slot) => self.a.vmovups(self.spill_place(slot), value),
            Home::Constant | Home::Nowhere => Ok(()),
        }
    }

    fn assign(&mut self, to: Lane, from: Lane) -> Asm {
        let value = self.register(from, 0)?;
        // The lanes of an accumulator that the step has no iterations for stay as they are.
        if self.masked() && self.lanes.sums.contains_key(&to) {
            let old = self.register(to, 1)?;
            self.a.vblendvps(SCRATCH[2], old, value, MASK)?;
            return self.put(to, SCRATCH[2]);
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
            Define::Uniform(word) => self.a.vbroadcastss(to, dword_ptr(TABLE + 8 * word as i32))?,
            Define::First => self.first(to)?,
            Define::Unary(op, a) => self.unary(op, to, a)?,
            Define::Binary(op, a, b) => {
                let a = self.register(a, 0)?;
                let b = self.operand(b);
                self.binary(op, to, a, b)?;
            }
            Define::Fma(a, b, c) => self.fma(to, a, b, c)?,
            Define::Select(mask, a, b) => {
                let mask = self.register(mask, 0)?;
                let b = self.register(b, 1)?;
                match self.operand(a) {
                    Operand::Register(a) => self.a.vblendvps(to, b, a, mask)?,
                    Operand::Memory(a) => self.a.vblendvps(to, b, a, mask)?,
                }
            }
            Define::Load(place, guard) => self.load(to, place, guard)?,
            Define::LoadSums(word, part) => {
                let base = self.word(word)?;
                self.a.vmovups(to, ymmword_ptr(base + 32 * part as i32))?;
            }
        }
        self.put(lane, to)
    }

    /// The number of the first iteration in all lanes.
    fn first(&mut self, to: AsmRegisterYmm) -> Asm {
        let Step { first, in_loop, .. } = self.step.expect("in a strip");
        if !in_loop {
            let place = self.pooled([first as u32; WIDTH]);
            return self.a.vmovups(to, place);
        }
        self.a.lea(edx, dword_ptr(rcx + first as i32))?;
        self.a.vmovd(xmm13, edx)?;
        self.a.vpbroadcastd(to, xmm13)
    }

    fn point(&mut self, to: usize, from: usize, by: Lane, size: usize) -> Asm {
        let by = self.register(by, 0)?;
        let from = self.word(from)?;
        self.a.vmovd(edx, super::operate::low(by))?;
        self.a.movsxd(rdx, edx)?;
        let sum = if size == 1 { from + rdx } else { from + rdx * 4 };
        match self.in_region(to) {
            Some(register) => self.a.lea(register, qword_ptr(sum)),
            None => {
                self.a.lea(rax, qword_ptr(sum))?;
                self.a.mov(self.in_table(to), rax)
            }
        }
    }

    fn tile(&mut self, number: usize) -> Asm {
        let PlacedTile { tile, panels } = &self.lanes.tiles[number];
        for (&(word, offset), register) in panels.iter().zip([rdi, rsi, rdx]) {
            self.a.mov(register, self.in_table(word))?;
            if offset != 0 {
                self.a.add(register, offset)?;
            }
        }
        let mask = tile::mask(tile).map(|mask| self.pooled(mask));
        tile::emit(&mut self.a, tile, mask)
    }
}
