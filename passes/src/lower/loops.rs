//! Operators that bring loops of their own: winners of windows, scatter, running sums, sort.

use brolga_ir::index::Index;
use brolga_ir::ops::{Cumulative, Op, Scatter, ScatterAlong, ScatterMode, SelectForm, Sort, WindowSelect};
use brolga_ir::program::{AccId, Access, Combine, ValueId};
use brolga_ir::scalar::{Comparison, Scalar, ScalarOp};
use brolga_ir::{DType, GraphError, NodeId, Type, Value};

use super::kernel::KernelBuilder;
use super::{Location, Lowering};

/// Row-major position from an index over axes, as an index expression.
fn position(index: &[Index], strides: &[usize]) -> Index {
    index.iter().zip(strides).fold(Index::default(), |sum, (i, &s)| sum.add(&i.scale(s as i64)))
}

/// Opens a serial loop for each extent; the variables.
fn open(k: &mut KernelBuilder, extents: &[usize]) -> Vec<Index> {
    extents.iter().map(|&extent| Index::var(k.open_for(extent))).collect()
}

fn close(k: &mut KernelBuilder, count: usize) {
    (0..count).for_each(|_| k.close());
}

/// Whether a float is NaN, or one is and the other is not, as conditions.
fn is_nan(k: &mut KernelBuilder, x: ValueId) -> ValueId {
    k.op(ScalarOp::Compare(Comparison::Ne), &[x, x])
}

/// What happens at a point of a window: its position in x, that inside the slab, and whether it is inside.
type OnPoint<'a> = dyn FnMut(&mut KernelBuilder, &Index, &Index, Option<ValueId>) + 'a;

