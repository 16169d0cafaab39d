//! Operations on vectors as instructions.

use super::assembler::{Assembler, Located};
use super::instructions::Asm;
use crate::wide::types::lane_code::Lane;
use crate::wide::types::machine::{Isa, Vector};
use crate::wide::types::operands::registers::k2;
use crate::wide::types::operations::{Binary, Unary};

impl Assembler<'_> {
    pub fn unary(&mut self, op: Unary, to: Vector, a: Lane) -> Asm {
        let a = self.register(a, 0)?;
        match op {
            Unary::Copy if to == a => Ok(()),
            Unary::Copy => self.a.vmovaps(self.v(to), self.v(a)),
            Unary::Sqrtps => self.a.vsqrtps(self.v(to), self.v(a)),
            // Both take the mode and whether an inexact result is an exception in the low four bits.
            Unary::Roundps(mode) => match self.machine.isa {
                Isa::Avx2 => self.a.vroundps(to.ymm(), a.ymm(), mode as u32),
                Isa::Avx512 => self.a.vrndscaleps(to.zmm(), a.zmm(), mode as u32),
            },
            Unary::Cvttps2dq => self.a.vcvttps2dq(self.v(to), self.v(a)),
            Unary::Cvtdq2ps => self.a.vcvtdq2ps(self.v(to), self.v(a)),
            Unary::Pabsd => self.a.vpabsd(self.v(to), self.v(a)),
            Unary::Pslld(by) => self.a.vpslld(self.v(to), self.v(a), by as u32),
            Unary::Psrld(by) => self.a.vpsrld(self.v(to), self.v(a), by as u32),
            Unary::Psrad(by) => self.a.vpsrad(self.v(to), self.v(a), by as u32),
            Unary::Psrlq(by) => self.a.vpsrlq(self.v(to), self.v(a), by as u32),
            Unary::Down(distance) => self.down(distance, to, a),
            Unary::Splat => self.a.vbroadcastss(self.v(to), a.xmm()),
        }
    }

    /// Lane `i + distance` in lane `i`, where both are below twice the distance.
    fn down(&mut self, distance: usize, to: Vector, a: Vector) -> Asm {
        match (distance, self.machine.isa) {
            (1, _) => self.a.vpermilps(self.v(to), self.v(a), 0b01_01_01_01u32),
            (2, _) => self.a.vpermilps(self.v(to), self.v(a), 0b11_10_11_10u32),
            (_, Isa::Avx2) => self.a.vperm2f128(to.ymm(), a.ymm(), a.ymm(), 1u32),
            (4, Isa::Avx512) => self.a.vshuff32x4(to.zmm(), a.zmm(), a.zmm(), 0b01_01_01_01u32),
            (_, Isa::Avx512) => self.a.vshuff32x4(to.zmm(), a.zmm(), a.zmm(), 0b11_10_11_10u32),
        }
    }

    pub fn binary(&mut self, op: Binary, to: Vector, a: Vector, b: Located) -> Asm {
        macro_rules! either {
            ($instruction:ident) => {
                self.a.$instruction(self.v(to), self.v(a), self.whole(b))
            };
        }
        // Lanes of ones: with AVX-512 from the bits of a mask.
        macro_rules! compare {
            ($instruction:ident $(, $predicate:expr)?) => {
                match self.machine.isa {
                    Isa::Avx2 => {
                        let (to, a) = (to.ymm(), a.ymm());
                        self.a.$instruction(to, a, self.whole(b) $(, $predicate)?)
                    }
                    Isa::Avx512 => {
                        self.a.$instruction(k2, a.zmm(), self.whole(b) $(, $predicate)?)?;
                        self.a.vpmovm2d(to.zmm(), k2)
                    }
                }
            };
        }
        match op {
            Binary::Addps => either!(vaddps),
            Binary::Subps => either!(vsubps),
            Binary::Mulps => either!(vmulps),
            Binary::Divps => either!(vdivps),
            Binary::Maxps => either!(vmaxps),
            Binary::Minps => either!(vminps),
            Binary::Cmpps(predicate) => compare!(vcmpps, predicate as u32),
            Binary::And => either!(vandps),
            Binary::Or => either!(vorps),
            Binary::Xor => either!(vxorps),
            Binary::Paddd => either!(vpaddd),
            Binary::Psubd => either!(vpsubd),
            Binary::Pmulld => either!(vpmulld),
            Binary::Pmaxsd => either!(vpmaxsd),
            Binary::Pminsd => either!(vpminsd),
            Binary::Pcmpeqd => compare!(vpcmpeqd),
            Binary::Pcmpgtd => compare!(vpcmpgtd),
            Binary::Psllvd => either!(vpsllvd),
            Binary::Psravd => either!(vpsravd),
            Binary::Psrlvd => either!(vpsrlvd),
            Binary::Pmuludq => {
                // Its operands have 64 bits: a constant of 32 cannot be broadcast by the instruction.
                let b = self.load_operand(b, 1)?;
                self.a.vpmuludq(self.v(to), self.v(a), self.v(b))
            }
            Binary::Interleave => self.interleave(to, a, b),
        }
    }

    /// Even lanes of `a`, odd lanes of `b`.
    fn interleave(&mut self, to: Vector, a: Vector, b: Located) -> Asm {
        if self.machine.isa == Isa::Avx2 {
            let (to, a) = (to.ymm(), a.ymm());
            return self.a.vpblendd(to, a, self.whole(b), 0b1010_1010u32);
        }
        let b = self.load_operand(b, 1)?;
        let odd = (0..self.machine.lanes).map(|lane| if lane % 2 == 1 { u32::MAX } else { 0 }).collect();
        let odd = self.pooled(odd);
        if to == b {
            return self.a.vpternlogd(to.zmm(), a.zmm(), odd, choose(THIRD, FIRST, SECOND));
        }
        if to != a {
            self.a.vmovaps(to.zmm(), a.zmm())?;
        }
        self.a.vpternlogd(to.zmm(), b.zmm(), odd, choose(THIRD, SECOND, FIRST))
    }

    /// `mask ? a : b`
    pub fn select(&mut self, to: Vector, mask: Lane, a: Lane, b: Lane) -> Asm {
        let mask = self.register(mask, 0)?;
        let b = self.register(b, 1)?;
        let a = self.operand(a);
        if self.machine.isa == Isa::Avx2 {
            let (to, b, mask) = (to.ymm(), b.ymm(), mask.ymm());
            return self.a.vblendvps(to, b, self.whole(a), mask);
        }
        // Bit by bit, because the lanes of a mask are all ones or all zeros.
        let (target, b, m) = (to.zmm(), b.zmm(), mask.zmm());
        if target == b {
            return self.a.vpternlogd(target, m, self.whole(a), choose(SECOND, THIRD, FIRST));
        }
        if matches!(a, Located::Register(a) if a == to) {
            return self.a.vpternlogd(target, m, b, choose(SECOND, FIRST, THIRD));
        }
        if to != mask {
            self.a.vmovaps(target, m)?;
        }
        self.a.vpternlogd(target, b, self.whole(a), choose(FIRST, THIRD, SECOND))
    }

    /// `a * b + c`, where the instruction overwrites one of its operands.
    pub fn fma(&mut self, to: Vector, a: Lane, b: Lane, c: Lane) -> Asm {
        let in_target = |asm: &Self, lane| matches!(asm.operand(lane), Located::Register(r) if r == to);
        let (a, b) = if in_target(self, b) { (b, a) } else { (a, b) };
        if in_target(self, c) && !in_target(self, a) {
            let a = self.register(a, 0)?;
            let b = self.operand(b);
            return self.a.vfmadd231ps(self.v(to), self.v(a), self.whole(b));
        }
        let b = self.register(b, 0)?;
        let c = self.operand(c);
        match self.operand(a) {
            Located::Register(a) if a == to => {}
            Located::Register(a) => self.a.vmovaps(self.v(to), self.v(a))?,
            memory => self.load_to(to, memory)?,
        }
        self.a.vfmadd213ps(self.v(to), self.v(b), self.whole(c))
    }
}

// The table of a ternary logic instruction is what it does to the columns of the truth table of its three operands,
// the first of which it overwrites.
pub(crate) const FIRST: u32 = 0b1111_0000;
pub(crate) const SECOND: u32 = 0b1100_1100;
pub(crate) const THIRD: u32 = 0b1010_1010;

/// `which ? a : b`
pub(crate) const fn choose(which: u32, a: u32, b: u32) -> u32 {
    (which & a | !which & b) & 0xff
}
