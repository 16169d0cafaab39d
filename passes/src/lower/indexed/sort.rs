//! `sort`.
//!
//! Along a short axis every element goes to the position given by the number of keys before its own, without a branch. A
//! longer one is cut into such pieces, which are merged in pairs, again and again: n log n, in local memory, with the
//! positions that elements come from beside their keys. Both are stable, and give the same order.
//!
//! Of the first k of a row no run is longer than k: n log k, and where k is at most a piece, linear.

use brolga_ir::index::Index;
use brolga_ir::ops::Sort;
use brolga_ir::program::{Access, Combine, ValueId};
use brolga_ir::scalar::{Comparison, Scalar, ScalarOp};
use brolga_ir::{DType, GraphError, NodeId};

use crate::facts::blocking::sorting::{PIECE, SHORT};
use crate::lower::Lowering;
use crate::lower::kernel::KernelBuilder;

/// What rows are sorted by.
#[derive(Clone, Copy)]
struct Order {
    descending: bool,
    float: bool,
}

/// Keys and the positions that they come from: the parameters.
#[derive(Clone, Copy)]
struct Keyed {
    keys: usize,
    from: usize,
}

/// A row as it is read: the parameter that holds its keys, where an element of it lies there, and how many there are.
struct Row<'a> {
    keys: usize,
    at: &'a dyn Fn(&Index) -> Index,
    extent: usize,
}

/// Neighbouring runs: where the first of them begins, how far behind it the second one, the lengths of both, and how many
/// elements of both together are kept.
struct Pair {
    first: Index,
    apart: usize,
    lengths: [usize; 2],
    kept: usize,
}

/// Lines of so many elements along an axis, the parameters that they are read from, keys first, and those that they are
/// stored to.
struct Lines {
    outer: usize,
    extent: usize,
    /// How many elements of a line are stored.
    kept: usize,
    inner: usize,
    sources: Vec<usize>,
    results: Vec<usize>,
}

impl Lines {
    /// Where the element `i` of a line lies.
    fn at(&self, (a, b): (&Index, &Index), i: &Index) -> Index {
        a.scale((self.extent * self.inner) as i64).add(b).add(&i.scale(self.inner as i64))
    }

    /// Where the element `i` of a line of a result lies.
    fn to(&self, (a, b): (&Index, &Index), i: &Index) -> Index {
        a.scale((self.kept * self.inner) as i64).add(b).add(&i.scale(self.inner as i64))
    }

    /// Each element goes to the place that its rank says.
    fn by_rank(&self, k: &mut KernelBuilder, order: Order) {
        let (a, b) = (Index::var(k.open_for(self.outer)), Index::var(k.open_for(self.inner)));
        let at = |i: &Index| self.at((&a, &b), i);
        let row = Row { keys: self.sources[0], at: &at, extent: self.extent };
        order.by_rank(k, &row, &mut |k, i, rank| {
            let kept = (self.kept < self.extent).then(|| {
                let end = k.constant(Scalar::I32(self.kept as i32));
                k.op(ScalarOp::Compare(Comparison::Lt), &[rank, end])
            });
            if let Some(kept) = kept {
                k.open_if(kept);
            }
            let to = self.to((&a, &b), &below(rank, self.kept));
            for (&source, &result) in self.sources.iter().zip(&self.results) {
                let value = k.load(source, &at(i), None);
                k.store(result, to.clone(), value);
            }
            if kept.is_some() {
                k.close_if();
            }
        });
        (0..2).for_each(|_| k.close());
    }

    /// Keys are sorted with where they come from, and elements taken from there.
    fn by_merging(&self, k: &mut KernelBuilder, order: Order, dtype: DType) {
        let mut work = || Keyed { keys: k.local(dtype, self.extent), from: k.local(DType::I32, self.extent) };
        let work = [work(), work()];
        let (a, b) = (Index::var(k.open_grid(self.outer)), Index::var(k.open_grid(self.inner)));
        let at = |i: &Index| self.at((&a, &b), i);
        let row = Row { keys: self.sources[0], at: &at, extent: self.extent };
        let sorted = order.by_merging(k, &row, self.kept, work);
        let i = Index::var(k.open_for(self.kept));
        let from = k.load_now(sorted.from, &i);
        let from = bounded(k, from, self.extent);
        for (&source, &result) in self.sources.iter().zip(&self.results) {
            let value = k.load(source, &at(&from), None);
            k.store(result, self.to((&a, &b), &i), value);
        }
        (0..3).for_each(|_| k.close());
    }
}

