//! Makers of region operators.

use super::maker::{Made, Maker, scalar};
use crate::builder::Builder;
use crate::graph::{Graph, GraphError, Origin, Value};
use crate::ops::{Cond, Fused, Role, Scan, While};
use crate::program::Combine;
use crate::scalar::{Comparison, Function, ScalarOp};
use crate::types::{DType, Type};

/// A region of those parameters.
fn region(
    name: &str,
    types: &[Type],
    build: impl FnOnce(&mut Builder, &[Value]) -> Result<Vec<Value>, GraphError>,
) -> Result<Graph, GraphError> {
    let mut graph = Graph::new(name);
    let parameters: Vec<Value> = types
        .iter()
        .enumerate()
        .map(|(i, ty)| graph.add_parameter(&format!("p{i}"), Role::Data, ty.clone()))
        .collect();
    let outputs = build(&mut Builder::new(&mut graph, Origin::new(name)), &parameters)?;
    for (i, value) in outputs.into_iter().enumerate() {
        graph.add_output(&format!("o{i}"), Role::Data, value);
    }
    Ok(graph)
}

/// A recurrent cell: `h' = tanh(h · k + x)`, `y = h' - x`, with a counter beside.
pub(super) fn scan(m: &mut Maker) -> Made {
    let float = m.config.float;
    let (length, rank) = (m.rng.below(5), 1 + m.rng.below(2));
    let dims = m.dims(rank);
    let slice = Type::new(float, dims.clone());
    let counter = Type::scalar(DType::I32);
    let body = region("cell", &[slice.clone(), counter.clone(), slice.clone(), slice.clone()], |b, p| {
        let scaled = b.mul(p[0], p[3])?;
        let sum = b.add(scaled, p[2])?;
        let next = b.function(Function::Tanh, sum)?;
        let y = b.sub(next, p[2])?;
        let one = b.constant(scalar(1.0, DType::I32))?;
        let count = b.add(p[1], one)?;
        Ok(vec![next, count, y, p[1]])
    })?;
    let stacked = Type::new(float, [&[length], dims.as_slice()].concat());
    let operands = [m.of_type(&slice), m.of_type(&counter), m.of_type(&stacked), m.of_type(&slice)];
    let reverse = m.rng.once_in(2);
    m.add(Scan { body, length, carries: 2, slices: 1, reverse }, &operands)
}

pub(super) fn cond(m: &mut Maker) -> Made {
    let x = m.any_float(0);
    let y = m.like(x);
    let ty = m.graph.ty(x).clone();
    let then = region("then", &[ty.clone(), ty.clone()], |b, p| Ok(vec![b.mul(p[0], p[1])?]))?;
    let otherwise =
        region("otherwise", &[ty.clone(), ty], |b, p| Ok(vec![b.function(Function::Cos, p[1])?]))?;
    let condition = m.of_type(&Type::scalar(DType::Bool));
    m.add(Cond { then, otherwise }, &[condition, x, y])
}

/// Doubles a counter until it passes a bound, and halves a tensor as often.
pub(super) fn looped(m: &mut Maker) -> Made {
    let x = m.any_float(0);
    let ty = m.graph.ty(x).clone();
    let counter = Type::scalar(DType::I32);
    let types = [counter.clone(), ty, counter.clone()];
    let condition = region("condition", &types, |b, p| Ok(vec![b.compare(Comparison::Lt, p[0], p[2])?]))?;
    let body = region("body", &types, |b, p| {
        let one = b.constant(scalar(1.0, DType::I32))?;
        let next = b.add(p[0], one)?;
        Ok(vec![next, b.mul_scalar(p[1], 0.5)?])
    })?;
    let (start, bound) = (m.of_type(&counter), m.of_type(&counter));
    let limit = m.rng.below(6);
    m.add(While { condition, body, carries: 2, limit }, &[start, x, bound])
}

/// An elementwise chain with a reduction behind it.
pub(super) fn fused(m: &mut Maker) -> Made {
    let x = m.any_float(1);
    let y = m.like(x);
    let ty = m.graph.ty(x).clone();
    let last = ty.rank() - 1;
    let body = region("fused", &[ty.clone(), ty], |b, p| {
        let product = b.mul(p[0], p[1])?;
        let bounded = b.function(Function::Tanh, product)?;
        let sum = b.reduce(Combine::Add, bounded, &[last])?;
        let size = b.elementwise(ScalarOp::Abs, &[sum])?;
        Ok(vec![bounded, size])
    })?;
    m.add(Fused { body }, &[x, y])
}
