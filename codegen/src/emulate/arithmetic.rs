//! Instructions that compute each lane of the result from the same lanes of the operands.

use iced_x86::Mnemonic;

use super::cpu::{Cpu, unknown};
use super::decode::{Decoded, Operand};

fn float(bits: u32) -> f32 {
    f32::from_bits(bits)
}

impl Cpu {
    /// Runs an instruction, if it is of these.
    pub(super) fn arithmetic_step(&mut self, step: &Decoded) -> bool {
        match step.mnemonic {
            Mnemonic::Vaddps => self.floats(step, |a, b| a + b),
            Mnemonic::Vsubps => self.floats(step, |a, b| a - b),
            Mnemonic::Vmulps => self.floats(step, |a, b| a * b),
            Mnemonic::Vdivps => self.floats(step, |a, b| a / b),
            Mnemonic::Vmaxps => self.floats(step, |a, b| if a > b { a } else { b }),
            Mnemonic::Vminps => self.floats(step, |a, b| if a < b { a } else { b }),
            Mnemonic::Vfmadd231ps => self.fused(step, |to, b, c| b.mul_add(c, to)),
            Mnemonic::Vfmadd213ps => self.fused(step, |to, b, c| b.mul_add(to, c)),
            Mnemonic::Vsqrtps => self.unary(step, |a| float(a).sqrt().to_bits()),
            Mnemonic::Vroundps | Mnemonic::Vrndscaleps => self.round(step),
            Mnemonic::Vcmpps => self.compare_floats(step),
            Mnemonic::Vcvtdq2ps => self.unary(step, |a| (a as i32 as f32).to_bits()),
            Mnemonic::Vcvttps2dq => self.unary(step, |a| match float(a) {
                a if (-2147483648.0..2147483648.0).contains(&a) => a as i32 as u32,
                _ => 0x8000_0000,
            }),
            Mnemonic::Vandps => self.binary(step, |a, b| a & b),
            Mnemonic::Vorps => self.binary(step, |a, b| a | b),
            Mnemonic::Vxorps | Mnemonic::Vpxor => self.binary(step, |a, b| a ^ b),
            Mnemonic::Vpternlogd => self.logic_by_table(step),
            Mnemonic::Vpaddd => self.binary(step, u32::wrapping_add),
            Mnemonic::Vpsubd => self.binary(step, u32::wrapping_sub),
            Mnemonic::Vpmulld => self.binary(step, u32::wrapping_mul),
            Mnemonic::Vpmaxsd => self.binary(step, |a, b| (a as i32).max(b as i32) as u32),
            Mnemonic::Vpminsd => self.binary(step, |a, b| (a as i32).min(b as i32) as u32),
            Mnemonic::Vpabsd => self.unary(step, |a| (a as i32).unsigned_abs()),
            Mnemonic::Vpsllvd => self.binary(step, |a, by| if by < 32 { a << by } else { 0 }),
            Mnemonic::Vpsrlvd => self.binary(step, |a, by| if by < 32 { a >> by } else { 0 }),
            Mnemonic::Vpsravd => self.binary(step, |a, by| (a as i32 >> by.min(31)) as u32),
            Mnemonic::Vpslld => self.shift(step, |a, by| a << by, |_| 0),
            Mnemonic::Vpsrld => self.shift(step, |a, by| a >> by, |_| 0),
            Mnemonic::Vpsrad => {
                self.shift(step, |a, by| (a as i32 >> by) as u32, |a| (a as i32 >> 31) as u32);
            }
            Mnemonic::Vpsrlq => self.shift_pairs(step),
            Mnemonic::Vpmuludq => self.multiply_pairs(step),
            Mnemonic::Vpcmpeqd => self.compare(step, |a, b| a == b),
            Mnemonic::Vpcmpgtd => self.compare(step, |a, b| a as i32 > b as i32),
            Mnemonic::Vptestmd => self.compare(step, |a, b| a & b != 0),
            Mnemonic::Vblendvps => {
                let (a, b, mask) = (self.source(step, 1), self.source(step, 2), self.source(step, 3));
                self.put(step, |i| if mask[i] >> 31 == 1 { b[i] } else { a[i] });
            }
            Mnemonic::Vpblendd => {
                let (a, b, which) = (self.source(step, 1), self.source(step, 2), self.immediate(step, 3));
                self.put(step, |i| if which >> i & 1 == 1 { b[i] } else { a[i] });
            }
            _ => return false,
        }
        true
    }

    fn compare_floats(&mut self, step: &Decoded) {
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

    fn round(&mut self, step: &Decoded) {
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

    /// Each bit by those of three operands: a position in a table of eight.
    fn logic_by_table(&mut self, step: &Decoded) {
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

    /// Products of 64 bits, of the lower lanes of pairs.
    fn multiply_pairs(&mut self, step: &Decoded) {
        let (a, b) = (self.source(step, 1), self.source(step, 2));
        let products: [u64; 8] = std::array::from_fn(|i| a[2 * i] as u64 * b[2 * i] as u64);
        self.put(step, |i| (products[i / 2] >> (32 * (i % 2))) as u32);
    }

    /// Shifts pairs of lanes to the right, each an integer of 64 bits.
    fn shift_pairs(&mut self, step: &Decoded) {
        let (a, by) = (self.source(step, 1), self.immediate(step, 2));
        let shifted: [u64; 8] = std::array::from_fn(|i| {
            let whole = a[2 * i] as u64 | (a[2 * i + 1] as u64) << 32;
            if by < 64 { whole >> by } else { 0 }
        });
        self.put(step, |i| (shifted[i / 2] >> (32 * (i % 2))) as u32);
    }

    /// `f` of each lane.
    pub(super) fn unary(&mut self, step: &Decoded, f: impl Fn(u32) -> u32) {
        let a = self.source(step, 1);
        self.put(step, |i| f(a[i]));
    }

    /// `f` of each lane of two operands.
    fn binary(&mut self, step: &Decoded, f: impl Fn(u32, u32) -> u32) {
        let (a, b) = (self.source(step, 1), self.source(step, 2));
        self.put(step, |i| f(a[i], b[i]));
    }

    fn floats(&mut self, step: &Decoded, f: impl Fn(f32, f32) -> f32) {
        self.binary(step, |a, b| f(float(a), float(b)).to_bits());
    }

    /// Of the target and two operands.
    fn fused(&mut self, step: &Decoded, f: impl Fn(f32, f32, f32) -> f32) {
        let (to, b, c) = (self.source(step, 0), self.source(step, 1), self.source(step, 2));
        self.put(step, |i| f(float(to[i]), float(b[i]), float(c[i])).to_bits());
    }

    /// Shifts by an immediate: `f` below 32, else `beyond`.
    fn shift(&mut self, step: &Decoded, f: impl Fn(u32, u32) -> u32, beyond: impl Fn(u32) -> u32) {
        let by = self.immediate(step, 2);
        self.unary(step, |a| if by < 32 { f(a, by) } else { beyond(a) });
    }

    /// Lanes of ones in a vector, or bits of a mask, which are zero where the instruction's mask has none.
    fn compare(&mut self, step: &Decoded, f: impl Fn(u32, u32) -> bool) {
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
