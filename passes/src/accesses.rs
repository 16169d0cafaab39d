//! What kernels do with their parameters, and steps with buffers: shared by the passes that move memory about.

use brolga_ir::index::Index;
use brolga_ir::program::walk::{walk, walk_mut};
use brolga_ir::program::{Access, BufferId, Call, Expr, Kernel, KernelId, Program, Step, Stmt};

/// Whether a kernel may run with `write` lying on top of `read`: every element of `read` is loaded only at the index
/// where `write` is stored, in the same innermost iteration, before it.
pub(crate) fn in_place(kernel: &Kernel, read: usize, write: usize) -> bool {
    let mut found = InPlace { read, write, index: None, stored: false, fits: true };
    found.block(&kernel.body);
    found.fits
}

struct InPlace {
    read: usize,
    write: usize,
    index: Option<Index>,
    stored: bool,
    fits: bool,
}

impl InPlace {
    fn same(&mut self, index: &Index) {
        match &self.index {
            Some(known) => self.fits &= known == index,
            None => self.index = Some(index.clone()),
        }
    }

    fn block(&mut self, block: &[Stmt]) {
        for statement in walk(block) {
            match statement {
                Stmt::Let { expr: Expr::Load { param, index, .. }, .. } if *param == self.read => {
                    self.same(index);
                    self.fits &= !self.stored;
                }
                Stmt::Let { expr: Expr::Load { param, .. }, .. } if *param == self.write => self.fits = false,
                Stmt::Store { param, index, .. } if *param == self.write => {
                    self.same(index);
                    self.fits &= !self.stored;
                    self.stored = true;
                }
                Stmt::Store { param, .. } if *param == self.read => self.fits = false,
                Stmt::Tile(tile) => {
                    let params = [tile.a.param, tile.b.param, tile.c.param];
                    self.fits &= !params.contains(&self.read) && !params.contains(&self.write);
                }
                _ => {}
            }
        }
    }
}

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

/// Renames the buffers of every step.
pub(crate) fn rename(steps: &mut [Step], name: &dyn Fn(BufferId) -> BufferId) {
    for step in steps {
        step.args_mut().iter_mut().for_each(|arg| arg.buffer = name(arg.buffer));
        step.bodies_mut().into_iter().for_each(|body| rename(body, name));
    }
}

/// Drops the parameters that a kernel does not touch; the positions of those that are left.
pub(crate) fn keep_used(kernel: &mut Kernel) -> Vec<usize> {
    let mut used: Vec<usize> = walk(&kernel.body).flat_map(Stmt::accesses).map(|access| access.0).collect();
    used.sort_unstable();
    used.dedup();
    let place = |param: usize| used.partition_point(|&known| known < param);
    walk_mut(&mut kernel.body, &mut |stmt| stmt.params_mut().for_each(|param| *param = place(*param)));
    kernel.params = used.iter().map(|&param| kernel.params[param].clone()).collect();
    used
}

/// Drops kernels that nothing calls.
pub(crate) fn drop_unused_kernels(program: &mut Program) {
    fn calls<'a>(steps: &'a mut [Step], found: &mut Vec<&'a mut Call>) {
        for step in steps {
            match step {
                Step::Call(call) => found.push(call),
                Step::Loop { body, .. } => calls(body, found),
                Step::If { then, otherwise, .. } => {
                    calls(then, found);
                    calls(otherwise, found);
                }
                Step::Break { .. } => {}
            }
        }
    }
    let mut found = Vec::new();
    calls(&mut program.prepare, &mut found);
    calls(&mut program.schedule, &mut found);
    let mut used = vec![false; program.kernels.len()];
    found.iter().for_each(|call| used[call.kernel.0 as usize] = true);
    let mut names = Vec::with_capacity(used.len());
    let mut next = 0;
    for &used in &used {
        names.push(KernelId(next));
        next += u32::from(used);
    }
    found.into_iter().for_each(|call| call.kernel = names[call.kernel.0 as usize]);
    let mut kept = used.iter();
    program.kernels.retain(|_| *kept.next().expect("one for each kernel"));
}
