//! Instructions on vectors and masks.

use iced_x86::Mnemonic;

use super::cpu::{Cpu, load, store, unknown};
use super::decode::{Index, Operand, Step};

type Vector = [u32; 16];

fn float(bits: u32) -> f32 {
    f32::from_bits(bits)
}

/// A byte of a vector.
fn byte(vector: &Vector, at: usize) -> u8 {
    (vector[at / 4] >> (8 * (at % 4))) as u8
}

/// A word of 16 bits of a vector.
fn word(vector: &Vector, at: usize) -> u16 {
    (vector[at / 2] >> (16 * (at % 2))) as u16
}

/// Bytes as the low lanes of a vector.
fn from_bytes(bytes: &[u8]) -> Vector {
    let mut vector = [0; 16];
    for (i, &byte) in bytes.iter().enumerate() {
        vector[i / 4] |= (byte as u32) << (8 * (i % 4));
    }
    vector
}

/// Lanes counted in groups of four.
fn quarter(vector: &Vector, at: usize) -> [u32; 4] {
    std::array::from_fn(|i| vector[4 * at + i])
}

impl Cpu {
    pub(super) fn vector_step(&mut self, step: &Step) {
        match step.mnemonic {
            Mnemonic::Vaddps => self.floats(step, |a, b| a + b),
            Mnemonic::Vsubps => self.floats(step, |a, b| a - b),
            Mnemonic::Vmulps => self.floats(step, |a, b| a * b),
            Mnemonic::Vdivps => self.floats(step, |a, b| a / b),
            Mnemonic::Vmaxps => self.floats(step, |a, b| if a > b { a } else { b }),
            Mnemonic::Vminps => self.floats(step, |a, b| if a < b { a } else { b }),
            Mnemonic::Vandps => self.binary(step, |a, b| a & b),
            Mnemonic::Vorps => self.binary(step, |a, b| a | b),
            Mnemonic::Vxorps | Mnemonic::Vpxor => self.binary(step, |a, b| a ^ b),
            Mnemonic::Vpaddd => self.binary(step, u32::wrapping_add),
            Mnemonic::Vpsubd => self.binary(step, u32::wrapping_sub),
            Mnemonic::Vpmulld => self.binary(step, u32::wrapping_mul),
            Mnemonic::Vpmaxsd => self.binary(step, |a, b| (a as i32).max(b as i32) as u32),
            Mnemonic::Vpminsd => self.binary(step, |a, b| (a as i32).min(b as i32) as u32),
            Mnemonic::Vpsllvd => self.binary(step, |a, by| if by < 32 { a << by } else { 0 }),
            Mnemonic::Vpsrlvd => self.binary(step, |a, by| if by < 32 { a >> by } else { 0 }),
            Mnemonic::Vpsravd => self.binary(step, |a, by| (a as i32 >> by.min(31)) as u32),
            Mnemonic::Vpcmpeqd => self.compare(step, |a, b| a == b),
            Mnemonic::Vpcmpgtd => self.compare(step, |a, b| a as i32 > b as i32),
            Mnemonic::Vptestmd => self.compare(step, |a, b| a & b != 0),
            Mnemonic::Vcmpps => {
                let predicate = self.immediate(step, 3);
                self.compare(step, |a, b| {
                    let (a, b) = (float(a), float(b));
                    let unordered = a.is_nan() || b.is_nan();
                    match predicate {
                        0x00 => a == b,
                        0x03 => unordered,
                        0x04 => unordered || a != b,
                        0x07 => !unordered,
                        0x11 => a < b,
                        0x12 => a <= b,
                        0x1d => a >= b,
                        0x1e => a > b,
                        other => unknown(step, other),
                    }
                });
            }
            Mnemonic::Vpmuludq => {
                let (a, b) = (self.source(step, 1), self.source(step, 2));
                let products: [u64; 8] = std::array::from_fn(|i| a[2 * i] as u64 * b[2 * i] as u64);
                self.put(step, |i| (products[i / 2] >> (32 * (i % 2))) as u32);
            }
            Mnemonic::Vpsrlq => {
                let (a, by) = (self.source(step, 1), self.immediate(step, 2));
                let shifted: [u64; 8] = std::array::from_fn(|i| {
                    let whole = a[2 * i] as u64 | (a[2 * i + 1] as u64) << 32;
                    if by < 64 { whole >> by } else { 0 }
                });
                self.put(step, |i| (shifted[i / 2] >> (32 * (i % 2))) as u32);
            }
            Mnemonic::Vsqrtps => self.unary(step, |a| float(a).sqrt().to_bits()),
            Mnemonic::Vcvtdq2ps => self.unary(step, |a| (a as i32 as f32).to_bits()),
            Mnemonic::Vcvttps2dq => self.unary(step, |a| match float(a) {
                a if (-2147483648.0..2147483648.0).contains(&a) => a as i32 as u32,
                _ => 0x8000_0000,
            }),
            Mnemonic::Vpabsd => self.unary(step, |a| (a as i32).unsigned_abs()),
            Mnemonic::Vroundps | Mnemonic::Vrndscaleps => {
                let mode = self.immediate(step, 2);
                self.unary(step, |a| {
                    let a = float(a);
                    // Bit 3 has no inexact exception; bits 4 to 7 are fractional bits that are kept.
                    let rounded = match mode & !8 {
                        0 => a.round_ties_even(),
                        1 => a.floor(),
                        2 => a.ceil(),
                        3 => a.trunc(),
                        other => unknown(step, other),
                    };
                    rounded.to_bits()
                });
            }
            Mnemonic::Vpslld => self.shift(step, |a, by| a << by, |_| 0),
            Mnemonic::Vpsrld => self.shift(step, |a, by| a >> by, |_| 0),
            Mnemonic::Vpsrad => {
                self.shift(step, |a, by| (a as i32 >> by) as u32, |a| (a as i32 >> 31) as u32);
            }
            Mnemonic::Vfmadd231ps => self.fused(step, |to, b, c| b.mul_add(c, to)),
            Mnemonic::Vfmadd213ps => self.fused(step, |to, b, c| b.mul_add(to, c)),
            Mnemonic::Vpternlogd => {
                let (a, b, c) = (self.source(step, 0), self.source(step, 1), self.source(step, 2));
                let table = self.immediate(step, 3);
                self.put(step, |i| {
                    let bit = |bit: usize| {
                        let row = (a[i] >> bit & 1) << 2 | (b[i] >> bit & 1) << 1 | c[i] >> bit & 1;
                        (table >> row & 1) << bit
                    };
                    (0..32).map(bit).fold(0, |all, bit| all | bit)
                });
            }
            Mnemonic::Vblendvps => {
                let (a, b, mask) = (self.source(step, 1), self.source(step, 2), self.source(step, 3));
                self.put(step, |i| if mask[i] >> 31 == 1 { b[i] } else { a[i] });
            }
            Mnemonic::Vpblendd => {
                let (a, b, which) = (self.source(step, 1), self.source(step, 2), self.immediate(step, 3));
                self.put(step, |i| if which >> i & 1 == 1 { b[i] } else { a[i] });
            }
            _ => self.move_step(step),
        }
    }

