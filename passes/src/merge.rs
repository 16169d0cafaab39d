//! Merges products and convolutions that read the same input.
//!
//! Products of one value with several fixed weights (queries, keys and values; the 1x1 convolutions of an inception
//! block) become one product with the weights joined along their output axis, and slices of its result, which are
//! views. Convolutions must agree in kernel, stride, padding and dilation, and have one group. Worth it where the
//! joined weights are computed once ([`prepare`](mod@crate::prepare)), so weights must be fixed: not while training.
//! Every output is the same chain of multiplications and additions as before: exact.

use std::collections::HashMap;

use brolga_ir::ops::{Conv, ConvForm, Op};
use brolga_ir::{Builder, Graph, GraphError, NodeId, Value};

use crate::fixed::{Dependence, dependence};
use crate::manager::Options;

/// Joins products of one input.
pub fn merge(graph: &mut Graph, _: &Options) -> Result<bool, GraphError> {
    let dependence = dependence(graph);
    // Groups in canonical order of their first member.
    let mut groups: Vec<(Axes, Vec<NodeId>)> = Vec::new();
    let mut by_input: HashMap<Value, Vec<usize>> = HashMap::new();
    for id in graph.order() {
        let Some(axes) = Axes::of(graph, id) else { continue };
        let node = graph.node(id);
        let fixed = *dependence.get(node.operands[1].node) == Dependence::State;
        if !fixed || *dependence.get(node.operands[0].node) != Dependence::Call {
            continue;
        }
        let known = by_input.entry(node.operands[0]).or_default();
        match known.iter().find(|&&group| alike(graph, groups[group].1[0], id, &axes)) {
            Some(&group) => groups[group].1.push(id),
            None => {
                known.push(groups.len());
                groups.push((axes, vec![id]));
            }
        }
    }
    let mut changed = false;
    for (axes, members) in groups.into_iter().filter(|(_, members)| members.len() > 1) {
        join(graph, &axes, &members)?;
        changed = true;
    }
    Ok(changed)
}

/// The output axis of the weights, and of the result.
struct Axes {
    weights: usize,
    result: usize,
}

impl Axes {
    /// Of a product of an input (the first operand) with weights that have one output axis.
    fn of(graph: &Graph, id: NodeId) -> Option<Axes> {
        match &graph.node(id).op {
            Op::Conv(Conv { form: ConvForm::Forward, groups: 1, .. }) => Some(Axes { weights: 0, result: 1 }),
            Op::Dot(dot) => {
                let rank = graph.operand_types(id)[1].rank();
                let &[weights] = dot.free(1, rank).as_slice() else { return None };
                Some(Axes { weights, result: graph.node(id).types[0].rank() - 1 })
            }
            _ => None,
        }
    }
}

/// Whether two products of one input differ only in their weights' output axis.
fn alike(graph: &Graph, a: NodeId, b: NodeId, axes: &Axes) -> bool {
    let weights = |id: NodeId| {
        let mut ty = graph.operand_types(id)[1].clone();
        ty.dims[axes.weights] = 0;
        ty
    };
    graph.node(a).op == graph.node(b).op && weights(a) == weights(b)
}

fn join(graph: &mut Graph, axes: &Axes, members: &[NodeId]) -> Result<(), GraphError> {
    let first = graph.node(members[0]).clone();
    let weights: Vec<Value> = members.iter().map(|&id| graph.node(id).operands[1]).collect();
    let b = &mut Builder::new(graph, first.origin.clone());
    let joined = b.concat(&weights, axes.weights)?;
    let product = b.add_node(first.op, &[first.operands[0], joined])?;
    let mut start = 0;
    for &id in members {
        let (extent, origin) = (graph.node(id).types[0].dims[axes.result], graph.node(id).origin.clone());
        let part = Builder::new(graph, origin).slice_axis(product, axes.result, start, start + extent)?;
        graph.replace_uses(graph.result(id), part);
        start += extent;
    }
    Ok(())
}
