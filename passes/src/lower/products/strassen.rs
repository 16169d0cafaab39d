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
//! quarters of the result, with X, P5 and C in local memory, where rows lie closer than in the result. The pass
//! [`strassen`](mod@crate::choose::strassen) says where an eighth of the multiplications pays for it.

use brolga_ir::Type;
use brolga_ir::index::Index;
use brolga_ir::program::{Access, Panel, Panels, Tile, TileLoop};
use brolga_ir::scalar::ScalarOp;

use super::access::apart;
use super::boxes::for_each_kind;
use super::epilogue::{Patch, Rows, Span, store_sums, sum_of};
use super::method::STRASSEN_FACTORS;
use super::packing::{PANELS, Packed, Packing, WEIGHTS};
use super::product::Product;
use super::tiling::Boxes;
use crate::facts::blocks::{Cut, blocks_of, panel_columns, runs};
use crate::lower::kernel::KernelBuilder;
use crate::lower::regions::compose::Composer;
use crate::lower::{Location, Lowering};
use crate::tuning::Outer;

/// Sums of A.
const SUMS: usize = 4;
/// Halves of rows and terms, or of terms and columns: the quarters 11, 12, 21 and 22.
const QUARTERS: [(i64, i64); 4] = [(0, 0), (0, 1), (1, 0), (1, 1)];

/// A product, and the sizes of its halves.
struct Halves<'a> {
    product: &'a Product<'a>,
    rows: usize,
    terms: usize,
    columns: usize,
    /// Elements of the left operand from row to row, and from term to term.
    strides: [i64; 2],
    /// Extents of the result's axes that are counted as rows.
    dims: &'a [usize],
    /// Blocks of terms: each is added to the sums at once.
    blocks: Vec<Cut>,
}

/// What the products read besides A: the sums of its quarters, and the right operands in panels.
struct Operands {
    sums: Location,
    packed: Packed,
}

