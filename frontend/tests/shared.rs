//! State of several entry points: whatever they need of one name must be the same, else it is a mistake at its place, when the
//! model is built.

use crate::common::mistakes;

/// A model whose training and inference differ.
fn model(training: &str, inference: &str, rest: &str) -> String {
    format!(
        "Model(
    inputs: {{ \"x\": \"f32[4, 3, 8, 8]\", \"d\": \"f64[4, 3]\" }},
    body: [
        If(\"training\", [{training}],
            [{inference}]),
        {rest}
    ],
    entries: {{
        \"infer\": Infer(outputs: {{ \"y\": \"it\" }}),
        \"train\": Train(loss: \"mean(it * it)\", optimizer: Sgd(lr: 0.1)),
    }},
)"
    )
}

/// What entries may disagree in: the layers of training and inference, those behind, the state, and the two forms of it.
const CASES: &[(&str, &str, &str, &str, [&str; 2])] = &[
    // Shapes: of the layer itself, and of what lies behind a branch.
    (
        "Linear(name: \"fc\", features: 3)",
        "Linear(name: \"fc\", features: 4)",
        "",
        "fc.weight",
        ["f32[3, 8]", "f32[4, 8]"],
    ),
    (
        "Linear(features: 5, bias: false)",
        "MaxPool2d(kernel: 3)",
        "LayerNorm",
        "ln1.weight",
        ["f32[5]", "f32[2]"],
    ),
    ("Parameter(name: \"w\", dims: [3])", "Parameter(name: \"w\", dims: [])", "", "w", ["f32[3]", "f32[]"]),
    // Kinds: what is trained, and what is not.
    (
        "BatchNorm(name: \"bn\")",
        "Parameter(name: \"bn.running_mean\", dims: [3])",
        "",
        "bn.running_mean",
        ["a buffer", "a parameter that is trained"],
    ),
    // Initial values.
    (
        "Linear(name: \"fc\", features: 3, init: Zeros)",
        "Linear(name: \"fc\", features: 3, init: Normal(std: 0.5))",
        "",
        "fc.weight",
        ["Constant(0.0)", "std: 0.5"],
    ),
    (
        "Linear(name: \"fc\", features: 3, bias_init: Zeros)",
        "Linear(name: \"fc\", features: 3, bias_init: Ones)",
        "",
        "fc.bias",
        ["Constant(0.0)", "Constant(1.0)"],
    ),
];

#[test]
fn entries_that_disagree_are_reported_at_their_place() {
    for (training, inference, rest, state, forms) in CASES {
        for (first, second) in [(training, inference), (inference, training)] {
            let said = mistakes(&model(first, second, rest));
            assert!(said.contains(&format!("`{state}` is")), "{first} | {second}: {said}");
            assert!(forms.iter().all(|form| said.contains(form)), "{first} | {second}: {said}");
            assert!(said.contains("`infer`") && said.contains("`train`"), "{said}");
            assert!(said.contains("test.ron:4:") || said.contains("test.ron:6:"), "{said}");
            assert!(said.contains("names of their own"), "{said}");
            assert_eq!(said.matches(&format!("error: `{state}`")).count(), 1, "{said}");
        }
        // What is the same in both is none.
        assert_eq!(mistakes(&model(training, training, rest)), "");
    }
}

/// An entry may use state that another does not.
#[test]
fn entries_need_not_use_the_same() {
    assert_eq!(
        mistakes(&model("Linear(name: \"a\", features: 3)", "Linear(name: \"b\", features: 4)", "")),
        ""
    );
    assert_eq!(mistakes(&model("Linear(name: \"a\", features: 3)", "Tanh", "")), "");
}

/// Two layers of one entry that share a name.
#[test]
fn one_entry_may_disagree_with_itself() {
    for (again, state) in [
        ("Linear(name: \"fc\", features: 4), Reuse(\"fc\")", "fc.weight"),
        ("Parameter(name: \"bn.weight\", dims: [4]), Ref(\"x\"), BatchNorm(name: \"bn\")", "bn.weight"),
        (
            "Parameter(name: \"bn.running_mean\", dims: [3]), Ref(\"x\"), BatchNorm(name: \"bn\")",
            "bn.running_mean",
        ),
    ] {
        let said = mistakes(&model(again, again, ""));
        assert!(said.contains(&format!("`{state}` is")) && said.contains("is needed here"), "{said}");
    }
}
