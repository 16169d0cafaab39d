//! Matrix tiles, whose shape and strides are part of the code.
//!
//! C is cut into blocks of `rows` times `vectors` registers, whose sums stay in registers through all reduction
//! loops: two FMA units with 4 cycles of latency want 8 chains. AVX2 has registers for 12 sums beside the operands
//! (6 x 16 columns), AVX-512 for 28 (14 x 32). Column blocks are outside, so that a panel of B stays in the
//! first-level cache while rows go by. The last vector of a row is as narrow as the columns that are left allow, and
//! masked where they do not fill it.
//!
//! All vector registers are taken: the sums from 0 on, row by row, then a row of B and an element of A. The others: `rdi`, `rsi`,
//! `rdx` the block's part of A, B, C; `r8`, `r9` run through A and B; `rax`, `rcx`, `r10`, `r11` count the reduction
//! loops; `rbx` counts row blocks, `rbp` column blocks; `r13` runs ahead through the panel of B that lies behind this one.
//! An epilogue has its addresses in the registers that the reduction does not need any more.

mod blocks;

use brolga_ir::DType;
use brolga_ir::program::{Tile, TileLoop};

use self::blocks::{Block, Columns, broadcasts, cells, most_rows, rows_in_cache, split_columns};
use super::assemble::TABLE;
use super::epilogue::{MOST_WORDS, Operand, Step, Stream};
use super::instructions::registers::*;
use super::instructions::{
    Asm, Gpr64, Instructions, Memory, Operand as Value, Simd, byte_ptr, dword_bcst, dword_ptr, qword_ptr,
};
use super::lanes::{Binary, UNORDERED};
use super::machine::{self, Isa, Machine, Mask, Vector, is_whole};
use super::operate::{FIRST, SECOND, THIRD, choose};
use crate::portable::{merge_loops, split_rows};

/// Bytes of an element.
const SIZE: i64 = 4;
/// Points of the innermost reduction loop that are written out.
const UNROLL: usize = 4;

/// Counters of the reduction loops, outermost first.
const COUNTERS: [Gpr64; 4] = [rax, rcx, r10, r11];

/// Addresses of an epilogue.
const ADDRESSES: [Gpr64; MOST_WORDS] = [r8, r9, rax, rcx, r10, r11, r12];

/// What is done to the sums in their registers, and where its constants lie, in order.
pub(super) struct Epilogue<'e> {
    pub steps: &'e [Step],
    pub constants: Vec<Memory>,
}

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

/// The vector that masks the last vector of a row, if one is needed.
pub(super) fn mask(machine: Machine, tile: &Tile) -> Option<Vec<u32>> {
    let rest = tile.n % machine.lanes;
    let lane = |lane| if lane < rest { u32::MAX } else { 0 };
    (machine.isa == Isa::Avx2 && rest > 0 && !is_whole(rest)).then(|| (0..machine.lanes).map(lane).collect())
}

/// Emits a tile that [`fits`], whose panels' addresses are in `rdi`, `rsi` and `rdx`, and whose B holds elements of type
/// `stored`; `mask` is where the mask lies.
pub(super) fn emit(
    a: &mut Instructions,
    machine: Machine,
    (tile, stored): (&Tile, DType),
    mask: Option<Memory>,
    epilogue: Option<Epilogue<'_>>,
) -> Asm {
    let mut words: Vec<(usize, i64, bool)> = Vec::new();
    for stream in epilogue.iter().flat_map(|epilogue| epilogue.steps).filter_map(Step::stream) {
        match words.iter_mut().find(|word| word.0 == stream.word) {
            Some(word) => word.2 |= stream.columns,
            None => words.push((stream.word, stream.row, stream.columns)),
        }
    }
    let loops = &merge_loops(&tile.reduce);
    Emission { a, machine, tile, stored, loops, ahead: 0, epilogue, words }.tile(mask)
}

/// Whether all distances that occur fit the 32 bits of displacements and immediates.
fn small(tile: &Tile, loops: &[TileLoop]) -> bool {
    let reach = |extent: usize, stride: i64| (extent as i64).saturating_mul(stride.saturating_abs());
    let a = loops.iter().map(|l| reach(l.extent, l.a)).fold(reach(tile.m, tile.a.row), i64::saturating_add);
    let b = loops.iter().map(|l| reach(l.extent, l.b)).fold(tile.n as i64, i64::saturating_add);
    let c = reach(tile.m, tile.c.row).saturating_add(tile.n as i64);
    a.max(b).max(c) < (i32::MAX as i64) / (2 * SIZE)
}

