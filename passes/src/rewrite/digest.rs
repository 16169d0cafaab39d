//! Equal kernels among thousands: found by a number for what a kernel does.

use brolga_ir::program::{Kernel, KernelId};
use rustc_hash::FxHashMap;

/// The kernels of a program, by their digest.
#[derive(Default)]
pub(crate) struct Kernels(FxHashMap<u64, Vec<KernelId>>);

impl Kernels {
    /// Those that are there.
    pub fn new(kernels: &[Kernel]) -> Kernels {
        let mut known = Kernels::default();
        for (id, kernel) in (0..).map(KernelId).zip(kernels) {
            known.0.entry(kernel.digest()).or_default().push(id);
        }
        known
    }

    /// The number of a kernel among those that this was made of, and all that it has added; it is added if there is no equal one.
    pub fn number(&mut self, kernels: &mut Vec<Kernel>, kernel: Kernel) -> KernelId {
        let alike = self.0.entry(kernel.digest()).or_default();
        let equal = alike.iter().copied().find(|id| kernels[id.0 as usize] == kernel);
        equal.unwrap_or_else(|| {
            let id = KernelId(kernels.len() as u32);
            kernels.push(kernel);
            alike.push(id);
            id
        })
    }
}
