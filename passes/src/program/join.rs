//! `join`: kernels of which one goes on with what the other has just written, point by point, become one.
//!
//! The mean of a row, its variance, the normalised row, and what the next product wants of it are kernels of their own,
//! because each starts with what the one before ends with. All of them are loops over the same rows, and iteration `i` of
//! one needs nothing of the others but what their iterations `i` write. Run as one loop they are one call, which threads
//! share once, and what is between them stays in a cache: memory that nobody else touches becomes local.
//!
//! Where one loop has a multiple of the iterations of the other, several of its iterations go with one. What has tiles is
//! left alone: a product writes all rows before the columns of any are complete. Exact, and linear in the
//! schedule but for few repetitions.

mod joined;
mod nest;

use brolga_ir::program::{Arg, BufferId, Call, KernelId, Program, Step};
use rustc_hash::FxHashMap;

use crate::facts::accesses::leaves;
use crate::facts::liveness::is_arena;
use crate::options::Options;
use crate::rewrite::kernels::drop_unused_kernels;
use joined::{Joined, Seam, joined};

/// Joins calls that follow each other; whether there were any.
pub fn join(program: &mut Program, options: &Options) -> bool {
    let mut uses = vec![0; program.buffers.len()];
    for (_, step) in leaves(&program.prepare).into_iter().chain(leaves(&program.schedule)) {
        buffers(step.args()).iter().for_each(|buffer| uses[buffer.0 as usize] += 1);
    }
    let mut schedule = std::mem::take(&mut program.schedule);
    let mut joiner = Joiner { program, least: options.least_part.max(1), uses, known: FxHashMap::default() };
    let mut changed = false;
    // Progress: every round but the last makes one call of two.
    while joiner.steps(&mut schedule) {
        changed = true;
    }
    program.schedule = schedule;
    if changed {
        drop_unused_kernels(program);
    }
    changed
}

/// The buffers of arguments, each once.
fn buffers(args: &[Arg]) -> Vec<BufferId> {
    let mut buffers: Vec<BufferId> = args.iter().map(|arg| arg.buffer).collect();
    buffers.sort_unstable();
    buffers.dedup();
    buffers
}

struct Joiner<'p> {
    program: &'p mut Program,
    /// The work of a part worth having.
    least: u64,
    /// How many calls and conditions touch each buffer.
    uses: Vec<usize>,
    /// What two kernels become.
    known: FxHashMap<(KernelId, KernelId, Seam), Option<Joined<KernelId>>>,
}

impl Joiner<'_> {
    /// Joins each call with the one before it, if that can be.
    fn steps(&mut self, steps: &mut Vec<Step>) -> bool {
        let mut changed = false;
        let mut all: Vec<Step> = Vec::with_capacity(steps.len());
        for mut step in std::mem::take(steps) {
            for body in step.bodies_mut() {
                changed |= self.steps(body);
            }
            if let (Some(Step::Call(first)), Step::Call(second)) = (all.last(), &step)
                && let Some(call) = self.call(first, second)
            {
                all.pop();
                step = Step::Call(call);
                changed = true;
            }
            all.push(step);
        }
        *steps = all;
        changed
    }

    /// How two calls can be joined, if each buffer that both touch is one argument of either, and the same one; and these buffers.
    fn seam(&self, first: &Call, second: &Call) -> Option<(Seam, Vec<BufferId>)> {
        let shared: Vec<BufferId> = buffers(&second.args)
            .into_iter()
            .filter(|&buffer| first.args.iter().any(|arg| arg.buffer == buffer))
            .collect();
        let once =
            |args: &[Arg], buffer: BufferId| args.iter().filter(|arg| arg.buffer == buffer).count() == 1;
        let each_once = |&buffer: &BufferId| once(&first.args, buffer) && once(&second.args, buffer);
        if shared.is_empty() || !shared.iter().all(each_once) {
            return None;
        }
        let mut same = Vec::with_capacity(second.args.len());
        for arg in &second.args {
            let at = first.args.iter().position(|known| known.buffer == arg.buffer);
            if at.is_some_and(|at| first.args[at] != *arg) {
                return None;
            }
            same.push(at);
        }
        let alone = |arg: &Arg| {
            let whole = arg.offset == 0 && arg.strides.is_empty() && is_arena(self.program, arg.buffer);
            whole && shared.contains(&arg.buffer) && self.uses[arg.buffer.0 as usize] == 2
        };
        let seam = Seam { same, alone: first.args.iter().map(alone).collect() };
        Some((seam, shared))
    }

    /// Two calls as one.
    fn call(&mut self, first: &Call, second: &Call) -> Option<Call> {
        let (seam, shared) = self.seam(first, second)?;
        let key = (first.kernel, second.kernel, seam);
        if !self.known.contains_key(&key) {
            let [one, other] = [first, second].map(|call| &self.program.kernels[call.kernel.0 as usize]);
            let joined = joined(one, other, &key.2, self.least).map(|Joined { kernel, kept, added }| {
                self.program.kernels.push(kernel);
                Joined { kernel: KernelId(self.program.kernels.len() as u32 - 1), kept, added }
            });
            self.known.insert(key.clone(), joined);
        }
        let Joined { kernel, kept, added } = self.known[&key].as_ref()?;
        shared.iter().for_each(|buffer| self.uses[buffer.0 as usize] -= 1);
        let of = |args: &[Arg], kept: &[bool]| -> Vec<Arg> {
            args.iter().zip(kept).filter(|(_, kept)| **kept).map(|(arg, _)| arg.clone()).collect()
        };
        let args = [of(&first.args, kept), of(&second.args, added)].concat();
        Some(Call { kernel: *kernel, args, parallel: false, origin: first.origin.clone() })
    }
}
