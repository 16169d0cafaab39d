//! Operators that bring loops of their own, by name; scatter is here.

use brolga_ir::index::Index;
use brolga_ir::ops::{Op, Role, Scatter, ScatterAlong, ScatterMode};
use brolga_ir::program::{Access, ValueId};
use brolga_ir::scalar::{Comparison, Scalar, ScalarOp};
use brolga_ir::{GraphError, NodeId};

use crate::facts::blocking::scattering::{COLUMNS, LEAST, PARTS};
use crate::facts::constants::splat;
use crate::lower::kernel::KernelBuilder;
use crate::lower::{Location, Lowering};

/// A kernel that scatters, inside of the loop over what lies before the axis.
struct Scattering {
    k: KernelBuilder,
    args: Vec<Location>,
    /// Parameters.
    indices: usize,
    updates: usize,
    result: usize,
    /// The index of the loop.
    outer: Index,
    /// Extent of the axis, and elements behind it.
    extent: usize,
    inner: usize,
}

impl Scattering {
    /// Elements from one iteration to the next.
    fn slab(&self) -> i64 {
        (self.extent * self.inner) as i64
    }

    /// Changes the element at `at` along the axis and `behind` it by the update that lies at `from`.
    fn update(&mut self, from: &Index, (at, behind): (&Index, &Index), mode: ScatterMode) {
        let to = self.outer.scale(self.slab()).add(&at.scale(self.inner as i64)).add(behind);
        let update = self.k.load(self.updates, from, None);
        let value = match mode.operation() {
            Some(op) => {
                let old = self.k.load_now(self.result, &to);
                self.k.op_now(op, &[old, update])
            }
            None => update,
        };
        self.k.store(self.result, to, value);
    }
}

