//! Instructions that move elements to other lanes: narrow, insert, extract and permute.

use iced_x86::Mnemonic;

use super::cpu::{Cpu, load, store, unknown};
use super::decode::{Decoded, Operand};
use super::operands::{Vector, element};

/// Bytes as the low lanes of a vector.
fn from_bytes(bytes: impl IntoIterator<Item = u8>) -> Vector {
    let mut vector = [0; 16];
    for (i, byte) in bytes.into_iter().enumerate() {
        vector[i / 4] |= (byte as u32) << (8 * (i % 4));
    }
    vector
}

/// Lanes counted in groups of four.
fn quarter(vector: &Vector, at: usize) -> [u32; 4] {
    std::array::from_fn(|i| vector[4 * at + i])
}

impl Cpu {
    /// Runs an instruction, if it is of these.
    pub(super) fn execute_shuffle(&mut self, inst: &Decoded) -> bool {
        self.execute_narrow(inst) || self.execute_part(inst) || self.execute_permute(inst)
    }

    /// Lanes that become narrower.
    fn execute_narrow(&mut self, inst: &Decoded) -> bool {
        match (inst.mnemonic, inst.operands[0]) {
            (Mnemonic::Vpmovdb, Operand::Vector(_)) => {
                let value = self.source(inst, 1);
                self.put_lanes(inst, from_bytes(value[..inst.lanes].iter().map(|&lane| lane as u8)));
            }
            (Mnemonic::Vpmovdw, Operand::Vector(_)) => {
                let value = self.source(inst, 1);
                let words = value[..inst.lanes].iter().flat_map(|&lane| (lane as u16).to_le_bytes());
                self.put_lanes(inst, from_bytes(words));
            }
            (Mnemonic::Vpackusdw, _) => {
                let (a, b) = (self.source(inst, 1), self.source(inst, 2));
                let lanes = quarter(&a, 0).into_iter().chain(quarter(&b, 0));
                let saturate = |lane: u32| (lane as i32).clamp(0, 0xffff) as u16;
                self.only_128(inst);
                self.put_lanes(inst, from_bytes(lanes.flat_map(|lane| saturate(lane).to_le_bytes())));
            }
            (Mnemonic::Vpackuswb, _) => {
                let (a, b) = (self.source(inst, 1), self.source(inst, 2));
                let words = [a, b].into_iter().flat_map(|v| (0..8).map(move |i| element(&v, 2, i) as i16));
                self.only_128(inst);
                self.put_lanes(inst, from_bytes(words.map(|word| word.clamp(0, 255) as u8)));
            }
            _ => return false,
        }
        true
    }

    /// Elements and quarters that are put into a vector, or taken out of it.
    fn execute_part(&mut self, inst: &Decoded) -> bool {
        let [to, from, part, _] = inst.operands;
        match (inst.mnemonic, to) {
            (Mnemonic::Vpinsrb, _) => self.insert(inst, 1),
            (Mnemonic::Vpinsrw, _) => self.insert(inst, 2),
            (Mnemonic::Vpinsrd, _) => self.insert(inst, 4),
            (Mnemonic::Vinsertps, _) if from != Operand::Memory && part == Operand::Memory => {
                let (mut a, how) = (self.source(inst, 1), self.immediate(inst, 3));
                a[how as usize >> 4 & 3] = load(self.address(inst), 4) as u32;
                self.put(inst, |i| if how >> i & 1 == 1 { 0 } else { a[i] });
            }
            (Mnemonic::Vinsertf128 | Mnemonic::Vinsertf32x4, _) => {
                let (a, at) = (self.source(inst, 1), self.immediate(inst, 3) as usize % (inst.lanes / 4));
                let four: [u32; 4] = match part {
                    Operand::Vector(number) => quarter(&self.vectors[number], 0),
                    _ => std::array::from_fn(|i| load(self.address(inst) + 4 * i as u64, 4) as u32),
                };
                self.put(inst, |i| if i / 4 == at { four[i % 4] } else { a[i] });
            }
            (Mnemonic::Vextractf128 | Mnemonic::Vextractf32x4, Operand::Memory) => {
                for (i, lane) in self.extracted(inst).into_iter().enumerate() {
                    store(self.address(inst) + 4 * i as u64, 4, lane as u64);
                }
            }
            (
                Mnemonic::Vextracti128 | Mnemonic::Vextractf128 | Mnemonic::Vextracti32x4,
                Operand::Vector(_),
            ) => {
                let four = self.extracted(inst);
                self.put_lanes(inst, std::array::from_fn(|i| if i < 4 { four[i] } else { 0 }));
            }
            _ => return false,
        }
        true
    }

