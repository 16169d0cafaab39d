//! Registers and memory.

use iced_x86::{Formatter, IntelFormatter};

use super::decode::{Decoded, Index, Operand};

/// Numbers of general registers.
pub(super) const RSP: usize = 4;
const RDI: usize = 7;
/// A processor.
pub(super) struct Cpu {
    pub general: [u64; 16],
    pub vectors: [[u32; 16]; 32],
    pub masks: [u64; 8],
    pub zero: bool,
    pub carry: bool,
    pub stack: Vec<u64>,
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

    /// An integer, zero-extended; immediates come sign-extended.
    pub fn get(&self, inst: &Decoded, operand: Operand) -> u64 {
        match operand {
            Operand::General(number, bytes) => self.general[number] & ones(bytes),
            Operand::Memory => load(self.address(inst), inst.address.bytes),
            Operand::Immediate(value) => value,
            other => unknown(inst, other),
        }
    }

    pub fn set(&mut self, inst: &Decoded, operand: Operand, value: u64) {
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

/// So many bytes of ones.
pub(super) fn ones(bytes: usize) -> u64 {
    if bytes == 8 { u64::MAX } else { (1 << (8 * bytes)) - 1 }
}

/// Bytes of an operand.
pub(super) fn size(inst: &Decoded, operand: Operand) -> usize {
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
