//! An entry that was split lowered to one program: what is computed before the first call, and what in each call.

use std::collections::{HashMap, HashSet};

use brolga_ir::program::{Buffer, BufferId, KernelId, Place, Program, Step};
use brolga_ir::{Graph, GraphError};

use super::driver::lower_with;
use crate::choose::prepare::prepare;
use crate::facts::index_ranges::Range;
use crate::options::Options;
use crate::rewrite::kernels::Kernels;
use crate::rewrite::steps::{rename, renumber};

/// Lowers an entry, split where there is something to prepare. `ranges` as for [`lower`](super::lower()).
pub fn lower_prepared(
    graph: &Graph,
    ranges: &HashMap<String, Range>,
    options: &Options,
) -> Result<Program, GraphError> {
    let lower = |graph: &Graph| lower_with(graph, ranges, options);
    match prepare(graph)? {
        Some(split) => join(lower(&split.main)?, lower(&split.prepare)?),
        None => lower(graph),
    }
}

/// Makes one program of two: what the second computes is prepared for the first.
///
/// The second may prepare something itself: products of state alone have their weights packed. Such steps come first in
/// what is prepared, and what they fill is scratch.
fn join(mut program: Program, mut prepare: Program) -> Result<Program, GraphError> {
    prepare.schedule.splice(0..0, std::mem::take(&mut prepare.prepare));
    let buffers = join_buffers(&mut program, std::mem::take(&mut prepare.buffers), &prepare.name)?;
    let mut known = Kernels::new(&program.kernels);
    let kernels = prepare.kernels.into_iter().map(|kernel| known.number(&mut program.kernels, kernel));
    let kernels: Vec<KernelId> = kernels.collect();
    // What packs prepared values follows what computes them, so that they are needed no longer than they must be.
    let packing = std::mem::replace(&mut program.prepare, prepare.schedule);
    rename(&mut program.prepare, &|buffer| buffers[buffer.0 as usize]);
    renumber(&mut program.prepare, &kernels);
    program.prepare = placed(std::mem::take(&mut program.prepare), packing);
    let read = touched(&program.schedule);
    for (position, buffer) in program.buffers.iter_mut().enumerate() {
        // What only packing reads is scratch.
        if matches!(buffer.place, Place::Prepared(_)) && !read.contains(&BufferId(position as u32)) {
            buffer.place = Place::Arena(None);
        }
    }
    Ok(program)
}

/// Gives a program the buffers of the one that prepares, which is called so: what each of them is there.
fn join_buffers(
    program: &mut Program,
    prepare: Vec<Buffer>,
    name: &str,
) -> Result<Vec<BufferId>, GraphError> {
    let mut buffers = Vec::new();
    let mut state: HashMap<String, usize> = HashMap::new();
    for (id, buffer) in program.buffers.iter().enumerate() {
        if matches!(buffer.place, Place::State { .. } | Place::Prepared(_)) {
            state.entry(buffer.name.clone()).or_insert(id);
        }
    }
    for buffer in prepare {
        let known = state.get(&buffer.name).copied();
        let id = match (&buffer.place, known) {
            (Place::State { .. }, Some(id)) => id,
            (Place::Output, Some(id)) => {
                program.buffers[id].place = Place::Prepared(None);
                id
            }
            (Place::Arena(_) | Place::Prepared(_), _) => {
                program.buffers.push(Buffer { place: Place::Arena(None), ..buffer });
                program.buffers.len() - 1
            }
            (Place::Constant(_), _) => {
                program.buffers.push(buffer);
                program.buffers.len() - 1
            }
            _ => {
                let message = format!("the entry has no state `{}`", buffer.name);
                return Err(GraphError { path: name.to_owned(), message });
            }
        };
        buffers.push(BufferId(id as u32));
    }
    Ok(buffers)
}

/// The steps of a schedule with others among them, each right behind the last one that touches what it touches.
fn placed(schedule: Vec<Step>, others: Vec<Step>) -> Vec<Step> {
    let mut last: HashMap<BufferId, usize> = HashMap::new();
    for (at, step) in schedule.iter().enumerate() {
        last.extend(touched([step]).into_iter().map(|buffer| (buffer, at + 1)));
    }
    let mut before: Vec<Vec<Step>> = vec![Vec::new(); schedule.len() + 1];
    for step in others {
        let buffers = touched([&step]);
        let at = buffers.iter().filter_map(|buffer| last.get(buffer)).copied().max().unwrap_or(0);
        last.extend(buffers.into_iter().map(|buffer| (buffer, at)));
        before[at].push(step);
    }
    let mut rest = schedule.into_iter();
    before.into_iter().flat_map(|steps| steps.into_iter().chain(rest.next())).collect()
}

/// The buffers that steps touch, those inside them included.
fn touched<'s>(steps: impl IntoIterator<Item = &'s Step>) -> HashSet<BufferId> {
    let mut found = HashSet::new();
    for step in steps {
        found.extend(step.args().iter().map(|arg| arg.buffer));
        found.extend(step.bodies().into_iter().flat_map(touched));
    }
    found
}