impl Lowering<'_> {
    pub(super) fn sort(&mut self, id: NodeId, sort: &Sort) -> Result<(), GraphError> {
        let graph = self.graph;
        let node = graph.node(id);
        let ty = graph.ty(node.operands[0]).clone();
        let extent = ty.dims[sort.axis];
        let kept = sort.kept(extent);
        let outer: usize = ty.dims[..sort.axis].iter().product();
        let inner: usize = ty.dims[sort.axis + 1..].iter().product();
        let mut k = KernelBuilder::new("sort");
        let (mut args, mut sources, mut results) = (Vec::new(), Vec::new(), Vec::new());
        for &operand in &node.operands {
            sources.push(self.operand(&mut k, operand, &mut args)?);
        }
        for value in graph.results(id) {
            args.push(self.target(value));
            let ty = graph.ty(value);
            results.push(k.param(ty.dtype, ty.elements(), Access::Write));
        }
        let order = Order { descending: sort.descending, float: ty.dtype.is_float() };
        let lines = Lines { outer, extent, kept, inner, sources, results };
        if kept == 0 {
            // Nothing is stored.
        } else if extent <= SHORT {
            lines.by_rank(&mut k, order);
        } else {
            lines.by_merging(&mut k, order, ty.dtype);
        }
        self.call(k.finish_kernel(), args, id);
        Ok(())
    }
}

/// A position that was computed, as an index: no bound changes it.
fn bounded(k: &mut KernelBuilder, position: ValueId, extent: usize) -> Index {
    let (zero, last) = (k.constant(Scalar::I32(0)), k.constant(Scalar::I32(extent.max(1) as i32 - 1)));
    let low = k.op(ScalarOp::Max, &[position, zero]);
    Index::value(k.op(ScalarOp::Min, &[low, last]).0)
}

/// A position that is below an extent, as an index: the remainder changes nothing.
fn below(position: ValueId, extent: usize) -> Index {
    Index::value(position.0).rem(extent.max(1) as i64, &|_| None)
}

impl Order {
    /// Whether a key comes before another one, wherever they stand; and whether they are equal.
    fn compare(self, k: &mut KernelBuilder, other: ValueId, mine: ValueId) -> (ValueId, ValueId) {
        let comparison = if self.descending { Comparison::Gt } else { Comparison::Lt };
        let mut before = k.op(ScalarOp::Compare(comparison), &[other, mine]);
        let mut equal = k.op(ScalarOp::Compare(Comparison::Eq), &[other, mine]);
        if self.float {
            let is_nan = |k: &mut KernelBuilder, x: ValueId| k.op(ScalarOp::Compare(Comparison::Ne), &[x, x]);
            let (nan_mine, nan_other) = (is_nan(k, mine), is_nan(k, other));
            let (greater, less) = if self.descending { (nan_other, nan_mine) } else { (nan_mine, nan_other) };
            let not = k.op(ScalarOp::Not, &[less]);
            let by_nan = k.op(ScalarOp::And, &[greater, not]);
            before = k.op(ScalarOp::Or, &[before, by_nan]);
            let both = k.op(ScalarOp::And, &[nan_mine, nan_other]);
            equal = k.op(ScalarOp::Or, &[equal, both]);
        }
        (before, equal)
    }

    /// Calls `body` for every element of a row, with its position and the one that it goes to.
    fn by_rank(
        self,
        k: &mut KernelBuilder,
        row: &Row<'_>,
        body: &mut dyn FnMut(&mut KernelBuilder, &Index, ValueId),
    ) {
        let Row { keys, at, extent } = *row;
        let i = Index::var(k.open_for(extent));
        let mine = k.load(keys, &at(&i), None);
        let rank = k.declare(DType::I32, Combine::Add, 32);
        let j = Index::var(k.open_strip(extent));
        let other = k.load(keys, &at(&j), None);
        let (before, equal) = self.compare(k, other, mine);
        let (own, theirs) = (k.index(&i, DType::I32), k.index(&j, DType::I32));
        let earlier = k.op(ScalarOp::Compare(Comparison::Lt), &[theirs, own]);
        let tie = k.op(ScalarOp::And, &[equal, earlier]);
        let before = k.op(ScalarOp::Or, &[before, tie]);
        let (one, none) = (k.constant(Scalar::I32(1)), k.constant(Scalar::I32(0)));
        let counted = k.op(ScalarOp::Select, &[before, one, none]);
        k.accumulate(rank, counted);
        k.close();
        let rank = k.finish(rank);
        body(k, &i, rank);
        k.close();
    }

