//! What a kernel costs, counted from its statements.

use std::collections::HashMap;

use super::{Expr, Kernel, Stmt, ValueId};
use crate::index::{Atom, Var};
use crate::scalar::Scalar;
use crate::types::DType;

/// Iterations of a loop that are gone through one by one, at most, to know which of its conditions hold.
const MOST_ITERATIONS: usize = 4096;

/// The floating-point operations of one call of a kernel: two for each multiply-add of a tile, one for each other
/// operation. Conditions on loop variables (borders of images) are evaluated; of others the larger side counts.
pub fn flops(kernel: &Kernel) -> u64 {
    Work::default().grid(0, &kernel.grid, &kernel.body)
}

#[derive(Default)]
struct Work {
    vars: HashMap<Var, i64>,
    values: HashMap<ValueId, Scalar>,
}

impl Work {
    fn grid(&mut self, var: Var, extents: &[usize], body: &[Stmt]) -> u64 {
        match extents.split_first() {
            None => self.block(body),
            Some((&extent, rest)) => {
                self.repeat(var, extent, has_conditions(body), |w| w.grid(var + 1, rest, body))
            }
        }
    }

    /// The work of all iterations of a loop.
    fn repeat(
        &mut self,
        var: Var,
        extent: usize,
        differ: bool,
        mut body: impl FnMut(&mut Work) -> u64,
    ) -> u64 {
        if !differ || extent > MOST_ITERATIONS {
            return (extent as u64).saturating_mul(body(self));
        }
        let mut sum: u64 = 0;
        for at in 0..extent as i64 {
            self.vars.insert(var, at);
            sum = sum.saturating_add(body(self));
        }
        self.vars.remove(&var);
        sum
    }

    fn block(&mut self, block: &[Stmt]) -> u64 {
        block.iter().fold(0, |sum, statement| sum.saturating_add(self.statement(statement)))
    }

    fn statement(&mut self, statement: &Stmt) -> u64 {
        match statement {
            Stmt::For { var, extent, body } | Stmt::Strip { var, extent, body } => {
                self.repeat(*var, *extent, has_conditions(body), |w| w.block(body))
            }
            Stmt::If { condition, then, otherwise } => match self.values.get(condition) {
                Some(Scalar::Bool(true)) => self.block(then),
                Some(Scalar::Bool(false)) => self.block(otherwise),
                _ => self.block(then).max(self.block(otherwise)),
            },
            Stmt::Let { id, dtype, expr } => {
                match self.value(*dtype, expr) {
                    Some(value) => self.values.insert(*id, value),
                    None => self.values.remove(id),
                };
                u64::from(matches!(expr, Expr::Op(..)) && dtype.is_float())
            }
            Stmt::Accumulate { .. } => 1,
            Stmt::Tile(tile) => {
                let sizes = tile.reduce.iter().map(|l| l.extent).chain([tile.m, tile.n]);
                sizes.map(|size| size as u64).fold(2, u64::saturating_mul)
            }
            _ => 0,
        }
    }

    /// The value of an expression, if it follows from constants and loop variables.
    fn value(&self, dtype: DType, expr: &Expr) -> Option<Scalar> {
        match expr {
            Expr::Constant(scalar) => Some(*scalar),
            Expr::Index(index) => {
                let mut known = true;
                index.visit(&mut |atom| {
                    known &= match atom {
                        Atom::Var(var) => self.vars.contains_key(var),
                        Atom::Value(_) => false,
                        Atom::Div(..) | Atom::Rem(..) => true,
                    }
                });
                let at = |atom: &Atom| match atom {
                    Atom::Var(var) => self.vars[var],
                    _ => 0,
                };
                known.then(|| Scalar::from_i64(dtype, index.evaluate(&at)))
            }
            Expr::Op(op, operands) => {
                let operands: Option<Vec<Scalar>> =
                    operands.iter().map(|id| self.values.get(id).copied()).collect();
                operands.map(|operands| op.apply(&operands))
            }
            Expr::Load { .. } => None,
        }
    }
}

fn has_conditions(block: &[Stmt]) -> bool {
    block.iter().any(|statement| match statement {
        Stmt::If { .. } => true,
        Stmt::For { body, .. } | Stmt::Strip { body, .. } => has_conditions(body),
        _ => false,
    })
}
