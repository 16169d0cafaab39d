//! Registers, memory, and instructions on integers.

use iced_x86::{Formatter, IntelFormatter, Mnemonic};

use super::decode::{Decoded, DecodedLeaf, Index, Operand};

/// Numbers of general registers.
const RSP: usize = 4;
const RDI: usize = 7;
/// Registers that a function gives back as they were: rbx, rsp, rbp, r12 to r15.
const KEPT: [usize; 7] = [3, 4, 5, 12, 13, 14, 15];

/// A processor.
pub(super) struct Cpu {
    pub general: [u64; 16],
    pub vectors: [[u32; 16]; 32],
    pub masks: [u64; 8],
    zero: bool,
    carry: bool,
    stack: Vec<u64>,
}

impl Cpu {
    /// As a function finds it that is called with one argument: what it may not count on is of no use to it.
    pub fn new(argument: u64) -> Cpu {
        let stack: Vec<u64> = vec![0xbad0_bad0_bad0_bad0; 4096];
        let mut general: [u64; 16] = std::array::from_fn(|i| 0xdead_0000_beef_0000 + i as u64);
        general[RDI] = argument;
        // The return address is on the stack, below a boundary of 16 bytes.
        let top = stack.as_ptr_range().end.expose_provenance() as u64;
        general[RSP] = ((top - 64) & !15) - 8;
        let vectors = std::array::from_fn(|i| [0x7fc0_bad0 + i as u32; 16]);
        Cpu { general, vectors, masks: [0x5a5a_5a5a_5a5a_5a5a; 8], zero: false, carry: true, stack }
    }

    /// Runs a function to its end.
    pub fn run(&mut self, code: &DecodedLeaf) {
        let before = self.general;
        let mut at = 0;
        loop {
            let inst = &code.instructions[at];
            at += 1;
            match inst.mnemonic {
                Mnemonic::Ret => break,
                Mnemonic::Jne if !self.zero => at = inst.target,
                Mnemonic::Jb if self.carry => at = inst.target,
                Mnemonic::Jne | Mnemonic::Jb => {}
                _ => self.execute(inst),
            }
        }
        for register in KEPT {
            assert_eq!(self.general[register], before[register], "register {register} is not restored");
        }
        assert!(
            self.vectors[..16].iter().all(|vector| vector[4..].iter().all(|&lane| lane == 0)),
            "the upper parts of vectors are not cleared"
        );
        debug_assert!(!self.stack.is_empty());
    }

    fn execute(&mut self, inst: &Decoded) {
        let [to, from, third, _] = inst.operands;
        match inst.mnemonic {
            Mnemonic::Mov => {
                let value = self.get(inst, from);
                self.set(inst, to, value);
            }
            Mnemonic::Movzx => {
                let value = self.get(inst, from);
                self.set(inst, to, value);
            }
            Mnemonic::Movsxd => {
                let value = self.get(inst, from) as u32 as i32;
                self.set(inst, to, value as i64 as u64);
            }
            Mnemonic::Lea => {
                let address = self.address(inst);
                self.set(inst, to, address);
            }
            Mnemonic::Push => {
                let value = self.get(inst, to);
                self.general[RSP] -= 8;
                store(self.general[RSP], 8, value);
            }
            Mnemonic::Pop => {
                let value = load(self.general[RSP], 8);
                self.general[RSP] += 8;
                self.set(inst, to, value);
            }
            Mnemonic::Add => self.arithmetic(inst, |a, b| a.wrapping_add(b)),
            Mnemonic::Sub => self.arithmetic(inst, |a, b| a.wrapping_sub(b)),
            Mnemonic::And => self.arithmetic(inst, |a, b| a & b),
            Mnemonic::Xor => self.arithmetic(inst, |a, b| a ^ b),
            Mnemonic::Shl => self.arithmetic(inst, |a, by| a << by),
            Mnemonic::Imul => {
                let value = self.get(inst, from).wrapping_mul(self.get(inst, third));
                self.set(inst, to, value);
            }
            Mnemonic::Cmp => {
                let (a, b) = (self.get(inst, to), self.get(inst, from) & ones(size(inst, to)));
                (self.zero, self.carry) = (a == b, a < b);
            }
            Mnemonic::Dec => {
                let value = self.get(inst, to).wrapping_sub(1) & ones(size(inst, to));
                self.set(inst, to, value);
                self.zero = value == 0;
            }
            // It changes nothing, and may ask for what is not there.
            Mnemonic::Prefetcht0 => {}
            _ => self.execute_vector(inst),
        }
    }

