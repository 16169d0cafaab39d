//! Reference evaluation of the operators that bring loops of their own, against values worked out by hand or by the
//! plainest loop.

use crate::common::{Case, convolutions, floats};
use brolga_ir::choice::Layout;
use brolga_ir::graph::Graph;
use brolga_ir::interpret::interpret;
use brolga_ir::ops::*;
use brolga_ir::program::Combine;
use brolga_ir::scalar::Scalar;
use brolga_ir::{DType, Tensor, Type};

fn run(op: impl Into<Op>, operands: &[Tensor]) -> Vec<Tensor> {
    let graph = Case::new(op, operands).graph();
    interpret(&graph, &operands.iter().collect::<Vec<_>>()).expect("runs")
}

/// A convolution of images with their channels last.
fn run_last(conv: Conv, operands: &[Tensor]) -> Vec<Tensor> {
    let graph = Case { choice: Layout::ChannelsLast.into(), ..Case::new(conv, operands) }.graph();
    interpret(&graph, &operands.iter().collect::<Vec<_>>()).expect("runs")
}

fn f64s(x: &Tensor) -> Vec<f64> {
    (0..x.elements()).map(|i| x.get(i).to_f64()).collect()
}

/// The element at coordinates.
fn at(x: &Tensor, coordinates: &[usize]) -> f64 {
    let position = coordinates.iter().zip(x.dims()).fold(0, |p, (&i, &extent)| p * extent + i);
    x.get(position).to_f64()
}

/// x with zeros around and between its spatial elements; w with zeros between.
fn spread(x: &Tensor, padding: &[(usize, usize)], dilation: &[usize]) -> Tensor {
    let with = |f: &dyn Fn(usize) -> usize| [vec![0, 0], (0..dilation.len()).map(f).collect()].concat();
    let pad = Pad {
        low: with(&|axis| padding[axis].0),
        high: with(&|axis| padding[axis].1),
        interior: with(&|axis| dilation[axis] - 1),
    };
    run(pad, &[x.clone(), Tensor::scalar(Scalar::F64(0.0))]).remove(0)
}

