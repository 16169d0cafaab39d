//! Moves out of loops what does not change with the iteration.
//!
//! What depends on captures and constants alone is computed once, before the loop, and captured; where it is a result of every
//! iteration, it is repeated behind the loop. The innermost loops come first, so values go out as far as they can. That is
//! done for
//!
//! - what combines elements (products, reductions, and everything else with loops of its own), whatever its size;
//! - what works element by element or joins tensors, if the result is not larger than what it is made of: `b1 + b2`, the weights of
//!   several gates one behind the other, but no table of sums of every element with every other.
//!
//! Index maps, positions and constants cost nothing where they are read, and stay. So do random numbers, and all that is made of
//! them: draws belong to the iteration. A loop whose length is at most 1 is left alone. A `while`, or a guarded `scan`, may turn
//! out not to run at all: then what was moved is computed for nothing, as much as is part of one iteration; nothing can fail. While
//! derivatives are still to be built, only what has finite ones leaves such a body (`facts/unrun.rs`). Nothing is moved out of
//! branches, which would compute both; and nothing out of a body that holds derivatives, which `grad` removes first. Exact. Linear,
//! for each level of loops in loops.

use brolga_ir::ops::{Op, RegionOp};
use brolga_ir::{Builder, Graph, GraphError, NodeId, Value};
use rustc_hash::FxHashMap;

use crate::facts::cost::{OfNode, of_node};
use crate::facts::table::{NodeTable, ValueTable};
use crate::facts::unrun::Unrun;
use crate::options::Options;
use crate::rewrite::interface::{Interface, new_parameter};
use crate::rewrite::regions;

/// Moves what is the same in every iteration.
pub fn hoist(graph: &mut Graph, _: &Options) -> Result<bool, GraphError> {
    let unrun = Unrun::of(graph);
    hoist_all(graph, unrun)
}

fn hoist_all(graph: &mut Graph, unrun: Unrun) -> Result<bool, GraphError> {
    let mut changed = regions::apply(graph, &mut |region| hoist_all(region, unrun))?;
    let loops = |id: &NodeId| first_fixed(&graph.node(*id).op).is_some();
    for id in graph.order().into_iter().filter(loops).collect::<Vec<_>>() {
        changed |= hoist_node(graph, id, unrun)?;
    }
    Ok(changed)
}

/// The first parameter that is the same in all iterations, of a loop that has more than one.
fn first_fixed(op: &Op) -> Option<usize> {
    let first = match op.region_op()? {
        RegionOp::Scan(scan) => (scan.length > 1).then_some(scan.carries + scan.slices),
        RegionOp::While(looped) => (looped.limit > 1).then_some(looped.carries),
        RegionOp::Cond(_) | RegionOp::Fused(_) => None,
    }?;
    let derives = |region: &Graph| region.nodes().any(|id| region.node(id).op.is_derivative());
    (!op.regions().into_iter().any(derives)).then_some(first)
}

/// What may leave the regions of a loop, in their order: all of a body that runs, and of a condition, which does once at least.
fn leaving(op: &Op, unrun: Unrun) -> Vec<Unrun> {
    match op.region_op() {
        Some(RegionOp::While(_)) => vec![Unrun::Everything, unrun],
        Some(RegionOp::Scan(scan)) if scan.guarded => vec![unrun],
        _ => vec![Unrun::Everything; op.regions().len()],
    }
}

fn hoist_node(graph: &mut Graph, id: NodeId, unrun: Unrun) -> Result<bool, GraphError> {
    let node = graph.node(id).clone();
    let Some(first) = first_fixed(&node.op) else { return Ok(false) };
    let regions = node.op.regions().into_iter().zip(leaving(&node.op, unrun));
    let fixed: Vec<Fixed<'_>> = regions.map(|(region, unrun)| Fixed::new(region, first, unrun)).collect();
    let changed = repeat_results(graph, id, first, &fixed[0])?;
    let moved: Vec<Vec<Value>> = fixed.iter().map(Fixed::moved).collect();
    if moved.iter().all(Vec::is_empty) {
        return Ok(changed);
    }
    let (mut op, mut operands) = (node.op.clone(), node.operands.clone());
    for (number, (fixed, moved)) in fixed.iter().zip(&moved).enumerate() {
        let outside = import(graph, fixed.region, &node.operands, first, moved)?;
        for (&inside, &value) in moved.iter().zip(&outside) {
            let ty = graph.ty(value).clone();
            for (other, region) in op.regions_mut().into_iter().enumerate() {
                let parameter = new_parameter(region, "fixed", &ty);
                if other == number {
                    region.replace_uses(inside, parameter);
                }
            }
            operands.push(value);
        }
    }
    let new = graph.add(op, &operands, &node.origin)?;
    graph.replace_results(id, &graph.results(new));
    graph.remove(id);
    Ok(true)
}

