//! Matrix tiles with AVX2, whose shape and strides are part of the code.
//!
//! C is cut into blocks of `rows` times `vectors` registers of 8 columns, whose sums stay in registers through
//! all reduction loops: two FMA units with 4 cycles of latency want 8 chains, and 16 registers hold at most 12
//! sums beside the operands (6 x 16 columns). Column blocks are outside, so that a panel of B stays in the
//! first-level cache while rows go by. The last vector of a row is masked where `n` is not a multiple of 8.
//!
//! All vector registers are taken. The others: `rdi`, `rsi`, `rdx` the block's part of A, B, C; `r8`, `r9` run
//! through A and B; `rax`, `rcx`, `r10`, `r11` count the reduction loops; `rbx` counts row blocks, `rbp` column
//! blocks.

use brolga_ir::DType;
use brolga_ir::program::{Tile, TileLoop};
use iced_x86::IcedError;
use iced_x86::code_asm::{registers::*, *};

use super::memory::store_first;
use super::operate::low;
use crate::portable::{merge_loops, split_rows};

const REGISTERS: usize = 16;
/// Columns of a register.
const LANES: usize = 8;
/// Bytes of an element.
const SIZE: i64 = 4;
/// Points of the innermost reduction loop that are written out.
const UNROLL: usize = 4;

const YMM: [AsmRegisterYmm; REGISTERS] =
    [ymm0, ymm1, ymm2, ymm3, ymm4, ymm5, ymm6, ymm7, ymm8, ymm9, ymm10, ymm11, ymm12, ymm13, ymm14, ymm15];
/// Counters of the reduction loops, outermost first.
const COUNTERS: [AsmRegister64; 4] = [rax, rcx, r10, r11];

/// Whether there is code for a tile: it is of f32, not empty, and strides fit an instruction.
pub(super) fn fits(tile: &Tile) -> bool {
    let loops = merge_loops(&tile.reduce);
    let empty = tile.m == 0 || tile.n == 0 || loops.iter().any(|l| l.extent == 0);
    tile.dtype == DType::F32 && !empty && loops.len() <= COUNTERS.len() && small(tile, &loops)
}

/// A name for people.
pub(super) fn name(tile: &Tile) -> String {
    let reduce: usize = tile.reduce.iter().map(|l| l.extent).product();
    format!("tile_f32_{}x{}x{reduce}", tile.m, tile.n)
}

/// The lanes of the last vector of a row, if it is not full.
pub(super) fn mask(tile: &Tile) -> Option<[u32; LANES]> {
    let rest = tile.n % LANES;
    (rest > 0).then(|| std::array::from_fn(|lane| if lane < rest { u32::MAX } else { 0 }))
}

/// Emits a tile that [`fits`], whose panels' addresses are in `rdi`, `rsi` and `rdx`; `mask` is where the mask lies.
pub(super) fn emit(a: &mut CodeAssembler, tile: &Tile, mask: Option<AsmMemoryOperand>) -> Asm {
    Emission { a, tile, loops: &merge_loops(&tile.reduce) }.tile(mask)
}

/// Whether all distances that occur fit the 32 bits of displacements and immediates.
fn small(tile: &Tile, loops: &[TileLoop]) -> bool {
    let reach = |extent: usize, stride: i64| (extent as i64).saturating_mul(stride.saturating_abs());
    let a = loops.iter().map(|l| reach(l.extent, l.a)).fold(reach(tile.m, tile.a.row), i64::saturating_add);
    let b = loops.iter().map(|l| reach(l.extent, l.b)).fold(tile.n as i64, i64::saturating_add);
    let c = reach(tile.m, tile.c.row).saturating_add(tile.n as i64);
    a.max(b).max(c) < (i32::MAX as i64) / (2 * SIZE)
}

/// Columns cut into blocks: how many, of how many vectors, and whether the last vector is masked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Columns {
    count: usize,
    vectors: usize,
    masked: bool,
}

/// The most rows of a block: sums, a row of B, an element of A and the mask are in registers.
fn most_rows(vectors: usize, masked: bool) -> usize {
    (REGISTERS - 1 - masked as usize - vectors) / vectors
}

/// Half cycles for one reduction point of a column block of that width: two multiply-adds and two loads a cycle,
/// and four cycles from one multiply-add of a chain to the next.
fn column_cost(m: usize, vectors: usize, masked: bool) -> usize {
    split_rows(m, most_rows(vectors, masked))
        .iter()
        .map(|&(count, rows)| count * (rows * vectors).max(rows + vectors).max(8))
        .sum()
}

