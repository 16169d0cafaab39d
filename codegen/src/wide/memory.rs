//! Loads and stores of lanes.

use brolga_ir::DType;

use super::assemble::{Assembler, Step};
use super::columns::TOGETHER;
use super::instructions::registers::*;
use super::instructions::{Asm, Gpr64, Memory, byte_ptr, dword_ptr, qword_ptr, word_ptr};
use super::lanes::{Lane, Place};
use super::machine::{self, Isa, Mask, SCRATCH, Vector};

impl Assembler<'_> {
    /// The address of the step's first element, less the place's offset: a register, and bytes to add.
    fn strided(&mut self, place: Place) -> Asm<(Gpr64, i32)> {
        let base = self.word(place.word)?;
        let Some(Step { first, in_loop, .. }) = self.step else { return Ok((base, 0)) };
        let bytes = place.stride * place.dtype.size() as i32;
        if in_loop && bytes != 0 {
            self.a.imul(rdx, rcx, bytes)?;
            self.a.lea(rax, qword_ptr(base + rdx))?;
            return Ok((rax, first as i32 * bytes));
        }
        Ok((base, first as i32 * bytes))
    }

    /// Where the step's elements lie one behind the other.
    fn contiguous(&mut self, place: Place) -> Asm<Memory> {
        let base = self.word(place.word)?;
        let Some(Step { first, in_loop, .. }) = self.step else { return Ok(base + place.offset) };
        let offset = place.offset + first as i32 * place.dtype.size() as i32;
        Ok(match (in_loop, place.dtype.size()) {
            (false, _) => base + offset,
            (true, 1) => base + rcx + offset,
            (true, 2) => base + rcx * 2 + offset,
            (true, _) => base + rcx * 4 + offset,
        })
    }

    pub fn load(&mut self, to: Vector, place: Place, guard: Option<Lane>) -> Asm {
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
            return machine::load(&mut self.a, to, place, count, self.machine.tail());
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
            return machine::load_masked(&mut self.a, to, place, self.machine.lanes, mask);
        }
        // A gather keeps what is not loaded, and wants three different registers: it has the target's own lanes
        // zeroed, the distances in a scratch register, and uses up the mask.
        let (base, offset) = self.strided(place)?;
        let offset = place.offset + offset;
        let steps = (0..self.machine.lanes as i32).map(|i| i.wrapping_mul(place.stride) as u32).collect();
        let steps = self.pooled(steps);
        let distance = SCRATCH[1];
        self.a.vmovups(self.v(distance), steps)?;
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

    /// Every other element, for all lanes, without a gather: an image copied into its phases took 0.12 instead of 0.41 ms. The second load begins one element
    /// earlier than it could, so as to end with the last one that is wanted.
    fn load_every_other(&mut self, to: Vector, place: Place) -> Asm {
        let (base, offset) = self.strided(place)?;
        let at = base + place.offset + offset;
        let (to, low) = (to.ymm(), SCRATCH[0].ymm());
        self.a.vmovups(low, at)?;
        // Of each half: 0 and 2 of the first, 1 and 3 of the second; then the pairs into their order.
        self.a.vshufps(to, low, at + 28, 0b11_01_10_00u32)?;
        self.a.vpermpd(to, to, 0b11_01_10_00u32)
    }

    /// Elements some stride apart, one by one: a gather takes several times as long.
    fn load_strided(&mut self, to: Vector, place: Place) -> Asm {
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

    /// Neighbouring columns: elements side by side for each lane, transposed.
    pub fn load_columns(&mut self, place: Place, to: [Lane; TOGETHER]) -> Asm {
        let (base, offset) = self.strided(place)?;
        let [first, second, third, fourth] = to.map(|lane| self.own(lane));
        let (low, high) = (SCRATCH[0], SCRATCH[1]);
        // Rows 0, 4, … one behind the other in a register, 1, 5, … in another one, and so on: what is left to do is the
        // same for each four lanes.
        for (i, to) in [high, second, fourth, first].into_iter().enumerate() {
            for row in (i..self.machine.lanes).step_by(4) {
                let at = base + (place.offset + offset + 4 * place.stride * row as i32);
                match (row / 4, self.machine.isa) {
                    (0, _) if row < self.count() => self.a.vmovups(to.xmm(), at)?,
                    (0, _) => self.a.vxorps(to.xmm(), to.xmm(), to.xmm())?,
                    _ if row >= self.count() => {}
                    (_, Isa::Avx2) => self.a.vinsertf128(to.ymm(), to.ymm(), at, 1)?,
                    (four, Isa::Avx512) => self.a.vinsertf32x4(to.zmm(), to.zmm(), at, four as u32)?,
                }
            }
        }
        let v = |vector| self.v(vector);
        let (low, high) = (v(low), v(high));
        let (first, second, third, fourth) = (v(first), v(second), v(third), v(fourth));
        // The first two columns of rows 0 and 1, then those of 2 and 3; the last two likewise.
        self.a.vunpcklps(low, high, second)?;
        self.a.vunpckhps(high, high, second)?;
        self.a.vunpcklps(second, fourth, first)?;
        self.a.vunpckhps(fourth, fourth, first)?;
        self.a.vunpcklpd(first, low, second)?;
        self.a.vunpckhpd(second, low, second)?;
        self.a.vunpcklpd(third, high, fourth)?;
        self.a.vunpckhpd(fourth, high, fourth)
    }

    /// The counterpart of `load_columns`.
    pub fn store_columns(&mut self, place: Place, from: [Lane; TOGETHER]) -> Asm {
        let (base, offset) = self.strided(place)?;
        let (low, high, rows) = (SCRATCH[0], SCRATCH[1], SCRATCH[2]);
        // Rows 0 and 1 of each four lanes, then 2 and 3.
        for half in 0..2 {
            for (to, pair) in [(low, 0), (high, 2)] {
                let a = self.register(from[pair], 2)?;
                let b = self.whole(self.operand(from[pair + 1]));
                match half {
                    0 => self.a.vunpcklps(self.v(to), self.v(a), b)?,
                    _ => self.a.vunpckhps(self.v(to), self.v(a), b)?,
                }
            }
            for odd in 0..2 {
                match odd {
                    0 => self.a.vunpcklpd(self.v(rows), self.v(low), self.v(high))?,
                    _ => self.a.vunpckhpd(self.v(rows), self.v(low), self.v(high))?,
                }
                for row in (2 * half + odd..self.count()).step_by(4) {
                    let at = base + (place.offset + offset + 4 * place.stride * row as i32);
                    match (row / 4, self.machine.isa) {
                        (0, _) => self.a.vmovups(at, rows.xmm())?,
                        (_, Isa::Avx2) => self.a.vextractf128(at, rows.ymm(), 1)?,
                        (four, Isa::Avx512) => self.a.vextractf32x4(at, rows.zmm(), four as u32)?,
                    }
                }
            }
        }
        Ok(())
    }

    /// The lanes to load, those of the guard, of the last step, or all, in a register that may be used up.
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
    fn load_bytes(&mut self, to: Vector, place: Place) -> Asm {
        let bytes = SCRATCH[0].xmm();
        let whole = !self.masked();
        if self.step.is_none() || place.stride == 0 {
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
    fn load_bf16(&mut self, to: Vector, place: Place) -> Asm {
        if self.step.is_some() && place.stride == 1 {
            let place = self.contiguous(place)?;
            let count = self.count();
            return machine::load_bf16(&mut self.a, self.machine, to, place, count);
        }
        let base = self.word(place.word)?;
        self.a.movzx(eax, word_ptr(base + place.offset))?;
        self.a.shl(eax, 16)?;
        self.a.vmovd(SCRATCH[0].xmm(), eax)?;
        self.a.vpbroadcastd(self.v(to), SCRATCH[0].xmm())
    }

    pub fn store(&mut self, place: Place, value: Lane) -> Asm {
        let value = self.register(value, 0)?;
        let size = place.dtype.size();
        // What is stored: the lanes themselves, or their bytes or upper halves.
        let value = match size {
            1 => self.bytes(place.dtype, value)?,
            2 => self.halves(value)?,
            _ => value,
        };
        if self.step.is_none() {
            let base = self.word(place.word)?;
            let at = base + place.offset;
            return match size {
                1 => self.a.vpextrb(byte_ptr(at), value.xmm(), 0u32),
                2 => self.a.vpextrw(word_ptr(at), value.xmm(), 0u32),
                _ => self.a.vmovss(dword_ptr(at), value.xmm()),
            };
        }
        let count = self.count();
        if place.stride == 1 && size == 4 {
            let place = self.contiguous(place)?;
            return machine::store(&mut self.a, self.machine, place, value, count, SCRATCH[1]);
        }
        if place.stride == 1 && size == 2 {
            let place = self.contiguous(place)?;
            match (count, self.machine.isa) {
                (8, _) => return self.a.vmovups(place, value.xmm()),
                (16, _) => return self.a.vmovups(place, value.ymm()),
                (_, Isa::Avx512) => return self.a.vmovdqu16(place.k1(), value.ymm()),
                _ => {}
            }
            for lane in 0..count {
                self.a.vpextrw(word_ptr(place + 2 * lane as i32), value.xmm(), lane as u32)?;
            }
            return Ok(());
        }
        if place.stride == 1 {
            match (count, self.machine.isa) {
                (8, _) => {
                    let place = self.contiguous(place)?;
                    return self.a.vmovq(qword_ptr(place), value.xmm());
                }
                (16, _) => {
                    let place = self.contiguous(place)?;
                    return self.a.vmovups(place, value.xmm());
                }
                (_, Isa::Avx512) => {
                    let place = self.contiguous(place)?;
                    return self.a.vmovdqu8(place.k1(), value.xmm());
                }
                _ => {}
            }
        }
        // One lane after the other, the last one last.
        let (base, offset) = self.strided(place)?;
        let four = SCRATCH[1].xmm();
        for lane in 0..count {
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
