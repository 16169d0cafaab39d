//! Matrix tiles in Cranelift IR: blocks of C in registers, one chain of fused multiply-adds for each element.
//!
//! What shapes the blocks is how Cranelift compiles `fma` for x86-64: the sum comes out in the register of the first
//! factor. So every multiply-add gets a broadcast of A's element of its own, which dies there; sums move through the
//! registers without copies. Two more things keep the code as it is meant:
//!
//! - A and B are loaded as memory that does not change. Then loads are placed where they are used; others come first
//!   in their block, and all wait there in registers.
//! - Sums have one use: loops test at their top. Where a sum has two, Cranelift does not merge loads into what the
//!   sum is made of, and every broadcast becomes two instructions.

use brolga_ir::DType;
use brolga_ir::program::{Access, Panel, Tile, TileLoop};
use cranelift_codegen::ir::{BlockArg, InstBuilder, MemFlagsData, Type, Value, condcodes::IntCC, types};

use super::context::KernelCx;
use crate::limits::portable::{CHAINS, MOST_VECTORS, POINT_UNROLL, REGISTERS};

/// The reduction loops with those of one iteration left out, and neighbours that continue each other merged.
pub(crate) fn merge_loops(reduce: &[TileLoop]) -> Vec<TileLoop> {
    let mut merged: Vec<TileLoop> = Vec::new();
    for &inner in reduce.iter().filter(|l| l.extent != 1) {
        let through = |stride: i64| (inner.extent as i64).checked_mul(stride);
        match merged.last_mut() {
            Some(outer)
                if (Some(outer.a), Some(outer.b)) == (through(inner.a), through(inner.b))
                    && outer.extent.checked_mul(inner.extent).is_some() =>
            {
                *outer = TileLoop { extent: outer.extent * inner.extent, ..inner };
            }
            _ => merged.push(inner),
        }
    }
    merged
}

/// Blocks of columns of the same shape, side by side.
#[derive(PartialEq, Eq, Debug)]
struct ColumnRun {
    /// First column.
    start: usize,
    /// Number of blocks.
    count: usize,
    /// Columns of a block.
    width: usize,
    /// Where in a block its vectors begin. The last two overlap where the tile ends inside a vector: both compute
    /// the same bits there.
    vectors: Vec<usize>,
    /// Columns of a vector; 1: scalars.
    lanes: usize,
}

/// `n` columns in blocks of at most `most` vectors; a last block may have one more.
fn column_runs(n: usize, lanes: usize, most: usize) -> Vec<ColumnRun> {
    let (lanes, most) = if n < lanes { (1, n.max(1)) } else { (lanes, most) };
    let (whole, ragged) = (n / lanes, !n.is_multiple_of(lanes));
    // The vector that ends the tile overlaps the one before it, so that one is in the last block too.
    let count = (whole - ragged as usize) / most;
    let width = most * lanes;
    let start = count * width;
    let starts = |end: usize| (0..end).map(|vector| vector * lanes);
    let last = starts(whole - count * most).chain(ragged.then(|| n - lanes - start));
    let last = ColumnRun { start, count: 1, width: n - start, vectors: last.collect(), lanes };
    let full = ColumnRun { start: 0, count, width, vectors: starts(most).collect(), lanes };
    [full, last].into_iter().filter(|c| c.count > 0 && !c.vectors.is_empty()).collect()
}

/// The most rows of a block: beside the sums, the unrolled points' rows of B and two products are in registers.
fn most_rows(vectors: usize) -> usize {
    (REGISTERS.saturating_sub(2 + POINT_UNROLL * vectors) / vectors).max(1)
}

/// `m` rows in as equal parts as possible, of at most `most`: (number of parts, rows), larger ones first.
pub(crate) fn split_rows(m: usize, most: usize) -> [(usize, usize); 2] {
    let parts = m.div_ceil(most).max(1);
    let (rows, larger) = (m / parts, m % parts);
    [(larger, rows + 1), (parts - larger, rows)]
}

/// A block of a tile whose sums are in registers: `rows` rows, and vectors (or scalars) of type `ty` at `columns`.
struct TileBlock<'t> {
    tile: &'t Tile,
    loops: &'t [TileLoop],
    rows: usize,
    columns: &'t [usize],
    ty: Type,
    /// What B holds: `bf16` is widened as it is loaded.
    stored: DType,
}

