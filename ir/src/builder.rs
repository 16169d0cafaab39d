//! Builds nodes: one method for each operator, and the few compositions that every rule and layer needs.

use crate::graph::{Graph, GraphError, Origin, Value};
use crate::ops::{Broadcast, Constant, Iota, Op, Reduce, Reshape};
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
