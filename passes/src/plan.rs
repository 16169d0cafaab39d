//! `plan`: gives every scratch buffer its place in the arena.
//!
//! A buffer lives from the first step that touches it to the last (a loop or condition of the schedule counts as one step). A kernel
//! that reads a buffer for the last time, element by element where it writes another of the same size, writes it in
//! place: both become one. Then buffers are placed in descending size, each at the lowest offset that is free for
//! its whole life (greedy by size: Pisarchyk & Lee, "Efficient memory management for deep neural net inference",
//! 2020). Prepared buffers are laid out one after the other. Exact.

use std::collections::HashMap;

use brolga_ir::program::{Access, BufferId, Place, Program, Step};

use crate::accesses::{in_place, leaves, rename, touches};

/// Alignment of buffers, in bytes: a cache line, and the widest vector.
const ALIGN: usize = 64;

/// The first and last step of a life.
type Life = (usize, usize);

/// Plans the arena; whether anything moved.
pub fn plan(program: &mut Program) -> bool {
    let mut changed = drop_unused(program);
    let mut lives = lives(program);
    let leader = share(program, &mut lives);
    let mut blocks: Vec<(BufferId, usize, Life)> = lives
        .iter()
        .filter(|(id, _)| leader.get(id).is_none_or(|l| l == *id))
        .map(|(&id, &life)| (id, bytes(program, id), life))
        .collect();
    blocks.sort_by_key(|&(id, bytes, life)| (std::cmp::Reverse(bytes), life, id));
    let mut placed: Vec<(usize, usize, Life)> = Vec::new();
    let mut offsets: HashMap<BufferId, usize> = HashMap::new();
    let mut end = 0;
    for (id, bytes, life) in blocks {
        let offset = lowest(&placed, bytes, life);
        // Kept sorted by offset, as `lowest` wants it.
        let at = placed.partition_point(|&(o, ..)| o <= offset);
        placed.insert(at, (offset, bytes, life));
        offsets.insert(id, offset);
        end = end.max(offset + bytes);
    }
    let mut prepared = 0;
    for (position, buffer) in program.buffers.iter_mut().enumerate() {
        let id = BufferId(position as u32);
        let size = buffer.ty.bytes().next_multiple_of(ALIGN);
        let (place, planned) = match &mut buffer.place {
            Place::Arena(place) => (place, Some(offsets[leader.get(&id).unwrap_or(&id)])),
            Place::Prepared(place) => {
                prepared += size;
                (place, Some(prepared - size))
            }
            _ => continue,
        };
        changed |= *place != planned;
        *place = planned;
    }
    program.arena_bytes = end;
    program.prepared_bytes = prepared;
    changed
}

/// Removes scratch buffers that no call touches; whether there were any.
fn drop_unused(program: &mut Program) -> bool {
    let mut used = vec![false; program.buffers.len()];
    for (_, step) in leaves(&program.prepare).into_iter().chain(leaves(&program.schedule)) {
        step.args().iter().for_each(|arg| used[arg.buffer.0 as usize] = true);
    }
    let mut names = Vec::with_capacity(used.len());
    let mut next = 0;
    for (position, used) in used.iter().enumerate() {
        let keep = *used || !matches!(program.buffers[position].place, Place::Arena(_));
        names.push(keep.then_some(BufferId(next)));
        next += u32::from(keep);
    }
    let mut position = 0;
    program.buffers.retain(|_| {
        position += 1;
        names[position - 1].is_some()
    });
    let name = |id: BufferId| names[id.0 as usize].expect("a buffer of a step is used");
    rename(&mut program.prepare, &name);
    rename(&mut program.schedule, &name);
    names.contains(&None)
}

fn bytes(program: &Program, id: BufferId) -> usize {
    program.buffers[id.0 as usize].ty.bytes().next_multiple_of(ALIGN)
}

fn element(program: &Program, id: BufferId) -> brolga_ir::DType {
    program.buffers[id.0 as usize].ty.dtype
}

fn is_arena(program: &Program, id: BufferId) -> bool {
    matches!(program.buffers[id.0 as usize].place, Place::Arena(_))
}

/// The life of every scratch buffer; steps of `prepare` come before those of the schedule.
fn lives(program: &Program) -> HashMap<BufferId, Life> {
    let mut lives: HashMap<BufferId, Life> = HashMap::new();
    let shift = program.prepare.len();
    let schedule = leaves(&program.schedule).into_iter().map(|(at, step)| (at + shift, step));
    for (at, step) in leaves(&program.prepare).into_iter().chain(schedule) {
        for arg in step.args().iter().filter(|arg| is_arena(program, arg.buffer)) {
            let life = lives.entry(arg.buffer).or_insert((at, at));
            life.1 = at;
        }
    }
    lives
}

/// Joins buffers that a kernel may read and write in place; the leader of every joined buffer.
fn share(program: &Program, lives: &mut HashMap<BufferId, Life>) -> HashMap<BufferId, BufferId> {
    let mut leader: HashMap<BufferId, BufferId> = HashMap::new();
    let shift = program.prepare.len();
    for (at, step) in program.schedule.iter().enumerate() {
        let Step::Call(call) = step else { continue };
        let at = at + shift;
        let kernel = &program.kernels[call.kernel.0 as usize];
        for (write, out) in call.args.iter().enumerate() {
            let starts = is_arena(program, out.buffer)
                && lives[&out.buffer].0 == at
                && touches(program, step, out.buffer) == (false, true)
                && !leader.contains_key(&out.buffer);
            if !starts || out.offset != 0 {
                continue;
            }
            let chosen = call.args.iter().enumerate().find(|&(read, arg)| {
                let head = *leader.get(&arg.buffer).unwrap_or(&arg.buffer);
                // What the call writes itself is no place to write to, read again or not.
                is_arena(program, arg.buffer)
                    && kernel.params[read].access == Access::Read
                    && arg.buffer != out.buffer
                    && arg.offset == 0
                    && lives[&head].1 == at
                    && bytes(program, head) == bytes(program, out.buffer)
                    && element(program, head) == element(program, out.buffer)
                    && call
                        .args
                        .iter()
                        .filter(|a| *leader.get(&a.buffer).unwrap_or(&a.buffer) == head)
                        .count()
                        == 1
                    && in_place(kernel, read, write)
            });
            if let Some((_, arg)) = chosen {
                let head = *leader.get(&arg.buffer).unwrap_or(&arg.buffer);
                let end = lives[&out.buffer].1;
                lives.get_mut(&head).expect("a leader lives").1 = end;
                leader.insert(out.buffer, head);
            }
        }
    }
    leader
}

/// The lowest offset at which `bytes` are free during `life`, among blocks sorted by offset.
fn lowest(placed: &[(usize, usize, Life)], bytes: usize, life: Life) -> usize {
    let mut offset = 0;
    for &(start, size, (first, last)) in placed {
        if first <= life.1 && life.0 <= last {
            if start >= offset + bytes {
                break;
            }
            offset = offset.max(start + size);
        }
    }
    offset
}
