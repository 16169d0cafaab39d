//! Dense products by Strassen's algorithm, in Winograd's form: seven products of halves in the place of eight.
//!
//! The left operand is cut into halves of its rows and of its terms, the right one of its terms and of its columns, the
//! result of its rows and of its columns. Halves of rows are the even and the odd ones, so that neighbouring rows stay
//! together and threads may share a product by them (Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd edition, 23.1):
//!
//! ```text
//! S1 = A21 + A22   S3 = A11 - A21     T1 = B12 - B11   T3 = B22 - B12     P5 = S1 T1
//! S2 = S1 - A11    S4 = A12 - S2      T2 = B22 - T1    T4 = B21 - T2
//!
//! X  = A11 B11     C  = X         C += A12 B21     C11 = C
//! X += S2 T2       C  = X + P5    C += S4 B22      C12 = C
//! X += S3 T3                                       C22 = X + P5
//! X += A22 T4                                      C21 = X
//! ```
//!
//! Sums of A are kept in memory, those of B among the panels of weights. A grid point computes the same box of all four
//! quarters of the result, with X, P5 and C in local memory, where rows lie closer than in the result. The pass [`strassen`](mod@crate::choose::strassen) says where an eighth
//! of the multiplications pays for it.

use brolga_ir::index::Index;
use brolga_ir::program::{Access, Panel, Tile, TileLoop};
use brolga_ir::scalar::ScalarOp;
use brolga_ir::{DType, NodeId, Type};

use super::blocks::{Cut, blocks_of, column_blocks, steps};
use super::boxes::for_each_kind;
use super::epilogue::{Epilogue, Patch, Span, store_sums, sum_of};
use super::packing::Weights;
use super::windows::Window;
use crate::lower::blocking::panels::PAIR;
use crate::lower::blocking::strassen::DEPTH;
use crate::lower::kernel::KernelBuilder;
use crate::lower::regions::compose::Composer;
use crate::lower::{Location, Lowering, StridedAccess};
use crate::schedule::{Algorithm, Outer};

/// Sums of A, and right operands.
const SUMS: usize = 4;
const PANELS: usize = 7;

/// A product, of twice as many rows, terms and columns.
struct Plan<'a> {
    dtype: DType,
    rows: usize,
    terms: usize,
    columns: usize,
    /// Strides by row and term.
    left: &'a StridedAccess,
    /// Extents of the result's axes that are counted as rows.
    dims: &'a [usize],
    /// Blocks of terms that are added in one step.
    steps: Vec<Cut>,
}

/// Where a left operand of the products lies: a parameter, and its first element of a box; strides by row and term.
struct Left {
    param: usize,
    first: Index,
    strides: [i64; 2],
}

/// A quarter of a box of the result.
struct Quarter<'p> {
    to: Index,
    rows: [Span<'p>; 1],
    column: Index,
}