impl Lowering<'_> {
    /// A kernel on values that lie in memory and on the results of `id`.
    fn operand(
        &mut self,
        k: &mut KernelBuilder,
        value: Value,
        args: &mut Vec<Location>,
    ) -> Result<usize, GraphError> {
        let ty = self.graph.ty(value).clone();
        args.push(self.location(value)?);
        Ok(k.param(ty.dtype, ty.elements(), Access::Read))
    }

    /// Winners first (as positions inside the axes that windows slide over), then the scatter or gather.
    pub(super) fn window_select(&mut self, id: NodeId, select: &WindowSelect) -> Result<(), GraphError> {
        let graph = self.graph;
        let node = graph.node(id);
        let (x, second) = (node.operands[0], node.operands[1]);
        let x_ty = graph.ty(x).clone();
        let windows =
            if select.form == SelectForm::Scatter { graph.ty(second) } else { &node.types[0] }.clone();
        let w = &select.window;
        // Leading axes with trivial windows are batches: their slabs are independent.
        let trivial = |axis: usize| {
            let plain = w.window[axis] == 1 && w.stride[axis] == 1 && w.padding[axis] == (0, 0);
            plain && w.window_dilation[axis] == 1 && w.base_dilation[axis] == 1
        };
        let batch = (0..x_ty.rank()).take_while(|&axis| trivial(axis)).count();
        let slab: usize = x_ty.dims[batch..].iter().product();
        let winners = Type::new(DType::I32, windows.dims.clone());
        let winners_at = self.arena("winners", winners.clone());
        let (x_strides, y_strides) = (x_ty.strides(), windows.strides());

        let mut k = KernelBuilder::new("window_winners");
        let mut args = Vec::new();
        let source = self.operand(&mut k, x, &mut args)?;
        let target = k.param(DType::I32, winners.elements(), Access::Write);
        args.push(winners_at);
        let at = open(&mut k, &windows.dims);
        // The best of the window, then the first position that holds it (or the first NaN).
        let best = k.declare(x_ty.dtype, w.combine, 1);
        self.over_window(&mut k, select, &x_ty, &at, batch, &mut |k, index, _, inside| {
            let value = k.load(source, index, inside);
            let identity = k.constant(w.combine.identity(x_ty.dtype));
            let value = inside.map_or(value, |inside| k.op(ScalarOp::Select, &[inside, value, identity]));
            k.accumulate(best, value);
        });
        let best = k.finish(best);
        let nan = is_nan(&mut k, best);
        let first: AccId = k.declare(DType::I32, Combine::Min, 1);
        self.over_window(&mut k, select, &x_ty, &at, batch, &mut |k, index, inner, inside| {
            let value = k.load(source, index, inside);
            let equal = k.op(ScalarOp::Compare(Comparison::Eq), &[value, best]);
            let also = is_nan(k, value);
            let also = k.op(ScalarOp::And, &[also, nan]);
            let wins = k.op(ScalarOp::Or, &[equal, also]);
            let wins = inside.map_or(wins, |inside| k.op(ScalarOp::And, &[wins, inside]));
            let here = k.index(inner, DType::I32);
            let far = k.constant(Scalar::I32(i32::MAX));
            let candidate = k.op(ScalarOp::Select, &[wins, here, far]);
            k.accumulate(first, candidate);
        });
        let first = k.finish(first);
        k.store(target, position(&at, &y_strides), first);
        close(&mut k, windows.rank());
        self.call(k.finish_kernel(), args, id);

        let mut k = KernelBuilder::new(node.op.get().name());
        let mut args = vec![winners_at];
        let winners_param = k.param(DType::I32, winners.elements(), Access::Read);
        let second_param = self.operand(&mut k, second, &mut args)?;
        let result = self.target(graph.result(id));
        let scatter = select.form == SelectForm::Scatter;
        let access = if scatter { Access::ReadWrite } else { Access::Write };
        let result_param = k.param(node.types[0].dtype, node.types[0].elements(), access);
        args.push(result);
        let outer = open(&mut k, &x_ty.dims[..batch]);
        let base = position(&outer, &x_strides);
        let zero = k.zero_of(result_param);
        if scatter {
            let element = Index::var(k.open_for(slab));
            k.store(result_param, base.add(&element), zero);
            k.close();
        }
        let inner = open(&mut k, &windows.dims[batch..]);
        let here = position(&outer, &y_strides).add(&position(&inner, &y_strides[batch..]));
        let winner = k.load(winners_param, &here, None);
        let end = k.constant(Scalar::I32(slab.min(i32::MAX as usize) as i32));
        let seen = k.op(ScalarOp::Compare(Comparison::Lt), &[winner, end]);
        // The remainder changes nothing; it bounds the position to the slab for whoever reasons about it.
        let there = base.add(&Index::value(winner.0).rem(slab.max(1) as i64, &|_| None));
        if scatter {
            k.when(seen, |k| {
                let dy = k.load_now(second_param, &here);
                let old = k.load_now(result_param, &there);
                let sum = k.op_now(ScalarOp::Add, &[old, dy]);
                k.store(result_param, there, sum);
            });
        } else {
            let value = k.load(second_param, &there, Some(seen));
            let value = k.op(ScalarOp::Select, &[seen, value, zero]);
            k.store(result_param, here, value);
        }
        close(&mut k, windows.rank() - batch);
        close(&mut k, batch);
        self.call(k.finish_kernel(), args, id);
        Ok(())
    }

    /// Serial loops over a window; `body` gets the position in x, that inside the slab, and whether it is inside.
    fn over_window(
        &self,
        k: &mut KernelBuilder,
        select: &WindowSelect,
        x: &Type,
        at: &[Index],
        batch: usize,
        body: &mut OnPoint,
    ) {
        let w = &select.window;
        let inside = open(k, &w.window[batch..]);
        let mut condition = None;
        let mut index = at[..batch].to_vec();
        for (axis, r) in (batch..x.rank()).zip(&inside) {
            let point = at[axis]
                .scale(w.stride[axis] as i64)
                .add(&r.scale(w.window_dilation[axis] as i64))
                .plus(-w.padding[axis].0);
            let dilation = w.base_dilation[axis] as i64;
            let (element, between) = {
                let range = |atom: &brolga_ir::index::Atom| k.range(atom);
                (point.div(dilation, &range), point.rem(dilation, &range))
            };
            for (index, extent) in [(&element, x.dims[axis]), (&between, 1)] {
                let test = k.in_bounds(index, extent);
                condition = k.and(condition, test);
            }
            index.push(element);
        }
        let strides = x.strides();
        body(k, &position(&index, &strides), &position(&index[batch..], &strides[batch..]), condition);
        close(k, inside.len());
    }

    pub(super) fn scatter(&mut self, id: NodeId, scatter: &Scatter) -> Result<(), GraphError> {
        let graph = self.graph;
        let node = graph.node(id);
        let [base, indices, updates] = node.operands[..] else { unreachable!("a verified scatter") };
        let ty = node.types[0].clone();
        let extent = ty.dims[scatter.axis];
        let outer: usize = ty.dims[..scatter.axis].iter().product();
        let inner: usize = ty.dims[scatter.axis + 1..].iter().product();
        let count = graph.ty(indices).elements();
        let mut k = KernelBuilder::new(node.op.get().name());
        let mut args = Vec::new();
        let [base, indices, updates] = [
            self.operand(&mut k, base, &mut args)?,
            self.operand(&mut k, indices, &mut args)?,
            self.operand(&mut k, updates, &mut args)?,
        ];
        args.push(self.target(graph.result(id)));
        let result = k.param(ty.dtype, ty.elements(), Access::ReadWrite);
        let a = Index::var(k.open_for(outer));
        let slab = (extent * inner) as i64;
        copy_slab(&mut k, base, result, &a.scale(slab), extent * inner);
        let i = Index::var(k.open_for(count));
        let (at, inside) = checked(&mut k, indices, &i, extent);
        let b = Index::var(k.open_for(inner));
        let from = a.scale((count * inner) as i64).add(&i.scale(inner as i64)).add(&b);
        let to = a.scale(slab).add(&at.scale(inner as i64)).add(&b);
        let update = k.load(updates, &from, None);
        let set = scatter.mode == ScatterMode::Set;
        put(&mut k, result, to, update, inside, set);
        close(&mut k, 3);
        self.call(k.finish_kernel(), args, id);
        Ok(())
    }

    pub(super) fn scatter_along(&mut self, id: NodeId, scatter: &ScatterAlong) -> Result<(), GraphError> {
        let graph = self.graph;
        let node = graph.node(id);
        let [base, indices, updates] = node.operands[..] else { unreachable!("a verified scatter") };
        let ty = node.types[0].clone();
        let extent = ty.dims[scatter.axis];
        let taken = graph.ty(indices).dims[scatter.axis];
        let outer: usize = ty.dims[..scatter.axis].iter().product();
        let inner: usize = ty.dims[scatter.axis + 1..].iter().product();
        let mut k = KernelBuilder::new(node.op.get().name());
        let mut args = Vec::new();
        let [base, indices, updates] = [
            self.operand(&mut k, base, &mut args)?,
            self.operand(&mut k, indices, &mut args)?,
            self.operand(&mut k, updates, &mut args)?,
        ];
        args.push(self.target(graph.result(id)));
        let result = k.param(ty.dtype, ty.elements(), Access::ReadWrite);
        let a = Index::var(k.open_for(outer));
        let slab = (extent * inner) as i64;
        copy_slab(&mut k, base, result, &a.scale(slab), extent * inner);
        let (i, b) = (Index::var(k.open_for(taken)), Index::var(k.open_for(inner)));
        let from = a.scale((taken * inner) as i64).add(&i.scale(inner as i64)).add(&b);
        let (at, inside) = checked(&mut k, indices, &from, extent);
        let to = a.scale(slab).add(&at.scale(inner as i64)).add(&b);
        let update = k.load(updates, &from, None);
        put(&mut k, result, to, update, inside, false);
        close(&mut k, 3);
        self.call(k.finish_kernel(), args, id);
        Ok(())
    }

    pub(super) fn cumulative(&mut self, id: NodeId, op: &Cumulative) -> Result<(), GraphError> {
        let graph = self.graph;
        let node = graph.node(id);
        let ty = node.types[0].clone();
        let extent = ty.dims[op.axis];
        let outer: usize = ty.dims[..op.axis].iter().product();
        let inner: usize = ty.dims[op.axis + 1..].iter().product();
        let mut k = KernelBuilder::new(node.op.get().name());
        let mut args = Vec::new();
        let source = self.operand(&mut k, node.operands[0], &mut args)?;
        args.push(self.target(graph.result(id)));
        let result = k.param(ty.dtype, ty.elements(), Access::Write);
        let (a, b) = (Index::var(k.open_for(outer)), Index::var(k.open_for(inner)));
        let running = k.declare(ty.dtype, op.combine, 1);
        let step = Index::var(k.open_for(extent));
        let along = if op.reverse { step.scale(-1).plus(extent as i64 - 1) } else { step };
        let at = a.scale((extent * inner) as i64).add(&along.scale(inner as i64)).add(&b);
        let value = k.load(source, &at, None);
        if op.exclusive {
            let before = k.finish(running);
            k.store(result, at, before);
            k.accumulate(running, value);
        } else {
            k.accumulate(running, value);
            let sum = k.finish(running);
            k.store(result, at, sum);
        }
        close(&mut k, 3);
        self.call(k.finish_kernel(), args, id);
        Ok(())
    }

    /// Every element goes to the position given by the number of keys before its own: quadratic in the extent,
    /// without a branch.
    pub(super) fn sort(&mut self, id: NodeId, sort: &Sort) -> Result<(), GraphError> {
        let graph = self.graph;
        let node = graph.node(id);
        let ty = node.types[0].clone();
        let extent = ty.dims[sort.axis];
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
        let (a, b) = (Index::var(k.open_for(outer)), Index::var(k.open_for(inner)));
        let base = a.scale((extent * inner) as i64).add(&b);
        let at = |i: &Index| base.add(&i.scale(inner as i64));
        let i = Index::var(k.open_for(extent));
        let mine = k.load(sources[0], &at(&i), None);
        let rank = k.declare(DType::I32, Combine::Add, 32);
        let j = Index::var(k.open_strip(extent));
        let other = k.load(sources[0], &at(&j), None);
        let comparison = if sort.descending { Comparison::Gt } else { Comparison::Lt };
        let mut before = k.op(ScalarOp::Compare(comparison), &[other, mine]);
        let mut equal = k.op(ScalarOp::Compare(Comparison::Eq), &[other, mine]);
        if ty.dtype.is_float() {
            let (nan_mine, nan_other) = (is_nan(&mut k, mine), is_nan(&mut k, other));
            let (greater, less) = if sort.descending { (nan_other, nan_mine) } else { (nan_mine, nan_other) };
            let not = k.op(ScalarOp::Not, &[less]);
            let by_nan = k.op(ScalarOp::And, &[greater, not]);
            before = k.op(ScalarOp::Or, &[before, by_nan]);
            let both = k.op(ScalarOp::And, &[nan_mine, nan_other]);
            equal = k.op(ScalarOp::Or, &[equal, both]);
        }
        let (own, theirs) = (k.index(&i, DType::I32), k.index(&j, DType::I32));
        let earlier = k.op(ScalarOp::Compare(Comparison::Lt), &[theirs, own]);
        let tie = k.op(ScalarOp::And, &[equal, earlier]);
        let before = k.op(ScalarOp::Or, &[before, tie]);
        let (one, none) = (k.constant(Scalar::I32(1)), k.constant(Scalar::I32(0)));
        let counted = k.op(ScalarOp::Select, &[before, one, none]);
        k.accumulate(rank, counted);
        k.close();
        let rank = k.finish(rank);
        let there = at(&Index::value(rank.0).rem(extent.max(1) as i64, &|_| None));
        for (&source, &result) in sources.iter().zip(&results) {
            let value = k.load(source, &at(&i), None);
            k.store(result, there.clone(), value);
        }
        close(&mut k, 3);
        self.call(k.finish_kernel(), args, id);
        Ok(())
    }

    pub(super) fn loops(&mut self, id: NodeId) -> Result<(), GraphError> {
        let graph = self.graph;
        match &graph.node(id).op {
            Op::WindowSelect(op) => self.window_select(id, op),
            Op::Scatter(op) => self.scatter(id, op),
            Op::ScatterAlong(op) => self.scatter_along(id, op),
            Op::Cumulative(op) => self.cumulative(id, op),
            Op::Sort(op) => self.sort(id, op),
            Op::Scan(op) => self.scan(id, op),
            Op::While(op) => self.while_loop(id, op),
            Op::Cond(op) => self.cond(id, op),
            op => Err(GraphError {
                path: graph.node(id).origin.path.to_string(),
                message: format!("{}: has no loops to be lowered to", op.get().name()),
            }),
        }
    }
}

