//! Cases of every operator: operands that its rules can be checked at.

#![allow(dead_code)]

use brolga_ir::choice::{Choice, Layout};
use brolga_ir::graph::{Graph, Origin, Value};
use brolga_ir::ops::{
    Broadcast, Concat, Cond, Constant, Conv, ConvForm, Cumulative, Distribution, Dot, Gather, GatherAlong,
    Iota, Op, Pad, Random, Reduce, ReduceWindow, Reshape, Reverse, Role, Scan, Scatter, ScatterAlong,
    ScatterMode, SelectForm, Slice, Sort, StopGradient, Transpose, While, WindowSelect,
};
use brolga_ir::program::Combine;
pub use brolga_ir::random::Rng;
use brolga_ir::scalar::{Comparison, Function, Scalar, ScalarOp};
use brolga_ir::{Builder, DType, Tensor, Type};

/// An operator with operands, and how it is run.
pub struct Case {
    pub op: Op,
    pub choice: Choice,
    pub operands: Vec<Tensor>,
}

impl Case {
    /// An operator, run as it says itself.
    pub fn new(op: impl Into<Op>, operands: &[Tensor]) -> Case {
        Case { op: op.into(), choice: Choice::default(), operands: operands.to_vec() }
    }

    /// For messages.
    pub fn label(&self) -> String {
        let types: Vec<String> = self.operands.iter().map(|x| x.ty().to_string()).collect();
        let attributes: Vec<String> = self
            .op
            .get()
            .attributes()
            .into_iter()
            .filter(|(_, value)| !matches!(value, brolga_ir::attribute::Attribute::Graph(_)))
            .map(|(name, value)| format!("{name}: {value:?}"))
            .collect();
        format!("{} of {} {{{}}}", self.op.get().name(), types.join(", "), attributes.join(", "))
    }

    pub fn types(&self) -> Vec<Type> {
        self.operands.iter().map(Tensor::ty).collect()
    }

    /// A graph of this node alone: its operands are the parameters, its results the outputs.
    pub fn graph(&self) -> Graph {
        let mut graph = Graph::new("case");
        let types = self.types().into_iter().enumerate();
        let operands: Vec<Value> =
            types.map(|(i, ty)| graph.add_parameter(&format!("x{i}"), Role::Data, ty)).collect();
        let node = graph.add_chosen(self.op.clone(), self.choice, &operands, &Origin::new("case"));
        let node = node.expect("a valid case");
        for (i, value) in graph.results(node).into_iter().enumerate() {
            graph.add_output(&format!("y{i}"), Role::Data, value);
        }
        graph
    }
}

/// Floats in `low..high`.
pub fn between(dims: &[usize], low: f64, high: f64) -> Tensor {
    let mut rng = Rng(dims.iter().fold(17, |seed, &d| seed * 31 + d as u64) + low.to_bits());
    Tensor::generate(&Type::new(DType::F64, dims), |_| Scalar::F64(rng.float(low, high)))
}

/// Floats around zero.
pub fn floats(dims: &[usize]) -> Tensor {
    between(dims, -2.0, 2.0)
}

/// Floats all at least 0.05 apart, so that small changes keep their order.
pub fn distinct(dims: &[usize]) -> Tensor {
    let n: usize = dims.iter().product();
    let mut order: Vec<usize> = (0..n).collect();
    let mut rng = Rng(n as u64 + 5);
    for i in (1..n).rev() {
        order.swap(i, rng.below(i + 1));
    }
    Tensor::generate(&Type::new(DType::F64, dims), |i| Scalar::F64(order[i] as f64 * 0.05 - 0.7))
}

/// Integers in `low..=high`, of any integer type.
pub fn ints(dtype: DType, dims: &[usize], low: i64, high: i64) -> Tensor {
    let mut rng = Rng(high as u64 * 7 + dims.len() as u64);
    let span = (high - low + 1) as usize;
    Tensor::generate(&Type::new(dtype, dims), |_| Scalar::from_i64(dtype, low + rng.below(span) as i64))
}

