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
    m.add(
        Scan { body, length, carries: 2, slices: 1, reverse, guarded: false, segments: Default::default() },
        &operands,
    )
}

/// A cell with products: of the slice with captured weights, of the state with two of them, of the state for a result, and one that
/// is summed over all iterations; and a sum of captures.
pub(super) fn cell(m: &mut Maker) -> Made {
    let float = m.config.float;
    let (length, extents) = (m.rng.below(5), m.dims(2));
    let (slice, row) = (Type::new(float, [extents[0]]), Type::new(float, [extents[1]]));
    let weights = Type::new(float, extents);
    let square = row.with_dims([row.dims[0]; 2]);
    let types = [&row, &weights, &slice, &weights, &row, &row, &square, &square].map(Type::clone);
    let body = region("cell", &types, |b, p| {
        let bias = b.add(p[4], p[5])?;
        let [kept, gate] = [p[6], p[7]].map(|weights| b.dot(p[0], weights, [&[], &[]], [&[0], &[0]]));
        let kept = b.mul(kept?, bias)?;
        let gate = b.function(Function::Sigmoid, gate?)?;
        let kept = b.mul(kept, gate)?;
        let into = b.dot(p[2], p[3], [&[], &[]], [&[0], &[0]])?;
        let sum = b.add(into, kept)?;
        let next = b.function(Function::Tanh, sum)?;
        let term = b.dot(p[2], next, [&[], &[]], [&[], &[]])?;
        let total = b.add(p[1], term)?;
        let out = b.dot(p[3], next, [&[], &[]], [&[1], &[0]])?;
        let out = b.function(Function::Tanh, out)?;
        Ok(vec![next, total, out, next])
    })?;
    let stacked = slice.with_dims([&[length], slice.dims.as_slice()].concat());
    let operands = [&row, &weights, &stacked, &weights, &row, &row, &square, &square].map(|ty| m.of_type(ty));
    let reverse = m.rng.once_in(2);
    m.add(
        Scan { body, length, carries: 2, slices: 1, reverse, guarded: false, segments: Default::default() },
        &operands,
    )
}

/// A loop over the rows of each matrix, in a loop over matrices.
pub(super) fn nested(m: &mut Maker) -> Made {
    let float = m.config.float;
    let dims = m.dims(3);
    let row = Type::new(float, [dims[2]]);
    let matrix = Type::new(float, dims[1..].to_vec());
    let all = Type::new(float, dims.clone());
    let inner = region("inner", &[row.clone(), row.clone(), row.clone()], |b, p| {
        let square = b.mul(p[2], p[2])?;
        let kept = b.mul(p[0], square)?;
        let sum = b.add(kept, p[1])?;
        let next = b.function(Function::Tanh, sum)?;
        Ok(vec![next, kept])
    })?;
    let (reverse, length) = (m.rng.once_in(2), dims[1]);
    let inner = Scan {
        body: inner,
        length,
        carries: 1,
        slices: 1,
        reverse,
        guarded: false,
        segments: Default::default(),
    };
    let body =
        region("outer", &[row.clone(), matrix, row.clone()], |b, p| b.add_nodes(inner, &[p[0], p[1], p[2]]))?;
    let operands = [&row, &all, &row].map(|ty| m.of_type(ty));
    m.add(
        Scan {
            body,
            length: dims[0],
            carries: 1,
            slices: 1,
            reverse: false,
            guarded: false,
            segments: Default::default(),
        },
        &operands,
    )
}

/// A loop that ends after some of its steps, or has none. Of what it stacks, one depends on the slices alone, one on the captures, and
/// one is a product of the state that no step needs.
pub(super) fn guarded(m: &mut Maker) -> Made {
    let float = m.config.float;
    let (length, most, extents) = (m.rng.below(5), m.rng.below(5), m.dims(2));
    let (slice, row) = (Type::new(float, [extents[0]]), Type::new(float, [extents[1]]));
    let weights = Type::new(float, extents);
    let (more, count) = (Type::scalar(DType::Bool), Type::scalar(DType::I32));
    let types = [&more, &count, &row, &slice, &count, &weights, &row].map(Type::clone);
    let body = region("guarded", &types, |b, p| {
        let one = b.constant(scalar(1.0, DType::I32))?;
        let next = b.add(p[1], one)?;
        let steps = b.sub(next, p[4])?;
        let most = b.constant(scalar(most as f64, DType::I32))?;
        let again = b.compare(Comparison::Lt, steps, most)?;
        let into = b.dot(p[3], p[5], [&[], &[]], [&[0], &[0]])?;
        let kept = b.mul(p[2], p[6])?;
        let sum = b.add(into, kept)?;
        let state = b.function(Function::Tanh, sum)?;
        let out = b.dot(p[5], state, [&[], &[]], [&[1], &[0]])?;
        let out = b.function(Function::Cos, out)?;
        let apart = b.function(Function::Cos, p[3])?;
        let fixed = b.mul(p[6], p[6])?;
        Ok(vec![again, next, state, out, apart, fixed, state])
    })?;
    let stacked = slice.with_dims([&[length], slice.dims.as_slice()].concat());
    let mut operands = [&more, &count, &row, &stacked, &count, &weights, &row].map(|ty| m.of_type(ty));
    operands[4] = operands[1];
    let reverse = m.rng.once_in(2);
    m.add(
        Scan { body, length, carries: 3, slices: 1, reverse, guarded: true, segments: Default::default() },
        &operands,
    )
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