struct Emission<'t> {
    a: &'t mut Instructions,
    machine: Machine,
    tile: &'t Tile,
    stored: DType,
    loops: &'t [TileLoop],
    /// Cache lines that each written-out group of points fetches ahead.
    ahead: usize,
    epilogue: Option<Epilogue<'t>>,
    /// Words of the table that the epilogue uses: bytes from row to row, and whether columns move them too.
    words: Vec<(usize, i64, bool)>,
}

/// Bytes of a panel of B from which on the next one is fetched ahead.
const LARGE_PANEL: i64 = 2048;
/// Bytes from row to row above which rows are asked for ahead, and points of a reduction that leave time for it.
const FAR: i64 = 128;
const FEWEST_POINTS: usize = 24;
/// Bytes of a cache line.
const LINE: i64 = 64;

/// The cache lines of a panel of B that is contiguous, so that the one that is wanted next lies behind it: packed
/// weights are read once, and as fast as memory gives them only if they are asked for in time.
fn panel_lines(tile: &Tile, stored: DType, loops: &[TileLoop]) -> Option<usize> {
    // Without a reduction there is one row of B, and none behind it.
    loops.first()?;
    let mut size = tile.n as i64;
    for level in loops.iter().rev() {
        if level.b != size {
            return None;
        }
        size *= level.extent as i64;
    }
    let bytes = size * stored.size() as i64;
    (bytes >= LARGE_PANEL).then_some((bytes / LINE) as usize)
}

/// Groups of written-out points of the innermost loop, if it is long enough to be a loop.
fn rounds(extent: usize) -> usize {
    if extent < 2 * UNROLL { 0 } else { extent / UNROLL }
}

/// A displacement or immediate; `small` has shown that it fits.
fn imm(value: i64) -> i32 {
    value as i32
}

