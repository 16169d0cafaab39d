//! Carries, slices, captures and results of regions that are the same twice.
//!
//! Two captures of one value are one, and so are two slices, and two results that a region computes as one value. Two carries
//! are equal if they start as one value and go on as one value as long as they are equal: they are taken to be so, and those
//! that differ behind an iteration are told apart, until none are.

use brolga_ir::{Graph, GraphError, NodeId, Value};

use crate::rewrite::interface::{Interface, Selection};

/// Makes equal nodes one.
type Share = fn(&mut Graph) -> Result<bool, GraphError>;

/// Makes what passes between the nodes of a graph and their regions pass once; whether anything did twice.
pub(super) fn pass_once(graph: &mut Graph, share: Share) -> Result<bool, GraphError> {
    let mut changed = false;
    let holds = |id: &NodeId| Interface::of(&graph.node(*id).op).is_some();
    let holders: Vec<NodeId> = graph.order().into_iter().filter(holds).collect();
    for id in holders {
        changed |= node_once(graph, id, share)?;
    }
    Ok(changed)
}

fn node_once(graph: &mut Graph, id: NodeId, share: Share) -> Result<bool, GraphError> {
    let node = graph.node(id).clone();
    let Some(interface) = Interface::of(&node.op) else { return Ok(false) };
    let (carries, count) = (interface.carries, interface.parameters());
    let operands = &node.operands[interface.first..];
    let fixed = carries + interface.slices;
    let mut stands = equal_carries(&interface, operands, share)?;
    for number in carries..count {
        let from = if number < fixed { carries } else { fixed };
        stands.push((from..number).find(|&first| operands[first] == operands[number]).unwrap_or(number));
    }
    // The result that each result is: of carries, that of the carry that stands for it.
    let same = |a: usize, b: usize| {
        let giving = &interface.regions[interface.giving..];
        giving.iter().all(|region| region.outputs()[a].value == region.outputs()[b].value)
    };
    let first = |number: usize| match number < carries {
        true => stands[number],
        false => (carries..number).find(|&first| same(first, number)).unwrap_or(number),
    };
    let results: Vec<usize> = (0..interface.outputs()).map(first).collect();
    let is_first = |list: &[usize], number: usize| list[number] == number;
    let parameters: Vec<usize> = (0..count).filter(|&number| is_first(&stands, number)).collect();
    let outputs: Vec<usize> = (0..results.len()).filter(|&number| is_first(&results, number)).collect();
    if parameters.len() == count && outputs.len() == results.len() {
        return Ok(false);
    }
    for (number, &first) in results.iter().enumerate().filter(|&(number, &first)| number != first) {
        let old = graph.results(id);
        graph.replace_uses(old[number], old[first]);
    }
    let of =
        |range: std::ops::Range<usize>| parameters.iter().filter(|number| range.contains(*number)).count();
    let (carries, slices) = (of(0..carries), of(carries..fixed));
    Selection { parameters, stands, outputs, carries, slices }.apply(graph, id)?;
    Ok(true)
}

/// For each carry the first that equals it.
fn equal_carries(interface: &Interface, starts: &[Value], share: Share) -> Result<Vec<usize>, GraphError> {
    let carries = interface.carries;
    let alike = |number: usize| (0..number).find(|&first| starts[first] == starts[number]);
    let mut equal: Vec<usize> = (0..carries).map(|number| alike(number).unwrap_or(number)).collect();
    // Progress: each round but the last tells some apart.
    while (0..carries).any(|number| equal[number] != number) {
        let mut body = interface.regions[interface.giving].clone();
        let parameters: Vec<Value> = body.parameters().iter().map(|&id| body.result(id)).collect();
        for (number, &first) in equal.iter().enumerate().filter(|&(number, &first)| number != first) {
            body.replace_uses(parameters[number], parameters[first]);
        }
        share(&mut body)?;
        let next = |number: usize| body.outputs()[number].value;
        let together =
            |first: usize, number: usize| equal[first] == equal[number] && next(first) == next(number);
        let told: Vec<usize> =
            (0..carries).map(|number| (0..number).find(|&f| together(f, number)).unwrap_or(number)).collect();
        if told == equal {
            break;
        }
        equal = told;
    }
    Ok(equal)
}
