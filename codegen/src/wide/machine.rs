//! What the processors differ in: vector registers, how many and how wide, and what a mask is.

use iced_x86::IcedError;
use iced_x86::code_asm::{registers::*, *};

pub(super) type Asm<T = ()> = Result<T, IcedError>;

/// Which instructions there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Isa {
    /// AVX2 and FMA; masks are vectors.
    Avx2,
    /// AVX-512 F, BW, DQ and VL: masks have registers of their own, and operands may be broadcast from memory.
    Avx512,
}

/// A processor with vector registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Machine {
    pub isa: Isa,
    /// Lanes of 32 bits in a register.
    pub lanes: usize,
    /// Number of vector registers.
    pub registers: usize,
    /// The most vectors side by side in a block of a tile.
    pub most_vectors: usize,
}

/// Lanes of an accumulator of a strip, on every machine.
const ACCUMULATOR: usize = 32;

impl Machine {
    pub const AVX2: Machine = Machine { isa: Isa::Avx2, lanes: 8, registers: 16, most_vectors: 6 };
    pub const AVX512: Machine = Machine { isa: Isa::Avx512, lanes: 16, registers: 32, most_vectors: 12 };

    /// Bytes of a register.
    pub fn bytes(self) -> i32 {
        4 * self.lanes as i32
    }

    /// Registers that hold the 32 lanes of an accumulator.
    pub fn parts(self) -> usize {
        ACCUMULATOR / self.lanes
    }

    /// Registers that values may live in; the others serve the assembler.
    pub fn values(self) -> usize {
        self.registers - SCRATCH.len() - (self.isa == Isa::Avx2) as usize
    }

    /// The register of a value.
    pub fn value(self, number: usize) -> Vector {
        let first = SCRATCH[0].0 - (self.isa == Isa::Avx2) as usize;
        Vector(if number < first { number } else { number + SCRATCH.len() })
    }

    /// The mask of the last step of a strip.
    pub fn tail(self) -> Mask {
        match self.isa {
            Isa::Avx2 => Mask::Vector(Vector(12)),
            Isa::Avx512 => Mask::K1,
        }
    }

    /// An assembler whose instructions reach all registers.
    pub fn assembler(self) -> Asm<CodeAssembler> {
        let mut assembler = CodeAssembler::new(64)?;
        assembler.set_prefer_vex(self.isa == Isa::Avx2);
        Ok(assembler)
    }
}

/// Registers that pass values through. They are among the first sixteen, which every encoding reaches.
pub(super) const SCRATCH: [Vector; 3] = [Vector(13), Vector(14), Vector(15)];

/// Which lanes an instruction touches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mask {
    /// Lanes of ones.
    Vector(Vector),
    /// Bits of `k1`, which is for the last lanes of a strip or a tile.
    K1,
    /// Bits of `k2`, which is for everything else.
    K2,
}

/// A vector register, of any width.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Vector(pub usize);

macro_rules! registers {
    ($($name:ident: $type:ident = [$($register:ident)*];)*) => {
        impl Vector {
            $(pub fn $name(self) -> $type {
                const ALL: [$type; 32] = [$($register),*];
                ALL[self.0]
            })*
        }
    };
}

registers! {
    xmm: AsmRegisterXmm = [
        xmm0 xmm1 xmm2 xmm3 xmm4 xmm5 xmm6 xmm7 xmm8 xmm9 xmm10 xmm11 xmm12 xmm13 xmm14 xmm15
        xmm16 xmm17 xmm18 xmm19 xmm20 xmm21 xmm22 xmm23 xmm24 xmm25 xmm26 xmm27 xmm28 xmm29 xmm30 xmm31
    ];
    ymm: AsmRegisterYmm = [
        ymm0 ymm1 ymm2 ymm3 ymm4 ymm5 ymm6 ymm7 ymm8 ymm9 ymm10 ymm11 ymm12 ymm13 ymm14 ymm15
        ymm16 ymm17 ymm18 ymm19 ymm20 ymm21 ymm22 ymm23 ymm24 ymm25 ymm26 ymm27 ymm28 ymm29 ymm30 ymm31
    ];
    zmm: AsmRegisterZmm = [
        zmm0 zmm1 zmm2 zmm3 zmm4 zmm5 zmm6 zmm7 zmm8 zmm9 zmm10 zmm11 zmm12 zmm13 zmm14 zmm15
        zmm16 zmm17 zmm18 zmm19 zmm20 zmm21 zmm22 zmm23 zmm24 zmm25 zmm26 zmm27 zmm28 zmm29 zmm30 zmm31
    ];
}

/// An instruction on registers of that many lanes: `v` gives a register its width. Fewer lanes than eight are in the
/// narrowest registers.
macro_rules! sized {
    ($lanes:expr, $v:ident => $instruction:expr) => {
        match $lanes {
            9.. => {
                let $v = $crate::wide::machine::Vector::zmm;
                $instruction
            }
            5..=8 => {
                let $v = $crate::wide::machine::Vector::ymm;
                $instruction
            }
            _ => {
                let $v = $crate::wide::machine::Vector::xmm;
                $instruction
            }
        }
    };
}

