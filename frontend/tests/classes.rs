//! Along which axis classes lie: by the shape of the labels, by symbols where sizes are equal by chance, else by name.

use brolga_frontend::{Model, Settings, no_imports};

use crate::common::mistakes;

/// A model of some inputs with one expression.
fn model(dims: &str, inputs: &str, expression: &str) -> String {
    format!(
        "Model(
            dims: {{ {dims} }},
            inputs: {{ {inputs} }},
            body: [],
            entries: {{ \"infer\": Infer(outputs: {{ \"y\": \"{expression}\" }}) }},
        )"
    )
}

/// The graph of an expression as text, or its mistakes.
fn graph(dims: &str, inputs: &str, expression: &str) -> Result<String, String> {
    let text = model(dims, inputs, expression);
    let instance = Model::parse("test.ron", &text, &no_imports)
        .and_then(|model| model.instantiate(&Settings::default()))
        .map_err(|mistakes| mistakes.to_string())?;
    Ok(instance.graph("infer").expect("infer").to_string())
}

/// All that takes classes; `{}` stands for more arguments.
const CALLS: [&str; 7] = [
    "cross_entropy(x, label{})",
    "cross_entropy(x, label, smoothing=0.1, weights=[1, 2, 3, 4]{})",
    "cross_entropy(x, label, ignore_index=2{})",
    "nll(x, label{})",
    "focal(x, label{})",
    "accuracy(x, label{})",
    "top_k_accuracy(x, label, 2{})",
];

/// Symbols, types of scores and labels, and the axis; all sizes are 4 or more symbols of 4.
const FOUND: [(&str, &str, &str, &str); 9] = [
    // PyTorch's layouts, and classes last.
    ("", "f32[4]", "i32[]", "0"),
    ("", "f32[7, 4]", "i32[7]", "1"),
    ("", "f32[7, 4, 5]", "i32[7, 5]", "1"),
    ("", "f32[7, 5, 4]", "i32[7, 5]", "2"),
    ("", "f32[7, 4, 5, 5]", "i32[7, 5, 5]", "1"),
    // The first of several axes holds samples, be there as many as classes.
    ("", "f32[4, 4]", "i32[4]", "1"),
    // Sizes that are equal by chance.
    ("\"batch\": 4, \"length\": 4", "f32[batch, length, 4]", "i32[batch, length]", "2"),
    ("\"batch\": 4, \"length\": 4", "f32[batch, 4, length]", "i32[batch, length]", "1"),
    ("\"batch\": 4, \"n\": 4, \"m\": 4", "f32[batch, n, 4, m]", "i64[batch, n, m]", "2"),
];

#[test]
fn classes_lie_where_the_labels_fit() {
    for (dims, scores, labels, axis) in FOUND {
        let inputs = format!("\"x\": \"{scores}\", \"label\": \"{labels}\"");
        for call in CALLS {
            let found = graph(dims, &inputs, &call.replace("{}", ""));
            let named = graph(dims, &inputs, &call.replace("{}", &format!(", axis={axis}")));
            assert!(named.is_ok(), "{scores}, {labels}: {named:?}");
            assert_eq!(found, named, "{call} of {scores} and {labels}");
        }
    }
}

/// Sizes beyond those that are tried one at a time are moved together.
#[test]
fn classes_lie_where_the_labels_fit_among_many_sizes() {
    let many: String = (0..40).map(|n| format!("\"a{n:02}\": 3, ")).collect();
    let dims = format!("{many}\"batch\": 4, \"length\": 4");
    let inputs = "\"x\": \"f32[batch, length, 4]\", \"label\": \"i32[batch, length]\"";
    for call in CALLS {
        let found = graph(&dims, inputs, &call.replace("{}", ""));
        assert!(found.is_ok(), "{call}: {found:?}");
        assert_eq!(found, graph(&dims, inputs, &call.replace("{}", ", axis=2")), "{call}");
    }
}

/// Where two axes fit by symbols as well, the axis is asked for; either can be named.
#[test]
fn two_axes_that_fit_must_be_told_apart() {
    for (dims, scores, labels) in [
        ("", "f32[7, 4, 4]", "i32[7, 4]"),
        ("\"n\": 4", "f32[batch, n, n]", "i32[batch, n]"),
        ("\"n\": 4", "f32[batch, 4, 4, n]", "i32[batch, 4, n]"),
    ] {
        let inputs = format!("\"x\": \"{scores}\", \"label\": \"{labels}\"");
        for call in CALLS {
            let found = mistakes(&model(dims, &inputs, &call.replace("{}", "")));
            assert!(found.contains("with classes along axis 1 or 2"), "{call} of {scores}: {found}");
            assert!(found.contains("say which one: `axis=1`"), "{found}");
            let [first, second] =
                ["1", "2"].map(|axis| graph(dims, &inputs, &call.replace("{}", &format!(", axis={axis}"))));
            assert!(first.is_ok() && second.is_ok() && first != second, "{call} of {scores}: {first:?}");
        }
    }
    let probabilities = "\"x\": \"f32[batch, 3, 4]\", \"label\": \"f32[batch, 3, 4]\"";
    let found = mistakes(&model("", probabilities, "cross_entropy(x, label)"));
    assert!(found.contains("do not say along which axis"), "{found}");
}

#[test]
fn labels_that_fit_nowhere_are_refused() {
    for (scores, labels) in [
        ("f32[7, 4]", "i32[4]"),
        ("f32[7, 4]", "f32[7]"),
        ("f32[7, 4, 5]", "i32[7, 6]"),
        ("f32[7, 4]", "i32[7, 1]"),
        ("f32[]", "i32[]"),
    ] {
        let inputs = format!("\"x\": \"{scores}\", \"label\": \"{labels}\"");
        for call in CALLS {
            let found = mistakes(&model("", &inputs, &call.replace("{}", "")));
            assert!(!found.is_empty(), "{call} of {scores} and {labels}");
        }
    }
    let inputs = "\"x\": \"f32[7, 4]\", \"label\": \"i32[7]\"";
    let found = mistakes(&model("", inputs, "cross_entropy(x, label, axis=0)"));
    assert!(found.contains("without axis 0"), "{found}");
    let found = mistakes(&model("", &inputs.replace("i32", "u8"), "nll(x, label, ignore_index=-100)"));
    assert!(found.contains("-100 does not fit into u8"), "{found}");
}

/// Losses, metrics and the evaluation of a model that trains.
#[test]
fn training_decides_by_symbols_too() {
    let text = "Model(
        dims: { \"batch\": 5, \"length\": 6 },
        inputs: { \"x\": \"i32[batch, length]\", \"label\": \"i32[batch, length]\" },
        body: [Embedding(6, 4), Linear(6), As(\"logits\")],
        entries: { \"train\": Train(
            loss: \"cross_entropy(logits, label)\", optimizer: Sgd(lr: 0.1),
            metrics: { \"accuracy\": \"accuracy(logits, label)\", \"second\": \"top_k_accuracy(logits, label, 2)\" },
        ) },
    )";
    assert_eq!(mistakes(text), "");
    // Outside of 6 by chance the same axis is found without other sizes.
    assert_eq!(mistakes(&text.replace("\"length\": 6", "\"length\": 7")), "");
}