/// A dense convolution of padded and dilated operands by the definition, one output element after the other.
#[test]
fn convolution_is_its_definition() {
    for (x, w, conv) in convolutions() {
        let (x, w) = (floats(&x), floats(&w));
        let y = run(conv.clone(), &[x.clone(), w.clone()]).remove(0);
        let wide = spread(&x, &conv.padding, &conv.lhs_dilation);
        let kernel = spread(&w, &vec![(0, 0); conv.spatial()], &conv.rhs_dilation);
        let (inner, group) = (w.dims()[1], w.dims()[0] / conv.groups);
        let ty = Type::new(DType::F64, y.dims());
        let strides = ty.strides();
        let taps = Type::new(DType::F64, &kernel.dims()[1..]);
        let expected = Tensor::generate(&ty, |position| {
            let out: Vec<usize> =
                strides.iter().zip(&ty.dims).map(|(&stride, &extent)| position / stride % extent).collect();
            let mut sum = 0.0;
            for tap in 0..taps.elements() {
                let k: Vec<usize> = taps
                    .strides()
                    .iter()
                    .zip(&taps.dims)
                    .map(|(&stride, &extent)| tap / stride % extent)
                    .collect();
                let mut from = vec![out[0], out[1] / group * inner + k[0]];
                from.extend((0..conv.spatial()).map(|axis| out[axis + 2] * conv.stride[axis] + k[axis + 1]));
                sum += at(&wide, &from) * at(&kernel, &[&[out[1]], k.as_slice()].concat());
            }
            Scalar::F64(sum)
        });
        let worst = f64s(&y).iter().zip(f64s(&expected)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(worst < 1e-12, "{conv:?}: {worst}");
    }
}

/// With the channels last, x and y are the transposes of what they are with the channels first.
#[test]
fn channels_may_come_last() {
    let moved = |x: &Tensor| {
        let axes = std::iter::once(0).chain(2..x.dims().len()).chain([1]).collect();
        run(Transpose { axes }, std::slice::from_ref(x)).remove(0)
    };
    for (x, w, conv) in convolutions() {
        let (x, w) = (floats(&x), floats(&w));
        let y = run(conv.clone(), &[x.clone(), w.clone()]).remove(0);
        assert_eq!(run_last(conv.clone(), &[moved(&x), w.clone()])[0], moved(&y), "{conv:?}");
        let size = x.dims()[2..].to_vec();
        let back = conv.with_form(ConvForm::InputGradient { size });
        let dx = run(back.clone(), &[y.clone(), w.clone()]).remove(0);
        assert_eq!(run_last(back, &[moved(&y), w.clone()])[0], moved(&dx), "{conv:?}");
        let kernel = w.dims()[2..].to_vec();
        let back = conv.with_form(ConvForm::WeightGradient { kernel });
        let dw = run(back.clone(), &[x.clone(), y.clone()]);
        assert_eq!(run_last(back, &[moved(&x), moved(&y)]), dw, "{conv:?}");
    }
}

#[test]
fn convolution_of_one_dimension_by_hand() {
    let x = Tensor::f32([1, 1, 4], [1.0, 2.0, 3.0, 4.0]);
    let w = Tensor::f32([1, 1, 2], [10.0, 1.0]);
    let conv = Conv { padding: vec![(1, 0)], ..Conv::new(1) };
    assert_eq!(f64s(&run(conv.clone(), &[x.clone(), w.clone()])[0]), [1.0, 12.0, 23.0, 34.0]);
    // The transposed convolution: each element of dy spreads the kernel.
    let dy = Tensor::f32([1, 1, 4], [1.0, 0.0, 0.0, 2.0]);
    let input = conv.with_form(ConvForm::InputGradient { size: vec![4] });
    assert_eq!(f64s(&run(input, &[dy.clone(), w])[0]), [1.0, 0.0, 20.0, 2.0]);
    let weight = conv.with_form(ConvForm::WeightGradient { kernel: vec![2] });
    assert_eq!(f64s(&run(weight, &[x, dy])[0]), [6.0, 9.0]);
}

#[test]
fn dot_by_hand() {
    let a = Tensor::i32([2, 3], [1, 2, 3, 4, 5, 6]);
    let b = Tensor::i32([3, 2], [1, 0, 0, 1, 2, 2]);
    let dot = Dot::new;
    let product = run(dot([vec![], vec![]], [vec![1], vec![0]]), &[a.clone(), b.clone()]);
    assert_eq!(product[0], Tensor::i32([2, 2], [7, 8, 16, 17]));
    // Batch axis 1 of a with axis 0 of b: three outer products.
    let product = run(dot([vec![1], vec![0]], [vec![], vec![]]), &[a, b]);
    assert_eq!(product[0], Tensor::i32([3, 2, 2], [1, 0, 4, 0, 0, 2, 0, 5, 6, 6, 12, 12]));
    // An empty sum is zero.
    let empty =
        run(dot([vec![], vec![]], [vec![1], vec![0]]), &[Tensor::f32([2, 0], []), Tensor::f32([0, 1], [])]);
    assert_eq!(empty[0], Tensor::f32([2, 1], [0.0, 0.0]));
}

#[test]
fn windows_by_hand() {
    let x = Tensor::f32([4], [1.0, 5.0, 5.0, f32::NAN]);
    let window = |combine| ReduceWindow { padding: vec![(1, 0)], ..ReduceWindow::new(combine, &[2], &[1]) };
    let max = run(window(Combine::Max), std::slice::from_ref(&x));
    assert_eq!(f64s(&max[0])[..3], [1.0, 5.0, 5.0]);
    assert!(max[0].get(3).to_f64().is_nan());
    // The first of two equal ones wins; NaN wins over everything.
    let scatter = WindowSelect { window: window(Combine::Max), form: SelectForm::Scatter };
    let dy = Tensor::f32([4], [1.0, 2.0, 4.0, 8.0]);
    assert_eq!(f64s(&run(scatter, &[x.clone(), dy.clone()])[0]), [1.0, 6.0, 0.0, 8.0]);
    let gather = WindowSelect { window: window(Combine::Max), form: SelectForm::Gather };
    assert_eq!(f64s(&run(gather, &[x, dy])[0]), [1.0, 2.0, 2.0, 8.0]);
    let sum = run(window(Combine::Add), &[Tensor::i32([3], [1, 2, 3])]);
    assert_eq!(sum[0], Tensor::i32([3], [1, 3, 5]));
}

#[test]
fn scattering_by_hand() {
    let base = Tensor::i32([3], [10, 20, 30]);
    let indices = Tensor::i32([4], [0, 2, 0, 3]);
    let updates = Tensor::i32([4], [1, 2, 3, 4]);
    let scatter = |mode| run(Scatter { axis: 0, mode }, &[base.clone(), indices.clone(), updates.clone()]);
    assert_eq!(scatter(ScatterMode::Add)[0], Tensor::i32([3], [14, 20, 32]));
    assert_eq!(scatter(ScatterMode::Set)[0], Tensor::i32([3], [3, 20, 2]));
    assert_eq!(scatter(ScatterMode::Max)[0], Tensor::i32([3], [10, 20, 30]));
    assert_eq!(scatter(ScatterMode::Min)[0], Tensor::i32([3], [1, 20, 2]));
    let base = Tensor::i32([2, 2], [1, 2, 3, 4]);
    let (rows, new) = (Tensor::i32([2, 1], [1, -1]), Tensor::i32([2, 1], [10, 20]));
    let along =
        |mode| run(ScatterAlong { axis: 1, mode }, &[base.clone(), rows.clone(), new.clone()]).remove(0);
    assert_eq!(along(ScatterMode::Add), Tensor::i32([2, 2], [1, 12, 3, 4]));
    assert_eq!(along(ScatterMode::Set), Tensor::i32([2, 2], [1, 10, 3, 4]));
    assert_eq!(along(ScatterMode::Min), Tensor::i32([2, 2], [1, 2, 3, 4]));
    let taken = run(Gather { axis: 0 }, &[Tensor::i32([3], [5, 6, 7]), Tensor::i32([2, 2], [-4, 1, 2, 99])]);
    assert_eq!(taken[0], Tensor::i32([2, 2], [5, 6, 7, 7]));
}

#[test]
fn sorting_by_hand() {
    let keys = Tensor::f32([5], [2.0, f32::NAN, -1.0, 2.0, f32::INFINITY]);
    let places = Tensor::i32([5], [0, 1, 2, 3, 4]);
    let sort = |descending, first| {
        run(Sort { axis: 0, descending, first }, &[keys.clone(), places.clone()]).remove(1)
    };
    assert_eq!(sort(false, None), Tensor::i32([5], [2, 0, 3, 4, 1]));
    assert_eq!(sort(true, None), Tensor::i32([5], [1, 4, 0, 3, 2]));
    // NaN is the greatest, and of equal ones the first comes first.
    assert_eq!(sort(true, Some(3)), Tensor::i32([3], [1, 4, 0]));
    assert_eq!(sort(false, Some(2)), Tensor::i32([2], [2, 0]));
    assert_eq!(sort(false, Some(0)), Tensor::i32([0], []));
    let rows = run(Sort { axis: 0, descending: false, first: None }, &[Tensor::i32([2, 2], [3, 1, 2, 5])]);
    assert_eq!(rows[0], Tensor::i32([2, 2], [2, 1, 3, 5]));
}

#[test]
fn running_by_hand() {
    let x = Tensor::i32([4], [1, 2, 3, 4]);
    let cumulative = |combine, reverse, exclusive| {
        run(Cumulative { axis: 0, combine, reverse, exclusive }, std::slice::from_ref(&x)).remove(0)
    };
    assert_eq!(cumulative(Combine::Add, false, false), Tensor::i32([4], [1, 3, 6, 10]));
    assert_eq!(cumulative(Combine::Add, true, true), Tensor::i32([4], [9, 7, 4, 0]));
    assert_eq!(cumulative(Combine::Mul, true, false), Tensor::i32([4], [24, 24, 12, 4]));
    assert_eq!(cumulative(Combine::Max, false, true), Tensor::i32([4], [i32::MIN, 1, 2, 3]));
}

#[test]
fn loops_by_hand() {
    let text = r#"
        graph @g(%n: i32[], %xs: f32[3]) {
          %one = constant {value: i32[] [1]}
          %last = while %n, %one {carries: 1, limit: 10,
            condition: graph @c(%i: i32[], %k: i32[]) {
              %limit = constant {value: i32[] [100]}
              %more = lt %i, %limit
              return %more as "more"
            },
            body: graph @b(%i: i32[], %k: i32[]) {
              %twice = add %i, %i
              %next = add %twice, %k
              return %next as "next"
            }}
          %zero = constant {value: f32[] [0.0]}
          %total, %sums = scan %zero, %xs {length: 3, carries: 1, slices: 1, reverse: true,
            body: graph @s(%sum: f32[], %x: f32[]) {
              %next = add %sum, %x
              return %next as "sum", %next as "each"
            }}
          return %last as "last", %total as "total", %sums as "sums"
        }"#;
    let graph = Graph::parse(text).unwrap_or_else(|errors| panic!("{errors}"));
    graph.verify().unwrap();
    let found =
        interpret(&graph, &[&Tensor::i32([], [3]), &Tensor::f32([3], [1.0, 2.0, 4.0])]).expect("runs");
    // 3, 7, 15, 31, 63, 127.
    assert_eq!(found[0], Tensor::i32([], [127]));
    assert_eq!(found[1], Tensor::f32([], [7.0]));
    assert_eq!(found[2], Tensor::f32([3], [7.0, 6.0, 4.0]));
}

/// Mean and variance of what is drawn, and independence of position, stream, seed and step.
#[test]
fn random_numbers_are_distributed_as_said() {
    let draw = |distribution, stream, seed, step| {
        let ty =
            Type::new(if distribution == Distribution::Bits { DType::I32 } else { DType::F64 }, [40_000]);
        let scalars = [Tensor::scalar(Scalar::I64(seed)), Tensor::scalar(Scalar::I64(step))];
        f64s(&run(Random { stream, distribution, ty }, &scalars)[0])
    };
    let moments = |values: &[f64]| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        (mean, values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64)
    };
    let uniform = draw(Distribution::Uniform, 1, 2, 3);
    assert!(uniform.iter().all(|v| (0.0..1.0).contains(v)));
    let (mean, variance) = moments(&uniform);
    assert!((mean - 0.5).abs() < 0.01 && (variance - 1.0 / 12.0).abs() < 0.002, "{mean}, {variance}");
    let correlation = |other: &[f64]| {
        uniform.iter().zip(other).map(|(a, b)| (a - 0.5) * (b - 0.5)).sum::<f64>() / uniform.len() as f64
    };
    for other in [(2, 2, 3), (1, 3, 3), (1, 2, 4), (1, 2 + (1 << 32), 3)] {
        let other = draw(Distribution::Uniform, other.0, other.1, other.2);
        assert!(correlation(&other).abs() < 0.003, "{}", correlation(&other));
    }
    assert!(correlation(&uniform[1..]).abs() < 0.003);
    let bits = draw(Distribution::Bits, 1, 2, 3);
    assert!(
        bits.iter().zip(&uniform).all(|(bits, u)| ((*bits as i32 as u32) >> 8) as f64 / 16_777_216.0 == *u)
    );
}

