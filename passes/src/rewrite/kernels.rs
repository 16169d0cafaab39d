//! Kernels without what nothing needs of them, and equal ones as one, found among thousands by a number for what a kernel does.

use brolga_ir::index::Atom;
use brolga_ir::program::walk::{walk, walk_mut};
use brolga_ir::program::{Call, Expr, Kernel, KernelId, Program, Step, Stmt, ValueId};
use rustc_hash::{FxHashMap, FxHashSet};

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

/// Removes values that nothing uses: what was moved out of a loop that turned out to be empty. Uses follow
/// assignments, so one walk from the end finds them all.
pub(crate) fn prune(block: &mut Vec<Stmt>, used: &mut FxHashSet<ValueId>) {
    let mut kept = Vec::with_capacity(block.len());
    while let Some(mut statement) = block.pop() {
        let keep = match &mut statement {
            Stmt::For { body, .. } | Stmt::Strip { body, .. } => {
                prune(body, used);
                !body.is_empty()
            }
            Stmt::If { condition, then, otherwise } => {
                prune(then, used);
                prune(otherwise, used);
                used.insert(*condition);
                true
            }
            Stmt::Let { id, .. } if !used.contains(id) => false,
            Stmt::Let { expr: Expr::Op(_, operands), .. } => {
                used.extend(operands.iter().copied());
                true
            }
            Stmt::Let { expr: Expr::Load { guard, .. }, .. } => {
                used.extend(*guard);
                true
            }
            Stmt::Store { value, .. } | Stmt::Accumulate { value, .. } => {
                used.insert(*value);
                true
            }
            _ => true,
        };
        if keep {
            let mut computed = |atom: &Atom| {
                if let Atom::Value(value) = atom {
                    used.insert(ValueId(*value));
                }
            };
            statement.indices().for_each(|index| index.visit(&mut computed));
            kept.push(statement);
        }
    }
    kept.reverse();
    *block = kept;
}
