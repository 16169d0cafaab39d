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
//! Linear in the schedule, but for the few repetitions.

use brolga_ir::program::{BufferId, Program, Step};

use crate::accesses::{leaves, touches};
use crate::liveness::{InPlace, bytes, is_arena, live_bytes_with};

/// Steps, at most, that are looked at together: a gradient of weights may come in many parts.
const LONGEST_CHAIN: usize = 64;

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
    /// Whether a chain of steps may need more memory on its way than was needed so far.
    may_raise: bool,
    alive: i64,
    most: i64,
    /// The steps of the chain that is looked at, and how often it touches each buffer; empty in between.
    member: Vec<bool>,
    touched: Vec<usize>,
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
            touched: vec![0; buffers],
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
                        let chain = self.pays(at).unwrap_or_default();
                        chain.into_iter().for_each(|step| self.step(step, &mut run, &mut look));
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
        let mut chain = Chain::default();
        self.join(at, &mut chain);
        let found = self.grow(&mut chain);
        for &step in &chain.steps {
            self.member[step] = false;
            self.steps.nodes[step].buffers.iter().for_each(|buffer| self.touched[buffer.0 as usize] = 0);
        }
        found.map(|length| {
            chain.steps.truncate(length);
            chain.steps
        })
    }

    /// Adds a step to a chain.
    fn join(&mut self, at: usize, chain: &mut Chain) {
        self.member[at] = true;
        chain.steps.push(at);
        chain.next.extend(self.steps.nodes[at].next.iter().take(MOST_USERS).map(|&next| (next, at)));
    }

    /// Grows a chain until it pays; how many of its steps do.
    fn grow(&mut self, chain: &mut Chain) -> Option<usize> {
        let mut looked = 0;
        let mut sum = 0;
        // Progress: every round adds steps to the chain, which has `LONGEST_CHAIN` at most.
        loop {
            while looked < chain.steps.len() {
                let at = chain.steps[looked];
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
            let mut missing = Vec::new();
            let member = &self.member;
            let found = chain.next.iter_mut().filter(|(next, _)| !member[*next]).find_map(|(next, held)| {
                // As long as what held it back is not in the chain, it is held back.
                if !member[*held] {
                    return None;
                }
                missing.clear();
                for &step in &self.steps.nodes[*next].before {
                    if !self.done[step] && !member[step] {
                        missing.push(step);
                        if self.waits[step] > 0 {
                            *held = step;
                            return None;
                        }
                    }
                }
                (chain.steps.len() + missing.len() < LONGEST_CHAIN).then_some(*next)
            });
            missing.push(found?);
            missing.into_iter().for_each(|step| self.join(step, chain));
        }
    }

    /// The bytes that a step allocates, and those that it frees, behind the chain that is looked at.
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

/// Steps that are looked at together.
#[derive(Default)]
struct Chain {
    steps: Vec<usize>,
    /// What stays behind them, each with a step that it was last held back by: at first, one of the chain.
    next: Vec<(usize, usize)>,
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
