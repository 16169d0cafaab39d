//! `rematerialise`: computes values again instead of keeping them, until the arena fits a limit.
//!
//! Without a limit nothing happens. Else, while the planned arena is larger: of the buffers that are alive at the worst
//! step but not touched there, one is given up between its last use before that step and the next use after it, in
//! front of which the calls that made it are made again, into a buffer of their own. What those calls read is still
//! there, or small and kept, or computed again too. The choice is greedy, by the least time per byte and step of the
//! life given up (the heuristic of Kirisame et al., "Dynamic tensor rematerialization", 2021), among those that leave
//! less alive at the worst step and nowhere more than was alive there before; so the search ends.
//!
//! It works on calls, behind everything that chooses and fuses kernels: the same kernels run on the same values, so
//! results keep their bits, and no later pass finds the copies equal and joins them. Calls inside loops and conditions
//! of the schedule are not made again. Exact. The cost is linear in the schedule for each buffer given up.

use brolga_ir::GraphError;
use brolga_ir::program::{Access, Buffer, BufferId, Call, Place, Program, Step};
use rustc_hash::FxHashMap;

use crate::facts::accesses::{leaves, touches};
use crate::facts::cost::nanoseconds;
use crate::facts::liveness::{InPlace, Lives, bytes, is_arena};
use crate::options::Options;
use crate::program::plan::arena_bytes;
use crate::rewrite::steps::rename;

/// Calls, at most, that are made again for one buffer.
const MOST_CALLS: usize = 24;
/// What is so many times smaller than the buffer given up is kept rather than computed again.
const SMALL: usize = 8;
/// Candidates that are tried at one step, at most.
const MOST_TRIALS: usize = 64;

/// Makes the arena fit `options.memory_limit`; whether anything changed.
pub fn rematerialise(program: &mut Program, options: &Options) -> Result<bool, GraphError> {
    let Some(limit) = options.memory_limit else { return Ok(false) };
    let mut changed = false;
    let mut least = usize::MAX;
    let mut known = Known::default();
    // Progress: what is given up lowers what is alive at most, or the number of steps at which that much is (`attempt`).
    loop {
        let profile = Profile::new(program, &mut known);
        // Planning is worth its time only where it can succeed.
        if profile.most <= limit {
            let arena = arena_bytes(program);
            least = least.min(arena);
            if arena <= limit {
                return Ok(changed);
            }
        }
        if !give_up_one(program, &profile, &mut known) {
            least = least.min(arena_bytes(program));
            return Err(GraphError {
                path: program.name.clone(),
                message: format!(
                    "the arena cannot be made to fit the memory limit of {limit} bytes: the smallest that \
                     recomputation reaches is {least} bytes; allow as much, or choose a smaller batch"
                ),
            });
        }
        changed = true;
    }
}

/// What is found out about kernels, which stay the same.
#[derive(Default)]
struct Known {
    in_place: InPlace,
    /// Nanoseconds of a call, by kernel.
    costs: FxHashMap<u32, u64>,
}

/// What is alive, step by step of the schedule.
struct Profile {
    most: usize,
    /// The first step at which the most is alive, and how many there are.
    worst: usize,
    count: usize,
}

impl Profile {
    fn new(program: &Program, known: &mut Known) -> Profile {
        let lives = Lives::with(program, &mut known.in_place);
        let steps = program.prepare.len() + program.schedule.len();
        let mut change = vec![0isize; steps + 1];
        for (_, bytes, (first, last)) in lives.blocks(program) {
            change[first] += bytes as isize;
            change[last + 1] -= bytes as isize;
        }
        let mut sum = 0;
        let all = change.iter().take(steps).map(|change| {
            sum += change;
            sum as usize
        });
        let alive: Vec<usize> = all.skip(program.prepare.len()).collect();
        let most = alive.iter().copied().max().unwrap_or(0);
        let worst = alive.iter().position(|&bytes| bytes == most).unwrap_or(0);
        let count = alive.iter().filter(|&&bytes| bytes == most).count();
        Profile { most, worst, count }
    }
}

