//! Splits an entry: what depends on state and constants only moves to a second graph, `@entry.prepare`.
//!
//! The second graph computes the *prepared values* from the state; the runtime runs it after loading and whenever
//! the state changes. They are its outputs, and state of the entry, named `prepared.0`, `prepared.1`, … in canonical
//! order. [`lower_prepared`] lowers both parts into one program.
//!
//! Only state that the entry does not update counts. Parameters themselves, what costs nothing to compute again
//! (reshapes, broadcasts, positions, constants), and conversions to and from what weights are stored as, which happen
//! where they are packed, stay in the entry; so does what depends on constants alone, which is `fold`'s work. Best
//! after `fuse`, when it is known what is computed together. Exact. Linear, but for copying the graph.

use std::collections::{HashMap, HashSet};

use brolga_ir::ops::{Op, Role};
use brolga_ir::program::{Buffer, BufferId, KernelId, Place, Program, Step};
use brolga_ir::{Graph, GraphError, NodeId, Value};

use crate::facts::accesses::rename;
use crate::facts::fixed::{Dependence, dependence};
use crate::facts::index_ranges::Range;
use crate::facts::table::NodeTable;
use crate::fuse::is_storage;
use crate::graph::dce::dead_nodes;
use crate::lower::lower_with;
use crate::manager::Options;
use crate::rewrite::digest::Kernels;

/// An entry in two parts.
#[derive(Clone, PartialEq, Debug)]
pub struct Prepared {
    /// From state to prepared values.
    pub prepare: Graph,
    /// The entry itself, which reads prepared values as state. It keeps all state, read or not.
    pub main: Graph,
}

/// Splits an entry; nothing if there is nothing to prepare.
pub fn prepare(graph: &Graph) -> Result<Option<Prepared>, GraphError> {
    let values = frontier(graph);
    if values.is_empty() {
        return Ok(None);
    }
    let mut prepare = graph.clone();
    prepare.name = format!("{}.prepare", graph.name);
    let mut main = graph.clone();
    prepare.outputs_mut().clear();
    let taken: HashSet<String> =
        graph.parameters().iter().filter_map(|&id| graph.parameter(id)).map(|p| p.name.clone()).collect();
    let free = (0..).map(|number| format!("prepared.{number}")).filter(|name| !taken.contains(name));
    for (name, &value) in free.zip(&values) {
        prepare.add_output(&name, Role::Data, value);
        let parameter = main.add_parameter(&name, Role::State, graph.ty(value).clone());
        main.replace_uses(value, parameter);
    }
    dead_nodes(&mut main)?;
    dead_nodes(&mut prepare)?;
    prepare.retain_parameters(|graph, id| graph.is_used(id));
    Ok(Some(Prepared { prepare, main }))
}

/// Lowers an entry, split where there is something to prepare. `ranges` as for [`lower`](crate::lower::lower).
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
    let mut buffers = Vec::new();
    let mut state: HashMap<String, usize> = HashMap::new();
    for (id, buffer) in program.buffers.iter().enumerate() {
        if matches!(buffer.place, Place::State { .. } | Place::Prepared(_)) {
            state.entry(buffer.name.clone()).or_insert(id);
        }
    }
    for buffer in prepare.buffers {
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
                return Err(GraphError { path: prepare.name, message });
            }
        };
        buffers.push(BufferId(id as u32));
    }
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

fn renumber(steps: &mut [Step], kernels: &[KernelId]) {
    for step in steps {
        if let Step::Call(call) = step {
            call.kernel = kernels[call.kernel.0 as usize];
        }
        step.bodies_mut().into_iter().for_each(|body| renumber(body, kernels));
    }
}

/// The values at which the entry's part begins, in canonical order.
fn frontier(graph: &Graph) -> Vec<Value> {
    let dependence = dependence(graph);
    let moves = |id: NodeId| {
        *dependence.get(id) == Dependence::State
            && !matches!(graph.node(id).op, Op::Parameter(_) | Op::Reshape(_) | Op::Broadcast(_))
            && !is_storage(graph, id)
    };
    // What the entry still needs, from the outputs down, stopping at values that move.
    let order = graph.order();
    let mut needed: NodeTable<bool> = NodeTable::default();
    let mut cut: NodeTable<Vec<bool>> = NodeTable::default();
    let mut need = |value: Value, needed: &mut NodeTable<bool>| {
        if moves(value.node) {
            let results = cut.at(value.node);
            results.resize(graph.node(value.node).types.len(), false);
            results[value.index as usize] = true;
        } else {
            needed.set(value.node, true);
        }
    };
    for output in graph.outputs() {
        need(output.value, &mut needed);
    }
    for &id in order.iter().rev() {
        if *needed.get(id) {
            for &operand in &graph.node(id).operands {
                need(operand, &mut needed);
            }
        }
    }
    let results = order.iter().flat_map(|&id| graph.results(id));
    results.filter(|value| cut.get(value.node).get(value.index as usize) == Some(&true)).collect()
}
