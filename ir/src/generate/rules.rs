//! Graphs in which the rules of passes find much: neutral numbers, an operand twice, a scale behind a convolution, indices that
//! take back what others do. Each operator has a seed of its own, so that a list of seeds that fails can be made shorter.

use crate::builder::Builder;
use crate::graph::{Graph, GraphError, Origin, Value};
use crate::ops::{Cond, Conv, Distribution, Op, Role, Scan, ScatterMode, While};
use crate::program::Combine;
use crate::random::{Rng, tensor};
use crate::scalar::{Comparison, Function, ScalarOp};
use crate::types::{DType, Type};

/// Elements that a random tensor has at most.
const LARGEST: usize = 600;

/// A graph with a node or a few for each seed; the same choices for `f32` and for `f64`.
pub fn random_graph(seeds: &[u32], float: DType) -> Graph {
    let mut graph = Graph::new("random");
    let types = [
        ("x", Role::Data, Type::new(float, [2, 3, 4])),
        ("y", Role::Data, Type::new(float, [4, 3])),
        ("v", Role::Data, Type::new(float, [3])),
        ("i", Role::Data, Type::new(DType::I32, [4])),
        ("image", Role::Data, Type::new(float, [1, 2, 5, 4])),
        ("w", Role::State, Type::new(float, [4, 5])),
        ("kernel", Role::State, Type::new(float, [3, 2, 3, 3])),
        ("scale", Role::State, Type::new(float, [3])),
        ("seed", Role::State, Type::new(DType::I64, [])),
        ("step", Role::State, Type::new(DType::I64, [])),
    ];
    let mut values: Vec<Value> =
        types.into_iter().map(|(name, role, ty)| graph.add_parameter(name, role, ty)).collect();
    let step = values[9];
    for (number, &seed) in seeds.iter().enumerate() {
        let mut random = Rng(u64::from(seed));
        let b = Builder::new(&mut graph, Origin::new(&format!("layer{}", number / 4)));
        // An operator that does not take what was picked is left out.
        let added = Grower { b, values: &values, random: &mut random, float }.node();
        values.extend(added.unwrap_or_default());
    }
    // A third of the graphs ends with a loop or a branch.
    if let (0, Some(&seed)) = (seeds.len() % 3, seeds.first()) {
        let mut random = Rng(u64::from(seed));
        let b = Builder::new(&mut graph, Origin::new("last"));
        let added = Grower { b, values: &values, random: &mut random, float }.region();
        values.extend(added.unwrap_or_default());
    }
    for (number, &value) in values.iter().rev().take(3).enumerate() {
        graph.add_output(&format!("out{number}"), Role::Data, value);
    }
    if seeds.len() % 2 == 1 {
        let mut b = Builder::new(&mut graph, Origin::new("step"));
        let one = b.scalar(1.0, DType::I64).expect("a scalar");
        let next = b.add(step, one).expect("equal types");
        graph.add_output("step", Role::State, next);
    }
    graph
}

struct Grower<'a> {
    b: Builder<'a>,
    values: &'a [Value],
    random: &'a mut Rng,
    float: DType,
}

type Added = Result<Vec<Value>, GraphError>;

