//! Loops: what they compute, against the same written out here, and what stands in the graph.

use std::collections::HashMap;

use brolga_ir::graph::Graph;
use brolga_ir::ops::{Op, Scan};
use brolga_ir::scalar::Scalar;
use brolga_ir::{DType, Tensor, Type};

use crate::common::{build, differentiate, mistakes, numbers, run, wave};

/// A model with one entry `infer`.
fn model(inputs: &str, body: &str, outputs: &str) -> String {
    format!(
        "Model(
            inputs: {{ {inputs} }},
            body: [{body}],
            entries: {{ \"infer\": Infer(outputs: {{ {outputs} }}) }},
        )"
    )
}

/// The loops of a graph, not those inside of others.
fn scans(graph: &Graph) -> Vec<&Scan> {
    let ops = graph.order().into_iter().map(|id| &graph.node(id).op);
    ops.filter_map(|op| if let Op::Scan(scan) = op { Some(scan) } else { None }).collect()
}

/// Waves for all parameters of a graph, of which some are given.
fn inputs(graph: &Graph, given: &[(&str, Tensor)]) -> HashMap<String, Tensor> {
    let parameters = graph.parameters().iter().filter_map(|&id| graph.parameter(id));
    let values = parameters.enumerate().map(|(number, parameter)| {
        let known = given.iter().find(|(name, _)| *name == parameter.name);
        let wave = || match parameter.ty.dtype {
            DType::F64 => wave(&parameter.ty.dims, 0.6, 0.7, number as f64),
            _ => Tensor::zeros(&parameter.ty),
        };
        (parameter.name.clone(), known.map_or_else(wave, |(_, value)| value.clone()))
    });
    values.collect()
}

/// The outputs of `infer`, and the values that it was run on.
fn infer(text: &str, given: &[(&str, Tensor)]) -> (HashMap<String, Tensor>, HashMap<String, Tensor>) {
    let instance = build(text);
    let graph = instance.graph("infer").expect("infer");
    let values = inputs(graph, given);
    (run(graph, &values), values)
}

fn close(what: &str, found: &Tensor, expected: &[f64]) {
    let found = numbers(found);
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() < 1e-12, "{what}: {found}, not {expected}, at {at}");
    }
}

/// `x w^T + b` of rows.
fn linear(x: &[f64], w: &Tensor, b: Option<&Tensor>) -> Vec<f64> {
    let (out, inner) = (w.dims()[0], w.dims()[1]);
    let (w, b) = (numbers(w), b.map(numbers));
    let row = |x: &[f64], o: usize| -> f64 {
        let sum: f64 = x.iter().zip(&w[o * inner..(o + 1) * inner]).map(|(a, b)| a * b).sum();
        sum + b.as_ref().map_or(0.0, |b| b[o])
    };
    x.chunks(inner).flat_map(|x| (0..out).map(move |o| (x, o))).map(|(x, o)| row(x, o)).collect()
}

/// Step `t` of `[rows, steps, n]`.
fn step(x: &Tensor, t: usize) -> Vec<f64> {
    let (dims, x) = (x.dims().to_vec(), numbers(x));
    (0..dims[0]).flat_map(|row| x[(row * dims[1] + t) * dims[2]..][..dims[2]].to_vec()).collect()
}

/// Puts `[rows, n]` of each step together as `[rows, steps, n]`.
fn stacked(steps: &[Vec<f64>], rows: usize) -> Vec<f64> {
    let width = steps.first().map_or(0, |step| step.len() / rows);
    (0..rows)
        .flat_map(|row| steps.iter().flat_map(move |step| step[row * width..][..width].to_vec()))
        .collect()
}

