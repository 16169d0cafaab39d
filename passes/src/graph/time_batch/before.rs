//! What depends on slices and captures alone: computed before the loop.

use brolga_ir::ops::{Op, Scan};
use brolga_ir::{Graph, GraphError, NodeId, Value};

use super::outer::{Left, Outer, Steps, differ, differences};
use crate::facts::table::{NodeTable, ValueTable};
use crate::facts::unrun::Unrun;
use crate::rewrite::interface::{Selection, new_parameter};

/// Moves work in front of a loop.
pub(super) fn move_before(
    graph: &mut Graph,
    id: NodeId,
    scan: &Scan,
    unrun: Unrun,
) -> Result<Left, GraphError> {
    let table = differences(scan, unrun);
    let moved = moved(&scan.body, &table);
    let results = graph.results(id);
    // Results that are nothing but work on slices. Those of a guarded loop end with it.
    let is_apart = |value: Value| *table.get(value.node) == Steps::Apart;
    let apart = |number: &usize| !scan.guarded && is_apart(scan.body.outputs()[*number].value);
    let done: Vec<usize> = (scan.carries..results.len()).filter(apart).collect();
    let done: Vec<usize> = done.into_iter().filter(|&number| graph.use_count(results[number]) > 0).collect();
    let kept: Vec<usize> =
        (0..results.len()).filter(|number| *number < scan.carries || !apart(number)).collect();
    let read = read_inside(&scan.body, &moved, &kept);
    if done.is_empty() && read.is_empty() {
        return Ok(Left::All);
    }
    let mut operands = graph.node(id).operands.clone();
    let count = operands.len();
    let mut outer = Outer::new(scan, &operands, &table);
    for number in done {
        let value = outer.stacked(graph, scan.body.outputs()[number].value)?;
        graph.replace_uses(results[number], value);
    }
    let mut body = scan.body.clone();
    for value in read {
        operands.push(outer.stacked(graph, value)?);
        let slice = new_parameter(&mut body, "slice", scan.body.ty(value));
        body.replace_uses(value, slice);
    }
    if !results.iter().any(|&result| graph.use_count(result) > 0) {
        return Ok(Left::Nothing);
    }
    let fixed = scan.carries + scan.slices;
    let selection = Selection {
        parameters: (0..fixed).chain(count..operands.len()).chain(fixed..count).collect(),
        stands: (0..operands.len()).collect(),
        outputs: kept,
        carries: scan.carries,
        slices: scan.slices + operands.len() - count,
    };
    let op: Op = Scan { body, ..scan.clone() }.into();
    let new = selection.put(graph, id, &op, &operands)?;
    graph.remove(id);
    Ok(new.first().map_or(Left::Nothing, |value| Left::Loop(value.node)))
}

/// The nodes that are computed before the loop where it reads them: products and look-ups that pay, and what follows them alone.
fn moved(region: &Graph, table: &NodeTable<Steps>) -> NodeTable<bool> {
    let mut moved: NodeTable<bool> = NodeTable::default();
    for id in region.order() {
        if *table.get(id) != Steps::Apart || region.parameter(id).is_some() {
            continue;
        }
        let follows = |&operand: &Value| {
            *moved.get(operand.node)
                && region.use_count(operand) == 1
                && region.node(id).types[0].elements() <= region.ty(operand).elements()
        };
        let is_follower =
            matches!(region.node(id).op, Op::Elementwise(_) | Op::Reshape(_) | Op::Transpose(_));
        let follows = is_follower && region.node(id).operands.iter().any(follows);
        moved.set(id, follows || pays(region, id, table));
    }
    moved
}

/// Whether a node reads something captured in every step that it would read once: the weights of a product, a table.
pub(super) fn pays(region: &Graph, id: NodeId, table: &NodeTable<Steps>) -> bool {
    let differ = differ(region, id, table);
    match &region.node(id).op {
        Op::Dot(_) | Op::Conv(_) => differ.contains(&true) && differ.contains(&false),
        Op::Gather(_) => differ == [false, true],
        _ => false,
    }
}

/// The moved values that what stays in the body reads, for those of its outputs.
fn read_inside(region: &Graph, moved: &NodeTable<bool>, outputs: &[usize]) -> Vec<Value> {
    let mut stays: NodeTable<bool> = NodeTable::default();
    let (mut found, mut known) = (Vec::new(), ValueTable::default());
    let mut read = |value: Value, stays: &mut NodeTable<bool>| {
        if !moved.get(value.node) {
            stays.set(value.node, true);
        } else if known.insert(value, ()).is_none() {
            found.push(value);
        }
    };
    for &number in outputs {
        read(region.outputs()[number].value, &mut stays);
    }
    for &id in region.order().iter().rev() {
        if *stays.get(id) {
            region.node(id).operands.iter().for_each(|&operand| read(operand, &mut stays));
        }
    }
    found
}
