//! Long windows and long sums by computed indices, rewritten: the values of the interpreter before, ties, NaN, infinities,
//! padding and indices outside included. `BROLGA_CASES` counts the cases (60 without).

use brolga_ir::ops::{Op, ReduceWindow, Role, SelectForm, WindowSelect};
use brolga_ir::program::Combine;
use brolga_ir::scalar::Scalar;
use brolga_ir::{Builder, DType, Graph, Origin, Tensor, Type, Value};
use brolga_passes::{Manager, Options, pipelines};

use crate::common::{Random, compare, evaluate};

fn cases() -> u64 {
    std::env::var("BROLGA_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(60)
}

/// Few different numbers, whose sums are exact; now and then what is none.
fn numbers(ty: &Type, random: &mut Random, special: bool) -> Tensor {
    Tensor::generate(ty, |_| {
        let number = match random.below(if special { 40 } else { 36 }) {
            36 | 37 => f32::NEG_INFINITY,
            38 => f32::INFINITY,
            39 => f32::NAN,
            other => (other % 6) as f32 - 2.0,
        };
        if ty.dtype == DType::F32 { Scalar::F32(number) } else { Scalar::from_i64(ty.dtype, number as i64) }
    })
}

fn rewritten(graph: &Graph, pass: &str) -> Graph {
    let mut after = graph.clone();
    let passes = pipelines::graph_passes(pass).unwrap();
    let changed =
        Manager::new(Options::default()).run(&passes, &mut after).unwrap_or_else(|e| panic!("{graph}: {e}"));
    assert!(changed, "{graph}");
    after
}

fn same(before: &Graph, after: &Graph, random: &mut Random, special: bool) {
    let values = before.parameters().iter().filter_map(|&id| before.parameter(id));
    let values = values.map(|p| (p.name.clone(), numbers(&p.ty, random, special))).collect();
    let (first, second) = (evaluate(before, &values).unwrap(), evaluate(after, &values).unwrap());
    // A sum of zeros may have the other sign.
    let equal = |a: Scalar, b: Scalar| a.same(b) || a.to_f64() == b.to_f64();
    compare(&first, &second, &equal).unwrap_or_else(|error| panic!("{error}\n{before}\n{after}"));
}

/// A window of more than 64 places, over an image.
fn window(random: &mut Random) -> (ReduceWindow, Vec<usize>) {
    let combine = random.pick(&[Combine::Add, Combine::Max, Combine::Max, Combine::Min]);
    let high = 1 + random.below(12);
    let window = [1, high, 65_usize.div_ceil(high) + random.below(6)];
    let mut op = ReduceWindow::new(combine, &window, &[1, 1, 1]);
    let mut dims = vec![1 + random.below(2)];
    for (axis, &reach) in window.iter().enumerate().skip(1) {
        op.stride[axis] = random.pick(&[1, 1, 2, 3, reach, reach + 2]);
        op.window_dilation[axis] = random.pick(&[1, 1, 1, 2]);
        op.base_dilation[axis] = random.pick(&[1, 1, 1, 3, reach, reach + 1]);
        op.padding[axis] = (random.below(9) as i64 - 2, random.below(9) as i64 - 2);
        dims.push(2 + random.below(2 * reach + 12));
    }
    (op, dims)
}

fn windows(op: &ReduceWindow, dims: &[usize]) -> Option<Graph> {
    let mut graph = Graph::new("windows");
    let ty = Type::new(DType::F32, dims);
    let x = graph.add_parameter("x", Role::Data, ty.clone());
    let y = Builder::new(&mut graph, Origin::default()).reduce_window(op.clone(), x).ok()?;
    if graph.ty(y).elements() == 0 || graph.ty(y).elements() > 4000 {
        return None;
    }
    graph.add_output("y", Role::Data, y);
    if op.combine != Combine::Add {
        let dy = graph.ty(y).clone();
        for (form, name, ty) in [(SelectForm::Scatter, "dx", dy), (SelectForm::Gather, "taken", ty)] {
            let second = graph.add_parameter(&format!("of {name}"), Role::Data, ty);
            let select = WindowSelect { window: op.clone(), form };
            let result = Builder::new(&mut graph, Origin::default()).add_node(select, &[x, second]).unwrap();
            graph.add_output(name, Role::Data, result);
        }
    }
    Some(graph)
}

#[test]
fn long_windows_have_the_same_values() {
    let mut tried = 0;
    for seed in 0.. {
        if tried == cases() {
            break;
        }
        let mut random = Random(seed);
        let (op, dims) = window(&mut random);
        let Some(before) = windows(&op, &dims) else { continue };
        let after = rewritten(&before, "pooling");
        let long = |op: &Op| matches!(op, Op::ReduceWindow(_) | Op::WindowSelect(_));
        assert!(!after.order().into_iter().any(|id| long(&after.node(id).op)), "{after}");
        (0..4).for_each(|round| same(&before, &after, &mut random, round % 2 == 1));
        tried += 1;
    }
}

#[test]
fn long_sums_by_indices_have_the_same_values() {
    for seed in 0..cases() / 4 {
        let random = &mut Random(seed);
        let (rows, count) = (1 + random.below(800), 257 + random.below(300));
        let mut graph = Graph::new("sums");
        let base = [1 + random.below(2), rows, 1 + random.below(3)];
        let updates = [base[0], count, base[2]];
        let index = random.pick(&[DType::I32, DType::I64]);
        let mut parameter = |name: &str, ty: Type| -> Value { graph.add_parameter(name, Role::Data, ty) };
        let x = parameter("x", Type::new(DType::F32, base));
        let u = parameter("u", Type::new(DType::F32, updates));
        // Numbers of -2 to 3: some are outside, and many are equal.
        let (i, along) =
            (parameter("i", Type::new(index, [count])), parameter("j", Type::new(index, updates)));
        let mut b = Builder::new(&mut graph, Origin::default());
        let y = b.scatter_add(x, i, u, 1).unwrap();
        let z = b.scatter_add_along(x, along, u, 1).unwrap();
        graph.add_output("y", Role::Data, y);
        graph.add_output("z", Role::Data, z);
        let after = rewritten(&graph, "accumulate");
        same(&graph, &after, random, false);
        same(&graph, &after, random, true);
    }
}