const RNN: &str = "Scan(name: \"rnn\", body: [
    Carry(\"h\", \"zeros([2, 4])\"),
    Add([[Linear(name: \"ih\", features: 4)], [Expr(\"prev.h\"), Linear(name: \"hh\", features: 4, bias: false)]]),
    Tanh, As(\"h\"),
])";

/// Elman's network.
#[test]
fn a_recurrence() {
    let outputs = "\"y\": \"it\", \"h\": \"rnn.h\", \"last\": \"rnn.last.h\", \"ih\": \"rnn.ih\", \"steps\": \"rnn.steps\"";
    for steps in [5, 1, 0] {
        let text = model(&format!("\"x\": \"f32[2, {steps}, 3]\""), RNN, outputs);
        let (found, given) = infer(&text, &[]);
        let (mut h, mut all, mut projected) = (vec![0.0; 8], Vec::new(), Vec::new());
        for t in 0..steps {
            let ih = linear(&step(&given["x"], t), &given["rnn.ih.weight"], Some(&given["rnn.ih.bias"]));
            let hh = linear(&h, &given["rnn.hh.weight"], None);
            h = ih.iter().zip(&hh).map(|(a, b)| (a + b).tanh()).collect();
            projected.push(ih);
            all.push(h.clone());
        }
        assert_eq!(found["y"].dims(), [2, steps, 4]);
        close("y", &found["y"], &stacked(&all, 2));
        close("h", &found["h"], &stacked(&all, 2));
        close("ih", &found["ih"], &stacked(&projected, 2));
        close("last", &found["last"], &h);
        close("steps", &found["steps"], &[steps as f64]);
    }
}

/// What nothing uses is not kept, and the graph says what a reader expects.
#[test]
fn the_graph_of_a_recurrence() {
    let text = model("\"x\": \"f32[2, 5, 3]\"", RNN, "\"last\": \"rnn.last.h\"");
    let instance = build(&text);
    let graph = instance.graph("infer").expect("infer");
    let [scan] = scans(graph)[..] else { panic!("{graph}") };
    assert_eq!((scan.carries, scan.slices, scan.body.outputs().len()), (1, 1, 1), "{graph}");
    insta::assert_snapshot!(graph.to_string());
}

/// Several sequences, the position, and going backwards.
#[test]
fn sequences_and_positions() {
    let body = "Scan(name: \"s\", over: { \"a\": \"x\", \"b\": \"y\" }, axis: -1, index: \"t\", reverse: true, body: [
        Carry(\"sum\", 0.0), Let(\"sum\", \"prev.sum + mean(a) * float(t)\"), Expr(\"it + b * prev.sum\"),
    ])";
    let text = model(
        "\"x\": \"f32[2, 4]\", \"y\": \"f32[3, 4]\"",
        body,
        "\"s\": \"s.sum\", \"last\": \"s.last.sum\"",
    );
    let text =
        text.replace("it + b * prev.sum", "b * prev.sum").replace("\"s\": ", "\"out\": \"it\", \"s\": ");
    let (found, given) = infer(&text, &[]);
    let (x, y) = (numbers(&given["x"]), numbers(&given["y"]));
    let (mut sum, mut sums, mut out) = (0.0, vec![0.0; 4], vec![0.0; 12]);
    for t in (0..4).rev() {
        for row in 0..3 {
            out[row * 4 + t] = y[row * 4 + t] * sum;
        }
        sum += (x[t] + x[4 + t]) / 2.0 * t as f64;
        sums[t] = sum;
    }
    assert_eq!(found["out"].dims(), [3, 4]);
    close("out", &found["out"], &out);
    close("sums", &found["s"], &sums);
    close("last", &found["last"], &[sum]);
}

/// A loop in a loop: the inner one starts from the outer one's carry, and both have one of that name.
#[test]
fn loops_in_loops() {
    let body = "Scan(name: \"outer\", body: [
        Carry(\"h\", \"zeros([2])\"),
        Scan(name: \"inner\", axis: 1, body: [Carry(\"h\", \"prev.h\"), Let(\"h\", \"0.5 * prev.h + it\"), Ref(\"h\")]),
        Let(\"h\", \"inner.last.h\"),
    ])";
    let text = model("\"x\": \"f32[2, 3, 4]\"", body, "\"y\": \"it\", \"last\": \"outer.last.h\"");
    let (found, given) = infer(&text, &[]);
    let x = numbers(&given["x"]);
    let (mut h, mut y) = ([0.0; 2], vec![0.0; 24]);
    for outer in 0..3 {
        for inner in 0..4 {
            for (row, h) in h.iter_mut().enumerate() {
                let at = (row * 3 + outer) * 4 + inner;
                *h = 0.5 * *h + x[at];
                y[at] = *h;
            }
        }
    }
    assert_eq!(found["y"].dims(), [2, 3, 4]);
    close("y", &found["y"], &y);
    close("last", &found["last"], &h);
}

/// A cell is a block that keeps its state, and `Repeat` stacks cells.
#[test]
fn cells_are_blocks() {
    let text = model(
        "\"x\": \"f32[2, 5, 3]\"",
        "Scan(name: \"stack\", body: [Repeat(2, [Cell(name: \"l{i}\")])])",
        "\"y\": \"it\", \"first\": \"stack.last.l0.h\"",
    );
    let block = "blocks: { \"Cell\": Block(body: [
        Carry(\"h\", \"zeros([2, 3])\"), Expr(\"it + prev.h\"), Linear(name: \"w\", features: 3), As(\"h\"),
    ]) },";
    let (found, given) = infer(&text.replacen("inputs:", &format!("{block} inputs:"), 1), &[]);
    let mut h = [vec![0.0; 6], vec![0.0; 6]];
    let mut all = Vec::new();
    for t in 0..5 {
        let mut x = step(&given["x"], t);
        for (layer, h) in h.iter_mut().enumerate() {
            let sum: Vec<f64> = x.iter().zip(&*h).map(|(a, b)| a + b).collect();
            let name = |part: &str| format!("stack.l{layer}.w.{part}");
            *h = linear(&sum, &given[&name("weight")], Some(&given[&name("bias")]));
            x.clone_from(h);
        }
        all.push(x);
    }
    close("y", &found["y"], &stacked(&all, 2));
    close("first", &found["first"], &h[0]);
}

/// Rows end by `lengths`, in both directions; and by `until`.
#[test]
fn rows_end() {
    for reverse in [false, true] {
        let body = format!(
            "Scan(name: \"s\", lengths: \"length\", reverse: {reverse}, body: [
                Carry(\"h\", \"zeros([3])\"), Let(\"h\", \"0.5 * prev.h + it\"), Let(\"double\", \"2 * h\"), Ref(\"h\"),
            ])"
        );
        let text = model(
            "\"x\": \"f32[3, 4]\", \"length\": \"i32[3]\"",
            &body,
            "\"y\": \"it\", \"last\": \"s.last.h\", \"double\": \"s.last.double\", \"steps\": \"s.steps\"",
        );
        let lengths = [4, 2, 0];
        let length = Tensor::i32([3], lengths.map(|length| length as i32));
        let (found, given) = infer(&text, &[("length", length)]);
        let x = numbers(&given["x"]);
        let (mut y, mut last) = (vec![0.0; 12], vec![0.0; 3]);
        for row in 0..3 {
            let mut order: Vec<usize> = (0..lengths[row]).collect();
            if reverse {
                order.reverse();
            }
            for t in order {
                last[row] = 0.5 * last[row] + x[row * 4 + t];
                y[row * 4 + t] = last[row];
            }
        }
        close("y", &found["y"], &y);
        close("last", &found["last"], &last);
        close("double", &found["double"], &last.iter().map(|last| 2.0 * last).collect::<Vec<_>>());
        close("steps", &found["steps"], &[4.0]);
    }
}

/// When Newton's square roots are exact enough.
const NEWTON: &str = "abs(r * r - x) < 1e-9";

#[test]
fn loops_end_by_a_condition() {
    // Newton's square roots: each row until it is exact enough, at most ten times.
    let body = format!(
        "Scan(name: \"root\", times: 10, until: \"{NEWTON}\", body: [
            Carry(\"r\", \"x\"), Let(\"r\", \"0.5 * (prev.r + x / prev.r)\"), Ref(\"r\"),
        ])"
    );
    let text = model(
        "\"x\": \"f32[3]\"",
        &body,
        "\"root\": \"root.last.r\", \"all\": \"root.r\", \"steps\": \"root.steps\"",
    );
    let x = [1.0, 2.0, 81.0];
    let (found, _) = infer(&text, &[("x", Tensor::f64([3], x))]);
    let (mut root, mut all, mut most) = (x.to_vec(), vec![0.0; 30], 0);
    for row in 0..3 {
        for t in 0..10 {
            root[row] = 0.5 * (root[row] + x[row] / root[row]);
            all[row * 10 + t] = root[row];
            most = most.max(t + 1);
            if (root[row] * root[row] - x[row]).abs() < 1e-9 {
                break;
            }
        }
    }
    assert!(most < 10);
    close("root", &found["root"], &root);
    close("all", &found["all"], &all);
    close("steps", &found["steps"], &[most as f64]);
    // The whole loop at once.
    let whole = text.replace(NEWTON, &format!("all({NEWTON})"));
    let (found, _) = infer(&whole, &[("x", Tensor::f64([3], x))]);
    close("steps", &found["steps"], &[most as f64]);
    // It ends there, as the first carry of the loop says; without a condition it does not.
    for (text, guarded) in
        [(&text, true), (&whole, true), (&text.replace(&format!("until: \"{NEWTON}\","), ""), false)]
    {
        let instance = build(text);
        let loops: Vec<bool> =
            scans(instance.graph("infer").expect("infer")).iter().map(|scan| scan.guarded).collect();
        assert_eq!(loops, [guarded], "{text}");
    }
    let exact = numbers(&found["root"]).iter().zip(&x).all(|(root, x)| (root * root - x).abs() < 1e-9);
    assert!(exact);
}

