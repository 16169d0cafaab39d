//! Random graphs, for tests that compare one way of running a graph with another.
//!
//! [`generate`] gives, for a seed, a valid graph over all operators and values for its parameters. Tensors are
//! small; extents of 0 and 1 occur. Every node is needed by an output. [`random_graph`] gives graphs of fewer operators, in which
//! passes find much to do.

mod elementwise;
mod make;
mod regions;
mod rules;

use std::collections::BTreeMap;

use crate::graph::{Graph, Value};
use crate::ops::Role;
use crate::scalar::{Function, Scalar};
use crate::tensor::Tensor;
use crate::types::{DType, Type};

pub use self::rules::random_graph;
pub use crate::random::Rng;

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

/// The graph of a seed.
pub fn generate(seed: u64, config: &Config) -> Generated {
    let mut maker = Maker {
        rng: Rng(seed),
        graph: Graph::new("random"),
        pool: Vec::new(),
        values: Vec::new(),
        config: config.clone(),
    };
    let (low, high) = config.nodes;
    let target = low + maker.rng.below(high.saturating_sub(low) + 1);
    let makers = make::makers(config);
    // A maker may fail (an operand of extent 0, a result too large): then another is drawn.
    for _ in 0..20 * target {
        let operators = maker.graph.len() - maker.graph.parameters().len();
        if operators >= target {
            break;
        }
        let make = makers[maker.rng.below(makers.len())];
        if let Ok(results) = make(&mut maker) {
            maker.pool.extend(results);
        }
    }
    maker.finish()
}

/// How often each operator occurs in graphs and their regions.
pub fn histogram<'g>(graphs: impl IntoIterator<Item = &'g Graph>) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    let mut stack: Vec<&Graph> = graphs.into_iter().collect();
    while let Some(graph) = stack.pop() {
        for id in graph.order() {
            let op = &graph.node(id).op;
            *counts.entry(op.get().name()).or_default() += 1;
            stack.extend(op.regions());
        }
    }
    counts
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
struct Maker {
    rng: Rng,
    graph: Graph,
    /// Values that operands are drawn from.
    pool: Vec<Value>,
    /// Values of the parameters.
    values: Vec<Tensor>,
    config: Config,
}

impl Maker {
    /// A new parameter.
    fn parameter(&mut self, ty: Type) -> Value {
        let role = if self.rng.once_in(5) { Role::State } else { Role::Data };
        let number = self.values.len();
        self.values.push(value(&mut self.rng, &ty));
        let parameter = self.graph.add_parameter(&format!("x{number}"), role, ty);
        self.pool.push(parameter);
        parameter
    }

    /// Extents of `rank` axes: small, rarely 0.
    fn dims(&mut self, rank: usize) -> Vec<usize> {
        (0..rank)
            .map(|_| if self.rng.once_in(40) { 0 } else { self.rng.of(&[1, 1, 2, 2, 3, 3, 4, 5, 7]) })
            .collect()
    }

    /// A value of the pool, the later ones more often.
    fn find(&mut self, fits: impl Fn(&Type) -> bool) -> Option<Value> {
        let fitting: Vec<Value> = self.pool.iter().copied().filter(|&v| fits(self.graph.ty(v))).collect();
        let count = fitting.len();
        let drawn = self.rng.below(count).max(self.rng.below(count));
        fitting.get(drawn).copied()
    }

    /// A float tensor that fits: of the pool mostly, else a parameter with extents by `dims`.
    fn float(
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
    fn any_float(&mut self, rank: usize) -> Value {
        self.float(
            |dims| dims.len() >= rank,
            |maker| {
                let rank = rank.max(maker.rng.below(5));
                maker.dims(rank)
            },
        )
    }

    /// A tensor of that type: of the pool mostly, else made from another float tensor, else a parameter.
    fn of_type(&mut self, ty: &Type) -> Value {
        let found = if self.rng.once_in(8) { None } else { self.find(|other| other == ty) };
        found.or_else(|| self.derived(ty)).unwrap_or_else(|| self.parameter(ty.clone()))
    }

    /// A float tensor of that type whose elements are the bounded sum of another's.
    fn derived(&mut self, ty: &Type) -> Option<Value> {
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
    fn like(&mut self, value: Value) -> Value {
        let ty = self.graph.ty(value).clone();
        self.of_type(&ty)
    }

    /// What nothing uses becomes an output; some state is updated.
    fn finish(mut self) -> Generated {
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
}
