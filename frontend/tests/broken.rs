//! Broken models, each with its exact diagnostics. `INSTA_UPDATE=always cargo test -p brolga-frontend` rewrites the
//! snapshots.

use std::fmt::Write;

use brolga_frontend::{Model, Settings, no_imports};

/// What is reported for a model, or its settings.
fn report(text: &str, settings: &Settings) -> String {
    let result = Model::parse("model.ron", text, &no_imports).and_then(|model| model.instantiate(settings));
    match result {
        Ok(_) => "no mistake found".into(),
        Err(diagnostics) => diagnostics.to_string(),
    }
}

/// A model whose body is given.
fn body(steps: &str) -> String {
    format!(
        "Model(
    inputs: {{ \"x\": \"f32[batch, 3, 8, 8]\", \"label\": \"i32[batch]\" }},
    body: [{steps}],
    entries: {{ \"infer\": Infer(outputs: {{ \"y\": \"it\" }}) }},
)"
    )
}

/// A classifier whose training entry is given.
fn train(arguments: &str) -> String {
    format!(
        "Model(
    inputs: {{ \"x\": \"f32[batch, 8]\", \"label\": \"i32[batch]\" }},
    body: [Linear(name: \"fc\", features: 4), As(\"logits\")],
    entries: {{ \"train\": Train({arguments}) }},
)"
    )
}

/// What is reported for each of these models, one behind the other.
pub fn table(cases: &[(&str, String)]) -> String {
    let mut table = String::new();
    for (name, text) in cases {
        let report = report(text, &Settings::default());
        assert_ne!(report, "no mistake found", "{name}");
        let _ = write!(table, "==== {name}\n{report}\n\n");
    }
    table
}

#[test]
fn syntax() {
    let cases = [
        ("empty", String::new()),
        ("not a model", "Graph(body: [])".into()),
        ("truncated", "Model(inputs: {\"x\": \"f32[1]\"}, body: [Relu, ".into()),
        ("unclosed string", "Model(inputs: {\"x: \"f32[1]\"}, body: [Relu])".into()),
        ("missing comma", body("Relu Tanh")),
        ("missing colon", body("Linear(features 3)")),
        ("text after the end", format!("{} Relu", body("Relu"))),
        ("unclosed comment", "/* Model()".into()),
        ("bad escape", body("As(\"a\\q\")")),
        ("single quotes", body("As('a')")),
        ("mixed arguments", body("Linear(name: \"fc\", 3)")),
        ("number out of range", body("Linear(features: 99999999999999999999)")),
        ("not a number", body("Linear(features: 12ab)")),
        ("stray symbol", body("$")),
        ("an expression without quotes", body("Linear(features: 2 * n)")),
        ("a name without quotes", body("Linear(features: n), As(x), Linear(features: max(n, 2))")),
        ("Python's truth values", body("Linear(features: 3, bias: True)")),
        ("Python's comment", body("Relu, # as in the paper\n        Tanh")),
        ("lost closing quote", body("Linear(name: \"fc, features: 3),\n        As(\"y\"), Tanh")),
        ("lost closing quote at the end", body("As(\"y), Tanh")),
    ];
    insta::assert_snapshot!(table(&cases));
}

#[test]
fn deep_nesting() {
    let text = body(&format!("{}Relu{}", "Residual([".repeat(50_000), "])".repeat(50_000)));
    let report = report(&text, &Settings::default());
    assert!(report.contains("values are nested more than 64 deep"), "{}", &report[..report.len().min(2000)]);
    for deep in [
        format!("{}1{}", "(".repeat(50_000), ")".repeat(50_000)),
        format!("{}1", "-".repeat(300)),
        format!("{}1", "not ".repeat(300)),
        format!("1{}", " ** 1".repeat(300)),
        format!("[1]{}", "[0]".repeat(300)),
        format!("{}1{}", "abs(".repeat(300), ")".repeat(300)),
        format!("1{}", " if true else 1".repeat(300)),
    ] {
        let report = report_start(&body(&format!("Let(\"a\", \"{deep}\")")));
        assert!(report.contains("more than 256 operators and brackets inside one another"), "{report}");
    }
    let text = body(&format!("Let(\"a\", \"1{}\")", " + 1".repeat(50_000)));
    let report = report_start(&text);
    assert!(report.contains("more than 10000 operators and brackets"), "{report}");
}

fn report_start(text: &str) -> String {
    report(text, &Settings::default()).chars().take(2000).collect()
}

#[test]
fn bytes() {
    let error = Model::parse_bytes("model.ron", b"Model(\n  inputs: {\"\xff\"})", &no_imports)
        .expect_err("bad UTF-8");
    insta::assert_snapshot!(error.to_string());
}

#[test]
fn form() {
    let cases = [
        ("unknown layer", body("Conv2D(features: 3, kernel: 3)")),
        ("reserved layer", body("While(body: [])")),
        ("unknown argument", body("Conv2d(feature: 3, kernel: 3)")),
        ("missing arguments", body("Conv2d(stride: 2)")),
        ("argument given twice", body("Linear(features: 3, features: 4)")),
        ("too many arguments", body("MaxPool2d(2, 2, 0, 1, false, 1)")),
        ("arguments for a layer without any", body("Relu6(3)")),
        ("layer in place of a list", body("Residual(Relu)")),
        ("number in place of a layer", body("Relu, 3")),
        ("unknown initialiser", body("Linear(features: 3, init: HeNormale)")),
        ("unknown field", body("Relu").replace("body:", "bodies:")),
        ("missing field", "Model(body: [Relu], entries: {})".into()),
        ("no entries", "Model(inputs: {\"x\": \"f32[1]\"}, body: [Relu], entries: {})".into()),
        ("nothing to begin with", "Model(body: [Relu], entries: {\"infer\": Infer(outputs: {})})".into()),
        ("unknown element type", body("Relu").replace("f32", "float32")),
        ("type without brackets", body("Relu").replace("\"i32[batch]\"", "\"i32(batch)\"")),
        ("unknown entry", body("Relu").replace("Infer", "Inference")),
        ("entry named init", body("Relu").replace("\"infer\"", "\"init\"")),
        ("input defined twice", body("Relu").replace("\"label\"", "\"x\"")),
        ("unknown optimizer", train("loss: \"cross_entropy(logits, label)\", optimizer: Adem(lr: 0.1)")),
        (
            "optimizer argument",
            train("loss: \"cross_entropy(logits, label)\", optimizer: Sgd(lr: 0.1, beta1: 0.9)"),
        ),
        (
            "unknown schedule",
            train("loss: \"cross_entropy(logits, label)\", optimizer: Sgd(lr: Cosinus(initial: 1))"),
        ),
        ("unknown clipping", train("loss: \"mean(logits)\", optimizer: Sgd(lr: 1), clip: Norm(1)")),
        (
            "metric named loss",
            train("loss: \"mean(logits)\", optimizer: Sgd(lr: 1), metrics: {\"loss\": \"1\"}"),
        ),
        ("missing import", body("Import(model: \"resnet\")")),
        (
            "variant of unknown parameter",
            body("Relu")
                .replace("body:", "parameters: {\"width\": 1}, variants: {\"a\": {\"widht\": 2}}, body:"),
        ),
        (
            "block named as a layer",
            body("Relu").replace("body: [Relu]", "blocks: {\"Relu\": Block(body: [Tanh])}, body: [Relu]"),
        ),
    ];
    insta::assert_snapshot!(table(&cases));
}

#[test]
fn expressions() {
    let cases = [
        ("unknown name", body("Linear(features: \"widht * 2\")")),
        ("operator missing", body("Linear(features: \"2 3\")")),
        ("ends early", body("Linear(features: \"2 *\")")),
        ("unclosed bracket", body("Linear(features: \"(2 + 3\")")),
        ("single equals", body("If(\"1 = 1\", [Relu])")),
        ("unknown character", body("Linear(features: \"2 $ 3\")")),
        ("division by zero", body("Linear(features: \"8 // 0\")")),
        ("overflow", body("Linear(features: \"2 ** 80\")")),
        ("not a whole number", body("Linear(features: \"7 / 2\")")),
        ("negative size", body("Linear(features: -3)")),
        ("size of 1e30", body("Linear(features: 1e30)")),
        ("NaN", body("Dropout(NaN)")),
        ("condition is a number", body("If(\"3\", [Relu])")),
        ("index outside", body("Let(\"a\", \"[1, 2][5]\")")),
        ("unknown function", body("Expr(\"rleu(it)\")")),
        ("function without call", body("Expr(\"relu\")")),
        ("unknown function argument", body("Expr(\"softmax(it, axes=1)\")")),
        ("function argument missing", body("Expr(\"cross_entropy(it)\")")),
        ("template not closed", body("Linear(name: \"fc{1\", features: 2)")),
        ("place behind an escape", body("Let(\"a\", \"1 +\\n\\t widht\")")),
        ("list too long", body("For(each: \"i\", within: \"range(10**9)\", body: [Relu])")),
        ("mixed operands", body("Let(\"a\", \"'text' + 1\")")),
    ];
    insta::assert_snapshot!(table(&cases));
}

#[test]
fn names() {
    let cases = [
        ("reference to nothing", body("Conv2d(name: \"conv1\", features: 3, kernel: 3), Ref(\"conv\")")),
        ("name defined twice", body("As(\"a\"), Relu, As(\"a\")")),
        (
            "layer named twice",
            body("Conv2d(name: \"c\", features: 3, kernel: 1), Conv2d(name: \"c\", features: 3, kernel: 1)"),
        ),
        ("layer named twice by repetition", body("Repeat(2, [Conv2d(name: \"c\", features: 3, kernel: 1)])")),
        ("reuse of nothing", body("Conv2d(name: \"c\", features: 3, kernel: 1), Reuse(\"d\")")),
        ("name with a space", body("Conv2d(name: \"a b\", features: 3, kernel: 1)")),
        (
            "block without its parameter",
            body("B()").replace(
                "body: [B",
                "blocks: {\"B\": Block(parameters: {\"n\": Required}, body: [Relu])}, body: [B",
            ),
        ),
        (
            "unknown block parameter",
            body("B(m: 1)").replace(
                "body: [B",
                "blocks: {\"B\": Block(parameters: {\"n\": 1}, body: [Relu])}, body: [B",
            ),
        ),
        (
            "cyclic blocks",
            body("B")
                .replace("body: [B", "blocks: {\"B\": Block(body: [C]), \"C\": Block(body: [B])}, body: [B"),
        ),
        ("endless repetition", body("Repeat(1000000000000, [])")),
        ("unbound size", body("Relu").replace("[batch, 3", "[batch, channels")),
        (
            "no such parameter group",
            train("loss: \"mean(logits)\", optimizer: Sgd(lr: 1), groups: [Group(of: \"conv*\", lr: 0)]"),
        ),
        (
            "everything frozen",
            train("loss: \"mean(logits)\", optimizer: Sgd(lr: 1), groups: [Group(of: \"*\", frozen: true)]"),
        ),
        ("learning rate missing", train("loss: \"mean(logits)\", optimizer: Sgd()")),
        ("momentum out of range", train("loss: \"mean(logits)\", optimizer: Sgd(lr: 1, momentum: 2)")),
        ("clipping to nothing", train("loss: \"mean(logits)\", optimizer: Sgd(lr: 1), clip: ClipNorm(0)")),
        ("loss is no number", train("loss: \"logits\", optimizer: Sgd(lr: 1)")),
    ];
    insta::assert_snapshot!(table(&cases));
}

#[test]
fn shapes() {
    let cases = [
        ("kernel larger than the image", body("Conv2d(name: \"conv1\", features: 4, kernel: 11)")),
        ("pooling below one", body("MaxPool2d(2), MaxPool2d(2), MaxPool2d(2), MaxPool2d(2)")),
        ("groups", body("Conv2d(features: 4, kernel: 3, groups: 2)")),
        ("image in place of a vector", body("Flatten, Conv2d(features: 4, kernel: 3)")),
        ("branches of different shapes", body("Residual([Conv2d(features: 4, kernel: 3)])")),
        ("concatenation", body("Concat([[], [MaxPool2d(2)]])")),
        ("integers into a layer", body("Ref(\"label\"), Expr(\"reshape(it, [batch, 1])\"), Linear(3)")),
        ("attention of an image", body("MultiHeadAttention(2)")),
        ("heads", body("Flatten(2), MultiHeadAttention(5)")),
        ("keys and values", body("Flatten(2), Expr(\"attention(it, it[:, :1], it[:, 1:])\")")),
        ("a mask that does not fit", body("Flatten(2), Expr(\"attention(it, it, it, mask=it > 0)\")")),
        ("embedding of floats", body("Embedding(vocabulary: 10, features: 4)")),
        ("elementwise", body("Expr(\"it + reshape(float(label), [batch, 1])\")")),
        ("matrix product", body("Flatten, Expr(\"it @ it\")")),
        ("reshape", body("Reshape([-1, 7])")),
        ("axis", body("Softmax(axis: 4)")),
        ("index outside of an axis", body("Expr(\"it[:, 3]\")")),
        ("padding list", body("Pad([1, 1])")),
        ("shared layer of another shape", body("Linear(name: \"fc\", features: 4), Reuse(\"fc\")")),
        (
            "labels that are floats",
            train("loss: \"cross_entropy(logits, label)\", optimizer: Sgd(lr: 1)").replace("i32", "f32"),
        ),
        ("a label of -1", train("loss: \"cross_entropy(logits, [-1] * batch)\", optimizer: Sgd(lr: 1)")),
        (
            "labels that are floats, and no probabilities",
            train("loss: \"nll(logits, label)\", optimizer: Sgd(lr: 1)").replace("i32", "f32"),
        ),
        (
            "labels of another shape",
            train("loss: \"cross_entropy(reshape(logits, [batch, 2, 2]), label)\", optimizer: Sgd(lr: 1)"),
        ),
        ("huge tensor", body("Linear(features: 1000000000000)")),
        ("huge input", body("Relu").replace("[batch, 3", "[batch, 1000000000000")),
        (
            "normalisation of one value",
            body("GlobalAvgPool, BatchNorm")
                .replace("Infer(outputs", "Entry(steps: [], outputs")
                .replace("[batch, 3", "[1, 3"),
        ),
        (
            "several at once",
            body(
                "Conv2d(features: 4, kernel: 11), Linear(features: 0), Relu, Exprr(\"it\"), Dropout(2), As(\"a\"), As(\"a\")",
            ),
        ),
    ];
    insta::assert_snapshot!(table(&cases));
}

#[test]
fn settings() {
    let text = body("Linear(features: \"width\")").replace(
        "body:",
        "parameters: {\"width\": 4, \"act\": \"relu\"}, variants: {\"wide\": {\"width\": 8}}, body:",
    );
    let cases = [
        ("unknown variant", Settings::variant("wied")),
        ("unknown parameter", Settings::default().with("widht", "2")),
        ("wrong kind of value", Settings::default().with("width", "wide")),
        ("unknown size", Settings::default().dim("batches", 2)),
        ("size too large", Settings::default().dim("batch", 1 << 50)),
    ];
    let mut table = String::new();
    for (name, settings) in cases {
        let _ = write!(table, "==== {name}\n{}\n\n", report(&text, &settings));
    }
    let both = report(&text.replace("\"it\"", "\"itt\""), &Settings::default().with("widht", "2"));
    let _ = write!(table, "==== an unknown parameter, and a mistake in the model\n{both}\n\n");
    insta::assert_snapshot!(table);
}

#[test]
fn imports() {
    let files = |name: &str, _: &str| -> Result<(String, String), String> {
        match name {
            "self" => Ok(("self".into(), body("Import(model: \"self\")"))),
            "good" => Ok(("good".into(), body("Conv2d(name: \"stem\", features: 4, kernel: 3), Relu"))),
            "broken" => Ok(("broken".into(), body("Rleu"))),
            _ => Err("no such file".into()),
        }
    };
    let mut table = String::new();
    for steps in [
        "Import(model: \"other\")",
        "Import(model: \"self\")",
        "Import(model: \"broken\")",
        "Import(model: \"good\", variant: \"large\")",
        "Import(model: \"good\", set: {\"width\": 2})",
        "Import(model: \"good\", until: \"layer4\")",
        "Import(model: \"good\"), Import(model: \"good\")",
    ] {
        let result = Model::parse("model.ron", &body(steps), &files)
            .and_then(|model| model.instantiate(&Settings::default()));
        let _ = write!(table, "==== {steps}\n{}\n\n", result.expect_err("a mistake"));
    }
    insta::assert_snapshot!(table);
}
