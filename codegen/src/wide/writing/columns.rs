//! Strips that run several iterations of a loop around them: unroll and jam.
//!
//! A copy that transposes has one column of a matrix in its strip, and the next one in the next iteration of a loop around it.
//! Four neighbouring columns cost hardly more than one of them (`neighbouring_columns.rs`), so the strip runs several iterations of the loop.
//!
//! This is the one place where code generation changes the order in which iterations run, so it is the one that asks whether they
//! may. What is chosen, and why the program does not say it: [`COLUMN_ROUND`].

use brolga_ir::index::{Atom, Index, Var};
use brolga_ir::program::{Access, Expr, Kernel, Param, Stmt};

use super::writer::{ColumnLoop, Writer};
use crate::limits::{COLUMN_ROUND, COLUMN_STATEMENTS};
use crate::wide::types::lane_code::TOGETHER;

impl Writer<'_, '_> {
    /// A loop over columns, whose strips run several iterations at a time.
    pub fn columns(&mut self, var: Var, extent: usize, body: &[Stmt]) -> Option<()> {
        let (rounds, rest) = (extent / COLUMN_ROUND, extent % COLUMN_ROUND);
        if rounds > 0 {
            // No loop of the kernel has it.
            let round = Var::MAX - self.lanes.loops.len() as Var;
            self.extents.insert(round, rounds);
            let first = Index::var(round).scale(COLUMN_ROUND as i64);
            self.counted(round, rounds, |writer| {
                writer.columns = Some(ColumnLoop { var, first, count: COLUMN_ROUND });
                writer.block(body)
            })?;
        }
        if rest > 0 {
            let first = Index::constant((rounds * COLUMN_ROUND) as i64);
            self.columns = Some(ColumnLoop { var, first, count: rest });
            self.block(body)?;
        }
        self.columns = None;
        Some(())
    }
}

/// Whether the iterations of a loop around one strip are columns of what the strip loads, and may run in any order with
/// those of the strip and of loops between them: what is stored is not loaded, and each element is stored once.
pub(crate) fn are_columns(kernel: &Kernel, var: Var, extent: usize, body: &[Stmt]) -> bool {
    let Some(StripNest { loops, body }) = around_strip(var, extent, body) else { return false };
    if extent < TOGETHER || body.len() > COLUMN_STATEMENTS {
        return false;
    }
    let strip = loops[loops.len() - 1].0;
    let is_column = |param: &Param, index: &Index| {
        param.dtype.size() == 4
            && !index.is_nonlinear_in(var)
            && !index.is_nonlinear_in(strip)
            && index.coefficient(var).abs() == 1
            && index.coefficient(strip).abs() > 1
    };
    let (mut found, mut stored) = (false, Vec::new());
    for stmt in body {
        match stmt {
            Stmt::Let { expr: Expr::Load { param, index, guard }, .. } => {
                let param = &kernel.params[*param];
                if param.access != Access::Read {
                    return false;
                }
                found |= guard.is_none() && is_column(param, index);
            }
            Stmt::Let { .. } => {}
            Stmt::Store { param: number, index, .. } => {
                let param = &kernel.params[*number];
                let once = param.access != Access::Read && !stored.contains(number);
                if !once || !is_injective(index, &loops) {
                    return false;
                }
                stored.push(*number);
                found |= is_column(param, index);
            }
            _ => return false,
        }
    }
    found
}

/// Loops around one strip, and nothing else: each with its iterations, the strip last; and what the strip does.
struct StripNest<'a> {
    loops: Vec<(Var, usize)>,
    body: &'a [Stmt],
}

/// A loop and those inside of it down to a strip; `None` where one of them has something else beside the next.
fn around_strip(var: Var, extent: usize, mut body: &[Stmt]) -> Option<StripNest<'_>> {
    let mut loops = vec![(var, extent)];
    loop {
        match body {
            [Stmt::For { var, extent, body: inside }] => {
                loops.push((*var, *extent));
                body = inside;
            }
            [Stmt::Strip { var, extent, body }] => {
                loops.push((*var, *extent));
                return Some(StripNest { loops, body });
            }
            _ => return None,
        }
    }
}

/// Whether no two iterations of the loops give an index the same value: as digits of a number do, each variable moves it
/// further than all that move it less.
fn is_injective(index: &Index, loops: &[(Var, usize)]) -> bool {
    let mut linear = true;
    index.visit(&mut |atom| linear &= matches!(atom, Atom::Var(_)));
    let mut digits: Vec<(u64, usize)> =
        loops.iter().map(|&(var, extent)| (index.coefficient(var).unsigned_abs(), extent)).collect();
    digits.sort_unstable();
    let mut reach = 0u64;
    linear
        && digits.into_iter().filter(|digit| digit.1 > 1).all(|(step, extent)| {
            let further = step > reach;
            reach = reach.saturating_add(step.saturating_mul(extent as u64 - 1));
            further
        })
}
