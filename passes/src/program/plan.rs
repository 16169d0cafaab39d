//! `plan`: gives every scratch buffer its place in the arena.
//!
//! A buffer lives from the first step that touches it to the last (a loop or condition of the schedule counts as one
//! step). A kernel that reads a buffer for the last time, element by element where it writes another of the same
//! size, writes it in place: both become one. Then buffers are placed one after the other, each at the lowest offset,
//! or in the smallest gap, that is free for its whole life. Several orders are tried until one needs no more than what
//! is alive at once: by size (Pisarchyk & Lee, "Efficient memory management for deep neural net inference", 2020), by
//! size times length of life, by length of life, by first step, by what is alive at the fullest step of the life (their
//! "greedy by breadth"); the smallest arena stays, the first of equals.
//! Prepared buffers are laid out one after the other. Exact. Placing a buffer takes about logarithmic time
//! (`occupied.rs`).

use std::cmp::Reverse;

use brolga_ir::program::{BufferId, Place, Program};

use crate::facts::accesses::leaves;
use crate::facts::liveness::{ALIGN, Life, Lives, alive};
use crate::program::occupied::Occupied;
use crate::rewrite::steps::rename;

pub use crate::facts::liveness::live_bytes;

/// A buffer to be placed, its bytes and its life.
type Claim = (BufferId, usize, Life);

/// Plans the arena; whether anything moved.
pub fn plan(program: &mut Program) -> bool {
    let mut changed = drop_unused(program);
    let lives = Lives::new(program);
    let steps = program.prepare.len() + program.schedule.len();
    let (offsets, end) = best(lives.blocks(program).collect(), program.buffers.len(), steps);
    let mut prepared = 0;
    for (position, buffer) in program.buffers.iter_mut().enumerate() {
        let id = BufferId(position as u32);
        let size = buffer.ty.bytes().next_multiple_of(ALIGN);
        let (place, planned) = match &mut buffer.place {
            Place::Arena(place) => (place, Some(offsets[lives.leader(id).0 as usize])),
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

/// The size of the arena that [`plan`] would give.
pub(crate) fn arena_bytes(program: &Program) -> usize {
    let steps = program.prepare.len() + program.schedule.len();
    best(Lives::new(program).blocks(program).collect(), program.buffers.len(), steps).1
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

/// The best places found: the offset of each buffer, by number, and the size of the arena.
fn best(mut claims: Vec<Claim>, buffers: usize, steps: usize) -> (Vec<usize>, usize) {
    let breadths = alive(steps, claims.iter().map(|&(_, bytes, life)| (bytes, life)));
    let bound = breadths.iter().max().copied().unwrap_or(0);
    let length = |life: Life| life.1 - life.0 + 1;
    let fullest = |(a, b): Life| breadths[a..=b].iter().max().copied();
    type Sort<'a> = &'a dyn Fn(&mut [Claim]);
    let orders: [Sort; 5] = [
        &|claims| claims.sort_by_key(|&(id, bytes, life)| (Reverse(bytes), life, id)),
        &|claims| {
            claims.sort_by_key(|&(id, bytes, (a, b))| (Reverse(bytes as u128 * (b - a + 1) as u128), id))
        },
        &|claims| claims.sort_by_key(|&(id, bytes, (a, b))| (Reverse(b - a), Reverse(bytes), id)),
        &|claims| claims.sort_by_key(|&(id, bytes, (a, b))| (a, Reverse(b), Reverse(bytes), id)),
        &|claims| {
            claims.sort_by_cached_key(|&(id, bytes, life)| (Reverse(fullest(life)), Reverse(bytes), id))
        },
    ];
    // How often a step meets a buffer measures the work; long schedules get fewer attempts.
    let work: usize = claims.iter().map(|&(.., life)| length(life)).sum();
    let mut found: Option<(Vec<usize>, usize)> = None;
    for (number, order) in orders.iter().enumerate() {
        order(&mut claims);
        for tightest in [false, true] {
            let most = found.as_ref().map_or(usize::MAX, |(_, end)| *end);
            found = place(&claims, buffers, steps, tightest, most).or(found);
            let end = found.as_ref().map_or(0, |(_, end)| *end);
            if end == bound || (work > MUCH_WORK && number > 0 && end <= bound + bound / 20) {
                return found.unwrap_or_default();
            }
        }
    }
    found.unwrap_or_default()
}

/// From so many pairs of a buffer and a step in its life on, an arena within a twentieth of what is alive is enough.
const MUCH_WORK: usize = 1_000_000;

/// Places claims one after the other; nothing if that does not take less than `most` bytes.
fn place(
    claims: &[Claim],
    buffers: usize,
    steps: usize,
    tightest: bool,
    most: usize,
) -> Option<(Vec<usize>, usize)> {
    let mut occupied = Occupied::new(steps);
    let mut offsets = vec![0; buffers];
    let mut end = 0;
    for &(id, bytes, life) in claims {
        let offset = if tightest { occupied.tightest(bytes, life) } else { occupied.lowest(bytes, life) };
        end = end.max(offset + bytes);
        if end >= most {
            return None;
        }
        occupied.insert(offset, bytes, life);
        offsets[id.0 as usize] = offset;
    }
    Some((offsets, end))
}