/// The cheapest way to cut `n` columns.
fn split_columns(m: usize, n: usize) -> Vec<Columns> {
    let total = n.div_ceil(LANES);
    let ragged = !n.is_multiple_of(LANES);
    let plan = |vectors: usize| {
        let mut blocks = Vec::new();
        let rest = total % vectors;
        let full = total / vectors - (ragged && rest == 0) as usize;
        blocks.push(Columns { count: full, vectors, masked: false });
        let last = if rest == 0 { vectors } else { rest };
        if ragged || rest > 0 {
            blocks.push(Columns { count: 1, vectors: last, masked: ragged });
        }
        blocks.retain(|b| b.count > 0);
        blocks
    };
    let cost = |blocks: &Vec<Columns>| -> usize {
        blocks.iter().map(|b| b.count * column_cost(m, b.vectors, b.masked)).sum()
    };
    let plans = (1..=total.min(6)).map(plan);
    plans.min_by_key(cost).expect("at least one column")
}

struct Emission<'t> {
    a: &'t mut CodeAssembler,
    tile: &'t Tile,
    loops: &'t [TileLoop],
}

type Asm<T = ()> = Result<T, IcedError>;

/// A displacement or immediate; `small` has shown that it fits.
fn imm(value: i64) -> i32 {
    value as i32
}

