//! Steps of a schedule with other buffers or other kernels.

use brolga_ir::program::{BufferId, KernelId, Step};

/// Renames the buffers of every step.
pub(crate) fn rename(steps: &mut [Step], name: &dyn Fn(BufferId) -> BufferId) {
    for step in steps {
        step.args_mut().iter_mut().for_each(|arg| arg.buffer = name(arg.buffer));
        step.bodies_mut().into_iter().for_each(|body| rename(body, name));
    }
}

/// Renames the kernels of every call.
pub(crate) fn renumber(steps: &mut [Step], kernels: &[KernelId]) {
    for step in steps {
        if let Step::Call(call) = step {
            call.kernel = kernels[call.kernel.0 as usize];
        }
        step.bodies_mut().into_iter().for_each(|body| renumber(body, kernels));
    }
}
