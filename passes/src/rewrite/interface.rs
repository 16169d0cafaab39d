//! What passes between a node and its regions: parameters and results, of which some are chosen.

use brolga_ir::ops::{Cond, Op, RegionOp, Role, Scan, While};
use brolga_ir::{Graph, GraphError, NodeId, Type, Value};
use rustc_hash::{FxHashMap, FxHashSet};

/// A node with regions that other passes than `fuse` have made: all regions have the same parameters, and those that give
/// results the same outputs. Parameters and outputs begin with the carries, parameters go on with slices.
pub(crate) struct Interface<'g> {
    /// All regions.
    pub regions: Vec<&'g Graph>,
    /// The first of `regions` whose outputs are the results; those behind it are others that may give them.
    pub giving: usize,
    /// Carries of a loop; a branch has none.
    pub carries: usize,
    /// Parameters that are slices of the operands.
    pub slices: usize,
    /// Operands in front of those that the parameters stand for.
    pub first: usize,
    /// Whether the loop needs its first carry, which says if it goes on.
    pub guarded: bool,
}

impl Interface<'_> {
    /// Of an operator, if it has regions. One that is fused reads and gives what `fuse` has found to be needed.
    pub fn of(op: &Op) -> Option<Interface<'_>> {
        Some(match op.region_op()? {
            RegionOp::Scan(Scan { body, carries, slices, guarded, .. }) => Interface {
                regions: vec![body],
                giving: 0,
                carries: *carries,
                slices: *slices,
                first: 0,
                guarded: *guarded,
            },
            RegionOp::While(While { condition, body, carries, .. }) => Interface {
                regions: vec![condition, body],
                giving: 1,
                carries: *carries,
                slices: 0,
                first: 0,
                guarded: false,
            },
            RegionOp::Cond(Cond { then, otherwise }) => Interface {
                regions: vec![then, otherwise],
                giving: 0,
                carries: 0,
                slices: 0,
                first: 1,
                guarded: false,
            },
            RegionOp::Fused(_) => return None,
        })
    }

    /// Number of parameters.
    pub fn parameters(&self) -> usize {
        self.regions[0].parameters().len()
    }

    /// Number of results.
    pub fn outputs(&self) -> usize {
        self.regions[self.giving].outputs().len()
    }

    /// What a result is in the last region that gives it: the body of a loop.
    pub fn output(&self, number: usize) -> Value {
        self.regions[self.regions.len() - 1].outputs()[number].value
    }

    /// A parameter of that region.
    pub fn parameter(&self, number: usize) -> Value {
        let region = self.regions[self.regions.len() - 1];
        region.result(region.parameters()[number])
    }
}

/// What is left of an interface.
pub(crate) struct Selection {
    /// The parameters that there are, by their former numbers: carries, slices, captures.
    pub parameters: Vec<usize>,
    /// For each former parameter the one that stands for it now, which may be itself. Of those that are gone and not read it
    /// says nothing.
    pub stands: Vec<usize>,
    /// The results that there are, by their former numbers, carries first.
    pub outputs: Vec<usize>,
    /// How many are carries, and how many parameters behind them slices.
    pub carries: usize,
    pub slices: usize,
}

impl Selection {
    /// Puts a node with the chosen parameters and results in the place of one whose other results nothing uses.
    pub fn apply(&self, graph: &mut Graph, id: NodeId) -> Result<(), GraphError> {
        let node = graph.node(id).clone();
        self.put(graph, id, &node.op, &node.operands)?;
        graph.remove(id);
        Ok(())
    }

    /// Adds the node that is chosen of an operator: it is that of the node `id`, whose results are those of the new node from now
    /// on where these are chosen, or one with more parameters, operands and outputs behind those. Gives the new results.
    pub fn put(
        &self,
        graph: &mut Graph,
        id: NodeId,
        op: &Op,
        operands: &[Value],
    ) -> Result<Vec<Value>, GraphError> {
        let Some(Interface { first, .. }) = Interface::of(op) else { return Ok(graph.results(id)) };
        let region = |region: &Graph, outputs: &[usize]| self.region(region, outputs);
        let op: Op = match op.region_op() {
            Some(RegionOp::Scan(scan)) => {
                let body = region(&scan.body, &self.outputs)?;
                let (carries, slices) = (self.carries, self.slices);
                Scan { body, carries, slices, ..*scan }.into()
            }
            Some(RegionOp::While(looped)) => {
                let condition = region(&looped.condition, &[0])?;
                let body = region(&looped.body, &self.outputs)?;
                While { condition, body, carries: self.carries, limit: looped.limit }.into()
            }
            Some(RegionOp::Cond(cond)) => {
                let then = region(&cond.then, &self.outputs)?;
                Cond { then, otherwise: region(&cond.otherwise, &self.outputs)? }.into()
            }
            Some(RegionOp::Fused(_)) | None => return Ok(graph.results(id)),
        };
        let mut chosen = operands[..first].to_vec();
        chosen.extend(self.parameters.iter().map(|&number| operands[first + number]));
        let origin = graph.node(id).origin.clone();
        let new = graph.add(op, &chosen, &origin)?;
        let (old, new) = (graph.results(id), graph.results(new));
        for (&number, &result) in self.outputs.iter().zip(&new) {
            if let Some(&old) = old.get(number) {
                graph.replace_uses(old, result);
            }
        }
        Ok(new)
    }

    /// A region with the chosen parameters, and those outputs.
    fn region(&self, old: &Graph, outputs: &[usize]) -> Result<Graph, GraphError> {
        let mut new = Graph::new(&old.name);
        let mut map: FxHashMap<Value, Value> = FxHashMap::default();
        let value = |number: usize| old.result(old.parameters()[number]);
        for &number in &self.parameters {
            let name = old.parameter(old.parameters()[number]).map_or("", |parameter| &parameter.name);
            let ty = old.ty(value(number)).clone();
            map.insert(value(number), new.add_parameter(name, Role::Data, ty));
        }
        for (number, &stands) in self.stands.iter().enumerate() {
            if let Some(&parameter) = map.get(&value(stands)) {
                map.insert(value(number), parameter);
            }
        }
        for &number in outputs {
            let output = &old.outputs()[number];
            let value = new.import(old, &[output.value], &mut map)?[0];
            new.add_output(&output.name, Role::Data, value);
        }
        Ok(new)
    }
}

/// A parameter behind those that a region has, with a name of its own.
pub(crate) fn new_parameter(region: &mut Graph, prefix: &str, ty: &Type) -> Value {
    let names: FxHashSet<&str> =
        region.parameters().iter().filter_map(|&id| region.parameter(id)).map(|p| p.name.as_str()).collect();
    let name = new_name(&names, prefix);
    region.add_parameter(&name, Role::Data, ty.clone())
}

/// An output behind those that a region has, with a name of its own.
pub(crate) fn new_output(region: &mut Graph, prefix: &str, value: Value) {
    let names: FxHashSet<&str> = region.outputs().iter().map(|output| output.name.as_str()).collect();
    let name = new_name(&names, prefix);
    region.add_output(&name, Role::Data, value);
}

/// The first of `prefix0`, `prefix1`, … that is not taken.
fn new_name(taken: &FxHashSet<&str>, prefix: &str) -> String {
    // Progress: one of as many names as are taken, and one more, is free.
    let mut number = 0;
    loop {
        let name = format!("{prefix}{number}");
        if !taken.contains(name.as_str()) {
            return name;
        }
        number += 1;
    }
}