impl Emission<'_> {
    fn tile(&mut self, mask: Option<AsmMemoryOperand>) -> Asm {
        let columns = split_columns(self.tile.m, self.tile.n);
        for (i, block) in columns.iter().enumerate() {
            let last = i + 1 == columns.len();
            if let Some(mask) = mask.filter(|_| block.masked) {
                // Not earlier: blocks without mask use all registers.
                self.a.vmovups(YMM[15], mask)?;
            }
            self.repeat(rbp, block.count, |e| e.column(*block, last && block.count == 1))?;
        }
        Ok(())
    }

    /// `body`, `count` times, counted in a register that it keeps.
    fn repeat(&mut self, counter: AsmRegister64, count: usize, body: impl FnOnce(&mut Self) -> Asm) -> Asm {
        if count == 0 {
            return Ok(());
        }
        if count == 1 {
            return body(self);
        }
        self.a.mov(gpr32(counter), count as u32)?;
        let mut top = self.a.create_label();
        self.a.set_label(&mut top)?;
        body(self)?;
        self.a.dec(gpr32(counter))?;
        self.a.jnz(top)
    }

    fn advance(&mut self, register: AsmRegister64, bytes: i64) -> Asm {
        if bytes == 0 { Ok(()) } else { self.a.add(register, imm(bytes)) }
    }

    /// All rows of one column block; leaves the pointers at the next one.
    fn column(&mut self, block: Columns, last: bool) -> Asm {
        let tile = self.tile;
        let (row_a, row_c) = (tile.a.row * SIZE, tile.c.row * SIZE);
        for (count, rows) in split_rows(tile.m, most_rows(block.vectors, block.masked)) {
            self.repeat(rbx, count, |e| {
                e.block(rows, block)?;
                e.advance(rdi, rows as i64 * row_a)?;
                e.advance(rdx, rows as i64 * row_c)
            })?;
        }
        if last {
            return Ok(());
        }
        let width = (block.vectors * LANES) as i64 * SIZE;
        self.advance(rdi, -(tile.m as i64) * row_a)?;
        self.advance(rdx, width - tile.m as i64 * row_c)?;
        self.advance(rsi, width)
    }

    fn block(&mut self, rows: usize, block: Columns) -> Asm {
        let vectors = block.vectors;
        for i in 0..rows {
            for j in 0..vectors {
                let sum = YMM[i * vectors + j];
                if self.tile.zero {
                    self.a.vxorps(sum, sum, sum)?;
                } else {
                    let place = rdx + imm(i as i64 * self.tile.c.row * SIZE + 32 * j as i64);
                    self.load(sum, place, block.masked && j + 1 == vectors)?;
                }
            }
        }
        self.a.mov(r8, rdi)?;
        self.a.mov(r9, rsi)?;
        self.reduce(0, rows, block)?;
        for i in 0..rows {
            for j in 0..vectors {
                let sum = YMM[i * vectors + j];
                let place = rdx + imm(i as i64 * self.tile.c.row * SIZE + 32 * j as i64);
                if block.masked && j + 1 == vectors {
                    // The operands' registers are free now.
                    let scratch = low(YMM[rows * vectors]);
                    store_first(self.a, place, sum, self.tile.n % LANES, scratch)?;
                } else {
                    self.a.vmovups(ymmword_ptr(place), sum)?;
                }
            }
        }
        Ok(())
    }

    fn load(&mut self, to: AsmRegisterYmm, place: AsmMemoryOperand, masked: bool) -> Asm {
        if masked {
            self.a.vmaskmovps(to, YMM[15], ymmword_ptr(place))
        } else {
            self.a.vmovups(to, ymmword_ptr(place))
        }
    }

    /// The reduction loops from `level` on; gives the bytes by which they leave `r8` and `r9` advanced.
    fn reduce(&mut self, level: usize, rows: usize, block: Columns) -> Asm<(i64, i64)> {
        let Some(&TileLoop { extent, a, b }) = self.loops.get(level) else {
            self.point(0, 0, rows, block)?;
            return Ok((0, 0));
        };
        let (a, b) = (a * SIZE, b * SIZE);
        if level + 1 < self.loops.len() {
            self.repeat(COUNTERS[level], extent, |e| {
                let (moved_a, moved_b) = e.reduce(level + 1, rows, block)?;
                e.advance(r8, a - moved_a)?;
                e.advance(r9, b - moved_b)
            })?;
            return Ok((extent as i64 * a, extent as i64 * b));
        }
        let rounds = if extent < 2 * UNROLL { 0 } else { extent / UNROLL };
        self.repeat(COUNTERS[level], rounds, |e| {
            for u in 0..UNROLL as i64 {
                e.point(u * a, u * b, rows, block)?;
            }
            e.advance(r8, UNROLL as i64 * a)?;
            e.advance(r9, UNROLL as i64 * b)
        })?;
        for u in 0..(extent - rounds * UNROLL) as i64 {
            self.point(u * a, u * b, rows, block)?;
        }
        let moved = (rounds * UNROLL) as i64;
        Ok((moved * a, moved * b))
    }

    /// One point of the reduction: a column of A times a row of B.
    fn point(&mut self, da: i64, db: i64, rows: usize, block: Columns) -> Asm {
        let vectors = block.vectors;
        let sums = rows * vectors;
        for j in 0..vectors {
            let place = r9 + imm(db + 32 * j as i64);
            self.load(YMM[sums + j], place, block.masked && j + 1 == vectors)?;
        }
        let x = YMM[sums + vectors];
        for i in 0..rows {
            self.a.vbroadcastss(x, dword_ptr(r8 + imm(da + i as i64 * self.tile.a.row * SIZE)))?;
            for j in 0..vectors {
                self.a.vfmadd231ps(YMM[i * vectors + j], x, YMM[sums + j])?;
            }
        }
        Ok(())
    }
}

fn gpr32(register: AsmRegister64) -> AsmRegister32 {
    match register {
        _ if register == rax => eax,
        _ if register == rcx => ecx,
        _ if register == rbx => ebx,
        _ if register == rbp => ebp,
        _ if register == r10 => r10d,
        _ => r11d,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_all_columns_and_fit_the_registers() {
        for m in 1..40 {
            for n in 1..100 {
                let blocks = split_columns(m, n);
                let vectors: usize = blocks.iter().map(|b| b.count * b.vectors).sum();
                assert_eq!(vectors, n.div_ceil(LANES));
                assert_eq!(blocks.last().unwrap().masked, n % LANES != 0);
                for block in &blocks {
                    let rows = split_rows(m, most_rows(block.vectors, block.masked));
                    assert_eq!(rows.iter().map(|r| r.0 * r.1).sum::<usize>(), m);
                    for (count, rows) in rows {
                        let registers = rows * block.vectors + block.vectors + 1 + block.masked as usize;
                        assert!(count == 0 || registers <= REGISTERS);
                    }
                }
            }
        }
    }

    #[test]
    fn full_tiles_take_blocks_of_six_rows_and_two_vectors() {
        let blocks = split_columns(48, 64);
        assert_eq!(blocks, [Columns { count: 4, vectors: 2, masked: false }]);
        assert_eq!(most_rows(2, false), 6);
    }
}
