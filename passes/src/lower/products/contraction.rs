//! Contractions: strided, batched matrix products as loops around tiles.
//!
//! `C[batch, m, n] = Σ_k A[batch, m, k] · B[batch, k, n]`, where batch, m, n and k stand for any number of axes. A
//! tile wants the innermost n axis contiguous in B and C; the operators that bring a contraction see to that by
//! copying an operand first where it is not. Each element of C is one chain of fused multiply-adds from +0 in
//! row-major order of the k axes (the numeric plan), whatever the blocks.

use brolga_ir::DType;
use brolga_ir::index::Index;
use brolga_ir::program::{Kernel, Panel, Tile, TileLoop};

use super::tiling::Tiling;
use crate::facts::blocking::{strided, vectors};
use crate::facts::blocks::{Cut, blocks_of, count};
use crate::facts::cost::threads::EVEN;
use crate::lower::kernel::KernelBuilder;

/// An axis of a contraction: its extent, and its strides in the operands it occurs in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::lower) struct Axis {
    pub extent: usize,
    pub a: i64,
    pub b: i64,
    pub c: i64,
}

/// A contraction over memory; strides and offsets in elements.
#[derive(Clone, Debug)]
pub(in crate::lower) struct Contraction {
    pub name: &'static str,
    pub dtype: DType,
    /// Axes of all three.
    pub batch: Vec<Axis>,
    /// Axes of A and C.
    pub m: Vec<Axis>,
    /// Axes of B and C; the last is contiguous in both.
    pub n: Vec<Axis>,
    /// Axes of A and B, in the order of the chain.
    pub k: Vec<Axis>,
    /// Position of the first element of A, B and C.
    pub offset: [i64; 3],
    /// Elements addressable in A, B and C.
    pub len: [usize; 3],
    /// Whether chains continue from what C holds.
    pub accumulate: bool,
    pub tiling: Tiling,
}

/// Merges neighbouring axes that are contiguous in every operand, and drops axes of extent 1.
fn collapse(axes: &[Axis]) -> Vec<Axis> {
    let mut result: Vec<Axis> = Vec::new();
    for &axis in axes.iter().filter(|axis| axis.extent != 1) {
        let inner = axis.extent as i64;
        match result.last_mut() {
            Some(last)
                if last.a == axis.a * inner && last.b == axis.b * inner && last.c == axis.c * inner =>
            {
                *last = Axis { extent: last.extent * axis.extent, ..axis };
            }
            _ => result.push(axis),
        }
    }
    result
}

/// What a block may have at most that is asked to have so much.
fn longest(block: usize) -> usize {
    block + block / strided::LONGER
}

/// An extent cut into whole blocks and a rest. Divisors that fill vectors are preferred, so that mostly there is no rest.
fn blocks(extent: usize, block: usize) -> Vec<Cut> {
    let longest = longest(block);
    if extent <= longest {
        return vec![Cut { count: usize::from(extent > 0), ..Cut::whole(extent.max(1)) }];
    }
    let shortest = (block / strided::SHORTER).max(1);
    let divisors = (shortest..=longest).rev().filter(|d| extent.is_multiple_of(*d));
    // Of those that fill the same vectors the longest, which comes first.
    let best = divisors.min_by_key(|d| {
        vectors::WHOLE.iter().position(|lanes| d.is_multiple_of(*lanes)).unwrap_or(vectors::WHOLE.len())
    });
    blocks_of(extent, best.unwrap_or(block))
}

/// A block of C: where it begins in A, B and C, the axis of its rows, and its extents.
struct ResultBlock {
    at: [Index; 3],
    m: Axis,
    rows: usize,
    columns: usize,
}

impl Contraction {
    /// The kernel: parameters A, B, C.
    pub fn kernel(&self) -> Kernel {
        use brolga_ir::program::Access::{Read, ReadWrite, Write};
        let mut k = KernelBuilder::new(self.name);
        k.param(self.dtype, self.len[0], Read);
        k.param(self.dtype, self.len[1], Read);
        let blocked = count(&self.k_blocks()) > 1;
        k.param(self.dtype, self.len[2], if self.accumulate || blocked { ReadWrite } else { Write });
        self.emit(&mut k, [0, 1, 2]);
        k.finish_kernel()
    }

    /// The innermost axis that is summed over, in blocks: all of it, unless it is the only one and long.
    fn k_blocks(&self) -> Vec<Cut> {
        let reduce = collapse(&self.k);
        let (innermost, block) = (reduce.last().map_or(1, |axis| axis.extent), self.tiling.depth);
        if innermost > longest(block) && reduce.len() == 1 {
            return blocks_of(innermost, block);
        }
        vec![Cut::whole(innermost)]
    }

    /// About how many rows and columns a block has, where the innermost axes have so many: fewer than usual where
    /// there would be too few blocks for all threads.
    fn block_of(&self, extents: [usize; 2]) -> [usize; 2] {
        let mut size = [self.tiling.rows, self.tiling.columns.unwrap_or(strided::COLUMNS)];
        if self.tiling.fixed {
            return size;
        }
        let product = |axes: &[Axis]| axes.iter().fold(1usize, |all, axis| all.saturating_mul(axis.extent));
        let work = [&self.batch, &self.m, &self.n, &self.k].map(|axes| product(axes));
        let work = work.into_iter().fold(1, usize::saturating_mul);
        let outer = [&self.batch, &self.m, &self.n].map(|axes| product(axes)).into_iter().product::<usize>()
            / extents.iter().product::<usize>().max(1);
        // Progress: a block is at most half as long again as it is asked to be, so each round asks for three quarters of
        // one of the two sizes before, at most, and it ends where both are short.
        loop {
            let cuts = [0, 1].map(|axis| blocks(extents[axis], size[axis]));
            let all = outer * cuts.iter().map(|cuts| count(cuts)).product::<usize>();
            let lengths = [cuts[0][0].width, cuts[1][0].width];
            let longer = usize::from(lengths[1] >= lengths[0]);
            if all >= EVEN
                || work / all.max(1) < 2 * strided::LEAST_WORK
                || lengths[longer] <= strided::SHORTEST
            {
                return size;
            }
            size[longer] = lengths[longer] / 2;
        }
    }