/// A buffer that could be given up: how to make it again in front of the step that uses it next.
struct Candidate {
    buffer: BufferId,
    next: usize,
    calls: Vec<Call>,
    /// Buffers that the calls write, as positions from the number of buffers there are on.
    new: Vec<Buffer>,
    /// What stands for the buffer.
    copy: BufferId,
    /// Time per byte and step.
    score: f64,
}

/// Gives up the best buffer at the worst step; whether there was one.
fn give_up_one(program: &mut Program, profile: &Profile, known: &mut Known) -> bool {
    let uses = Uses::new(program);
    let worst = profile.worst;
    let mut candidates: Vec<Candidate> = Vec::new();
    for (id, touched) in uses.steps.iter().enumerate() {
        let buffer = BufferId(id as u32);
        let after = touched.partition_point(|touch| touch.step <= worst);
        let (Some(before), Some(next)) = (after.checked_sub(1).map(|at| touched[at]), touched.get(after))
        else {
            continue;
        };
        if before.step == worst || !is_arena(program, buffer) {
            continue;
        }
        let mut again = Again::new(program, &uses, buffer, worst, next.step);
        let Some(copy) = again.make(buffer, 0) else { continue };
        let time: u64 = again.calls.iter().map(|call| time_of(program, call, known)).sum();
        let gap = (next.step - before.step) as f64;
        let score = time.max(1) as f64 / (again.root as f64 * gap);
        let (calls, new) = (again.calls, again.new);
        candidates.push(Candidate { buffer, next: next.step, calls, new, copy, score });
    }
    candidates.sort_by(|a, b| a.score.total_cmp(&b.score).then(a.buffer.cmp(&b.buffer)));
    candidates.into_iter().take(MOST_TRIALS).any(|candidate| attempt(program, profile, candidate, known))
}

/// Gives a buffer up if less is alive at worst then.
fn attempt(program: &mut Program, profile: &Profile, candidate: Candidate, known: &mut Known) -> bool {
    let buffers = program.buffers.len();
    let before = program.schedule.clone();
    program.buffers.extend(candidate.new);
    let mut later = program.schedule.split_off(candidate.next);
    rename(&mut later, &|id| if id == candidate.buffer { candidate.copy } else { id });
    program.schedule.extend(candidate.calls.into_iter().map(Step::Call));
    program.schedule.append(&mut later);
    let now = Profile::new(program, known);
    let better = (now.most, now.count) < (profile.most, profile.count);
    if !better {
        program.schedule = before;
        program.buffers.truncate(buffers);
    }
    better
}

/// One step that touches a buffer.
#[derive(Clone, Copy)]
struct Touch {
    step: usize,
    written: bool,
}

/// The steps that touch each buffer, in order.
struct Uses {
    steps: Vec<Vec<Touch>>,
}

impl Uses {
    fn new(program: &Program) -> Uses {
        let mut steps: Vec<Vec<Touch>> = vec![Vec::new(); program.buffers.len()];
        for (step, leaf) in leaves(&program.schedule) {
            for arg in leaf.args() {
                let written = touches(program, leaf, arg.buffer).1;
                let touched = &mut steps[arg.buffer.0 as usize];
                match touched.last_mut() {
                    Some(last) if last.step == step => last.written |= written,
                    _ => touched.push(Touch { step, written }),
                }
            }
        }
        Uses { steps }
    }

    fn of(&self, id: BufferId) -> &[Touch] {
        &self.steps[id.0 as usize]
    }

    /// The steps before `end` that write a buffer.
    fn writers(&self, id: BufferId, end: usize) -> impl Iterator<Item = usize> + '_ {
        self.of(id).iter().filter(move |touch| touch.written && touch.step < end).map(|touch| touch.step)
    }
}

/// The calls that make a buffer again.
struct Again<'p> {
    program: &'p Program,
    uses: &'p Uses,
    worst: usize,
    /// The step in front of which they are made.
    next: usize,
    /// Bytes of the buffer that is given up.
    root: usize,
    calls: Vec<Call>,
    new: Vec<Buffer>,
    /// What has been made.
    made: FxHashMap<BufferId, BufferId>,
}

