//! Loads of a strip's elements.

use brolga_ir::DType;

use super::assembler::{Assembler, Chunk};
use super::instructions::Asm;
use super::{bf16, partial};
use crate::wide::types::lane_code::{Elements, Lane};
use crate::wide::types::machine::{Isa, Mask, SCRATCH, Vector};
use crate::wide::types::operands::registers::*;
use crate::wide::types::operands::{Gpr64, Memory, byte_ptr, dword_ptr, qword_ptr};

impl Assembler<'_> {
    /// The address of the chunk's first element, less the place's offset: a register, and bytes to add.
    pub fn strided(&mut self, place: Elements) -> Asm<(Gpr64, i32)> {
        let base = self.word(place.word)?;
        let Some(Chunk { first, in_loop, .. }) = self.chunk else { return Ok((base, 0)) };
        let bytes = place.stride * place.dtype.size() as i32;
        if in_loop && bytes != 0 {
            self.a.imul(rdx, rcx, bytes)?;
            self.a.lea(rax, qword_ptr(base + rdx))?;
            return Ok((rax, first as i32 * bytes));
        }
        Ok((base, first as i32 * bytes))
    }

    /// Where the chunk's elements lie one behind the other.
    pub fn contiguous(&mut self, place: Elements) -> Asm<Memory> {
        let base = self.word(place.word)?;
        let Some(Chunk { first, in_loop, .. }) = self.chunk else { return Ok(base + place.offset) };
        let offset = place.offset + first as i32 * place.dtype.size() as i32;
        Ok(match (in_loop, place.dtype.size()) {
            (false, _) => base + offset,
            (true, 1) => base + rcx + offset,
            (true, 2) => base + rcx * 2 + offset,
            (true, _) => base + rcx * 4 + offset,
        })
    }

    pub fn load(&mut self, to: Vector, place: Elements, guard: Option<Lane>) -> Asm {
        match place.dtype.size() {
            1 => return self.load_bytes(to, place),
            2 => return self.load_bf16(to, place),
            _ => {}
        }
        let linear = place.index.is_none();
        if linear && place.stride == 0 && guard.is_none() {
            let base = self.word(place.word)?;
            return self.a.vbroadcastss(self.v(to), dword_ptr(base + place.offset));
        }
        if linear && place.stride == 1 && guard.is_none() {
            let place = self.contiguous(place)?;
            let count = self.count();
            return partial::load(&mut self.a, to, place, count, self.machine.tail());
        }
        if linear && place.stride == 2 && guard.is_none() && !self.masked() && self.machine.isa == Isa::Avx2 {
            return self.load_every_other(to, place);
        }
        if linear && guard.is_none() {
            return self.load_strided(to, place);
        }
        let mask = self.guarded(guard)?;
        if linear && place.stride == 1 {
            let place = self.contiguous(place)?;
            return partial::load_masked(&mut self.a, to, place, self.machine.lanes, mask);
        }
        self.gather(to, place, mask)
    }

    /// Elements some stride apart, or at computed distances, where the mask says.
    fn gather(&mut self, to: Vector, place: Elements, mask: Mask) -> Asm {
        // The instruction keeps what is not loaded, and wants three different registers: it has the target's own lanes
        // zeroed, the distances in a scratch register, and uses up the mask.
        let (base, offset) = self.strided(place)?;
        let offset = place.offset + offset;
        let distances = (0..self.machine.lanes as i32).map(|i| i.wrapping_mul(place.stride) as u32).collect();
        let distances = self.pooled(distances);
        let distance = SCRATCH[1];
        self.a.vmovups(self.v(distance), distances)?;
        if let Some(index) = place.index {
            let index = self.operand(index);
            self.a.vpaddd(self.v(distance), self.v(distance), self.whole(index))?;
        }
        self.a.vxorps(self.v(to), self.v(to), self.v(to))?;
        match mask {
            Mask::Vector(mask) => {
                let from = dword_ptr(base + distance.ymm() * 4 + offset);
                self.a.vgatherdps_masked(to.ymm(), from, mask.ymm())
            }
            _ => self.a.vgatherdps(to.zmm().k2(), dword_ptr(base + distance.zmm() * 4 + offset)),
        }
    }

    /// Every other element, for all lanes, without a gather: an image copied into its phases took 0.12 instead of 0.41 ms.
    /// The second load begins one element earlier than it could, so as to end with the last one that is wanted.
    fn load_every_other(&mut self, to: Vector, place: Elements) -> Asm {
        let (base, offset) = self.strided(place)?;
        let at = base + place.offset + offset;
        let (to, low) = (to.ymm(), SCRATCH[0].ymm());
        self.a.vmovups(low, at)?;
        // Of each half: 0 and 2 of the first, 1 and 3 of the second; then the pairs into their order.
        self.a.vshufps(to, low, at + 28, 0b11_01_10_00u32)?;
        self.a.vpermpd(to, to, 0b11_01_10_00u32)
    }

    /// Elements some stride apart, one by one: a gather takes several times as long.
    fn load_strided(&mut self, to: Vector, place: Elements) -> Asm {
        let (base, offset) = self.strided(place)?;
        for lane in 0..self.count() {
            let at = dword_ptr(base + (place.offset + offset + 4 * place.stride * lane as i32));
            let four = if lane < 4 { to.xmm() } else { SCRATCH[0].xmm() };
            match lane % 4 {
                0 => self.a.vmovss(four, at)?,
                i => self.a.vinsertps(four, four, at, 16 * i as u32)?,
            }
            if lane > 3 && (lane % 4 == 3 || lane + 1 == self.count()) {
                match self.machine.isa {
                    Isa::Avx2 => self.a.vinsertf128(to.ymm(), to.ymm(), four, 1)?,
                    Isa::Avx512 => self.a.vinsertf32x4(to.zmm(), to.zmm(), four, lane as u32 / 4)?,
                }
            }
        }
        Ok(())
    }

    /// The lanes to load, those of the guard, of the last chunk, or all, in a register that may be used up.
    fn guarded(&mut self, guard: Option<Lane>) -> Asm<Mask> {
        let masked = self.masked();
        let guard = guard.map(|guard| self.register(guard, 0)).transpose()?;
        let mask = SCRATCH[0];
        match (self.machine.tail(), guard) {
            (Mask::Vector(tail), Some(guard)) if masked => {
                self.a.vandps(mask.ymm(), guard.ymm(), tail.ymm())?;
            }
            (Mask::Vector(_), Some(guard)) if guard == mask => {}
            (Mask::Vector(_), Some(guard)) => self.a.vmovaps(mask.ymm(), guard.ymm())?,
            (Mask::Vector(tail), None) if masked => self.a.vmovaps(mask.ymm(), tail.ymm())?,
            (Mask::Vector(_), None) => self.a.vpcmpeqd(mask.ymm(), mask.ymm(), mask.ymm())?,
            (_, Some(guard)) if masked => self.a.vptestmd(k2.k1(), guard.zmm(), guard.zmm())?,
            (_, Some(guard)) => self.a.vpmovd2m(k2, guard.zmm())?,
            (_, None) if masked => self.a.kmovw(k2, k1)?,
            (_, None) => self.a.kxnorw(k2, k2, k2)?,
        }
        Ok(match self.machine.isa {
            Isa::Avx2 => Mask::Vector(mask),
            Isa::Avx512 => Mask::K2,
        })
    }

    /// Bytes, widened to lanes; without index or guard.
    fn load_bytes(&mut self, to: Vector, place: Elements) -> Asm {
        let bytes = SCRATCH[0].xmm();
        let whole = !self.masked();
        if self.chunk.is_none() || place.stride == 0 {
            let base = self.word(place.word)?;
            self.a.movzx(eax, byte_ptr(base + place.offset))?;
            self.a.vmovd(bytes, eax)?;
            self.a.vpbroadcastd(self.v(to), bytes)?;
        } else if place.stride == 1 && whole {
            let place = self.contiguous(place)?;
            self.a.vpmovzxbd(self.v(to), place)?;
        } else if place.stride == 1 && self.machine.isa == Isa::Avx512 {
            let place = self.contiguous(place)?;
            self.a.vpmovzxbd(to.zmm().k1().z(), place)?;
        } else {
            let (base, offset) = self.strided(place)?;
            self.a.vpxor(bytes, bytes, bytes)?;
            for lane in 0..self.count() {
                let at = place.offset + offset + place.stride * lane as i32;
                // The shorter encoding reaches scratch registers on every machine.
                self.a.vpinsrb(bytes, bytes, byte_ptr(base + at), lane as u32)?;
            }
            self.a.vpmovzxbd(self.v(to), bytes)?;
        }
        if place.dtype == DType::Bool {
            let zero = SCRATCH[0];
            self.a.vpxor(zero.xmm(), zero.xmm(), zero.xmm())?;
            self.a.vpsubd(self.v(to), self.v(zero), self.v(to))?;
        }
        Ok(())
    }

    /// Elements of `bf16`, side by side or the same for all lanes.
    fn load_bf16(&mut self, to: Vector, place: Elements) -> Asm {
        if self.chunk.is_some() && place.stride == 1 {
            let place = self.contiguous(place)?;
            let count = self.count();
            return bf16::load_widened(&mut self.a, self.machine, to, place, count);
        }
        let (base, to) = (self.word(place.word)?, self.v(to));
        bf16::broadcast_widened(&mut self.a, to, base + place.offset)
    }
}
