//! Neighbouring columns of a matrix, loaded and stored together: each lane's elements side by side, transposed in registers.

use super::assembler::Assembler;
use super::instructions::Asm;
use crate::wide::types::lane_code::{Elements, Lane, TOGETHER};
use crate::wide::types::machine::{Isa, SCRATCH};

impl Assembler<'_> {
    /// Neighbouring columns: elements side by side for each lane, transposed.
    pub fn load_columns(&mut self, place: Elements, to: [Lane; TOGETHER]) -> Asm {
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
    pub fn store_columns(&mut self, place: Elements, from: [Lane; TOGETHER]) -> Asm {
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
}
