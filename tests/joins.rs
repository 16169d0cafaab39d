//! `Add`, `Multiply` and their expressions repeat extents of 1: a factor for each channel, `[N, C, 1, 1]`, over `[N, C, H, W]`.
//! Values and gradients are small whole numbers, so they are compared exactly. About 2 seconds.

use std::sync::Arc;

use brolga::runtime::Instance;
use brolga::{CompileOptions, Model, Settings, TargetCpu, Tensor, Threads, compile, with_gradients};

const X: [usize; 4] = [2, 17, 3, 5];

/// Where the element of the result at `at`, row by row, is in a tensor of extents `dims` that is repeated.
fn place(mut at: usize, dims: &[usize; 4]) -> usize {
    let mut index = [0; 4];
    for axis in (0..4).rev() {
        index[axis] = if dims[axis] == 1 { 0 } else { at % X[axis] };
        at /= X[axis];
    }
    index.iter().zip(dims).fold(0, |place, (i, extent)| place * extent + i)
}

/// From -3 to 3, none of them 0.
fn numbers(count: usize, turn: usize) -> Vec<f32> {
    (0..count).map(|i| [-3.0, -2.0, -1.0, 1.0, 2.0, 3.0][(i * turn + 1) % 6]).collect()
}

#[test]
fn extents_of_one_are_repeated() {
    let joins = [
        ("Add([[], [Ref(\"s\")]])", false),
        ("Multiply([[], [Ref(\"s\")]])", true),
        ("Multiply([\"s\", []])", true),
        ("Expr(\"it * s\")", true),
    ];
    for dims in [[2, 17, 1, 1], [1, 17, 1, 1], [2, 1, 3, 5], [2, 17, 3, 1], [1, 1, 1, 1]] {
        for (join, multiplies) in joins {
            check(dims, join, multiplies, TargetCpu::Native);
        }
    }
    check([2, 17, 1, 1], joins[1].0, true, TargetCpu::Portable);
}

/// The loss is half the sum of the squares, so its gradient by the result is the result.
fn check(dims: [usize; 4], join: &str, multiplies: bool, target_cpu: TargetCpu) {
    let text = format!(
        "Model(
            inputs: {{ \"x\": \"f32{X:?}\", \"s\": \"f32{dims:?}\" }},
            body: [Parameter(name: \"p\", dims: [], init: Ones), As(\"one\"), Ref(\"x\"), {join}, As(\"y\")],
            entries: {{ \"train\": Entry(
                steps: [Minimize(loss: \"0.5 * one * sum(y * y)\", optimizer: Sgd(lr: 0.1))], outputs: {{ \"y\": \"y\" }},
            ) }},
        )"
    );
    let model = Model::from_text("join.ron", &text, &Settings::default()).unwrap_or_else(|e| panic!("{e}"));
    let graph = with_gradients(model.graph("train").unwrap()).unwrap();
    let options = CompileOptions { target_cpu, ..CompileOptions::default() };
    let executable = Arc::new(compile(&graph, &options).unwrap());
    let mut state = model.initial_state(1).unwrap();
    let mut instance = Instance::bind(executable, &state, &Threads::serial()).unwrap();
    let (count, small) = (X.iter().product(), dims.iter().product());
    let (x, s) = (numbers(count, 5), numbers(small, 7));
    let tensors = [Tensor::from_slice(&X, &x).unwrap(), Tensor::from_slice(&dims, &s).unwrap()];
    let outputs = instance.run_named(&mut state, &[("x", &tensors[0]), ("s", &tensors[1])]).unwrap();

    let (mut y, mut by_x, mut by_s) = (vec![0.0; count], vec![0.0; count], vec![0.0; small]);
    for at in 0..count {
        let (a, b) = (x[at], s[place(at, &dims)]);
        y[at] = if multiplies { a * b } else { a + b };
        by_x[at] = if multiplies { y[at] * b } else { y[at] };
        by_s[place(at, &dims)] += if multiplies { y[at] * a } else { y[at] };
    }
    let by_p = y.iter().map(|y| 0.5 * y * y).sum();
    for (name, expected) in [("y", y), ("input.x", by_x), ("input.s", by_s), ("grad.p", vec![by_p])] {
        let found = outputs.iter().find(|(found, _)| found == name);
        let (_, found) = found.unwrap_or_else(|| panic!("{join}: no {name}"));
        assert_eq!(found.as_slice::<f32>().unwrap(), expected, "{name} of {join} by {dims:?}");
    }
}