/// What does not depend on a step is computed before the loop; draws are one for each step; running statistics go on.
#[test]
fn around_a_loop() {
    let text = "Model(
        inputs: { \"x\": \"f32[4, 6, 3]\", \"w\": \"f32[3, 3]\", \"label\": \"i32[4]\" },
        body: [
            Scan(body: [Expr(\"it @ (w @ w)\"), BatchNorm(name: \"norm\"), Dropout(name: \"drop\", p: 0.5)]),
            Let(\"logits\", \"mean(it, axis=1)\"),
        ],
        entries: { \"train\": Train(loss: \"cross_entropy(logits, label)\", optimizer: Sgd(lr: 0.1)) },
    )";
    let instance = build(text);
    let graph = instance.graph("train").expect("train");
    let [scan] = scans(graph)[..] else { panic!("{graph}") };
    let count = |graph: &Graph, name: &str| {
        graph.order().into_iter().filter(|&id| graph.node(id).op.get().name() == name).count()
    };
    assert_eq!((count(&scan.body, "dot"), count(graph, "dot")), (1, 1), "{graph}");
    assert_eq!((count(&scan.body, "random"), count(graph, "random")), (0, 1), "{graph}");
    // Running mean and variance.
    assert_eq!((scan.carries, scan.slices), (2, 2), "{graph}");
    let updated = |name: &str| graph.outputs().iter().any(|output| output.name == name);
    assert!(updated("norm.running_mean") && updated("norm.running_var"), "{graph}");
}

/// Running statistics do not depend on how far rows are filled up: a step that no row takes leaves them.
#[test]
fn steps_that_no_row_takes_leave_state() {
    for fields in [
        "lengths: \"length\",",
        "lengths: \"length\", reverse: true,",
        "index: \"t\", until: \"t == 3\",",
        "lengths: \"length\", index: \"t\", until: \"t == 3\",",
    ] {
        let [short, long] = [7, 9].map(|steps| {
            let text = format!(
                "Model(
                    inputs: {{ \"x\": \"f32[4, {steps}, 3]\", \"length\": \"i32[4]\" }},
                    body: [Ref(\"x\"), Scan(name: \"s\", {fields} body: [BatchNorm(name: \"norm\", affine: false)])],
                    entries: {{ \"train\": Entry(steps: [], outputs: {{ \"n\": \"s.steps + 0 * sum(length)\" }}) }},
                )"
            );
            let instance = build(&text);
            let graph = instance.graph("train").expect("train");
            let x: Vec<f64> = (0..4 * steps * 3)
                .map(|at| ((at / (3 * steps) * 50 + at % (3 * steps)) as f64).sin())
                .collect();
            let length = Tensor::generate(&Type::new(DType::I32, [4]), |row| Scalar::I32([5, 2, 6, 0][row]));
            let given = [("x", Tensor::f64([4, steps, 3], x)), ("length", length)];
            let found = run(graph, &inputs(graph, &given));
            ["n", "s.norm.running_mean", "s.norm.running_var"].map(|name| numbers(&found[name]))
        });
        assert_eq!(short, long, "{fields}");
    }
}

/// State that a loop changes is in each step what the steps before have left.
#[test]
fn state_differs_from_step_to_step() {
    let text = "Model(
        inputs: { \"x\": \"f32[4, 3, 2]\" },
        body: [
            Expr(\"x[:, 0]\"), BatchNorm(name: \"norm\", affine: false), Ref(\"x\"),
            Scan(name: \"s\", body: [Let(\"m\", \"parameter('norm.running_mean')\"), Reuse(\"norm\")]),
        ],
        entries: { \"train\": Entry(steps: [], outputs: { \"all\": \"s.m\", \"last\": \"s.last.m\" }) },
    )";
    let instance = build(text);
    let graph = instance.graph("train").expect("train");
    let found = run(graph, &inputs(graph, &[]));
    let (all, last) = (numbers(&found["all"]), numbers(&found["last"]));
    for (steps, last) in all.chunks(3).zip(last) {
        assert_eq!(steps[2], last, "{all:?}");
        assert!(steps[0] != steps[1] && steps[1] != steps[2], "{all:?}");
    }
}

/// Gradients of loops against central differences.
#[test]
fn gradients_of_loops() {
    let cell = "Add([[Linear(name: \"ih\", features: 3)], [Expr(\"prev.h\"), Linear(name: \"hh\", features: 3)]]), Tanh, As(\"h\")";
    let rnn = |fields: &str| format!("Scan({fields} body: [Carry(\"h\", \"zeros([2, 3])\"), {cell}])");
    for body in [
        rnn(""),
        rnn("reverse: true,"),
        rnn("lengths: \"length\","),
        rnn("lengths: \"length\", reverse: true,"),
        rnn("until: \"sum(h, axis=1) > 1\","),
        // The start is trained, and so is what every step adds.
        "Parameter(name: \"p\", dims: [2, 3]), As(\"p\"), Scan(times: 4, index: \"t\", body: [
            Carry(\"h\", \"p\"), Let(\"h\", \"sin(prev.h * 1.5 + p * float(t))\"), Ref(\"h\"),
        ])"
        .to_owned(),
        // A loop in a loop, and weights that both use.
        "Linear(name: \"w\", features: 3), Scan(body: [
            Carry(\"h\", \"zeros([2])\"),
            Scan(name: \"inner\", axis: 1, body: [
                Carry(\"h\", \"prev.h\"), Expr(\"it + 0.5 * prev.h\"), Tanh, As(\"h\"),
            ]),
            Let(\"h\", \"inner.last.h\"), Reuse(\"w\"),
        ])"
        .to_owned(),
        // No carry.
        "Scan(body: [Linear(name: \"w\", features: 3), Tanh])".to_owned(),
        "Lstm(features: 2, layers: 2, bidirectional: true, lengths: \"length\")".to_owned(),
        "Gru(features: 3), Gru(features: 2, reset: \"before\", lengths: \"length\")".to_owned(),
        "Scan(lengths: \"length\", body: [LstmCell(features: 2), GruCell(features: 3)])".to_owned(),
    ] {
        check_gradients(&body);
    }
}

fn check_gradients(body: &str) {
    let loss = "sum(it * it) + mean(it)";
    let text =
        model("\"x\": \"f32[2, 4, 3]\", \"length\": \"i32[2]\"", body, &format!("\"loss\": \"{loss}\""));
    let train = format!("\"train\": Train(loss: \"{loss}\", optimizer: Sgd(lr: 1.0)), ");
    let instance = build(&text.replace("entries: { ", &format!("entries: {{ {train}")));
    let mut graph = instance.graph("train").expect("train").clone();
    let given = inputs(&graph, &[("length", Tensor::i32([2], [3, 4]))]);
    differentiate(&mut graph);
    let updated = run(&graph, &given);
    let infer = instance.graph("infer").expect("infer");
    let loss_at = |given: &HashMap<String, Tensor>| numbers(&run(infer, given)["loss"])[0];
    let mut checked = 0;
    for (name, after) in &updated {
        let Some(before) = given.get(name).filter(|before| before.ty().dtype == DType::F64) else { continue };
        let (dims, values) = (before.dims().to_vec(), numbers(before));
        for (at, after) in numbers(after).iter().enumerate() {
            let near = |step: f64| {
                let mut values = values.clone();
                values[at] += step;
                let mut given = given.clone();
                given.insert(name.clone(), Tensor::f64(dims.clone(), values));
                loss_at(&given)
            };
            let (found, expected) = (values[at] - after, (near(1e-5) - near(-1e-5)) / 2e-5);
            assert!(
                (found - expected).abs() < 1e-7 * expected.abs().max(1.0),
                "{body}\n{name}: {found}, not {expected}"
            );
            checked += 1;
        }
    }
    assert!(checked >= 6, "{body}: {checked}");
}

/// A single sequence needs no name.
#[test]
fn a_sequence_without_a_name() {
    let body = "Scan(over: \"x[:, 1:]\", body: [Carry(\"h\", \"x[:, 0]\"), Let(\"h\", \"prev.h + it\"), Ref(\"h\")])";
    let (found, given) = infer(&model("\"x\": \"f32[2, 4]\"", body, "\"y\": \"it\""), &[]);
    let x = numbers(&given["x"]);
    let sum = |row: usize, t: usize| x[row * 4..=row * 4 + t].iter().sum::<f64>();
    close("y", &found["y"], &[sum(0, 1), sum(0, 2), sum(0, 3), sum(1, 1), sum(1, 2), sum(1, 3)]);
}

/// Loops in loops in loops offer what is named in the innermost; what nobody could hold is left out until somebody asks for it.
#[test]
fn loops_may_be_nested() {
    let mut body = "Tanh".to_owned();
    for _ in 0..12 {
        body = format!(
            "Aside([Scan(name: \"l\", times: 1000, body: [
                Carry(\"h\", 0.0), Let(\"h\", \"prev.h + 1\"), {body}, Ref(\"h\"),
            ])])"
        );
    }
    let text = |output: &str| model("\"x\": \"f32[2, 4]\"", &body, &format!("\"y\": \"{output}\""));
    build(&text("l.last.h + sum(l.l.last.h)"));
    let found = mistakes(&text(&format!("sum({}h)", "l.".repeat(7))));
    assert!(found.contains("which has ended") && found.contains("for all steps"), "{found}");
}

/// Two carries that become the same keep their own starts where there is no step.
#[test]
fn carries_without_a_step() {
    let body = "Scan(name: \"s\", lengths: \"length\", body: [
        Carry(\"a\", \"ones([2])\"), Carry(\"b\", \"zeros([2])\"), Let(\"a\", \"it * 2\"), Let(\"b\", \"a\"),
    ])";
    let text = model(
        "\"x\": \"f32[2, 3]\", \"length\": \"i32[2]\"",
        body,
        "\"a\": \"s.last.a\", \"b\": \"s.last.b\"",
    );
    let (found, given) = infer(&text, &[("length", Tensor::i32([2], [0, 1]))]);
    let x = numbers(&given["x"]);
    close("a", &found["a"], &[1.0, 2.0 * x[3]]);
    close("b", &found["b"], &[0.0, 2.0 * x[3]]);
}
