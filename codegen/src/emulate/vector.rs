//! Instructions on vectors and masks: how their operands are read and their results written.

use iced_x86::Mnemonic;

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
    pub(super) fn vector_step(&mut self, step: &Decoded) {
        let known = self.arithmetic_step(step)
            || self.load_step(step)
            || self.store_step(step)
            || self.shuffle_step(step)
            || self.mask_step(step);
        if !known {
            unknown(step, step.operands[0]);
        }
    }

    /// Instructions on masks.
    fn mask_step(&mut self, step: &Decoded) -> bool {
        let [to, from, second, _] = step.operands;
        match (step.mnemonic, to) {
            (Mnemonic::Vpmovm2d, _) => {
                let Operand::Mask(mask) = from else { unknown(step, from) };
                let mask = self.masks[mask];
                self.put(step, |i| if mask >> i & 1 == 1 { u32::MAX } else { 0 });
            }
            (Mnemonic::Vpmovd2m, Operand::Mask(to)) => {
                let value = self.source(step, 1);
                self.masks[to] = (0..step.lanes).map(|i| (value[i] as u64 >> 31) << i).sum();
            }
            (Mnemonic::Kmovw, Operand::Mask(to)) => {
                let value = match from {
                    Operand::Mask(from) => self.masks[from],
                    other => self.get(step, other),
                };
                self.masks[to] = value & 0xffff;
            }
            (Mnemonic::Kxnorw, Operand::Mask(to)) => {
                let (Operand::Mask(a), Operand::Mask(b)) = (from, second) else { unknown(step, from) };
                self.masks[to] = !(self.masks[a] ^ self.masks[b]) & 0xffff;
            }
            _ => return false,
        }
        true
    }

    /// The lowest byte of an operand in the instruction.
    pub(super) fn immediate(&self, step: &Decoded, at: usize) -> u32 {
        match step.operands[at] {
            Operand::Immediate(value) => value as u32 & 0xff,
            other => unknown(step, other),
        }
    }

    /// Whether the instruction's mask has an element.
    pub(super) fn counts(&self, step: &Decoded, element: usize) -> bool {
        step.mask == 0 || self.masks[step.mask] >> element & 1 == 1
    }

    /// The lanes of an operand. Of one in memory only those are read that the mask has.
    pub(super) fn source(&self, step: &Decoded, at: usize) -> Vector {
        match step.operands[at] {
            Operand::Vector(number) => self.vectors[number],
            Operand::Memory => {
                let base = self.address(step);
                let element = if step.address.broadcast { step.address.bytes } else { 4 };
                if element != 4 {
                    unknown(step, step.address);
                }
                std::array::from_fn(|i| {
                    if i >= step.lanes || !self.counts(step, i) {
                        return 0;
                    }
                    let i = if step.address.broadcast { 0 } else { i };
                    load(base + 4 * i as u64, 4) as u32
                })
            }
            other => unknown(step, other),
        }
    }

    /// Sets the target's lanes; those that are masked out stay or become zero, those above become zero.
    pub(super) fn put(&mut self, step: &Decoded, value: impl Fn(usize) -> u32) {
        let Operand::Vector(to) = step.operands[0] else { unknown(step, step.operands[0]) };
        let old = self.vectors[to];
        self.vectors[to] = std::array::from_fn(|i| match i {
            _ if i >= step.lanes => 0,
            _ if self.counts(step, i) => value(i),
            _ if step.zeroing => 0,
            _ => old[i],
        });
    }

    /// Sets the whole target, without a mask.
    pub(super) fn put_lanes(&mut self, step: &Decoded, value: Vector) {
        let (Operand::Vector(to), 0) = (step.operands[0], step.mask) else { unknown(step, step.operands[0]) };
        self.vectors[to] = value;
    }

    /// Sets the two lowest lanes of the target, and clears the others.
    pub(super) fn put_low(&mut self, step: &Decoded, value: u64) {
        let mut vector = [0; 16];
        (vector[0], vector[1]) = (value as u32, (value >> 32) as u32);
        self.put_lanes(step, vector);
    }
}
