//! Builds nodes: one method for each operator, and the few compositions that every rule and layer needs.

use crate::choice::Choice;
use crate::graph::{Graph, GraphError, Origin, Value};
use crate::ops::{
    Broadcast, Concat, Constant, Conv, Cumulative, Differentiate, Distribution, Dot, Gather, GatherAlong,
    Iota, Jvp, Op, Pad, Random, Reduce, ReduceWindow, Reshape, Reverse, Scatter, ScatterAlong, ScatterMode,
    Slice, Sort, StopGradient, Transpose,
};
use crate::program::Combine;
use crate::scalar::{Comparison, Function, Scalar, ScalarOp};
use crate::tensor::Tensor;
use crate::types::{DType, Type};

/// A graph and the origin of what is added to it.
pub struct Builder<'a> {
    /// The graph.
    pub graph: &'a mut Graph,
    /// The origin of every node added.
    pub origin: Origin,
}

type Built = Result<Value, GraphError>;

impl<'a> Builder<'a> {
    /// A builder at an origin.
    pub fn new(graph: &'a mut Graph, origin: Origin) -> Builder<'a> {
        Builder { graph, origin }
    }

    /// The type of a value.
    pub fn ty(&self, value: Value) -> &Type {
        self.graph.ty(value)
    }

    /// The extents of a value.
    pub fn dims(&self, value: Value) -> Vec<usize> {
        self.ty(value).dims.clone()
    }

    /// A node; its first result.
    pub fn add_node(&mut self, op: impl Into<Op>, operands: &[Value]) -> Built {
        let node = self.graph.add(op, operands, &self.origin)?;
        Ok(self.graph.result(node))
    }

    /// A node that is run as it is chosen; its first result.
    pub fn add_chosen(&mut self, op: impl Into<Op>, choice: impl Into<Choice>, operands: &[Value]) -> Built {
        let node = self.graph.add_chosen(op, choice, operands, &self.origin)?;
        Ok(self.graph.result(node))
    }

    /// A node; all its results.
    pub fn add_nodes(&mut self, op: impl Into<Op>, operands: &[Value]) -> Result<Vec<Value>, GraphError> {
        let node = self.graph.add(op, operands, &self.origin)?;
        Ok(self.graph.results(node))
    }

    /// An error of this place.
    pub fn error(&self, message: impl Into<String>) -> GraphError {
        GraphError { path: self.origin.path.to_string(), message: message.into() }
    }

    // Constants.

    /// A constant tensor.
    pub fn constant(&mut self, value: Tensor) -> Built {
        self.add_node(Constant { value }, &[])
    }

    /// A scalar of that type, rounded.
    pub fn scalar(&mut self, value: f64, dtype: DType) -> Built {
        self.constant(Tensor::scalar(Scalar::from_f64(dtype, value)))
    }

    /// A tensor of equal elements: a scalar, broadcast.
    pub fn full(&mut self, value: f64, ty: &Type) -> Built {
        let scalar = self.scalar(value, ty.dtype)?;
        self.broadcast(scalar, &ty.dims, &[])
    }

    /// A tensor of equal elements with the type of another.
    pub fn full_like(&mut self, like: Value, value: f64) -> Built {
        let ty = self.ty(like).clone();
        self.full(value, &ty)
    }

    /// Zeros with the type of another value.
    pub fn zeros_like(&mut self, like: Value) -> Built {
        self.full_like(like, 0.0)
    }

    /// The position along one axis, in a tensor of those extents.
    pub fn iota(&mut self, dtype: DType, dims: &[usize], axis: usize) -> Built {
        self.add_node(Iota { ty: Type::new(dtype, dims), axis }, &[])
    }

    /// The row-major position among `axes`, as `i32`, in a tensor of extents `dims`.
    pub fn position(&mut self, dims: &[usize], axes: &[usize]) -> Built {
        let mut position = self.full(0.0, &Type::new(DType::I32, dims))?;
        for &axis in axes {
            let along = self.iota(DType::I32, dims, axis)?;
            let outer = self.mul_scalar(position, dims[axis] as f64)?;
            position = self.add(outer, along)?;
        }
        Ok(position)
    }

    // Elementwise.

    /// A scalar operation at every element; operands have equal extents.
    pub fn elementwise(&mut self, op: ScalarOp, operands: &[Value]) -> Built {
        self.add_node(op, operands)
    }

    /// An elementary function.
    pub fn function(&mut self, function: Function, x: Value) -> Built {
        self.elementwise(ScalarOp::Function(function), &[x])
    }

    /// `-x`
    pub fn neg(&mut self, x: Value) -> Built {
        self.elementwise(ScalarOp::Neg, &[x])
    }

    /// `a + b`
    pub fn add(&mut self, a: Value, b: Value) -> Built {
        self.elementwise(ScalarOp::Add, &[a, b])
    }

    /// `a - b`
    pub fn sub(&mut self, a: Value, b: Value) -> Built {
        self.elementwise(ScalarOp::Sub, &[a, b])
    }

    /// `a * b`
    pub fn mul(&mut self, a: Value, b: Value) -> Built {
        self.elementwise(ScalarOp::Mul, &[a, b])
    }

    /// `a / b`
    pub fn div(&mut self, a: Value, b: Value) -> Built {
        self.elementwise(ScalarOp::Div, &[a, b])
    }

    /// The larger; NaN if either is.
    pub fn max(&mut self, a: Value, b: Value) -> Built {
        self.elementwise(ScalarOp::Max, &[a, b])
    }

    /// The smaller; NaN if either is.
    pub fn min(&mut self, a: Value, b: Value) -> Built {
        self.elementwise(ScalarOp::Min, &[a, b])
    }

    /// `x + c`
    pub fn add_scalar(&mut self, x: Value, c: f64) -> Built {
        let c = self.full_like(x, c)?;
        self.add(x, c)
    }

    /// `x * c`
    pub fn mul_scalar(&mut self, x: Value, c: f64) -> Built {
        let c = self.full_like(x, c)?;
        self.mul(x, c)
    }

    /// `c - x`
    pub fn scalar_sub(&mut self, c: f64, x: Value) -> Built {
        let c = self.full_like(x, c)?;
        self.sub(c, x)
    }

    /// A comparison, as `bool`.
    pub fn compare(&mut self, comparison: Comparison, a: Value, b: Value) -> Built {
        self.elementwise(ScalarOp::Compare(comparison), &[a, b])
    }

    /// `condition ? a : b`
    pub fn select(&mut self, condition: Value, a: Value, b: Value) -> Built {
        self.elementwise(ScalarOp::Select, &[condition, a, b])
    }

    /// Another element type; nothing if it has it already.
    pub fn convert(&mut self, x: Value, to: DType) -> Built {
        if self.ty(x).dtype == to { Ok(x) } else { self.elementwise(ScalarOp::Convert(to), &[x]) }
    }

    /// 1 above zero, -1 below, else 0.
    pub fn sign(&mut self, x: Value) -> Built {
        let (zero, one, minus) = (self.zeros_like(x)?, self.full_like(x, 1.0)?, self.full_like(x, -1.0)?);
        let above = self.compare(Comparison::Gt, x, zero)?;
        let below = self.compare(Comparison::Lt, x, zero)?;
        let rest = self.select(below, minus, zero)?;
        self.select(above, one, rest)
    }

    // Shape.

    /// Repeats along new axes; operand axis `i` becomes result axis `axes[i]`. Nothing if nothing changes.
    pub fn broadcast(&mut self, x: Value, dims: &[usize], axes: &[usize]) -> Built {
        if self.ty(x).dims == dims && axes.iter().copied().eq(0..dims.len()) {
            return Ok(x);
        }
        self.add_node(Broadcast { dims: dims.to_vec(), axes: axes.to_vec() }, &[x])
    }

    /// The same elements with other extents. Nothing if they are the same.
    pub fn reshape(&mut self, x: Value, dims: &[usize]) -> Built {
        if self.ty(x).dims == dims {
            return Ok(x);
        }
        self.add_node(Reshape { dims: dims.to_vec() }, &[x])
    }

    /// Permutes the axes: result axis `i` is operand axis `axes[i]`. Nothing if nothing changes.
    pub fn transpose(&mut self, x: Value, axes: &[usize]) -> Built {
        if axes.iter().copied().eq(0..self.ty(x).rank()) {
            return Ok(x);
        }
        self.add_node(Transpose { axes: axes.to_vec() }, &[x])
    }

    /// Elements `start, start + stride, …` below `limit` along each axis. Nothing if that is all of them.
    pub fn slice(&mut self, x: Value, start: &[usize], limit: &[usize], stride: &[usize]) -> Built {
        if limit == self.ty(x).dims && start.iter().all(|&v| v == 0) && stride.iter().all(|&v| v == 1) {
            return Ok(x);
        }
        let op = Slice { start: start.to_vec(), limit: limit.to_vec(), stride: stride.to_vec() };
        self.add_node(op, &[x])
    }

    /// The elements `start..limit` along one axis.
    pub fn slice_axis(&mut self, x: Value, axis: usize, start: usize, limit: usize) -> Built {
        let dims = self.dims(x);
        let (mut first, mut last) = (vec![0; dims.len()], dims.clone());
        if axis >= dims.len() {
            return Err(self.error(format!("axis {axis} is outside {}", self.ty(x))));
        }
        (first[axis], last[axis]) = (start, limit);
        self.slice(x, &first, &last, &vec![1; dims.len()])
    }

    /// The elements along some axes in opposite order.
    pub fn reverse(&mut self, x: Value, axes: &[usize]) -> Built {
        if axes.is_empty() {
            return Ok(x);
        }
        self.add_node(Reverse { axes: axes.to_vec() }, &[x])
    }

    /// Copies of the scalar `value` before, behind and between the elements. Nothing if there are none.
    pub fn pad(
        &mut self,
        x: Value,
        value: Value,
        low: &[usize],
        high: &[usize],
        interior: &[usize],
    ) -> Built {
        if [low, high, interior].iter().all(|list| list.iter().all(|&v| v == 0)) {
            return Ok(x);
        }
        let op = Pad { low: low.to_vec(), high: high.to_vec(), interior: interior.to_vec() };
        self.add_node(op, &[x, value])
    }

    /// Tensors one behind the other along an axis. Nothing if there is one.
    pub fn concat(&mut self, operands: &[Value], axis: usize) -> Built {
        match operands {
            &[only] => Ok(only),
            _ => self.add_node(Concat { axis }, operands),
        }
    }

    // Computed indices.

    /// Slices of `x` along `axis` at `indices` (clamped), whose axes take the place of `axis`.
    pub fn gather(&mut self, x: Value, indices: Value, axis: usize) -> Built {
        self.add_node(Gather { axis }, &[x, indices])
    }

    /// Elements of `x` along `axis`, each row by its own `indices` (clamped).
    pub fn gather_along(&mut self, x: Value, indices: Value, axis: usize) -> Built {
        self.add_node(GatherAlong { axis }, &[x, indices])
    }

    /// `base`, changed by `updates` at `indices` along `axis`.
    pub fn scatter(
        &mut self,
        base: Value,
        indices: Value,
        updates: Value,
        axis: usize,
        mode: ScatterMode,
    ) -> Built {
        self.add_node(Scatter { axis, mode }, &[base, indices, updates])
    }

    /// `base` with `updates` added at `indices` along `axis`; the transpose of [`Builder::gather`].
    pub fn scatter_add(&mut self, base: Value, indices: Value, updates: Value, axis: usize) -> Built {
        self.scatter(base, indices, updates, axis, ScatterMode::Add)
    }

    /// `base` overwritten by `updates` at `indices` along `axis`; the last of equal indices wins.
    pub fn scatter_set(&mut self, base: Value, indices: Value, updates: Value, axis: usize) -> Built {
        self.scatter(base, indices, updates, axis, ScatterMode::Set)
    }

    /// `base` with `updates` added along `axis`, each row at its own `indices`.
    pub fn scatter_add_along(&mut self, base: Value, indices: Value, updates: Value, axis: usize) -> Built {
        self.scatter_along(base, indices, updates, axis, ScatterMode::Add)
    }

    /// `base`, changed by `updates`, each row's at its own `indices` along `axis`.
    pub fn scatter_along(
        &mut self,
        base: Value,
        indices: Value,
        updates: Value,
        axis: usize,
        mode: ScatterMode,
    ) -> Built {
        self.add_node(ScatterAlong { axis, mode }, &[base, indices, updates])
    }

    /// One where the position along the new last axis is the index, else zero: `[…] -> […, classes]`.
    pub fn one_hot(&mut self, indices: Value, classes: usize, dtype: DType) -> Built {
        let ty = self.ty(indices).clone();
        let mut dims = ty.dims.clone();
        dims.push(classes);
        let axes: Vec<usize> = (0..ty.rank()).collect();
        let positions = self.iota(ty.dtype, &dims, ty.rank())?;
        let indices = self.broadcast(indices, &dims, &axes)?;
        let equal = self.compare(Comparison::Eq, indices, positions)?;
        self.convert(equal, dtype)
    }

    // Random numbers.

    /// Random numbers of a stream, for a seed and a step (`i64[]` both).
    pub fn random(
        &mut self,
        distribution: Distribution,
        stream: u32,
        ty: &Type,
        seed: Value,
        step: Value,
    ) -> Built {
        self.add_node(Random { stream, distribution, ty: ty.clone() }, &[seed, step])
    }

    // Products.

    /// The general product: `batch` and `contract` pair axes of `a` with axes of `b`; the result has the batch axes,
    /// the other axes of `a`, the other axes of `b`.
    pub fn dot(&mut self, a: Value, b: Value, batch: [&[usize]; 2], contract: [&[usize]; 2]) -> Built {
        self.add_node(Dot::new(batch.map(<[usize]>::to_vec), contract.map(<[usize]>::to_vec)), &[a, b])
    }

    /// The matrix product `[m, k] [k, n]`.
    pub fn matmul(&mut self, a: Value, b: Value) -> Built {
        self.dot(a, b, [&[], &[]], [&[1], &[0]])
    }

    /// A convolution in any of its forms; see [`Conv`].
    pub fn conv(&mut self, conv: Conv, a: Value, b: Value) -> Built {
        self.add_node(conv, &[a, b])
    }

    /// A reduction under a sliding window; see [`ReduceWindow`].
    pub fn reduce_window(&mut self, window: ReduceWindow, x: Value) -> Built {
        self.add_node(window, &[x])
    }

    // Order.

    /// Running combination along an axis, each element counting itself and those before it.
    pub fn cumulative(&mut self, combine: Combine, x: Value, axis: usize) -> Built {
        self.add_node(Cumulative { axis, combine, reverse: false, exclusive: false }, &[x])
    }

    /// The operands, put along an axis into the order of the first of them.
    pub fn sort(
        &mut self,
        operands: &[Value],
        axis: usize,
        descending: bool,
    ) -> Result<Vec<Value>, GraphError> {
        self.add_nodes(Sort { axis, descending, first: None }, operands)
    }

    /// The `k` greatest elements along an axis in descending order, or the smallest in ascending order, and their positions
    /// (`i32`). Of equal ones the first comes first.
    pub fn top_k(
        &mut self,
        x: Value,
        k: usize,
        axis: usize,
        greatest: bool,
    ) -> Result<[Value; 2], GraphError> {
        let dims = self.dims(x);
        let positions = self.iota(DType::I32, &dims, axis)?;
        let first = (dims.get(axis) != Some(&k)).then_some(k);
        let sorted = self.add_nodes(Sort { axis, descending: greatest, first }, &[x, positions])?;
        Ok([sorted[0], sorted[1]])
    }

    /// The position (`i32`) of the first greatest element along an axis, which vanishes; NaN is greatest.
    pub fn argmax(&mut self, x: Value, axis: usize) -> Built {
        let dims = self.dims(x);
        let greatest = self.reduce(Combine::Max, x, &[axis])?;
        let kept: Vec<usize> = (0..dims.len()).filter(|&a| a != axis).collect();
        let greatest = self.broadcast(greatest, &dims, &kept)?;
        let equal = self.compare(Comparison::Eq, x, greatest)?;
        let nan = self.compare(Comparison::Ne, x, x)?;
        let wins = self.elementwise(ScalarOp::Or, &[equal, nan])?;
        let positions = self.iota(DType::I32, &dims, axis)?;
        let far = self.full_like(positions, dims[axis] as f64)?;
        let candidates = self.select(wins, positions, far)?;
        self.reduce(Combine::Min, candidates, &[axis])
    }

    // Differentiation.

    /// The value, as a constant to the differentiator.
    pub fn stop_gradient(&mut self, x: Value) -> Built {
        self.add_node(StopGradient::default(), &[x])
    }

    /// The value that earlier steps have left of a state, as a constant to the differentiator.
    pub fn settled(&mut self, state: &str, x: Value) -> Built {
        self.add_node(StopGradient { state: Some(state.to_owned()) }, &[x])
    }

    /// The gradients of a scalar loss, until the pass `grad` builds them.
    pub fn gradient(&mut self, loss: Value, wrt: &[Value]) -> Result<Vec<Value>, GraphError> {
        let operands: Vec<Value> = std::iter::once(loss).chain(wrt.iter().copied()).collect();
        self.add_nodes(Differentiate, &operands)
    }

    /// The tangents of `outputs` where each value of `seeds` moves along the tangent beside it, until the pass `grad`
    /// builds them.
    pub fn jvp(&mut self, outputs: &[Value], seeds: &[(Value, Value)]) -> Result<Vec<Value>, GraphError> {
        let (wrt, tangents): (Vec<Value>, Vec<Value>) = seeds.iter().copied().unzip();
        self.add_nodes(Jvp { outputs: outputs.len() }, &[outputs, &wrt, &tangents].concat())
    }

    // Reductions.

    /// Combines along axes, which vanish. Nothing if there are none.
    pub fn reduce(&mut self, combine: Combine, x: Value, axes: &[usize]) -> Built {
        if axes.is_empty() {
            return Ok(x);
        }
        self.add_node(Reduce { combine, axes: axes.to_vec() }, &[x])
    }

    /// The sum along axes, which vanish.
    pub fn sum(&mut self, x: Value, axes: &[usize]) -> Built {
        self.reduce(Combine::Add, x, axes)
    }

    /// The mean along axes, which vanish: the sum divided by the count.
    pub fn mean(&mut self, x: Value, axes: &[usize]) -> Built {
        let count: usize = axes.iter().map(|&axis| self.ty(x).dims[axis]).product();
        let sum = self.sum(x, axes)?;
        let count = self.full_like(sum, count as f64)?;
        self.div(sum, count)
    }
}