fn bools(dims: &[usize]) -> Tensor {
    let mut rng = Rng(3);
    Tensor::generate(&Type::new(DType::Bool, dims), |_| Scalar::Bool(rng.below(2) == 1))
}

fn i32s(dims: &[usize], values: &[i32]) -> Tensor {
    Tensor::i32(dims, values)
}

fn long(value: i64) -> Tensor {
    Tensor::scalar(Scalar::I64(value))
}

/// The cases of every operator but `parameter` and `gradient`, which have no meaning of their own.
pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    elementwise(&mut all);
    shapes(&mut all);
    indices(&mut all);
    reductions(&mut all);
    products(&mut all);
    regions(&mut all);
    all
}

fn push(all: &mut Vec<Case>, op: impl Into<Op>, operands: &[Tensor]) {
    all.push(Case::new(op, operands));
}

fn elementwise(all: &mut Vec<Case>) {
    use ScalarOp::*;
    use brolga_ir::scalar::Function as F;
    for dims in [vec![], vec![3, 5], vec![2, 0], vec![1, 1]] {
        for op in [Neg, Abs, Floor, Ceil, Trunc, Round] {
            push(all, op, &[between(&dims, 0.6, 1.4)]);
            push(all, op, &[between(&dims, -1.45, -0.55)]);
        }
        push(all, Sqrt, &[between(&dims, 0.5, 3.0)]);
        for op in [Add, Sub, Mul, Div] {
            push(all, op, &[floats(&dims), between(&dims, 0.5, 2.0)]);
        }
        push(all, Rem, &[between(&dims, 7.2, 7.8), between(&dims, 2.1, 2.3)]);
        push(all, Max, &[between(&dims, 0.0, 1.0), between(&dims, 1.1, 2.0)]);
        push(all, Max, &[between(&dims, 0.0, 1.0), between(&dims, -2.0, -0.1)]);
        push(all, Min, &[between(&dims, 0.0, 1.0), between(&dims, 1.1, 2.0)]);
        push(all, Fma, &[floats(&dims), between(&dims, 1.0, 2.0), between(&dims, -1.0, 2.0)]);
        push(all, Select, &[bools(&dims), floats(&dims), between(&dims, 0.0, 2.0)]);
        push(all, Convert(DType::F64), &[floats(&dims)]);
        push(all, StopGradient::default(), &[floats(&dims)]);
        push(all, StopGradient { state: Some("a.\"w\"".to_owned()) }, &[floats(&dims)]);
        for function in F::ALL {
            let operands = match function {
                F::Log | F::Log2 | F::Log10 | F::Rsqrt => vec![between(&dims, 0.5, 3.0)],
                F::Log1p => vec![between(&dims, -0.5, 3.0)],
                F::Lgamma | F::Digamma => vec![between(&dims, 0.7, 4.0)],
                F::ErfInv | F::Asin | F::Acos | F::Atanh => vec![between(&dims, -0.8, 0.8)],
                F::Acosh => vec![between(&dims, 1.2, 3.0)],
                F::Tan => vec![between(&dims, -1.0, 1.0)],
                F::Atan2 => vec![floats(&dims), between(&dims, 0.5, 2.0)],
                F::Pow => vec![between(&dims, 0.5, 2.0), between(&dims, -2.0, 2.5)],
                _ => vec![floats(&dims)],
            };
            push(all, Function(function), &operands);
        }
        for op in Comparison::ALL.map(Compare) {
            push(all, op, &[floats(&dims), between(&dims, -1.0, 1.0)]);
            push(all, op, &[ints(DType::I64, &dims, -2, 2), ints(DType::I64, &dims, -1, 1)]);
        }
        for op in [And, Or, Xor] {
            push(all, op, &[bools(&dims), bools(&dims)]);
            push(all, op, &[ints(DType::U8, &dims, 0, 255), ints(DType::U8, &dims, 3, 77)]);
        }
        push(all, Not, &[bools(&dims)]);
        for op in [Shl, Shr, ShrLogical, MulHigh, Add, Mul, Div, Rem, Max] {
            push(
                all,
                op,
                &[ints(DType::I32, &dims, -1 << 31, (1 << 31) - 1), ints(DType::I32, &dims, -40, 40)],
            );
        }
        push(all, Bitcast(DType::I64), &[floats(&dims)]);
        push(all, Convert(DType::I32), &[between(&dims, -3e9, 3e9)]);
        push(all, Convert(DType::F32), &[floats(&dims)]);
    }
    // From zero, where the logarithm is not finite, only the base's derivative is looked at.
    push(all, Iota { ty: Type::new(DType::F32, [2, 3]), axis: 1 }, &[]);
    push(all, Iota { ty: Type::new(DType::I64, [4]), axis: 0 }, &[]);
    push(all, Constant { value: floats(&[2, 3]) }, &[]);
    push(all, Constant { value: Tensor::full([7], Scalar::F32(0.1)) }, &[]);
    for (distribution, dtype) in [
        (Distribution::Bits, DType::I32),
        (Distribution::Uniform, DType::F32),
        (Distribution::Uniform, DType::F64),
        (Distribution::Normal, DType::F32),
    ] {
        for dims in [vec![], vec![3, 7], vec![0, 2]] {
            let op = Random { stream: 0xDEAD_BEEF, distribution, ty: Type::new(dtype, dims) };
            push(all, op.clone(), &[long(0x0123_4567_89AB_CDEF), long(5)]);
            push(all, op, &[long(-3), long(1 << 40), long(9)]);
        }
    }
}

