//! Reductions whose order is planned: sums, products, maxima along axes.
//!
//! The order is a function of how many elements are combined, and of nothing else. Elements are numbered in row-major
//! order of the reduced axes, wherever these lie and whatever else the tensor has:
//!
//! - 1,024 elements are a *block*. Element `i` of a block goes to lane `i mod 32`; a lane is a chain from the identity in
//!   ascending order; a tree folds the lanes: 16 and 16, 8 and 8, … ([`brolga_ir::program`]).
//! - Blocks combine like a binary counter: neighbours in pairs, these in pairs again; one that is left over waits.
//!
//! So the error grows like the logarithm of the number of elements, and zeros behind them change no bit: each stands for
//! nothing in its lane, and a block of zeros for nothing among blocks.
//!
//! There are two ways to compute that, with the same bits. Where the innermost axis is reduced, it is a strip, whose 32
//! lanes are those of the processor (*rows*). Where it stays, its elements are *columns* of a matrix with a row for each
//! element that is combined: the matrix is read row by row, and the lanes lie in memory, each as wide as the columns.

use brolga_ir::index::{Atom, Index};
use brolga_ir::program::{AccId, Combine, ValueId};
use brolga_ir::scalar::Scalar;

use super::compose::{Composer, Local, Reduction};
use super::space::Space;
use crate::facts::blocking::plan::{BLOCK, LANES};
use crate::facts::blocking::reductions::FEW;
use crate::lower::kernel::KernelBuilder;

/// How a reduction along rows walks over its elements.
#[derive(Clone, Copy)]
enum Walk {
    /// One strip over all of them.
    Whole,
    /// Strips of so many elements of the innermost axis, that being a multiple of 32 and a divisor of a block.
    Pieces(usize),
}

/// The index along each axis of the element at a row-major position.
fn taken_apart(k: &KernelBuilder, flat: &Index, extents: &[usize]) -> Vec<Index> {
    let range = |atom: &Atom| k.range(atom);
    let mut stride = 1;
    let mut index = vec![Index::default(); extents.len()];
    for (axis, &extent) in extents.iter().enumerate().rev() {
        if extent > 1 {
            index[axis] = flat.div(stride, &range).rem(extent as i64, &range);
            stride *= extent as i64;
        }
    }
    index
}

/// Reductions over one space, for the columns from `first` on, an index along each axis that stays; or for the one result
/// there.
#[derive(Clone, Copy)]
struct Reductions<'a> {
    items: &'a [Reduction],
    space: &'a Space,
    first: &'a [Index],
}

/// A block of a sum: its first element, how many it has, and which it is.
struct SumBlock<'b> {
    start: &'b Index,
    count: usize,
    number: &'b Index,
}

