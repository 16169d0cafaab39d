//! The schedule taken apart into its calls and conditions, and put together again.

use std::collections::HashSet;

use brolga_ir::program::{BufferId, Call, Step};
use rustc_hash::{FxHashMap, FxHashSet};

/// A call or condition of the schedule.
pub(super) struct Leaf {
    /// Positions of the steps it is in, and for conditions the branch.
    pub(super) path: Vec<usize>,
    /// Extents of the loops around.
    pub(super) loops: Vec<usize>,
    /// Nothing for conditions.
    pub(super) call: Option<Call>,
    /// Statements of its kernel that are not needed any more.
    pub(super) removed: FxHashSet<usize>,
    /// The arguments of the call, by the buffer that they lie in now.
    pub(super) lying: FxHashMap<BufferId, Vec<usize>>,
}

/// Takes steps apart.
pub(super) struct Walk {
    pub(super) leaves: Vec<Leaf>,
    pub(super) fixed: HashSet<BufferId>,
    pub(super) path: Vec<usize>,
    pub(super) loops: Vec<usize>,
}

impl Walk {
    pub(super) fn steps(&mut self, steps: &[Step]) {
        for (position, step) in steps.iter().enumerate() {
            self.path.push(position);
            if !step.args().is_empty() || matches!(step, Step::Call(_)) {
                let call = match step {
                    Step::Call(call) => Some(call.clone()),
                    _ => {
                        self.fixed.extend(step.args().iter().map(|arg| arg.buffer));
                        None
                    }
                };
                let mut lying: FxHashMap<BufferId, Vec<usize>> = FxHashMap::default();
                for (position, arg) in call.iter().flat_map(|call: &Call| &call.args).enumerate() {
                    lying.entry(arg.buffer).or_default().push(position);
                }
                let (path, loops) = (self.path.clone(), self.loops.clone());
                self.leaves.push(Leaf { path, loops, call, removed: FxHashSet::default(), lying });
            }
            if let Step::Loop { extent, .. } = step {
                self.loops.push(*extent);
            }
            for (branch, body) in step.bodies().into_iter().enumerate() {
                self.path.push(branch);
                self.steps(body);
                self.path.pop();
            }
            if let Step::Loop { .. } = step {
                self.loops.pop();
            }
            self.path.pop();
        }
    }
}

/// Puts calls back where they were, in the order in which [`Walk`] met them.
pub(super) fn put_back(steps: &mut Vec<Step>, calls: &mut impl Iterator<Item = Option<Call>>) {
    let old = std::mem::take(steps);
    for mut step in old {
        if !step.args().is_empty() || matches!(step, Step::Call(_)) {
            let call = calls.next().flatten();
            match (&mut step, call) {
                (Step::Call(old), Some(call)) => *old = call,
                (Step::Call(_), None) => continue,
                _ => {}
            }
        }
        step.bodies_mut().into_iter().for_each(|body| put_back(body, calls));
        steps.push(step);
    }
}