fn shapes(all: &mut Vec<Case>) {
    push(all, Broadcast { dims: vec![4, 3], axes: vec![1] }, &[floats(&[3])]);
    push(all, Broadcast { dims: vec![2, 3, 4], axes: vec![0, 2] }, &[floats(&[2, 1])]);
    push(all, Broadcast { dims: vec![2, 3], axes: vec![] }, &[floats(&[])]);
    push(all, Broadcast { dims: vec![0, 3], axes: vec![1] }, &[floats(&[3])]);
    push(all, Reshape { dims: vec![6] }, &[floats(&[2, 3])]);
    push(all, Reshape { dims: vec![3, 1, 4] }, &[floats(&[2, 6])]);
    push(all, Reshape { dims: vec![0, 7] }, &[floats(&[3, 0])]);
    push(all, Transpose { axes: vec![1, 0] }, &[floats(&[2, 3])]);
    push(all, Transpose { axes: vec![2, 0, 1] }, &[floats(&[2, 3, 4])]);
    push(all, Transpose { axes: vec![] }, &[floats(&[])]);
    push(all, Transpose { axes: vec![1, 0] }, &[floats(&[0, 3])]);
    for (start, limit, stride) in
        [([0, 1], [3, 5], [1, 1]), ([1, 0], [5, 6], [2, 4]), ([2, 6], [2, 6], [1, 1])]
    {
        let op = Slice { start: start.into(), limit: limit.into(), stride: stride.into() };
        push(all, op, &[floats(&[5, 6])]);
    }
    push(all, Reverse { axes: vec![0, 1] }, &[floats(&[3, 4])]);
    push(all, Reverse { axes: vec![1] }, &[floats(&[3, 0])]);
    for (low, high, interior) in [
        ([1, 0], [0, 2], [0, 0]),
        ([1, 2], [3, 0], [2, 1]),
        ([0, 0], [0, 0], [1, 0]),
        ([2, 2], [1, 1], [0, 0]),
    ] {
        let op = Pad { low: low.into(), high: high.into(), interior: interior.into() };
        push(all, op.clone(), &[floats(&[3, 4]), floats(&[])]);
        push(all, op.clone(), &[floats(&[1, 1]), floats(&[])]);
        push(all, op, &[floats(&[0, 2]), floats(&[])]);
    }
    push(all, Concat { axis: 1 }, &[floats(&[2, 3]), floats(&[2, 0]), floats(&[2, 2])]);
    push(all, Concat { axis: 0 }, &[floats(&[4])]);
}

