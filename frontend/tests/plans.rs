//! Plans of training, entries with bodies and parameters of their own, and names with expressions in them.

use brolga_frontend::{Phase, PhaseBatch, PhaseLength};
use brolga_ir::ops::Role;

use crate::broken::table;
use crate::common::*;

/// A stack of autoencoders (Bengio et al., "Greedy layer-wise training of deep networks", 2007).
fn stacked(training: &str) -> String {
    format!(
        "Model(
    parameters: {{ \"widths\": [5, 3], \"rounds\": 2 }},
    inputs: {{ \"x\": \"f32[batch, 6]\", \"label\": \"i32[batch]\" }},
    blocks: {{
        \"Dae\": Block(parameters: {{ \"features\": Required }}, body: [
            As(\"x\"), Linear(name: \"encode\", features: \"features\"), Sigmoid, As(\"code\"),
            Linear(name: \"decode\", features: \"size(x, 1)\"), Let(\"loss\", \"mse(it, x)\"), Ref(\"code\"),
        ]),
    }},
    body: [
        Repeat(\"len(widths)\", [Dae(name: \"dae{{i}}\", features: \"widths[i]\")]), Linear(name: \"out\", features: 4), As(\"logits\"),
    ],
    entries: {{
        \"pretrain\": Train(
            parameters: {{ \"layer\": 0, \"rate\": \"1 / rounds\" }}, of: \"dae{{layer}}.*\",
            loss: \"dae{{layer}}.loss\", optimizer: Adam(lr: \"rate\"),
        ),
        \"train\": Train(loss: \"cross_entropy(logits, label)\", optimizer: Adam(lr: 1e-3)),
        \"infer\": Infer(outputs: {{ \"p\": \"softmax(logits)\" }}),
        \"bound\": Infer(metrics: {{ \"level\": \"mean(logits)\" }}),
    }},
    training: [
        {training}
    ],
)"
    )
}

#[test]
fn a_plan_is_its_phases_one_behind_the_other() {
    let instance = build(&stacked(
        "Repeat(\"rounds\", [
            Repeat(times: \"len(widths)\", index: \"k\", body: [Phase(entry: \"pretrain\", set: { \"layer\": \"k\" }, updates: \"10 * (k + 1)\")]),
        ]),
        For(each: \"rate\", within: [0.5, 0.25], body: [Phase(entry: \"pretrain\", set: { \"rate\": \"rate\" }, epochs: 1)]),
        Phase(entry: \"train\", epochs: 3, data: \"digits\", dims: { \"batch\": \"all\" }, measure: [\"bound\"]),
        Phase(entry: \"train\", epochs: 1, dims: { \"batch\": 7 }),",
    ));
    let plan = instance.plan();
    let trained: Vec<&str> = plan.trained.iter().map(|trained| trained.entry.as_str()).collect();
    // The default of a parameter is the entry as it stands in the file.
    assert_eq!(trained, ["pretrain", "pretrain(layer=1)", "pretrain(rate=0.25)", "train", "train"]);
    let phase = |trained, length| Phase { trained, length };
    let expected = [
        phase(0, PhaseLength::Updates(10)),
        phase(1, PhaseLength::Updates(20)),
        phase(0, PhaseLength::Updates(10)),
        phase(1, PhaseLength::Updates(20)),
        phase(0, PhaseLength::Epochs(1)),
        phase(2, PhaseLength::Epochs(1)),
        phase(3, PhaseLength::Epochs(3)),
        phase(4, PhaseLength::Epochs(1)),
    ];
    assert_eq!(plan.phases, expected);
    let [.., all, seven] = &plan.trained[..] else { panic!() };
    assert_eq!(
        (all.data.as_deref(), all.batch, &all.measures[..]),
        (Some("digits"), Some(PhaseBatch::All), &["bound".to_owned()][..])
    );
    assert_eq!(
        (seven.data.as_deref(), seven.batch, seven.measures.len()),
        (None, Some(PhaseBatch::Samples(7)), 0)
    );
}

#[test]
fn entries_of_a_plan_are_entries_with_their_own_memory() {
    let instance = build(&stacked(
        "Repeat(\"len(widths)\", [Phase(entry: \"pretrain\", set: { \"layer\": \"i\" }, epochs: 1)]), Phase(entry: \"train\", epochs: 1),",
    ));
    let entries = "pretrain pretrain.eval train train.eval infer bound.eval pretrain(layer=1) pretrain(layer=1).eval init";
    assert_eq!(instance.entries().join(" "), entries);
    let updated = |entry: &str| -> Vec<String> {
        let outputs = instance.graph(entry).expect(entry).outputs().iter();
        outputs.filter(|output| output.role == Role::State).map(|output| output.name.clone()).collect()
    };
    for (entry, layer) in [("pretrain", 0), ("pretrain(layer=1)", 1)] {
        let mut found = updated(entry);
        found.sort();
        let parameters = ["decode.bias", "decode.weight", "encode.bias", "encode.weight"]
            .map(|name| format!("dae{layer}.{name}"));
        // `train` trains all of them, too.
        let memory =
            |slot: &str| parameters.clone().map(|parameter| format!("optim.{entry}.{slot}.{parameter}"));
        let mut expected: Vec<String> =
            parameters.iter().cloned().chain(memory("exp_avg")).chain(memory("exp_avg_sq")).collect();
        expected.extend([format!("optim.{entry}.step"), "step".to_owned()]);
        expected.sort();
        assert_eq!(found, expected);
    }
}

/// An entry's body sees the names of the model's, and begins with its last value; only what it needs is computed.
#[test]
fn bodies_of_entries_go_on() {
    let model = |entry: &str| {
        format!(
            "Model(
                inputs: {{ \"x\": \"f32[4, 3]\" }},
                body: [
                    BatchNorm(name: \"first\"), As(\"h\"), Linear(name: \"fc\", features: 2), As(\"y\"),
                    Ref(\"x\"), Linear(name: \"other\", features: 2),
                ],
                entries: {{ \"e\": {entry} }},
            )"
        )
    };
    let outputs = |entry: &str| {
        let instance = build(&model(entry));
        let graph = instance.graph("e").expect("e");
        graph.outputs().iter().map(|output| output.name.clone()).collect::<Vec<_>>()
    };
    let parameters = |entry: &str| {
        let instance = build(&model(entry));
        instance
            .graph("e")
            .expect("e")
            .parameters()
            .iter()
            .map(|&id| instance.graph("e").unwrap().parameter(id).unwrap().name.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(parameters("Infer(body: [Expr(\"y + it\")], outputs: { \"o\": \"it\" })").len(), 1 + 4 + 4);
    assert_eq!(
        parameters("Infer(body: [Ref(\"x\"), Reuse(\"other\")], outputs: { \"o\": \"it\" })").len(),
        1 + 2
    );
    // Statistics of the model's body change where training needs a value of it, and only there.
    let statistics =
        |entry: &str| outputs(entry).iter().filter(|name| name.starts_with("first.running")).count();
    let step =
        |body: &str| format!("Train(body: [{body}], loss: \"mean(it ** 2)\", optimizer: Sgd(lr: 0.1))");
    assert_eq!(statistics(&step("Expr(\"y + it\")")), 2);
    assert_eq!(statistics(&step("Ref(\"x\"), Reuse(\"other\")")), 0);
    assert_eq!(statistics(&step("Ref(\"x\"), Reuse(\"first\")")), 2);
}

/// Expressions in names, of values and of parameters.
#[test]
fn names_with_expressions() {
    for (expression, factor, offset) in [
        ("h_{k}", 1.0, 0.0),
        ("h_{k + 1} * 2", 4.0, 0.0),
        ("a_{word}", 1.0, 1.0),
        ("sum(stack([h_{i} for i in range(3)]), axis=0)", 3.0, 0.0),
    ] {
        let model = format!(
            "Model(
                parameters: {{ \"k\": 1, \"word\": \"b\" }},
                inputs: {{ \"x\": \"f32[2]\" }},
                body: [Let(\"h_0\", \"x * 0\"), Let(\"h_1\", \"x\"), Let(\"h_2\", \"2 * x\"), Let(\"a_b\", \"x + 1\")],
                entries: {{ \"infer\": Infer(outputs: {{ \"y\": \"{expression}\" }}) }},
            )"
        );
        let instance = build(&model);
        let x = wave(&[2], 1.0, 0.5, 0.25);
        let given = std::collections::HashMap::from([("x".to_owned(), x.clone())]);
        let found = numbers(&run(instance.graph("infer").unwrap(), &given)["y"]);
        let expected: Vec<f64> = numbers(&x).iter().map(|x| factor * x + offset).collect();
        assert!(
            found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6),
            "{expression}: {found:?} {expected:?}"
        );
    }
}

#[test]
fn broken_plans() {
    let plan = |training: &str| stacked(training);
    let entry = |entry: &str| {
        stacked("").replace(
            "\"infer\": Infer(outputs: { \"p\": \"softmax(logits)\" }),",
            &format!("\"e\": {entry},"),
        )
    };
    let cases = [
        ("no such entry", plan("Phase(entry: \"pretrian\", epochs: 1),")),
        ("an entry that does not train", plan("Phase(entry: \"infer\", epochs: 1),")),
        ("no length", plan("Phase(entry: \"train\"),")),
        ("two lengths", plan("Phase(entry: \"train\", epochs: 1, updates: 5),")),
        (
            "lengths that are none",
            plan("Phase(entry: \"train\", epochs: -1), Phase(entry: \"train\", updates: \"widths\"),"),
        ),
        ("no such setting", plan("Phase(entry: \"train\", set: { \"layer\": 1 }, epochs: 1),")),
        (
            "a setting of another kind",
            plan("Phase(entry: \"pretrain\", set: { \"layer\": \"'first'\" }, epochs: 1),"),
        ),
        (
            "a setting that no layer has",
            plan("Phase(entry: \"pretrain\", set: { \"layer\": 7 }, epochs: 1),"),
        ),
        ("another size", plan("Phase(entry: \"train\", dims: { \"length\": 5 }, epochs: 1),")),
        (
            "a batch that is none",
            plan("Phase(entry: \"train\", dims: { \"batch\": \"'most'\" }, epochs: 1),"),
        ),
        (
            "a measure that is no entry",
            plan("Phase(entry: \"train\", measure: [\"bond\", \"infer\"], epochs: 1),"),
        ),
        ("repeated without a number", plan("Repeat(\"widths\", [Phase(entry: \"train\", epochs: 1)]),")),
        ("repeated too often", plan("Repeat(1000, [Repeat(1000, [Phase(entry: \"train\", epochs: 1)])]),")),
        (
            "over no list",
            plan(
                "For(each: \"i\", within: 3, body: [Phase(entry: \"train\", set: { \"layer\": \"i\" }, epochs: 1)]),",
            ),
        ),
        ("no phase", plan("Stage(entry: \"train\", epochs: 1), Phase, \"train\",")),
        ("an unknown name", plan("Repeat(\"round\", [Phase(entry: \"train\", epochs: 1)]),")),
        ("an entry without outputs", entry("Infer(body: [Tanh])")),
        (
            "an entry's parameter that the body has",
            entry("Infer(parameters: { \"a\": 1 }, body: [Let(\"a\", \"it\")], outputs: { \"o\": \"a\" })"),
        ),
        ("a name with an unknown value", entry("Infer(outputs: { \"o\": \"dae{lyer}.code\" })")),
        ("a name with a fraction", entry("Infer(outputs: { \"o\": \"dae{0.5}.code\" })")),
        ("a name that there is not", entry("Infer(outputs: { \"o\": \"dae{7}.code\" })")),
        ("a brace that is not closed", entry("Infer(outputs: { \"o\": \"dae{0.code\" })")),
    ];
    insta::assert_snapshot!(table(&cases));
}
