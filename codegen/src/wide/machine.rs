//! What the processors differ in: vector registers, how many and how wide, and what a mask is.

use super::instructions::{Asm, Instructions, Memory, Simd, dword_ptr, qword_ptr, word_ptr};

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

    /// No instructions yet; those to come reach all registers.
    pub fn instructions(self) -> Instructions {
        Instructions::new(self.isa == Isa::Avx512)
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

impl Vector {
    /// Its lowest 128 bits.
    pub fn xmm(self) -> Simd {
        Simd::xmm(self.0)
    }

    /// Its lowest 256 bits.
    pub fn ymm(self) -> Simd {
        Simd::ymm(self.0)
    }

    /// Its 512 bits.
    pub fn zmm(self) -> Simd {
        Simd::zmm(self.0)
    }

    /// The narrowest part that has so many lanes.
    pub fn of(self, lanes: usize) -> Simd {
        match lanes {
            9.. => self.zmm(),
            5..=8 => self.ymm(),
            _ => self.xmm(),
        }
    }
}

/// Loads the first `lanes` lanes, which the mask tells where they do not fill a register; all others become zero.
pub(super) fn load(a: &mut Instructions, to: Vector, place: Memory, lanes: usize, mask: Mask) -> Asm {
    match lanes {
        1 => a.vmovss(to.xmm(), dword_ptr(place)),
        2 => a.vmovsd(to.xmm(), qword_ptr(place)),
        4 | 8 | 16 => a.vmovups(to.of(lanes), place),
        _ => load_masked(a, to, place, lanes, mask),
    }
}

/// Loads the first `lanes` lanes of `bf16`, which are the upper halves of `f32`; `k1` tells them where they do not fill
/// a register. Without such masks they are put together of four, two and one.
pub(super) fn load_bf16(
    a: &mut Instructions,
    machine: Machine,
    to: Vector,
    place: Memory,
    lanes: usize,
) -> Asm {
    let part = to.xmm();
    match (lanes, machine.isa) {
        (4 | 8 | 16, _) => a.vpmovzxwd(to.of(lanes), place)?,
        (3 | 5.., Isa::Avx512) => a.vpmovzxwd(to.of(lanes).k1().z(), place)?,
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
        Isa::Avx2 => a.vpslld(to.of(lanes), to.of(lanes), 16),
        Isa::Avx512 => a.vpslld(to.zmm(), to.zmm(), 16),
    }
}

/// Stores the first `lanes` lanes, which `k1` tells if they do not fill a register. Where masks are vectors they are
/// stored in pieces, because a masked store takes several times as long, through a scratch register that is not the
/// value's.
pub(super) fn store(
    a: &mut Instructions,
    machine: Machine,
    place: Memory,
    from: Vector,
    lanes: usize,
    scratch: Vector,
) -> Asm {
    match (lanes, machine.isa) {
        (1, _) => a.vmovss(dword_ptr(place), from.xmm()),
        (2, _) => a.vmovsd(qword_ptr(place), from.xmm()),
        (4 | 8 | 16, _) => a.vmovups(place, from.of(lanes)),
        (_, Isa::Avx512) => a.vmovups(place.k1(), from.of(lanes)),
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
pub(super) fn load_masked(a: &mut Instructions, to: Vector, place: Memory, lanes: usize, mask: Mask) -> Asm {
    match mask {
        Mask::Vector(mask) if lanes <= 4 => a.vmaskmovps(to.xmm(), mask.xmm(), place),
        Mask::Vector(mask) => a.vmaskmovps(to.ymm(), mask.ymm(), place),
        Mask::K1 => a.vmovups(to.of(lanes).k1().z(), place),
        Mask::K2 => a.vmovups(to.of(lanes).k2().z(), place),
    }
}
