//! Carries that begin where the entry's last run has ended.

use std::collections::HashMap;

use brolga_frontend::SlotKind;
use brolga_ir::DType;
use brolga_ir::Type;
use brolga_ir::ops::Role;
use brolga_ir::scalar::Scalar;
use brolga_ir::tensor::Tensor;

use crate::broken::table;
use crate::common::*;

/// Three rows of four steps, whose running sums go on where `kept` says so.
fn model(kept: &str, entry: &str) -> String {
    format!(
        "Model(
    inputs: {{ \"x\": \"f32[batch, 4, 2]\", \"goes_on\": \"bool[batch]\" }},
    dims: {{ \"batch\": 3 }},
    body: [
        Parameter(name: \"w\", dims: [2], init: Ones), As(\"w\"), Ref(\"x\"),
        Scan(name: \"s\", body: [Carry(name: \"h\", start: \"ones([batch, 2]) * w\"{kept}), Let(\"h\", \"0.5 * prev.h + w * it\")]),
        Let(\"loss\", \"mean(s.h ** 2)\"),
    ],
    entries: {{ \"e\": {entry} }},
)"
    )
}

fn flags(rows: [bool; 3]) -> Tensor {
    Tensor::generate(&Type::new(DType::Bool, [3]), |row| Scalar::Bool(rows[row]))
}

/// The values that a run is given: of the state what the run before has left, or zeros; parameters are ones.
fn values(
    graph: &brolga_ir::Graph,
    x: &Tensor,
    goes_on: [bool; 3],
    state: &HashMap<String, Tensor>,
) -> HashMap<String, Tensor> {
    let parameters = graph.parameters().iter().filter_map(|&id| graph.parameter(id));
    let of = |parameter: &brolga_ir::ops::Parameter| match (parameter.name.as_str(), parameter.role) {
        ("x", _) => x.clone(),
        ("goes_on", _) => flags(goes_on),
        (name, Role::State) if state.contains_key(name) => state[name].clone(),
        ("w", _) => Tensor::generate(&parameter.ty, |_| Scalar::F64(1.0)),
        _ => Tensor::generate(&parameter.ty, |_| match parameter.ty.dtype {
            DType::Bool => Scalar::Bool(false),
            DType::I64 => Scalar::I64(0),
            _ => Scalar::F64(0.0),
        }),
    };
    parameters.map(|parameter| (parameter.name.clone(), of(parameter))).collect()
}

/// What the running sums come to behind four steps, from this on.
fn end(start: f64, x: &[f64]) -> f64 {
    x.iter().fold(start, |h, x| 0.5 * h + x)
}

#[test]
fn rows_go_on_where_they_ended_or_begin_anew() {
    let x = wave(&[3, 4, 2], 1.0, 0.7, 0.2);
    let steps = |row: usize, feature: usize| -> Vec<f64> {
        (0..4).map(|step| numbers(&x)[(row * 4 + step) * 2 + feature]).collect()
    };
    for (kept, all) in [(", kept: \"goes_on\"", false), (", kept: true", true)] {
        let entry = "Infer(outputs: { \"h\": \"s.last.h\", \"g\": \"sum(float(goes_on))\" })";
        let instance = build(&model(kept, entry));
        let graph = instance.graph("e").expect("e");
        let mut state = HashMap::new();
        let mut expected = [[1.0; 2]; 3];
        let runs = [[true, true, true], [true, false, true], [false, false, true]];
        for (run_number, goes_on) in runs.into_iter().enumerate() {
            let found = run(graph, &values(graph, &x, goes_on, &state));
            let h = numbers(&found["h"]);
            for (at, expected) in expected.iter_mut().flatten().enumerate() {
                let (row, feature) = (at / 2, at % 2);
                let goes_on = run_number > 0 && (all || goes_on[row]);
                *expected = end(if goes_on { *expected } else { 1.0 }, &steps(row, feature));
                assert!((h[at] - *expected).abs() < 1e-5, "{kept} {run_number} {row}");
            }
            state = found;
        }
    }
}

/// What is kept is no part of the weights, has rows, and each entry has its own.
#[test]
fn what_is_kept_is_of_an_entry() {
    let entry = "Train(loss: \"loss\", optimizer: Sgd(lr: 0.1))";
    let instance = build(&model(", kept: \"goes_on\"", entry));
    let kept: Vec<(&str, String)> = (instance.state().iter())
        .filter(|slot| slot.kind == SlotKind::Kept)
        .map(|slot| (slot.name.as_str(), slot.ty.to_string()))
        .collect();
    let expected = [
        ("kept.e.s.h", "f64[3, 2]"),
        ("kept.e.s.h.begun", "bool[]"),
        ("kept.e.eval.s.h", "f64[3, 2]"),
        ("kept.e.eval.s.h.begun", "bool[]"),
    ];
    assert_eq!(kept, expected.map(|(name, ty)| (name, ty.to_owned())));
    // `false` keeps nothing.
    let instance = build(&model(", kept: false", entry));
    assert!(instance.state().iter().all(|slot| slot.kind != SlotKind::Kept));
}

/// No gradient goes back over the border: where rows begin anew it is that of the loop alone, and where they go on that of a loop
/// which begins with the numbers that were kept.
#[test]
fn gradients_end_where_a_run_begins() {
    let x = wave(&[3, 4, 2], 1.0, 0.7, 0.2);
    let entry = "Train(loss: \"loss\", optimizer: Sgd(lr: 0.25))";
    let trained = |text: &str, goes_on: [bool; 3], state: &HashMap<String, Tensor>| {
        let instance = build(text);
        let mut graph = instance.graph("e").expect("e").clone();
        differentiate(&mut graph);
        run(&graph, &values(&graph, &x, goes_on, state))
    };
    let text = model(", kept: \"goes_on\"", entry);
    let plain = trained(&model("", entry), [false; 3], &HashMap::new());
    let first = trained(&text, [true; 3], &HashMap::new());
    assert_eq!(numbers(&first["w"]), numbers(&plain["w"]), "before the first run nothing was kept");
    // The parameter stays what it was, so that only the start differs.
    let kept = HashMap::from_iter(
        first
            .iter()
            .filter(|(name, _)| name.starts_with("kept."))
            .map(|(name, value)| (name.clone(), value.clone())),
    );
    let anew = trained(&text, [false; 3], &kept);
    assert_eq!(numbers(&anew["w"]), numbers(&plain["w"]));
    let on = trained(&text, [true; 3], &kept);
    let start = numbers(&first["kept.e.s.h"]);
    let given = model("", entry)
        .replace("ones([batch, 2]) * w", &format!("{:?}", [&start[..2], &start[2..4], &start[4..]]));
    let expected = trained(&given, [false; 3], &HashMap::new());
    for (a, b) in numbers(&on["w"]).iter().zip(numbers(&expected["w"])) {
        assert!((a - b).abs() < 1e-6, "{a} {b}");
    }
    assert_ne!(numbers(&on["w"]), numbers(&plain["w"]));
}

/// All steps of a run begin where the run before has ended.
#[test]
fn steps_of_a_run_begin_alike() {
    let x = wave(&[3, 4, 2], 1.0, 0.7, 0.2);
    let entry = "Entry(steps: [Update({ \"w\": \"w\" }), Update({ \"w\": \"w\" })], outputs: { \"h\": \"s.last.h\", \"g\": \"sum(float(goes_on))\" })";
    let instance = build(&model(", kept: \"goes_on\"", entry));
    let graph = instance.graph("e").expect("e");
    let found = run(graph, &values(graph, &x, [true; 3], &HashMap::new()));
    let one = build(&model(
        ", kept: \"goes_on\"",
        "Infer(outputs: { \"h\": \"s.last.h\", \"g\": \"sum(float(goes_on))\" })",
    ));
    let graph = one.graph("e").expect("e");
    let expected = run(graph, &values(graph, &x, [true; 3], &HashMap::new()));
    for name in ["h", "kept.e.s.h"] {
        assert_eq!(numbers(&found[name]), numbers(&expected[name]), "{name}");
    }
}

#[test]
fn broken() {
    let kept = |kept: &str| model(&format!(", kept: {kept}"), "Infer(outputs: { \"o\": \"s.last.h\" })");
    let nested = kept("true")
        .replace("Scan(name: \"s\"", "Scan(axis: 2, body: [Expr(\"it[:, :, none]\"), Scan(name: \"s\"")
        .replace("+ w * it\")])", "+ w * it\")])])");
    let cases = [
        ("a number", kept("1")),
        ("a text", kept("\"'continues'\"")),
        ("whole numbers", kept("\"int(goes_on)\"")),
        (
            "one for each element",
            kept("\"s_goes_on\"")
                .replace("\"goes_on\": \"bool[batch]\"", "\"s_goes_on\": \"bool[batch, 2]\""),
        ),
        ("of other rows", kept("\"goes_on[:2]\"")),
        ("an unknown name", kept("\"continues\"")),
        ("in a loop in a loop", nested),
        (
            "a parameter of such a name",
            kept("true").replace(
                "name: \"w\", dims: [2], init: Ones), As(\"w\")",
                "name: \"kept.w\", dims: [2], init: Ones), As(\"w\")",
            ),
        ),
    ];
    let plan = model(", kept: \"goes_on\"", "Train(loss: \"loss\", optimizer: Sgd(lr: 0.1))");
    let plan = plan.trim_end().strip_suffix(')').unwrap().to_owned();
    let phase = "    training: [Phase(entry: \"e\", updates: 1, dims: { \"batch\": 4 })],\n)";
    let all: Vec<(&str, String)> =
        cases.into_iter().chain([("a phase of another batch", plan + phase)]).collect();
    insta::assert_snapshot!(table(&all));
}
