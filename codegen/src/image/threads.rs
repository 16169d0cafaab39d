//! Which calls are handed out to threads. Changes no bit: parts of a grid are independent.
//!
//! This is the one place where code generation weighs what a kernel costs; the program does not say it.

use brolga_ir::program::{Kernel, Program, Step, Stmt};

/// Estimated cycles below which a call is not worth handing out to threads.
const CALL_PAYS: u64 = 20_000;
/// Estimated cycles of such calls below which a run is not worth waking threads.
const RUN_PAYS: u64 = 100_000;

/// Whether the parts of a kernel are handed out to threads. Does not change bits.
pub(super) fn is_parallel(kernel: &Kernel) -> bool {
    kernel.parts() > 1 && kernel_cost(kernel) >= CALL_PAYS
}

/// Whether a run has enough to hand out.
pub(super) fn pays_for_threads(program: &Program) -> bool {
    fn total(program: &Program, steps: &[Step]) -> u64 {
        let cost = |step: &Step| match step {
            Step::Call(call) => {
                let kernel = &program.kernels[call.kernel.0 as usize];
                if is_parallel(kernel) { kernel_cost(kernel) } else { 0 }
            }
            Step::Loop { extent, body } => total(program, body).saturating_mul(*extent as u64),
            Step::Break { .. } => 0,
            Step::If { then, otherwise, .. } => total(program, then).max(total(program, otherwise)),
        };
        steps.iter().map(cost).fold(0, u64::saturating_add)
    }
    total(program, &program.schedule) >= RUN_PAYS
}

/// Cycles of one call, estimated.
fn kernel_cost(kernel: &Kernel) -> u64 {
    (kernel.parts() as u64).saturating_mul(block_cost(&kernel.body))
}

fn block_cost(body: &[Stmt]) -> u64 {
    body.iter().map(cost).fold(0, u64::saturating_add)
}

fn cost(stmt: &Stmt) -> u64 {
    match stmt {
        Stmt::For { extent, body, .. } => (*extent as u64).saturating_mul(block_cost(body)),
        // Several lanes at once.
        Stmt::Strip { extent, body, .. } => (*extent as u64).saturating_mul(block_cost(body)) / 4,
        Stmt::If { then, otherwise, .. } => block_cost(then).max(block_cost(otherwise)),
        Stmt::Tile(tile) => {
            let reduce = tile.reduce.iter().map(|l| l.extent as u64).fold(1, u64::saturating_mul);
            (tile.m as u64).saturating_mul(tile.n as u64).saturating_mul(reduce) / 8
        }
        _ => 1,
    }
}