fn indices(all: &mut Vec<Case>) {
    // Two of the indices lie outside.
    let rows = i32s(&[2, 2], &[3, -1, 0, 9]);
    for x in [floats(&[4]), floats(&[4, 3])] {
        push(all, Gather { axis: 0 }, &[x.clone(), rows.clone()]);
        push(all, Gather { axis: 0 }, &[x.clone(), i32s(&[], &[2])]);
        push(all, Gather { axis: 0 }, &[x, i32s(&[0], &[])]);
    }
    push(all, Gather { axis: 1 }, &[floats(&[2, 4, 3]), ints(DType::I64, &[5], -1, 5)]);
    push(all, GatherAlong { axis: 1 }, &[floats(&[3, 4]), i32s(&[3, 1], &[2, -5, 7])]);
    push(all, GatherAlong { axis: 1 }, &[floats(&[3, 4, 2]), ints(DType::I32, &[3, 6, 2], 0, 3)]);
    push(all, GatherAlong { axis: 0 }, &[floats(&[3, 4]), ints(DType::I64, &[0, 4], 0, 3)]);
    // No update is as large as what it meets.
    for mode in ScatterMode::ALL {
        let op = Scatter { axis: 0, mode };
        push(all, op.clone(), &[floats(&[4, 3]), rows.clone(), distinct(&[2, 2, 3])]);
        push(all, op.clone(), &[floats(&[4]), i32s(&[5], &[1, 1, 3, 1, 4]), distinct(&[5])]);
        push(all, op.clone(), &[floats(&[4]), i32s(&[], &[1]), distinct(&[])]);
        push(all, op, &[floats(&[4]), i32s(&[0], &[]), floats(&[0])]);
        let op = Scatter { axis: 1, mode };
        push(all, op, &[floats(&[2, 3, 2]), i32s(&[4], &[2, 0, 2, 1]), distinct(&[2, 4, 2])]);
        let op = ScatterAlong { axis: 1, mode };
        push(all, op.clone(), &[floats(&[3, 4]), i32s(&[3, 1], &[2, -1, 3]), distinct(&[3, 1])]);
        let places = i32s(&[2, 4], &[0, 0, 2, 5, 1, 1, 1, 0]);
        push(all, op.clone(), &[floats(&[2, 3]), places, distinct(&[2, 4])]);
        push(all, op, &[floats(&[2, 3]), ints(DType::I64, &[2, 0], 0, 1), floats(&[2, 0])]);
    }
    for (axis, descending) in [(0, false), (1, true)] {
        for first in [None, Some(2)] {
            let op = Sort { axis, descending, first };
            push(all, op.clone(), &[distinct(&[4, 5])]);
            push(all, op, &[distinct(&[3, 4]), floats(&[3, 4]), ints(DType::I32, &[3, 4], 0, 9)]);
        }
    }
    push(all, Sort { axis: 0, descending: false, first: None }, &[floats(&[0])]);
}