impl Grower<'_> {
    /// A value that fits, recent ones more often.
    fn value(&mut self, fits: impl Fn(&Type) -> bool) -> Result<Value, GraphError> {
        let fitting: Vec<Value> =
            self.values.iter().copied().filter(|&value| fits(self.b.ty(value))).collect();
        let recent = fitting.len().saturating_sub(6);
        match fitting.len() {
            0 => Err(self.b.error("nothing fits")),
            n if self.random.below(2) == 0 => Ok(fitting[self.random.below(n)]),
            _ => Ok(fitting[recent + self.random.below(fitting.len() - recent)]),
        }
    }

    fn float(&mut self) -> Result<Value, GraphError> {
        let float = self.float;
        self.value(|ty| ty.dtype == float)
    }

    fn any(&mut self) -> Result<Value, GraphError> {
        self.value(|_| true)
    }

    /// A value of that type: one there is, or a splat of a number that rules look for.
    fn partner(&mut self, ty: &Type) -> Result<Value, GraphError> {
        if self.random.below(3) == 0 {
            let number = self.random.of(&[0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 3.0]);
            return self.b.full(number, ty);
        }
        if ty.rank() > 0 && self.random.below(3) == 0 {
            let axis = self.random.below(ty.rank());
            if let Ok(row) = self.value(|row| row.dtype == ty.dtype && row.dims == [ty.dims[axis]]) {
                return self.b.broadcast(row, &ty.dims, &[axis]);
            }
        }
        self.value(|other| other == ty)
    }

    fn condition(&mut self, ty: &Type) -> Result<Value, GraphError> {
        let wanted = ty.with_dtype(DType::Bool);
        match self.value(|ty| *ty == wanted) {
            Ok(value) => Ok(value),
            Err(_) => {
                let b = self.random.of(&[0.0, 1.0]);
                self.b.full(b, &wanted)
            }
        }
    }

    fn axes(&mut self, rank: usize) -> Vec<usize> {
        (0..rank).filter(|_| self.random.below(2) == 0).collect()
    }

    fn one(&mut self, op: impl Into<Op>, operands: &[Value]) -> Added {
        let value = self.b.add_node(op, operands)?;
        if self.b.ty(value).elements() > LARGEST {
            return Err(self.b.error("too large"));
        }
        Ok(vec![value])
    }

    fn node(&mut self) -> Added {
        match self.random.below(24) {
            0..=2 => self.unary(),
            3..=6 => self.binary(),
            7 => self.ternary(),
            8 => self.logic(),
            9..=10 => self.reshape(),
            11 => self.transpose(),
            12..=13 => self.broadcast(),
            14 => self.cut(),
            15 => self.join(),
            16..=17 => self.reduce(),
            18 => self.product(),
            19 => self.convolution(),
            20 => self.indexed(),
            21 => self.source(),
            22 => self.region(),
            _ => self.convert(),
        }
    }

    fn unary(&mut self) -> Added {
        use ScalarOp::{Abs, Ceil, Floor, Neg, Round, Sqrt, Trunc};
        let functions = Function::ALL.into_iter().filter(|f| f.arity() == 1).map(ScalarOp::Function);
        let ops: Vec<ScalarOp> =
            [Neg, Neg, Neg, Abs, Abs, Sqrt, Floor, Ceil, Trunc, Round].into_iter().chain(functions).collect();
        let (op, x) = (self.random.of(&ops), self.float()?);
        self.one(op, &[x])
    }

    fn binary(&mut self) -> Added {
        use ScalarOp::{Add, Compare, Div, Max, Min, Mul, Rem, Sub};
        let comparison = self.random.of(&Comparison::ALL);
        let op = self.random.of(&[Add, Add, Sub, Sub, Mul, Mul, Div, Rem, Max, Min, Compare(comparison)]);
        let x = self.value(|ty| ty.dtype != DType::Bool)?;
        let ty = self.b.ty(x).clone();
        let y = if self.random.below(8) == 0 { x } else { self.partner(&ty)? };
        let operands = if self.random.below(2) == 0 { [x, y] } else { [y, x] };
        self.one(op, &operands)
    }

    fn ternary(&mut self) -> Added {
        let x = self.any()?;
        let ty = self.b.ty(x).clone();
        let y = self.partner(&ty)?;
        if ty.dtype.is_float() && self.random.below(4) == 0 {
            return self.one(ScalarOp::Fma, &[x, y, x]);
        }
        let condition = self.condition(&ty)?;
        self.one(ScalarOp::Select, &[condition, x, y])
    }

    fn logic(&mut self) -> Added {
        use ScalarOp::{And, MulHigh, Not, Or, Shl, Shr, ShrLogical, Xor};
        let x = self.value(|ty| !ty.dtype.is_float())?;
        let ty = self.b.ty(x).clone();
        let y = self.partner(&ty)?;
        match self.random.of(&[And, Or, Xor, Not, Shl, Shr, ShrLogical, MulHigh]) {
            Not => self.one(Not, &[x]),
            op => self.one(op, &[x, y]),
        }
    }

    fn convert(&mut self) -> Added {
        let other = if self.float == DType::F32 { DType::F64 } else { DType::F32 };
        // To another float type only and back, so that the choices hold for both.
        let to = self.random.of(&[DType::Bool, DType::U8, DType::I32, DType::I64, self.float, other]);
        let x = self.any()?;
        self.one(ScalarOp::Convert(to), &[x])
    }

    fn reshape(&mut self) -> Added {
        let x = self.any()?;
        let dims = self.b.dims(x);
        let n: usize = dims.iter().product();
        let reshaped = match self.random.below(4) {
            0 => vec![n],
            1 => [&[1], dims.as_slice(), &[1]].concat(),
            2 => dims.iter().copied().filter(|&extent| extent != 1).collect(),
            _ if n.is_multiple_of(2) && n > 0 => vec![2, n / 2],
            _ => dims.iter().rev().copied().collect(),
        };
        let value = self.b.reshape(x, &reshaped)?;
        Ok(vec![value])
    }

    fn transpose(&mut self) -> Added {
        let x = self.any()?;
        let mut axes: Vec<usize> = (0..self.b.ty(x).rank()).collect();
        for last in (1..axes.len()).rev() {
            axes.swap(last, self.random.below(last + 1));
        }
        let value = self.b.transpose(x, &axes)?;
        Ok(vec![value])
    }

    fn broadcast(&mut self) -> Added {
        let x = self.value(|ty| ty.rank() < 4 && ty.elements() <= LARGEST / 4)?;
        let mut dims = self.b.dims(x);
        for extent in &mut dims {
            if *extent == 1 && self.random.below(2) == 0 {
                *extent = 1 + self.random.below(4);
            }
        }
        let mut axes: Vec<usize> = (0..dims.len()).collect();
        for _ in 0..1 + self.random.below(2) {
            let at = self.random.below(dims.len() + 1);
            dims.insert(at, 1 + self.random.below(4));
            axes.iter_mut().filter(|axis| **axis >= at).for_each(|axis| *axis += 1);
        }
        let value = self.b.broadcast(x, &dims, &axes)?;
        if self.b.ty(value).elements() > LARGEST { Err(self.b.error("too large")) } else { Ok(vec![value]) }
    }

    fn cut(&mut self) -> Added {
        let x = self.any()?;
        let dims = self.b.dims(x);
        if self.random.below(4) == 0 {
            let axes = self.axes(dims.len());
            return Ok(vec![self.b.reverse(x, &axes)?]);
        }
        let (mut start, mut limit, mut stride) = (Vec::new(), Vec::new(), Vec::new());
        for &extent in &dims {
            start.push(self.random.below(extent.max(1)).min(extent));
            limit.push(start.last().copied().unwrap_or(0).max(self.random.below(extent + 1)).min(extent));
            stride.push(1 + self.random.below(2));
        }
        if self.random.below(3) == 0 {
            limit.clone_from(&dims);
        }
        Ok(vec![self.b.slice(x, &start, &limit, &stride)?])
    }

    fn join(&mut self) -> Added {
        let x = self.value(|ty| ty.rank() > 0 && ty.rank() < 5 && ty.elements() <= LARGEST / 4)?;
        let ty = self.b.ty(x).clone();
        let axis = self.random.below(ty.rank());
        if self.random.below(2) == 0 {
            let number = self.random.of(&[0.0, 0.0, 1.0]);
            let scalar = self.b.scalar(number, ty.dtype)?;
            let mut amounts = || (0..ty.rank()).map(|_| self.random.below(2)).collect::<Vec<usize>>();
            let (low, high, interior) = (amounts(), amounts(), amounts());
            let value = self.b.pad(x, scalar, &low, &high, &interior)?;
            return if self.b.ty(value).elements() > LARGEST {
                Err(self.b.error("large"))
            } else {
                Ok(vec![value])
            };
        }
        let extent = ty.dims[axis];
        let cut = self.random.below(extent + 1);
        let parts = [self.b.slice_axis(x, axis, 0, cut)?, self.b.slice_axis(x, axis, cut, extent)?];
        let y = self.partner(&ty)?;
        let joined = self.b.concat(&parts, axis)?;
        let value = if self.random.below(2) == 0 { joined } else { self.b.concat(&[joined, y], axis)? };
        Ok(vec![value])
    }

    fn reduce(&mut self) -> Added {
        let x = self.any()?;
        let ty = self.b.ty(x).clone();
        if ty.rank() > 0 && ty.dtype.is_float() && self.random.below(5) == 0 {
            let axis = self.random.below(ty.rank());
            return Ok(vec![self.b.cumulative(Combine::Add, x, axis)?]);
        }
        let combine = match ty.dtype {
            DType::Bool => self.random.of(&[Combine::And, Combine::Or]),
            _ => self.random.of(&[Combine::Add, Combine::Add, Combine::Mul, Combine::Max, Combine::Min]),
        };
        let axes = self.axes(ty.rank());
        Ok(vec![self.b.reduce(combine, x, &axes)?])
    }

    fn product(&mut self) -> Added {
        let float = self.float;
        let x = self.value(|ty| ty.dtype == float && (1..=3).contains(&ty.rank()))?;
        let dims = self.b.dims(x);
        let axis = self.random.below(dims.len());
        let y = self
            .value(|ty| ty.dtype == float && (1..=2).contains(&ty.rank()) && ty.dims.contains(&dims[axis]))?;
        let other = self.b.dims(y).iter().position(|&extent| extent == dims[axis]).unwrap_or(0);
        let value = self.b.dot(x, y, [&[], &[]], [&[axis], &[other]])?;
        if self.b.ty(value).elements() > LARGEST { Err(self.b.error("too large")) } else { Ok(vec![value]) }
    }

    fn convolution(&mut self) -> Added {
        let (image, kernel, scale) = (self.values[4], self.values[6], self.values[7]);
        let stride = vec![1 + self.random.below(3) / 2, 1];
        let conv = Conv { padding: vec![(1, 0), (0, 1)], stride, ..Conv::new(2) };
        let y = self.b.conv(conv, image, kernel)?;
        let dims = self.b.dims(y);
        let scale = self.b.broadcast(scale, &dims, &[1])?;
        match self.random.below(3) {
            0 => Ok(vec![y]),
            1 => Ok(vec![self.b.mul(y, scale)?]),
            _ => {
                let y = self.b.sub(y, scale)?;
                Ok(vec![self.b.mul(scale, y)?])
            }
        }
    }

    fn indexed(&mut self) -> Added {
        let indices = self.value(|ty| ty.dtype == DType::I32 && ty.rank() == 1)?;
        let x = self.value(|ty| ty.rank() > 0 && ty.rank() < 4 && !ty.dims.contains(&0))?;
        let axis = self.random.below(self.b.ty(x).rank());
        match self.random.below(3) {
            0 => {
                let values = self.value(|ty| ty.rank() == 1)?;
                Ok(self.b.sort(&[values], 0, self.random.below(2) == 0)?)
            }
            1 => {
                let mode = ScatterMode::ALL[self.random.below(4)];
                let taken = self.b.gather(x, indices, axis)?;
                let updates = self.b.reverse(taken, &[axis])?;
                Ok(vec![self.b.scatter(x, indices, updates, axis, mode)?])
            }
            _ => {
                let taken = self.b.gather(x, indices, axis)?;
                if self.b.ty(taken).elements() > LARGEST {
                    return Err(self.b.error("too large"));
                }
                Ok(vec![taken])
            }
        }
    }

    fn source(&mut self) -> Added {
        let like = self.any()?;
        let ty = self.b.ty(like).clone();
        match self.random.below(3) {
            0 if ty.rank() > 0 && ty.dtype != DType::Bool => {
                let axis = self.random.below(ty.rank());
                Ok(vec![self.b.iota(ty.dtype, &ty.dims, axis)?])
            }
            1 => {
                let (seed, step) = (self.values[8], self.values[9]);
                let ty = ty.with_dtype(self.float);
                let stream = self.random.below(3) as u32;
                Ok(vec![self.b.random(Distribution::Uniform, stream, &ty, seed, step)?])
            }
            _ => {
                let tensor = tensor(self.random, &ty, true);
                Ok(vec![self.b.constant(tensor)?])
            }
        }
    }

    /// A loop or a branch.
    fn region(&mut self) -> Added {
        match self.random.below(9) {
            0..=1 => self.recurrence(),
            2..=4 => self.cell(),
            5 => self.nested(),
            6 => self.guarded(),
            _ => self.counted(),
        }
    }

    /// A recurrence over the rows of a matrix.
    fn recurrence(&mut self) -> Added {
        let float = self.float;
        let x = self.value(|ty| ty.dtype == float && ty.rank() == 2)?;
        let dims = self.b.dims(x);
        let row = Type::new(float, [dims[1]]);
        let mut body = Graph::new("body");
        let h = body.add_parameter("h", Role::Data, row.clone());
        let slice = body.add_parameter("x", Role::Data, row.clone());
        let mut b = Builder::new(&mut body, Origin::new("cell"));
        let one = b.full(1.0, &row)?;
        let kept = b.mul(h, one)?;
        let sum = b.add(kept, slice)?;
        let again = b.add(slice, h)?;
        let next = b.max(sum, again)?;
        let next = if self.random.below(2) == 0 { b.function(Function::Tanh, next)? } else { next };
        body.add_output("h", Role::Data, next);
        body.add_output("y", Role::Data, sum);
        let start = self.b.full(0.5, &row)?;
        let reverse = self.random.below(2) == 0;
        let scan = Scan {
            body,
            length: dims[0],
            carries: 1,
            slices: 1,
            reverse,
            guarded: false,
            segments: Default::default(),
        };
        self.b.add_nodes(scan, &[start, x])
    }

    /// A cell with everything that can leave a loop: a product of the slice with captured weights, one of the state for the results
    /// alone, a sum of products, sums of captures, carries that nothing needs or that never change, all of it twice. Of few rows
    /// of a matrix, or none.
    fn cell(&mut self) -> Added {
        let float = self.float;
        let x = self.value(|ty| ty.dtype == float && ty.rank() == 2)?;
        let rows = self.b.dims(x)[0].min(self.random.below(5));
        let x = self.b.slice_axis(x, 0, 0, rows)?;
        let n = self.b.dims(x)[1];
        let w = self.value(|ty| ty.dtype == float && ty.rank() == 2 && ty.dims[0] == n)?;
        let (slice, row) = (Type::new(float, [n]), Type::new(float, [self.b.dims(w)[1]]));
        let square = Type::new(float, [n, row.dims[0]]);
        let k = self.partner(&row)?;
        let start = self.partner(&row)?;
        let sum = self.b.full(0.0, &square)?;
        let mut body = Graph::new("cell");
        let types = [&row, &square, &row, &row, &row, &slice, &slice, &square, &row];
        let p: Vec<Value> = types
            .iter()
            .zip(["h", "sum", "unused", "same", "twin", "x", "z", "w", "k"])
            .map(|(&ty, name)| body.add_parameter(name, Role::Data, ty.clone()))
            .collect();
        let mut b = Builder::new(&mut body, Origin::new("cell"));
        let into = b.dot(p[5], p[7], [&[], &[]], [&[0], &[0]])?;
        let bias = b.add(p[8], p[3])?;
        let state = |b: &mut Builder, h: Value| {
            let kept = b.mul(h, bias)?;
            let sum = b.add(into, kept)?;
            b.function(Function::Tanh, sum)
        };
        let (next, twin) = (state(&mut b, p[0])?, state(&mut b, p[4])?);
        let term = b.dot(p[6], next, [&[], &[]], [&[], &[]])?;
        let total = if self.random.below(2) == 0 { b.add(p[1], term)? } else { b.add(term, p[1])? };
        let unused = b.mul(p[2], next)?;
        let out = b.dot(p[7], next, [&[], &[]], [&[1], &[0]])?;
        let out = b.function(Function::Tanh, out)?;
        let scaled = b.mul_scalar(p[5], 2.0)?;
        let outputs = [next, total, unused, p[3], twin, twin, out, scaled, bias, p[0]];
        for (number, value) in outputs.into_iter().enumerate() {
            body.add_output(&format!("y{number}"), Role::Data, value);
        }
        let reverse = self.random.below(2) == 0;
        let scan = Scan {
            body,
            length: rows,
            carries: 5,
            slices: 2,
            reverse,
            guarded: false,
            segments: Default::default(),
        };
        let results = self.b.add_nodes(scan, &[start, sum, k, k, start, x, x, w, k])?;
        let wanted = self.random.below(1 << results.len());
        Ok(results
            .into_iter()
            .enumerate()
            .filter(|(number, _)| (wanted >> number) & 1 == 1)
            .map(|(_, v)| v)
            .collect())
    }

    /// A loop over the rows of a matrix that ends before the last one, or has no step: with work on slices and on captures alone.
    fn guarded(&mut self) -> Added {
        let float = self.float;
        let x = self.value(|ty| ty.dtype == float && ty.rank() == 2)?;
        let dims = self.b.dims(x);
        let row = Type::new(float, [dims[1]]);
        let (flag, count) = (Type::new(DType::Bool, []), Type::new(DType::I32, []));
        let k = self.partner(&row)?;
        let mut body = Graph::new("guarded");
        let p = [("more", &flag), ("n", &count), ("h", &row), ("x", &row), ("k", &row)]
            .map(|(name, ty)| body.add_parameter(name, Role::Data, ty.clone()));
        let mut b = Builder::new(&mut body, Origin::new("guarded"));
        let (one, most) = (b.full(1.0, &count)?, b.full(self.random.below(4) as f64, &count)?);
        let next = b.add(p[1], one)?;
        let again = b.compare(Comparison::Lt, next, most)?;
        let kept = b.mul(p[2], p[4])?;
        let sum = b.add(kept, p[3])?;
        let state = b.function(Function::Tanh, sum)?;
        let apart = b.function(Function::Cos, p[3])?;
        let fixed = b.add(p[4], p[4])?;
        for (number, value) in [again, next, state, state, apart, fixed].into_iter().enumerate() {
            body.add_output(&format!("y{number}"), Role::Data, value);
        }
        let begins = if self.random.below(4) == 0 { 0.0 } else { 1.0 };
        let (more, first) = (self.b.full(begins, &flag)?, self.b.full(0.0, &count)?);
        let start = self.b.full(0.5, &row)?;
        let reverse = self.random.below(2) == 0;
        let scan = Scan {
            body,
            length: dims[0],
            carries: 3,
            slices: 1,
            reverse,
            guarded: true,
            segments: Default::default(),
        };
        let results = self.b.add_nodes(scan, &[more, first, start, x, k])?;
        let wanted = self.random.below(1 << results.len());
        Ok(results
            .into_iter()
            .enumerate()
            .filter(|(number, _)| (wanted >> number) & 1 == 1)
            .map(|(_, value)| value)
            .collect())
    }

    /// A loop in a loop: over the rows of each matrix, with what the outer one carries.
    fn nested(&mut self) -> Added {
        let float = self.float;
        let x = self.value(|ty| ty.dtype == float && ty.rank() == 3)?;
        let dims = self.b.dims(x);
        let (row, matrix) = (Type::new(float, [dims[2]]), Type::new(float, dims[1..].to_vec()));
        let k = self.partner(&row)?;
        let mut inner = Graph::new("inner");
        let [h, slice, c, d] =
            ["h", "x", "c", "k"].map(|name| inner.add_parameter(name, Role::Data, row.clone()));
        let mut b = Builder::new(&mut inner, Origin::new("inner"));
        let factor = b.mul(c, d)?;
        let moved = b.mul(slice, d)?;
        let kept = b.mul(h, factor)?;
        let next = b.add(kept, moved)?;
        let next = b.function(Function::Tanh, next)?;
        inner.add_output("h", Role::Data, next);
        inner.add_output("y", Role::Data, kept);
        let mut outer = Graph::new("outer");
        let h = outer.add_parameter("h", Role::Data, row.clone());
        let slices = outer.add_parameter("x", Role::Data, matrix);
        let captured = outer.add_parameter("k", Role::Data, row.clone());
        let reverse = self.random.below(2) == 0;
        let scan = Scan {
            body: inner,
            length: dims[1],
            carries: 1,
            slices: 1,
            reverse,
            guarded: false,
            segments: Default::default(),
        };
        let results =
            Builder::new(&mut outer, Origin::new("outer")).add_nodes(scan, &[h, slices, h, captured])?;
        outer.add_output("h", Role::Data, results[0]);
        outer.add_output("y", Role::Data, results[1]);
        let start = self.b.full(0.5, &row)?;
        let scan = Scan {
            body: outer,
            length: dims[0],
            carries: 1,
            slices: 1,
            reverse: false,
            guarded: false,
            segments: Default::default(),
        };
        let all = self.b.add_nodes(scan, &[start, x, k])?;
        Ok(all.into_iter().take(1 + self.random.below(2)).collect())
    }

    /// A loop with a count that stops it, and a choice in each iteration.
    fn counted(&mut self) -> Added {
        let x = self.float()?;
        let ty = self.b.ty(x).clone();
        let y = self.partner(&ty)?;
        let count = Type::new(DType::I32, []);
        let region = |name: &str, types: &[&Type]| {
            let mut region = Graph::new(name);
            let add = |(number, ty): (usize, &&Type)| {
                region.add_parameter(&format!("p{number}"), Role::Data, (*ty).clone())
            };
            let parameters: Vec<Value> = types.iter().enumerate().map(add).collect();
            (region, parameters)
        };
        let [then, otherwise] = [Function::Tanh, Function::Cos].map(|function| {
            let (mut branch, p) = region("branch", &[&ty, &ty]);
            let mut b = Builder::new(&mut branch, Origin::new("branch"));
            let sum = b.add(p[0], p[1])?;
            let value = b.function(function, sum)?;
            branch.add_output("y", Role::Data, value);
            branch.add_output("sum", Role::Data, sum);
            Ok::<Graph, GraphError>(branch)
        });
        let types = [&ty, &count, &ty, &count, &ty];
        let (mut body, p) = region("body", &types);
        let mut b = Builder::new(&mut body, Origin::new("body"));
        let odd = b.full(1.0, &count)?;
        let next = b.add(p[1], odd)?;
        let bit = b.elementwise(ScalarOp::And, &[p[1], odd])?;
        let is_odd = b.compare(Comparison::Eq, bit, odd)?;
        let twice = b.add(p[4], p[4])?;
        let chosen = b.add_nodes(Cond { then: then?, otherwise: otherwise? }, &[is_odd, p[0], twice])?;
        for (number, value) in [chosen[0], next, p[2]].into_iter().enumerate() {
            body.add_output(&format!("y{number}"), Role::Data, value);
        }
        let (mut condition, p) = region("condition", &types);
        let more =
            Builder::new(&mut condition, Origin::new("condition")).compare(Comparison::Lt, p[1], p[3])?;
        condition.add_output("more", Role::Data, more);
        let (first, last) = (self.b.full(0.0, &count)?, self.b.full(self.random.below(4) as f64, &count)?);
        let looped = While { condition, body, carries: 3, limit: self.random.below(5) };
        let all = self.b.add_nodes(looped, &[x, first, y, last, y])?;
        Ok(all.into_iter().take(1 + 2 * self.random.below(2)).collect())
    }
}
