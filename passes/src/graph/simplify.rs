//! Rewrite rules that keep the bits.
//!
//! Two tables of named rules: `algebra` holds identities of scalar operations, written as terms; `shapes`
//! holds those of shapes, reductions and conversions, written as functions. No right-hand side computes more
//! than its left-hand side, and every rule is exact for all values, NaN, infinities and signed zeros included: `x + 0`
//! stays for floats (it makes +0 of -0), `x * 0` too. Reassociation and other rules that round differently have
//! no place here.
//!
//! Axes of extent 1 may be left out or moved without moving an element. But the batch may be one: a pass that changes rounding
//! must find the same graph for every batch ([`batch`](mod@crate::facts::batch)). So there are two passes of one table:
//! [`canonical`] leaves out the rules that ask for extents of 1 along axes that stay, and comes before such passes; [`simplify`]
//! has all of them, and comes behind.
//!
//! Rules look only at what a node stands on, and the nodes they build are simplified before their users, so one
//! sweep reaches the fixed point; the cost is linear in the graph.

#[macro_use]
mod rules;
mod algebra;
mod shapes;

use brolga_ir::{Builder, Graph, GraphError};

use crate::options::Options;
use crate::rewrite::regions;
use crate::rewrite::rewriter::sweep;

/// Applies the rules to a fixed point.
pub fn simplify(graph: &mut Graph, _: &Options) -> Result<bool, GraphError> {
    simplify_traced(graph, &mut |_| {})
}

/// Applies the rules that do the same for every batch.
pub fn canonical(graph: &mut Graph, _: &Options) -> Result<bool, GraphError> {
    rewrite(graph, false, &mut |_| {})
}

/// The names of all rules.
pub fn rules() -> impl Iterator<Item = &'static str> {
    algebra::names().chain(shapes::RULES.iter().map(|rule| rule.name))
}

/// As [`simplify`]; calls `trace` with the name of each rule that is applied.
pub fn simplify_traced(graph: &mut Graph, trace: &mut dyn FnMut(&'static str)) -> Result<bool, GraphError> {
    rewrite(graph, true, trace)
}

/// Applies the rules, with or without those about extents of 1.
fn rewrite(graph: &mut Graph, units: bool, trace: &mut dyn FnMut(&'static str)) -> Result<bool, GraphError> {
    let inside = regions::apply(graph, &mut |region| rewrite(region, units, trace))?;
    let here = sweep(graph, |graph, id| {
        if graph.parameter(id).is_some() || graph.node(id).types.len() != 1 {
            return Ok(None);
        }
        let origin = graph.node(id).origin.clone();
        let b = &mut Builder::new(graph, origin);
        if let Some((name, value)) = algebra::rewrite(b, id)? {
            trace(name);
            return Ok(Some(vec![value]));
        }
        for rule in shapes::RULES.iter().filter(|rule| units || !rule.units) {
            if let Some(value) = (rule.apply)(b, id)? {
                trace(rule.name);
                return Ok(Some(vec![value]));
            }
        }
        Ok(None)
    })?;
    Ok(inside || here)
}
