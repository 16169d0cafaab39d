//! The values of a body for all steps, built outside.

use brolga_ir::ops::{Op, Scan};
use brolga_ir::{Builder, Graph, GraphError, NodeId, Value};
use rustc_hash::FxHashMap;

use super::over::{Outside, repeat, way};
use crate::facts::table::NodeTable;
use crate::facts::unrun::Unrun;

/// How a value differs between the steps of a loop.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Steps {
    /// It depends on carries, or cannot be computed for all steps at once, or may not be for those that are not run.
    #[default]
    Chained,
    /// It depends on slices and captures alone, and can.
    Apart,
    /// It is the same in all of them.
    Same,
}

/// What a move has left of a loop.
pub(super) enum Left {
    /// All: there was nothing to move.
    All,
    /// Another loop.
    Loop(NodeId),
    /// Nothing that anything needs.
    Nothing,
}

/// How each node of a body differs between steps.
pub(super) fn differences(scan: &Scan, unrun: Unrun) -> NodeTable<Steps> {
    let region = &scan.body;
    let mut table: NodeTable<Steps> = NodeTable::default();
    for (number, &id) in region.parameters().iter().enumerate() {
        let steps = match number {
            number if number < scan.carries => Steps::Chained,
            number if number < scan.carries + scan.slices => Steps::Apart,
            _ => Steps::Same,
        };
        table.set(id, steps);
    }
    for id in region.order() {
        let node = region.node(id);
        if matches!(node.op, Op::Parameter(_) | Op::Random(_)) {
            continue;
        }
        let of: Vec<Steps> = node.operands.iter().map(|operand| *table.get(operand.node)).collect();
        let is_apart = || way(region, id, &differ(region, id, &table), scan.length).is_some();
        let steps = match of.contains(&Steps::Chained) || !leaves(scan, id, unrun) {
            false if of.iter().all(|&steps| steps == Steps::Same) => Steps::Same,
            false if is_apart() => Steps::Apart,
            _ => Steps::Chained,
        };
        table.set(id, steps);
    }
    table
}

/// Whether a node of the body may be computed for all steps: of a guarded loop, for those that are not run as well.
pub(super) fn leaves(scan: &Scan, id: NodeId, unrun: Unrun) -> bool {
    !scan.guarded || unrun.takes(&scan.body, id)
}

/// Which operands of a node differ between steps.
pub(super) fn differ(region: &Graph, id: NodeId, table: &NodeTable<Steps>) -> Vec<bool> {
    region.node(id).operands.iter().map(|operand| *table.get(operand.node) != Steps::Same).collect()
}

/// What stands outside for values of a body, as it is asked for.
pub(super) struct Outer<'g> {
    region: &'g Graph,
    steps: usize,
    table: &'g NodeTable<Steps>,
    known: FxHashMap<Value, Outside>,
    /// Values that are the same in all steps.
    same: FxHashMap<Value, Value>,
}

impl<'g> Outer<'g> {
    /// Of a loop with those operands: it knows slices and captures.
    pub fn new(scan: &'g Scan, operands: &[Value], table: &'g NodeTable<Steps>) -> Outer<'g> {
        let (mut known, mut same) = (FxHashMap::default(), FxHashMap::default());
        let parameters = scan.body.parameters().iter().map(|&id| scan.body.result(id)).zip(operands);
        for (number, (parameter, &operand)) in parameters.enumerate().skip(scan.carries) {
            if number < scan.carries + scan.slices {
                known.insert(parameter, Outside::Steps(operand));
            } else {
                same.insert(parameter, operand);
            }
        }
        Outer { region: &scan.body, steps: scan.length, table, known, same }
    }

    /// How each node of the body differs between steps.
    pub fn table(&self) -> &'g NodeTable<Steps> {
        self.table
    }

    /// Says what the values of all steps are, stacked.
    pub fn know(&mut self, value: Value, stacked: Value) {
        self.known.insert(value, Outside::Steps(stacked));
    }

    /// What stands for a value, computed from what is known.
    pub fn value(&mut self, graph: &mut Graph, value: Value) -> Result<Outside, GraphError> {
        let mut open = vec![value];
        // Progress: a value is known when it is left, and so is what it is computed from.
        while let Some(&value) = open.last() {
            if self.known.contains_key(&value) {
                open.pop();
                continue;
            }
            if *self.table.get(value.node) == Steps::Same {
                let outside = graph.import(self.region, &[value], &mut self.same)?[0];
                self.known.insert(value, Outside::Fixed(outside));
                continue;
            }
            let node = self.region.node(value.node);
            let unknown = node.operands.iter().copied().filter(|operand| !self.known.contains_key(operand));
            let unknown: Vec<Value> = unknown.collect();
            if !unknown.is_empty() {
                open.extend(unknown);
                continue;
            }
            let operands: Vec<Outside> = node.operands.iter().map(|operand| self.known[operand]).collect();
            let differ: Vec<bool> = operands.iter().map(|o| matches!(o, Outside::Steps(_))).collect();
            let Some(way) = way(self.region, value.node, &differ, self.steps) else {
                let message = "is computed step by step, and was asked for at once".to_owned();
                return Err(GraphError { path: node.origin.path.to_string(), message });
            };
            let outside = way.build(graph, (self.region, value.node), &operands, self.steps)?;
            self.known.insert(value, Outside::Steps(outside));
        }
        Ok(self.known[&value])
    }

    /// The values of all steps, stacked.
    pub fn stacked(&mut self, graph: &mut Graph, value: Value) -> Result<Value, GraphError> {
        match self.value(graph, value)? {
            Outside::Steps(value) => Ok(value),
            Outside::Fixed(fixed) => {
                let origin = self.region.node(value.node).origin.clone();
                repeat(&mut Builder::new(graph, origin), fixed, self.steps)
            }
        }
    }
}
