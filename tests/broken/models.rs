//! Broken models and settings.

use super::{Row, row};

/// A classifier of four numbers in RON.
fn model() -> String {
    r#"Model(
    inputs: { "x": "f32[batch, 4]", "label": "i32[batch]" },
    body: [Linear(name: "fc", features: 3), As("logits")],
    entries: {
        "infer": Infer(outputs: { "y": "softmax(logits)" }),
        "train": Train(loss: "cross_entropy(logits, label)", optimizer: Sgd(lr: 0.1)),
    },
)
"#
    .to_owned()
}

/// `brolga check` of a model.
fn check(name: &'static str, text: impl Into<Vec<u8>>) -> Row {
    row(name, "check net.ron", vec![("net.ron", text.into())])
}

/// The model with something in it exchanged.
fn with(name: &'static str, from: &str, to: &str) -> Row {
    let good = model();
    assert!(good.contains(from), "{from}");
    check(name, good.replace(from, to))
}

/// The model, and a command on it.
fn on(name: &'static str, arguments: &str) -> Row {
    row(name, arguments, vec![("net.ron", model().into())])
}

pub fn rows() -> Vec<Row> {
    let body = r#"[Linear(name: "fc", features: 3), As("logits")]"#;
    let good = model();
    let nested = |open: &str, close: &str| format!("{}Relu{}", open.repeat(100_000), close.repeat(100_000));
    vec![
        check("empty file", ""),
        check("white space and a comment only", "  \n// nothing\n"),
        check("truncated in the middle", &good.as_bytes()[..good.len() / 2]),
        check("null bytes", vec![0; 100]),
        check("not UTF-8", [good.as_bytes(), b"\xff\xfe"].concat()),
        with("control characters in a name", "fc", "\u{1}\u{2}"),
        check("a byte order mark of UTF-16", b"\xff\xfeM\0o\0d\0e\0l\0".to_vec()),
        check("JSON in place of RON", r#"{"inputs": {"x": "f32[1]"}}"#),
        with("lists nested 100,000 deep", body, &format!("[{}]", nested("Residual([", "])"))),
        with(
            "brackets nested 100,000 deep in an expression",
            "features: 3",
            &format!("features: \"{}1{}\"", "(".repeat(100_000), ")".repeat(100_000)),
        ),
        with("100,000 minus signs", "features: 3", &format!("features: \"{}1\"", "-".repeat(100_000))),
        with("comments nested 100,000 deep", body, &format!("{}{body}", "/*".repeat(100_000))),
        with("a layer of 10^12 units", "features: 3", "features: 1000000000000"),
        with("a layer of 10^30 units", "features: 3", "features: 1e30"),
        with("a size that is not a number", "features: 3", "features: NaN"),
        with("an infinite size", "features: 3", "features: \"10 ** 400\""),
        with("a size of minus one", "[batch, 4]", "[batch, -1]"),
        with("a million axes", "[batch, 4]", &format!("[batch{}]", ", 1".repeat(1_000_000))),
        with(
            "a batch of 10^18 samples by default",
            "inputs:",
            "dims: { \"batch\": 1000000000000000000 }, inputs:",
        ),
        with(
            "a hundred thousand million layers",
            body,
            "[Repeat(100000, [Repeat(100000, [Relu])]), As(\"logits\")]",
        ),
        with(
            "repetition that doubles thirty times",
            body,
            &format!("[{}Relu{}, As(\"logits\")]", "Repeat(2, [".repeat(30), "])".repeat(30)),
        ),
        with(
            "names that are used twice",
            body,
            r#"[Linear(name: "fc", features: 3), Linear(name: "fc", features: 3), As("logits")]"#,
        ),
        with(
            "a block that contains itself",
            "body:",
            "blocks: { \"B\": Block(body: [B]) }, body: [B], unused:",
        ),
        row(
            "a model that imports itself",
            "check net.ron",
            vec![("net.ron", good.replace(body, "[Import(model: \"net.ron\"), As(\"logits\")]").into())],
        ),
        row(
            "two models that import each other",
            "check a.ron",
            vec![
                ("a.ron", good.replace(body, "[Import(model: \"b.ron\"), As(\"logits\")]").into()),
                ("b.ron", good.replace(body, "[Import(model: \"a.ron\"), As(\"logits\")]").into()),
            ],
        ),
        with("a learning rate that is not a number", "lr: 0.1", "lr: NaN"),
        with("a learning rate of minus infinity", "lr: 0.1", "lr: -inf"),
        with("a loss that no parameter changes", "cross_entropy(logits, label)", "0.0"),
        with("a loss of integers", "cross_entropy(logits, label)", "sum(label)"),
        with("several mistakes at once", "features: 3", "featurs: 3, name: \"a b\", init: HeNormale"),
        row("a folder in place of a file", "check nets.ron", vec![("nets.ron/a", vec![])]),
        on("a variant that is not there", "check net.ron:large"),
        on("an entry point that is not there", "bench net.ron --entry inferr"),
        on("a size of 10^12", "bench net.ron --dim batch=1000000000000"),
        on("a size beyond 64 bits", "bench net.ron --dim batch=100000000000000000000"),
        on("a negative size", "check net.ron --dim batch=-1"),
        on("a size of 0 in training", "train net.ron --data digits --batch 0"),
        on("a parameter that is not there", "check net.ron --set width=2"),
        on("a setting without a value", "check net.ron --set width"),
        on("a hundred million threads", "bench net.ron --threads 100000000"),
        on("an object of an unknown entry point", "build net.ron --entry eval -o net.o"),
        on("an object in a folder that is not there", "build net.ron -o no/net.o"),
    ]
}
