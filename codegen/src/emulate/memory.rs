//! Instructions that load lanes and store them, with those that move numbers to and from general registers.

use iced_x86::Mnemonic;

use super::cpu::{Cpu, load, store, unknown};
use super::decode::{Decoded, Index, Operand};
use super::operands::{Vector, element};

impl Cpu {
    /// Runs an instruction, if it fills a vector: from memory, a general register, or another vector lane by lane. And the one
    /// that clears the upper parts of all.
    pub(super) fn execute_load(&mut self, inst: &Decoded) -> bool {
        let [to, from, ..] = inst.operands;
        match (inst.mnemonic, to) {
            (Mnemonic::Vmovups | Mnemonic::Vmovaps, Operand::Vector(_)) => self.unary(inst, |a| a),
            (Mnemonic::Vmaskmovps, Operand::Vector(_)) => {
                let (mask, at) = (self.source(inst, 1), self.address(inst));
                let lane = |i: usize| if mask[i] >> 31 == 1 { load(at + 4 * i as u64, 4) as u32 } else { 0 };
                self.put(inst, lane);
            }
            (Mnemonic::Vmovss, Operand::Vector(_)) if from == Operand::Memory => {
                self.put_low(inst, load(self.address(inst), 4));
            }
            (Mnemonic::Vmovsd | Mnemonic::Vmovq, Operand::Vector(_)) if from == Operand::Memory => {
                self.put_low(inst, load(self.address(inst), 8));
            }
            (Mnemonic::Vmovd, Operand::Vector(_)) => self.put_low(inst, self.get(inst, from)),
            (Mnemonic::Vbroadcastss | Mnemonic::Vpbroadcastd, Operand::Vector(_)) => {
                let value = match from {
                    Operand::Vector(number) => self.vectors[number][0],
                    Operand::Memory => load(self.address(inst), 4) as u32,
                    other => self.get(inst, other) as u32,
                };
                self.put(inst, |_| value);
            }
            (Mnemonic::Vpmovzxbd, _) => self.widen(inst, 1),
            (Mnemonic::Vpmovzxwd, _) => self.widen(inst, 2),
            (Mnemonic::Vgatherdps, _) => self.gather(inst),
            (Mnemonic::Vzeroupper, _) => {
                for vector in &mut self.vectors[..16] {
                    vector[4..].fill(0);
                }
            }
            _ => return false,
        }
        true
    }

    /// Runs an instruction, if it stores elements of a vector, or puts one into a general register.
    pub(super) fn execute_store(&mut self, inst: &Decoded) -> bool {
        match (inst.mnemonic, inst.operands[0]) {
            (Mnemonic::Vmovups, Operand::Memory) => self.store_elements(inst, 4),
            (Mnemonic::Vmovdqu8, Operand::Memory) => self.store_elements(inst, 1),
            (Mnemonic::Vmovdqu16, Operand::Memory) => self.store_elements(inst, 2),
            (Mnemonic::Vmovss, Operand::Memory) => self.store_low(inst, 4),
            (Mnemonic::Vmovsd | Mnemonic::Vmovlps | Mnemonic::Vmovq, Operand::Memory) => {
                self.store_low(inst, 8);
            }
            (Mnemonic::Vmovd, Operand::General(..)) => {
                let value = self.source(inst, 1);
                self.set_general(inst, value[0] as u64);
            }
            (Mnemonic::Vpextrb, Operand::Memory) => self.store_element(inst, 1),
            (Mnemonic::Vpextrw, Operand::Memory) => self.store_element(inst, 2),
            (Mnemonic::Vextractps, Operand::Memory) => self.store_element(inst, 4),
            _ => return false,
        }
        true
    }

    /// Elements of so many bytes become lanes, with zeros above. Of memory only those are read that the mask has.
    fn widen(&mut self, inst: &Decoded, bytes: usize) {
        let read = |i: usize| match inst.operands[1] {
            Operand::Vector(number) => element(&self.vectors[number], bytes, i),
            _ if self.counts(inst, i) => load(self.address(inst) + (bytes * i) as u64, bytes) as u32,
            _ => 0,
        };
        let value: Vector = std::array::from_fn(|i| if i < inst.lanes { read(i) } else { 0 });
        self.put(inst, |i| value[i]);
    }

    /// Loads the lanes of the mask, which becomes zero; the others stay. The mask is a vector or a register of its own.
    fn gather(&mut self, inst: &Decoded) {
        let (Operand::Vector(to), Index::Vector(index)) = (inst.operands[0], inst.address.index) else {
            unknown(inst, inst.operands[0])
        };
        let (base, old, index) = (self.address(inst), self.vectors[to], self.vectors[index]);
        let vector = match inst.operands[2] {
            Operand::Vector(number) => Some(number),
            _ if inst.mask != 0 => None,
            other => unknown(inst, other),
        };
        let lane = |i: usize| {
            let counts = match vector {
                Some(mask) => self.vectors[mask][i] >> 31 == 1,
                None => self.masks[inst.mask] >> i & 1 == 1,
            };
            let distance = (index[i] as i32 as i64 as u64).wrapping_mul(inst.address.scale);
            if counts { load(base.wrapping_add(distance), 4) as u32 } else { old[i] }
        };
        let value = std::array::from_fn(|i| if i < inst.lanes { lane(i) } else { 0 });
        self.vectors[to] = value;
        match vector {
            Some(mask) => self.vectors[mask] = [0; 16],
            None => self.masks[inst.mask] = 0,
        }
    }

    /// Stores the elements, of so many bytes, that the mask has.
    fn store_elements(&mut self, inst: &Decoded, bytes: usize) {
        let (value, at) = (self.source(inst, 1), self.address(inst));
        for i in (0..4 * inst.lanes / bytes).filter(|&i| self.counts(inst, i)) {
            store(at + (bytes * i) as u64, bytes, element(&value, bytes, i) as u64);
        }
    }

    /// Stores one element, of so many bytes, of the lowest four lanes.
    fn store_element(&mut self, inst: &Decoded, bytes: usize) {
        let (value, at) = (self.source(inst, 1), self.immediate(inst, 2) as usize % (16 / bytes));
        store(self.address(inst), bytes, element(&value, bytes, at) as u64);
    }

    /// Stores the lowest bytes, up to eight.
    fn store_low(&mut self, inst: &Decoded, bytes: usize) {
        let value = self.source(inst, 1);
        store(self.address(inst), bytes, value[0] as u64 | (value[1] as u64) << 32);
    }
}
