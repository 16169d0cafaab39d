//! What a kernel costs, counted from its statements; and what one point of a tile's sum does.

use super::walk::walk;
use super::{Expr, Kernel, Param, Stmt, TileLoop, ValueId};
use crate::index::{Atom, Index, Var};
use crate::scalar::Scalar;
use crate::types::DType;
use rustc_hash::FxHashMap;

/// Iterations of a loop that are gone through one by one, at most, to know which of its conditions hold.
const MOST_ITERATIONS: usize = 4096;

/// The floating-point operations of one call of a kernel: two for each multiply-add of a tile, one for each other
/// operation. Conditions on loop variables (borders of images) are evaluated; of others the larger side counts.
pub fn flops(kernel: &Kernel) -> u64 {
    Work::default().grid(0, &kernel.grid, &kernel.body)
}

/// The bytes that one call of a kernel touches, those of every argument once: elements addressed by different values
/// of loop variables are taken to be different, up to the parameter's length.
pub fn bytes(kernel: &Kernel) -> u64 {
    let mut touched = vec![0; kernel.params.len()];
    let loops = kernel.grid.iter().enumerate().map(|(var, &extent)| (var as Var, extent as u64)).collect();
    touch(&kernel.body, &mut { loops }, &mut touched);
    let of = |(touched, param): (&u64, &Param)| (*touched).min(param.len as u64) * param.dtype.size() as u64;
    touched.iter().zip(kernel.arguments()).map(of).fold(0, u64::saturating_add)
}

/// The statements that one call of a kernel executes, at most: a tile counts for its multiply-adds, of a condition the longer
/// side. A measure of how work grows that sees integers and conditions too.
pub fn statements(kernel: &Kernel) -> u64 {
    fn executed(block: &[Stmt]) -> u64 {
        let of = |statement: &Stmt| match statement {
            Stmt::For { extent, body, .. } | Stmt::Strip { extent, body, .. } => {
                executed(body).saturating_mul(*extent as u64)
            }
            Stmt::If { then, otherwise, .. } => 1 + executed(then).max(executed(otherwise)),
            Stmt::Tile(tile) => {
                let sizes = tile.reduce.iter().map(|l| l.extent).chain([tile.m, tile.n]);
                sizes.map(|size| size as u64).fold(1, u64::saturating_mul)
            }
            _ => 1,
        };
        block.iter().map(of).fold(0, u64::saturating_add)
    }
    kernel.grid.iter().map(|&extent| extent as u64).fold(executed(&kernel.body), u64::saturating_mul)
}

/// Half cycles of one point of a tile's sum, for so many rows of so many vectors whose sums are in registers: what takes longest of
/// its multiply-adds, of which two begin in a cycle; of its loads, two a cycle, one for each row and one for each vector; and of the
/// four cycles from one multiply-add of a chain to the next. Six rows of two vectors take 12 half cycles, for 12 multiply-adds;
/// six rows of one vector take 8, for no chain goes faster.
///
/// Passes choose by it what tiles there are, code generation how registers are given to one.
pub fn point(rows: usize, vectors: usize) -> usize {
    /// Half cycles of a multiply-add's latency.
    const LATENCY: usize = 8;
    (rows * vectors).max(rows + vectors).max(LATENCY)
}

/// Adds what statements touch, in elements of each parameter. `loops` are those around, with their extents.
fn touch(body: &[Stmt], loops: &mut Vec<(Var, u64)>, touched: &mut [u64]) {
    let points = |index: &Index, loops: &[(Var, u64)]| {
        let mut computed = false;
        index.visit(&mut |atom| computed |= matches!(atom, Atom::Value(_)));
        let moving = loops.iter().filter(|(var, _)| computed || index.mentions(*var));
        moving.fold(1u64, |count, (_, extent)| count.saturating_mul(*extent))
    };
    for statement in body {
        match statement {
            Stmt::For { var, extent, body } | Stmt::Strip { var, extent, body } => {
                loops.push((*var, *extent as u64));
                touch(body, loops, touched);
                loops.pop();
            }
            Stmt::If { then, otherwise, .. } => {
                touch(then, loops, touched);
                touch(otherwise, loops, touched);
            }
            Stmt::Let { expr: Expr::Load { param, index, .. }, .. } | Stmt::Store { param, index, .. } => {
                touched[*param] = touched[*param].saturating_add(points(index, loops));
            }
            Stmt::Tile(tile) => {
                let (m, n) = (tile.m as u64, tile.n as u64);
                let reduce = |stride: fn(&TileLoop) -> i64| {
                    let moving = tile.reduce.iter().filter(move |l| stride(l) != 0);
                    moving.fold(1u64, |count, l| count.saturating_mul(l.extent as u64))
                };
                for (panel, block) in
                    [(&tile.a, m * reduce(|l| l.a)), (&tile.b, n * reduce(|l| l.b)), (&tile.c, m * n)]
                {
                    let all = points(&panel.index, loops).saturating_mul(block);
                    touched[panel.param] = touched[panel.param].saturating_add(all);
                }
            }
            _ => {}
        }
    }
}

#[derive(Default)]
struct Work {
    vars: FxHashMap<Var, i64>,
    values: FxHashMap<ValueId, Scalar>,
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
    walk(block).any(|statement| matches!(statement, Stmt::If { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::Program;

    #[test]
    fn counts_operations_and_bytes() {
        let program = Program::parse(
            r#"
program @p
  %0 input "x" f32[8, 16]
  %1 input "w" f32[16, 4]
  %2 output "y" f32[8, 4]
kernel @k(p0: read f32[128], p1: read f32[64], p2: write f32[32]) grid [2] {
  tile [4, 4] p2[16*i0; 4] = p0[64*i0; 16] * p1[0] over (16; 1, 4) : f32
}
kernel @first(p0: read f32[128], p1: write f32[32]) grid [4] {
  strip i1 in 0..8 {
    v0 = load p0[i1] : f32
    v1 = mul v0, v0 : f32
    store p1[8*i0 + i1] = v1
  }
}
schedule {
  call @k#0(%0, %1, %2)
}
"#,
        )
        .unwrap();
        let [product, first] = &program.kernels[..] else { panic!("two kernels") };
        assert_eq!((flops(product), bytes(product)), (2 * 8 * 4 * 16, 4 * (128 + 64 + 32)));
        // The grid's points all read the same 8 elements.
        assert_eq!((flops(first), bytes(first)), (32, 4 * (8 + 32)));
        assert_eq!((statements(product), statements(first)), (8 * 4 * 16, 4 * 8 * 3));
    }
}
