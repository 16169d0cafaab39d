//! Matrix tiles in Cranelift IR: blocks of C in registers, one chain of fused multiply-adds for each element.

use brolga_ir::DType;
use brolga_ir::program::{Tile, TileLoop};
use cranelift::codegen::ir::{InstBuilder, MemFlagsData, Type, Value, types};

use super::KernelCx;

/// Rows of a register block: with two vectors of columns it takes 12 registers for C, 2 for B, 1 for A.
const ROWS: usize = 6;
/// Vectors in a row of a register block.
const VECTORS: usize = 2;
/// Iterations of the innermost reduction loop that are written out.
const UNROLL: i64 = 4;

/// The reduction loops with those of one iteration left out, and neighbours that continue each other merged.
pub(crate) fn merge_loops(reduce: &[TileLoop]) -> Vec<TileLoop> {
    let mut merged: Vec<TileLoop> = Vec::new();
    for &inner in reduce.iter().filter(|l| l.extent != 1) {
        match merged.last_mut() {
            Some(outer)
                if outer.a == inner.extent as i64 * inner.a && outer.b == inner.extent as i64 * inner.b =>
            {
                *outer = TileLoop { extent: outer.extent * inner.extent, ..inner };
            }
            _ => merged.push(inner),
        }
    }
    merged
}

/// A register block: `rows` times `columns` elements of type `ty` (a vector or a scalar).
struct Block<'t> {
    tile: &'t Tile,
    loops: &'t [TileLoop],
    rows: usize,
    columns: usize,
    ty: Type,
}

