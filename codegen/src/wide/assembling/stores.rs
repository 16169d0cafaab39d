//! Stores of a strip's elements.

use brolga_ir::DType;

use super::assembler::Assembler;
use super::instructions::Asm;
use super::partial;
use crate::wide::types::lane_code::{Elements, Lane};
use crate::wide::types::machine::{Isa, SCRATCH, Vector};
use crate::wide::types::operands::{byte_ptr, dword_ptr, qword_ptr, word_ptr};

impl Assembler<'_> {
    pub fn store(&mut self, place: Elements, value: Lane) -> Asm {
        let value = self.register(value, 0)?;
        // What is stored: the lanes themselves, or their bytes or upper halves.
        let value = match place.dtype.size() {
            1 => self.bytes(place.dtype, value)?,
            2 => self.halves(value)?,
            _ => value,
        };
        if self.chunk.is_none() {
            return self.store_one(place, value);
        }
        if place.stride == 1 && self.store_contiguous(place, value)? {
            return Ok(());
        }
        self.store_one_by_one(place, value)
    }

    /// The first lane, outside of strips.
    fn store_one(&mut self, place: Elements, value: Vector) -> Asm {
        let base = self.word(place.word)?;
        let at = base + place.offset;
        match place.dtype.size() {
            1 => self.a.vpextrb(byte_ptr(at), value.xmm(), 0u32),
            2 => self.a.vpextrw(word_ptr(at), value.xmm(), 0u32),
            _ => self.a.vmovss(dword_ptr(at), value.xmm()),
        }
    }

    /// Lanes that lie one behind the other; false where there is no instruction for them.
    fn store_contiguous(&mut self, place: Elements, value: Vector) -> Asm<bool> {
        let count = self.count();
        match place.dtype.size() {
            1 if !matches!((count, self.machine.isa), (8 | 16, _) | (_, Isa::Avx512)) => return Ok(false),
            1 => {
                let place = self.contiguous(place)?;
                match count {
                    8 => self.a.vmovq(qword_ptr(place), value.xmm())?,
                    16 => self.a.vmovups(place, value.xmm())?,
                    _ => self.a.vmovdqu8(place.k1(), value.xmm())?,
                }
            }
            2 => {
                let place = self.contiguous(place)?;
                match (count, self.machine.isa) {
                    (8, _) => self.a.vmovups(place, value.xmm())?,
                    (16, _) => self.a.vmovups(place, value.ymm())?,
                    (_, Isa::Avx512) => self.a.vmovdqu16(place.k1(), value.ymm())?,
                    _ => {
                        for lane in 0..count {
                            self.a.vpextrw(word_ptr(place + 2 * lane as i32), value.xmm(), lane as u32)?;
                        }
                    }
                }
            }
            _ => {
                let place = self.contiguous(place)?;
                partial::store(&mut self.a, self.machine, place, value, count, SCRATCH[1])?;
            }
        }
        Ok(true)
    }

    /// One lane after the other, the last one last.
    fn store_one_by_one(&mut self, place: Elements, value: Vector) -> Asm {
        let size = place.dtype.size();
        let (base, offset) = self.strided(place)?;
        let four = SCRATCH[1].xmm();
        for lane in 0..self.count() {
            let at = place.offset + offset + place.stride * size as i32 * lane as i32;
            if size == 1 {
                self.a.vpextrb(byte_ptr(base + at), value.xmm(), lane as u32)?;
                continue;
            }
            if lane % 4 == 0 {
                match self.machine.isa {
                    Isa::Avx2 => self.a.vextracti128(four, value.ymm(), lane as u32 / 4)?,
                    Isa::Avx512 => self.a.vextracti32x4(four, value.zmm(), lane as u32 / 4)?,
                }
            }
            self.a.vextractps(dword_ptr(base + at), four, lane as u32 % 4)?;
        }
        Ok(())
    }

    /// The upper halves of lanes, which is what a `bf16` has, side by side in the low part of a scratch register.
    fn halves(&mut self, value: Vector) -> Asm<Vector> {
        let (shifted, lower) = (SCRATCH[0], SCRATCH[1]);
        self.a.vpsrld(self.v(shifted), self.v(value), 16)?;
        match self.machine.isa {
            Isa::Avx2 => {
                let upper = SCRATCH[2].xmm();
                self.a.vextracti128(upper, shifted.ymm(), 1)?;
                self.a.vextracti128(lower.xmm(), shifted.ymm(), 0)?;
                self.a.vpackusdw(lower.xmm(), lower.xmm(), upper)?;
            }
            Isa::Avx512 => self.a.vpmovdw(lower.ymm(), shifted.zmm())?,
        }
        Ok(lower)
    }

    /// Lanes of bytes side by side in the low part of a scratch register.
    fn bytes(&mut self, dtype: DType, value: Vector) -> Asm<Vector> {
        let mut value = value;
        if dtype == DType::Bool {
            self.a.vpsrld(self.v(SCRATCH[0]), self.v(value), 31)?;
            value = SCRATCH[0];
        }
        // Lanes in 0..=255, which saturation and truncation keep.
        let (lower, upper) = (SCRATCH[1].xmm(), SCRATCH[2].xmm());
        match self.machine.isa {
            Isa::Avx2 => {
                // The halves first, because packing stays inside them.
                self.a.vextracti128(upper, value.ymm(), 1)?;
                self.a.vextracti128(lower, value.ymm(), 0)?;
                self.a.vpackusdw(lower, lower, upper)?;
                self.a.vpackuswb(lower, lower, lower)?;
            }
            Isa::Avx512 => self.a.vpmovdb(lower, value.zmm())?,
        }
        Ok(SCRATCH[1])
    }
}