/// A guarded scan ends where its first carry does not hold, in either direction: what it stacks is 0 for the steps behind, and carries
/// are those of the last step. A guard that does not hold at the start leaves all as it was.
#[test]
fn guarded_loops_end_early() {
    let found = |reverse: bool, more: bool| {
        let text = format!(
            "graph @g(%more: bool[], %h: f32[], %xs: f32[5], %limit: f32[]) {{
              %m, %last, %all, %guards = scan %more, %h, %xs, %limit {{length: 5, carries: 2, slices: 1, \
               reverse: {reverse}, guarded: true, body: graph @b(%more: bool[], %h: f32[], %x: f32[], %limit: f32[]) {{
                %next = add %h, %x
                %again = lt %next, %limit
                return %again as \"more\", %next as \"h\", %next as \"all\", %more as \"guards\"
              }}}}
              return %m as \"m\", %last as \"last\", %all as \"all\", %guards as \"guards\"
            }}"
        );
        let graph = Graph::parse(&text).unwrap_or_else(|errors| panic!("{errors}"));
        graph.verify().unwrap();
        let xs = Tensor::f32([5], [1.0, 2.0, 4.0, 8.0, 16.0]);
        let more = Tensor::scalar(Scalar::Bool(more));
        interpret(&graph, &[&more, &Tensor::f32([], [0.5]), &xs, &Tensor::f32([], [5.0])]).expect("runs")
    };
    let of = |flags: &[bool], last: f32, all: [f32; 5]| {
        let guards = Tensor::generate(&Type::new(DType::Bool, [5]), |at| Scalar::Bool(flags[at + 1]));
        let more = Tensor::scalar(Scalar::Bool(flags[0]));
        vec![more, Tensor::f32([], [last]), Tensor::f32([5], all), guards]
    };
    let forward = of(&[false, true, true, true, false, false], 7.5, [1.5, 3.5, 7.5, 0.0, 0.0]);
    assert_eq!(found(false, true), forward);
    let back = of(&[false, false, false, false, false, true], 16.5, [0.0, 0.0, 0.0, 0.0, 16.5]);
    assert_eq!(found(true, true), back);
    assert_eq!(found(false, false), of(&[false; 6], 0.5, [0.0; 5]));
}