impl Lowering<'_> {
    /// `left`, of strides by row and term, times weights; sizes are rows, terms and columns, `dims` the extents that are
    /// counted as rows.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn strassen(
        &mut self,
        left: &StridedAccess,
        weights: &Weights,
        [rows, terms, columns]: [usize; 3],
        dims: &[usize],
        target: Location,
        epilogue: Option<Epilogue<'_>>,
        id: NodeId,
    ) {
        self.choose(Algorithm::Strassen, id);
        let dtype = self.graph.node(id).types[0].dtype;
        let steps = blocks_of(terms / 2, self.schedule.depth(DEPTH));
        let plan = Plan { dtype, rows: rows / 2, terms: terms / 2, columns: columns / 2, left, dims, steps };
        if plan.columns.is_multiple_of(PAIR) {
            self.schedule.columns.get_or_insert(PAIR);
        }
        let sums = self.strassen_sums(&plan, id);
        let panels = self.strassen_panels(&plan, weights, id);
        let mut start = 0;
        for cut in column_blocks(plan.columns, self.schedule.columns()) {
            self.strassen_columns(&plan, cut, [sums, panels, target], start, epilogue, id);
            start += PANELS * plan.terms * cut.1 * cut.2;
        }
    }

    /// `[S1 … S4][row][term]`.
    fn strassen_sums(&mut self, plan: &Plan<'_>, id: NodeId) -> Location {
        let ty = Type::new(plan.dtype, [SUMS, plan.rows, plan.terms]);
        let mut k = KernelBuilder::new("strassen_sums");
        let source = k.param(plan.dtype, plan.left.len, Access::Read);
        let target = k.param(plan.dtype, ty.elements(), Access::Write);
        let row = Index::var(k.open_grid(plan.rows));
        let term = Index::var(k.open_for(plan.terms));
        let [by_row, by_term] = [0, 1].map(|axis| plan.left.strides[axis]);
        let from = row.scale(2 * by_row).add(&term.scale(by_term)).plus(plan.left.offset);
        let halves = [(0, 0), (0, 1), (1, 0), (1, 1)];
        let [a11, a12, a21, a22] = halves.map(|(i, j)| {
            let half = i * by_row + j * plan.terms as i64 * by_term;
            k.load(source, &from.plus(half), None)
        });
        let s1 = k.op(ScalarOp::Add, &[a21, a22]);
        let s2 = k.op(ScalarOp::Sub, &[s1, a11]);
        let s3 = k.op(ScalarOp::Sub, &[a11, a21]);
        let s4 = k.op(ScalarOp::Sub, &[a12, s2]);
        let to = row.scale(plan.terms as i64).add(&term);
        for (number, sum) in [s1, s2, s3, s4].into_iter().enumerate() {
            k.store(target, to.plus((number * plan.rows * plan.terms) as i64), sum);
        }
        (0..2).for_each(|_| k.close());
        let sums = self.arena("strassen_sums", ty);
        self.call(k.finish_kernel(), vec![plan.left.location, sums], id);
        sums
    }

    /// `[block of columns][B11, B21, T2, T1, B22, T3, T4][term][column]`, in the order of the products.
    fn strassen_panels(&mut self, plan: &Plan<'_>, weights: &Weights, id: NodeId) -> Location {
        let ty = Type::new(plan.dtype, [PANELS * plan.terms * plan.columns]);
        let mut k = KernelBuilder::new("strassen_panels");
        let source = k.param(plan.dtype, weights.access.len, Access::Read);
        let target = k.param(plan.dtype, ty.elements(), Access::Write);
        let mut start = 0;
        for (first, width, count) in column_blocks(plan.columns, self.schedule.columns()) {
            let block = Index::var(k.open_for(count));
            let term = Index::var(k.open_for(plan.terms));
            let lane = Index::var(k.open_for(width));
            let column = block.scale(width as i64).add(&lane).plus(first as i64);
            let from = term.scale(weights.input).add(&column.scale(weights.output)).plus(weights.offset);
            let halves = [(0, 0), (0, 1), (1, 0), (1, 1)];
            let [b11, b12, b21, b22] = halves.map(|(i, j)| {
                let half = i * plan.terms as i64 * weights.input + j * plan.columns as i64 * weights.output;
                let value = k.load(source, &from.plus(half), None);
                weights.rounded(&mut k, value, plan.dtype)
            });
            let t1 = k.op(ScalarOp::Sub, &[b12, b11]);
            let t2 = k.op(ScalarOp::Sub, &[b22, t1]);
            let t3 = k.op(ScalarOp::Sub, &[b22, b12]);
            let t4 = k.op(ScalarOp::Sub, &[b21, t2]);
            let size = plan.terms * width;
            let to = block.scale((PANELS * size) as i64).add(&term.scale(width as i64)).add(&lane);
            for (number, panel) in [b11, b21, t2, t1, b22, t3, t4].into_iter().enumerate() {
                k.store(target, to.plus((start + number * size) as i64), panel);
            }
            (0..3).for_each(|_| k.close());
            start += PANELS * size * count;
        }
        let name = format!("{}:packed", self.graph.node(id).origin.path);
        self.once(&name, k.finish_kernel(), weights.access.location, ty, id)
    }

    /// The kernel for a run of blocks of columns of either half, whose panels begin at `start`.
    fn strassen_columns(
        &mut self,
        plan: &Plan<'_>,
        (first, width, count): Cut,
        [sums, panels, target]: [Location; 3],
        start: usize,
        epilogue: Option<Epilogue<'_>>,
        id: NodeId,
    ) {
        let window = Window::identity(plan.rows);
        let by_rows = self.is_by_rows(plan.rows * (plan.terms + plan.columns), plan.terms * plan.columns);
        let chunks = self.boxes([&window].into_iter(), by_rows, (count, PANELS * plan.terms * width));
        let mut arguments = vec![plan.left.location, panels, target];
        let graph = epilogue.map_or(self.graph, |epilogue| epilogue.body);
        let mut c = Composer::new(graph, epilogue.map_or("dot", |epilogue| epilogue.name));
        let quarter = plan.terms * plan.columns;
        c.k.param(plan.dtype, plan.left.len, Access::Read);
        c.k.param(plan.dtype, PANELS * quarter, Access::Read);
        c.k.param(plan.dtype, 4 * plan.rows * plan.columns, Access::Write);
        if let Some(epilogue) = epilogue {
            epilogue.parameters(&mut c, &mut arguments);
        }
        arguments.push(sums);
        let sums = c.k.param(plan.dtype, SUMS * plan.rows * plan.terms, Access::Read);
        let locals = [0, 1, 2].map(|_| c.k.local(plan.dtype, chunks[0].length * width));
        // Outermost what is read again less, the rows or the panels, unless threads are to have rows of their own.
        let panels_first = match self.schedule.outer {
            Some(outer) => outer == Outer::Columns,
            None => !by_rows && plan.rows * count <= plan.columns * chunks[0].count,
        };
        let extents = if panels_first { [count, chunks[0].count] } else { [chunks[0].count, count] };
        let mut at = extents.map(|extent| Index::var(c.k.open_grid(extent)));
        if panels_first {
            at.reverse();
        }
        let [at, block] = at;
        let panel = block.scale((PANELS * plan.terms * width) as i64).plus(start as i64);
        let column = block.scale(width as i64).plus(first as i64);
        for_each_kind(&mut c, &chunks, std::slice::from_ref(&at), &mut |c, groups| {
            let size = (groups[0].extent, width);
            let first = at.scale(chunks[0].length as i64);
            let boxed = Quarters { plan, first, panel: &panel, size, sums };
            boxed.emit(c, &column, locals, epilogue);
        });
        (0..2).for_each(|_| c.k.close());
        self.call(c.k.finish_kernel(), arguments, id);
    }
}

