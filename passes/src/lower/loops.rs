//! Operators that bring loops of their own, by name; scatter is here.

use brolga_ir::index::Index;
use brolga_ir::ops::{Op, RegionOp, Scatter, ScatterAlong, ScatterMode};
use brolga_ir::program::{Access, ValueId};
use brolga_ir::scalar::{Comparison, Scalar, ScalarOp};
use brolga_ir::{GraphError, NodeId, Value};

use super::kernel::KernelBuilder;
use super::{Location, Lowering};

fn close(k: &mut KernelBuilder, count: usize) {
    (0..count).for_each(|_| k.close());
}

impl Lowering<'_> {
    /// A kernel on values that lie in memory and on the results of `id`.
    pub(super) fn operand(
        &mut self,
        k: &mut KernelBuilder,
        value: Value,
        args: &mut Vec<Location>,
    ) -> Result<usize, GraphError> {
        let ty = self.graph.ty(value).clone();
        args.push(self.location(value)?);
        Ok(k.param(ty.dtype, ty.elements(), Access::Read))
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

    pub(super) fn loops(&mut self, id: NodeId) -> Result<(), GraphError> {
        let graph = self.graph;
        match &graph.node(id).op {
            Op::WindowSelect(op) => self.window_select(id, op),
            Op::Scatter(op) => self.scatter(id, op),
            Op::ScatterAlong(op) => self.scatter_along(id, op),
            Op::Cumulative(op) => self.cumulative(id, op),
            Op::Sort(op) => self.sort(id, op),
            op => match op.region_op() {
                Some(RegionOp::Scan(op)) => self.scan(id, op),
                Some(RegionOp::While(op)) => self.while_loop(id, op),
                Some(RegionOp::Cond(op)) => self.cond(id, op),
                Some(RegionOp::Fused(op)) => self.fused(id, &op.body),
                None => Err(GraphError {
                    path: graph.node(id).origin.path.to_string(),
                    message: format!("{}: has no loops to be lowered to", op.get().name()),
                }),
            },
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