    /// `to = f(to, from)`; the carry is of no use afterwards.
    fn arithmetic(&mut self, inst: &Decoded, f: impl Fn(u64, u64) -> u64) {
        let [to, from, ..] = inst.operands;
        let value = f(self.get(inst, to), self.get(inst, from)) & ones(size(inst, to));
        self.set(inst, to, value);
        self.zero = value == 0;
    }

    /// An integer, zero-extended; immediates come sign-extended.
    pub fn get(&self, inst: &Decoded, operand: Operand) -> u64 {
        match operand {
            Operand::General(number, bytes) => self.general[number] & ones(bytes),
            Operand::Memory => load(self.address(inst), inst.address.bytes),
            Operand::Immediate(value) => value,
            other => unknown(inst, other),
        }
    }

    fn set(&mut self, inst: &Decoded, operand: Operand, value: u64) {
        match operand {
            // Four bytes clear the other four.
            Operand::General(number, bytes @ (4 | 8)) => self.general[number] = value & ones(bytes),
            Operand::Memory => store(self.address(inst), inst.address.bytes, value),
            other => unknown(inst, other),
        }
    }

    pub fn set_general(&mut self, inst: &Decoded, value: u64) {
        self.set(inst, inst.operands[0], value);
    }

    /// The address of the operand in memory, without the vector of indices that there may be.
    pub fn address(&self, inst: &Decoded) -> u64 {
        let place = &inst.address;
        let base = place.base.map_or(0, |base| self.general[base]);
        let index = match place.index {
            Index::General(index) => self.general[index].wrapping_mul(place.scale),
            Index::None | Index::Vector(_) => 0,
        };
        base.wrapping_add(index).wrapping_add(place.displacement)
    }
}

fn ones(bytes: usize) -> u64 {
    if bytes == 8 { u64::MAX } else { (1 << (8 * bytes)) - 1 }
}

fn size(inst: &Decoded, operand: Operand) -> usize {
    match operand {
        Operand::General(_, bytes) => bytes,
        _ => inst.address.bytes,
    }
}

/// Reads up to eight bytes.
pub(super) fn load(address: u64, bytes: usize) -> u64 {
    let mut value = [0; 8];
    let from = std::ptr::with_exposed_provenance::<u8>(address as usize);
    // SAFETY: the code that computed the address was made from a verified program: the processor would read there.
    unsafe { std::ptr::copy_nonoverlapping(from, value.as_mut_ptr(), bytes) };
    u64::from_le_bytes(value)
}

/// Writes up to eight bytes.
pub(super) fn store(address: u64, bytes: usize, value: u64) {
    let to = std::ptr::with_exposed_provenance_mut::<u8>(address as usize);
    // SAFETY: as in `load`; what the code writes, the caller of the kernel has lent for writing.
    unsafe { std::ptr::copy_nonoverlapping(value.to_le_bytes().as_ptr(), to, bytes) };
}

/// Stops at an instruction, or a form of one, that leaves are not made of.
pub(super) fn unknown(inst: &Decoded, what: impl std::fmt::Debug) -> ! {
    let mut text = String::new();
    IntelFormatter::new().format(&inst.instruction, &mut text);
    panic!("`{text}` is not emulated: {what:?}")
}