    /// Instructions that move lanes, to and from memory and to other lanes.
    fn move_step(&mut self, step: &Step) {
        let [to, from, ..] = step.operands;
        match (step.mnemonic, to) {
            (Mnemonic::Vmovups | Mnemonic::Vmovaps, Operand::Vector(_)) => {
                let value = self.source(step, 1);
                self.put(step, |i| value[i]);
            }
            (Mnemonic::Vmovups, Operand::Memory) => {
                let value = self.source(step, 1);
                self.store_lanes(step, &value, |i| i < step.lanes && self.counts(step, i));
            }
            (Mnemonic::Vmaskmovps, Operand::Vector(_)) => {
                let (mask, at) = (self.source(step, 1), self.address(step));
                let lane = |i: usize| if mask[i] >> 31 == 1 { load(at + 4 * i as u64, 4) as u32 } else { 0 };
                self.put(step, lane);
            }
            (Mnemonic::Vmovss, Operand::Vector(_)) if from == Operand::Memory => {
                self.put_low(step, load(self.address(step), 4))
            }
            (Mnemonic::Vmovsd | Mnemonic::Vmovq, Operand::Vector(_)) if from == Operand::Memory => {
                self.put_low(step, load(self.address(step), 8))
            }
            (Mnemonic::Vmovss, Operand::Memory) => self.store_low(step, 4),
            (Mnemonic::Vmovsd | Mnemonic::Vmovlps | Mnemonic::Vmovq, Operand::Memory) => {
                self.store_low(step, 8)
            }
            (Mnemonic::Vmovd, Operand::Vector(_)) => self.put_low(step, self.get(step, from)),
            (Mnemonic::Vmovd, Operand::General(..)) => {
                let value = self.source(step, 1);
                self.set_general(step, value[0] as u64);
            }
            (Mnemonic::Vmovdqu8, Operand::Memory) => {
                let (value, at) = (self.source(step, 1), self.address(step));
                for i in (0..4 * step.lanes).filter(|&i| self.counts(step, i)) {
                    store(at + i as u64, 1, byte(&value, i) as u64);
                }
            }
            (Mnemonic::Vmovdqu16, Operand::Memory) => {
                let (value, at) = (self.source(step, 1), self.address(step));
                for i in (0..2 * step.lanes).filter(|&i| self.counts(step, i)) {
                    store(at + 2 * i as u64, 2, word(&value, i) as u64);
                }
            }
            (Mnemonic::Vbroadcastss | Mnemonic::Vpbroadcastd, Operand::Vector(_)) => {
                let value = match from {
                    Operand::Vector(number) => self.vectors[number][0],
                    Operand::Memory => load(self.address(step), 4) as u32,
                    other => self.get(step, other) as u32,
                };
                self.put(step, |_| value);
            }
            (Mnemonic::Vpmovzxbd, _) => {
                let read = |i: usize| match from {
                    Operand::Vector(number) => byte(&self.vectors[number], i) as u32,
                    _ if self.counts(step, i) => load(self.address(step) + i as u64, 1) as u32,
                    _ => 0,
                };
                let value: Vector = std::array::from_fn(|i| if i < step.lanes { read(i) } else { 0 });
                self.put(step, |i| value[i]);
            }
            (Mnemonic::Vpmovzxwd, _) => {
                let read = |i: usize| match from {
                    Operand::Vector(number) => word(&self.vectors[number], i) as u32,
                    _ if self.counts(step, i) => load(self.address(step) + 2 * i as u64, 2) as u32,
                    _ => 0,
                };
                let value: Vector = std::array::from_fn(|i| if i < step.lanes { read(i) } else { 0 });
                self.put(step, |i| value[i]);
            }
            (Mnemonic::Vpmovdb, Operand::Vector(_)) => {
                let value = self.source(step, 1);
                let bytes: Vec<u8> = value[..step.lanes].iter().map(|&lane| lane as u8).collect();
                self.put_lanes(step, from_bytes(&bytes));
            }
            (Mnemonic::Vpmovdw, Operand::Vector(_)) => {
                let value = self.source(step, 1);
                let words = value[..step.lanes].iter().flat_map(|&lane| (lane as u16).to_le_bytes());
                self.put_lanes(step, from_bytes(&words.collect::<Vec<u8>>()));
            }
            (Mnemonic::Vpackusdw, _) => {
                let (a, b) = (self.source(step, 1), self.source(step, 2));
                let words = quarter(&a, 0).into_iter().chain(quarter(&b, 0));
                let saturate = |lane: u32| (lane as i32).clamp(0, 0xffff) as u16;
                let bytes: Vec<u8> = words.flat_map(|lane| saturate(lane).to_le_bytes()).collect();
                self.only_128(step);
                self.put_lanes(step, from_bytes(&bytes));
            }
            (Mnemonic::Vpackuswb, _) => {
                let (a, b) = (self.source(step, 1), self.source(step, 2));
                let words = (0..8).map(|i| word(&a, i)).chain((0..8).map(|i| word(&b, i)));
                let bytes: Vec<u8> = words.map(|word| (word as i16).clamp(0, 255) as u8).collect();
                self.only_128(step);
                self.put_lanes(step, from_bytes(&bytes));
            }
            (Mnemonic::Vpinsrb, _) => {
                let (a, at) = (self.source(step, 1), self.immediate(step, 3) as usize % 16);
                let mut bytes: [u8; 16] = std::array::from_fn(|i| byte(&a, i));
                bytes[at] = load(self.address(step), 1) as u8;
                self.put_lanes(step, from_bytes(&bytes));
            }
            (Mnemonic::Vpinsrw, _) => {
                let (mut a, at) = (self.source(step, 1), self.immediate(step, 3) as usize % 8);
                let (lane, shift) = (at / 2, 16 * (at % 2));
                a[lane] = a[lane] & !(0xffff << shift) | (load(self.address(step), 2) as u32) << shift;
                self.put_lanes(step, std::array::from_fn(|i| if i < 4 { a[i] } else { 0 }));
            }
            (Mnemonic::Vpinsrd, _) => {
                let (mut a, at) = (self.source(step, 1), self.immediate(step, 3) as usize % 4);
                a[at] = load(self.address(step), 4) as u32;
                self.put_lanes(step, std::array::from_fn(|i| if i < 4 { a[i] } else { 0 }));
            }
            (Mnemonic::Vpextrw, Operand::Memory) => {
                let (a, at) = (self.source(step, 1), self.immediate(step, 2) as usize % 8);
                store(self.address(step), 2, word(&a, at) as u64);
            }
            (Mnemonic::Vpextrb, Operand::Memory) => {
                let (a, at) = (self.source(step, 1), self.immediate(step, 2) as usize % 16);
                store(self.address(step), 1, byte(&a, at) as u64);
            }
            (Mnemonic::Vextractps, Operand::Memory) => {
                let (a, at) = (self.source(step, 1), self.immediate(step, 2) as usize % 4);
                store(self.address(step), 4, a[at] as u64);
            }
            (Mnemonic::Vextractf128 | Mnemonic::Vextractf32x4, Operand::Memory) => {
                let (a, at) = (self.source(step, 1), self.immediate(step, 2) as usize % (step.lanes / 4));
                for (i, lane) in quarter(&a, at).into_iter().enumerate() {
                    store(self.address(step) + 4 * i as u64, 4, lane as u64);
                }
            }
            (
                Mnemonic::Vextracti128 | Mnemonic::Vextractf128 | Mnemonic::Vextracti32x4,
                Operand::Vector(_),
            ) => {
                let (a, at) = (self.source(step, 1), self.immediate(step, 2) as usize % (step.lanes / 4));
                let four = quarter(&a, at);
                self.put_lanes(step, std::array::from_fn(|i| if i < 4 { four[i] } else { 0 }));
            }
            (Mnemonic::Vinsertps, _) if from != Operand::Memory && step.operands[2] == Operand::Memory => {
                let (mut a, how) = (self.source(step, 1), self.immediate(step, 3));
                a[how as usize >> 4 & 3] = load(self.address(step), 4) as u32;
                self.put(step, |i| if how >> i & 1 == 1 { 0 } else { a[i] });
            }
            (Mnemonic::Vinsertf128 | Mnemonic::Vinsertf32x4, _) => {
                let (a, at) = (self.source(step, 1), self.immediate(step, 3) as usize % (step.lanes / 4));
                let four: [u32; 4] = match step.operands[2] {
                    Operand::Vector(number) => quarter(&self.vectors[number], 0),
                    _ => std::array::from_fn(|i| load(self.address(step) + 4 * i as u64, 4) as u32),
                };
                self.put(step, |i| if i / 4 == at { four[i % 4] } else { a[i] });
            }
            (Mnemonic::Vunpcklps | Mnemonic::Vunpckhps, _) => {
                let (a, b) = (self.source(step, 1), self.source(step, 2));
                let upper = if step.mnemonic == Mnemonic::Vunpckhps { 2 } else { 0 };
                let from = |i: usize| i / 4 * 4 + upper + i % 4 / 2;
                self.put(step, |i| if i % 2 == 0 { a[from(i)] } else { b[from(i)] });
            }
            (Mnemonic::Vunpcklpd | Mnemonic::Vunpckhpd, _) if step.mask == 0 => {
                let (a, b) = (self.source(step, 1), self.source(step, 2));
                let upper = if step.mnemonic == Mnemonic::Vunpckhpd { 2 } else { 0 };
                let from = |i: usize| i / 4 * 4 + upper + i % 2;
                self.put(step, |i| if i % 4 < 2 { a[from(i)] } else { b[from(i)] });
            }
            (Mnemonic::Vperm2f128, _) => {
                let (a, b, how) = (self.source(step, 1), self.source(step, 2), self.immediate(step, 3));
                let half = |how: u32| match how & 0b1011 {
                    0 => quarter(&a, 0),
                    1 => quarter(&a, 1),
                    2 => quarter(&b, 0),
                    3 => quarter(&b, 1),
                    _ => [0; 4],
                };
                let halves = [half(how), half(how >> 4)];
                self.put(step, |i| halves[i / 4][i % 4]);
            }
            (Mnemonic::Vshuff32x4, _) if step.lanes == 16 => {
                let (a, b, how) = (self.source(step, 1), self.source(step, 2), self.immediate(step, 3));
                let which = |i: u32| (how >> (2 * i) & 3) as usize;
                let quarters = [
                    quarter(&a, which(0)),
                    quarter(&a, which(1)),
                    quarter(&b, which(2)),
                    quarter(&b, which(3)),
                ];
                self.put(step, |i| quarters[i / 4][i % 4]);
            }
            (Mnemonic::Vpermilps, _) => {
                let (a, how) = (self.source(step, 1), self.immediate(step, 2));
                self.put(step, |i| a[i / 4 * 4 + (how >> (2 * (i % 4)) & 3) as usize]);
            }
            (Mnemonic::Vshufps, _) => {
                let (a, b, how) = (self.source(step, 1), self.source(step, 2), self.immediate(step, 3));
                let from = |i: usize| i / 4 * 4 + (how >> (2 * (i % 4)) & 3) as usize;
                self.put(step, |i| if i % 4 < 2 { a[from(i)] } else { b[from(i)] });
            }
            (Mnemonic::Vpermpd, _) => {
                let (a, how) = (self.source(step, 1), self.immediate(step, 2));
                self.put(step, |i| a[i / 8 * 8 + 2 * (how >> (2 * (i / 2 % 4)) & 3) as usize + i % 2]);
            }
            (Mnemonic::Vgatherdps, _) => self.gather(step),
            (Mnemonic::Vzeroupper, _) => {
                for vector in &mut self.vectors[..16] {
                    vector[4..].fill(0);
                }
            }
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
                let (Operand::Mask(a), Operand::Mask(b)) = (from, step.operands[2]) else {
                    unknown(step, from)
                };
                self.masks[to] = !(self.masks[a] ^ self.masks[b]) & 0xffff;
            }
            (_, to) => unknown(step, to),
        }
    }

    /// Loads the lanes of the mask, which becomes zero; the others stay. The mask is a vector or a register of its own.
    fn gather(&mut self, step: &Step) {
        let (Operand::Vector(to), Index::Vector(index)) = (step.operands[0], step.address.index) else {
            unknown(step, step.operands[0])
        };
        let (base, old, index) = (self.address(step), self.vectors[to], self.vectors[index]);
        let vector = match step.operands[2] {
            Operand::Vector(number) => Some(number),
            _ if step.mask != 0 => None,
            other => unknown(step, other),
        };
        let lane = |i: usize| {
            let counts = match vector {
                Some(mask) => self.vectors[mask][i] >> 31 == 1,
                None => self.masks[step.mask] >> i & 1 == 1,
            };
            let distance = (index[i] as i32 as i64 as u64).wrapping_mul(step.address.scale);
            if counts { load(base.wrapping_add(distance), 4) as u32 } else { old[i] }
        };
        let value = std::array::from_fn(|i| if i < step.lanes { lane(i) } else { 0 });
        self.vectors[to] = value;
        match vector {
            Some(mask) => self.vectors[mask] = [0; 16],
            None => self.masks[step.mask] = 0,
        }
    }

    fn immediate(&self, step: &Step, at: usize) -> u32 {
        match step.operands[at] {
            Operand::Immediate(value) => value as u32 & 0xff,
            other => unknown(step, other),
        }
    }

    /// Whether the instruction's mask has an element.
    fn counts(&self, step: &Step, element: usize) -> bool {
        step.mask == 0 || self.masks[step.mask] >> element & 1 == 1
    }

    /// The lanes of an operand. Of one in memory only those are read that the mask has.
    fn source(&self, step: &Step, at: usize) -> Vector {
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
    fn put(&mut self, step: &Step, value: impl Fn(usize) -> u32) {
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
    fn put_lanes(&mut self, step: &Step, value: Vector) {
        let (Operand::Vector(to), 0) = (step.operands[0], step.mask) else { unknown(step, step.operands[0]) };
        self.vectors[to] = value;
    }

    fn put_low(&mut self, step: &Step, value: u64) {
        let mut vector = [0; 16];
        (vector[0], vector[1]) = (value as u32, (value >> 32) as u32);
        self.put_lanes(step, vector);
    }

    fn store_low(&mut self, step: &Step, bytes: usize) {
        let value = self.source(step, 1);
        store(self.address(step), bytes, value[0] as u64 | (value[1] as u64) << 32);
    }

    fn store_lanes(&self, step: &Step, value: &Vector, which: impl Fn(usize) -> bool) {
        let at = self.address(step);
        for i in (0..16).filter(|&i| which(i)) {
            store(at + 4 * i as u64, 4, value[i] as u64);
        }
    }

    fn only_128(&self, step: &Step) {
        if step.lanes != 4 {
            unknown(step, step.lanes);
        }
    }

    fn unary(&mut self, step: &Step, f: impl Fn(u32) -> u32) {
        let a = self.source(step, 1);
        self.put(step, |i| f(a[i]));
    }

    fn binary(&mut self, step: &Step, f: impl Fn(u32, u32) -> u32) {
        let (a, b) = (self.source(step, 1), self.source(step, 2));
        self.put(step, |i| f(a[i], b[i]));
    }

    fn floats(&mut self, step: &Step, f: impl Fn(f32, f32) -> f32) {
        self.binary(step, |a, b| f(float(a), float(b)).to_bits());
    }

    /// Of the target and two operands.
    fn fused(&mut self, step: &Step, f: impl Fn(f32, f32, f32) -> f32) {
        let (to, b, c) = (self.source(step, 0), self.source(step, 1), self.source(step, 2));
        self.put(step, |i| f(float(to[i]), float(b[i]), float(c[i])).to_bits());
    }

    /// Shifts by an immediate: `f` below 32, else `beyond`.
    fn shift(&mut self, step: &Step, f: impl Fn(u32, u32) -> u32, beyond: impl Fn(u32) -> u32) {
        let by = self.immediate(step, 2);
        self.unary(step, |a| if by < 32 { f(a, by) } else { beyond(a) });
    }

    /// Lanes of ones in a vector, or bits of a mask, which are zero where the instruction's mask has none.
    fn compare(&mut self, step: &Step, f: impl Fn(u32, u32) -> bool) {
        let (a, b) = (self.source(step, 1), self.source(step, 2));
        match step.operands[0] {
            Operand::Mask(to) => {
                let bit = |i: usize| ((self.counts(step, i) && f(a[i], b[i])) as u64) << i;
                self.masks[to] = (0..step.lanes).map(bit).sum();
            }
            _ => self.put(step, |i| if f(a[i], b[i]) { u32::MAX } else { 0 }),
        }
    }
}
