//! Strips: which become vectors, and what is computed before them.

use brolga_ir::DType;
use brolga_ir::index::{Atom, Index, Var};
use brolga_ir::program::{AccId, Access, Expr, Stmt, ValueId};
use rustc_hash::{FxHashMap, FxHashSet};

use super::context::{Acc, Bound, InStrip, KernelCx, LANES};
use super::lanes::has_lanes;
use super::operations::has_vector_code;

/// Finds out whether a strip has vector code: 32-bit lanes only, and every accumulator either has 32 lanes or is
/// declared inside.
struct LaneCheck<'a, 'b> {
    cx: &'a KernelCx<'b>,
    values: FxHashMap<ValueId, DType>,
    accs: FxHashMap<AccId, DType>,
}

impl LaneCheck<'_, '_> {
    fn dtype(&self, id: ValueId) -> DType {
        self.values.get(&id).copied().unwrap_or_else(|| self.cx.values[&id].dtype)
    }

    fn stmt(&mut self, stmt: &Stmt) -> bool {
        match stmt {
            Stmt::For { body, .. } => body.iter().all(|stmt| self.stmt(stmt)),
            Stmt::Let { id, dtype, expr } => {
                let fine = match expr {
                    Expr::Op(op, args) => {
                        let operand = self.dtype(*args.last().expect("operations have operands"));
                        has_vector_code(*op, operand, *dtype)
                    }
                    Expr::Load { .. } | Expr::Constant(_) | Expr::Index(_) => has_lanes(*dtype),
                };
                self.values.insert(*id, *dtype);
                fine
            }
            Stmt::Store { param, .. } => has_lanes(self.cx.kernel.params[*param].dtype),
            Stmt::Declare { acc, dtype, .. } => {
                self.accs.insert(*acc, *dtype);
                has_lanes(*dtype) && *dtype != DType::U8
            }
            Stmt::Accumulate { acc, value } => {
                let dtype = self.dtype(*value);
                let parallel = self.accs.contains_key(acc) || matches!(self.cx.accs[acc], Acc::Slot { .. });
                parallel && has_lanes(dtype) && dtype != DType::U8
            }
            Stmt::Finish { id, acc } => {
                let Some(&dtype) = self.accs.get(acc) else { return false };
                self.values.insert(*id, dtype);
                true
            }
            Stmt::Strip { .. } | Stmt::If { .. } | Stmt::Tile(_) => false,
        }
    }
}

impl KernelCx<'_> {
    /// A strip in Cranelift IR: four lanes at a time where it vectorises, and the rest one by one.
    pub(crate) fn portable_strip(&mut self, var: Var, extent: usize, body: &[Stmt]) {
        if extent == 0 {
            return;
        }
        let rest = match self.refusals {
            Some(_) => body.iter().collect(),
            None => self.hoist(var, extent, body),
        };
        self.portable_rest(var, extent, &rest, 0);
    }

    /// The iterations of a strip from `done` on, without what was hoisted out of it.
    pub(crate) fn portable_rest(&mut self, var: Var, extent: usize, rest: &[&Stmt], done: usize) {
        let (first, n) = (done as i64, extent as i64);
        let count = n - first;
        let vectorises = count >= LANES && self.refusals.is_none() && self.strip_vectorises(rest);
        let vectors = first + if vectorises { count / LANES * LANES } else { 0 };
        for (start, end, wide) in [(first, vectors, true), (vectors, n, false)] {
            if start == end {
                continue;
            }
            self.counted(start, end, if wide { LANES } else { 1 }, |cx, first| {
                cx.vars.insert(var, Bound { value: first, extent, depth: cx.depth });
                cx.strip = Some(InStrip { var, first, wide });
                for stmt in rest {
                    cx.stmt(stmt);
                }
                cx.strip = None;
            });
        }
    }

    /// Whether the strip has vector code where it stands.
    fn strip_vectorises(&self, body: &[&Stmt]) -> bool {
        let mut scan = LaneCheck { cx: self, values: FxHashMap::default(), accs: FxHashMap::default() };
        body.iter().all(|stmt| scan.stmt(stmt))
    }

    /// Computes before the strip what is equal in all its iterations; gives the other statements.
    ///
    /// A load is moved only if the kernel does not write the parameter and nothing is stored before it: an
    /// element that is updated in place is loaded by one iteration only, the one that stores it.
    pub(crate) fn hoist<'s>(&mut self, var: Var, extent: usize, body: &'s [Stmt]) -> Vec<&'s Stmt> {
        let mut rest = Vec::with_capacity(body.len());
        let mut varying = FxHashSet::default();
        let mut stored = false;
        for stmt in body {
            match stmt {
                Stmt::Let { id, expr, .. } => {
                    let invariant = self.is_invariant(expr, var, &varying, stored);
                    if invariant && extent > 1 {
                        self.stmt(stmt);
                        // Constants stay in sight: the wide emitter keeps them behind its code.
                        if !matches!(expr, Expr::Constant(_)) {
                            continue;
                        }
                    } else {
                        varying.insert(*id);
                    }
                }
                Stmt::Finish { id, .. } => {
                    varying.insert(*id);
                }
                Stmt::Store { .. } => stored = true,
                Stmt::For { .. } => {
                    // Values inside are local to it; it may store.
                    stored = true;
                }
                _ => {}
            }
            rest.push(stmt);
        }
        rest
    }

    /// Whether an expression is equal in all iterations: `varying` are values that are not, and `stored` whether there was a store.
    fn is_invariant(&self, expr: &Expr, var: Var, varying: &FxHashSet<ValueId>, stored: bool) -> bool {
        let known = |id: &ValueId| !varying.contains(id);
        let fixed = |index: &Index| {
            let mut fixed = true;
            index.visit(&mut |atom| {
                fixed &= match atom {
                    Atom::Var(v) => *v != var,
                    Atom::Value(id) => known(&ValueId(*id)),
                    _ => true,
                }
            });
            fixed
        };
        match expr {
            Expr::Constant(_) => true,
            Expr::Index(index) => fixed(index),
            Expr::Op(_, args) => args.iter().all(known),
            Expr::Load { param, index, guard } => {
                let read_only = self.kernel.params[*param].access == Access::Read;
                read_only && !stored && fixed(index) && guard.iter().all(known)
            }
        }
    }
}
