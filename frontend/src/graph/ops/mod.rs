//! Primitives with numpy's conventions: broadcasting, negative axes, promotion of element types.

mod indexing;
mod primitives;
mod promote;
pub(crate) mod reductions;
mod stable;

use std::collections::HashMap;
use std::sync::Arc;

use brolga_ir::graph::{Graph, GraphError, NodeId, Origin};
use brolga_ir::scalar::{Comparison, Function, Scalar, ScalarOp};
use brolga_ir::{DType, Size, Type};

use super::value::{Built, Fault, Tensor, Val};
use crate::expr::Binary;
use crate::source::{FilePlace, Source, Span, Spanned};
pub(crate) use primitives::{Convolution, Outside, Window};

/// The graph, and where what is added to it comes from.
pub(crate) struct GraphBuilder {
    pub graph: Graph,
    origin: Origin,
    /// The element type that stands for `f32`.
    float: DType,
    /// Whether sums and means of all elements are formed in f64: those of metrics.
    pub precise: bool,
    /// The sums of all elements that have been formed so.
    pub sums: Vec<Tensor>,
    /// Places of paths in the files.
    pub places: HashMap<String, FilePlace>,
    /// The place in the file of the layer that nodes are added for.
    pub place: Option<FilePlace>,
    /// The ranges of nodes that have been asked for, so that each is looked for once.
    ranges: Ranges,
    /// By a value that was converted so that it meets others: the value before. Messages show that one's type, the one that the
    /// user wrote.
    written: HashMap<Tensor, Tensor>,
}

/// By node: the least and the greatest element of whole numbers that are constants. Nothing for values that are computed.
type Ranges = HashMap<NodeId, Option<(i64, i64)>>;

impl GraphBuilder {
    pub fn new(name: &str, float: DType) -> Self {
        Self {
            graph: Graph::new(name),
            origin: Origin::default(),
            float,
            precise: false,
            sums: Vec::new(),
            places: HashMap::new(),
            place: None,
            ranges: Ranges::new(),
            written: HashMap::new(),
        }
    }

    /// Nodes that are added from now on come from this layer.
    pub fn enter(&mut self, path: &str, source: &Arc<Source>, span: Span) {
        let bounds = (u32::try_from(span.start), u32::try_from(span.end));
        let place = if let (Ok(start), Ok(end)) = bounds { Some((start, end)) } else { None };
        self.origin = Origin { path: path.into(), span: place };
        self.places.entry(path.to_owned()).or_insert_with(|| (source.clone(), span));
        self.place = Some((source.clone(), span));
    }

    /// The layer that nodes are added for.
    pub fn origin(&self) -> (Origin, Option<FilePlace>) {
        (self.origin.clone(), self.place.clone())
    }

    /// Nodes are added for another layer again, as [`Self::origin`] said.
    pub fn go_back(&mut self, (origin, place): (Origin, Option<FilePlace>)) {
        (self.origin, self.place) = (origin, place);
    }
}

impl From<GraphError> for Fault {
    fn from(error: GraphError) -> Self {
        Fault::new(error.message)
    }
}

/// An operator that truth values do not have.
pub(super) fn no_truths(operator: &'static str) -> Fault {
    let fault =
        Fault::new(format!("`{operator}` does not take truth values")).help("convert with `float(x)`");
    Fault { no_truths: Some(operator), ..fault }
}

/// One part of an indexing: of `x[0, :, none]` there are three.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum IndexPart {
    /// `x[none]`: a new axis of extent 1.
    New,
    /// `...`: all axes that the other parts leave.
    Rest,
    /// `x[2]`: one element, and the axis is gone.
    At(Size),
    /// `x[1:5:2]`: some elements of an axis.
    Slice { start: Option<Size>, stop: Option<Size>, step: Option<Size> },
    /// `x[indices]`: the elements at the indices of a tensor, whose axes take the place of the axis.
    Take(Tensor),
    /// `x[[0, 2]]`: the elements at a list of indices, or where a list of truth values, one for each element, is true.
    Pick(Spanned<Val>),
}

impl IndexPart {
    /// All elements.
    pub const ALL: IndexPart = IndexPart::Slice { start: None, stop: None, step: None };
}

