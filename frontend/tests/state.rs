//! States: what is kept from run to run without being trained.

use std::collections::HashMap;

use brolga_frontend::SlotKind;
use brolga_ir::scalar::Scalar;
use brolga_ir::{DType, Tensor, Type};

use crate::common::{build, differentiate, mistakes, numbers, run};

/// A count of words (whole numbers), and an average that a loss is compared with.
const MODEL: &str = "Model(
    parameters: { \"v\": 3 },
    inputs: { \"x\": \"f32[batch]\", \"word\": \"i64[v]\" },
    dims: { \"batch\": 2 },
    body: [
        State(name: \"count\", type: \"i64[v]\"), State(name: \"level\", type: \"f32[]\", init: 0.5),
        Parameter(name: \"w\", dims: []), Let(\"y\", \"x * w\"),
    ],
    entries: {
        \"count\": Entry(mode: \"infer\", steps: [Update({ \"count\": \"it + word\" })], outputs: { \"seen\": \"count\" }),
        \"train\": Entry(steps: [
            Update({ \"level\": \"0.9 * it + 0.1 * mean(x)\" }),
            Minimize(loss: \"mean(y - level) * level\", optimizer: Sgd(lr: 1)),
        ]),
    },
)";

#[test]
fn states_are_kept_and_not_trained() {
    let instance = build(MODEL);
    let kind = |name: &str| instance.state().iter().find(|slot| slot.name == name).map(|slot| slot.kind);
    assert_eq!([kind("count"), kind("level")], [Some(SlotKind::Buffer); 2]);
    let init = instance.graph("init").expect("init");
    let seed = Tensor::generate(&Type::scalar(DType::I64), |_| Scalar::I64(3));
    let zeros = init.parameters().iter().filter_map(|&id| init.parameter(id)).map(|parameter| {
        let value = if parameter.name == "seed" { seed.clone() } else { Tensor::zeros(&parameter.ty) };
        (parameter.name.clone(), value)
    });
    let mut values = run(init, &zeros.collect::<HashMap<_, _>>());
    assert_eq!(numbers(&values["level"]), [0.5]);
    let word = Tensor::generate(&Type::new(DType::I64, [3]), |i| Scalar::I64(i as i64));
    values.insert("word".into(), word);
    values.insert("x".into(), Tensor::f64([2], [1.0, 3.0]));
    values.insert("seed".into(), seed);
    for runs in 1..=2 {
        values.extend(run(instance.graph("count").expect("count"), &values));
        assert_eq!(numbers(&values["count"]), [0.0, f64::from(runs), 2.0 * f64::from(runs)]);
        let before = [0.0, f64::from(runs - 1), 2.0 * f64::from(runs - 1)];
        assert_eq!(numbers(&values["seen"]), before, "outputs see what the last step saw");
    }
    let mut train = instance.graph("train").expect("train").clone();
    differentiate(&mut train);
    values.extend(run(&train, &values));
    // The second step sees the level that the first one left, as a value.
    let level = 0.45 + 0.2;
    assert!((numbers(&values["level"])[0] - level).abs() < 1e-12);
    assert!((numbers(&values["w"])[0] + 2.0 * level).abs() < 1e-12, "{:?}", values["w"]);
}

/// States of several axes: each element becomes its own, and all updates of a step see what was before it.
#[test]
fn tensors_are_updated_at_once() {
    let instance = build(
        "Model(
            inputs: { \"x\": \"f32[batch, 3]\", \"k\": \"i32[batch]\" },
            dims: { \"batch\": 2 },
            body: [
                State(name: \"left.w\", type: \"f32[2, 3]\"), State(name: \"right.w\", type: \"f32[2, 3]\", init: Ones),
                State(name: \"pairs\", type: \"i64[2, 2]\"), Parameter(name: \"p\", dims: [2, 3]),
            ],
            entries: { \"turn\": Entry(
                mode: \"infer\",
                steps: [
                    Update({ \"left.w\": \"parameter('right.w') + x\", \"right.w\": \"parameter('left.w') * 2 + p\" }),
                    Update({ \"*.w\": \"it - sum(parameter('p'), axis=0)\", \"pairs\": \"it + [[1, 2], [3, 4]][k]\" }),
                ],
                outputs: { \"y\": \"parameter('left.w')[1] - parameter('right.w')[0]\" },
            ) },
        )",
    );
    let whole = |dims: &[usize], values: &[i64]| {
        Tensor::generate(&Type::new(DType::I64, dims), |at| Scalar::I64(values[at]))
    };
    let values = HashMap::from([
        ("x".to_owned(), Tensor::f64([2, 3], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])),
        ("k".to_owned(), Tensor::generate(&Type::new(DType::I32, [2]), |at| Scalar::I32(1 - at as i32))),
        ("left.w".to_owned(), Tensor::f64([2, 3], [0.5; 6])),
        ("right.w".to_owned(), Tensor::f64([2, 3], [10.0, 20.0, 30.0, 40.0, 50.0, 60.0])),
        ("p".to_owned(), Tensor::f64([2, 3], [1.0, 0.0, 0.0, 0.0, 2.0, 0.0])),
        ("pairs".to_owned(), whole(&[2, 2], &[100, 200, 300, 400])),
    ]);
    let found = run(instance.graph("turn").expect("an entry"), &values);
    // Behind the first step [[11, 22, 33], [44, 55, 66]] and [[2, 1, 1], [1, 3, 1]].
    assert_eq!(numbers(&found["left.w"]), [10.0, 20.0, 33.0, 43.0, 53.0, 66.0]);
    assert_eq!(numbers(&found["right.w"]), [1.0, -1.0, 1.0, 0.0, 1.0, 1.0]);
    assert_eq!(numbers(&found["pairs"]), [103.0, 204.0, 301.0, 402.0]);
    assert!(found["pairs"].ty().dtype == DType::I64);
    // Outputs see what the last step saw.
    assert_eq!(numbers(&found["y"]), [44.0 - 2.0, 55.0 - 1.0, 66.0 - 1.0]);
}

/// A state may begin as a table of the data set: it is zeros until then, of any type, and says which table.
#[test]
fn states_may_begin_as_tables() {
    let model = |init: &str| {
        format!(
            "Model(body: [State(name: \"node\", type: \"i32[4, 2]\", init: {init})],
                entries: {{ \"infer\": Infer(outputs: {{ \"y\": \"node\" }}) }})"
        )
    };
    let instance = build(&model("Data(\"huffman.node\")"));
    let slot = instance.state().iter().find(|slot| slot.name == "node").expect("node");
    assert_eq!((slot.table(), slot.kind), (Some("huffman.node"), SlotKind::Buffer));
    let init = instance.graph("init").expect("init");
    let zeros = init.parameters().iter().filter_map(|&id| init.parameter(id));
    let zeros = zeros.map(|parameter| (parameter.name.clone(), Tensor::zeros(&parameter.ty)));
    let values = run(init, &zeros.collect::<HashMap<_, _>>());
    assert_eq!(numbers(&values["node"]), [0.0; 8]);
    assert_eq!(build(&model("Zeros")).state().iter().filter(|slot| slot.table().is_some()).count(), 0);
    for (init, message) in [
        ("Data", "`Data` needs `table`"),
        ("Data(3)", "expected the name of a table"),
        ("Data(name: \"x\")", "`Data` has no argument `name`"),
    ] {
        let found = mistakes(&model(init));
        assert!(found.contains(message), "{init}: {found}");
    }
}

/// In a body an update acts in training alone, and leaves the current value.
#[test]
fn bodies_update_in_training() {
    let instance = build(
        "Model(
            inputs: { \"x\": \"f32[2]\" },
            body: [
                State(name: \"seen\", type: \"f32[]\"), Ref(\"x\"), Update({ \"seen\": \"it + sum(x)\" }), As(\"y\"),
            ],
            entries: {
                \"infer\": Infer(outputs: { \"y\": \"y + seen\" }),
                \"train\": Entry(steps: [], outputs: { \"y\": \"y + seen\" }),
            },
        )",
    );
    let values = HashMap::from([
        ("x".to_owned(), Tensor::f64([2], [1.0, 3.0])),
        ("seen".to_owned(), Tensor::f64([], [10.0])),
        ("step".to_owned(), Tensor::generate(&Type::scalar(DType::I64), |_| Scalar::I64(0))),
    ]);
    for (entry, seen) in [("infer", None), ("train", Some(14.0))] {
        let found = run(instance.graph(entry).expect("an entry"), &values);
        assert_eq!(numbers(&found["y"]), [11.0, 13.0], "{entry}");
        assert_eq!(found.get("seen").map(|seen| numbers(seen)[0]), seen, "{entry}");
    }
    let body = "Scan(times: 2, body: [State(name: \"s\", type: \"f32[]\"), Update({ \"s\": \"it + 1\" })])";
    let found = mistakes(&format!(
        "Model(body: [{body}], entries: {{ \"infer\": Infer(outputs: {{ \"y\": \"it\" }}) }})"
    ));
    assert!(found.contains("an `Update` does not stand in a loop"), "{found}");
}

/// A parameter is trained by what the loss sees of it: where an update comes between both, that is told. One before the loss, and
/// one of what the loss has no gradient by, stand beside training.
#[test]
fn updates_between_loss_and_training_are_told() {
    for (body, is_told) in [
        ("Let(\"y\", \"x * w\"), Update({ \"w\": \"0.5 * it\" })", true),
        ("Let(\"y\", \"x * w\"), Update({ \"w\": \"0.5 * it\" }), Let(\"z\", \"y * parameter('w')\")", true),
        ("Update({ \"w\": \"0.5 * it\" }), Let(\"y\", \"x * parameter('w')\")", false),
        ("Let(\"y\", \"x * w\"), Update({ \"v\": \"0.5 * it + w\" })", false),
        ("Let(\"y\", \"x * w + stop_gradient(v)\"), Update({ \"v\": \"0.5 * it + w\" })", false),
    ] {
        let loss = if body.contains("\"z\"") { "mean(z)" } else { "mean(y)" };
        for entry in [
            format!("Train(loss: \"{loss}\", optimizer: Sgd(lr: 1))"),
            format!(
                "Entry(steps: [Minimize(loss: \"{loss}\", optimizer: Sgd(lr: 1)), Minimize(loss: \"{loss}\", optimizer: Sgd(lr: 1))])"
            ),
        ] {
            let text = format!(
                "Model(
                    inputs: {{ \"x\": \"f32[2]\" }},
                    body: [Parameter(name: \"w\", dims: []), Parameter(name: \"v\", dims: []), {body}],
                    entries: {{ \"train\": {entry} }},
                )"
            );
            if !is_told {
                let instance = build(&text);
                let trained = instance.graph("train").expect("train");
                assert!(trained.outputs().iter().any(|output| output.name == "w"), "{text}");
                continue;
            }
            let found = mistakes(&text);
            assert!(
                found.contains("the loss reads `w` as it was before an `Update` of the body"),
                "{text}: {found}"
            );
        }
    }
}

#[test]
fn mistakes_of_states_are_told() {
    for (state, message) in [
        ("State(name: \"s\", type: \"f32[batch]\")", "its size cannot be `batch`"),
        ("State(name: \"s\", type: \"f32[2 * batch, 3]\")", "its size cannot be `batch`"),
        ("State(name: \"s\", type: \"f32[-1]\")", "a size must be a whole number from 0 on, found -1"),
        ("State(name: \"s\", type: \"f33[2]\")", "`f33` is not an element type"),
        ("State(name: \"s\")", "`State` needs `type`"),
        ("State(type: \"f32[2]\")", "`State` needs `name`"),
        ("State(name: \"s\", type: \"i64[2]\", init: Normal(std: 1))", "i64[2] begins with whole numbers"),
        ("State(name: \"s\", type: \"i64[2]\", init: 0.5)", "i64[2] begins with whole numbers"),
        ("State(name: \"s\", type: \"f32[2]\", init: Nrmal(std: 1))", "`Nrmal` cannot stand for `init`"),
        ("State(name: \"step\", type: \"f32[2]\")", "`step` is the name of a part of the training state"),
        ("State(name: \"s\", type: \"f32[2]\"), Parameter(name: \"s\", dims: [2])", "`s`"),
    ] {
        let found = mistakes(&format!(
            "Model(inputs: {{ \"x\": \"f32[batch]\" }}, body: [{state}], entries: {{ \"infer\": Infer(outputs: {{ \"y\": \"x\" }}) }})"
        ));
        assert!(found.contains(message), "{state}: {found}");
    }
}
