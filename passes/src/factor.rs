//! Moves factors that do not vary along the summed axes out of sums: `Σ x · c = (Σ x) · c`.
//!
//! The gradient of a normalisation sums `dy · gamma · (x - mean)`, `dy · (x - mean) · scale`, `-dy · gamma · scale`, …
//! over everything but the channels. With the factors of a channel outside, two sums are left, which do not wait for
//! each other, so `fuse` can form them in one pass over memory where there were three. Minus signs, divisors, and
//! the 2 of `x + x` move out too. Factors are recognised after `simplify`, as broadcasts; products of what stays are
//! put in one order, for `cse` to find equal ones.
//!
//! Sums are not taken apart (`Σ (x - c)` stays: the difference of two large sums would cancel). Changes
//! rounding. Linear; products deeper than six levels are left alone.

use brolga_ir::ops::{Broadcast, Elementwise, Op, Reduce};
use brolga_ir::program::Combine;
use brolga_ir::scalar::ScalarOp;
use brolga_ir::{Builder, Graph, GraphError, NodeId, Value};

use crate::manager::Options;
use crate::rewrite::{Replacement, sweep_all};

/// How many products of products are looked through.
const DEEPEST: usize = 6;

/// Moves factors out of sums.
pub fn factor(graph: &mut Graph, _: &Options) -> Result<bool, GraphError> {
    sweep_all(graph, &mut factor_node)
}

/// What moves out of a sum.
#[derive(Clone, Copy)]
enum Outer {
    Mul(Value),
    Div(Value),
    Neg,
    Twice,
}

fn factor_node(graph: &mut Graph, id: NodeId) -> Replacement {
    let node = graph.node(id);
    let Op::Reduce(Reduce { combine: Combine::Add, axes }) = &node.op else { return Ok(None) };
    let (x, axes, ty) = (node.operands[0], axes.clone(), node.types[0].clone());
    if !ty.dtype.is_float() || ty.elements() == graph.ty(x).elements() {
        return Ok(None);
    }
    let mut outer = Vec::new();
    let mut inner = split(graph, x, &axes, 0, &mut outer);
    if outer.is_empty() || inner.is_empty() {
        return Ok(None);
    }
    inner.sort_unstable();
    let origin = node.origin.clone();
    let b = &mut Builder::new(graph, origin);
    let mut product = inner[0];
    for &next in &inner[1..] {
        product = b.mul(product, next)?;
    }
    let mut sum = b.sum(product, &axes)?;
    for step in outer {
        sum = match step {
            Outer::Neg => b.neg(sum)?,
            Outer::Twice => b.add(sum, sum)?,
            Outer::Mul(by) => {
                let by = reduced(b, by, &axes, &ty.dims)?;
                b.mul(sum, by)?
            }
            Outer::Div(by) => {
                let by = reduced(b, by, &axes, &ty.dims)?;
                b.div(sum, by)?
            }
        };
    }
    Ok(Some(vec![sum]))
}

/// The factors of a value that vary along `axes`; the others go to `outer`. A product without others is one factor.
fn split(graph: &Graph, value: Value, axes: &[usize], depth: usize, outer: &mut Vec<Outer>) -> Vec<Value> {
    let node = graph.node(value.node);
    let Op::Elementwise(Elementwise { op }) = node.op else { return vec![value] };
    if depth == DEEPEST {
        return vec![value];
    }
    let inside = |position: usize, outer: &mut Vec<Outer>| {
        split(graph, node.operands[position], axes, depth + 1, outer)
    };
    match op {
        ScalarOp::Neg => {
            outer.push(Outer::Neg);
            inside(0, outer)
        }
        ScalarOp::Add if node.operands[0] == node.operands[1] => {
            outer.push(Outer::Twice);
            inside(0, outer)
        }
        ScalarOp::Mul => {
            for (position, other) in [(1, 0), (0, 1)] {
                if constant_along(graph, node.operands[position], axes) {
                    outer.push(Outer::Mul(node.operands[position]));
                    return inside(other, outer);
                }
            }
            let before = outer.len();
            let mut factors = inside(0, outer);
            factors.extend(inside(1, outer));
            if outer.len() == before { vec![value] } else { factors }
        }
        ScalarOp::Div if constant_along(graph, node.operands[1], axes) => {
            outer.push(Outer::Div(node.operands[1]));
            inside(0, outer)
        }
        _ => vec![value],
    }
}

/// Whether a value is a broadcast along all of the axes.
fn constant_along(graph: &Graph, value: Value, axes: &[usize]) -> bool {
    matches!(&graph.node(value.node).op, Op::Broadcast(Broadcast { axes: own, .. })
        if !own.iter().any(|axis| axes.contains(axis)))
}

/// A broadcast without the axes that are summed.
fn reduced(b: &mut Builder, value: Value, axes: &[usize], dims: &[usize]) -> Result<Value, GraphError> {
    let node = b.graph.node(value.node);
    let Op::Broadcast(Broadcast { axes: own, .. }) = &node.op else {
        return Err(b.error("a factor is no broadcast"));
    };
    let left = |axis: &usize| axis - axes.iter().filter(|&reduced| reduced < axis).count();
    let (x, own) = (node.operands[0], own.iter().map(left).collect::<Vec<usize>>());
    b.broadcast(x, dims, &own)
}