/// Adds nodes to a graph.
pub(crate) struct Ops<'a> {
    pub b: brolga_ir::builder::Builder<'a>,
    float: DType,
    pub(super) precise: bool,
    pub(super) sums: &'a mut Vec<Tensor>,
    pub(super) ranges: &'a mut Ranges,
    pub(super) written: &'a mut HashMap<Tensor, Tensor>,
}

impl<'a> Ops<'a> {
    pub fn new(graph: &'a mut GraphBuilder) -> Self {
        let origin = graph.origin.clone();
        Self {
            float: graph.float,
            precise: graph.precise,
            sums: &mut graph.sums,
            ranges: &mut graph.ranges,
            written: &mut graph.written,
            b: brolga_ir::builder::Builder::new(&mut graph.graph, origin),
        }
    }

    /// The element type that stands for `f32`.
    pub fn float(&self) -> DType {
        self.float
    }

    pub fn ty(&self, x: Tensor) -> Type {
        self.b.ty(x).clone()
    }

    pub fn dims(&self, x: Tensor) -> Vec<usize> {
        self.b.dims(x)
    }

    pub fn dtype(&self, x: Tensor) -> DType {
        self.b.ty(x).dtype
    }

    pub fn rank(&self, x: Tensor) -> usize {
        self.b.ty(x).rank()
    }

    /// An axis from 0; negative ones count from the end.
    pub fn axis(&self, x: Tensor, axis: impl Into<Size>) -> Built<usize> {
        let axis = axis.into();
        let missing = |_| Fault::new(format!("there is no axis {axis} in {}", self.written(x)));
        axis.axis(self.rank(x)).map_err(missing)
    }

    /// Ascending axes; all of them if none are given.
    pub fn axes(&self, x: Tensor, axes: Option<Vec<Size>>) -> Built<Vec<usize>> {
        let mut axes = match axes {
            None => (0..self.rank(x)).collect(),
            Some(axes) => axes.into_iter().map(|axis| self.axis(x, axis)).collect::<Built<Vec<_>>>()?,
        };
        axes.sort_unstable();
        let count = axes.len();
        axes.dedup();
        if axes.len() != count {
            return Err(Fault::new("an axis is named twice"));
        }
        Ok(axes)
    }

    // Constants and element types.

    /// A tensor of equal elements.
    pub fn full(&mut self, value: f64, ty: &Type) -> Built {
        Ok(self.b.full(value, ty)?)
    }

    /// A scalar.
    pub fn scalar(&mut self, value: f64, dtype: DType) -> Built {
        Ok(self.b.scalar(value, dtype)?)
    }

    /// A whole-number scalar, exact.
    pub fn int_scalar(&mut self, value: i64, dtype: DType) -> Built {
        Ok(self.b.constant(brolga_ir::Tensor::scalar(Scalar::from_i64(dtype, value)))?)
    }

    pub fn convert(&mut self, x: Tensor, dtype: DType) -> Built {
        Ok(self.b.convert(x, dtype)?)
    }

    // Shapes.

    /// Repeats to `dims` by numpy's rule: trailing axes are aligned, extents 1 repeat.
    pub fn broadcast_to(&mut self, x: Tensor, dims: &[usize]) -> Built {
        let from = self.dims(x);
        let fits = from.len() <= dims.len()
            && from.iter().rev().zip(dims.iter().rev()).all(|(&from, &to)| from == to || from == 1);
        if !fits {
            return Err(Fault::new(format!("{} cannot be repeated to {dims:?}", self.written(x))));
        }
        let axes: Vec<usize> = (dims.len() - from.len()..dims.len()).collect();
        Ok(self.b.broadcast(x, dims, &axes)?)
    }

    /// Repeats a vector along `axis` of `dims`.
    pub fn along(&mut self, vector: Tensor, dims: &[usize], axis: usize) -> Built {
        Ok(self.b.broadcast(vector, dims, &[axis])?)
    }

    pub fn reshape(&mut self, x: Tensor, dims: &[usize]) -> Built {
        Ok(self.b.reshape(x, dims)?)
    }

    // Elementwise.

