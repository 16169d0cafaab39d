//! What follows a product in its kernel: everything that is elementwise over its result.
//!
//! The product's kernel computes a block of the result into memory and then, while the block is in the cache, the
//! elementwise rest. Where the raw product is not an output, it is computed in the place of one.

use brolga_ir::index::Index;
use brolga_ir::ops::Op;
use brolga_ir::program::{Access, ValueId};
use brolga_ir::scalar::ScalarOp;
use brolga_ir::{Graph, Value};

use crate::lower::Location;
use crate::lower::kernel::KernelBuilder;
use crate::lower::regions::compose::Composer;

/// Position of the result among a product's parameters: behind the two operands.
pub(super) const RESULT: usize = 2;

/// What follows a product in its kernel.
#[derive(Clone, Copy)]
pub(in crate::lower) struct Epilogue<'e> {
    pub body: &'e Graph,
    pub name: &'e str,
    /// The product, and where it is computed.
    pub root: Value,
    pub target: Location,
    /// Values in memory that are read beside it.
    pub operands: &'e [(Value, Location)],
    /// What is computed, and where to.
    pub outputs: &'e [(Value, Location)],
}

/// Positions along one axis of a product: an arithmetic progression, and the axes of the result that the axis stands
/// for.
pub(in crate::lower) struct Span<'p> {
    pub first: Index,
    pub count: usize,
    pub step: i64,
    pub dims: &'p [usize],
}

/// Elements of a product's result: a span of positions along each axis, and `width` columns from `column` on.
pub(in crate::lower) struct Patch<'p> {
    pub axes: &'p [Span<'p>],
    pub column: &'p Index,
    pub width: usize,
}

impl Epilogue<'_> {
    /// Adds parameters for what is read beside the product.
    pub fn operands(&self, c: &mut Composer<'_>, params: &mut Vec<Location>) {
        for &(value, location) in self.operands {
            let ty = self.body.ty(value);
            let param = c.k.param(ty.dtype, ty.elements(), Access::Read);
            c.memory.insert(value, param);
            params.push(location);
        }
    }

    /// Adds parameters behind those of the product.
    pub fn parameters(&self, c: &mut Composer<'_>, params: &mut Vec<Location>) {
        c.memory.insert(self.root, RESULT);
        self.operands(c, params);
        for &(value, location) in self.outputs {
            if location != self.target {
                let ty = self.body.ty(value);
                c.k.param(ty.dtype, ty.elements(), Access::Write);
                params.push(location);
            }
        }
    }

    /// The last value that a chain of operations leads to, each of the one before and something that does not depend
    /// on the product: what can be done to sums in registers.
    fn chained(&self) -> Value {
        let mut last = self.root;
        // From a value to its user: graphs have no cycles.
        loop {
            let users = self.body.users(last.node);
            let &[user] = users.as_slice() else { return last };
            let node = self.body.node(user);
            let chains = |op: &ScalarOp| {
                matches!(op, ScalarOp::Add | ScalarOp::Sub | ScalarOp::Mul | ScalarOp::Max | ScalarOp::Min)
            };
            let fits = matches!(&node.op, Op::Elementwise(e) if chains(&e.op))
                && node.operands.iter().filter(|&&operand| operand == last).count() == 1;
            if !fits || self.outputs.iter().any(|&(value, _)| value == last) {
                return last;
            }
            last = self.body.result(user);
        }
    }

    /// Emits what can be done to a tile's sums in registers; each element goes to the place of the product's. The sums
    /// are there as well, or those of what parameters hold, row by row.
    pub fn emit_chain(&self, c: &mut Composer<'_>, patch: &Patch<'_>, sums: &[usize]) {
        let last = self.chained();
        if last != self.root || !sums.is_empty() {
            self.over(c, patch, |c, at, place| {
                if let Some(sum) = sum_of(&mut c.k, sums, place) {
                    c.reduced.insert(self.root, (at.to_vec(), sum));
                }
                let result = c.element(last, at, None);
                c.reduced.remove(&self.root);
                let position = c.flat(self.body.ty(last), at);
                c.k.store(RESULT, position, result);
            });
        }
    }

    /// Emits the only output in the place of a tile's sums, which `param` holds row by row.
    pub fn emit_local(&self, c: &mut Composer<'_>, patch: &Patch<'_>, (param, first): (usize, &Index)) {
        let &[(value, _)] = self.outputs else { unreachable!("one image is read") };
        if value == self.root {
            return;
        }
        self.over(c, patch, |c, at, place| {
            let place = first.add(place);
            let sum = c.k.load(param, &place, None);
            c.reduced.insert(self.root, (at.to_vec(), sum));
            let result = c.element(value, at, None);
            c.reduced.remove(&self.root);
            c.k.store(param, place, result);
        });
    }

    /// Emits the rest, behind all tiles of a box.
    pub fn emit_rest(&self, c: &mut Composer<'_>, patch: &Patch<'_>) {
        let last = self.chained();
        if self.outputs.iter().all(|&(value, location)| value == last && location == self.target) {
            return;
        }
        let before = c.memory.insert(last, RESULT);
        self.emit(c, patch, &[]);
        if before.is_none() {
            c.memory.remove(&last);
        }
    }

    /// Emits the outputs over a patch. The product is where it is computed, or the sum of what parameters hold, row by row.
    pub fn emit(&self, c: &mut Composer<'_>, patch: &Patch<'_>, sums: &[usize]) {
        self.over(c, patch, |c, at, place| {
            if let Some(sum) = sum_of(&mut c.k, sums, place) {
                c.reduced.insert(self.root, (at.to_vec(), sum));
            }
            // Everything is loaded before anything is stored.
            let results: Vec<_> = self.outputs.iter().map(|&(value, _)| c.element(value, at, None)).collect();
            c.reduced.remove(&self.root);
            self.store(c, at, results.into_iter());
        });
    }

    /// Stores the outputs of one point.
    fn store(&self, c: &mut Composer<'_>, at: &[Index], results: impl Iterator<Item = ValueId>) {
        let mut next = RESULT + 1 + self.operands.len();
        for (&(value, location), result) in self.outputs.iter().zip(results) {
            let param = if location == self.target { RESULT } else { next };
            next += usize::from(location != self.target);
            let position = c.flat(self.body.ty(value), at);
            c.k.store(param, position, result);
        }
    }

    /// Loops over a patch; the body gets the position in the result, and the place of it in the patch, row by row.
    fn over<'c>(
        &self,
        c: &mut Composer<'c>,
        &Patch { axes, column, width }: &Patch<'_>,
        body: impl FnOnce(&mut Composer<'c>, &[Index], &Index),
    ) {
        let mut at = Vec::new();
        let mut place = Index::default();
        for Span { first, count, step, dims } in axes {
            let var = Index::var(c.k.open_for(*count));
            place = place.scale(*count as i64).add(&var);
            let mut rest = first.add(&var.scale(*step));
            let start = at.len();
            for &dim in dims[1..].iter().rev() {
                let (quotient, remainder) = {
                    let range = |atom: &_| c.k.range(atom);
                    (rest.div(dim as i64, &range), rest.rem(dim as i64, &range))
                };
                at.insert(start, remainder);
                rest = quotient;
            }
            at.insert(start, rest);
        }
        let var = Index::var(c.k.open_for(width));
        at.push(column.add(&var));
        body(c, &at, &place.scale(width as i64).add(&var));
        (0..=axes.len()).for_each(|_| c.k.close());
    }
}

