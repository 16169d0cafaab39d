//! Instructions on vectors, by whoever knows them; those on masks are here.

use iced_x86::Mnemonic;

use super::cpu::{Cpu, unknown};
use super::decode::{Decoded, Operand};

impl Cpu {
    pub(super) fn execute_vector(&mut self, inst: &Decoded) {
        let known = self.execute_arithmetic(inst)
            || self.execute_load(inst)
            || self.execute_store(inst)
            || self.execute_shuffle(inst)
            || self.execute_mask(inst);
        if !known {
            unknown(inst, inst.operands[0]);
        }
    }

    /// Instructions on masks.
    fn execute_mask(&mut self, inst: &Decoded) -> bool {
        let [to, from, second, _] = inst.operands;
        match (inst.mnemonic, to) {
            (Mnemonic::Vpmovm2d, _) => {
                let Operand::Mask(mask) = from else { unknown(inst, from) };
                let mask = self.masks[mask];
                self.put(inst, |i| if mask >> i & 1 == 1 { u32::MAX } else { 0 });
            }
            (Mnemonic::Vpmovd2m, Operand::Mask(to)) => {
                let value = self.source(inst, 1);
                self.masks[to] = (0..inst.lanes).map(|i| (value[i] as u64 >> 31) << i).sum();
            }
            (Mnemonic::Kmovw, Operand::Mask(to)) => {
                let value = match from {
                    Operand::Mask(from) => self.masks[from],
                    other => self.get(inst, other),
                };
                self.masks[to] = value & 0xffff;
            }
            (Mnemonic::Kxnorw, Operand::Mask(to)) => {
                let (Operand::Mask(a), Operand::Mask(b)) = (from, second) else { unknown(inst, from) };
                self.masks[to] = !(self.masks[a] ^ self.masks[b]) & 0xffff;
            }
            _ => return false,
        }
        true
    }
}
