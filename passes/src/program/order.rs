//! `order`: runs steps as soon as that frees memory.
//!
//! Lowering leaves the steps in the order in which the graph's outputs need them: the gradient of the first layer, and
//! with it the whole way back through the network, before the gradient of the second, so that what the others need
//! lives until the end. This pass goes through the steps in their order, but runs one that is ready before its turn
//! where it frees at least as many bytes as it allocates, alone or together with what only waits for it: an update
//! as soon as its gradient is there, a gradient as soon as its activation is not needed otherwise. If less is alive at
//! the worst step then, the new order stays; again, until nothing is gained. Loops and conditions of the schedule
//! move as a whole.
//!
//! A step stays behind those that write what it reads, and behind those that read or write what it writes. Exact.
//! Linear in the schedule, but for the few repetitions, and what is told again of a step that waits for many when they have
//! run in another order than they stand in.

use std::collections::BTreeSet;

use brolga_ir::program::{BufferId, Program, Step};
use rustc_hash::FxHashMap;

use crate::facts::accesses::{leaves, touches};
use crate::facts::liveness::{InPlace, bytes, is_arena, live_bytes_with};

/// Steps, at most, that are looked at together: a gradient of weights may come in many parts.
const LONGEST_TRAIL: usize = 64;

/// Orders the schedule; whether anything moved.
pub fn order(program: &mut Program) -> bool {
    let mut changed = false;
    let mut known = InPlace::default();
    let mut least = live_bytes_with(program, &mut known);
    // Progress: every round but the last lowers the number of bytes alive at once.
    loop {
        let mut better = None;
        let steps = Steps::new(program);
        for may_raise in [false, true] {
            let sequence = Orderer::new(&steps, may_raise).run();
            let schedule = sequence.iter().map(|&at| program.schedule[at].clone()).collect();
            let before = std::mem::replace(&mut program.schedule, schedule);
            let live = live_bytes_with(program, &mut known);
            let after = std::mem::replace(&mut program.schedule, before);
            if live < least {
                (least, better) = (live, Some(after));
            }
        }
        match better {
            Some(schedule) => program.schedule = schedule,
            None => return changed,
        }
        changed = true;
    }
}

/// Users of a buffer, and steps behind a step, at most, that are looked at when it has run: learning rates have
/// thousands, and are small.
const MOST_USERS: usize = 256;

/// What is known of one step.
struct Node {
    /// Steps that it stays behind.
    before: Vec<usize>,
    /// Steps that stay behind it.
    next: Vec<usize>,
    /// The scratch buffers that it touches.
    buffers: Vec<BufferId>,
}

/// What is known of a schedule.
struct Steps {
    nodes: Vec<Node>,
    /// Bytes of each buffer.
    bytes: Vec<i64>,
    /// The steps that touch each buffer.
    users: Vec<Vec<usize>>,
}

impl Steps {
    fn new(program: &Program) -> Steps {
        let count = program.buffers.len();
        let steps = &program.schedule;
        let mut nodes: Vec<Node> = steps
            .iter()
            .map(|_| Node { before: Vec::new(), next: Vec::new(), buffers: Vec::new() })
            .collect();
        let mut users: Vec<Vec<usize>> = vec![Vec::new(); count];
        // Of each buffer, the last step that wrote it, and those that read it since.
        let mut writer: Vec<Option<usize>> = vec![None; count];
        let mut readers: Vec<Vec<usize>> = vec![Vec::new(); count];
        for (at, step) in steps.iter().enumerate() {
            let mut before: Vec<usize> = Vec::new();
            for (buffer, written) in accesses(program, step) {
                let id = buffer.0 as usize;
                before.extend(writer[id]);
                if written {
                    before.append(&mut readers[id]);
                    writer[id] = Some(at);
                } else {
                    readers[id].push(at);
                }
                if is_arena(program, buffer) {
                    users[id].push(at);
                    nodes[at].buffers.push(buffer);
                }
            }
            before.sort_unstable();
            before.dedup();
            before.retain(|&other| other != at);
            before.iter().for_each(|&other| nodes[other].next.push(at));
            nodes[at].before = before;
        }
        Steps {
            nodes,
            bytes: (0..count as u32).map(|id| bytes(program, BufferId(id)) as i64).collect(),
            users,
        }
    }
}

struct Orderer<'s> {
    steps: &'s Steps,
    /// How many steps each step waits for.
    waits: Vec<usize>,
    /// How many steps have yet to touch each buffer.
    left: Vec<usize>,
    /// Whether a step has touched it.
    begun: Vec<bool>,
    done: Vec<bool>,
    /// Whether a trail of steps may need more memory on its way than was needed so far.
    may_raise: bool,
    alive: i64,
    most: i64,
    /// The steps of the trail that is looked at, those behind them, and how often it touches each buffer; empty in between.
    member: Vec<bool>,
    behind: Vec<bool>,
    touched: Vec<usize>,
    /// For each step, how many of those that it stays behind are known to be done, from the first on.
    passed: Vec<usize>,
    /// For each step, one that held it back: as long as that waits itself, nothing else need be looked at. At first, itself.
    holder: Vec<usize>,
    /// How often a step was looked at: a measure of the work.
    looked: usize,
}

