//! A graph in the making: what is drawn from, and how operands are found.

use crate::builder::Builder;
use crate::choice::Choice;
use crate::graph::{Graph, GraphError, Origin, Value};
use crate::ops::{Op, Role};
use crate::random::Rng;
use crate::scalar::{Function, Scalar, ScalarOp};
use crate::tensor::Tensor;
use crate::types::{DType, Type};

pub(super) type Made = Result<Vec<Value>, GraphError>;
pub(super) type Make = fn(&mut Maker) -> Made;

/// What is generated.
#[derive(Clone, Debug)]
pub struct Config {
    /// The least number of operators, and the most (some makers add several at once).
    pub nodes: (usize, usize),
    /// The float type.
    pub float: DType,
    /// Leaves out whatever jumps where a float changes a little (rounding, comparison and sorting of floats), so
    /// that another order of arithmetic stays close.
    pub continuous: bool,
    /// Leaves out operators without a gradient rule.
    pub differentiable: bool,
    /// Whether `scan`, `while`, `cond` and `fused` occur.
    pub regions: bool,
    /// The most elements of a tensor.
    pub elements: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            nodes: (5, 60),
            float: DType::F32,
            continuous: false,
            differentiable: false,
            regions: true,
            elements: 300,
        }
    }
}

/// A graph with values for its parameters.
#[derive(Clone, Debug)]
pub struct Generated {
    /// The graph; it verifies.
    pub graph: Graph,
    /// One value for each parameter.
    pub values: Vec<Tensor>,
}

/// A value for a type: floats in -2..2, integers in -3..=8.
pub fn value(rng: &mut Rng, ty: &Type) -> Tensor {
    Tensor::generate(ty, |_| match ty.dtype {
        DType::Bool => Scalar::Bool(rng.once_in(2)),
        DType::F32 | DType::F64 => Scalar::from_f64(ty.dtype, rng.float(-2.0, 2.0)),
        DType::U8 => Scalar::U8(rng.below(12) as u8),
        _ => Scalar::from_i64(ty.dtype, rng.below(12) as i64 - 3),
    })
}

/// A graph in the making.
pub(super) struct Maker {
    pub(super) rng: Rng,
    pub(super) graph: Graph,
    /// Values that operands are drawn from.
    pub(super) pool: Vec<Value>,
    /// Values of the parameters.
    pub(super) values: Vec<Tensor>,
    pub(super) config: Config,
}

impl Maker {
    /// A new parameter.
    pub(super) fn parameter(&mut self, ty: Type) -> Value {
        let role = if self.rng.once_in(5) { Role::State } else { Role::Data };
        let number = self.values.len();
        self.values.push(value(&mut self.rng, &ty));
        let parameter = self.graph.add_parameter(&format!("x{number}"), role, ty);
        self.pool.push(parameter);
        parameter
    }

    /// Extents of `rank` axes: small, rarely 0.
    pub(super) fn dims(&mut self, rank: usize) -> Vec<usize> {
        (0..rank)
            .map(|_| if self.rng.once_in(40) { 0 } else { self.rng.of(&[1, 1, 2, 2, 3, 3, 4, 5, 7]) })
            .collect()
    }

    /// A value of the pool, the later ones more often.
    pub(super) fn find(&mut self, fits: impl Fn(&Type) -> bool) -> Option<Value> {
        let fitting: Vec<Value> = self.pool.iter().copied().filter(|&v| fits(self.graph.ty(v))).collect();
        let count = fitting.len();
        let drawn = self.rng.below(count).max(self.rng.below(count));
        fitting.get(drawn).copied()
    }

    /// A float tensor that fits: of the pool mostly, else a parameter with extents by `dims`.
    pub(super) fn float(
        &mut self,
        fits: impl Fn(&[usize]) -> bool,
        dims: impl FnOnce(&mut Maker) -> Vec<usize>,
    ) -> Value {
        let dtype = self.config.float;
        let found = match self.rng.once_in(8) {
            true => None,
            false => self.find(|ty| ty.dtype == dtype && fits(&ty.dims)),
        };
        found.unwrap_or_else(|| {
            let dims = dims(self);
            self.parameter(Type::new(dtype, dims))
        })
    }

    /// Any float tensor with at least `rank` axes.
    pub(super) fn any_float(&mut self, rank: usize) -> Value {
        self.float(
            |dims| dims.len() >= rank,
            |maker| {
                let rank = rank.max(maker.rng.below(5));
                maker.dims(rank)
            },
        )
    }