impl Emission<'_> {
    fn tile(&mut self, mask: Option<Memory>) -> Asm {
        let in_cache = rows_in_cache(self.tile.a.row * SIZE);
        let columns = split_columns(self.machine, (self.tile.m, in_cache), self.tile.n);
        // Every column block asks for its share of the next panel.
        let blocks: usize = columns.iter().map(|block| block.count).sum();
        let lines = panel_lines(self.tile, self.stored, self.loops).map(|lines| lines.div_ceil(blocks));
        if lines.is_some() {
            let panel = self.loops[0].extent as i64 * self.loops[0].b * self.stored.size() as i64;
            self.a.lea(r13, byte_ptr(rsi + imm(panel)))?;
        }
        let mut moved = 0;
        for (i, block) in columns.iter().enumerate() {
            let last = i + 1 == columns.len();
            if !is_whole(block.last) {
                // Not earlier: blocks without mask use all registers.
                self.set_mask(block.last, mask)?;
            }
            let alone = last && block.count == 1;
            self.repeat(rbp, block.count, |e| e.column(*block, alone, lines))?;
            moved += if alone { 0 } else { block.count * block.vectors * self.machine.lanes };
        }
        // The table has what was there before.
        self.move_words(|_, columns| if columns { -(moved as i64) * SIZE } else { 0 })
    }

    /// Moves the words of the epilogue by so many bytes, told by bytes from row to row and whether columns move it.
    fn move_words(&mut self, by: impl Fn(i64, bool) -> i64) -> Asm {
        for &(word, row, columns) in &self.words {
            let bytes = by(row, columns);
            if bytes != 0 {
                self.a.add(qword_ptr(TABLE + 8 * word as i32), imm(bytes))?;
            }
        }
        Ok(())
    }

    /// The mask of the last vector.
    fn mask(&self) -> Mask {
        match self.machine.isa {
            Isa::Avx2 => Mask::Vector(Vector(self.machine.registers - 1)),
            Isa::Avx512 => Mask::K1,
        }
    }

    fn set_mask(&mut self, columns: usize, place: Option<Memory>) -> Asm {
        match (self.mask(), place) {
            (Mask::Vector(mask), Some(place)) => self.a.vmovups(mask.ymm(), place),
            _ => {
                self.a.mov(eax, (1u32 << columns) - 1)?;
                self.a.kmovw(k1, eax)
            }
        }
    }

    /// `body`, `count` times, counted in a register that it keeps.
    fn repeat(&mut self, counter: Gpr64, count: usize, body: impl FnOnce(&mut Self) -> Asm) -> Asm {
        if count == 0 {
            return Ok(());
        }
        if count == 1 {
            return body(self);
        }
        self.a.mov(counter.half(), count as u32)?;
        let top = self.a.create_label();
        self.a.set_label(top);
        body(self)?;
        self.a.dec(counter.half())?;
        self.a.jnz(top)
    }

    fn advance(&mut self, register: Gpr64, bytes: i64) -> Asm {
        if bytes == 0 { Ok(()) } else { self.a.add(register, imm(bytes)) }
    }

    /// All rows of one column block; leaves the pointers at the next one. `lines`: those of a panel to fetch.
    fn column(&mut self, block: Columns, last: bool, lines: Option<usize>) -> Asm {
        let tile = self.tile;
        let (row_a, row_c) = (tile.a.row * SIZE, tile.c.row * SIZE);
        let most = most_rows(self.machine, rows_in_cache(row_a), block.vectors, block.last);
        let rows = split_rows(tile.m, most);
        let blocks: usize = rows.iter().map(|&(count, _)| count).sum();
        // Groups of points that are written out, of all reduction loops.
        let (inner, outer) =
            self.loops.split_last().map_or((0, &[][..]), |(last, outer)| (last.extent, outer));
        let groups = rounds(inner) * outer.iter().map(|l| l.extent).product::<usize>();
        let needed = lines.map_or(0, |lines| lines.div_ceil(groups.max(1)));
        let ahead = needed.min(UNROLL.max(needed).div_ceil(blocks.max(1)));
        // Spread over as many of the first blocks of rows as it takes.
        let mut fetching = lines.filter(|_| groups > 0).map_or(0, |lines| lines.div_ceil(ahead * groups));
        for (count, rows) in rows {
            let with = count.min(fetching);
            fetching -= with;
            for (count, ahead) in [(with, ahead), (count - with, 0)] {
                self.ahead = ahead;
                self.repeat(rbx, count, |e| {
                    let Columns { vectors, last, .. } = block;
                    e.block(Block { rows, vectors, lanes: e.machine.lanes, last })?;
                    e.advance(rdi, rows as i64 * row_a)?;
                    e.move_words(|row, _| row * rows as i64)?;
                    e.advance(rdx, rows as i64 * row_c)
                })?;
            }
        }
        let width = (block.vectors * self.machine.lanes) as i64;
        let rows = tile.m as i64;
        if last {
            return self.move_words(|row, _| -row * rows);
        }
        self.move_words(|row, columns| if columns { width * SIZE } else { 0 } - row * rows)?;
        self.advance(rdi, -(tile.m as i64) * row_a)?;
        self.advance(rdx, width * SIZE - tile.m as i64 * row_c)?;
        self.advance(rsi, width * self.stored.size() as i64)
    }

    /// A block: its sums begin, run through the reduction, and are stored.
    fn block(&mut self, block: Block) -> Asm {
        self.begin(block)?;
        self.fetch_rows(block)?;
        self.a.mov(r8, rdi)?;
        self.a.mov(r9, rsi)?;
        self.reduce(0, block)?;
        self.end(block)
    }

    /// Asks for the rows that the block ends with, if they are far apart: nothing else foresees them.
    fn fetch_rows(&mut self, block: Block) -> Asm {
        let points: usize = self.loops.iter().map(|l| l.extent).product();
        let far = |row: i64| row.abs() > FAR && points >= FEWEST_POINTS;
        let row_c = self.tile.c.row * SIZE;
        if self.tile.zero && far(row_c) {
            for i in 0..block.rows as i64 {
                self.a.prefetcht0(byte_ptr(rdx + imm(i * row_c)))?;
            }
        }
        let streams: Vec<Stream> =
            self.epilogue.iter().flat_map(|e| e.steps).filter_map(Step::stream).cloned().collect();
        for stream in streams.into_iter().filter(|stream| far(stream.row)) {
            self.a.mov(r8, qword_ptr(TABLE + 8 * stream.word as i32))?;
            for i in 0..block.rows as i64 {
                self.a.prefetcht0(byte_ptr(r8 + (stream.offset + imm(i * stream.row))))?;
            }
        }
        Ok(())
    }

    /// The sums, zero or what C holds.
    fn begin(&mut self, block: Block) -> Asm {
        for (i, j) in cells(block) {
            let sum = block.sum(i, j);
            if self.tile.zero {
                let sum = sum.of(block.columns(j));
                self.a.vxorps(sum, sum, sum)?;
            } else {
                let place = self.place(i, j);
                self.load(sum, place, block.columns(j))?;
            }
        }
        Ok(())
    }

    /// The sums, which no loop changes any more, to C; or what the epilogue makes of them, to where it says.
    fn end(&mut self, block: Block) -> Asm {
        let Some(Epilogue { steps, constants }) = self.epilogue.take() else {
            return cells(block).try_for_each(|(i, j)| self.store(self.place(i, j), block, i, j));
        };
        for (&(word, ..), address) in self.words.iter().zip(ADDRESSES) {
            self.a.mov(address, qword_ptr(TABLE + 8 * word as i32))?;
        }
        let mut next = constants.iter();
        // The row of B is not needed any more.
        let spare = block.b(0);
        for step in steps {
            match step {
                Step::OneNan => {
                    let nan = *next.next().expect("every constant has a place");
                    cells(block).try_for_each(|(i, j)| self.one_nan(block.sum(i, j), spare, nan))?;
                }
                Step::StoreSum => {
                    cells(block).try_for_each(|(i, j)| self.store(self.place(i, j), block, i, j))?;
                }
                Step::Store(stream) => {
                    cells(block)
                        .try_for_each(|(i, j)| self.store(self.element(stream, i, j), block, i, j))?;
                }
                Step::Binary { op, operand: Operand::Constant(_), turned } => {
                    let constant = *next.next().expect("every constant has a place");
                    self.a.vmovups(spare.of(self.machine.lanes), constant)?;
                    cells(block).try_for_each(|(i, j)| self.combine(*op, block, (i, j), *turned))?;
                }
                Step::Binary { op, operand: Operand::Stream(stream), turned } => {
                    // Rows share what does not move with them.
                    let shared = stream.row == 0;
                    for j in 0..block.vectors {
                        for i in 0..block.rows {
                            let place = self.element(stream, i, j);
                            let columns = block.columns(j);
                            if i > 0 && shared {
                                // It is there.
                            } else if !stream.columns {
                                self.a.vbroadcastss(spare.of(self.machine.lanes), dword_ptr(place))?;
                            } else if columns == self.machine.lanes && !shared && !*turned {
                                let sum = block.sum(i, j);
                                let sum = sum.of(self.machine.lanes);
                                binary(self.a, *op, sum, sum, place)?;
                                continue;
                            } else {
                                // A row's last vector may be the end of memory.
                                self.load(spare, place, columns)?;
                            }
                            self.combine(*op, block, (i, j), *turned)?;
                        }
                    }
                }
            }
        }
        self.epilogue = Some(Epilogue { steps, constants });
        Ok(())
    }

    /// `sum` = the NaN at a place, where it is any. Lanes that are no columns may be anything.
    fn one_nan(&mut self, sum: Vector, spare: Vector, nan: Memory) -> Asm {
        match self.machine.isa {
            Isa::Avx2 => {
                self.a.vcmpps(spare.ymm(), sum.ymm(), sum.ymm(), UNORDERED as u32)?;
                self.a.vblendvps(sum.ymm(), sum.ymm(), nan, spare.ymm())
            }
            Isa::Avx512 => {
                self.a.vcmpps(k2, sum.zmm(), sum.zmm(), UNORDERED as u32)?;
                self.a.vpmovm2d(spare.zmm(), k2)?;
                self.a.vpternlogd(sum.zmm(), spare.zmm(), nan, choose(SECOND, THIRD, FIRST))
            }
        }
    }

    /// `sum = sum op` what lies where the row of B began, or the other way round.
    fn combine(&mut self, op: Binary, block: Block, (i, j): (usize, usize), turned: bool) -> Asm {
        let (sum, other) = (block.sum(i, j), block.b(0));
        let (a, b) = if turned { (other, sum) } else { (sum, other) };
        let columns = block.columns(j);
        binary(self.a, op, sum.of(columns), a.of(columns), b.of(columns))
    }

    fn store(&mut self, place: Memory, block: Block, row: usize, vector: usize) -> Asm {
        // The row of B is not needed any more.
        let (sum, spare) = (block.sum(row, vector), block.b(0));
        machine::store(self.a, self.machine, place, sum, block.columns(vector), spare)
    }

    /// Where the elements of a stream lie that belong to a vector.
    fn element(&self, stream: &Stream, row: usize, vector: usize) -> Memory {
        let number = self.words.iter().position(|word| word.0 == stream.word).expect("all words are listed");
        let column = if stream.columns { (vector * self.machine.lanes) as i64 * SIZE } else { 0 };
        ADDRESSES[number] + (stream.offset + imm(row as i64 * stream.row + column))
    }

    /// Where a vector of the block's part of C lies.
    fn place(&self, row: usize, vector: usize) -> Memory {
        let columns = (vector * self.machine.lanes) as i64;
        rdx + imm((row as i64 * self.tile.c.row + columns) * SIZE)
    }

    fn load(&mut self, to: Vector, place: Memory, columns: usize) -> Asm {
        let mask = self.mask();
        machine::load(self.a, to, place, columns, mask)
    }

    /// The reduction loops from `level` on; gives the bytes by which they leave `r8` and `r9` advanced.
    fn reduce(&mut self, level: usize, block: Block) -> Asm<(i64, i64)> {
        let Some(&TileLoop { extent, a, b }) = self.loops.get(level) else {
            self.point(0, 0, block)?;
            return Ok((0, 0));
        };
        let (a, b) = (a * SIZE, b * self.stored.size() as i64);
        if level + 1 < self.loops.len() {
            self.repeat(COUNTERS[level], extent, |e| {
                let (moved_a, moved_b) = e.reduce(level + 1, block)?;
                e.advance(r8, a - moved_a)?;
                e.advance(r9, b - moved_b)
            })?;
            return Ok((extent as i64 * a, extent as i64 * b));
        }
        let rounds = rounds(extent);
        self.repeat(COUNTERS[level], rounds, |e| {
            for u in 0..UNROLL as i64 {
                e.point(u * a, u * b, block)?;
            }
            for line in 0..e.ahead as i64 {
                e.a.prefetcht0(byte_ptr(r13 + imm(line * LINE)))?;
            }
            e.advance(r13, e.ahead as i64 * LINE)?;
            e.advance(r8, UNROLL as i64 * a)?;
            e.advance(r9, UNROLL as i64 * b)
        })?;
        for u in 0..(extent - rounds * UNROLL) as i64 {
            self.point(u * a, u * b, block)?;
        }
        let moved = (rounds * UNROLL) as i64;
        Ok((moved * a, moved * b))
    }

    /// One point of the reduction: a column of A times a row of B.
    fn point(&mut self, da: i64, db: i64, block: Block) -> Asm {
        for j in 0..block.vectors {
            let place = r9 + imm(db + (j * self.machine.lanes * self.stored.size()) as i64);
            match self.stored {
                DType::Bf16 => {
                    machine::load_bf16(self.a, self.machine, block.b(j), place, block.columns(j))?;
                }
                _ => self.load(block.b(j), place, block.columns(j))?,
            }
        }
        for i in 0..block.rows {
            let place = r8 + imm(da + i as i64 * self.tile.a.row * SIZE);
            if broadcasts(self.machine, block.vectors) {
                let (sum, b) = (block.sum(i, 0), block.b(0));
                self.a.vfmadd231ps(sum.of(block.last), b.of(block.last), dword_bcst(place))?;
                continue;
            }
            let x = block.a();
            self.a.vbroadcastss(x.of(self.machine.lanes), dword_ptr(place))?;
            for j in 0..block.vectors {
                let (sum, b) = (block.sum(i, j), block.b(j));
                self.a.vfmadd231ps(
                    sum.of(block.columns(j)),
                    x.of(block.columns(j)),
                    b.of(block.columns(j)),
                )?;
            }
        }
        Ok(())
    }
}

/// One of the operations that epilogues have.
fn binary(instructions: &mut Instructions, op: Binary, to: Simd, a: Simd, b: impl Into<Value>) -> Asm {
    match op {
        Binary::Addps => instructions.vaddps(to, a, b),
        Binary::Subps => instructions.vsubps(to, a, b),
        Binary::Mulps => instructions.vmulps(to, a, b),
        Binary::Maxps => instructions.vmaxps(to, a, b),
        Binary::Minps => instructions.vminps(to, a, b),
        _ => unreachable!("an epilogue is made of these"),
    }
}