impl<'a> Halves<'a> {
    fn of(product: &'a Product<'a>) -> Halves<'a> {
        let (shape, source) = (&product.shape, &product.source);
        let (_, dims) = product.result.dims.split_last().expect("a matrix has columns");
        let by_row = apart(dims, &source.positions).expect("rows lie evenly in a copy");
        Halves {
            product,
            rows: shape.positions() / 2,
            terms: shape.channels / 2,
            columns: shape.outputs / 2,
            strides: [by_row, source.channel],
            dims,
            blocks: blocks_of(shape.channels / 2, product.tiling.depth),
        }
    }

    /// How the right operands lie: `[block of columns][B11, B21, T2, T1, B22, T3, T4][term][column]`, in the order of the products.
    fn panels(&self) -> Panels {
        let dims = [1, STRASSEN_FACTORS, self.terms, self.columns];
        Panels { dims, terms: self.terms, columns: self.product.tiling.columns, line: 0 }
    }
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
    /// Rows of terms times weights, by products of halves.
    pub(super) fn strassen(&mut self, product: &Product<'_>) {
        let halves = Halves::of(product);
        let sums = self.strassen_sums(&halves);
        let packed = self.strassen_panels(&halves);
        for (columns, boxes) in panel_columns(&packed.panels).into_iter().zip(&product.tiling.boxes) {
            self.strassen_columns(&halves, columns, boxes, &Operands { sums, packed });
        }
    }

    /// `[S1 … S4][row][term]`.
    fn strassen_sums(&mut self, halves: &Halves<'_>) -> Location {
        let Halves { product, rows, terms, strides: [by_row, by_term], .. } = *halves;
        let ty = Type::new(product.shape.dtype, [SUMS, rows, terms]);
        let mut k = KernelBuilder::new("strassen_sums");
        let source = k.param(ty.dtype, product.source.len, Access::Read);
        let target = k.param(ty.dtype, ty.elements(), Access::Write);
        let row = Index::var(k.open_grid(rows));
        let term = Index::var(k.open_for(terms));
        let from = row.scale(2 * by_row).add(&term.scale(by_term)).plus(product.source.offset);
        let [a11, a12, a21, a22] = QUARTERS.map(|(i, j)| {
            let half = i * by_row + j * terms as i64 * by_term;
            k.load(source, &from.plus(half), None)
        });
        let s1 = k.op(ScalarOp::Add, &[a21, a22]);
        let s2 = k.op(ScalarOp::Sub, &[s1, a11]);
        let s3 = k.op(ScalarOp::Sub, &[a11, a21]);
        let s4 = k.op(ScalarOp::Sub, &[a12, s2]);
        let to = row.scale(terms as i64).add(&term);
        for (number, sum) in [s1, s2, s3, s4].into_iter().enumerate() {
            k.store(target, to.plus((number * rows * terms) as i64), sum);
        }
        (0..2).for_each(|_| k.close());
        let sums = self.arena("strassen_sums", ty);
        self.call(k.finish_kernel(), vec![product.source.location, sums], product.origin);
        sums
    }

    /// The right operands of the products.
    fn strassen_panels(&mut self, halves: &Halves<'_>) -> Packed {
        let Halves { product, terms, columns, .. } = *halves;
        let (weights, dtype) = (&product.weights, product.shape.dtype);
        let (panels, origin) = (halves.panels(), product.origin);
        let asked = Packing { name: "strassen_panels", weights, dtype, stored: dtype, panels, origin };
        self.packed(&asked, |k| {
            for (cut, start) in panel_columns(&panels) {
                let block = Index::var(k.open_for(cut.count));
                let term = Index::var(k.open_for(terms));
                let lane = Index::var(k.open_for(cut.width));
                let column = cut.start(&block).add(&lane);
                let from = term.scale(weights.input).add(&column.scale(weights.output)).plus(weights.offset);
                let [b11, b12, b21, b22] = QUARTERS.map(|(i, j)| {
                    let half = i * terms as i64 * weights.input + j * columns as i64 * weights.output;
                    let value = k.load(WEIGHTS, &from.plus(half), None);
                    weights.rounded(k, value, dtype)
                });
                let t1 = k.op(ScalarOp::Sub, &[b12, b11]);
                let t2 = k.op(ScalarOp::Sub, &[b22, t1]);
                let t3 = k.op(ScalarOp::Sub, &[b22, b12]);
                let t4 = k.op(ScalarOp::Sub, &[b21, t2]);
                let to = block.scale(panels.block(cut.width) as i64).add(&term.scale(cut.width as i64));
                let to = to.add(&lane).plus(start as i64);
                for (number, factor) in [b11, b21, t2, t1, b22, t3, t4].into_iter().enumerate() {
                    k.store(PANELS, to.plus((number * panels.matrix(terms, cut.width)) as i64), factor);
                }
                (0..3).for_each(|_| k.close());
            }
        })
    }

    /// The kernel for a run of blocks of columns of either half, whose panels begin at `start`, and for the boxes of rows that meet
    /// them; from the sums of A and the right operands.
    fn strassen_columns(
        &mut self,
        halves: &Halves<'_>,
        (columns, start): (Cut, usize),
        Boxes { chunks, outer, .. }: &Boxes,
        operands: &Operands,
    ) {
        let Halves { product, rows, terms, .. } = *halves;
        let Operands { sums, packed } = *operands;
        let (dtype, width) = (product.shape.dtype, columns.width);
        let mut arguments = vec![product.source.location, packed.location, product.target];
        let mut c = product.composer(self.graph);
        c.k.param(dtype, product.source.len, Access::Read);
        packed.param(&mut c.k);
        c.k.param(dtype, 4 * rows * halves.columns, Access::Write);
        if let Some(epilogue) = product.epilogue {
            epilogue.parameters(&mut c, &mut arguments);
        }
        arguments.push(sums);
        let sums = c.k.param(dtype, SUMS * rows * terms, Access::Read);
        let locals = [0, 1, 2].map(|_| c.k.local(dtype, chunks[0].length * width));
        let mut grid = |extent: usize| Index::var(c.k.open_grid(extent));
        let outside = (*outer == Outer::Columns).then(|| grid(columns.count));
        let at = grid(chunks[0].count);
        let block = outside.unwrap_or_else(|| grid(columns.count));
        let panel = block.scale(packed.panels.block(width) as i64).plus(start as i64);
        let column = columns.start(&block);
        for_each_kind(&mut c, chunks, std::slice::from_ref(&at), &mut |c, groups| {
            let size = (groups[0].extent, width);
            let first = at.scale(chunks[0].length as i64);
            Quarters { halves, first, column: &column, panel: &panel, size, sums }.emit(c, locals);
        });
        (0..2).for_each(|_| c.k.close());
        self.call(c.k.finish_kernel(), arguments, product.origin);
    }
}

/// What a grid point computes: the same rows and columns of every quarter.
struct Quarters<'b, 'a> {
    halves: &'b Halves<'a>,
    first: Index,
    column: &'b Index,
    panel: &'b Index,
    /// Rows and columns.
    size: (usize, usize),
    /// The parameter of the sums of A.
    sums: usize,
}