    /// A tensor of that type: of the pool mostly, else made from another float tensor, else a parameter.
    pub(super) fn of_type(&mut self, ty: &Type) -> Value {
        let found = if self.rng.once_in(8) { None } else { self.find(|other| other == ty) };
        found.or_else(|| self.derived(ty)).unwrap_or_else(|| self.parameter(ty.clone()))
    }

    /// A float tensor of that type whose elements are the bounded sum of another's.
    pub(super) fn derived(&mut self, ty: &Type) -> Option<Value> {
        if ty.dtype != self.config.float || self.rng.once_in(4) {
            return None;
        }
        let source = self.find(|other| other.dtype == ty.dtype)?;
        let axes: Vec<usize> = (0..self.graph.ty(source).rank()).collect();
        let mut b = self.b();
        let sum = b.sum(source, &axes).ok()?;
        let bounded = b.function(Function::Tanh, sum).ok()?;
        let value = b.broadcast(bounded, &ty.dims, &[]).ok()?;
        self.pool.push(value);
        Some(value)
    }

    /// A tensor of the type of another value.
    pub(super) fn like(&mut self, value: Value) -> Value {
        let ty = self.graph.ty(value).clone();
        self.of_type(&ty)
    }

    /// What nothing uses becomes an output; some state is updated.
    pub(super) fn finish(mut self) -> Generated {
        let mut used = std::collections::HashSet::new();
        for id in self.graph.nodes() {
            used.extend(self.graph.node(id).operands.iter().copied());
        }
        let ids: Vec<_> = self.graph.nodes().collect();
        for id in ids {
            if self.graph.parameter(id).is_some() {
                continue;
            }
            let results = self.graph.results(id);
            let unused: Vec<Value> = results.into_iter().filter(|value| !used.contains(value)).collect();
            for value in unused {
                let number = self.graph.outputs().len();
                self.graph.add_output(&format!("y{number}"), Role::Data, value);
            }
        }
        for id in self.graph.parameters().to_vec() {
            let Some(parameter) = self.graph.parameter(id).filter(|p| p.role == Role::State).cloned() else {
                continue;
            };
            let same = |ty: &Type| *ty == parameter.ty;
            if let Some(value) = self.find(same).filter(|_| self.rng.once_in(2)) {
                self.graph.add_output(&parameter.name, Role::State, value);
            }
        }
        Generated { graph: self.graph, values: self.values }
    }

    pub(super) fn b(&mut self) -> Builder<'_> {
        let layer = format!("layer{}", self.graph.len() / 4);
        Builder::new(&mut self.graph, Origin::new(&layer))
    }

    /// A node, if its results are small.
    pub(super) fn add(&mut self, op: impl Into<Op>, operands: &[Value]) -> Made {
        self.add_chosen(op, Choice::default(), operands)
    }

    /// The same, run as it is chosen.
    pub(super) fn add_chosen(
        &mut self,
        op: impl Into<Op>,
        choice: impl Into<Choice>,
        operands: &[Value],
    ) -> Made {
        let (op, choice) = (op.into(), choice.into());
        let types: Vec<Type> = operands.iter().map(|&v| self.graph.ty(v).clone()).collect();
        let limit = self.config.elements;
        if let Ok(results) = choice.infer(&op, &types.iter().collect::<Vec<_>>())
            && results.iter().any(|ty| ty.elements() > limit)
        {
            return Err(self.b().error("too large"));
        }
        let mut b = self.b();
        let result = b.add_chosen(op, choice, operands)?;
        Ok(b.graph.results(result.node))
    }

    pub(super) fn axis(&mut self, value: Value) -> usize {
        let rank = self.graph.ty(value).rank();
        self.rng.below(rank)
    }

    pub(super) fn extents(&self, value: Value) -> Vec<usize> {
        self.graph.ty(value).dims.clone()
    }

    /// A value inside a range where functions behave: `low + |x|`, or `tanh x`.
    pub(super) fn positive(&mut self, x: Value, low: f64) -> Result<Value, GraphError> {
        let mut b = self.b();
        let size = b.elementwise(ScalarOp::Abs, &[x])?;
        b.add_scalar(size, low)
    }

    pub(super) fn bounded(&mut self, x: Value) -> Result<Value, GraphError> {
        self.b().function(Function::Tanh, x)
    }

    pub(super) fn indices(&mut self, dims: &[usize]) -> Value {
        let dtype = self.rng.of(&[DType::I32, DType::I32, DType::I64]);
        self.of_type(&Type::new(dtype, dims))
    }
}

/// A scalar constant, for regions.
pub(super) fn scalar(value: f64, dtype: DType) -> Tensor {
    Tensor::scalar(Scalar::from_f64(dtype, value))
}
