//! `tables`: plain steps change the rows of a table that were used, and no others.
//!
//! The gradient of a table, the weights of an `Embedding`, is zero but for the rows that a batch has used. A step `w - g * rate`
//! with a positive constant rate leaves the others as they are: `x - 0` is x, of -0 as well. So the step is made of those rows,
//! and they are put back, `scatter_set(w, rows, w[rows] - g[rows] * rate)`, which lowering does in place. Sums that are still made
//! in a table of zeros are made in as many rows as there are updates first.
//!
//! Not done: steps that move every row, with momentum, decay or averages; rates that are computed, which could be negative or
//! infinite; gradients that somebody else reads, such as a norm to clip by. Exact, but that a NaN of a row that is not used keeps
//! its payload. Linear in the nodes.

use brolga_ir::ops::{Op, Role, Scatter, ScatterMode};
use brolga_ir::scalar::{Scalar, ScalarOp};
use brolga_ir::{Builder, Graph, GraphError, NodeId, Value};

use crate::facts::constants::splat;
use crate::graph::accumulate::by_rows;
use crate::options::Options;
use crate::rewrite::rewriter::{Replacement, sweep_for};

/// Rewrites steps of tables.
pub fn tables(graph: &mut Graph, _: &Options) -> Result<bool, GraphError> {
    let of_kind = |op: &Op| matches!(op, Op::Scatter(_));
    sweep_for(graph, of_kind, &mut step)
}

/// What is subtracted from a table: a gradient, and the rate that it is multiplied by, before it or behind it.
struct Step {
    gradient: Value,
    rate: Option<(Scalar, bool)>,
}

fn step(graph: &mut Graph, id: NodeId) -> Replacement {
    let node = graph.node(id);
    let Op::Elementwise(op) = &node.op else { return Ok(None) };
    let (ScalarOp::Sub, &[table, change]) = (op.op, &node.operands[..]) else { return Ok(None) };
    let is_state = graph.parameter(table.node).is_some_and(|parameter| parameter.role == Role::State);
    if !is_state || graph.use_count(change) != 1 {
        return Ok(None);
    }
    let Some(Step { gradient, rate }) = parts(graph, change) else { return Ok(None) };
    let Op::Scatter(Scatter { axis, mode }) = graph.node(gradient.node).op else { return Ok(None) };
    let [base, indices, updates] = graph.node(gradient.node).operands[..] else { return Ok(None) };
    let (extent, count) = (graph.ty(table).dims[axis], graph.ty(indices).elements());
    let zeros = splat(graph, base).is_some_and(|zero| is_positive(zero) && zero.to_f64() == 0.0);
    let fits = count < extent && i32::try_from(extent).is_ok();
    if graph.use_count(gradient) != 1 || !zeros || !fits {
        return Ok(None);
    }
    let (origin, dtype) = (node.origin.clone(), graph.ty(table).dtype);
    let b = &mut Builder::new(graph, origin);
    let (indices, updates) = match mode {
        ScatterMode::Set => (indices, updates),
        ScatterMode::Add if dtype.is_float() => {
            let sums = by_rows(b, [base, indices, updates], axis, dtype)?;
            let [_, indices, updates] = b.graph.node(sums.node).operands[..] else { return Ok(None) };
            (indices, updates)
        }
        _ => return Ok(None),
    };
    let old = b.gather(table, indices, axis)?;
    let change = match rate {
        None => updates,
        Some((rate, first)) => {
            let rate = b.full_like(updates, rate.to_f64())?;
            if first { b.mul(rate, updates)? } else { b.mul(updates, rate)? }
        }
    };
    let new = b.sub(old, change)?;
    Ok(Some(vec![b.scatter_set(table, indices, new, axis)?]))
}

/// The parts of a change that is nothing where the gradient is.
fn parts(graph: &Graph, change: Value) -> Option<Step> {
    let node = graph.node(change.node);
    let Op::Elementwise(op) = &node.op else { return Some(Step { gradient: change, rate: None }) };
    let (ScalarOp::Mul, &[a, b]) = (op.op, &node.operands[..]) else { return None };
    let (gradient, rate, first) = match (splat(graph, a), splat(graph, b)) {
        (None, Some(rate)) => (a, rate, false),
        (Some(rate), None) => (b, rate, true),
        _ => return None,
    };
    let fits = is_positive(rate) && rate.to_f64().is_finite();
    fits.then_some(Step { gradient, rate: Some((rate, first)) })
}

/// Whether a float has a positive sign.
fn is_positive(value: Scalar) -> bool {
    matches!(value, Scalar::F32(_) | Scalar::F64(_)) && value.to_f64().is_sign_positive()
}