impl Quarters<'_, '_> {
    fn emit(&self, c: &mut Composer<'_>, [x, p5, sum]: [usize; 3]) {
        let [a11, a12, a22] = [(0, 0), (0, 1), (1, 1)].map(|(row, term)| self.quarter_of_left(row, term));
        let [s1, s2, s3, s4] = [0, 1, 2, 3].map(|number| self.sum_of_left(number));
        let [c11, c12, c21, c22] = QUARTERS.map(|(row, half)| self.quarter(row, half));
        self.multiply(c, 0, &a11, x, true);
        self.add(c, sum, &[x]);
        self.multiply(c, 1, &a12, sum, false);
        self.finish(c, &c11, &[sum]);
        self.multiply(c, 2, &s2, x, false);
        self.multiply(c, 3, &s1, p5, true);
        self.add(c, sum, &[x, p5]);
        self.multiply(c, 4, &s4, sum, false);
        self.finish(c, &c12, &[sum]);
        self.multiply(c, 5, &s3, x, false);
        self.finish(c, &c22, &[x, p5]);
        self.multiply(c, 6, &a22, x, false);
        self.finish(c, &c21, &[x]);
    }

    /// A quarter of A.
    fn quarter_of_left(&self, row: i64, term: i64) -> Left {
        let Halves { product, terms, strides: [by_row, by_term], .. } = *self.halves;
        let quarter = row * by_row + term * terms as i64 * by_term;
        let strides = [2 * by_row, by_term];
        Left { param: 0, first: self.first.scale(strides[0]).plus(product.source.offset + quarter), strides }
    }

    /// A sum of quarters of A.
    fn sum_of_left(&self, number: usize) -> Left {
        let Halves { rows, terms, .. } = *self.halves;
        let first = self.first.scale(terms as i64).plus((number * rows * terms) as i64);
        Left { param: self.sums, first, strides: [terms as i64, 1] }
    }

    /// A quarter of the result.
    fn quarter(&self, row: i64, half: i64) -> Quarter<'_> {
        let columns = self.halves.columns as i64;
        let first = self.first.scale(2).plus(row);
        let column = self.column.plus(half * columns);
        let to = first.scale(2 * columns).add(&column);
        Quarter { to, rows: [Span { first, count: self.size.0, step: 2, dims: self.halves.dims }], column }
    }

    /// A left operand times the panel of that number, to new sums (`starts`) or to those that the parameter holds.
    fn multiply(&self, c: &mut Composer<'_>, number: usize, left: &Left, to: usize, starts: bool) {
        let (halves, (rows, width)) = (self.halves, self.size);
        let panel = self.panel.plus((number * halves.terms * width) as i64);
        for (number, run) in runs(halves.blocks.clone(), starts).into_iter().enumerate() {
            let first = run.start(&Index::var(c.k.open_for(run.count)));
            c.k.tile(Tile {
                dtype: halves.product.shape.dtype,
                m: rows,
                n: width,
                reduce: vec![TileLoop { extent: run.width, a: left.strides[1], b: width as i64 }],
                a: Panel {
                    param: left.param,
                    index: left.first.add(&first.scale(left.strides[1])),
                    row: left.strides[0],
                },
                b: Panel { param: 1, index: panel.add(&first.scale(width as i64)), row: 0 },
                c: Panel { param: to, index: Index::default(), row: width as i64 },
                zero: starts && number == 0,
            });
            c.k.close();
        }
    }

    /// Sets the sums that one parameter holds to those of others, added: X + P5 to C, with `to` C and `sums` X and P5.
    fn add(&self, c: &mut Composer<'_>, to: usize, sums: &[usize]) {
        let place = Index::var(c.k.open_for(self.size.0 * self.size.1));
        let sum = sum_of(&mut c.k, sums, &place).expect("there are sums");
        c.k.store(to, place, sum);
        c.k.close();
    }

    /// Writes a quarter of the result, with what is fused behind the product. Its elements are those of some parameters, added:
    /// C22 = X + P5 is finished with `sums` X and P5, while both are in the cache.
    fn finish(&self, c: &mut Composer<'_>, quarter: &Quarter<'_>, sums: &[usize]) {
        let (rows, columns) = self.size;
        match self.halves.product.epilogue {
            Some(epilogue) => {
                let patch = Patch { axes: &quarter.rows, column: &quarter.column, width: columns };
                epilogue.emit(c, &patch, sums);
            }
            None => {
                let apart = 4 * self.halves.columns as i64;
                store_sums(&mut c.k, sums, &Rows { to: &quarter.to, apart, rows, columns });
            }
        }
    }
}