fn reductions(all: &mut Vec<Case>) {
    for combine in [Combine::Add, Combine::Mul, Combine::Max, Combine::Min] {
        for (dims, axes) in [
            (vec![3, 4], vec![0]),
            (vec![3, 4], vec![1]),
            (vec![2, 3, 2], vec![0, 2]),
            (vec![5], vec![0]),
            (vec![70], vec![0]),
            (vec![1, 3], vec![0]),
            (vec![2, 0], vec![0]),
        ] {
            let x = if combine == Combine::Mul { between(&dims, 0.5, 1.5) } else { distinct(&dims) };
            push(all, Reduce { combine, axes }, &[x]);
        }
        for (dims, axis) in [(vec![4], 0), (vec![3, 4], 0), (vec![3, 4, 2], 1), (vec![1], 0), (vec![2, 0], 1)]
        {
            for (reverse, exclusive) in [(false, false), (true, false), (false, true), (true, true)] {
                let x = if combine == Combine::Mul { between(&dims, 0.5, 1.5) } else { distinct(&dims) };
                push(all, Cumulative { axis, combine, reverse, exclusive }, &[x]);
            }
        }
    }
    push(all, Reduce { combine: Combine::Add, axes: vec![1] }, &[floats(&[2, 0])]);
    push(all, Reduce { combine: Combine::And, axes: vec![0] }, &[bools(&[3, 2])]);
    push(all, Reduce { combine: Combine::Or, axes: vec![0, 1] }, &[ints(DType::I32, &[3, 2], -9, 9)]);
    for (dims, window) in windows() {
        for combine in [Combine::Add, Combine::Max, Combine::Min] {
            let window = ReduceWindow { combine, ..window.clone() };
            let x = distinct(&dims);
            let graph = Case::new(window.clone(), std::slice::from_ref(&x)).graph();
            let y = graph.ty(graph.outputs()[0].value).dims.clone();
            if combine != Combine::Add {
                let scatter = WindowSelect { window: window.clone(), form: SelectForm::Scatter };
                push(all, scatter, &[x.clone(), floats(&y)]);
                let gather = WindowSelect { window: window.clone(), form: SelectForm::Gather };
                push(all, gather, &[x.clone(), floats(&dims)]);
            }
            push(all, window, &[x]);
        }
    }
}

fn windows() -> Vec<(Vec<usize>, ReduceWindow)> {
    let window = |window: &[usize], stride: &[usize]| ReduceWindow::new(Combine::Add, window, stride);
    vec![
        (vec![1, 2, 4, 4], window(&[1, 1, 2, 2], &[1, 1, 2, 2])),
        (
            vec![1, 5, 7],
            ReduceWindow { padding: vec![(0, 0), (1, 0), (1, 2)], ..window(&[1, 3, 3], &[1, 2, 2]) },
        ),
        (vec![9], ReduceWindow { window_dilation: vec![3], ..window(&[2], &[2]) }),
        (vec![6], ReduceWindow { padding: vec![(2, 2)], base_dilation: vec![2], ..window(&[3], &[3]) }),
        (vec![5, 4], ReduceWindow { padding: vec![(-1, 0), (0, -1)], ..window(&[2, 1], &[1, 2]) }),
        (vec![7], ReduceWindow { padding: vec![(0, 1)], ..window(&[2], &[2]) }),
        (vec![1], window(&[1], &[1])),
        (vec![0, 3], window(&[1, 2], &[1, 1])),
    ]
}

fn products(all: &mut Vec<Case>) {
    let dot = |batch: [&[usize]; 2], contract: [&[usize]; 2]| {
        Dot::new(batch.map(<[usize]>::to_vec), contract.map(<[usize]>::to_vec))
    };
    push(all, dot([&[], &[]], [&[1], &[0]]), &[floats(&[3, 4]), floats(&[4, 5])]);
    push(all, dot([&[], &[]], [&[0], &[1]]), &[floats(&[4, 3]), floats(&[5, 4])]);
    push(all, dot([&[0], &[2]], [&[3, 1], &[0, 1]]), &[floats(&[2, 3, 2, 4]), floats(&[4, 3, 2, 2])]);
    push(all, dot([&[1, 0], &[0, 1]], [&[2], &[2]]), &[floats(&[3, 2, 4]), floats(&[2, 3, 4])]);
    push(all, dot([&[], &[]], [&[], &[]]), &[floats(&[2]), floats(&[3])]);
    push(all, dot([&[], &[]], [&[0], &[0]]), &[floats(&[5]), floats(&[5])]);
    push(all, dot([&[], &[]], [&[1], &[0]]), &[floats(&[2, 0]), floats(&[0, 3])]);
    push(
        all,
        dot([&[], &[]], [&[1], &[0]]),
        &[ints(DType::I32, &[2, 3], -5, 5), ints(DType::I32, &[3, 2], -5, 5)],
    );
    let first = convolutions().into_iter().map(|(x, w, conv)| (Layout::ChannelsFirst, x, w, conv));
    for (layout, x, w, conv) in first.chain(with_channels_last()) {
        let (x, w) = (floats(&x), floats(&w));
        let case = |conv: &Conv, operands: &[Tensor]| Case {
            choice: layout.into(),
            ..Case::new(conv.clone(), operands)
        };
        let forward = case(&conv, &[x.clone(), w.clone()]);
        let graph = forward.graph();
        let y = floats(&graph.ty(graph.outputs()[0].value).dims);
        let size = layout.extents(&x.ty()).to_vec();
        let kernel = w.dims()[2..].to_vec();
        all.push(forward);
        all.push(case(&conv.with_form(ConvForm::InputGradient { size }), &[y.clone(), w]));
        all.push(case(&conv.with_form(ConvForm::WeightGradient { kernel }), &[x, y]));
    }
}