    pub fn elementwise(&mut self, op: ScalarOp, x: Tensor) -> Built {
        self.apply(op, &[x])
    }

    /// An operation on tensors of one shape.
    fn apply(&mut self, op: ScalarOp, operands: &[Tensor]) -> Built {
        let types: Vec<DType> = operands.iter().map(|&operand| self.dtype(operand)).collect();
        if types.contains(&DType::Bool) && op.result(&types).is_err() {
            return Err(no_truths(if op == ScalarOp::Neg { "-" } else { op.name() }));
        }
        Ok(self.b.elementwise(op, operands)?)
    }

    pub fn function(&mut self, function: Function, x: Tensor) -> Built {
        if !self.dtype(x).is_float() {
            return Err(Fault::new(format!(
                "`{}` takes floating-point numbers, found {}",
                function.name(),
                self.ty(x)
            )));
        }
        Ok(self.b.function(function, x)?)
    }

    pub fn neg(&mut self, x: Tensor) -> Built {
        self.elementwise(ScalarOp::Neg, x)
    }

    pub fn not(&mut self, x: Tensor) -> Built {
        if self.dtype(x) != DType::Bool {
            return Err(Fault::new(format!("`not` takes truth values, found {}", self.ty(x))));
        }
        self.elementwise(ScalarOp::Not, x)
    }

    /// Two tensors brought to one element type and one shape.
    pub fn align(&mut self, a: Tensor, b: Tensor) -> Built<(Tensor, Tensor)> {
        let pair = self.of_one_type(&[a, b])?;
        let aligned = self.broadcast_all(&pair)?;
        Ok((aligned[0], aligned[1]))
    }

    /// Tensors brought to one shape by numpy's rule.
    pub fn broadcast_all(&mut self, tensors: &[Tensor]) -> Built<Vec<Tensor>> {
        let shapes: Vec<Vec<usize>> = tensors.iter().map(|&tensor| self.dims(tensor)).collect();
        let Some(dims) = common_dims(&shapes) else {
            let types: Vec<String> = tensors.iter().map(|&tensor| self.written(tensor).to_string()).collect();
            let message = format!("{} cannot be combined elementwise", types.join(" and "));
            return Err(Fault::new(message)
                .note("extents are aligned at the last axis; those of one place must be equal, or 1"));
        };
        tensors.iter().map(|&tensor| self.broadcast_to(tensor, &dims)).collect()
    }

    pub fn elementwise2(&mut self, op: ScalarOp, a: Tensor, b: Tensor) -> Built {
        let (a, b) = self.align(a, b)?;
        self.apply(op, &[a, b])
    }

    pub fn add(&mut self, a: Tensor, b: Tensor) -> Built {
        self.elementwise2(ScalarOp::Add, a, b)
    }

    pub fn sub(&mut self, a: Tensor, b: Tensor) -> Built {
        self.elementwise2(ScalarOp::Sub, a, b)
    }

    pub fn mul(&mut self, a: Tensor, b: Tensor) -> Built {
        self.elementwise2(ScalarOp::Mul, a, b)
    }

    pub fn div(&mut self, a: Tensor, b: Tensor) -> Built {
        self.elementwise2(ScalarOp::Div, a, b)
    }

    pub fn max(&mut self, a: Tensor, b: Tensor) -> Built {
        self.elementwise2(ScalarOp::Max, a, b)
    }

    pub fn min(&mut self, a: Tensor, b: Tensor) -> Built {
        self.elementwise2(ScalarOp::Min, a, b)
    }

    pub fn compare(&mut self, comparison: Comparison, a: Tensor, b: Tensor) -> Built {
        self.elementwise2(ScalarOp::Compare(comparison), a, b)
    }

    /// A number with the element type of `x`, as a scalar tensor.
    fn number(&mut self, x: Tensor, value: f64) -> Built {
        let dtype = self.dtype(x);
        self.scalar(value, dtype)
    }

    /// `x + c`
    pub fn add_num(&mut self, x: Tensor, c: f64) -> Built {
        let c = self.number(x, c)?;
        self.add(x, c)
    }

    /// `x - c`
    pub fn sub_num(&mut self, x: Tensor, c: f64) -> Built {
        let c = self.number(x, c)?;
        self.sub(x, c)
    }