/// What a grid point computes: the same rows and columns of every quarter.
struct Quarters<'b, 'a> {
    plan: &'b Plan<'a>,
    first: Index,
    panel: &'b Index,
    /// Rows and columns.
    size: (usize, usize),
    /// The parameter of the sums of A.
    sums: usize,
}

impl Quarters<'_, '_> {
    fn emit(
        &self,
        c: &mut Composer<'_>,
        column: &Index,
        [x, p5, sum]: [usize; 3],
        epilogue: Option<Epilogue<'_>>,
    ) {
        let [a11, a12, a22] = [(0, 0), (0, 1), (1, 1)].map(|(row, term)| self.quarter_of_left(row, term));
        let [s1, s2, s3, s4] = [0, 1, 2, 3].map(|number| self.sum_of_left(number));
        let [c11, c12, c21, c22] =
            [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(row, half)| self.quarter(column, row, half));
        self.product(c, 0, &a11, x, true);
        self.add(c, sum, &[x]);
        self.product(c, 1, &a12, sum, false);
        self.finish(c, &c11, &[sum], epilogue);
        self.product(c, 2, &s2, x, false);
        self.product(c, 3, &s1, p5, true);
        self.add(c, sum, &[x, p5]);
        self.product(c, 4, &s4, sum, false);
        self.finish(c, &c12, &[sum], epilogue);
        self.product(c, 5, &s3, x, false);
        self.finish(c, &c22, &[x, p5], epilogue);
        self.product(c, 6, &a22, x, false);
        self.finish(c, &c21, &[x], epilogue);
    }