/// Extents of x and w, and the convolution.
pub fn convolutions() -> Vec<(Vec<usize>, Vec<usize>, Conv)> {
    vec![
        (vec![2, 2, 5], vec![3, 2, 3], Conv::new(1)),
        (vec![1, 2, 5, 4], vec![2, 2, 3, 3], Conv { padding: vec![(1, 1), (0, 2)], ..Conv::new(2) }),
        (vec![1, 1, 6, 7], vec![2, 1, 3, 2], Conv { stride: vec![2, 3], ..Conv::new(2) }),
        (vec![1, 4, 4, 4], vec![4, 2, 1, 1], Conv { groups: 2, ..Conv::new(2) }),
        (vec![1, 3, 5], vec![6, 1, 2], Conv { groups: 3, padding: vec![(2, 1)], ..Conv::new(1) }),
        (
            vec![1, 1, 4, 3],
            vec![1, 1, 2, 2],
            Conv { lhs_dilation: vec![2, 3], stride: vec![1, 2], ..Conv::new(2) },
        ),
        (vec![1, 1, 7], vec![2, 1, 3], Conv { rhs_dilation: vec![2], padding: vec![(1, 3)], ..Conv::new(1) }),
        (vec![1, 1, 3, 3, 3], vec![2, 1, 2, 2, 2], Conv { padding: vec![(1, 0); 3], ..Conv::new(3) }),
        (vec![0, 1, 3], vec![1, 1, 2], Conv::new(1)),
        (vec![1, 1, 1], vec![1, 1, 1], Conv::new(1)),
    ]
}

/// The same of images with their channels last.
fn with_channels_last() -> Vec<(Layout, Vec<usize>, Vec<usize>, Conv)> {
    let padding = vec![(1, 0), (0, 1)];
    let strided = Conv { groups: 2, padding, stride: vec![1, 2], ..Conv::new(2) };
    vec![
        (Layout::ChannelsLast, vec![2, 5, 3], vec![2, 3, 2], Conv::new(1)),
        (Layout::ChannelsLast, vec![1, 4, 5, 4], vec![4, 2, 3, 2], strided),
    ]
}

/// A region of those parameters.
fn region(types: &[Type], build: impl FnOnce(&mut Builder, &[Value]) -> Vec<Value>) -> Graph {
    let mut graph = Graph::new("region");
    let parameters: Vec<Value> = types
        .iter()
        .enumerate()
        .map(|(i, ty)| graph.add_parameter(&format!("p{i}"), Role::Data, ty.clone()))
        .collect();
    let outputs = build(&mut Builder::new(&mut graph, Origin::new("region")), &parameters);
    for (i, value) in outputs.into_iter().enumerate() {
        graph.add_output(&format!("o{i}"), Role::Data, value);
    }
    graph
}