    /// `c - x`
    pub fn num_sub(&mut self, c: f64, x: Tensor) -> Built {
        let c = self.number(x, c)?;
        self.sub(c, x)
    }

    /// `x * c`; nothing for 1.
    pub fn mul_num(&mut self, x: Tensor, c: f64) -> Built {
        if c == 1.0 {
            return Ok(x);
        }
        let c = self.number(x, c)?;
        self.mul(x, c)
    }

    /// `x / c`
    pub fn div_num(&mut self, x: Tensor, c: f64) -> Built {
        let c = self.number(x, c)?;
        self.div(x, c)
    }

    pub fn max_num(&mut self, x: Tensor, c: f64) -> Built {
        let c = self.number(x, c)?;
        self.max(x, c)
    }

    pub fn min_num(&mut self, x: Tensor, c: f64) -> Built {
        let c = self.number(x, c)?;
        self.min(x, c)
    }

    /// `max(0, x)`. Of equal operands the first one gets the gradient, so it is 0 at 0.
    pub fn relu(&mut self, x: Tensor) -> Built {
        let zero = self.number(x, 0.0)?;
        self.max(zero, x)
    }

    /// Between `low` and `high`, with gradient 0 at the bounds.
    pub fn saturate(&mut self, x: Tensor, low: f64, high: f64) -> Built {
        let low = self.number(x, low)?;
        let above = self.max(low, x)?;
        let high = self.number(x, high)?;
        self.min(high, above)
    }

    /// `ln(1 + e^(beta x)) / beta`, as `max(0, x) + ln(1 + e^-|beta x|) / beta` so that nothing overflows, at any `beta` above
    /// 0. Maximum and magnitude choose by the same comparison, so that the gradient is the sigmoid at 0, too.
    pub fn softplus(&mut self, x: Tensor, beta: f64) -> Built {
        let positive = self.compare_num(Comparison::Gt, x, 0.0)?;
        let (minus, zero) = (self.neg(x)?, self.b.zeros_like(x)?);
        let above = self.select(positive, x, zero)?;
        let exponent = self.select(positive, minus, x)?;
        let exponent = self.mul_num(exponent, beta)?;
        let exp = self.function(Function::Exp, exponent)?;
        let log = self.function(Function::Log1p, exp)?;
        let log = self.mul_num(log, 1.0 / beta)?;
        self.add(above, log)
    }

    /// Compares with a number.
    pub fn compare_num(&mut self, comparison: Comparison, x: Tensor, c: f64) -> Built {
        let c = self.number(x, c)?;
        self.compare(comparison, x, c)
    }

    pub fn square(&mut self, x: Tensor) -> Built {
        self.mul(x, x)
    }

    pub fn sqrt(&mut self, x: Tensor) -> Built {
        self.elementwise(ScalarOp::Sqrt, x)
    }

    /// `x^exponent` for a fixed exponent.
    pub fn pow_num(&mut self, x: Tensor, exponent: f64) -> Built {
        match exponent {
            0.0 => {
                let ty = self.ty(x);
                return self.full(1.0, &ty);
            }
            1.0 => return Ok(x),
            2.0 => return self.square(x),
            0.5 => return self.sqrt(x),
            _ => {}
        }
        let exponent = self.full(exponent, &self.ty(x))?;
        Ok(self.b.elementwise(ScalarOp::Function(Function::Pow), &[x, exponent])?)
    }

    /// The value, through which no gradient goes.
    pub fn stop_gradient(&mut self, x: Tensor) -> Built {
        Ok(self.b.stop_gradient(x)?)
    }

    /// Whether elements are true: those that are not 0, of whatever type.
    pub fn truth(&mut self, x: Tensor) -> Built {
        if self.dtype(x) == DType::Bool { Ok(x) } else { self.compare_num(Comparison::Ne, x, 0.0) }
    }

    /// Floats as they are, everything else as i64: what sums and products are formed in.
    pub fn widened(&mut self, x: Tensor) -> Built {
        if self.dtype(x).is_float() { Ok(x) } else { self.convert(x, DType::I64) }
    }

