//! Rewrite rules that keep the bits.
//!
//! Two tables of named rules: `algebra` holds identities of scalar operations, written as terms; `shapes`
//! holds those of shapes, reductions and conversions, written as functions. No right-hand side computes more
//! than its left-hand side, and every rule is exact for all values, NaN, infinities and signed zeros included: `x + 0`
//! stays for floats (it makes +0 of -0), `x * 0` too. Reassociation and other rules that round differently have
//! no place here.
//!
//! Rules look only at what a node stands on, and the nodes they build are simplified before their users, so one
//! sweep reaches the fixed point; the cost is linear in the graph.

mod algebra;
mod shapes;

use brolga_ir::{Builder, Graph, GraphError, NodeId, Value};

use crate::manager::Options;
use crate::regions;
use crate::rewrite::sweep;

/// What a rule makes of a node's only result.
type Rewritten = Result<Option<Value>, GraphError>;

/// A rule of [`shapes`].
struct Rule {
    name: &'static str,
    apply: fn(&mut Builder, NodeId) -> Rewritten,
}

/// Applies the rules to a fixed point.
pub fn simplify(graph: &mut Graph, _: &Options) -> Result<bool, GraphError> {
    simplify_traced(graph, &mut |_| {})
}

/// The names of all rules.
pub fn rules() -> impl Iterator<Item = &'static str> {
    algebra::names().chain(shapes::RULES.iter().map(|rule| rule.name))
}

/// As [`simplify`]; calls `trace` with the name of each rule that is applied.
pub fn simplify_traced(graph: &mut Graph, trace: &mut dyn FnMut(&'static str)) -> Result<bool, GraphError> {
    let inside = regions::apply(graph, &mut |region| simplify_traced(region, trace))?;
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
        for rule in shapes::RULES {
            if let Some(value) = (rule.apply)(b, id)? {
                trace(rule.name);
                return Ok(Some(vec![value]));
            }
        }
        Ok(None)
    })?;
    Ok(inside || here)
}