fn regions(all: &mut Vec<Case>) {
    let ty = |dims: &[usize]| Type::new(DType::F64, dims);
    // h' = tanh(w h + x), y = h h'; w is captured.
    let cell = region(&[ty(&[3]), ty(&[3]), ty(&[3, 3])], |b, p| {
        let mixed = b.dot(p[2], p[0], [&[], &[]], [&[1], &[0]]).unwrap();
        let sum = b.add(mixed, p[1]).unwrap();
        let next = b.function(Function::Tanh, sum).unwrap();
        let y = b.mul(p[0], next).unwrap();
        vec![next, y]
    });
    for (length, reverse) in [(4, false), (3, true), (1, false), (0, false)] {
        let scan = Scan {
            body: cell.clone(),
            length,
            carries: 1,
            slices: 1,
            reverse,
            guarded: false,
            segments: Default::default(),
        };
        push(all, scan, &[floats(&[3]), floats(&[length, 3]), between(&[3, 3], -0.5, 0.5)]);
    }
    // An integer carry beside, no slices.
    let counting = region(&[Type::scalar(DType::I32), ty(&[2]), ty(&[2])], |b, p| {
        let next = b.add_scalar(p[0], 1.0).unwrap();
        let number = b.convert(p[0], DType::F64).unwrap();
        let number = b.broadcast(number, &[2], &[]).unwrap();
        let scaled = b.mul(p[1], p[2]).unwrap();
        let sum = b.add(scaled, number).unwrap();
        vec![next, sum, p[1]]
    });
    let scan = Scan {
        body: counting,
        length: 3,
        carries: 2,
        slices: 0,
        reverse: false,
        guarded: false,
        segments: Default::default(),
    };
    push(all, scan, &[Tensor::scalar(Scalar::I32(2)), floats(&[2]), floats(&[2])]);
    // One that ends after its third step, or does not begin. What it divides by is 0 in the stack for steps that were not run.
    let (more, count) = (Type::scalar(DType::Bool), Type::scalar(DType::I32));
    let ending = region(&[more, count, ty(&[3]), ty(&[3]), ty(&[3, 3])], |b, p| {
        let next = b.add_scalar(p[1], 1.0).unwrap();
        let most = b.scalar(3.0, DType::I32).unwrap();
        let again = b.compare(Comparison::Lt, next, most).unwrap();
        let mixed = b.dot(p[4], p[2], [&[], &[]], [&[1], &[0]]).unwrap();
        let ratio = b.elementwise(ScalarOp::Div, &[p[3], mixed]).unwrap();
        let state = b.function(Function::Tanh, ratio).unwrap();
        vec![again, next, state, ratio]
    });
    for (length, reverse, more) in [(5, false, true), (4, true, true), (2, false, true), (3, false, false)] {
        let scan = Scan {
            body: ending.clone(),
            length,
            carries: 3,
            slices: 1,
            reverse,
            guarded: true,
            segments: Default::default(),
        };
        let [more, count] = [Scalar::Bool(more), Scalar::I32(0)].map(Tensor::scalar);
        let (h, x) = (between(&[3], 0.5, 1.0), between(&[length, 3], 0.5, 1.5));
        push(all, scan, &[more, count, h, x, between(&[3, 3], 0.5, 1.0)]);
    }
    let then = region(&[ty(&[3]), ty(&[3])], |b, p| vec![b.mul(p[0], p[1]).unwrap(), p[0]]);
    let otherwise = region(&[ty(&[3]), ty(&[3])], |b, p| {
        let sine = b.function(Function::Sin, p[0]).unwrap();
        vec![sine, p[1]]
    });
    for condition in [true, false] {
        let condition = Tensor::scalar(Scalar::Bool(condition));
        let cond = Cond { then: then.clone(), otherwise: otherwise.clone() };
        push(all, cond, &[condition, floats(&[3]), between(&[3], 0.0, 1.0)]);
    }
    let body = region(&[ty(&[2]), ty(&[2])], |b, p| vec![b.mul(p[0], p[1]).unwrap()]);
    let condition = region(&[ty(&[2]), ty(&[2])], |b, p| {
        let sum = b.sum(p[0], &[0]).unwrap();
        let limit = b.scalar(100.0, DType::F64).unwrap();
        vec![b.compare(Comparison::Lt, sum, limit).unwrap()]
    });
    let looped = While { condition, body: body.clone(), carries: 1, limit: 20 };
    push(all, looped, &[between(&[2], 1.0, 2.0), between(&[2], 1.5, 2.0)]);
    push(all, brolga_ir::ops::Fused { body }, &[floats(&[2]), floats(&[2])]);
}
