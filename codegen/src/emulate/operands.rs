//! Vectors as operands: how they are read, and how results are written under a mask.

use super::cpu::{Cpu, load, unknown};
use super::decode::{Decoded, Operand};

/// Lanes, the lowest first.
pub(super) type Vector = [u32; 16];

/// An element of one, two or four bytes.
pub(super) fn element(vector: &Vector, bytes: usize, at: usize) -> u32 {
    let lane = vector[at * bytes / 4] >> (8 * (at * bytes % 4));
    match bytes {
        1 => lane as u8 as u32,
        2 => lane as u16 as u32,
        _ => lane,
    }
}

impl Cpu {
    /// The lowest byte of an operand in the instruction.
    pub(super) fn immediate(&self, inst: &Decoded, at: usize) -> u32 {
        match inst.operands[at] {
            Operand::Immediate(value) => value as u32 & 0xff,
            other => unknown(inst, other),
        }
    }

    /// Whether the instruction's mask has an element.
    pub(super) fn counts(&self, inst: &Decoded, element: usize) -> bool {
        inst.mask == 0 || self.masks[inst.mask] >> element & 1 == 1
    }

    /// The lanes of an operand. Of one in memory only those are read that the mask has.
    pub(super) fn source(&self, inst: &Decoded, at: usize) -> Vector {
        match inst.operands[at] {
            Operand::Vector(number) => self.vectors[number],
            Operand::Memory => {
                let base = self.address(inst);
                let element = if inst.address.broadcast { inst.address.bytes } else { 4 };
                if element != 4 {
                    unknown(inst, inst.address);
                }
                std::array::from_fn(|i| {
                    if i >= inst.lanes || !self.counts(inst, i) {
                        return 0;
                    }
                    let i = if inst.address.broadcast { 0 } else { i };
                    load(base + 4 * i as u64, 4) as u32
                })
            }
            other => unknown(inst, other),
        }
    }

    /// Sets the target's lanes; those that are masked out stay or become zero, those above become zero.
    pub(super) fn put(&mut self, inst: &Decoded, value: impl Fn(usize) -> u32) {
        let Operand::Vector(to) = inst.operands[0] else { unknown(inst, inst.operands[0]) };
        let old = self.vectors[to];
        self.vectors[to] = std::array::from_fn(|i| match i {
            _ if i >= inst.lanes => 0,
            _ if self.counts(inst, i) => value(i),
            _ if inst.zeroing => 0,
            _ => old[i],
        });
    }

    /// Sets the whole target, without a mask.
    pub(super) fn put_lanes(&mut self, inst: &Decoded, value: Vector) {
        let (Operand::Vector(to), 0) = (inst.operands[0], inst.mask) else { unknown(inst, inst.operands[0]) };
        self.vectors[to] = value;
    }

    /// Sets the two lowest lanes of the target, and clears the others.
    pub(super) fn put_low(&mut self, inst: &Decoded, value: u64) {
        let mut vector = [0; 16];
        (vector[0], vector[1]) = (value as u32, (value >> 32) as u32);
        self.put_lanes(inst, vector);
    }
}