impl KernelCx<'_> {
    pub(crate) fn portable_tile(&mut self, tile: &Tile) {
        let loops = merge_loops(&tile.reduce);
        let (scalar, vector, lanes) = match tile.dtype {
            DType::F64 => (types::F64, types::F64X2, 2),
            _ => (types::F32, types::F32X4, 4),
        };
        let base = [self.tile_base(&tile.a), self.tile_base(&tile.b), self.tile_base(&tile.c)];
        let size = tile.dtype.size() as i64;
        let mut column = 0;
        for (columns, ty, width) in
            [(VECTORS, vector, lanes), (1, vector, lanes), (3, scalar, 1), (1, scalar, 1)]
        {
            let step = columns * width;
            let blocks = (tile.n - column) / step;
            if blocks == 0 {
                continue;
            }
            let bytes = step as i64 * size;
            let start = column as i64 * size;
            let end = start + blocks as i64 * bytes;
            self.counted(start, end, bytes, &[], |cx, offset, _| {
                let b = cx.b.ins().iadd(base[1], offset);
                let c = cx.b.ins().iadd(base[2], offset);
                cx.tile_rows(tile, &loops, columns, ty, [base[0], b, c]);
                Vec::new()
            });
            column += blocks * step;
        }
    }

    /// The address of a panel's first element.
    pub(crate) fn tile_base(&mut self, panel: &brolga_ir::program::Panel) -> Value {
        let at = self.address(panel.param, &panel.index, 0);
        self.b.ins().iadd_imm_s(at.base, at.offset as i64)
    }

    /// All rows of one block of columns.
    fn tile_rows(&mut self, tile: &Tile, loops: &[TileLoop], columns: usize, ty: Type, base: [Value; 3]) {
        let size = tile.dtype.size() as i64;
        let full = tile.m / ROWS * ROWS;
        for (start, end, rows) in [(0, full, ROWS), (full, tile.m, tile.m - full)] {
            if start == end {
                continue;
            }
            self.counted(start as i64, end as i64, rows as i64, &[], |cx, row, _| {
                let a = cx.b.ins().imul_imm_s(row, tile.a.row * size);
                let a = cx.b.ins().iadd(base[0], a);
                let c = cx.b.ins().imul_imm_s(row, tile.c.row * size);
                let c = cx.b.ins().iadd(base[2], c);
                let block = Block { tile, loops, rows, columns, ty };
                cx.tile_block(&block, [a, base[1], c]);
                Vec::new()
            });
        }
    }

    fn tile_block(&mut self, block: &Block<'_>, [a, b, c]: [Value; 3]) {
        let tile = block.tile;
        let size = tile.dtype.size() as i64;
        let flags = MemFlagsData::new().with_notrap();
        let rows: Vec<Value> =
            (0..block.rows as i64).map(|i| self.b.ins().iadd_imm_s(c, i * tile.c.row * size)).collect();
        let step = block.ty.bytes() as i32;
        let mut sums = Vec::new();
        for &row in &rows {
            for j in 0..block.columns as i32 {
                sums.push(if tile.zero {
                    self.tile_zero(block.ty)
                } else {
                    self.b.ins().load(block.ty, flags, row, j * step)
                });
            }
        }
        let sums = self.tile_reduce(block, block.loops, a, b, &sums);
        for (i, &row) in rows.iter().enumerate() {
            for j in 0..block.columns {
                let sum = sums[i * block.columns + j];
                self.b.ins().store(flags, sum, row, j as i32 * step);
            }
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

    /// The reduction loops, outermost first; the innermost written out several times.
    fn tile_reduce(
        &mut self,
        block: &Block<'_>,
        loops: &[TileLoop],
        a: Value,
        b: Value,
        sums: &[Value],
    ) -> Vec<Value> {
        let size = block.tile.dtype.size() as i64;
        let Some((outer, inner)) = loops.split_first() else {
            return self.tile_step(block, a, b, 0, 0, sums);
        };
        let (stride_a, stride_b) = (outer.a * size, outer.b * size);
        let at = |cx: &mut Self, k: Value| {
            let da = cx.b.ins().imul_imm_s(k, stride_a);
            let db = cx.b.ins().imul_imm_s(k, stride_b);
            (cx.b.ins().iadd(a, da), cx.b.ins().iadd(b, db))
        };
        let n = outer.extent as i64;
        if !inner.is_empty() {
            return self.counted(0, n, 1, sums, |cx, k, sums| {
                let (a, b) = at(cx, k);
                cx.tile_reduce(block, inner, a, b, sums)
            });
        }
        let mut sums = sums.to_vec();
        for (start, end, unroll) in [(0, n / UNROLL * UNROLL, UNROLL), (n / UNROLL * UNROLL, n, 1)] {
            sums = self.counted(start, end, unroll, &sums, |cx, k, sums| {
                let (a, b) = at(cx, k);
                let mut sums = sums.to_vec();
                for u in 0..unroll {
                    sums = cx.tile_step(block, a, b, u * stride_a, u * stride_b, &sums);
                }
                sums
            });
        }
        sums
    }

    /// One point of the reduction: the outer product of a column of A and a row of B.
    fn tile_step(
        &mut self,
        block: &Block<'_>,
        a: Value,
        b: Value,
        da: i64,
        db: i64,
        sums: &[Value],
    ) -> Vec<Value> {
        let tile = block.tile;
        let size = tile.dtype.size() as i64;
        let flags = MemFlagsData::new().with_notrap();
        let step = block.ty.bytes() as i64;
        let row_b: Vec<Value> = (0..block.columns as i64)
            .map(|j| {
                let (base, offset) = self.displaced(b, db + j * step);
                self.b.ins().load(block.ty, flags, base, offset)
            })
            .collect();
        let mut next = Vec::with_capacity(sums.len());
        for i in 0..block.rows {
            let (base, offset) = self.displaced(a, da + i as i64 * tile.a.row * size);
            let scalar = self.b.ins().load(block.ty.lane_type(), flags, base, offset);
            let x = if block.ty.is_vector() { self.b.ins().splat(block.ty, scalar) } else { scalar };
            for (j, &y) in row_b.iter().enumerate() {
                next.push(self.b.ins().fma(x, y, sums[i * block.columns + j]));
            }
        }
        next
    }

    fn displaced(&mut self, base: Value, offset: i64) -> (Value, i32) {
        match i32::try_from(offset) {
            Ok(offset) => (base, offset),
            Err(_) => (self.b.ins().iadd_imm_s(base, offset), 0),
        }
    }
}
