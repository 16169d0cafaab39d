//! What is known while a leaf is assembled, and where values are.
//!
//! Registers: `r14` the table of words, `rcx` the first iteration of a strip's loop, `rax` and `rdx` addresses, `r15`
//! counts loops that contain no other, the others hold addresses; in tiles they are the tile's. Vectors 13 to 15 pass
//! values through; with AVX2 vector 12 is the mask of a strip's last chunk, with AVX-512 `k1` is, and `k2` any other
//! mask. The other vectors hold values.

use rustc_hash::FxHashMap;

use super::allocate::{Home, Homes};
use super::instructions::{Asm, Instructions};
use crate::wide::types::lane_code::{Lane, Lanes};
use crate::wide::types::machine::{Isa, Machine, SCRATCH, Vector};
use crate::wide::types::operands::registers::*;
use crate::wide::types::operands::{Gpr64, Label, Memory, Operand, Simd, dword_bcst, dword_ptr};
use crate::wide::types::words::Word;

/// What the caller wants back.
pub(crate) const SAVED: [Gpr64; 6] = [rbx, rbp, r12, r13, r14, r15];

/// The table of words.
pub(crate) const TABLE: Gpr64 = r14;

/// What words that hold addresses may have.
pub(crate) const POINTERS: [Gpr64; 10] = [rdi, rsi, r8, r9, r10, r11, rbx, rbp, r12, r13];

/// Where a value is, as an instruction can take it.
#[derive(Clone, Copy)]
pub(crate) enum Located {
    Register(Vector),
    Memory(Memory),
    /// 32 bits in memory that are to be in all lanes.
    Everywhere(Label),
}

/// Iterations of a strip that one vector holds: 8 with AVX2, 16 with AVX-512, and fewer at the strip's end.
#[derive(Clone, Copy)]
pub(crate) struct Chunk {
    /// The first one; in a loop, added to `rcx`.
    pub first: usize,
    pub in_loop: bool,
    /// How many: as a vector has lanes, unless masked.
    pub count: usize,
}

/// A leaf that is being assembled.
pub(crate) struct Assembler<'l> {
    pub a: Instructions,
    pub machine: Machine,
    pub lanes: &'l Lanes,
    pub homes: &'l Homes,
    pub words: &'l [Word],
    /// Where the loop or strip ends that begins at an instruction.
    pub ends: FxHashMap<usize, usize>,
    /// Words that are in registers, with these; `None` where none are (`addresses.rs`).
    pub in_registers: Option<Vec<(usize, Gpr64)>>,
    /// By how much words are ahead of what they are in the first iterations of the loops inside the current one.
    pub ahead: FxHashMap<usize, i64>,
    /// Loops around that have their counter on the stack.
    pub counters: usize,
    /// Bytes on the stack below the counters.
    pub spilled: i32,
    /// The current chunk; `None` outside of strips.
    pub chunk: Option<Chunk>,
    /// Vectors, or single lanes of them, behind the code.
    pub pool: Vec<(Vec<u32>, Label)>,
    /// Pool entry of each constant value.
    pub constants: Vec<Option<usize>>,
}

impl<'l> Assembler<'l> {
    /// `ends`: where the loops and strips end that begin at instructions.
    pub fn new(
        lanes: &'l Lanes,
        homes: &'l Homes,
        words: &'l [Word],
        ends: FxHashMap<usize, usize>,
    ) -> Assembler<'l> {
        let machine = lanes.machine;
        Assembler {
            a: Instructions::new(machine.isa == Isa::Avx512),
            machine,
            lanes,
            homes,
            words,
            ends,
            in_registers: None,
            ahead: FxHashMap::default(),
            counters: 0,
            spilled: machine.bytes() * homes.spills as i32,
            chunk: None,
            pool: Vec::new(),
            constants: vec![None; lanes.count as usize],
        }
    }

    /// How many lanes count.
    pub fn count(&self) -> usize {
        self.chunk.map_or(self.machine.lanes, |chunk| chunk.count)
    }

    /// Whether only some lanes count.
    pub fn masked(&self) -> bool {
        self.count() < self.machine.lanes
    }

    /// The value that a part of an accumulator is in this chunk.
    pub fn actual(&self, lane: Lane) -> Lane {
        match self.lanes.sums.get(&lane) {
            Some(parts) => {
                parts[self.chunk.map_or(0, |chunk| chunk.first / self.machine.lanes % parts.len())]
            }
            None => lane,
        }
    }

    pub fn home(&self, lane: Lane) -> Home {
        self.homes.homes[self.actual(lane).0 as usize]
    }

    pub fn spill_place(&self, slot: usize) -> Memory {
        rsp + self.machine.bytes() * slot as i32
    }

    pub fn operand(&self, lane: Lane) -> Located {
        match self.home(lane) {
            Home::Register(number) => Located::Register(self.machine.value(number)),
            Home::Spilled(slot) => Located::Memory(self.spill_place(slot)),
            Home::Constant => {
                self.pool_operand(self.constants[lane.0 as usize].expect("every constant has a place"))
            }
            Home::Nowhere => unreachable!("an operand is used"),
        }
    }

    /// What lies behind the code as an operand.
    pub fn pool_operand(&self, entry: usize) -> Located {
        let (vector, label) = &self.pool[entry];
        if vector.len() == 1 { Located::Everywhere(*label) } else { Located::Memory((*label).into()) }
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
    pub fn whole(&self, operand: Located) -> Operand {
        match operand {
            Located::Register(vector) => self.v(vector).into(),
            Located::Memory(place) => place.into(),
            Located::Everywhere(label) => dword_bcst(label).into(),
        }
    }

    /// The operand in a register: its own, or that scratch register.
    pub fn load_operand(&mut self, operand: Located, scratch: usize) -> Asm<Vector> {
        if let Located::Register(register) = operand {
            return Ok(register);
        }
        self.load_to(SCRATCH[scratch], operand)?;
        Ok(SCRATCH[scratch])
    }

    /// Moves an operand to a register.
    pub fn load_to(&mut self, to: Vector, operand: Located) -> Asm {
        match operand {
            Located::Register(from) => self.a.vmovaps(self.v(to), self.v(from)),
            Located::Memory(place) => self.a.vmovups(self.v(to), place),
            Located::Everywhere(label) => self.a.vbroadcastss(self.v(to), dword_ptr(label)),
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
    pub fn target(&self, lane: Lane) -> Vector {
        match self.home(lane) {
            Home::Register(number) => self.machine.value(number),
            _ => SCRATCH[2],
        }
    }

    /// Moves a value to its home.
    pub fn put(&mut self, lane: Lane, value: Vector) -> Asm {
        match self.home(lane) {
            Home::Register(number) if self.machine.value(number) == value => Ok(()),
            Home::Register(number) => self.load_to(self.machine.value(number), Located::Register(value)),
            Home::Spilled(slot) => {
                let place = self.spill_place(slot);
                self.a.vmovups(place, self.v(value))
            }
            Home::Constant | Home::Nowhere => Ok(()),
        }
    }
}