/// Whether a step can follow a trail.
enum Follows {
    /// With what it lacks besides.
    Yes(Vec<usize>),
    /// Not before that step is in the trail.
    Behind(usize),
    /// It would become too long.
    Never,
}

impl<'s> Orderer<'s> {
    fn new(steps: &'s Steps, may_raise: bool) -> Orderer<'s> {
        let (count, buffers) = (steps.nodes.len(), steps.users.len());
        Orderer {
            steps,
            waits: steps.nodes.iter().map(|node| node.before.len()).collect(),
            left: steps.users.iter().map(Vec::len).collect(),
            begun: vec![false; buffers],
            done: vec![false; count],
            may_raise,
            alive: 0,
            most: 0,
            member: vec![false; count],
            behind: vec![false; count],
            touched: vec![0; buffers],
            passed: vec![0; count],
            holder: (0..count).collect(),
            looked: 0,
        }
    }

    /// The order of the steps.
    fn run(&mut self) -> Vec<usize> {
        let count = self.steps.nodes.len();
        let mut sequence = Vec::with_capacity(count);
        // Steps that may have come to pay.
        let mut look: Vec<usize> = (0..count).filter(|&at| self.waits[at] == 0).collect();
        for turn in 0..count {
            // Progress: only a step that runs, each once, has others looked at.
            while !look.is_empty() {
                look.sort_unstable();
                look.dedup();
                let mut run = Vec::new();
                for at in std::mem::take(&mut look) {
                    if !self.done[at] {
                        let trail = self.pays(at).unwrap_or_default();
                        trail.into_iter().for_each(|step| self.step(step, &mut run, &mut look));
                    }
                }
                sequence.extend(run);
            }
            if !self.done[turn] {
                self.step(turn, &mut sequence, &mut look);
            }
        }
        sequence
    }

    /// Runs a step, and notes those that it may have made worth running.
    fn step(&mut self, at: usize, sequence: &mut Vec<usize>, look: &mut Vec<usize>) {
        let (up, down) = self.change(at);
        self.most = self.most.max(self.alive + up);
        self.alive += up - down;
        self.done[at] = true;
        sequence.push(at);
        let node = &self.steps.nodes[at];
        for buffer in &node.buffers {
            let id = buffer.0 as usize;
            self.begun[id] = true;
            self.left[id] -= 1;
            let users = &self.steps.users[id];
            if users.len() <= MOST_USERS {
                look.extend(users.iter().filter(|&&user| !self.done[user] && self.waits[user] == 0));
            }
        }
        for &next in &node.next {
            self.waits[next] -= 1;
            if self.waits[next] == 0 {
                look.push(next);
            }
        }
    }

    /// The steps to run now, from a ready one on, if they free as much as they allocate: it alone, or with those that
    /// wait for it and for what is ready besides.
    fn pays(&mut self, at: usize) -> Option<Vec<usize>> {
        let mut trail = Trail::default();
        self.join(at, &mut trail);
        let found = self.grow(&mut trail);
        trail.next.iter().for_each(|&next| self.behind[next] = false);
        for &step in &trail.steps {
            self.member[step] = false;
            self.steps.nodes[step].buffers.iter().for_each(|buffer| self.touched[buffer.0 as usize] = 0);
        }
        found.map(|length| {
            trail.steps.truncate(length);
            trail.steps
        })
    }

    /// Adds a step to a trail.
    fn join(&mut self, at: usize, trail: &mut Trail) {
        self.member[at] = true;
        trail.steps.push(at);
        trail.open.extend(trail.held.remove(&at).unwrap_or_default());
        for &next in self.steps.nodes[at].next.iter().take(MOST_USERS) {
            if !std::mem::replace(&mut self.behind[next], true) {
                trail.open.insert(trail.next.len());
                trail.next.push(next);
            }
        }
    }

    /// Grows a trail until it pays; how many of its steps do.
    fn grow(&mut self, trail: &mut Trail) -> Option<usize> {
        let mut looked = 0;
        let mut sum = 0;
        // Progress: every round adds steps to the trail, which has `LONGEST_TRAIL` at most.
        loop {
            while looked < trail.steps.len() {
                let at = trail.steps[looked];
                let (up, down) = self.change(at);
                if !self.may_raise && self.alive + sum + up > self.most {
                    return None;
                }
                self.steps.nodes[at].buffers.iter().for_each(|buffer| self.touched[buffer.0 as usize] += 1);
                sum += up - down;
                looked += 1;
                if sum <= 0 {
                    return Some(looked);
                }
            }
            let missing = self.follower(trail)?;
            missing.into_iter().for_each(|step| self.join(step, trail));
        }
    }

    /// The first step behind a trail that can follow it, after what it lacks.
    fn follower(&mut self, trail: &mut Trail) -> Option<Vec<usize>> {
        // Progress: what is taken from the list comes back only when another step has joined.
        while let Some(place) = trail.open.pop_first() {
            let next = trail.next[place];
            if self.member[next] {
                continue;
            }
            match self.follows(next, trail.steps.len()) {
                Follows::Yes(mut missing) => {
                    missing.push(next);
                    return Some(missing);
                }
                Follows::Behind(step) => trail.held.entry(step).or_default().push(place),
                Follows::Never => {}
            }
        }
        None
    }

    /// Whether a step can follow a trail of so many.
    fn follows(&mut self, next: usize, length: usize) -> Follows {
        let holds = |step: usize| !self.done[step] && !self.member[step] && self.waits[step] > 0;
        let holder = self.holder[next];
        self.looked += 1;
        if holder != next && holds(holder) {
            return Follows::Behind(holder);
        }
        let before = &self.steps.nodes[next].before;
        let done = before[self.passed[next]..].iter().take_while(|&&step| self.done[step]).count();
        self.passed[next] += done;
        self.looked += done;
        let mut missing = Vec::new();
        for &step in &before[self.passed[next]..] {
            self.looked += 1;
            if self.done[step] || self.member[step] {
                continue;
            }
            if self.waits[step] > 0 {
                self.holder[next] = step;
                return Follows::Behind(step);
            }
            missing.push(step);
            if length + missing.len() >= LONGEST_TRAIL {
                return Follows::Never;
            }
        }
        if length < LONGEST_TRAIL { Follows::Yes(missing) } else { Follows::Never }
    }

    /// The bytes that a step allocates, and those that it frees, behind the trail that is looked at.
    fn change(&self, at: usize) -> (i64, i64) {
        let (mut up, mut down) = (0, 0);
        for buffer in &self.steps.nodes[at].buffers {
            let id = buffer.0 as usize;
            let touched = self.touched[id];
            up += if self.begun[id] || touched > 0 { 0 } else { self.steps.bytes[id] };
            down += if self.left[id] == touched + 1 { self.steps.bytes[id] } else { 0 };
        }
        (up, down)
    }
}

/// Steps that are looked at together, one behind the other.
#[derive(Default)]
struct Trail {
    steps: Vec<usize>,
    /// What stays behind them, each once, in the order in which it was found.
    next: Vec<usize>,
    /// Which of these, by position, may be able to follow.
    open: BTreeSet<usize>,
    /// The others, by a step that holds them back.
    held: FxHashMap<usize, Vec<usize>>,
}

/// The buffers that a step touches, inside it too: each once, and whether it is written.
fn accesses(program: &Program, step: &Step) -> Vec<(BufferId, bool)> {
    let mut found: Vec<(BufferId, bool)> = Vec::new();
    for (_, leaf) in leaves(std::slice::from_ref(step)) {
        for arg in leaf.args() {
            found.push((arg.buffer, touches(program, leaf, arg.buffer).1));
        }
    }
    found.sort_unstable();
    // Of a buffer read and written, what is kept says that it is written.
    found.reverse();
    found.dedup_by_key(|(buffer, _)| *buffer);
    found.reverse();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The way through `n` steps and back, each of which keeps 64 bytes for the way back, and an update behind all of them:
    /// that of a weight that all of them read.
    fn there_and_back(n: usize) -> Steps {
        let mut before: Vec<Vec<usize>> =
            (0..n).map(|at| (at > 0).then(|| at - 1).into_iter().collect()).collect();
        before.extend((0..n).map(|at| if at == 0 { vec![n - 1] } else { vec![n - 1 - at, n + at - 1] }));
        before.push((0..2 * n).collect());
        let mut next: Vec<Vec<usize>> = vec![Vec::new(); 2 * n + 1];
        for (at, before) in before.iter().enumerate() {
            before.iter().for_each(|&other| next[other].push(at));
        }
        let buffer = |at: usize| BufferId(if at < n { at } else { 2 * n - 1 - at } as u32);
        let buffers = |at: usize| if at < 2 * n { vec![buffer(at)] } else { Vec::new() };
        let nodes = before.into_iter().zip(next).enumerate();
        Steps {
            nodes: nodes.map(|(at, (before, next))| Node { before, next, buffers: buffers(at) }).collect(),
            bytes: vec![64; n],
            users: (0..n).map(|at| vec![at, 2 * n - 1 - at]).collect(),
        }
    }

    #[test]
    fn a_step_behind_all_others_is_no_more_work_for_each() {
        let looked = |n: usize| {
            let steps = there_and_back(n);
            let mut orderer = Orderer::new(&steps, true);
            assert_eq!(orderer.run(), (0..=2 * n).collect::<Vec<usize>>(), "there is no other order");
            orderer.looked
        };
        let (few, many) = (looked(200), looked(1600));
        assert!(many <= 10 * few, "{few} steps looked at for 200, {many} for 1600");
    }
}
