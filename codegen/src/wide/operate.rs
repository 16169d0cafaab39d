//! Operations on vectors as instructions.

use iced_x86::code_asm::{registers::*, *};

use super::assemble::{Asm, Assembler, Operand};
use super::lanes::{Binary, Lane, Unary};

/// The lower half of a register.
pub(super) fn low(register: AsmRegisterYmm) -> AsmRegisterXmm {
    const XMM: [AsmRegisterXmm; 16] = [
        xmm0, xmm1, xmm2, xmm3, xmm4, xmm5, xmm6, xmm7, xmm8, xmm9, xmm10, xmm11, xmm12, xmm13, xmm14, xmm15,
    ];
    XMM[iced_x86::Register::from(register).number()]
}

impl Assembler<'_> {
    pub(super) fn unary(&mut self, op: Unary, to: AsmRegisterYmm, a: Lane) -> Asm {
        let a = self.register(a, 0)?;
        match op {
            Unary::Copy if to == a => Ok(()),
            Unary::Copy => self.a.vmovaps(to, a),
            Unary::Sqrtps => self.a.vsqrtps(to, a),
            Unary::Roundps(mode) => self.a.vroundps(to, a, mode as u32),
            Unary::Cvttps2dq => self.a.vcvttps2dq(to, a),
            Unary::Cvtdq2ps => self.a.vcvtdq2ps(to, a),
            Unary::Pabsd => self.a.vpabsd(to, a),
            Unary::Pslld(by) => self.a.vpslld(to, a, by as u32),
            Unary::Psrld(by) => self.a.vpsrld(to, a, by as u32),
            Unary::Psrad(by) => self.a.vpsrad(to, a, by as u32),
            Unary::Psrlq(by) => self.a.vpsrlq(to, a, by as u32),
            Unary::SwapHalves => self.a.vperm2f128(to, a, a, 1u32),
            Unary::Permute(selection) => self.a.vpermilps(to, a, selection as u32),
            Unary::Splat => self.a.vbroadcastss(to, low(a)),
        }
    }

    pub(super) fn binary(&mut self, op: Binary, to: AsmRegisterYmm, a: AsmRegisterYmm, b: Operand) -> Asm {
        macro_rules! either {
            ($instruction:ident $(, $imm:expr)?) => {
                match b {
                    Operand::Register(b) => self.a.$instruction(to, a, b $(, $imm)?),
                    Operand::Memory(b) => self.a.$instruction(to, a, b $(, $imm)?),
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
            Binary::Cmpps(predicate) => either!(vcmpps, predicate as u32),
            Binary::And => either!(vandps),
            Binary::Or => either!(vorps),
            Binary::Xor => either!(vxorps),
            Binary::Paddd => either!(vpaddd),
            Binary::Psubd => either!(vpsubd),
            Binary::Pmulld => either!(vpmulld),
            Binary::Pmaxsd => either!(vpmaxsd),
            Binary::Pminsd => either!(vpminsd),
            Binary::Pcmpeqd => either!(vpcmpeqd),
            Binary::Pcmpgtd => either!(vpcmpgtd),
            Binary::Psllvd => either!(vpsllvd),
            Binary::Psravd => either!(vpsravd),
            Binary::Psrlvd => either!(vpsrlvd),
            Binary::Pmuludq => either!(vpmuludq),
            Binary::Interleave => either!(vpblendd, 0b1010_1010u32),
        }
    }

    /// `a * b + c`, where the instruction overwrites one of its operands.
    pub(super) fn fma(&mut self, to: AsmRegisterYmm, a: Lane, b: Lane, c: Lane) -> Asm {
        let in_target = |asm: &Self, lane| matches!(asm.operand(lane), Operand::Register(r) if r == to);
        let (a, b) = if in_target(self, b) { (b, a) } else { (a, b) };
        if in_target(self, c) && !in_target(self, a) {
            let a = self.register(a, 0)?;
            return match self.operand(b) {
                Operand::Register(b) => self.a.vfmadd231ps(to, a, b),
                Operand::Memory(b) => self.a.vfmadd231ps(to, a, b),
            };
        }
        let b = self.register(b, 0)?;
        let c = self.operand(c);
        match self.operand(a) {
            Operand::Register(a) if a == to => {}
            Operand::Register(a) => self.a.vmovaps(to, a)?,
            Operand::Memory(a) => self.a.vmovups(to, a)?,
        }
        match c {
            Operand::Register(c) => self.a.vfmadd213ps(to, b, c),
            Operand::Memory(c) => self.a.vfmadd213ps(to, b, c),
        }
    }
}