/// Copies values of a region that depend on parameters from `first` on to where the operands are.
fn import(
    graph: &mut Graph,
    region: &Graph,
    operands: &[Value],
    first: usize,
    values: &[Value],
) -> Result<Vec<Value>, GraphError> {
    let parameters = region.parameters().iter().map(|&id| region.result(id));
    let mut map: FxHashMap<Value, Value> = parameters.zip(operands.iter().copied()).skip(first).collect();
    graph.import(region, values, &mut map)
}

/// Results of a `scan` that are the same for every iteration: repeated outside. Those of a guarded one are 0 behind its end.
fn repeat_results(
    graph: &mut Graph,
    id: NodeId,
    first: usize,
    fixed: &Fixed<'_>,
) -> Result<bool, GraphError> {
    let node = graph.node(id).clone();
    let (Op::Scan(scan), Some(interface)) = (&node.op, Interface::of(&node.op)) else { return Ok(false) };
    if scan.guarded {
        return Ok(false);
    }
    let mut changed = false;
    for number in scan.carries..interface.outputs() {
        let (value, result) = (interface.output(number), graph.results(id)[number]);
        if !fixed.is(value) || graph.use_count(result) == 0 {
            continue;
        }
        let once = import(graph, &scan.body, &node.operands, first, &[value])?[0];
        let ty = graph.ty(result).clone();
        let mut b = Builder::new(graph, node.origin.clone());
        let axes: Vec<usize> = (1..ty.rank()).collect();
        let repeated = b.broadcast(once, &ty.dims, &axes)?;
        graph.replace_uses(result, repeated);
        changed = true;
    }
    Ok(changed)
}

/// What is the same in every iteration.
struct Fixed<'g> {
    region: &'g Graph,
    /// In the order of computation.
    order: Vec<NodeId>,
    fixed: NodeTable<bool>,
    /// Whether it is worth a place of its own outside.
    worth: NodeTable<bool>,
}

impl Fixed<'_> {
    /// In a region whose parameters are the same from `first` on, and which may not run: only so much of it may leave.
    fn new(region: &Graph, first: usize, unrun: Unrun) -> Fixed<'_> {
        let mut found =
            Fixed { region, order: region.order(), fixed: NodeTable::default(), worth: NodeTable::default() };
        for &id in &region.parameters()[first..] {
            found.fixed.set(id, true);
        }
        // Elements of what a value is made of, as far as that has a place of its own.
        let mut sources: NodeTable<usize> = NodeTable::default();
        for id in region.order() {
            let node = region.node(id);
            if matches!(node.op, Op::Parameter(_)) {
                sources.set(id, node.types[0].elements());
                continue;
            }
            let fixed = !matches!(node.op, Op::Random(_))
                && unrun.takes(region, id)
                && node.operands.iter().all(|operand| *found.fixed.get(operand.node));
            found.fixed.set(id, fixed);
            if !fixed {
                continue;
            }
            let elements: usize = node.types.iter().map(|ty| ty.elements()).fold(0, usize::saturating_add);
            let made_of = node.operands.iter().map(|operand| *sources.get(operand.node));
            let made_of = made_of.fold(0, usize::saturating_add);
            let worth = match of_node(region, id) {
                OfNode::Nothing => false,
                OfNode::Elements => elements <= made_of,
                OfNode::Terms => true,
            };
            found.worth.set(id, worth);
            sources.set(id, if worth { elements } else { made_of.min(elements) });
        }
        found
    }

    fn is(&self, value: Value) -> bool {
        *self.fixed.get(value.node)
    }

    /// The values that are moved: those worth it that anything reads which stays.
    fn moved(&self) -> Vec<Value> {
        let mut stays: NodeTable<bool> = NodeTable::default();
        let (mut moved, mut known) = (Vec::new(), ValueTable::default());
        let mut read = |value: Value, stays: &mut NodeTable<bool>| {
            if !self.worth.get(value.node) {
                stays.set(value.node, true);
            } else if known.insert(value, ()).is_none() {
                moved.push(value);
            }
        };
        for output in self.region.outputs() {
            read(output.value, &mut stays);
        }
        for &id in self.order.iter().rev() {
            if *stays.get(id) {
                self.region.node(id).operands.iter().for_each(|&operand| read(operand, &mut stays));
            }
        }
        moved
    }
}