impl<'p> Again<'p> {
    fn new(program: &'p Program, uses: &'p Uses, buffer: BufferId, worst: usize, next: usize) -> Again<'p> {
        let (calls, new, made) = Default::default();
        Again { program, uses, worst, next, root: bytes(program, buffer), calls, new, made }
    }

    /// Scratch memory like that of a buffer.
    fn buffer(&mut self, like: BufferId) -> BufferId {
        let buffer = &self.program.buffers[like.0 as usize];
        self.new.push(Buffer { place: Place::Arena(None), ..buffer.clone() });
        BufferId((self.program.buffers.len() + self.new.len()) as u32 - 1)
    }

    /// Makes a buffer again, with what that needs; the buffer that it is then in.
    fn make(&mut self, id: BufferId, depth: usize) -> Option<BufferId> {
        if let Some(&made) = self.made.get(&id) {
            return Some(made);
        }
        let writers: Vec<usize> = self.uses.writers(id, self.next).collect();
        if writers.is_empty() || depth > MOST_CALLS || self.calls.len() + writers.len() > MOST_CALLS {
            return None;
        }
        let mut to = None;
        for &step in &writers {
            let again = self.call_again(step, id, &mut to, depth)?;
            if self.calls.len() == MOST_CALLS {
                return None;
            }
            self.calls.push(again);
        }
        self.made.extend(to.map(|to| (id, to)));
        to
    }

    /// The call of a step that writes `id`, with buffers that are there in front of the next use; `to` stands for `id`, once it
    /// is known.
    fn call_again(
        &mut self,
        step: usize,
        id: BufferId,
        to: &mut Option<BufferId>,
        depth: usize,
    ) -> Option<Call> {
        let Step::Call(call) = &self.program.schedule[step] else { return None };
        let kernel = &self.program.kernels[call.kernel.0 as usize];
        let mut names: FxHashMap<BufferId, BufferId> = FxHashMap::default();
        // What is read has to be there before anything of this call is written.
        for (arg, param) in call.args.iter().zip(kernel.arguments()) {
            if arg.buffer != id && param.access == Access::Read && !names.contains_key(&arg.buffer) {
                names.insert(arg.buffer, self.read(arg.buffer, step, depth)?);
            }
        }
        for (arg, param) in call.args.iter().zip(kernel.arguments()) {
            if param.access == Access::Read || names.contains_key(&arg.buffer) {
                continue;
            }
            if !is_arena(self.program, arg.buffer) {
                return None;
            }
            let place = if arg.buffer == id {
                *to.get_or_insert_with(|| self.buffer(id))
            } else {
                self.beside(arg.buffer, param.access, step)?
            };
            names.insert(arg.buffer, place);
        }
        names.extend(to.map(|to| (id, to)));
        let mut again = call.clone();
        again.args.iter_mut().for_each(|arg| arg.buffer = names[&arg.buffer]);
        Some(again)
    }

    /// Memory for what a call makes beside the buffer that it is made again for, or uses as a workspace: nothing that was there
    /// counts.
    fn beside(&mut self, id: BufferId, access: Access, step: usize) -> Option<BufferId> {
        let place = self.buffer(id);
        if access == Access::ReadWrite && self.uses.of(id)[0].step < step {
            return None;
        }
        if self.uses.writers(id, self.next).eq([step]) {
            self.made.entry(id).or_insert(place);
        }
        Some(place)
    }

    /// Where what a call at `step` read is found, or made, in front of the next use.
    fn read(&mut self, id: BufferId, step: usize, depth: usize) -> Option<BufferId> {
        if self.uses.writers(id, self.next).any(|writer| writer >= step) {
            return None;
        }
        let touched = self.uses.of(id);
        let kept = touched.last().is_some_and(|last| last.step > self.worst);
        if !is_arena(self.program, id) || kept || bytes(self.program, id) * SMALL <= self.root {
            return Some(id);
        }
        self.make(id, depth + 1)
    }
}

/// About how long a call takes, in nanoseconds.
fn time_of(program: &Program, call: &Call, known: &mut Known) -> u64 {
    *known.costs.entry(call.kernel.0).or_insert_with(|| nanoseconds(&program.kernels[call.kernel.0 as usize]))
}