impl Lowering<'_> {
    /// An index is tested once for all that lies behind it: a loop that is a vector's.
    pub(super) fn scatter(&mut self, id: NodeId, scatter: &Scatter) -> Result<(), GraphError> {
        let mut s = self.begin_scatter(id, scatter.axis)?;
        let count = self.graph.ty(self.graph.node(id).operands[1]).elements();
        let parts = parts(count, s.inner);
        // Where the part begins that a thread has.
        let first = match parts {
            1 => Index::default(),
            _ => Index::var(s.k.open_for(parts)).scale((s.inner / parts) as i64),
        };
        let i = Index::var(s.k.open_for(count));
        let (at, inside) = checked(&mut s.k, s.indices, &i, s.extent);
        s.k.open_if(inside);
        let b = first.add(&Index::var(s.k.open_for(s.inner / parts)));
        let from = s.outer.scale((count * s.inner) as i64).add(&i.scale(s.inner as i64)).add(&b);
        s.update(&from, (&at, &b), scatter.mode);
        s.k.close();
        s.k.close_if();
        let around = if parts == 1 { 2 } else { 3 };
        (0..around).for_each(|_| s.k.close());
        self.call(s.k.finish_kernel(), s.args, id);
        Ok(())
    }

    pub(super) fn scatter_along(&mut self, id: NodeId, scatter: &ScatterAlong) -> Result<(), GraphError> {
        let mut s = self.begin_scatter(id, scatter.axis)?;
        let taken = self.graph.ty(self.graph.node(id).operands[1]).dims[scatter.axis];
        let (i, b) = (Index::var(s.k.open_for(taken)), Index::var(s.k.open_for(s.inner)));
        let from = s.outer.scale((taken * s.inner) as i64).add(&i.scale(s.inner as i64)).add(&b);
        let (at, inside) = checked(&mut s.k, s.indices, &from, s.extent);
        s.k.open_if(inside);
        s.update(&from, (&at, &b), scatter.mode);
        s.k.close_if();
        (0..3).for_each(|_| s.k.close());
        self.call(s.k.finish_kernel(), s.args, id);
        Ok(())
    }

    /// The loop over what lies before the axis, in which the base has been copied.
    fn begin_scatter(&mut self, id: NodeId, axis: usize) -> Result<Scattering, GraphError> {
        let graph = self.graph;
        let node = graph.node(id);
        let [base, indices, updates] = node.operands[..] else { unreachable!("a verified scatter") };
        let ty = node.types[0].clone();
        let extent = ty.dims[axis];
        let inner = ty.dims[axis + 1..].iter().product();
        let mut k = KernelBuilder::new(node.op.get().name());
        let mut args = Vec::new();
        let is_state = graph.parameter(base.node).is_some_and(|parameter| parameter.role == Role::State);
        let mut there = None;
        let is_carried = |at: &Location| self.targets.get(&graph.result(id)) == Some(at);
        let carried = self.locations.get(&base).copied().filter(is_carried);
        // What is the same everywhere, such as the zeros that sums begin from, is not read from memory. What a loop carries may
        // be changed where it lies, and what is made of it is of the old value then. State is copied by a call of its own, which
        // goes where the result is the new state (`program/forward.rs`).
        let base = match splat(graph, base) {
            _ if carried.is_some() => {
                there = Some(self.target(graph.result(id)));
                self.copies.retain(|from, _| Some(*from) != carried);
                Base::There
            }
            Some(value) => Base::Same(value),
            None if is_state => {
                let (from, to) = (self.location(base)?, self.target(graph.result(id)));
                self.copy_memory(from, to, base);
                there = Some(to);
                Base::There
            }
            None => Base::Param(self.operand(&mut k, base, &mut args)?),
        };
        let indices = self.operand(&mut k, indices, &mut args)?;
        let updates = self.operand(&mut k, updates, &mut args)?;
        args.push(there.unwrap_or_else(|| self.target(graph.result(id))));
        let result = k.param(ty.dtype, ty.elements(), Access::ReadWrite);
        let outer = Index::var(k.open_for(ty.dims[..axis].iter().product()));
        let mut s = Scattering { k, args, indices, updates, result, outer, extent, inner };
        let slab = s.outer.scale(s.slab());
        copy_slab(&mut s.k, base, result, &slab, extent * inner);
        Ok(s)
    }

    /// An operator that has neither a definition by elements nor a region.
    pub(in crate::lower) fn loops(&mut self, id: NodeId) -> Result<(), GraphError> {
        let graph = self.graph;
        match &graph.node(id).op {
            Op::WindowSelect(op) => self.window_select(id, op),
            Op::Scatter(op) => self.scatter(id, op),
            Op::ScatterAlong(op) => self.scatter_along(id, op),
            Op::Cumulative(op) => self.cumulative(id, op),
            Op::Sort(op) => self.sort(id, op),
            op => Err(GraphError {
                path: graph.node(id).origin.path.to_string(),
                message: format!("{}: has no loops to be lowered to", op.get().name()),
            }),
        }
    }
}

/// What scattering begins from.
#[derive(Clone, Copy)]
enum Base {
    /// A parameter.
    Param(usize),
    /// One value.
    Same(Scalar),
    /// What lies there already.
    There,
}

/// Fills a slab of a parameter with what lies at the same place of the base.
fn copy_slab(k: &mut KernelBuilder, from: Base, to: usize, base: &Index, elements: usize) {
    let at = base.add(&Index::var(k.open_for(elements)));
    let value = match from {
        Base::Param(from) => k.load(from, &at, None),
        Base::Same(value) => k.constant(value),
        Base::There => return k.close(),
    };
    k.store(to, at, value);
    k.close();
}

/// How many parts slices of `inner` elements are cut into, `count` of which are scattered.
fn parts(count: usize, inner: usize) -> usize {
    let fits = |parts: &usize| inner.is_multiple_of(parts * COLUMNS);
    match count * inner {
        0..LEAST => 1,
        _ => (2..=PARTS).rev().find(fits).unwrap_or(1),
    }
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
