//! `forward`: computes new state where the state lies, instead of copying it there at the end.
//!
//! Lowering copies every state update from scratch memory behind everything else, which is always right. The copy
//! goes if the old state is read only before the first write of its successor, or by the very kernel that writes
//! it, element by element in place. Where that is a copy, of a table of which rows are then changed, nothing is left of it. Runs
//! before loops are cut into several calls, which would all write it. Exact.

use brolga_ir::program::footprint::in_place;
use brolga_ir::program::{BufferId, Call, Kernel, Place, Program, Step};
use rustc_hash::FxHashMap;

use crate::facts::accesses::{is_copy, leaves, touches};
use crate::rewrite::steps::rename;

/// Removes copies into state; whether any went. Linear in the size of the schedule.
pub fn forward(program: &mut Program) -> bool {
    let leaves = leaves(&program.schedule);
    let mut touched: Vec<Vec<usize>> = vec![Vec::new(); program.buffers.len()];
    for (number, (_, step)) in leaves.iter().enumerate() {
        for arg in step.args() {
            let leaves = &mut touched[arg.buffer.0 as usize];
            if leaves.last() != Some(&number) {
                leaves.push(number);
            }
        }
    }
    let mut gone = vec![false; program.schedule.len()];
    let mut names: FxHashMap<BufferId, BufferId> = FxHashMap::default();
    for (position, step) in program.schedule.iter().enumerate().rev() {
        let Some((from, to)) = copy(program, step) else { continue };
        let of = |buffer: BufferId| touched[buffer.0 as usize].iter().map(|&number| leaves[number]);
        if !names.contains_key(&from) && direct(program, from, to, position, &of) {
            gone[position] = true;
            names.insert(from, to);
        }
    }
    let mut position = 0;
    program.schedule.retain(|_| {
        position += 1;
        !gone[position - 1]
    });
    rename(&mut program.schedule, &|buffer| names.get(&buffer).copied().unwrap_or(buffer));
    if !names.is_empty() {
        let kernels = &program.kernels;
        program.schedule.retain(|step| !stays(kernels, step));
    }
    !names.is_empty()
}

/// Whether a step copies something to where it lies.
fn stays(kernels: &[Kernel], step: &Step) -> bool {
    let Step::Call(Call { kernel, args, .. }) = step else { return false };
    matches!(args.as_slice(), [from, to] if from == to) && is_copy(&kernels[kernel.0 as usize])
}

/// The buffers of a step that copies a whole scratch buffer to a whole state.
fn copy(program: &Program, step: &Step) -> Option<(BufferId, BufferId)> {
    let Step::Call(Call { kernel, args, .. }) = step else { return None };
    let [from, to] = args.as_slice() else { return None };
    let (source, target) = (&program.buffers[from.buffer.0 as usize], &program.buffers[to.buffer.0 as usize]);
    let whole = from.offset == 0 && to.offset == 0 && source.ty.elements() == target.ty.elements();
    let places = matches!(source.place, Place::Arena(_)) && matches!(target.place, Place::State { .. });
    let kernel = &program.kernels[kernel.0 as usize];
    let copies = whole && places && is_copy(kernel) && kernel.params[0].len == source.ty.elements();
    copies.then_some((from.buffer, to.buffer))
}

/// Whether `from` may lie where `to` does. `of` gives the calls and conditions that touch a buffer, in order, each with
/// its position in the schedule.
fn direct<'p, I: Iterator<Item = (usize, &'p Step)>>(
    program: &'p Program,
    from: BufferId,
    to: BufferId,
    copy: usize,
    of: &dyn Fn(BufferId) -> I,
) -> bool {
    let Some((first, _)) = of(from).find(|(_, step)| touches(program, step, from).1) else {
        return false;
    };
    let Step::Call(call) = &program.schedule[first] else { return false };
    of(to).filter(|&(position, _)| position != copy).all(|(position, step)| {
        let (read, written) = touches(program, step, to);
        if position < first {
            return !written;
        }
        let kernel = &program.kernels[call.kernel.0 as usize];
        let of = |buffer: BufferId| {
            let mut params = call.args.iter().enumerate().filter(move |(_, arg)| arg.buffer == buffer);
            let found = params.next().filter(|(_, arg)| arg.offset == 0).map(|(param, _)| param);
            found.filter(|_| params.next().is_none())
        };
        let both = of(to).zip(of(from));
        position == first
            && read
            && !written
            && both.is_some_and(|(read, write)| in_place(kernel, read, write))
    })
}
