//! Whether a call, and a run, have enough to do for several threads. It changes no bit: parts of a grid are independent.
//!
//! Whoever makes code asks here, so that it weighs nothing itself. How large parts are, and how many, is decided before, by the
//! pass that makes grids.

use super::{Kernel, Program, Step, Stmt};

/// Estimated cycles below which a call is not worth handing out to threads.
const CALL: u64 = 20_000;
/// Estimated cycles of such calls below which a run is not worth waking threads.
const RUN: u64 = 100_000;

/// Whether the parts of a kernel are handed out to threads.
pub fn call_pays(kernel: &Kernel) -> bool {
    kernel.parts() > 1 && cycles(kernel) >= CALL
}

/// Whether a run has enough to hand out.
pub fn run_pays(program: &Program) -> bool {
    fn total(program: &Program, steps: &[Step]) -> u64 {
        let of = |step: &Step| match step {
            Step::Call(call) => {
                let kernel = &program.kernels[call.kernel.0 as usize];
                if call_pays(kernel) { cycles(kernel) } else { 0 }
            }
            Step::Loop { extent, body } => total(program, body).saturating_mul(*extent as u64),
            Step::Break { .. } => 0,
            Step::If { then, otherwise, .. } => total(program, then).max(total(program, otherwise)),
        };
        steps.iter().map(of).fold(0, u64::saturating_add)
    }
    total(program, &program.schedule) >= RUN
}

/// Cycles of one call, estimated: one for each statement, a quarter of one for each element of a strip, an eighth for each
/// multiply-add of a tile.
fn cycles(kernel: &Kernel) -> u64 {
    fn of(statement: &Stmt) -> u64 {
        match statement {
            Stmt::For { extent, body, .. } => (*extent as u64).saturating_mul(block(body)),
            Stmt::Strip { extent, body, .. } => (*extent as u64).saturating_mul(block(body)) / 4,
            Stmt::If { then, otherwise, .. } => block(then).max(block(otherwise)),
            Stmt::Tile(tile) => {
                let reduce = tile.reduce.iter().map(|l| l.extent as u64).fold(1, u64::saturating_mul);
                (tile.m as u64).saturating_mul(tile.n as u64).saturating_mul(reduce) / 8
            }
            _ => 1,
        }
    }
    fn block(body: &[Stmt]) -> u64 {
        body.iter().map(of).fold(0, u64::saturating_add)
    }
    (kernel.parts() as u64).saturating_mul(block(&kernel.body))
}
