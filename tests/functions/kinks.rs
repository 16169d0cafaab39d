//! At a kink the gradient is one of the subgradients: each row has the interval, between the derivatives at both sides, which
//! are measured here, and what is chosen.

use std::sync::Arc;

use brolga::runtime::Tensor;
use brolga::{CompileOptions, State, Threads, compile};

use super::{Named, Row, run};

/// An expression of `x`, where its kink is, the derivatives below and above, and the gradient there, which is PyTorch's where
/// nothing else is said.
const KINKS: [(&str, f64, [f64; 2], f64); 28] = [
    ("abs(x)", 0.0, [-1.0, 1.0], 0.0),
    ("relu(x)", 0.0, [0.0, 1.0], 0.0),
    ("leaky_relu(x, 0.25)", 0.0, [0.25, 1.0], 0.25),
    ("elu(2 * x)", 0.0, [2.0, 2.0], 2.0),
    ("hard_sigmoid(x)", -3.0, [0.0, 1.0 / 6.0], 0.0),
    ("hard_sigmoid(x)", 3.0, [1.0 / 6.0, 0.0], 0.0),
    ("clip(x, -1, 3)", -1.0, [0.0, 1.0], 0.0),
    ("clip(x, -1, 3)", 3.0, [1.0, 0.0], 0.0),
    // Of equal operands the first has the gradient; in PyTorch half of it each.
    ("max(x, 2 - x)", 1.0, [-1.0, 1.0], 1.0),
    ("max(2 - x, x)", 1.0, [-1.0, 1.0], -1.0),
    ("min(x, 2 - x)", 1.0, [1.0, -1.0], 1.0),
    ("max(stack([x, 2 - x]), axis=0)", 1.0, [-1.0, 1.0], 1.0),
    ("min(stack([2 - x, x]), axis=0)", 1.0, [1.0, -1.0], -1.0),
    ("sort(stack([2 - x, x]), axis=0)[0]", 1.0, [1.0, -1.0], -1.0),
    ("top_k(stack([x, 2 - x]), 1, axis=0)[0][0]", 1.0, [-1.0, 1.0], 1.0),
    ("norm(stack([x, 2 * x]), axis=0)", 0.0, [-2.236068, 2.236068], 0.0),
    ("l1(x, 0.5, reduction='none')", 0.5, [-1.0, 1.0], 0.0),
    ("smooth_l1(x, 0.5, beta=0.25, reduction='none')", 0.75, [1.0, 1.0], 1.0),
    ("huber(x, 0.5, delta=2, reduction='none')", 2.5, [2.0, 2.0], 2.0),
    ("hinge(x, 1 + 0 * x, reduction='none')", 1.0, [-1.0, 0.0], 0.0),
    ("where(x > 0, x, 3 * x)", 0.0, [3.0, 1.0], 3.0),
    ("relu(x) - relu(-x)", 0.0, [1.0, 1.0], 0.0),
    ("abs(x) ** 3", 0.0, [0.0, 0.0], 0.0),
    ("x * abs(x)", 0.0, [0.0, 0.0], 0.0),
    ("prod(stack([x, abs(x)]), axis=0)", 0.0, [0.0, 0.0], 0.0),
    ("cumsum(stack([x, abs(x)]), axis=0)[1]", 0.0, [0.0, 2.0], 1.0),
    ("softplus(40 * x)", 0.0, [20.0, 20.0], 20.0),
    ("gelu(x) - gelu(-x)", 0.0, [1.0, 1.0], 1.0),
];

/// The value and the gradient of a row at some points.
fn at(expression: &str, points: &[f64]) -> [Vec<f64>; 2] {
    let x = format!("x:f32[{}]", points.len());
    let row = Row {
        kind: "kinks".into(),
        names: Vec::new(),
        train: false,
        inputs: Named::list(&x),
        states: Vec::new(),
        body: String::new(),
        output: expression.into(),
        results: Named::list(&format!("y:f32[{0}] grad.x:f32[{0}]", points.len())),
        cases: 1,
    };
    let executable = Arc::new(compile(&row.graph(), &CompileOptions::default()).expect("it compiles"));
    let mut state = State::new();
    for name in ["seed", "step"] {
        let kind = brolga::runtime::SlotKind::Buffer;
        state.insert(name, kind, Tensor::scalar(0i64).expect("a number")).expect("a slot");
    }
    let inputs = [("x".to_owned(), row.inputs[0].tensor(points))];
    let found = run(&executable, &state, &inputs, &Threads::serial());
    ["y", "grad.x"].map(|name| {
        found.iter().find(|found| found.name == name).unwrap_or_else(|| panic!("{expression}")).values.clone()
    })
}

#[test]
fn gradients_at_kinks_are_subgradients() {
    // Small enough for curved sides, and exact in f32.
    let step = 1.0 / 4096.0;
    for (expression, kink, sides, chosen) in KINKS {
        let [y, gradient] = at(expression, &[kink - step, kink, kink + step]);
        // The cotangent of the second element.
        let gradient = gradient[1] / -0.875;
        let measured = [(y[1] - y[0]) / step, (y[2] - y[1]) / step];
        for (measured, side) in measured.into_iter().zip(sides) {
            assert!(
                (measured - side).abs() < 0.1 * side.abs().max(0.1),
                "{expression}: {measured}, not {side}"
            );
        }
        let (low, high) = (sides[0].min(sides[1]), sides[0].max(sides[1]));
        // Sums of subgradients may leave the interval of the sum where kinks cancel each other.
        let cancels = expression == "relu(x) - relu(-x)";
        assert!(
            cancels || (low..=high).contains(&gradient) || (gradient - low).abs() < 1e-6,
            "{expression}: {gradient}"
        );
        assert!((gradient - chosen).abs() <= 1e-6, "{expression}: {gradient}, not {chosen}");
    }
}
