//! Takes out of loops what nothing behind them uses: results, and carries that no result needs. It goes into the bodies of loops
//! that stay. So a loop may offer all that has a name in it.

use std::collections::HashSet;

use brolga_ir::graph::{Graph, NodeId, Value};
use brolga_ir::ops::{Op, Scan};

/// Shrinks all loops that the outputs need, and removes what is dead then.
pub(crate) fn shrink(graph: &mut Graph) {
    let order = graph.order();
    let mut used: HashSet<Value> = graph.outputs().iter().map(|output| output.value).collect();
    for id in order.into_iter().rev() {
        let results = graph.results(id);
        if !results.iter().any(|result| used.contains(result)) {
            continue;
        }
        let mut now = id;
        if let Op::Scan(scan) = &graph.node(id).op {
            let wanted: Vec<bool> = results.iter().map(|result| used.contains(result)).collect();
            let smaller = smaller(scan, &wanted);
            now = replace(graph, id, smaller);
        }
        used.extend(graph.node(now).operands.iter().copied());
    }
    drop_dead(graph);
}

/// Removes the nodes that no output needs, but parameters.
fn drop_dead(graph: &mut Graph) {
    let live: HashSet<NodeId> = graph.order().into_iter().collect();
    let mut dead: Vec<NodeId> = graph.nodes().filter(|id| !live.contains(id)).collect();
    // Users first. Most stand behind their operands; not those of loops that were replaced.
    while !dead.is_empty() {
        let mut rest = Vec::new();
        for id in dead.into_iter().rev() {
            if graph.is_used(id) {
                rest.push(id);
            } else {
                graph.remove(id);
            }
        }
        rest.reverse();
        dead = rest;
    }
}

/// A loop with fewer results, and which of its results and operands are left.
struct Smaller {
    scan: Scan,
    results: Vec<usize>,
    operands: Vec<usize>,
}

/// The loop that gives the results that are wanted. Carries that these need stay with them.
fn smaller(scan: &Scan, wanted: &[bool]) -> Smaller {
    let mut body = scan.body.clone();
    let kept = needed(scan, wanted);
    let results: Vec<usize> = (0..kept.len()).filter(|&at| kept[at]).collect();
    let mut position = 0;
    body.outputs_mut().retain(|_| {
        position += 1;
        kept[position - 1]
    });
    shrink(&mut body);
    // A carry that stays has its parameter, be it read or not.
    let read = |at: usize| {
        let parameter = body.parameters()[at];
        body.is_used(parameter) || body.outputs().iter().any(|output| output.value.node == parameter)
    };
    let count = body.parameters().len();
    let operands: Vec<usize> =
        (0..count).filter(|&at| if at < scan.carries { kept[at] } else { read(at) }).collect();
    let stay: HashSet<NodeId> = operands.iter().map(|&at| body.parameters()[at]).collect();
    body.retain_parameters(|_, id| stay.contains(&id));
    let carries = operands.iter().filter(|&&at| at < scan.carries).count();
    let slices = operands.iter().filter(|&&at| at < scan.carries + scan.slices).count() - carries;
    let scan = Scan { body, carries, slices, ..*scan };
    Smaller { scan, results, operands }
}

/// Which outputs of the body the wanted ones need: these, and the carries that they are made of; and what says if the loop goes on.
fn needed(scan: &Scan, wanted: &[bool]) -> Vec<bool> {
    let body = &scan.body;
    let mut kept = wanted.to_vec();
    kept.iter_mut().take(1).for_each(|guard| *guard |= scan.guarded);
    let mut seen: HashSet<NodeId> = HashSet::new();
    let outputs = body.outputs();
    let mut stack: Vec<NodeId> =
        (0..kept.len()).filter(|&at| kept[at]).map(|at| outputs[at].value.node).collect();
    while let Some(id) = stack.pop() {
        if !seen.insert(id) {
            continue;
        }
        stack.extend(body.node(id).operands.iter().map(|operand| operand.node));
        let carry = body.parameters()[..scan.carries].iter().position(|parameter| *parameter == id);
        if let Some(carry) = carry.filter(|&carry| !kept[carry]) {
            kept[carry] = true;
            stack.push(outputs[carry].value.node);
        }
    }
    kept
}

/// Puts a smaller loop in the place of one. Its number, or the old one where nothing changes.
fn replace(graph: &mut Graph, id: NodeId, smaller: Smaller) -> NodeId {
    let node = graph.node(id);
    if matches!(&node.op, Op::Scan(scan) if *scan == smaller.scan) {
        return id;
    }
    let operands: Vec<Value> = smaller.operands.iter().map(|&at| node.operands[at]).collect();
    let (origin, before) = (node.origin.clone(), graph.results(id));
    // What is left of a loop is one.
    let Ok(new) = graph.add(smaller.scan, &operands, &origin) else { return id };
    for (at, result) in smaller.results.into_iter().zip(graph.results(new)) {
        graph.replace_uses(before[at], result);
    }
    new
}
