//! Results, carries, slices and captures of regions that nothing needs.
//!
//! A carry is needed if its result is used, or if a needed value of an iteration reads it: one that only goes into itself is
//! not. One that every iteration hands on as it is becomes a capture, and its result the value that it starts with. A guarded loop
//! needs its first carry, as one.

use brolga_ir::ops::{Op, RegionOp};
use brolga_ir::{Graph, GraphError, NodeId};
use rustc_hash::FxHashMap;

use crate::facts::table::NodeTable;
use crate::rewrite::interface::{Interface, Selection};

/// Trims what passes between the nodes of a graph and their regions; whether anything went. Users come before what they use.
pub(super) fn trim(graph: &mut Graph) -> Result<bool, GraphError> {
    let mut changed = false;
    let holds = |id: &NodeId| Interface::of(&graph.node(*id).op).is_some();
    let holders: Vec<NodeId> = graph.order().into_iter().filter(holds).collect();
    for id in holders.into_iter().rev() {
        changed |= trim_node(graph, id)?;
    }
    Ok(changed)
}

fn trim_node(graph: &mut Graph, id: NodeId) -> Result<bool, GraphError> {
    let node = graph.node(id).clone();
    let Some(interface) = Interface::of(&node.op) else { return Ok(false) };
    let used: Vec<bool> = graph.results(id).into_iter().map(|value| graph.use_count(value) > 0).collect();
    if !used.contains(&true) {
        // It goes as a whole.
        return Ok(false);
    }
    let needed = Needed::of(&interface, &node.op, &used);
    let (carries, slices) = (interface.carries, interface.slices);
    let is_guard = |number: usize| interface.guarded && number == 0;
    let is_fixed =
        |number: &usize| !is_guard(*number) && interface.output(*number) == interface.parameter(*number);
    let kept: Vec<usize> = (0..carries).filter(|&number| needed.outputs[number]).collect();
    let (fixed, kept): (Vec<usize>, Vec<usize>) = kept.into_iter().partition(is_fixed);
    for &number in &fixed {
        graph.replace_uses(graph.results(id)[number], node.operands[number]);
    }
    let read = |number: &usize| needed.parameters[*number];
    let sliced: Vec<usize> = (carries..carries + slices).filter(read).collect();
    let captured = (carries + slices..interface.parameters()).chain(fixed).filter(read);
    let stacked = (carries..interface.outputs()).filter(|&number| used[number]);
    let selection = Selection {
        carries: kept.len(),
        slices: sliced.len(),
        outputs: kept.iter().copied().chain(stacked).collect(),
        parameters: kept.into_iter().chain(sliced).chain(captured).collect(),
        stands: (0..interface.parameters()).collect(),
    };
    let same = selection.carries == carries
        && selection.parameters.len() == interface.parameters()
        && selection.outputs.len() == interface.outputs();
    if !same {
        selection.apply(graph, id)?;
    }
    Ok(!same)
}

/// What is needed of an interface.
struct Needed<'g> {
    interface: &'g Interface<'g>,
    /// The parameters that anything needed reads.
    parameters: Vec<bool>,
    /// The results that are used, and the carries that they need.
    outputs: Vec<bool>,
    /// Nodes of a region that are still to be gone through.
    open: Vec<(usize, NodeId)>,
}

impl Needed<'_> {
    fn of<'g>(interface: &'g Interface<'g>, op: &Op, used: &[bool]) -> Needed<'g> {
        let (parameters, outputs) = (vec![false; interface.parameters()], vec![false; interface.outputs()]);
        let mut needed = Needed { interface, parameters, outputs, open: Vec::new() };
        if let Some(RegionOp::While(looped)) = op.region_op() {
            needed.open.push((0, looped.condition.outputs()[0].value.node));
        }
        if interface.guarded {
            needed.output(0);
        }
        (0..used.len()).filter(|&number| used[number]).for_each(|number| needed.output(number));
        needed.walk();
        needed
    }

    /// A result is needed of every region that gives it.
    fn output(&mut self, number: usize) {
        if std::mem::replace(&mut self.outputs[number], true) {
            return;
        }
        for region in self.interface.giving..self.interface.regions.len() {
            self.open.push((region, self.interface.regions[region].outputs()[number].value.node));
        }
    }

    fn walk(&mut self) {
        let regions = &self.interface.regions;
        let mut seen: Vec<NodeTable<bool>> = vec![NodeTable::default(); regions.len()];
        let numbers = |region: &&Graph| region.parameters().iter().copied().zip(0..).collect();
        let numbers: Vec<FxHashMap<NodeId, usize>> = regions.iter().map(numbers).collect();
        // Progress: every node is gone through once.
        while let Some((region, id)) = self.open.pop() {
            if seen[region].set(id, true) {
                continue;
            }
            if let Some(&number) = numbers[region].get(&id) {
                self.parameters[number] = true;
                if number < self.interface.carries {
                    self.output(number);
                }
            }
            let operands = &self.interface.regions[region].node(id).operands;
            self.open.extend(operands.iter().map(|operand| (region, operand.node)));
        }
    }
}
