//! Long windows and long sums by computed indices, rewritten: the values of the interpreter before, ties, NaN, infinities,
//! padding and indices outside included. `BROLGA_CASES` counts the cases (60 without).

use brolga_ir::ops::{Op, ReduceWindow, Role, SelectForm, WindowSelect};
use brolga_ir::program::Combine;
use brolga_ir::scalar::Scalar;
use brolga_ir::{Builder, DType, Graph, Origin, Tensor, Type, Value};
use brolga_passes::{Manager, Options, pipelines};

use crate::common::{Rng, compare, evaluate};

fn cases() -> u64 {
    std::env::var("BROLGA_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(60)
}

/// Few different numbers, whose sums are exact; now and then what is none.
fn numbers(ty: &Type, random: &mut Rng, special: bool) -> Tensor {
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

/// What passes make of a graph, and whether they changed it.
fn run(graph: &Graph, passes: &str) -> (Graph, bool) {
    let mut after = graph.clone();
    let passes = pipelines::graph_passes(passes).unwrap();
    let changed =
        Manager::new(Options::default()).run(&passes, &mut after).unwrap_or_else(|e| panic!("{graph}: {e}"));
    (after, changed)
}

fn rewritten(graph: &Graph, pass: &str) -> Graph {
    let (after, changed) = run(graph, pass);
    assert!(changed, "{graph}");
    after
}

fn same(before: &Graph, after: &Graph, random: &mut Rng, special: bool) {
    let values = before.parameters().iter().filter_map(|&id| before.parameter(id));
    let values = values.map(|p| (p.name.clone(), numbers(&p.ty, random, special))).collect();
    let (first, second) = (evaluate(before, &values).unwrap(), evaluate(after, &values).unwrap());
    // A sum of zeros may have the other sign.
    let equal = |a: Scalar, b: Scalar| a.same(b) || a.to_f64() == b.to_f64();
    compare(&first, &second, &equal).unwrap_or_else(|error| panic!("{error}\n{before}\n{after}"));
}

/// A window of more than 64 places, over an image.
fn window(random: &mut Rng) -> (ReduceWindow, Vec<usize>) {
    let combine = random.of(&[Combine::Add, Combine::Max, Combine::Max, Combine::Min]);
    let high = 1 + random.below(12);
    let window = [1, high, 65_usize.div_ceil(high) + random.below(6)];
    let mut op = ReduceWindow::new(combine, &window, &[1, 1, 1]);
    let mut dims = vec![1 + random.below(2)];
    for (axis, &reach) in window.iter().enumerate().skip(1) {
        op.stride[axis] = random.of(&[1, 1, 2, 3, reach, reach + 2]);
        op.window_dilation[axis] = random.of(&[1, 1, 1, 2]);
        op.base_dilation[axis] = random.of(&[1, 1, 1, 3, reach, reach + 1]);
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
        let mut random = Rng(seed);
        assert!(seed < 20 * cases(), "{tried} of so many graphs have windows");
        let (op, dims) = window(&mut random);
        let Some(before) = windows(&op, &dims) else { continue };
        let after = rewritten(&before, "pooling");
        let long = |op: &Op| matches!(op, Op::ReduceWindow(_) | Op::WindowSelect(_));
        assert!(!after.order().into_iter().any(|id| long(&after.node(id).op)), "{after}");
        (0..4).for_each(|round| same(&before, &after, &mut random, round % 2 == 1));
        tried += 1;
    }
}

/// A window that reaches far beyond an image of few elements, and more of them beside it.
fn far_window(random: &mut Rng) -> (ReduceWindow, Vec<usize>) {
    let combine = random.of(&[Combine::Add, Combine::Max, Combine::Min]);
    let (mut op, mut dims) = (ReduceWindow::new(combine, &[1; 3], &[1; 3]), vec![1 + random.below(2)]);
    for axis in 1..3 {
        let extent = 1 + random.below(5);
        op.window[axis] = 1 + random.of(&[2, 40, 90]) + random.below(20);
        op.stride[axis] = random.of(&[1, 2, 3, 10, 50]);
        op.window_dilation[axis] = random.of(&[1, 1, 2, 3, 7]);
        op.base_dilation[axis] = random.of(&[1, 1, 1, 2]);
        let reach = (op.window[axis] * op.window_dilation[axis]) as i64;
        op.padding[axis] = (random.below(reach as usize + 40) as i64 - 2, reach + random.below(60) as i64);
        dims.push(extent);
    }
    (op, dims)
}

#[test]
fn windows_are_clipped_to_what_they_see() {
    let (mut tried, mut gone) = (0, 0);
    for seed in 0.. {
        if tried == cases() {
            break;
        }
        let mut random = Rng(seed);
        assert!(seed < 20 * cases(), "{tried} of so many windows were clipped");
        let (op, dims) = far_window(&mut random);
        let Some(before) = windows(&op, &dims) else { continue };
        let (after, changed) = run(&before, "clip");
        if !changed {
            continue;
        }
        let most = |axis: usize| 2 * (op.base_dilation[axis] * dims[axis]) / op.window_dilation[axis] + 10;
        for id in after.order() {
            if let Op::ReduceWindow(window) | Op::WindowSelect(WindowSelect { window, .. }) =
                &after.node(id).op
            {
                assert!((1..3).all(|axis| window.window[axis] <= most(axis)), "{before}\n{after}");
            }
        }
        (0..4).for_each(|round| same(&before, &after, &mut random, round % 2 == 1));
        let (both, _) = run(&before, "clip,pooling");
        same(&before, &both, &mut random, true);
        gone += usize::from(both.order().len() > after.order().len());
        tried += 1;
    }
    assert!(gone > 0, "some are long even so");
}

/// Zeros keep their signs, and NaN stays where it is seen.
#[test]
fn clipped_windows_have_the_same_bits() {
    let text = "graph @f(%x: f32[3, 4]) {
      %sum = reduce_window_add %x {window: [1, 90], stride: [1, 30], padding: [[0, 0], [89, 89]]}
      %alone = reduce_window_add %x {window: [1, 9], stride: [1, 9], padding: [[0, 0], [8, 60]]}
      %max = reduce_window_max %x {window: [9, 90], stride: [1, 7], padding: [[8, 8], [89, 300]]}
      return %sum as \"sum\", %alone as \"alone\", %max as \"max\"
    }";
    let before = Graph::parse(text).unwrap();
    let after = rewritten(&before, "clip");
    let x = [-0.0, -0.0, -0.0, -0.0, 0.0, f32::NAN, f32::NEG_INFINITY, -1.0, f32::INFINITY, -0.0, 2.0, -0.0];
    let x = Tensor::generate(&Type::new(DType::F32, [3, 4]), |i| Scalar::F32(x[i]));
    let values = [("x".to_owned(), x)].into();
    let (first, second) = (evaluate(&before, &values).unwrap(), evaluate(&after, &values).unwrap());
    compare(&first, &second, &|a, b| a.same(b)).unwrap_or_else(|error| panic!("{error}\n{after}"));
}

/// Operators by name: what a plan is, whatever extents it has.
fn plan(graph: &Graph) -> Vec<String> {
    graph.order().into_iter().map(|id| graph.node(id).op.get().name().to_owned()).collect()
}

/// Whether windows are long is a matter of the axes that they move along. `spread` is the distance of 16 elements at which there
/// are just not too many places between.
#[test]
fn the_batch_does_not_decide_whether_windows_are_long() {
    let spread = (64 * 16 + 65_536) / 16;
    for (distance, long) in [(spread, true), (spread + 1, false)] {
        for (batch, position) in [1, 8, 58_000, 1_000_000]
            .into_iter()
            .flat_map(|batch| (0..3).map(move |position| (batch, position)))
        {
            let mut op = ReduceWindow::new(Combine::Add, &[1; 3], &[1; 3]);
            let mut dims = vec![2, 16];
            dims.insert(position, batch);
            let axis = if position < 2 { 2 } else { 1 };
            (op.window[axis], op.base_dilation[axis]) = (65, distance);
            // One window, of the first places.
            op.padding[axis] = (0, 64 - 15 * distance as i64);
            let mut graph = Graph::new("batch");
            let x = graph.add_parameter("x", Role::Data, Type::new(DType::F32, dims));
            let y = Builder::new(&mut graph, Origin::default()).reduce_window(op, x).unwrap();
            graph.add_output("y", Role::Data, y);
            Manager::new(Options::default())
                .run(&pipelines::graph_passes("pooling").unwrap(), &mut graph)
                .unwrap();
            let stays = plan(&graph).contains(&"reduce_window_add".to_owned());
            assert_eq!(stays, !long, "{batch} samples at {position}, elements {distance} apart\n{graph}");
        }
    }
}

/// Padded cubes under windows longer than they are, as graphs of an entry that does not train.
#[test]
fn plans_of_windows_are_those_of_any_batch() {
    for combine in [Combine::Add, Combine::Max] {
        for position in 0..4 {
            let at = |batch: usize| {
                let mut op = ReduceWindow::new(combine, &[17; 4], &[8; 4]);
                op.padding = vec![(8, 8); 4];
                let mut dims = vec![9; 4];
                (dims[position], op.window[position], op.stride[position]) = (batch, 1, 1);
                op.padding[position] = (0, 0);
                let mut graph = Graph::new("batch");
                let x = graph.add_parameter("x", Role::Data, Type::new(DType::F32, dims));
                let y = Builder::new(&mut graph, Origin::default()).reduce_window(op, x).unwrap();
                graph.add_output("y", Role::Data, y);
                Manager::new(Options::default()).run(pipelines::INFER, &mut graph).unwrap();
                plan(&graph)
            };
            let few = at(8);
            for batch in [1, 2, 64, 58_000, 1_000_000] {
                assert_eq!(few, at(batch), "{} at {position}, {batch} samples", combine.name());
            }
        }
    }
}

#[test]
fn long_sums_by_indices_have_the_same_values() {
    for seed in 0..cases() / 4 {
        let random = &mut Rng(seed);
        let (rows, count) = (1 + random.below(800), 257 + random.below(300));
        let mut graph = Graph::new("sums");
        let base = [1 + random.below(2), rows, 1 + random.below(3)];
        let updates = [base[0], count, base[2]];
        let index = random.of(&[DType::I32, DType::I64]);
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
