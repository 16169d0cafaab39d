//! When scratch buffers live, and how many bytes are alive at once: shared by the passes that order steps and that
//! place buffers.
//!
//! A buffer lives from the first step that touches it to the last; a loop or condition of the schedule is one step.
//! Steps of `prepare` come before those of the schedule.

use brolga_ir::program::footprint::in_place;
use brolga_ir::program::{BufferId, KernelId, Place, Program, Step};
use rustc_hash::FxHashMap;

use crate::facts::accesses::{leaves, touches};

/// Alignment of buffers, in bytes: a cache line, and the widest vector.
pub(crate) const ALIGN: usize = 64;

/// The first and last step of a life.
pub(crate) type Life = (usize, usize);

/// The bytes that a buffer takes.
pub(crate) fn bytes(program: &Program, id: BufferId) -> usize {
    program.buffers[id.0 as usize].ty.bytes().next_multiple_of(ALIGN)
}

pub(crate) fn is_arena(program: &Program, id: BufferId) -> bool {
    matches!(program.buffers[id.0 as usize].place, Place::Arena(_))
}

/// Which parameters of kernels may lie on top of each other ([`in_place`]), found once for each.
#[derive(Default)]
pub(crate) struct InPlace(FxHashMap<(KernelId, usize, usize), bool>);

/// The lives of scratch buffers, those that share memory as one.
pub(crate) struct Lives {
    /// The life of a buffer, or of all that share with it.
    life: Vec<Option<Life>>,
    /// The buffer whose memory it has: itself, unless it is written in place of another.
    leader: Vec<BufferId>,
}

impl Lives {
    /// Finds the lives. A kernel that reads a buffer for the last time, element by element where it writes another of
    /// the same size, writes it in place: both share memory.
    pub fn new(program: &Program) -> Lives {
        Lives::with(program, &mut InPlace::default())
    }

    /// As [`Lives::new`], for programs with the same kernels one after the other.
    pub fn with(program: &Program, known: &mut InPlace) -> Lives {
        let mut life: Vec<Option<Life>> = vec![None; program.buffers.len()];
        let shift = program.prepare.len();
        let schedule = leaves(&program.schedule).into_iter().map(|(at, step)| (at + shift, step));
        for (at, step) in leaves(&program.prepare).into_iter().chain(schedule) {
            for arg in step.args().iter().filter(|arg| is_arena(program, arg.buffer)) {
                life[arg.buffer.0 as usize].get_or_insert((at, at)).1 = at;
            }
        }
        let leader = (0..life.len() as u32).map(BufferId).collect();
        let mut lives = Lives { life, leader };
        lives.share(program, known);
        lives
    }

    /// The buffer whose memory this one has.
    pub fn leader(&self, id: BufferId) -> BufferId {
        self.leader[id.0 as usize]
    }

    /// Every buffer with memory of its own, with its bytes and its life.
    pub fn blocks<'a>(&'a self, program: &'a Program) -> impl Iterator<Item = (BufferId, usize, Life)> + 'a {
        let ids = (0..self.life.len() as u32).map(BufferId);
        ids.filter(|&id| self.leader(id) == id)
            .filter_map(|id| Some((id, bytes(program, id), self.life[id.0 as usize]?)))
    }

    fn of(&self, id: BufferId) -> Life {
        self.life[id.0 as usize].expect("a buffer of a step lives")
    }

    fn share(&mut self, program: &Program, known: &mut InPlace) {
        let shift = program.prepare.len();
        for (at, step) in program.schedule.iter().enumerate() {
            let Step::Call(call) = step else { continue };
            let at = at + shift;
            let kernel = &program.kernels[call.kernel.0 as usize];
            for (write, out) in call.args.iter().enumerate() {
                let starts = is_arena(program, out.buffer)
                    && self.of(out.buffer).0 == at
                    && touches(program, step, out.buffer) == (false, true)
                    && self.leader(out.buffer) == out.buffer;
                if !starts || out.offset != 0 {
                    continue;
                }
                let element = |id: BufferId| program.buffers[id.0 as usize].ty.dtype;
                let chosen = call.args.iter().enumerate().find(|&(read, arg)| {
                    if !is_arena(program, arg.buffer) {
                        return false;
                    }
                    let head = self.leader(arg.buffer);
                    // What the call writes itself is no place to write to, read again or not.
                    kernel.params[read].access == brolga_ir::program::Access::Read
                        && arg.buffer != out.buffer
                        && arg.offset == 0
                        && self.of(head).1 == at
                        && bytes(program, head) == bytes(program, out.buffer)
                        && element(head) == element(out.buffer)
                        && call.args.iter().filter(|a| self.leader(a.buffer) == head).count() == 1
                        && *(known.0.entry((call.kernel, read, write)))
                            .or_insert_with(|| in_place(kernel, read, write))
                });
                if let Some((_, arg)) = chosen {
                    let head = self.leader(arg.buffer);
                    let end = self.of(out.buffer).1;
                    self.life[head.0 as usize].as_mut().expect("a leader lives").1 = end;
                    self.leader[out.buffer.0 as usize] = head;
                }
            }
        }
    }
}

/// The most bytes that are alive at any step, each buffer rounded up to the alignment: no arena can be smaller while
/// the steps keep their order.
pub fn live_bytes(program: &Program) -> usize {
    live_bytes_with(program, &mut InPlace::default())
}

/// As [`live_bytes`], for programs with the same kernels one after the other.
pub(crate) fn live_bytes_with(program: &Program, known: &mut InPlace) -> usize {
    let lives = Lives::with(program, known);
    largest(
        program.prepare.len() + program.schedule.len(),
        lives.blocks(program).map(|(_, b, life)| (b, life)),
    )
}

/// The largest sum of the bytes that are alive at one of so many steps.
pub(crate) fn largest(steps: usize, blocks: impl Iterator<Item = (usize, Life)>) -> usize {
    alive(steps, blocks).into_iter().max().unwrap_or(0)
}

/// The bytes alive during each step, and behind the last.
pub(crate) fn alive(steps: usize, blocks: impl Iterator<Item = (usize, Life)>) -> Vec<usize> {
    let (mut starts, mut ends) = (vec![0; steps + 1], vec![0; steps + 1]);
    for (bytes, (first, last)) in blocks {
        starts[first] += bytes;
        ends[last + 1] += bytes;
    }
    let mut alive = 0;
    let alive = starts.iter().zip(&ends).map(|(start, end)| {
        alive = alive + start - end;
        alive
    });
    alive.collect()
}
