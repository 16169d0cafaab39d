//! Instructions that compute each lane of the result from the same lanes of the operands.

use iced_x86::Mnemonic;

use super::cpu::{Cpu, unknown};
use super::decode::{Decoded, Operand};

fn float(bits: u32) -> f32 {
    f32::from_bits(bits)
}

impl Cpu {
    /// Runs an instruction, if it is of these.
    pub(super) fn execute_arithmetic(&mut self, inst: &Decoded) -> bool {
        match inst.mnemonic {
            Mnemonic::Vaddps => self.floats(inst, |a, b| a + b),
            Mnemonic::Vsubps => self.floats(inst, |a, b| a - b),
            Mnemonic::Vmulps => self.floats(inst, |a, b| a * b),
            Mnemonic::Vdivps => self.floats(inst, |a, b| a / b),
            Mnemonic::Vmaxps => self.floats(inst, |a, b| if a > b { a } else { b }),
            Mnemonic::Vminps => self.floats(inst, |a, b| if a < b { a } else { b }),
            Mnemonic::Vfmadd231ps => self.fused(inst, |to, b, c| b.mul_add(c, to)),
            Mnemonic::Vfmadd213ps => self.fused(inst, |to, b, c| b.mul_add(to, c)),
            Mnemonic::Vsqrtps => self.unary(inst, |a| float(a).sqrt().to_bits()),
            Mnemonic::Vroundps | Mnemonic::Vrndscaleps => self.round(inst),
            Mnemonic::Vcmpps => self.compare_floats(inst),
            Mnemonic::Vcvtdq2ps => self.unary(inst, |a| (a as i32 as f32).to_bits()),
            Mnemonic::Vcvttps2dq => self.unary(inst, |a| match float(a) {
                a if (-2147483648.0..2147483648.0).contains(&a) => a as i32 as u32,
                _ => 0x8000_0000,
            }),
            Mnemonic::Vandps => self.binary(inst, |a, b| a & b),
            Mnemonic::Vorps => self.binary(inst, |a, b| a | b),
            Mnemonic::Vxorps | Mnemonic::Vpxor => self.binary(inst, |a, b| a ^ b),
            Mnemonic::Vpternlogd => self.logic_by_table(inst),
            Mnemonic::Vpaddd => self.binary(inst, u32::wrapping_add),
            Mnemonic::Vpsubd => self.binary(inst, u32::wrapping_sub),
            Mnemonic::Vpmulld => self.binary(inst, u32::wrapping_mul),
            Mnemonic::Vpmaxsd => self.binary(inst, |a, b| (a as i32).max(b as i32) as u32),
            Mnemonic::Vpminsd => self.binary(inst, |a, b| (a as i32).min(b as i32) as u32),
            Mnemonic::Vpabsd => self.unary(inst, |a| (a as i32).unsigned_abs()),
            Mnemonic::Vpsllvd => self.binary(inst, |a, by| if by < 32 { a << by } else { 0 }),
            Mnemonic::Vpsrlvd => self.binary(inst, |a, by| if by < 32 { a >> by } else { 0 }),
            Mnemonic::Vpsravd => self.binary(inst, |a, by| (a as i32 >> by.min(31)) as u32),
            Mnemonic::Vpslld => self.shift(inst, |a, by| a << by, |_| 0),
            Mnemonic::Vpsrld => self.shift(inst, |a, by| a >> by, |_| 0),
            Mnemonic::Vpsrad => {
                self.shift(inst, |a, by| (a as i32 >> by) as u32, |a| (a as i32 >> 31) as u32);
            }
            Mnemonic::Vpsrlq => self.shift_pairs(inst),
            Mnemonic::Vpmuludq => self.multiply_pairs(inst),
            Mnemonic::Vpcmpeqd => self.compare(inst, |a, b| a == b),
            Mnemonic::Vpcmpgtd => self.compare(inst, |a, b| a as i32 > b as i32),
            Mnemonic::Vptestmd => self.compare(inst, |a, b| a & b != 0),
            Mnemonic::Vblendvps => {
                let (a, b, mask) = (self.source(inst, 1), self.source(inst, 2), self.source(inst, 3));
                self.put(inst, |i| if mask[i] >> 31 == 1 { b[i] } else { a[i] });
            }
            Mnemonic::Vpblendd => {
                let (a, b, which) = (self.source(inst, 1), self.source(inst, 2), self.immediate(inst, 3));
                self.put(inst, |i| if which >> i & 1 == 1 { b[i] } else { a[i] });
            }
            _ => return false,
        }
        true
    }