impl KernelCx<'_> {
    pub(crate) fn portable_tile(&mut self, tile: &Tile) {
        let loops = merge_loops(&tile.reduce);
        let (scalar, vector, lanes) = match tile.dtype {
            DType::F64 => (types::F64, types::F64X2, 2),
            _ => (types::F32, types::F32X4, 4),
        };
        let [a, b, c] = [&tile.a, &tile.b, &tile.c].map(|panel| self.tile_base(panel));
        let size = tile.dtype.size() as i64;
        let stored = self.kernel.params[tile.b.param].dtype;
        let most = CHAINS.div_ceil(tile.m.max(1)).min(MOST_VECTORS);
        // A's rows go by inside, so that B's columns stay in the first-level cache.
        for ColumnRun { start, count, width, vectors, lanes } in column_runs(tile.n, lanes, most) {
            let ty = if lanes == 1 { scalar } else { vector };
            let (start, width) = (start as i64, width as i64);
            self.counted(start, start + count as i64 * width, width, |cx, column| {
                let [b, c] = [(b, stored), (c, tile.dtype)].map(|(base, dtype)| {
                    let offset = cx.b.ins().imul_imm_s(column, dtype.size() as i64);
                    cx.b.ins().iadd(base, offset)
                });
                let mut row = 0;
                for (count, rows) in split_rows(tile.m, most_rows(vectors.len())) {
                    let end = row + (count * rows) as i64;
                    let block = TileBlock { tile, loops: &loops, rows, columns: &vectors, ty, stored };
                    cx.counted(row, end, rows as i64, |cx, row| {
                        let [a, c] = [(a, tile.a.row), (c, tile.c.row)].map(|(base, stride)| {
                            let distance = cx.b.ins().imul_imm_s(row, stride * size);
                            cx.b.ins().iadd(base, distance)
                        });
                        cx.tile_block(&block, [a, b, c]);
                    });
                    row = end;
                }
            });
        }
    }

    /// The address of a panel's first element.
    pub(crate) fn tile_base(&mut self, panel: &Panel) -> Value {
        let at = self.address(panel.param, &panel.index, 0);
        self.b.ins().iadd_imm_s(at.base, at.offset as i64)
    }

    fn tile_block(&mut self, block: &TileBlock<'_>, [a, b, c]: [Value; 3]) {
        let tile = block.tile;
        let size = tile.dtype.size() as i64;
        let flags = MemFlagsData::new().with_notrap();
        let offsets = (0..block.rows as i64)
            .flat_map(|i| block.columns.iter().map(move |&j| (i * tile.c.row + j as i64) * size));
        let places: Vec<(Value, i32)> = offsets.map(|offset| self.displaced(c, offset)).collect();
        let start = |&(base, offset): &(Value, i32)| {
            if tile.zero {
                self.tile_zero(block.ty)
            } else {
                self.b.ins().load(block.ty, flags, base, offset)
            }
        };
        let sums: Vec<Value> = places.iter().map(start).collect();
        let sums = self.tile_reduce(block, block.loops, [a, b], &sums);
        for ((base, offset), sum) in places.into_iter().zip(sums) {
            let sum = self.stored_form(tile.c.param, sum);
            self.b.ins().store(flags, sum, base, offset);
        }
    }

    fn tile_zero(&mut self, ty: Type) -> Value {
        let zero = if ty.lane_type() == types::F64 {
            self.b.ins().f64const(0.0)
        } else {
            self.b.ins().f32const(0.0)
        };
        if ty.is_vector() { self.b.ins().splat(ty, zero) } else { zero }
    }

    /// The reduction loops, outermost first, from where A and B begin.
    fn tile_reduce(
        &mut self,
        block: &TileBlock<'_>,
        loops: &[TileLoop],
        [a, b]: [Value; 2],
        sums: &[Value],
    ) -> Vec<Value> {
        let sizes = [block.tile.dtype, block.stored].map(|dtype| dtype.size() as i64);
        let Some((outer, inner)) = loops.split_first() else {
            return self.tile_points(block, [a, b], 1, [0, 0], sums);
        };
        let strides = [outer.a * sizes[0], outer.b * sizes[1]];
        let unroll = if inner.is_empty() { POINT_UNROLL } else { 1 };
        let (rounds, rest) = (outer.extent / unroll, outer.extent % unroll);
        let carried: Vec<Value> = [a, b].into_iter().chain(sums.iter().copied()).collect();
        let carried = self.repeat(rounds, &carried, |cx, carried| {
            let sums = if inner.is_empty() {
                cx.tile_points(block, [carried[0], carried[1]], unroll, strides, &carried[2..])
            } else {
                cx.tile_reduce(block, inner, [carried[0], carried[1]], &carried[2..])
            };
            let next = |i: usize| (carried[i], unroll as i64 * strides[i]);
            let pointers = [next(0), next(1)].map(|(pointer, by)| cx.b.ins().iadd_imm_s(pointer, by));
            pointers.into_iter().chain(sums).collect()
        });
        self.tile_points(block, [carried[0], carried[1]], rest, strides, &carried[2..])
    }

    /// `body`, `count` times: it gets the carried values and gives their next ones, each to be used once.
    fn repeat(
        &mut self,
        count: usize,
        carried: &[Value],
        body: impl FnOnce(&mut Self, &[Value]) -> Vec<Value>,
    ) -> Vec<Value> {
        if count == 0 {
            return carried.to_vec();
        }
        if count == 1 {
            return body(self, carried);
        }
        let (header, inside, exit) = (self.b.create_block(), self.b.create_block(), self.b.create_block());
        let left = self.b.append_block_param(header, types::I64);
        let param = |value: &Value| {
            let ty = self.b.func.dfg.value_type(*value);
            self.b.append_block_param(header, ty)
        };
        let params: Vec<Value> = carried.iter().map(param).collect();
        let args = |left: Value, carried: &[Value]| -> Vec<BlockArg> {
            std::iter::once(left).chain(carried.iter().copied()).map(BlockArg::Value).collect()
        };
        let count = self.b.ins().iconst(types::I64, count as i64);
        self.b.ins().jump(header, &args(count, carried));
        self.b.switch_to_block(header);
        let done = self.b.ins().icmp_imm_s(IntCC::Equal, left, 0);
        // The second one is laid out next.
        self.b.ins().brif(done, exit, &[], inside, &[]);
        self.b.switch_to_block(inside);
        self.b.seal_block(inside);
        let next = body(self, &params);
        let left = self.b.ins().iadd_imm_s(left, -1);
        self.b.ins().jump(header, &args(left, &next));
        self.b.seal_block(header);
        self.b.switch_to_block(exit);
        self.b.seal_block(exit);
        params
    }

    /// `count` points of the reduction, one after the other: outer products of a column of A and a row of B.
    fn tile_points(
        &mut self,
        block: &TileBlock<'_>,
        [a, b]: [Value; 2],
        count: usize,
        strides: [i64; 2],
        sums: &[Value],
    ) -> Vec<Value> {
        let tile = block.tile;
        let size = tile.dtype.size() as i64;
        let flags = [&tile.a, &tile.b].map(|panel| self.operand_flags(panel));
        let vectors = block.columns.len();
        // Each column of vectors has an address of its own for A, else they would share a broadcast, and copy it.
        let apart = |j: usize| j as i64 * 64;
        let bases: Vec<Value> = (0..vectors).map(|j| self.b.ins().iadd_imm_s(a, apart(j))).collect();
        let mut sums = sums.to_vec();
        for point in 0..count as i64 {
            for (j, &column) in block.columns.iter().enumerate() {
                let (base, offset) =
                    self.displaced(b, point * strides[1] + column as i64 * block.stored.size() as i64);
                let y = match block.stored {
                    DType::Bf16 => self.load_bf16(block.ty, flags[1], base, offset),
                    _ => self.b.ins().load(block.ty, flags[1], base, offset),
                };
                for i in 0..block.rows {
                    let element = point * strides[0] + i as i64 * tile.a.row * size;
                    let (base, offset) = self.displaced(bases[j], element - apart(j));
                    let x = self.b.ins().load(block.ty.lane_type(), flags[0], base, offset);
                    let x = if block.ty.is_vector() { self.b.ins().splat(block.ty, x) } else { x };
                    let sum = &mut sums[i * vectors + j];
                    *sum = self.b.ins().fma(x, y, *sum);
                }
            }
        }
        sums
    }

    /// An operand that the kernel only reads does not change while it runs: nothing written overlaps it.
    fn operand_flags(&self, panel: &Panel) -> MemFlagsData {
        let flags = MemFlagsData::new().with_notrap();
        // A checked kernel must not load before it has checked.
        if self.kernel.params[panel.param].access == Access::Read && self.refusals.is_none() {
            flags.with_readonly().with_can_move()
        } else {
            flags
        }
    }

    fn displaced(&mut self, base: Value, offset: i64) -> (Value, i32) {
        match i32::try_from(offset) {
            Ok(offset) => (base, offset),
            Err(_) => (self.b.ins().iadd_imm_s(base, offset), 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_all_columns_and_fit_the_registers() {
        for lanes in [2, 4] {
            for most in 1..=MOST_VECTORS {
                for n in 1..100 {
                    let mut covered = vec![0; n];
                    for c in column_runs(n, lanes, most) {
                        assert!(c.vectors.len() <= most.max(lanes - 1) + 1);
                        let rows = most_rows(c.vectors.len());
                        let registers = (rows + POINT_UNROLL) * c.vectors.len() + 2;
                        assert!(registers <= REGISTERS || rows == 1, "{c:?}");
                        let mut this_block = vec![false; n];
                        for block in 0..c.count {
                            for at in &c.vectors {
                                let first = c.start + block * c.width + at;
                                this_block[first..first + c.lanes].fill(true);
                            }
                        }
                        covered.iter_mut().zip(this_block).for_each(|(n, here)| *n += here as usize);
                    }
                    // Once: a block that goes on from what C holds must not find what another one left.
                    assert!(covered.iter().all(|&n| n == 1), "n {n}, lanes {lanes}, most {most}");
                }
            }
        }
    }

    #[test]
    fn rows_are_cut_into_equal_parts() {
        assert_eq!(split_rows(16, most_rows(1)), [(0, 9), (2, 8)]);
        assert_eq!(split_rows(25, most_rows(1)), [(1, 9), (2, 8)]);
    }
}