/// An instruction on whole registers.
macro_rules! wide {
    ($asm:ident, $v:ident => $instruction:expr) => {
        match $asm.machine.lanes {
            16 => {
                let $v = $crate::wide::machine::Vector::zmm;
                $instruction
            }
            _ => {
                let $v = $crate::wide::machine::Vector::ymm;
                $instruction
            }
        }
    };
}

pub(super) use {sized, wide};

/// Loads the first `lanes` lanes, which the mask tells where they do not fill a register; all others become zero.
pub(super) fn load(
    a: &mut CodeAssembler,
    to: Vector,
    place: AsmMemoryOperand,
    lanes: usize,
    mask: Mask,
) -> Asm {
    match lanes {
        1 => a.vmovss(to.xmm(), dword_ptr(place)),
        2 => a.vmovsd(to.xmm(), qword_ptr(place)),
        4 | 8 | 16 => sized!(lanes, v => a.vmovups(v(to), place)),
        _ => load_masked(a, to, place, lanes, mask),
    }
}

/// Loads the first `lanes` lanes of `bf16`, which are the upper halves of `f32`; `k1` tells them where they do not fill
/// a register. Without such masks they are put together of four, two and one.
pub(super) fn load_bf16(
    a: &mut CodeAssembler,
    machine: Machine,
    to: Vector,
    place: AsmMemoryOperand,
    lanes: usize,
) -> Asm {
    let part = to.xmm();
    match (lanes, machine.isa) {
        (4 | 8 | 16, _) => sized!(lanes, v => a.vpmovzxwd(v(to), place))?,
        (3 | 5.., Isa::Avx512) => sized!(lanes, v => a.vpmovzxwd(v(to).k1().z(), place))?,
        _ => {
            let mut at = lanes & 4;
            match at {
                4 => a.vmovq(part, qword_ptr(place))?,
                _ => a.vxorps(part, part, part)?,
            }
            if lanes & 2 != 0 {
                a.vpinsrd(part, part, dword_ptr(place + 2 * at as i32), at as u32 / 2)?;
                at += 2;
            }
            if lanes & 1 != 0 {
                a.vpinsrw(part, part, word_ptr(place + 2 * at as i32), at as u32)?;
            }
            match lanes {
                5.. => a.vpmovzxwd(to.ymm(), part)?,
                _ => a.vpmovzxwd(part, part)?,
            }
        }
    }
    match machine.isa {
        Isa::Avx2 => sized!(lanes, v => a.vpslld(v(to), v(to), 16)),
        Isa::Avx512 => a.vpslld(to.zmm(), to.zmm(), 16),
    }
}

/// Stores the first `lanes` lanes, which `k1` tells if they do not fill a register. Where masks are vectors they are
/// stored in pieces, because a masked store takes several times as long, through a scratch register that is not the
/// value's.
pub(super) fn store(
    a: &mut CodeAssembler,
    machine: Machine,
    place: AsmMemoryOperand,
    from: Vector,
    lanes: usize,
    scratch: Vector,
) -> Asm {
    match (lanes, machine.isa) {
        (1, _) => a.vmovss(dword_ptr(place), from.xmm()),
        (2, _) => a.vmovsd(qword_ptr(place), from.xmm()),
        (4 | 8 | 16, _) => sized!(lanes, v => a.vmovups(place, v(from))),
        (_, Isa::Avx512) => sized!(lanes, v => a.vmovups(place.k1(), v(from))),
        (_, Isa::Avx2) => {
            let (mut part, mut at) = (from.xmm(), 0);
            if lanes > 4 {
                a.vmovups(place, part)?;
                a.vextractf128(scratch.xmm(), from.ymm(), 1)?;
                (part, at) = (scratch.xmm(), 4);
            }
            let place = |lane: usize| place + 4 * lane as i32;
            if lanes - at >= 2 {
                a.vmovlps(qword_ptr(place(at)), part)?;
            }
            match lanes - at {
                1 => a.vmovss(dword_ptr(place(at)), part),
                3 => a.vextractps(dword_ptr(place(at + 2)), part, 2),
                _ => Ok(()),
            }
        }
    }
}

/// Whether `lanes` lanes are loaded and stored without a mask.
pub(super) fn is_whole(lanes: usize) -> bool {
    matches!(lanes, 1 | 2 | 4 | 8 | 16)
}

/// Loads the lanes of the mask, which are among the first `lanes`; all others become zero.
pub(super) fn load_masked(
    a: &mut CodeAssembler,
    to: Vector,
    place: AsmMemoryOperand,
    lanes: usize,
    mask: Mask,
) -> Asm {
    match mask {
        Mask::Vector(mask) if lanes <= 4 => a.vmaskmovps(to.xmm(), mask.xmm(), place),
        Mask::Vector(mask) => a.vmaskmovps(to.ymm(), mask.ymm(), place),
        Mask::K1 => sized!(lanes, v => a.vmovups(v(to).k1().z(), place)),
        Mask::K2 => sized!(lanes, v => a.vmovups(v(to).k2().z(), place)),
    }
}
