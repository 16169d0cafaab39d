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

use std::collections::{HashMap, HashSet};

use brolga_ir::program::{BufferId, Program, Step};

use crate::accesses::{leaves, touches};
use crate::liveness::{bytes, is_arena, live_bytes};

/// Steps, at most, that are looked at together: a gradient of weights may come in many parts.
const LONGEST_CHAIN: usize = 64;

/// Orders the schedule; whether anything moved.
pub fn order(program: &mut Program) -> bool {
    let mut changed = false;
    let mut least = live_bytes(program);
    loop {
        let mut better = None;
        for may_raise in [false, true] {
            let sequence = Orderer::new(program, may_raise).run();
            let steps = sequence.iter().map(|&at| program.schedule[at].clone()).collect();
            let before = std::mem::replace(&mut program.schedule, steps);
            let live = live_bytes(program);
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

/// Users of a buffer, at most, that are looked at when one of them has run: learning rates have thousands, and are small.
const MOST_USERS: usize = 256;

/// What is known of one step.
struct Node {
    /// Steps that it stays behind.
    before: Vec<usize>,
    /// Steps that stay behind it.
    next: Vec<usize>,
    /// How many it waits for.
    waits: usize,
    /// The scratch buffers that it touches.
    buffers: Vec<BufferId>,
}

struct Orderer {
    nodes: Vec<Node>,
    /// Bytes of each buffer.
    bytes: Vec<i64>,
    /// How many steps have yet to touch each buffer.
    left: Vec<usize>,
    /// Whether a step has touched it.
    begun: Vec<bool>,
    /// The steps that touch it.
    users: Vec<Vec<usize>>,
    done: Vec<bool>,
    /// Whether a chain of steps may need more memory on its way than was needed so far.
    may_raise: bool,
    alive: i64,
    most: i64,
}

impl Orderer {
    fn new(program: &Program, may_raise: bool) -> Orderer {
        let count = program.buffers.len();
        let steps = &program.schedule;
        let mut nodes: Vec<Node> = steps
            .iter()
            .map(|_| Node { before: Vec::new(), next: Vec::new(), waits: 0, buffers: Vec::new() })
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
            nodes[at].waits = before.len();
            before.iter().for_each(|&other| nodes[other].next.push(at));
            nodes[at].before = before;
        }
        Orderer {
            done: vec![false; nodes.len()],
            bytes: (0..count as u32).map(|id| bytes(program, BufferId(id)) as i64).collect(),
            left: users.iter().map(Vec::len).collect(),
            begun: vec![false; count],
            nodes,
            users,
            may_raise,
            alive: 0,
            most: 0,
        }
    }

    /// The order of the steps.
    fn run(&mut self) -> Vec<usize> {
        let mut sequence = Vec::with_capacity(self.nodes.len());
        // Steps that may have come to pay.
        let mut look: Vec<usize> = (0..self.nodes.len()).filter(|&at| self.nodes[at].waits == 0).collect();
        for turn in 0..self.nodes.len() {
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
        let (up, down) = self.change(at, &HashMap::new());
        self.most = self.most.max(self.alive + up);
        self.alive += up - down;
        self.done[at] = true;
        sequence.push(at);
        for position in 0..self.nodes[at].buffers.len() {
            let id = self.nodes[at].buffers[position].0 as usize;
            self.begun[id] = true;
            self.left[id] -= 1;
            if self.users[id].len() <= MOST_USERS {
                look.extend(self.users[id].iter().filter(|&&u| !self.done[u] && self.nodes[u].waits == 0));
            }
        }
        for position in 0..self.nodes[at].next.len() {
            let next = self.nodes[at].next[position];
            self.nodes[next].waits -= 1;
            if self.nodes[next].waits == 0 {
                look.push(next);
            }
        }
    }

    /// The steps to run now, from a ready one on, if they free as much as they allocate: it alone, or with those that
    /// wait for it and for what is ready besides.
    fn pays(&self, at: usize) -> Option<Vec<usize>> {
        let mut chain = vec![at];
        let mut member: HashSet<usize> = HashSet::from([at]);
        let mut touched: HashMap<BufferId, usize> = HashMap::new();
        let mut looked = 0;
        let mut sum = 0;
        loop {
            while looked < chain.len() {
                let (up, down) = self.change(chain[looked], &touched);
                if !self.may_raise && self.alive + sum + up > self.most {
                    return None;
                }
                self.nodes[chain[looked]].buffers.iter().for_each(|&id| *touched.entry(id).or_default() += 1);
                sum += up - down;
                looked += 1;
                if sum <= 0 {
                    chain.truncate(looked);
                    return Some(chain);
                }
            }
            let followers = chain.iter().flat_map(|&step| &self.nodes[step].next);
            let missing = followers.filter(|next| !member.contains(next)).find_map(|&next| {
                let before = self.nodes[next].before.iter();
                let missing = before.copied().filter(|step| !self.done[*step] && !member.contains(step));
                let mut missing: Vec<usize> = missing.take(LONGEST_CHAIN).collect();
                let ready = missing.iter().all(|&step| self.nodes[step].waits == 0);
                missing.push(next);
                (ready && chain.len() + missing.len() <= LONGEST_CHAIN).then_some(missing)
            });
            match missing {
                Some(missing) => {
                    member.extend(&missing);
                    chain.extend(missing);
                }
                None => return None,
            }
        }
    }

    /// The bytes that a step allocates, and those that it frees, where others have touched buffers so many times.
    fn change(&self, at: usize, touched: &HashMap<BufferId, usize>) -> (i64, i64) {
        let (mut up, mut down) = (0, 0);
        for buffer in &self.nodes[at].buffers {
            let id = buffer.0 as usize;
            let touched = touched.get(buffer).copied().unwrap_or(0);
            up += if self.begun[id] || touched > 0 { 0 } else { self.bytes[id] };
            down += if self.left[id] == touched + 1 { self.bytes[id] } else { 0 };
        }
        (up, down)
    }
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
