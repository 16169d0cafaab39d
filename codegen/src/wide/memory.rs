//! Loads and stores of lanes.

use brolga_ir::DType;
use iced_x86::code_asm::{registers::*, *};

use super::assemble::{Asm, Assembler, MASK, Operand, SCRATCH, Step};
use super::lanes::{Lane, Place};
use super::nest::WIDTH;
use super::operate::low;

impl Assembler<'_> {
    /// The address of the step's first element, less the place's offset: a register, and bytes to add.
    fn strided(&mut self, place: Place) -> Asm<(AsmRegister64, i32)> {
        let base = self.word(place.word)?;
        let Some(Step { first, in_loop, .. }) = self.step else { return Ok((base, 0)) };
        let bytes = place.stride * place.dtype.size() as i32;
        if in_loop && bytes != 0 {
            self.a.imul_3(rdx, rcx, bytes)?;
            self.a.lea(rax, qword_ptr(base + rdx))?;
            return Ok((rax, first as i32 * bytes));
        }
        Ok((base, first as i32 * bytes))
    }

    /// Where the step's elements lie one behind the other.
    fn contiguous(&mut self, place: Place) -> Asm<AsmMemoryOperand> {
        let base = self.word(place.word)?;
        let Some(Step { first, in_loop, .. }) = self.step else { return Ok(base + place.offset) };
        let offset = place.offset + first as i32 * place.dtype.size() as i32;
        Ok(match (in_loop, place.dtype.size()) {
            (false, _) => base + offset,
            (true, 1) => base + rcx + offset,
            (true, _) => base + rcx * 4 + offset,
        })
    }

    pub fn load(&mut self, to: AsmRegisterYmm, place: Place, guard: Option<Lane>) -> Asm {
        if place.dtype.size() == 1 {
            return self.load_bytes(to, place);
        }
        let linear = place.index.is_none();
        if linear && place.stride == 0 && guard.is_none() {
            let base = self.word(place.word)?;
            return self.a.vbroadcastss(to, dword_ptr(base + place.offset));
        }
        let count = self.step.map_or(WIDTH, |step| step.count);
        if linear && place.stride == 1 && guard.is_none() {
            let place = self.contiguous(place)?;
            match count {
                WIDTH => return self.a.vmovups(to, ymmword_ptr(place)),
                4 => return self.a.vmovups(low(to), xmmword_ptr(place)),
                2 => return self.a.vmovsd(low(to), qword_ptr(place)),
                1 => return self.a.vmovss(low(to), dword_ptr(place)),
                _ => return self.a.vmaskmovps(to, MASK, ymmword_ptr(place)),
            }
        }
        // The lanes to load: those of the guard, of the last step, or all.
        let mask = SCRATCH[0];
        match (guard, self.masked()) {
            (Some(guard), masked) => {
                let guard = self.register(guard, 0)?;
                if masked {
                    self.a.vandps(mask, guard, MASK)?;
                } else if guard != mask {
                    self.a.vmovaps(mask, guard)?;
                }
            }
            (None, true) => self.a.vmovaps(mask, MASK)?,
            (None, false) => self.a.vpcmpeqd(mask, mask, mask)?,
        }
        if linear && place.stride == 1 {
            let place = self.contiguous(place)?;
            return self.a.vmaskmovps(to, mask, ymmword_ptr(place));
        }
        // A gather keeps what is not loaded, and wants three different registers: it has the target's own lanes
        // zeroed, the distances in a scratch register, and uses up the mask.
        let (base, offset) = self.strided(place)?;
        let steps = self.pooled(std::array::from_fn(|i| (i as i32).wrapping_mul(place.stride) as u32));
        self.a.vmovups(SCRATCH[1], steps)?;
        if let Some(index) = place.index {
            match self.operand(index) {
                Operand::Register(index) => self.a.vpaddd(SCRATCH[1], SCRATCH[1], index)?,
                Operand::Memory(index) => self.a.vpaddd(SCRATCH[1], SCRATCH[1], index)?,
            }
        }
        self.a.vxorps(to, to, to)?;
        self.a.vgatherdps_3(to, dword_ptr(base + SCRATCH[1] * 4 + (place.offset + offset)), mask)
    }

    /// Bytes, widened to lanes; without index or guard.
    fn load_bytes(&mut self, to: AsmRegisterYmm, place: Place) -> Asm {
        let bytes = low(SCRATCH[0]);
        if self.step.is_none() || place.stride == 0 {
            let base = self.word(place.word)?;
            self.a.movzx(eax, byte_ptr(base + place.offset))?;
            self.a.vmovd(bytes, eax)?;
            self.a.vpbroadcastd(to, bytes)?;
        } else if place.stride == 1 && !self.masked() {
            let place = self.contiguous(place)?;
            self.a.vpmovzxbd(to, qword_ptr(place))?;
        } else {
            let (base, offset) = self.strided(place)?;
            self.a.vpxor(bytes, bytes, bytes)?;
            for lane in 0..self.step.map_or(WIDTH, |step| step.count) {
                let at = place.offset + offset + place.stride * lane as i32;
                self.a.vpinsrb(bytes, bytes, byte_ptr(base + at), lane as u32)?;
            }
            self.a.vpmovzxbd(to, bytes)?;
        }
        if place.dtype == DType::Bool {
            self.a.vpxor(SCRATCH[0], SCRATCH[0], SCRATCH[0])?;
            self.a.vpsubd(to, SCRATCH[0], to)?;
        }
        Ok(())
    }

    pub fn store(&mut self, place: Place, value: Lane) -> Asm {
        let value = self.register(value, 0)?;
        let size = place.dtype.size();
        // What is stored: the lanes themselves, or their bytes.
        let value = if size == 1 { self.bytes(place.dtype, value)? } else { value };
        let Some(Step { count, .. }) = self.step else {
            let base = self.word(place.word)?;
            let at = base + place.offset;
            return if size == 1 {
                self.a.vpextrb(byte_ptr(at), low(value), 0u32)
            } else {
                self.a.vmovss(dword_ptr(at), low(value))
            };
        };
        if place.stride == 1 && size == 4 {
            let place = self.contiguous(place)?;
            return match count {
                WIDTH => self.a.vmovups(ymmword_ptr(place), value),
                4 => self.a.vmovups(xmmword_ptr(place), low(value)),
                2 => self.a.vmovsd(qword_ptr(place), low(value)),
                1 => self.a.vmovss(dword_ptr(place), low(value)),
                _ => store_first(&mut self.a, place, value, count, xmm14),
            };
        }
        if place.stride == 1 && count == WIDTH {
            let place = self.contiguous(place)?;
            return self.a.vmovq(qword_ptr(place), low(value));
        }
        // One lane after the other, the last one last.
        let (base, offset) = self.strided(place)?;
        for lane in 0..count {
            let at = place.offset + offset + place.stride * size as i32 * lane as i32;
            if size == 1 {
                self.a.vpextrb(byte_ptr(base + at), low(value), lane as u32)?;
                continue;
            }
            if lane % 4 == 0 {
                self.a.vextracti128(xmm14, value, lane as u32 / 4)?;
            }
            self.a.vextractps(dword_ptr(base + at), xmm14, lane as u32 % 4)?;
        }
        Ok(())
    }

    /// Lanes of bytes side by side in the low half of a scratch register.
    fn bytes(&mut self, dtype: DType, value: AsmRegisterYmm) -> Asm<AsmRegisterYmm> {
        let mut value = value;
        if dtype == DType::Bool {
            self.a.vpsrld(SCRATCH[0], value, 31)?;
            value = SCRATCH[0];
        }
        // Lanes in 0..=255, which saturation keeps; the halves first, because packing stays inside them.
        let (lower, upper) = (low(SCRATCH[1]), low(SCRATCH[2]));
        self.a.vextracti128(upper, value, 1)?;
        self.a.vextracti128(lower, value, 0)?;
        self.a.vpackusdw(lower, lower, upper)?;
        self.a.vpackuswb(lower, lower, lower)?;
        Ok(SCRATCH[1])
    }
}

/// Stores the first lanes, fewer than eight, in pieces: a masked store takes several times as long where masks are
/// not registers of their own. `scratch` may not be the value's.
pub(super) fn store_first(
    a: &mut CodeAssembler,
    place: AsmMemoryOperand,
    value: AsmRegisterYmm,
    count: usize,
    scratch: AsmRegisterXmm,
) -> Asm {
    let (mut part, mut at) = (low(value), 0);
    if count >= 4 {
        a.vmovups(xmmword_ptr(place), part)?;
        if count > 4 {
            a.vextractf128(scratch, value, 1)?;
            part = scratch;
        }
        at = 4;
    }
    if count - at >= 2 {
        a.vmovlps(qword_ptr(place + 4 * at as i32), part)?;
    }
    match count - at {
        1 => a.vmovss(dword_ptr(place + 4 * at as i32), part),
        3 => a.vextractps(dword_ptr(place + 4 * (at as i32 + 2)), part, 2),
        _ => Ok(()),
    }
}
