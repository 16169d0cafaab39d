//! Loads and stores of the first lanes of a vector. What lies behind these is not touched: it may be the end of memory.

use super::instructions::{Asm, Instructions};
use crate::wide::types::machine::{Isa, Machine, Mask, Vector};
use crate::wide::types::operands::{Memory, dword_ptr, qword_ptr};

/// Loads the first `lanes` lanes, which the mask tells where they do not fill a register; all others become zero.
pub(crate) fn load(a: &mut Instructions, to: Vector, place: Memory, lanes: usize, mask: Mask) -> Asm {
    match lanes {
        1 => a.vmovss(to.xmm(), dword_ptr(place)),
        2 => a.vmovsd(to.xmm(), qword_ptr(place)),
        4 | 8 | 16 => a.vmovups(to.of(lanes), place),
        _ => load_masked(a, to, place, lanes, mask),
    }
}

/// Stores the first `lanes` lanes, which `k1` tells if they do not fill a register. Where masks are vectors they are
/// stored in pieces, because a masked store takes several times as long, through a scratch register that is not the
/// value's.
pub(crate) fn store(
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

/// Loads the lanes of the mask, which are among the first `lanes`; all others become zero.
pub(crate) fn load_masked(a: &mut Instructions, to: Vector, place: Memory, lanes: usize, mask: Mask) -> Asm {
    match mask {
        Mask::Vector(mask) if lanes <= 4 => a.vmaskmovps(to.xmm(), mask.xmm(), place),
        Mask::Vector(mask) => a.vmaskmovps(to.ymm(), mask.ymm(), place),
        Mask::K1 => a.vmovups(to.of(lanes).k1().z(), place),
        Mask::K2 => a.vmovups(to.of(lanes).k2().z(), place),
    }
}
