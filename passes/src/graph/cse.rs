//! Common-subexpression elimination by hash-consing.
//!
//! Nodes with equal operators, choices, operands and types become one, the first in canonical order; operands of
//! commutative operations are compared in either order. Random numbers are functions of stream, seed and step, so equal draws are
//! one draw. Regions are compared as a whole; what passes twice between a node and its regions passes once (`cse/alike.rs`).
//! Does not know algebra: that is `simplify`. Linear for each
//! level of regions, but for loops with several carries that start alike.

mod alike;

use std::hash::{DefaultHasher, Hash, Hasher};

use brolga_ir::attribute::Attribute;
use brolga_ir::ops::Op;
use brolga_ir::{Graph, GraphError, Node, NodeId, Tensor, Value};
use rustc_hash::FxHashMap;

use crate::options::Options;
use crate::rewrite::regions;
use crate::rewrite::rewriter::sweep;

/// Makes equal nodes one.
pub fn cse(graph: &mut Graph, _: &Options) -> Result<bool, GraphError> {
    share(graph)
}

fn share(graph: &mut Graph) -> Result<bool, GraphError> {
    let mut changed = false;
    // What is one inside may make nodes equal, and what is one outside values inside. Progress: all rounds but the last make
    // something one.
    loop {
        changed |= share_nodes(graph)?;
        let passed = alike::pass_once(graph, share)?;
        let inside = regions::apply(graph, &mut share)?;
        if !(passed || inside) {
            return Ok(changed);
        }
        changed = true;
    }
}

fn share_nodes(graph: &mut Graph) -> Result<bool, GraphError> {
    let mut known: FxHashMap<u64, Vec<NodeId>> = FxHashMap::default();
    sweep(graph, |graph, id| {
        if graph.parameter(id).is_some() {
            return Ok(None);
        }
        let alike = known.entry(hash(graph, graph.node(id))).or_default();
        if let Some(&first) = alike.iter().find(|&&first| same(graph, first, id)) {
            return Ok(Some(graph.results(first)));
        }
        alike.push(id);
        Ok(None)
    })
}

/// The operands, those of a commutative operation in ascending order.
fn operands(graph: &Graph, node: &Node) -> Vec<Value> {
    let mut operands = node.operands.clone();
    if let Op::Elementwise(elementwise) = &node.op
        && elementwise.op.is_commutative(graph.ty(operands[0]).dtype)
    {
        operands[..2].sort_unstable();
    }
    operands
}

fn same(graph: &Graph, a: NodeId, b: NodeId) -> bool {
    let chosen = graph.choice(a) == graph.choice(b);
    let (a, b) = (graph.node(a), graph.node(b));
    chosen && a.op == b.op && a.types == b.types && operands(graph, a) == operands(graph, b)
}

fn hash(graph: &Graph, node: &Node) -> u64 {
    let mut state = DefaultHasher::new();
    node.op.get().name().hash(&mut state);
    node.types.hash(&mut state);
    operands(graph, node).hash(&mut state);
    match &node.op {
        Op::Constant(constant) => hash_tensor(&constant.value, &mut state),
        // Regions are few: compared, never hashed.
        op if !op.regions().is_empty() => {}
        op => op.get().attributes().iter().for_each(|(_, attribute)| hash_attribute(attribute, &mut state)),
    }
    state.finish()
}

fn hash_attribute(attribute: &Attribute, state: &mut DefaultHasher) {
    match attribute {
        Attribute::Int(v) => v.hash(state),
        Attribute::Float(v) => v.to_bits().hash(state),
        Attribute::Bool(v) => v.hash(state),
        Attribute::Name(v) | Attribute::Text(v) => v.hash(state),
        Attribute::List(list) => list.iter().for_each(|item| hash_attribute(item, state)),
        Attribute::Tensor(tensor) => hash_tensor(tensor, state),
        Attribute::Graph(_) => {}
    }
}

/// The first elements tell most constants apart. All NaNs are one value.
fn hash_tensor(tensor: &Tensor, state: &mut DefaultHasher) {
    for position in 0..tensor.elements().min(32) {
        let value = tensor.get(position);
        let float = value.to_f64();
        if float.is_nan() { 1u8.hash(state) } else { (float.to_bits(), value.to_i64()).hash(state) }
    }
}
