//! Carries whose next value is known before the loop: what the step before had is a sequence, shifted by one.
//!
//! A decoder that is trained takes the truth of the step before, so no step needs another one.

use brolga_ir::ops::{Op, Scan};
use brolga_ir::{Builder, Graph, GraphError, NodeId, Value};

use super::outer::{Left, Outer, Steps, differences};
use crate::facts::unrun::Unrun;
use crate::rewrite::interface::{Selection, new_parameter};

/// Makes slices of such carries.
pub(super) fn shift(graph: &mut Graph, id: NodeId, scan: &Scan, unrun: Unrun) -> Result<Left, GraphError> {
    let table = differences(scan, unrun);
    let next = |carry: usize| scan.body.outputs()[carry].value;
    let is_known = |carry: &usize| *table.get(next(*carry).node) != Steps::Chained;
    let known: Vec<usize> = (0..scan.carries).filter(is_known).collect();
    if known.is_empty() {
        return Ok(Left::All);
    }
    let mut operands = graph.node(id).operands.clone();
    let (count, results) = (operands.len(), graph.results(id));
    let mut outer = Outer::new(scan, &operands, &table);
    let mut body = scan.body.clone();
    for &carry in &known {
        let all = outer.stacked(graph, next(carry))?;
        let origin = scan.body.node(next(carry).node).origin.clone();
        let mut b = Builder::new(graph, origin);
        let [before, last] = shifted(&mut b, scan, operands[carry], all)?;
        graph.replace_uses(results[carry], last);
        let parameter = scan.body.result(scan.body.parameters()[carry]);
        let slice = new_parameter(&mut body, "before", scan.body.ty(parameter));
        body.replace_uses(parameter, slice);
        operands.push(before);
    }
    let fixed = scan.carries + scan.slices;
    let left = (0..scan.carries).filter(|carry| !is_known(carry));
    let selection = Selection {
        parameters: left
            .clone()
            .chain(scan.carries..fixed)
            .chain(count..operands.len())
            .chain(fixed..count)
            .collect(),
        stands: (0..operands.len()).collect(),
        outputs: left.clone().chain(scan.carries..results.len()).collect(),
        carries: left.count(),
        slices: scan.slices + known.len(),
    };
    let op: Op = Scan { body, ..scan.clone() }.into();
    let new = selection.put(graph, id, &op, &operands)?;
    graph.remove(id);
    Ok(new.first().map_or(Left::Nothing, |value| Left::Loop(value.node)))
}

/// What each step begins with, and what the last one leaves, of a carry that starts so and has these values behind all steps.
fn shifted(b: &mut Builder, scan: &Scan, start: Value, all: Value) -> Result<[Value; 2], GraphError> {
    let (steps, dims) = (scan.length, b.dims(start));
    let first = b.reshape(start, &[&[1], dims.as_slice()].concat())?;
    let (before, last) = match scan.reverse {
        false => {
            let others = b.slice_axis(all, 0, 0, steps - 1)?;
            (b.concat(&[first, others], 0)?, b.slice_axis(all, 0, steps - 1, steps)?)
        }
        true => {
            let others = b.slice_axis(all, 0, 1, steps)?;
            (b.concat(&[others, first], 0)?, b.slice_axis(all, 0, 0, 1)?)
        }
    };
    Ok([before, b.reshape(last, &dims)?])
}
