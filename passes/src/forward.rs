//! `forward`: computes new state where the state lies, instead of copying it there at the end.
//!
//! Lowering copies every state update from scratch memory behind everything else, which is always right. The copy
//! goes if the old state is read only before the first write of its successor, or by the very kernel that writes
//! it, element by element in place. Runs before loops are cut into several calls, which would all write it. Exact.

use brolga_ir::program::{BufferId, Call, Place, Program, Step};

use crate::accesses::{in_place, leaves, rename, touches};

/// Removes copies into state; whether any went.
pub fn forward(program: &mut Program) -> bool {
    let mut changed = false;
    let mut position = program.schedule.len();
    while position > 0 {
        position -= 1;
        let Some((from, to)) = copy(program, &program.schedule[position]) else { continue };
        if direct(program, from, to, position) {
            program.schedule.remove(position);
            rename(&mut program.schedule, &|buffer| if buffer == from { to } else { buffer });
            changed = true;
        }
    }
    changed
}

/// The buffers of a step that copies a whole scratch buffer to a whole state.
fn copy(program: &Program, step: &Step) -> Option<(BufferId, BufferId)> {
    let Step::Call(Call { kernel, args, .. }) = step else { return None };
    let [from, to] = args.as_slice() else { return None };
    let (source, target) = (&program.buffers[from.buffer.0 as usize], &program.buffers[to.buffer.0 as usize]);
    let whole = from.offset == 0 && to.offset == 0 && source.ty.elements() == target.ty.elements();
    let places = matches!(source.place, Place::Arena(_)) && matches!(target.place, Place::State { .. });
    (program.kernels[kernel.0 as usize].name == "copy" && whole && places).then_some((from.buffer, to.buffer))
}

fn direct(program: &Program, from: BufferId, to: BufferId, copy: usize) -> bool {
    let leaves = leaves(&program.schedule);
    let Some(&(first, _)) = leaves.iter().find(|(_, step)| touches(program, step, from).1) else {
        return false;
    };
    let Step::Call(call) = &program.schedule[first] else { return false };
    leaves.iter().filter(|&&(position, _)| position != copy).all(|&(position, step)| {
        let (read, written) = touches(program, step, to);
        if !read && !written {
            return true;
        }
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
        position == first && !written && both.is_some_and(|(read, write)| in_place(kernel, read, write))
    })
}