    /// Puts an element of so many bytes from memory among the lowest four lanes.
    fn insert(&mut self, inst: &Decoded, bytes: usize) {
        let (a, at) = (self.source(inst, 1), self.immediate(inst, 3) as usize % (16 / bytes));
        let mut all: [u8; 16] = std::array::from_fn(|i| element(&a, 1, i) as u8);
        let new = load(self.address(inst), bytes).to_le_bytes();
        all[at * bytes..][..bytes].copy_from_slice(&new[..bytes]);
        self.put_lanes(inst, from_bytes(all));
    }

    /// The quarter that an instruction takes out of a vector.
    fn extracted(&self, inst: &Decoded) -> [u32; 4] {
        let (a, at) = (self.source(inst, 1), self.immediate(inst, 2) as usize % (inst.lanes / 4));
        quarter(&a, at)
    }

    /// Lanes of one or two vectors in another order.
    fn execute_permute(&mut self, inst: &Decoded) -> bool {
        match inst.mnemonic {
            Mnemonic::Vunpcklps => self.unpack(inst, 1, 0),
            Mnemonic::Vunpckhps => self.unpack(inst, 1, 2),
            Mnemonic::Vunpcklpd if inst.mask == 0 => self.unpack(inst, 2, 0),
            Mnemonic::Vunpckhpd if inst.mask == 0 => self.unpack(inst, 2, 2),
            Mnemonic::Vperm2f128 => {
                let (a, b, how) = (self.source(inst, 1), self.source(inst, 2), self.immediate(inst, 3));
                let half = |how: u32| match how & 0b1011 {
                    0 => quarter(&a, 0),
                    1 => quarter(&a, 1),
                    2 => quarter(&b, 0),
                    3 => quarter(&b, 1),
                    _ => [0; 4],
                };
                let halves = [half(how), half(how >> 4)];
                self.put(inst, |i| halves[i / 4][i % 4]);
            }
            Mnemonic::Vshuff32x4 if inst.lanes == 16 => {
                let (a, b, how) = (self.source(inst, 1), self.source(inst, 2), self.immediate(inst, 3));
                let which = |i: u32| (how >> (2 * i) & 3) as usize;
                let quarters = [
                    quarter(&a, which(0)),
                    quarter(&a, which(1)),
                    quarter(&b, which(2)),
                    quarter(&b, which(3)),
                ];
                self.put(inst, |i| quarters[i / 4][i % 4]);
            }
            Mnemonic::Vpermilps => {
                let (a, how) = (self.source(inst, 1), self.immediate(inst, 2));
                self.put(inst, |i| a[i / 4 * 4 + (how >> (2 * (i % 4)) & 3) as usize]);
            }
            Mnemonic::Vshufps => {
                let (a, b, how) = (self.source(inst, 1), self.source(inst, 2), self.immediate(inst, 3));
                let from = |i: usize| i / 4 * 4 + (how >> (2 * (i % 4)) & 3) as usize;
                self.put(inst, |i| if i % 4 < 2 { a[from(i)] } else { b[from(i)] });
            }
            Mnemonic::Vpermpd => {
                let (a, how) = (self.source(inst, 1), self.immediate(inst, 2));
                self.put(inst, |i| a[i / 8 * 8 + 2 * (how >> (2 * (i / 2 % 4)) & 3) as usize + i % 2]);
            }
            _ => return false,
        }
        true
    }

    /// Elements of so many lanes from one half of each quarter, begun at lane `half`: by turns of two vectors.
    fn unpack(&mut self, inst: &Decoded, lanes: usize, half: usize) {
        let (a, b) = (self.source(inst, 1), self.source(inst, 2));
        self.put(inst, |i| {
            let place = i % 4 / lanes;
            let from = i / 4 * 4 + half + place / 2 * lanes + i % lanes;
            if place.is_multiple_of(2) { a[from] } else { b[from] }
        });
    }

    fn only_128(&self, inst: &Decoded) {
        if inst.lanes != 4 {
            unknown(inst, inst.lanes);
        }
    }
}