impl Composer<'_> {
    /// Computes reductions for the columns (or the one result) from `first` on. What follows finds their results.
    pub fn reduce(&mut self, items: &[Reduction], space: &Space, first: &[Index]) {
        let r = Reductions { items, space, first };
        let (whole, rest) = space.blocks();
        let blocks = whole + usize::from(rest > 0);
        if !space.is_by_columns() && blocks <= 1 {
            let results = self.row_block(r, &Index::default(), space.total());
            for (item, result) in items.iter().zip(results) {
                self.reduced.insert(item.value, (first.to_vec(), result));
            }
            return;
        }
        if blocks == 1 {
            let lanes = self.lanes(r);
            self.column_block(r, &lanes, (&Index::default(), space.total()));
            return self.know(r, &lanes);
        }
        let parts = self.parts(r);
        let lanes = self.lanes(r);
        let block = Index::var(self.k.open_for(whole));
        let start = block.scale(BLOCK as i64);
        self.block(r, &lanes, SumBlock { start: &start, count: BLOCK, number: &block }, &parts);
        self.k.close();
        self.rest(r, &lanes, &parts);
        self.count_up(r, &parts, blocks);
    }

    /// One whole block, whose results are stored to parameters, matrices with a row for each block.
    pub fn one_block(
        &mut self,
        items: &[Reduction],
        space: &Space,
        first: &[Index],
        block: &Index,
        params: &[usize],
    ) {
        let r = Reductions { items, space, first };
        let results: usize = space.kept_dims().iter().product();
        let (start, row) = (&block.scale(BLOCK as i64), block.scale(results as i64));
        if !space.is_by_columns() {
            let results = self.row_block(r, start, BLOCK);
            for (&param, result) in params.iter().zip(results) {
                self.k.store(param, row.add(&space.position(first)), result);
            }
            return;
        }
        let lanes = self.lanes(r);
        self.column_block(r, &lanes, (start, BLOCK));
        for (&lanes, &param) in lanes.iter().zip(params) {
            let at = space.open_columns(&mut self.k, first);
            let sum = self.k.load_now(lanes, &space.column(&at, first));
            self.k.store(param, row.add(&space.position(&at)), sum);
            space.widths().iter().for_each(|_| self.k.close());
        }
    }

    /// Combines whole blocks, whose results lie as [`Composer::one_block`] leaves them, and what lies behind them. What
    /// follows finds the results.
    pub fn combine_blocks(&mut self, items: &[Reduction], space: &Space, first: &[Index], params: &[usize]) {
        let r = Reductions { items, space, first };
        let (whole, rest) = space.blocks();
        let results: usize = space.kept_dims().iter().product();
        let parts = self.parts(r);
        for (parts, &param) in parts.iter().zip(params) {
            let block = Index::var(self.k.open_for(whole));
            let at = space.open_columns(&mut self.k, first);
            let sum = self.k.load(param, &block.scale(results as i64).add(&space.position(&at)), None);
            let to = block.scale(space.width() as i64).add(&space.column(&at, first));
            self.k.store(parts[0], to, sum);
            (0..=space.widths().len()).for_each(|_| self.k.close());
        }
        let lanes = if rest > 0 { self.lanes(r) } else { Vec::new() };
        self.rest(r, &lanes, &parts);
        self.count_up(r, &parts, whole + usize::from(rest > 0));
    }

    /// Memory for the sums of all blocks, and for those of pairs: of each reduction.
    fn parts(&mut self, r: Reductions<'_>) -> Vec<[usize; 2]> {
        let (whole, rest) = r.space.blocks();
        let blocks = whole + usize::from(rest > 0);
        let lengths = [blocks, blocks.div_ceil(2)].map(|blocks| blocks * r.space.width());
        let local = |item: &Reduction| {
            let dtype = self.graph.ty(item.value).dtype;
            lengths.map(|length| self.k.local(dtype, length))
        };
        r.items.iter().map(local).collect()
    }

    /// Memory for the lanes of each reduction along columns; nothing along rows.
    fn lanes(&mut self, r: Reductions<'_>) -> Vec<usize> {
        if !r.space.is_by_columns() {
            return Vec::new();
        }
        let length = r.space.total().min(LANES) * r.space.width();
        r.items.iter().map(|item| self.k.local(self.graph.ty(item.value).dtype, length)).collect()
    }

    /// The sums of a block, stored behind each other in `parts`.
    fn block(
        &mut self,
        r: Reductions<'_>,
        lanes: &[usize],
        SumBlock { start, count, number }: SumBlock<'_>,
        parts: &[[usize; 2]],
    ) {
        if !r.space.is_by_columns() {
            let results = self.row_block(r, start, count);
            for (parts, result) in parts.iter().zip(results) {
                self.k.store(parts[0], number.clone(), result);
            }
            return;
        }
        self.column_block(r, lanes, (start, count));
        let width = r.space.width();
        for (&lanes, parts) in lanes.iter().zip(parts) {
            let column = Index::var(self.k.open_for(width));
            let sum = self.k.load_now(lanes, &column);
            self.k.store(parts[0], number.scale(width as i64).add(&column), sum);
            self.k.close();
        }
    }

    /// What lies behind the whole blocks, if there is something: a block of its own, the last one.
    fn rest(&mut self, r: Reductions<'_>, lanes: &[usize], parts: &[[usize; 2]]) {
        let (whole, count) = r.space.blocks();
        if count > 0 {
            let start = &Index::constant((whole * BLOCK) as i64);
            let number = &Index::constant(whole as i64);
            self.block(r, lanes, SumBlock { start, count, number }, parts);
        }
    }

    /// Combines blocks like a binary counter. What follows finds the results.
    fn count_up(&mut self, r: Reductions<'_>, parts: &[[usize; 2]], blocks: usize) {
        let results: Vec<usize> = r
            .items
            .iter()
            .zip(parts)
            .map(|(item, &[from, to])| self.pairs(item, from, to, blocks, r.space.width()))
            .collect();
        self.know(r, &results);
    }

    fn pairs(
        &mut self,
        item: &Reduction,
        mut from: usize,
        mut to: usize,
        mut blocks: usize,
        width: usize,
    ) -> usize {
        let wide = width as i64;
        while blocks > 1 {
            let pair = Index::var(self.k.open_for(blocks / 2));
            let column = Index::var(self.k.open_for(width));
            let even = pair.scale(2 * wide).add(&column);
            let [a, b] = [even.clone(), even.plus(wide)].map(|at| self.k.load_now(from, &at));
            let sum = self.combined(item, a, b);
            self.k.store(to, pair.scale(wide).add(&column), sum);
            (0..2).for_each(|_| self.k.close());
            if !blocks.is_multiple_of(2) {
                let column = Index::var(self.k.open_for(width));
                let last = self.k.load_now(from, &column.plus((blocks as i64 - 1) * wide));
                self.k.store(to, column.plus((blocks / 2) as i64 * wide), last);
                self.k.close();
            }
            blocks = blocks.div_ceil(2);
            (from, to) = (to, from);
        }
        from
    }

    /// Results that lie at the beginning of these parameters.
    fn know(&mut self, r: Reductions<'_>, params: &[usize]) {
        for (item, &param) in r.items.iter().zip(params) {
            if r.space.is_by_columns() {
                let outer = r.first.len() - r.space.columns;
                let local = Local { param, first: r.first[outer..].to_vec(), widths: r.space.widths() };
                self.locals.insert(item.value, local);
            } else {
                let result = self.k.load_now(param, &Index::default());
                self.reduced.insert(item.value, (r.first.to_vec(), result));
            }
        }
    }

    /// Two results of a reduction as one.
    fn combined(&mut self, item: &Reduction, a: ValueId, b: ValueId) -> ValueId {
        let dtype = self.graph.ty(item.value).dtype;
        if dtype.is_float() && matches!(item.combine, Combine::Max | Combine::Min) {
            // Unlike the operations, these propagate NaN. Combined with the identity nothing changes.
            let acc = self.k.declare(dtype, item.combine, 1);
            self.k.accumulate(acc, a);
            self.k.accumulate(acc, b);
            return self.k.finish(acc);
        }
        self.k.op_now(item.combine.op(), &[a, b])
    }

    /// A block along columns: its result lies in the first lane.
    fn column_block(&mut self, r: Reductions<'_>, lanes: &[usize], (start, count): (&Index, usize)) {
        let width = r.space.width();
        let mut used = count.min(LANES);
        for (item, &lanes) in r.items.iter().zip(lanes) {
            let identity = item.combine.identity(self.graph.ty(item.value).dtype);
            let at = Index::var(self.k.open_for(used * width));
            let identity = self.k.constant(identity);
            self.k.store(lanes, at, identity);
            self.k.close();
        }
        let rounds = count / LANES;
        if rounds > 0 {
            let round = Index::var(self.k.open_for(rounds)).scale(LANES as i64);
            let lane = Index::var(self.k.open_for(LANES));
            self.matrix_row(r, lanes, &lane, &start.add(&round).add(&lane));
            (0..2).for_each(|_| self.k.close());
        }
        if !count.is_multiple_of(LANES) {
            let lane = Index::var(self.k.open_for(count % LANES));
            let at = start.plus((rounds * LANES) as i64).add(&lane);
            self.matrix_row(r, lanes, &lane, &at);
            self.k.close();
        }
        for half in [16, 8, 4, 2, 1].into_iter().filter(|&half| half < used.max(1)).collect::<Vec<_>>() {
            let pairs = half.min(used - half);
            for (item, &lanes) in r.items.iter().zip(lanes) {
                let at = Index::var(self.k.open_for(pairs * width));
                let [a, b] =
                    [at.clone(), at.plus((half * width) as i64)].map(|at| self.k.load_now(lanes, &at));
                let sum = self.combined(item, a, b);
                self.k.store(lanes, at, sum);
                self.k.close();
            }
            used = half;
        }
    }

    /// Adds a row of the matrix to a lane.
    fn matrix_row(&mut self, r: Reductions<'_>, lanes: &[usize], lane: &Index, flat: &Index) {
        let reduced = taken_apart(&self.k, flat, &r.space.extents());
        let kept = r.space.open_columns(&mut self.k, r.first);
        let at = [kept.as_slice(), &reduced].concat();
        let to = lane.scale(r.space.width() as i64).add(&r.space.column(&kept, r.first));
        self.each(r.items, &at, None, &mut |c, item, value| {
            let old = c.k.load_now(lanes[item], &to);
            let sum = c.combined(&r.items[item], old, value);
            c.k.store(lanes[item], to.clone(), sum);
        });
        r.space.widths().iter().for_each(|_| self.k.close());
    }

    /// A block along a row; the results.
    fn row_block(&mut self, r: Reductions<'_>, start: &Index, count: usize) -> Vec<ValueId> {
        let innermost = (0..r.space.dims.len()).rev().find(|&axis| r.space.dims[axis] > 1);
        if count <= FEW && innermost.is_some_and(|axis| r.space.kept.contains(&axis)) {
            return self.few(r, count);
        }
        let accs: Vec<AccId> = r
            .items
            .iter()
            .map(|item| self.k.declare(self.graph.ty(item.value).dtype, item.combine, LANES as u32))
            .collect();
        let extents = r.space.extents();
        match self.walk(r) {
            Walk::Whole => {
                let var = self.k.open_strip(count);
                let at = taken_apart(&self.k, &start.add(&Index::var(var)), &extents);
                self.accumulate(r.items, &accs, &[r.first, at.as_slice()].concat(), None);
                self.k.close();
            }
            Walk::Pieces(length) => {
                let (&inner, outer) = extents.split_last().expect("an axis is reduced");
                let range = |k: &KernelBuilder, index: &Index, by: usize| {
                    let range = |atom: &Atom| k.range(atom);
                    (index.div(by as i64, &range), index.rem(by as i64, &range))
                };
                let (piece, _) = range(&self.k, start, length);
                let piece = piece.add(&Index::var(self.k.open_for(count / length)));
                let (line, piece) = range(&self.k, &piece, inner / length);
                let var = Index::var(self.k.open_strip(length));
                let mut at = [r.first, taken_apart(&self.k, &line, outer).as_slice()].concat();
                at.push(piece.scale(length as i64).add(&var));
                self.accumulate(r.items, &accs, &at, None);
                (0..2).for_each(|_| self.k.close());
            }
        }
        accs.into_iter().map(|acc| self.k.finish(acc)).collect()
    }

    /// How to walk along rows: in one strip, if every index is linear in the position, or if there is no better way.
    fn walk(&self, r: Reductions<'_>) -> Walk {
        let extents = r.space.extents();
        let inner = extents.last().copied().unwrap_or(1);
        let length = 1 << inner.trailing_zeros().min(BLOCK.trailing_zeros());
        if extents.iter().filter(|&&extent| extent > 1).count() <= 1 || length < LANES {
            return Walk::Whole;
        }
        let mut trial = self.trial();
        let var = trial.k.open_strip(r.space.total());
        let at = taken_apart(&trial.k, &Index::var(var), &extents);
        let at = [r.first, at.as_slice()].concat();
        trial.each(r.items, &at, None, &mut |_, _, _| {});
        let linear = brolga_ir::program::walk::walk(trial.k.statements())
            .flat_map(brolga_ir::program::Stmt::indices)
            .all(|index| !index.is_nonlinear_in(var));
        if linear { Walk::Whole } else { Walk::Pieces(length) }
    }

    /// Few elements, one by one.
    fn few(&mut self, r: Reductions<'_>, count: usize) -> Vec<ValueId> {
        let extents = r.space.extents();
        let mut lanes: Vec<Vec<_>> = vec![Vec::new(); r.items.len()];
        for i in 0..count {
            let at = taken_apart(&self.k, &Index::constant(i as i64), &extents);
            self.each(r.items, &[r.first, at.as_slice()].concat(), None, &mut |c, item, value| {
                let acc = c.k.declare(c.graph.ty(r.items[item].value).dtype, r.items[item].combine, 1);
                c.k.accumulate(acc, value);
                lanes[item].push(c.k.finish(acc));
            });
        }
        let fold = |(item, mut lanes): (&Reduction, Vec<_>)| {
            for half in [4, 2, 1] {
                for (at, other) in lanes.split_off(lanes.len().min(half)).into_iter().enumerate() {
                    lanes[at] = self.combined(item, lanes[at], other);
                }
            }
            let identity: Scalar = item.combine.identity(self.graph.ty(item.value).dtype);
            lanes.first().copied().unwrap_or_else(|| self.k.constant(identity))
        };
        r.items.iter().zip(lanes).map(fold).collect()
    }
}