    /// `condition ? a : b`, elementwise, with broadcasting.
    pub fn select(&mut self, condition: Tensor, a: Tensor, b: Tensor) -> Built {
        if self.dtype(condition) != DType::Bool {
            let message = format!("a condition is made of truth values, found {}", self.ty(condition));
            return Err(Fault::new(message));
        }
        let pair = self.of_one_type(&[a, b])?;
        let all = self.broadcast_all(&[condition, pair[0], pair[1]])?;
        Ok(self.b.select(all[0], all[1], all[2])?)
    }

    /// An operator of the expression language on a tensor and a tensor or number.
    pub fn binary(&mut self, operator: Binary, left: &Spanned<Val>, right: &Spanned<Val>) -> Built {
        let (a, b) = self.operands(operator, left, right)?;
        let truths = self.dtype(a) == DType::Bool;
        if truths && matches!(operator, Binary::Sub | Binary::Pow | Binary::FloorDiv | Binary::Rem) {
            return Err(no_truths(operator.symbol()));
        }
        let comparison = |comparison| ScalarOp::Compare(comparison);
        let op = match operator {
            Binary::Add if truths => ScalarOp::Or,
            Binary::Mul if truths => ScalarOp::And,
            Binary::Add => ScalarOp::Add,
            Binary::Sub => ScalarOp::Sub,
            Binary::Mul => ScalarOp::Mul,
            Binary::Div => ScalarOp::Div,
            Binary::Pow => return self.pow(a, b, &right.value),
            Binary::MatMul => return self.matmul(a, b),
            Binary::FloorDiv | Binary::Rem if self.dtype(a).is_int() => {
                if right.value.as_int() == Some(0) {
                    return Err(Fault::new("division by zero").at(right.span));
                }
                return self.int_division(operator, a, b);
            }
            Binary::FloorDiv | Binary::Rem => {
                return self.divided(operator, a, b);
            }
            Binary::Eq => comparison(Comparison::Eq),
            Binary::Ne => comparison(Comparison::Ne),
            Binary::Lt => comparison(Comparison::Lt),
            Binary::Le => comparison(Comparison::Le),
            Binary::Gt => comparison(Comparison::Gt),
            Binary::Ge => comparison(Comparison::Ge),
            Binary::And | Binary::Or => {
                if self.dtype(a) != DType::Bool || self.dtype(b) != DType::Bool {
                    return Err(Fault::new(format!("`{}` takes truth values", operator.symbol())));
                }
                if operator == Binary::And { ScalarOp::And } else { ScalarOp::Or }
            }
        };
        self.elementwise2(op, a, b)
    }

    fn pow(&mut self, a: Tensor, b: Tensor, exponent: &Val) -> Built {
        let whole = match exponent {
            Val::Bool(truth) => Some(i64::from(*truth)),
            number => number.as_int(),
        };
        if let (true, Some(exponent)) = (self.dtype(a).is_int(), whole) {
            return self.int_power(a, exponent);
        }
        if self.dtype(a).is_int() {
            return self.int_powers(a, b);
        }
        match exponent.as_int() {
            Some(1) => return Ok(a),
            Some(2) => return self.square(a),
            Some(3) => {
                let square = self.square(a)?;
                return self.mul(square, a);
            }
            _ => {}
        }
        match exponent.as_float() {
            Some(0.5) => return self.sqrt(a),
            Some(-0.5) => return self.function(Function::Rsqrt, a),
            _ => {}
        }
        let (a, b) = self.align(a, b)?;
        Ok(self.b.elementwise(ScalarOp::Function(Function::Pow), &[a, b])?)
    }
}

/// The shape that shapes have in common by numpy's rule, if there is one.
pub(crate) fn common_dims(shapes: &[Vec<usize>]) -> Option<Vec<usize>> {
    let rank = shapes.iter().map(Vec::len).max().unwrap_or(0);
    let mut dims = vec![1; rank];
    for shape in shapes {
        for (dim, &extent) in dims[rank - shape.len()..].iter_mut().zip(shape) {
            match (*dim, extent) {
                (1, extent) => *dim = extent,
                (dim, extent) if extent != 1 && extent != dim => return None,
                _ => {}
            }
        }
    }
    Some(dims)
}
