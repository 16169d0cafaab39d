//! Weights of `bf16`: widened to `f32` as they are loaded, which is exact, since a `bf16` is the upper half of the `f32` of the
//! same number. Nothing computes with them.

use super::instructions::{Asm, Instructions};
use crate::wide::types::machine::{Isa, Machine, SCRATCH, Vector};
use crate::wide::types::operands::registers::*;
use crate::wide::types::operands::{Memory, Simd, dword_ptr, qword_ptr, word_ptr};

/// Loads the first `lanes` lanes of `bf16`, which are the upper halves of `f32`; `k1` tells them where they do not fill
/// a register. Without such masks they are put together of four, two and one.
pub(crate) fn load_widened(
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

/// The number at a place, for all lanes of a register.
pub(crate) fn broadcast_widened(a: &mut Instructions, to: Simd, place: Memory) -> Asm {
    a.movzx(eax, word_ptr(place))?;
    a.shl(eax, 16)?;
    a.vmovd(SCRATCH[0].xmm(), eax)?;
    a.vpbroadcastd(to, SCRATCH[0].xmm())
}