    /// Emits the loops and tiles into a kernel whose parameters A, B, C are given.
    pub fn emit(&self, k: &mut KernelBuilder, params: [usize; 3]) {
        let unit = Axis { extent: 1, a: 0, b: 0, c: 0 };
        let (mut m, mut n) = (collapse(&self.m), collapse(&self.n));
        let m_inner = m.pop().unwrap_or(unit);
        // Columns that are not contiguous (an image of width 1) are taken one by one.
        let contiguous = n.last().is_some_and(|axis| axis.b == 1 && axis.c == 1);
        let n_inner = n.pop_if(|_| contiguous).unwrap_or(Axis { b: 1, c: 1, ..unit });
        let outer: Vec<Axis> = collapse(&self.batch).into_iter().chain(m).chain(n).collect();
        let mut at = self.offset.map(Index::constant);
        for axis in &outer {
            let var = Index::var(k.open_for(axis.extent));
            at = add(&at, &var, axis, 1);
        }
        let [rows, columns] = self.block_of([m_inner.extent, n_inner.extent]);
        // Every kind of block has loops of its own, so that threads can share both axes.
        for down in blocks(m_inner.extent, rows) {
            for along in blocks(n_inner.extent, columns) {
                let at = shift(&shift(&at, &m_inner, down.first), &n_inner, along.first);
                let row = Index::var(k.open_for(down.count));
                let column = Index::var(k.open_for(along.count));
                let at = add(&add(&at, &row, &m_inner, down.width), &column, &n_inner, along.width);
                let block = ResultBlock { at, m: m_inner, rows: down.width, columns: along.width };
                self.block(k, params, &block);
                (0..2).for_each(|_| k.close());
            }
        }
        outer.iter().for_each(|_| k.close());
    }

    /// One block of C: the reduction, cut into blocks.
    fn block(&self, k: &mut KernelBuilder, params: [usize; 3], block: &ResultBlock) {
        let mut reduce = collapse(&self.k);
        let unit = Axis { extent: 1, a: 0, b: 0, c: 0 };
        let inner = reduce.pop().unwrap_or(unit);
        let outer: Vec<TileLoop> =
            reduce.iter().map(|l| TileLoop { extent: l.extent, a: l.a, b: l.b }).collect();
        let mut first = !self.accumulate;
        for mut cut in self.k_blocks() {
            // One round, or two: the first takes one block where it starts the chain, the next all others.
            while cut.count > 0 {
                // The first block of terms starts the chain and stands alone; the others are one loop.
                let run = if first { 1 } else { cut.count };
                let at = shift(&block.at, &inner, cut.first);
                let var = Index::var(k.open_for(run));
                let at = add(&at, &var, &inner, cut.width);
                let mut loops = outer.clone();
                loops.push(TileLoop { extent: cut.width, a: inner.a, b: inner.b });
                let panel = |i: usize, row: i64| Panel { param: params[i], index: at[i].clone(), row };
                k.tile(Tile {
                    dtype: self.dtype,
                    m: block.rows,
                    n: block.columns,
                    reduce: loops,
                    a: panel(0, block.m.a),
                    b: panel(1, 0),
                    c: panel(2, block.m.c),
                    zero: first,
                });
                k.close();
                first = false;
                cut.first += run * cut.width;
                cut.count -= run;
            }
        }
    }
}

fn shift(at: &[Index; 3], axis: &Axis, steps: usize) -> [Index; 3] {
    let steps = steps as i64;
    [at[0].plus(axis.a * steps), at[1].plus(axis.b * steps), at[2].plus(axis.c * steps)]
}

fn add(at: &[Index; 3], var: &Index, axis: &Axis, step: usize) -> [Index; 3] {
    let step = step as i64;
    [
        at[0].add(&var.scale(axis.a * step)),
        at[1].add(&var.scale(axis.b * step)),
        at[2].add(&var.scale(axis.c * step)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuning::Tuning;

    fn blocks_of(m: usize, n: usize, k: usize) -> usize {
        let axis = |extent, a, b, c| vec![Axis { extent, a, b, c }];
        let contraction = Contraction {
            name: "dot",
            dtype: DType::F32,
            batch: Vec::new(),
            m: axis(m, k as i64, 0, n as i64),
            n: axis(n, 0, 1, 1),
            k: axis(k, 1, n as i64, 0),
            offset: [0; 3],
            len: [m * k, k * n, m * n],
            accumulate: false,
            tiling: Tiling::strided(Tuning::default()),
        };
        let [rows, columns] = contraction.block_of([m, n]);
        count(&blocks(m, rows)) * count(&blocks(n, columns))
    }

    #[test]
    fn few_sums_of_many_terms_are_shared_among_threads() {
        assert_eq!(blocks_of(64, 64, 16384), 16);
        assert_eq!(blocks_of(1000, 3, 16384), 25);
        // Too small for more, nothing to cut, and empty.
        assert_eq!(blocks_of(64, 64, 64), 1);
        assert_eq!(blocks_of(3, 5, 1 << 20), 1);
        assert_eq!(blocks_of(0, 64, 64), 0);
    }
}