/// Copies a slab of one parameter to the same place of another.
fn copy_slab(k: &mut KernelBuilder, from: usize, to: usize, base: &Index, elements: usize) {
    let at = base.add(&Index::var(k.open_for(elements)));
    let value = k.load(from, &at, None);
    k.store(to, at, value);
    k.close();
}

/// A computed index, bounded to `0..extent` by a remainder that changes nothing where it is inside, and whether it
/// is.
fn checked(k: &mut KernelBuilder, indices: usize, at: &Index, extent: usize) -> (Index, ValueId) {
    let raw = k.load(indices, at, None);
    let (zero, end) = (Scalar::zero(k.dtype(raw)), Scalar::from_i64(k.dtype(raw), extent as i64));
    let (zero, end) = (k.constant(zero), k.constant(end));
    let low = k.op(ScalarOp::Compare(Comparison::Ge), &[raw, zero]);
    let high = k.op(ScalarOp::Compare(Comparison::Lt), &[raw, end]);
    let inside = k.op(ScalarOp::And, &[low, high]);
    (Index::value(raw.0).rem(extent.max(1) as i64, &|_| None), inside)
}

/// Stores (or adds) `update` where `inside` holds.
fn put(k: &mut KernelBuilder, result: usize, to: Index, update: ValueId, inside: ValueId, set: bool) {
    k.when(inside, |k| {
        let value = if set {
            update
        } else {
            let old = k.load_now(result, &to);
            k.op_now(ScalarOp::Add, &[old, update])
        };
        k.store(result, to, value);
    });
}