/// Inside a scan the numbers go on where the last iteration ended.
#[test]
fn iterations_draw_consecutive_numbers() {
    let draw = |n: usize, iteration: i64| {
        let op = Random { stream: 9, distribution: Distribution::Bits, ty: Type::new(DType::I32, [n]) };
        let scalars = [5, 6, iteration].map(|v| Tensor::scalar(Scalar::I64(v)));
        f64s(&run(op, &scalars)[0])
    };
    assert_eq!(draw(6, 0), [draw(3, 0), draw(3, 1)].concat());
}

/// What is refused: an operator, the types of its operands, and a part of what is said.
type Refused = (Op, Vec<Type>, &'static str);

fn f(dims: &[usize]) -> Type {
    Type::new(DType::F32, dims)
}

fn i(dims: &[usize]) -> Type {
    Type::new(DType::I32, dims)
}

/// Operators that move elements.
fn refused_moves() -> Vec<Refused> {
    vec![
        (Transpose { axes: vec![0, 0] }.into(), vec![f(&[2, 3])], "a permutation of the axes"),
        (Reverse { axes: vec![2] }.into(), vec![f(&[2])], "ascending axes of f32[2], found [2]"),
        (
            Slice { start: vec![2], limit: vec![1], stride: vec![1] }.into(),
            vec![f(&[3])],
            "2..1 by 1 is no slice of axis 0 of f32[3]",
        ),
        (
            Slice { start: vec![], limit: vec![], stride: vec![] }.into(),
            vec![f(&[3])],
            "`start` needs one entry",
        ),
        (
            Pad { low: vec![0], high: vec![0], interior: vec![0] }.into(),
            vec![f(&[3]), i(&[])],
            "by a scalar f32[], found i32[]",
        ),
        (Concat { axis: 0 }.into(), vec![], "at least 1 operand"),
        (Concat { axis: 0 }.into(), vec![f(&[1, 2]), f(&[1, 3])], "differ in more than the extent of axis 0"),
        (Gather { axis: 0 }.into(), vec![f(&[2]), f(&[2])], "indices must be i32 or i64, found f32[2]"),
        (Gather { axis: 0 }.into(), vec![f(&[0]), i(&[2])], "nothing can be taken from axis 0 of f32[0]"),
        (GatherAlong { axis: 1 }.into(), vec![f(&[2, 3]), i(&[3, 1])], "extents of f32[2, 3] but for axis 1"),
        (
            Scatter { axis: 0, mode: ScatterMode::Add }.into(),
            vec![f(&[3, 2]), i(&[4]), f(&[4])],
            "must be f32[4, 2], found f32[4]",
        ),
    ]
}

/// Operators that compute.
fn refused_sums() -> Vec<Refused> {
    let conv = Conv::new(2);
    let big = 1 << 39;
    vec![
        (conv.clone().into(), vec![f(&[1, 3, 8, 8]), f(&[4, 2, 3, 3])], "the weight f32[4, 2, 3, 3] has 2"),
        (
            conv.clone().into(),
            vec![f(&[1, 3, 2, 8]), f(&[4, 3, 3, 3])],
            "the kernel spans 3 along spatial axis 0",
        ),
        (
            Conv { groups: 2, ..conv.clone() }.into(),
            vec![f(&[1, 3, 8, 8]), f(&[4, 3, 3, 3])],
            "3 input channels cannot be divided into 2 groups",
        ),
        (
            Conv { stride: vec![0, 1], ..conv.clone() }.into(),
            vec![f(&[1, 3, 8, 8]), f(&[4, 3, 3, 3])],
            "`stride` must be at least 1",
        ),
        (
            conv.with_form(ConvForm::InputGradient { size: vec![9, 8] }).into(),
            vec![f(&[1, 4, 6, 6]), f(&[4, 3, 3, 3])],
            "give the spatial extents [7, 6]",
        ),
        (
            ReduceWindow::new(Combine::Mul, &[1], &[1]).into(),
            vec![f(&[2])],
            "a window of mul over f32[2] is not defined",
        ),
        (
            ReduceWindow {
                base_dilation: vec![big],
                padding: vec![(i64::MAX, 0)],
                ..ReduceWindow::new(Combine::Add, &[1], &[1])
            }
            .into(),
            vec![f(&[2])],
            "beyond the limit",
        ),
        (
            Dot::new([vec![], vec![]], [vec![1], vec![0]]).into(),
            vec![f(&[2, 3]), f(&[4, 5])],
            "contract axis 1 of f32[2, 3] has extent 3, its partner, axis 0 of f32[4, 5], has 4",
        ),
        (Sort { axis: 0, descending: false, first: None }.into(), vec![f(&[2]), f(&[3])], "equal extents"),
        (Sort { axis: 0, descending: false, first: Some(3) }.into(), vec![f(&[2])], "the first 3"),
        (
            Random { stream: 0, distribution: Distribution::Bits, ty: f(&[2]) }.into(),
            vec![Type::scalar(DType::I64), Type::scalar(DType::I64)],
            "bits numbers are i32, not f32",
        ),
        (
            Differentiate.into(),
            vec![f(&[2]), f(&[2])],
            "the loss must be a scalar of a float type, found f32[2]",
        ),
        (Jvp { outputs: 1 }.into(), vec![f(&[]), f(&[2])], "a tangent for each value to differentiate by"),
        (
            Jvp { outputs: 1 }.into(),
            vec![f(&[]), f(&[2]), f(&[3])],
            "the tangent of a f32[2] must have its type, found f32[3]",
        ),
        (Jvp { outputs: 2 }.into(), vec![f(&[])], "2 outputs are more than 1 operands"),
        (Jvp { outputs: 1 }.into(), vec![Type::scalar(DType::I32)], "values of float type, found i32[]"),
    ]
}

/// What cannot be right is refused with the rule that is broken.
#[test]
fn inference_refuses() {
    for (op, types, message) in refused_moves().into_iter().chain(refused_sums()) {
        let found = op.get().infer(&types.iter().collect::<Vec<_>>());
        let found = found.expect_err(&format!("{op:?} is accepted"));
        assert!(found.contains(message), "{}: {found}", op.get().name());
    }
}
