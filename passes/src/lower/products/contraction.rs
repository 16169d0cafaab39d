//! Contractions: strided, batched matrix products as loops around tiles.
//!
//! `C[batch, m, n] = Σ_k A[batch, m, k] · B[batch, k, n]`, where batch, m, n and k stand for any number of axes. A
//! tile wants the innermost n axis contiguous in B and C; the operators that bring a contraction see to that by
//! copying an operand first where it is not. Each element of C is one chain of fused multiply-adds from +0 in
//! row-major order of the k axes (the numeric plan), whatever the blocks.
//!
//! It is a request of its own beside [`Product`](super::product::Product), because it has nothing of what that says: no windows
//! over positions, no weights in panels, nothing fused behind. Instead it says of any number of axes where they lie in all three
//! tensors ([`Loops`]).

use brolga_ir::index::Index;
use brolga_ir::program::{Access, Kernel, Panel, Tile, TileLoop};
use brolga_ir::{DType, NodeId};

use super::axes::{Axis, Loops};
use super::tiling::Tiling;
use crate::facts::blocks::{Cut, blocks_of, count};
use crate::lower::kernel::KernelBuilder;
use crate::lower::{Location, Lowering};

/// A request for a contraction; strides and offsets in elements.
pub(in crate::lower) struct Contraction {
    pub name: &'static str,
    pub dtype: DType,
    /// Where A, B and C are, the position of the first element of each, and its elements in memory.
    pub places: [Location; 3],
    pub offset: [i64; 3],
    pub len: [usize; 3],
    pub loops: Loops,
    pub tiling: Tiling,
    /// The node that it is lowered for.
    pub origin: NodeId,
}

/// A block of C: where it begins in A, B and C, and its extents.
struct ResultBlock {
    at: [Index; 3],
    rows: usize,
    columns: usize,
}

impl Lowering<'_> {
    /// The kernel of a contraction.
    pub(super) fn contract(&mut self, contraction: &Contraction) {
        self.call(contraction.kernel(), contraction.places.to_vec(), contraction.origin);
    }
}

impl Contraction {
    /// The kernel: parameters A, B, C.
    fn kernel(&self) -> Kernel {
        let mut k = KernelBuilder::new(self.name);
        k.param(self.dtype, self.len[0], Access::Read);
        k.param(self.dtype, self.len[1], Access::Read);
        let several = count(&self.terms()) > 1;
        k.param(self.dtype, self.len[2], if several { Access::ReadWrite } else { Access::Write });
        self.emit(&mut k);
        k.finish_kernel()
    }

    /// Blocks of terms: at least one, which starts the chains.
    fn terms(&self) -> Vec<Cut> {
        let (terms, depth) = (self.loops.terms.extent, self.tiling.depth);
        if terms > depth { blocks_of(terms, depth) } else { vec![Cut::whole(terms)] }
    }

    /// Emits the loops and tiles.
    fn emit(&self, k: &mut KernelBuilder) {
        let Loops { outer, rows, columns, .. } = &self.loops;
        let mut at = self.offset.map(Index::constant);
        for axis in outer {
            let var = Index::var(k.open_for(axis.extent));
            at = add(&at, &var, axis, 1);
        }
        // Every kind of block has loops of its own, so that threads can share both axes.
        for down in &cuts(rows.extent, self.tiling.rows) {
            for along in &cuts(columns.extent, self.tiling.columns) {
                let at = shift(&shift(&at, rows, down.first), columns, along.first);
                let row = Index::var(k.open_for(down.count));
                let column = Index::var(k.open_for(along.count));
                let at = add(&add(&at, &row, rows, down.width), &column, columns, along.width);
                self.block(k, &ResultBlock { at, rows: down.width, columns: along.width });
                (0..2).for_each(|_| k.close());
            }
        }
        outer.iter().for_each(|_| k.close());
    }

    /// One block of C: the sums, by blocks of their terms.
    fn block(&self, k: &mut KernelBuilder, block: &ResultBlock) {
        let Loops { rows, sums, terms, .. } = &self.loops;
        let outer: Vec<TileLoop> =
            sums.iter().map(|axis| TileLoop { extent: axis.extent, a: axis.a, b: axis.b }).collect();
        let mut first = true;
        for mut cut in self.terms() {
            // One round, or two: the first takes one block where it starts the chain, the next all others.
            while cut.count > 0 {
                // The first block of terms starts the chain and stands alone; the others are one loop.
                let run = if first { 1 } else { cut.count };
                let at = shift(&block.at, terms, cut.first);
                let var = Index::var(k.open_for(run));
                let at = add(&at, &var, terms, cut.width);
                let mut loops = outer.clone();
                loops.push(TileLoop { extent: cut.width, a: terms.a, b: terms.b });
                let panel = |param: usize, row: i64| Panel { param, index: at[param].clone(), row };
                k.tile(Tile {
                    dtype: self.dtype,
                    m: block.rows,
                    n: block.columns,
                    reduce: loops,
                    a: panel(0, rows.a),
                    b: panel(1, 0),
                    c: panel(2, rows.c),
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

/// An extent in blocks of so much: one that has nothing, where there is nothing.
fn cuts(extent: usize, block: usize) -> Vec<Cut> {
    if extent > block {
        return blocks_of(extent, block);
    }
    vec![Cut { count: usize::from(extent > 0), ..Cut::whole(block) }]
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