    /// A quarter of A.
    fn quarter_of_left(&self, row: i64, term: i64) -> Left {
        let Plan { left, terms, .. } = *self.plan;
        let strides = [2 * left.strides[0], left.strides[1]];
        let quarter = row * left.strides[0] + term * terms as i64 * strides[1];
        Left { param: 0, first: self.first.scale(strides[0]).plus(left.offset + quarter), strides }
    }

    /// A sum of quarters of A.
    fn sum_of_left(&self, number: usize) -> Left {
        let Plan { rows, terms, .. } = *self.plan;
        let first = self.first.scale(terms as i64).plus((number * rows * terms) as i64);
        Left { param: self.sums, first, strides: [terms as i64, 1] }
    }

    fn quarter(&self, column: &Index, row: usize, half: usize) -> Quarter<'_> {
        let columns = self.plan.columns;
        let first = self.first.scale(2).plus(row as i64);
        let column = column.plus((half * columns) as i64);
        let to = first.scale(2 * columns as i64).add(&column);
        Quarter { to, rows: [Span { first, count: self.size.0, step: 2, dims: self.plan.dims }], column }
    }

    /// A left operand times the panel of that number, to new sums (`starts`) or to those that the parameter holds.
    fn product(&self, c: &mut Composer<'_>, number: usize, left: &Left, to: usize, starts: bool) {
        let (plan, (rows, width)) = (self.plan, self.size);
        let panel = self.panel.plus((number * plan.terms * width) as i64);
        for (run, (start, terms, count)) in steps(plan.steps.clone(), starts).into_iter().enumerate() {
            let first = Index::var(c.k.open_for(count)).scale(terms as i64).plus(start as i64);
            c.k.tile(Tile {
                dtype: plan.dtype,
                m: rows,
                n: width,
                reduce: vec![TileLoop { extent: terms, a: left.strides[1], b: width as i64 }],
                a: Panel {
                    param: left.param,
                    index: left.first.add(&first.scale(left.strides[1])),
                    row: left.strides[0],
                },
                b: Panel { param: 1, index: panel.add(&first.scale(width as i64)), row: 0 },
                c: Panel { param: to, index: Index::default(), row: width as i64 },
                zero: starts && run == 0,
            });
            c.k.close();
        }
    }

    /// What parameters hold, added, to another one.
    fn add(&self, c: &mut Composer<'_>, to: usize, sums: &[usize]) {
        let place = Index::var(c.k.open_for(self.size.0 * self.size.1));
        let sum = sum_of(&mut c.k, sums, &place).expect("there are sums");
        c.k.store(to, place, sum);
        c.k.close();
    }

    /// What a quarter ends with: its sums are those of what parameters hold.
    fn finish(
        &self,
        c: &mut Composer<'_>,
        quarter: &Quarter<'_>,
        sums: &[usize],
        epilogue: Option<Epilogue<'_>>,
    ) {
        match epilogue {
            Some(epilogue) => {
                let patch = Patch { axes: &quarter.rows, column: &quarter.column, width: self.size.1 };
                epilogue.emit(c, &patch, sums);
            }
            None => store_sums(&mut c.k, sums, self.size, (&quarter.to, 4 * self.plan.columns as i64)),
        }
    }
}