impl Epilogue<'_> {
    /// Computes the outputs at some points, where values of the product are known but not stored.
    pub fn finish(&self, c: &mut Composer<'_>, points: &[(Vec<Index>, ValueId)]) {
        let mut results = Vec::new();
        for (at, product) in points {
            c.reduced.insert(self.root, (at.clone(), *product));
            results.extend(self.outputs.iter().map(|&(value, _)| c.element(value, at, None)));
        }
        c.reduced.remove(&self.root);
        let mut results = results.into_iter();
        for (at, _) in points {
            self.store(c, at, results.by_ref().take(self.outputs.len()));
        }
    }
}

/// What parameters hold at one place, added in order.
pub(super) fn sum_of(k: &mut KernelBuilder, params: &[usize], place: &Index) -> Option<ValueId> {
    let mut sum = None;
    for &param in params {
        let value = k.load(param, place, None);
        sum = Some(sum.map_or(value, |sum| k.op(ScalarOp::Add, &[sum, value])));
    }
    sum
}

/// Rows of the result: where the first one begins, how far apart they are, and their sizes.
pub(super) struct Rows<'p> {
    pub to: &'p Index,
    pub apart: i64,
    pub rows: usize,
    pub columns: usize,
}

/// Stores sums of what parameters hold, `[rows, columns]`, to rows of the result; nothing if there are none.
pub(super) fn store_sums(k: &mut KernelBuilder, params: &[usize], result: &Rows<'_>) {
    let row = Index::var(k.open_for(result.rows));
    let column = Index::var(k.open_for(result.columns));
    if let Some(sum) = sum_of(k, params, &row.scale(result.columns as i64).add(&column)) {
        k.store(RESULT, result.to.add(&row.scale(result.apart)).add(&column), sum);
    }
    (0..2).for_each(|_| k.close());
}