    fn compare_floats(&mut self, inst: &Decoded) {
        let predicate = self.immediate(inst, 3);
        self.compare(inst, |a, b| {
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
                other => unknown(inst, other),
            }
        });
    }

    fn round(&mut self, inst: &Decoded) {
        let mode = self.immediate(inst, 2);
        self.unary(inst, |a| {
            let a = float(a);
            // Bit 3 has no inexact exception; bits 4 to 7 are fractional bits that are kept.
            let rounded = match mode & !8 {
                0 => a.round_ties_even(),
                1 => a.floor(),
                2 => a.ceil(),
                3 => a.trunc(),
                other => unknown(inst, other),
            };
            rounded.to_bits()
        });
    }

    /// Each bit by those of three operands: a position in a table of eight.
    fn logic_by_table(&mut self, inst: &Decoded) {
        let (a, b, c) = (self.source(inst, 0), self.source(inst, 1), self.source(inst, 2));
        let table = self.immediate(inst, 3);
        self.put(inst, |i| {
            let bit = |bit: usize| {
                let row = (a[i] >> bit & 1) << 2 | (b[i] >> bit & 1) << 1 | c[i] >> bit & 1;
                (table >> row & 1) << bit
            };
            (0..32).map(bit).fold(0, |all, bit| all | bit)
        });
    }

    /// Products of 64 bits, of the lower lanes of pairs.
    fn multiply_pairs(&mut self, inst: &Decoded) {
        let (a, b) = (self.source(inst, 1), self.source(inst, 2));
        let products: [u64; 8] = std::array::from_fn(|i| a[2 * i] as u64 * b[2 * i] as u64);
        self.put(inst, |i| (products[i / 2] >> (32 * (i % 2))) as u32);
    }

    /// Shifts pairs of lanes to the right, each an integer of 64 bits.
    fn shift_pairs(&mut self, inst: &Decoded) {
        let (a, by) = (self.source(inst, 1), self.immediate(inst, 2));
        let shifted: [u64; 8] = std::array::from_fn(|i| {
            let whole = a[2 * i] as u64 | (a[2 * i + 1] as u64) << 32;
            if by < 64 { whole >> by } else { 0 }
        });
        self.put(inst, |i| (shifted[i / 2] >> (32 * (i % 2))) as u32);
    }

    /// `f` of each lane.
    pub(super) fn unary(&mut self, inst: &Decoded, f: impl Fn(u32) -> u32) {
        let a = self.source(inst, 1);
        self.put(inst, |i| f(a[i]));
    }

    /// `f` of each lane of two operands.
    fn binary(&mut self, inst: &Decoded, f: impl Fn(u32, u32) -> u32) {
        let (a, b) = (self.source(inst, 1), self.source(inst, 2));
        self.put(inst, |i| f(a[i], b[i]));
    }

    fn floats(&mut self, inst: &Decoded, f: impl Fn(f32, f32) -> f32) {
        self.binary(inst, |a, b| f(float(a), float(b)).to_bits());
    }

    /// Of the target and two operands.
    fn fused(&mut self, inst: &Decoded, f: impl Fn(f32, f32, f32) -> f32) {
        let (to, b, c) = (self.source(inst, 0), self.source(inst, 1), self.source(inst, 2));
        self.put(inst, |i| f(float(to[i]), float(b[i]), float(c[i])).to_bits());
    }

    /// Shifts by an immediate: `f` below 32, else `beyond`.
    fn shift(&mut self, inst: &Decoded, f: impl Fn(u32, u32) -> u32, beyond: impl Fn(u32) -> u32) {
        let by = self.immediate(inst, 2);
        self.unary(inst, |a| if by < 32 { f(a, by) } else { beyond(a) });
    }

    /// Lanes of ones in a vector, or bits of a mask, which are zero where the instruction's mask has none.
    fn compare(&mut self, inst: &Decoded, f: impl Fn(u32, u32) -> bool) {
        let (a, b) = (self.source(inst, 1), self.source(inst, 2));
        match inst.operands[0] {
            Operand::Mask(to) => {
                let bit = |i: usize| ((self.counts(inst, i) && f(a[i], b[i])) as u64) << i;
                self.masks[to] = (0..inst.lanes).map(bit).sum();
            }
            _ => self.put(inst, |i| if f(a[i], b[i]) { u32::MAX } else { 0 }),
        }
    }
}
