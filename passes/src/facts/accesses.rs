//! What kernels do with their parameters, and steps with buffers.

use brolga_ir::index::{Atom, Index, Var};
use brolga_ir::program::{Access, BufferId, Expr, Kernel, Program, Step, Stmt};
use rustc_hash::FxHashMap;

/// The calls and conditions of a schedule in order, those in loops once, each with the position of the outermost
/// step it is in.
pub(crate) fn leaves(steps: &[Step]) -> Vec<(usize, &Step)> {
    fn inside<'a>(position: usize, step: &'a Step, found: &mut Vec<(usize, &'a Step)>) {
        if !step.args().is_empty() {
            found.push((position, step));
        }
        step.bodies().into_iter().flatten().for_each(|step| inside(position, step, found));
    }
    let mut found = Vec::new();
    for (position, step) in steps.iter().enumerate() {
        inside(position, step, &mut found);
    }
    found
}

/// Whether a call or condition reads or writes a buffer.
pub(crate) fn touches(program: &Program, step: &Step, buffer: BufferId) -> (bool, bool) {
    let Step::Call(call) = step else {
        return (step.args().iter().any(|arg| arg.buffer == buffer), false);
    };
    let kernel = &program.kernels[call.kernel.0 as usize];
    let mut touched = (false, false);
    for (arg, param) in call.args.iter().zip(kernel.arguments()) {
        if arg.buffer == buffer {
            touched.0 |= param.access != Access::Write;
            touched.1 |= param.access != Access::Read;
        }
    }
    touched
}

/// Whether a kernel does nothing but copy its first parameter to its second, every element to its own place, once. What it
/// is called says nothing: index maps that move elements (a transpose, a reversal) make kernels of the same name.
pub(crate) fn is_copy(kernel: &Kernel) -> bool {
    let [from, to] = kernel.params.as_slice() else { return false };
    if (from.dtype, from.len) != (to.dtype, to.len)
        || (from.access, to.access) != (Access::Read, Access::Write)
    {
        return false;
    }
    let mut extents: FxHashMap<Var, usize> = (0..).zip(kernel.grid.iter().copied()).collect();
    let mut block = kernel.body.as_slice();
    while let [Stmt::For { var, extent, body } | Stmt::Strip { var, extent, body }] = block {
        extents.insert(*var, *extent);
        block = body;
    }
    let [
        Stmt::Let { id, expr: Expr::Load { param: 0, index: read, guard: None }, .. },
        Stmt::Store { param: 1, index: written, value },
    ] = block
    else {
        return false;
    };
    value == id && read == written && covers(read, &extents, from.len)
}

/// Whether an index takes every value below `len` once, while its variables run through their extents: they are the
/// digits of a number.
fn covers(index: &Index, extents: &FxHashMap<Var, usize>, len: usize) -> bool {
    let mut digits: Vec<(i64, usize)> = extents
        .iter()
        .filter(|&(_, &extent)| extent != 1)
        .map(|(&var, &extent)| (index.coefficient(var), extent))
        .collect();
    digits.sort_unstable();
    let variables = |(atom, _): &(Atom, i64)| matches!(atom, Atom::Var(_));
    let mut covered = 1;
    let dense = digits.iter().all(|&(step, extent)| {
        let next = step == covered as i64;
        covered *= extent;
        next
    });
    dense && covered == len && index.offset() == 0 && index.terms().iter().all(variables)
}
