//! What no iteration needs of another: computed behind the loop, from what is stacked in it.

use brolga_ir::ops::{Op, Scan};
use brolga_ir::{Builder, Graph, GraphError, NodeId, Value};

use super::before::pays;
use super::outer::{Left, Outer, Steps, differ, differences, leaves};
use super::over::way;
use super::sums::{Sum, sums};
use crate::facts::table::{NodeTable, ValueTable};
use crate::facts::unrun::Unrun;
use crate::rewrite::interface::{Selection, new_output};

/// Moves work behind a loop.
pub(super) fn move_behind(
    graph: &mut Graph,
    id: NodeId,
    scan: &Scan,
    unrun: Unrun,
) -> Result<Left, GraphError> {
    let table = differences(scan, unrun);
    let results = graph.results(id);
    let used: Vec<bool> = results.iter().map(|&result| graph.use_count(result) > 0).collect();
    let behind = Behind::of(scan, &table, &used, unrun);
    let is_moved = |number: usize| behind.moved.get(scan.body.outputs()[number].value.node);
    let done: Vec<usize> = (scan.carries..results.len()).filter(|&n| used[n] && *is_moved(n)).collect();
    if done.is_empty() && behind.sums.is_empty() {
        return Ok(Left::All);
    }
    let operands = graph.node(id).operands.clone();
    let mut body = scan.body.clone();
    let is_sum = |number: &usize| behind.sums.iter().any(|sum| sum.carry == *number);
    let kept: Vec<usize> =
        (0..results.len()).filter(|n| !is_sum(n) && (*n < scan.carries || !is_moved(*n))).collect();
    let mut stacked = behind.stacked(scan, &table, &kept);
    let guard = scan.body.parameters().first().map(|&id| scan.body.result(id)).filter(|_| scan.guarded);
    stacked.extend(guard.filter(|guard| !stacked.contains(guard)));
    stacked.iter().for_each(|&value| new_output(&mut body, "stacked", value));
    let carries = (0..scan.carries).filter(|number| !is_sum(number));
    let selection = Selection {
        parameters: carries.clone().chain(scan.carries..operands.len()).collect(),
        stands: (0..operands.len()).collect(),
        outputs: kept.iter().copied().chain(results.len()..results.len() + stacked.len()).collect(),
        carries: carries.count(),
        slices: scan.slices,
    };
    let op: Op = Scan { body, ..scan.clone() }.into();
    let new = selection.put(graph, id, &op, &operands)?;
    let mut outer = Outer::new(scan, &operands, &table);
    let outputs = |number: &usize| scan.body.outputs()[*number].value;
    let values = kept.iter().map(outputs).chain(stacked.iter().copied());
    for (value, &result) in values.zip(&new).skip(selection.carries) {
        outer.know(value, result);
    }
    for number in done {
        let mut value = outer.stacked(graph, outputs(&number))?;
        if let Some(guard) = guard {
            let run = outer.stacked(graph, guard)?;
            value = where_run(graph, run, value)?;
        }
        graph.replace_uses(results[number], value);
    }
    for sum in &behind.sums {
        let value = sum.whole(graph, scan, &mut outer, operands[sum.carry])?;
        graph.replace_uses(results[sum.carry], value);
    }
    graph.remove(id);
    Ok(new.first().map_or(Left::Nothing, |value| Left::Loop(value.node)))
}

/// A value of all steps, 0 where a step was not run.
fn where_run(graph: &mut Graph, run: Value, value: Value) -> Result<Value, GraphError> {
    let origin = graph.node(value.node).origin.clone();
    let mut b = Builder::new(graph, origin);
    let dims = b.dims(value);
    let run = b.broadcast(run, &dims, &[0])?;
    let zeros = b.zeros_like(value)?;
    b.select(run, value, zeros)
}

/// What is moved behind a loop.
struct Behind {
    /// Sums that are formed at once.
    sums: Vec<Sum>,
    /// Nodes that are computed at once.
    moved: NodeTable<bool>,
}