    /// The keys of a row in order, so many as are `kept`, in one of two places to work in.
    fn by_merging(self, k: &mut KernelBuilder, row: &Row<'_>, kept: usize, work: [Keyed; 2]) -> Keyed {
        let Row { keys, at, extent } = *row;
        let [mut sorted, mut next] = work;
        let (pieces, rest) = (extent / PIECE, extent % PIECE);
        for (first, length, count) in [(0, PIECE, pieces), (pieces * PIECE, rest, usize::from(rest > 0))] {
            let piece = Index::var(k.open_for(count)).scale(PIECE as i64).plus(first as i64);
            let of_piece = |i: &Index| at(&piece.add(i));
            let row = Row { keys, at: &of_piece, extent: length };
            self.by_rank(k, &row, &mut |k, i, rank| {
                let key = k.load(keys, &of_piece(i), None);
                let from = k.index(&piece.add(i), DType::I32);
                let to = piece.add(&below(rank, length));
                k.store(sorted.keys, to.clone(), key);
                k.store(sorted.from, to, from);
            });
            k.close();
        }
        let mut length = PIECE;
        // Progress: runs are twice as long after each round.
        while length < extent {
            let (pairs, rest) = (extent / (2 * length), extent % (2 * length));
            let left = length.min(rest);
            for (first, lengths, count) in [
                (0, [length, length], pairs),
                (pairs * 2 * length, [left, rest - left], usize::from(rest > 0)),
            ] {
                let first = Index::var(k.open_for(count)).scale(2 * length as i64).plus(first as i64);
                let pair = Pair { first, apart: length, lengths: lengths.map(|n| n.min(kept)), kept };
                self.merge(k, &pair, sorted, next);
                k.close();
            }
            (sorted, next) = (next, sorted);
            length *= 2;
        }
        sorted
    }

    /// Two runs as one, in another place. Of equal keys those of the first run come first.
    fn merge(self, k: &mut KernelBuilder, pair: &Pair, from: Keyed, to: Keyed) {
        let (first, [left, right]) = (&pair.first, pair.lengths);
        if right == 0 {
            let at = first.add(&Index::var(k.open_for(left)));
            for (from, to) in [(from.keys, to.keys), (from.from, to.from)] {
                let value = k.load_now(from, &at);
                k.store(to, at.clone(), value);
            }
            return k.close();
        }
        // How many of the first run are taken; the others are of the second.
        let taken = k.declare(DType::I32, Combine::Add, 1);
        let step = Index::var(k.open_for((left + right).min(pair.kept)));
        let i = k.finish(taken);
        let number = k.index(&step, DType::I32);
        let j = k.op(ScalarOp::Sub, &[number, i]);
        let there = [bounded(k, i, left), bounded(k, j, right)];
        let there = [first.add(&there[0]), first.plus(pair.apart as i64).add(&there[1])];
        let [a, b] = there.clone().map(|at| k.load_now(from.keys, &at));
        let (before, _) = self.compare(k, b, a);
        let ends = |k: &mut KernelBuilder, position: ValueId, length: usize| {
            let length = k.constant(Scalar::I32(length as i32));
            k.op(ScalarOp::Compare(Comparison::Ge), &[position, length])
        };
        let (no_left, no_right) = (ends(k, i, left), ends(k, j, right));
        let later = k.op(ScalarOp::Not, &[before]);
        let is_left = k.op(ScalarOp::Or, &[later, no_right]);
        let some = k.op(ScalarOp::Not, &[no_left]);
        let is_left = k.op(ScalarOp::And, &[is_left, some]);
        let key = k.op_now(ScalarOp::Select, &[is_left, a, b]);
        let [a, b] = there.map(|at| k.load_now(from.from, &at));
        let origin = k.op(ScalarOp::Select, &[is_left, a, b]);
        let at = first.add(&step);
        k.store(to.keys, at.clone(), key);
        k.store(to.from, at, origin);
        let (one, none) = (k.constant(Scalar::I32(1)), k.constant(Scalar::I32(0)));
        let counted = k.op(ScalarOp::Select, &[is_left, one, none]);
        k.accumulate(taken, counted);
        k.close();
    }
}
