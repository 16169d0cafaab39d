//! `vectorise`: turns loops whose iterations are independent into strips.
//!
//! In every loop nest that holds neither strips nor tiles, the loop with the most contiguous accesses becomes the
//! strip; that may be an outer one, around serial loops (a reduction along columns). Strips of reductions along rows
//! are part of the numeric plan and already there. Exact: a strip's iterations mean the same in any order.

use brolga_ir::index::{Atom, Index, Var};
use brolga_ir::program::walk::walk;
use brolga_ir::program::{AccId, Expr, Kernel, Program, Stmt, ValueId};

/// Makes strips; whether any was made.
pub fn vectorise(program: &mut Program) -> bool {
    program.kernels.iter_mut().fold(false, |changed, kernel| {
        let Kernel { body, .. } = kernel;
        visit(body) || changed
    })
}

fn visit(block: &mut [Stmt]) -> bool {
    let mut changed = false;
    for statement in block {
        match statement {
            Stmt::For { var, extent, body } => {
                if holds_vectors(body) {
                    changed |= visit(body);
                    continue;
                }
                let own = score(*var, *extent, body);
                match (own, best_inside(body)) {
                    (Some(own), inside) if inside.is_none_or(|inside| own > inside) => {
                        let (var, extent, body) = (*var, *extent, std::mem::take(body));
                        *statement = Stmt::Strip { var, extent, body };
                        changed = true;
                    }
                    (_, Some(_)) => changed |= visit(body),
                    _ => {}
                }
            }
            Stmt::If { then, otherwise, .. } => changed |= visit(then) | visit(otherwise),
            _ => {}
        }
    }
    changed
}

/// Whether a block holds what no strip may hold.
fn holds_vectors(block: &[Stmt]) -> bool {
    walk(block).any(|statement| matches!(statement, Stmt::Strip { .. } | Stmt::Tile(_) | Stmt::If { .. }))
}

fn best_inside(block: &[Stmt]) -> Option<f64> {
    let inside = block.iter().filter_map(|statement| match statement {
        Stmt::For { var, extent, body } => {
            [score(*var, *extent, body), best_inside(body)].into_iter().flatten().reduce(f64::max)
        }
        _ => None,
    });
    inside.reduce(f64::max)
}

/// How well a loop would do as a strip: the mean over its accesses of 1 for a contiguous one, less for others;
/// `None` if its iterations depend on each other.
fn score(var: Var, extent: usize, body: &[Stmt]) -> Option<f64> {
    let mut accesses = Accesses::default();
    if !accesses.collect(body, var) {
        return None;
    }
    // A stored parameter is touched only where it is stored, or where no iteration stores.
    let clash = |(param, index): &(usize, Index)| {
        let meets =
            |(stored, at): &(usize, Index)| stored == param && at != index && !apart(var, extent, at, index);
        accesses.stores.iter().any(meets)
    };
    if accesses.loads.iter().chain(&accesses.stores).any(clash) {
        return None;
    }
    let value = |(_, index): &(usize, Index)| match index.coefficient(var) {
        _ if index.is_nonlinear_in(var) => -2.0,
        1 => 1.0,
        0 => 0.5,
        _ => -1.0,
    };
    let count = accesses.loads.len() + accesses.stores.len();
    let sum: f64 = accesses.loads.iter().chain(&accesses.stores).map(value).sum();
    let short = if extent < 4 { 2.0 } else { 0.0 };
    Some(sum / count.max(1) as f64 - short)
}

/// Whether no iteration touches with one index what another one touches with the other.
fn apart(var: Var, extent: usize, a: &Index, b: &Index) -> bool {
    let step = a.coefficient(var);
    match a.distance(b) {
        Some(distance) => {
            step != 0 && (distance % step != 0 || (distance / step).unsigned_abs() as usize >= extent)
        }
        None => false,
    }
}

#[derive(Default)]
struct Accesses {
    loads: Vec<(usize, Index)>,
    stores: Vec<(usize, Index)>,
    declared: Vec<AccId>,
    values: Vec<ValueId>,
}

impl Accesses {
    /// Gathers the accesses of a block; false if an iteration of `var` depends on another one.
    fn collect(&mut self, block: &[Stmt], var: Var) -> bool {
        block.iter().all(|statement| match statement {
            Stmt::For { body, .. } => self.collect(body, var),
            Stmt::Let { id, expr: Expr::Load { param, index, .. }, .. } => {
                self.values.push(*id);
                self.loads.push((*param, index.clone()));
                true
            }
            Stmt::Store { param, index, .. } => {
                self.stores.push((*param, index.clone()));
                // An index computed in the iteration may meet that of another one.
                let mut computed = false;
                index.visit(&mut |atom| {
                    computed |= matches!(atom, Atom::Value(v) if self.values.contains(&ValueId(*v)));
                });
                index.coefficient(var) != 0 && !index.is_nonlinear_in(var) && !computed
            }
            // Lanes belong to a strip inside (which may have been empty).
            Stmt::Declare { acc, lanes, .. } => {
                self.declared.push(*acc);
                *lanes == 1
            }
            Stmt::Accumulate { acc, .. } => self.declared.contains(acc),
            Stmt::Let { id, .. } | Stmt::Finish { id, .. } => {
                self.values.push(*id);
                true
            }
            Stmt::Strip { .. } | Stmt::If { .. } | Stmt::Tile(_) => false,
        })
    }
}