impl Behind {
    fn of(scan: &Scan, table: &NodeTable<Steps>, used: &[bool], unrun: Unrun) -> Behind {
        let body = &scan.body;
        let mut sums = sums(scan, table);
        // Terms of a guarded loop may be made of slices that are there for steps that were not run.
        sums.retain(|sum| used[sum.carry] && !scan.guarded);
        // What is stacked anyway: results, slices, and what products need.
        let mut known: ValueTable<()> = ValueTable::default();
        let stacks = body.outputs().iter().enumerate().skip(scan.carries);
        let stacks = stacks.filter(|(number, _)| used[*number]).map(|(_, output)| output.value);
        let stacks: Vec<Value> = stacks.collect();
        let made_of = sums.iter().filter(|sum| sum.pays).flat_map(|sum| sum.made_of.iter().copied());
        for value in stacks.iter().copied().chain(made_of) {
            known.insert(source(body, value), ());
        }
        // Progress: each round but the last leaves sums to the loop, which then needs their terms.
        loop {
            let mut chained = chained(scan, &sums);
            for id in body.order().into_iter().filter(|&id| !leaves(scan, id, unrun)) {
                chained.set(id, true);
            }
            let made_of = sums.iter().flat_map(|sum| sum.made_of.iter().copied());
            let moved = moved(scan, table, &chained, stacks.iter().copied().chain(made_of));
            let is_there = |value: &Value| {
                let source = source(body, *value);
                let is_stacked = known.get(source).is_some() || *table.get(source.node) == Steps::Apart;
                is_stacked || *moved.get(value.node)
            };
            let count = sums.len();
            sums.retain(|sum| sum.pays || sum.made_of.iter().all(is_there));
            if sums.len() == count {
                return Behind { sums, moved };
            }
        }
    }

    /// The values that the loop has to stack, beside those of its results that stay.
    fn stacked(&self, scan: &Scan, table: &NodeTable<Steps>, kept: &[usize]) -> Vec<Value> {
        let body = &scan.body;
        let mut known: ValueTable<()> = ValueTable::default();
        for &number in kept.iter().filter(|&&number| number >= scan.carries) {
            known.insert(body.outputs()[number].value, ());
        }
        let mut needed: Vec<Value> = self.sums.iter().flat_map(|sum| sum.made_of.iter().copied()).collect();
        for id in body.order() {
            if *self.moved.get(id) {
                needed.extend(body.node(id).operands.iter().copied());
            }
        }
        let mut stacked = Vec::new();
        // Progress: from values to their operands, each once.
        while let Some(value) = needed.pop() {
            if *self.moved.get(value.node) || *table.get(value.node) != Steps::Chained {
                continue;
            }
            if known.insert(value, ()).is_some() {
                continue;
            }
            match is_map(body, value) {
                true => needed.extend(body.node(value.node).operands.iter().copied()),
                false => stacked.push(value),
            }
        }
        stacked
    }
}

/// Whether a value has the elements of another, elsewhere: that is stacked in its place.
fn is_map(body: &Graph, value: Value) -> bool {
    matches!(body.node(value.node).op, Op::Reshape(_) | Op::Transpose(_) | Op::Broadcast(_) | Op::Reverse(_))
}

/// What a value is a map of.
fn source(body: &Graph, mut value: Value) -> Value {
    // From a value to its operand: graphs have no cycles.
    while is_map(body, value) {
        value = body.node(value.node).operands[0];
    }
    value
}

/// The nodes that carries need, but those of the sums.
fn chained(scan: &Scan, sums: &[Sum]) -> NodeTable<bool> {
    let body = &scan.body;
    let is_sum = |number: &usize| sums.iter().any(|sum| sum.carry == *number);
    let carries = (0..scan.carries).filter(|number| !is_sum(number));
    let mut open: Vec<NodeId> = carries.map(|number| body.outputs()[number].value.node).collect();
    let mut found: NodeTable<bool> = NodeTable::default();
    // Progress: every node is gone through once.
    while let Some(id) = open.pop() {
        if !found.set(id, true) {
            open.extend(body.node(id).operands.iter().map(|operand| operand.node));
        }
    }
    found
}

/// The nodes that are computed behind the loop: products that pay, and everything up to `roots`, results and what sums are made
/// of. None that has no form for all steps stands between.
fn moved(
    scan: &Scan,
    table: &NodeTable<Steps>,
    chained: &NodeTable<bool>,
    roots: impl IntoIterator<Item = Value>,
) -> NodeTable<bool> {
    let body = &scan.body;
    let order = body.order_from(roots);
    let mut stays: NodeTable<bool> = NodeTable::default();
    for &id in order.iter().rev() {
        let differ = differ(body, id, table);
        let movable = !chained.get(id) && way(body, id, &differ, scan.length).is_some();
        if !movable || *stays.get(id) {
            stays.set(id, true);
            for operand in &body.node(id).operands {
                stays.set(operand.node, true);
            }
        }
    }
    let mut moved: NodeTable<bool> = NodeTable::default();
    for &id in &order {
        let follows = body.node(id).operands.iter().any(|operand| *moved.get(operand.node));
        if !stays.get(id) && (follows || pays(body, id, table)) {
            moved.set(id, true);
        }
    }
    moved
}
