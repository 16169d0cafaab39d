//! What the processors differ in: vector registers, how many and how wide, and what a mask is.

use super::operands::Simd;

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

    /// The mask of a strip's last chunk.
    pub fn tail(self) -> Mask {
        match self.isa {
            Isa::Avx2 => Mask::Vector(Vector(12)),
            Isa::Avx512 => Mask::K1,
        }
    }
}

/// Registers that pass values through. They are among the first sixteen, which every encoding reaches.
pub(crate) const SCRATCH: [Vector; 3] = [Vector(13), Vector(14), Vector(15)];

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

/// Whether `lanes` lanes are loaded and stored without a mask.
pub(crate) fn is_whole(lanes: usize) -> bool {
    matches!(lanes, 1 | 2 | 4 | 8 | 16)
}
