//! What a model may expand to: models just below each limit are built, those beyond it are one mistake, at its place, that says
//! the limit. Building takes its time for these; `brolga check` answers within two seconds for what is below.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use brolga_frontend::{Model, Settings, no_imports};
use brolga_ir::{DType, Tensor, Type};

use crate::common::{build, run};

fn text(body: &str, entry: &str) -> String {
    format!("Model(inputs: {{ \"x\": \"f32[2, 4]\" }}, body: [{body}], entries: {{ \"e\": {entry} }})")
}

const INFER: &str = "Infer(outputs: { \"y\": \"it\" })";

/// The mistakes of a model.
fn mistakes(text: &str) -> String {
    let built = Model::parse("test.ron", text, &no_imports).and_then(|m| m.instantiate(&Settings::default()));
    built.map(|_| String::new()).unwrap_or_else(|diagnostics| diagnostics.to_string())
}

/// A limit: a body and an entry in which `$n` stands for a number, the largest number, the first beyond, and what is said.
const LIMITS: &[(&str, &str, usize, usize, &str)] = &[
    // An iteration is a step, and so is the layer; the repetition itself is one.
    ("Repeat($n, [Identity])", INFER, 9_999, 10_000, "the model has more than 20000 steps"),
    ("Expr(\"it + sum([x * 2] * $n)\")", INFER, 100_000, 100_001, "a list has at most 100000 elements"),
    (
        "Repeat($n, [Expr(\"sin(cos(sin(cos(sin(cos(sin(cos(sin(cos(sin(cos(sin(it)))))))))))))\")])",
        INFER,
        9_200,
        9_300,
        "the model has more than 120000 operators",
    ),
    (
        "Repeat(60, [Expr(\"it + sum([x * 2] * $n)\")])",
        INFER,
        300,
        50_000,
        "the model has more than 120000 operators",
    ),
    (
        "Repeat($n, [Linear(4)])",
        "Train(loss: \"mean(it * it)\", optimizer: Adam(lr: 0.1))",
        500,
        5_000,
        "the model has more than 120000 operators",
    ),
    (
        "Linear(4)",
        "Train(loss: \"mean(it * it)\", optimizer: Sgd(lr: MultiStep(initial: 0.1, at: \"range($n)\")))",
        100_000,
        100_001,
        "a list has at most 100000 elements",
    ),
    // Loops are steps as well, and so is what is in them; each offers its names behind itself.
    (
        "Repeat($n, [Aside([Scan(name: \"l{i}\", times: 2, body: [Carry(\"h\", \"it\"), Let(\"h\", \"prev.h * 2\"), Ref(\"h\")])])])",
        INFER,
        3_333,
        3_334,
        "the model has more than 20000 steps",
    ),
    // Of windows: each argument is a size, what a kernel weighs is a tensor, and an operator has so many terms.
    (
        "Expr(\"reshape(x, [2, 1, 4])\"), Conv1d(1, 3, stride: $n)",
        INFER,
        1 << 40,
        (1 << 40) + 1,
        "`stride` must be a whole number",
    ),
    (
        "Expr(\"reshape(x, [2, 1, 4])\"), Conv1d(1, $n, padding: \"$n // 2\")",
        INFER,
        1 << 38,
        (1 << 38) + 1,
        "is larger than the limit of 2^40 bytes",
    ),
    (
        "Expr(\"reshape(x, [2, 1, 4])\"), Conv1d(1, $n, padding: $n)",
        INFER,
        189_812_528,
        189_812_529,
        "it would combine more than 2^56 terms",
    ),
    (
        "Expr(\"reshape(x, [2, 1, 4])\"), Conv1d(1, 3, dilation: $n, padding: $n)",
        INFER,
        (1 << 39) - 2,
        (1 << 39) - 1,
        "is not from 0 to 2^40",
    ),
    (
        "Expr(\"reshape(x, [2, 1, 2, 2])\"), AvgPool2d([1048576, $n], padding: [524288, \"$n // 2\"])",
        INFER,
        1 << 20,
        (1 << 20) + 2,
        "is not from 0 to 2^40",
    ),
];

#[test]
fn what_is_beyond_a_limit_is_said_at_its_place() {
    for (body, entry, below, beyond, message) in LIMITS {
        let at = |n: usize| text(&body.replace("$n", &n.to_string()), &entry.replace("$n", &n.to_string()));
        assert_eq!(mistakes(&at(*below)), "", "{body}");
        let said = mistakes(&at(*beyond));
        assert!(said.contains(message) && said.contains("test.ron:1:"), "{body}: {said}");
        assert_eq!(said.matches("error:").count(), 1, "{said}");
    }
}

fn operators(text: &str) -> usize {
    build(text).graph("e").expect("an entry").len()
}

/// Operators grow with steps of an entry as with milestones: in proportion, or not at all.
#[test]
fn graphs_are_linear() {
    let minimizes = |n: usize| {
        let step = "Minimize(loss: \"mean(it * it)\", of: \"a.*\", optimizer: Adam(lr: 0.1))";
        let steps = vec![step; n].join(", ");
        operators(&text(
            "Linear(name: \"a\", features: 4)",
            &format!("Entry(mode: \"train\", steps: [{steps}])"),
        ))
    };
    let (few, many) = (minimizes(10), minimizes(80));
    assert!(many <= 8 * few + 100, "{few}, {many}");
    let milestones = |n: usize| {
        let at = format!("MultiStep(initial: 0.1, at: \"range({n})\")");
        let entry = format!("Train(loss: \"mean(it * it)\", optimizer: Sgd(lr: {at}))");
        operators(&text("Linear(4)", &entry))
    };
    assert_eq!(milestones(5), milestones(5000));
    let all = |text: &str| {
        let instance = build(text);
        instance.entries().iter().map(|name| instance.graph(name).expect("an entry").len()).sum::<usize>()
    };
    for (name, body, entries, each) in LISTS {
        if name.contains("mistakes") {
            continue;
        }
        let (few, many) = (all(&listed(body, entries, each, 10)), all(&listed(body, entries, each, 80)));
        assert!(many <= 8 * few + 100, "{name}: {few}, {many}");
    }
}

/// What a model may have many of: a body and entries in which `$list` stands for them, and one of them with its number `$i`.
const LISTS: &[(&str, &str, &str, &str)] = &[
    ("outputs", "Tanh", "\"e\": Infer(outputs: { $list })", "\"y$i\": \"it\""),
    ("entries", "Tanh", "$list", "\"e$i\": Infer(outputs: { \"y\": \"it\" })"),
    (
        "training entries",
        "Linear(4)",
        "$list",
        "\"e$i\": Train(loss: \"mean(it)\", optimizer: Sgd(lr: 0.1), groups: [Group(of: \"*\", lr: 2)])",
    ),
    ("names between layers", "$list", "\"e\": Infer(outputs: { \"y\": \"it\" })", "Identity, As(\"v$i\")"),
    (
        "numbers between layers",
        "$list",
        "\"e\": Infer(outputs: { \"y\": \"it\" })",
        "Identity, Let(\"v$i\", $i)",
    ),
    ("mistakes", "$list", "\"e\": Infer(outputs: { \"y\": \"it\" })", "Identity, As(\"v$i\"), Expr(\"q$i\")"),
];

fn listed(body: &str, entries: &str, each: &str, n: usize) -> String {
    let list: Vec<String> = (0..n).map(|i| each.replace("$i", &i.to_string())).collect();
    let (body, entries) =
        (body.replace("$list", &list.join(", ")), entries.replace("$list", &list.join(", ")));
    format!("Model(inputs: {{ \"x\": \"f32[2, 4]\" }}, body: [{body}], entries: {{ {entries} }})")
}

/// The time that something takes, the least of three times.
fn time(run: impl Fn()) -> Duration {
    let once = |_| {
        let start = Instant::now();
        run();
        start.elapsed()
    };
    (0..3).map(once).min().expect("three times")
}

/// Eight times as much takes eight times as long to build, or to refuse; what grows with the square would take 64 times.
#[test]
fn building_is_linear() {
    for (name, body, entries, each) in LISTS {
        let n = if name.contains("entries") { 50 } else { 500 };
        let taken = |n: usize| {
            let text = listed(body, entries, each, n);
            time(|| assert_eq!(mistakes(&text).is_empty(), !name.contains("mistakes"), "{name}"))
        };
        let (few, many) = (taken(n), taken(8 * n));
        println!("{name}: {n} in {few:?}, {} in {many:?}", 8 * n);
        assert!(many <= 24 * few + Duration::from_millis(100), "{name}: {few:?}, {many:?}");
    }
}

/// Sizes of which nothing follows, or little, are not tried for long; those behind the first 32 are numbers.
#[test]
fn many_sizes_take_little_time() {
    let sizes: Vec<String> = (0..1000).map(|i| format!("\"n{i}\": {}", i + 1)).collect();
    let text = format!(
        "Model(dims: {{ {} }}, inputs: {{ \"x\": \"f32[n1, n40]\" }}, body: [Tanh], entries: {{ \"e\": {INFER} }})",
        sizes.join(", ")
    );
    let model = Model::parse("test.ron", &text, &no_imports).expect("a model");
    let instance = model.instantiate(&Settings::default()).expect("an instance");
    let start = Instant::now();
    assert_eq!(model.symbolic_outputs(&Settings::default(), &instance)[0].dims, ["n1", "41"]);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

fn value(expression: &str, dims: &[usize]) -> Result<Tensor, String> {
    let list: Vec<String> = dims.iter().map(usize::to_string).collect();
    let text = format!(
        "Model(inputs: {{ \"x\": \"f32[{}]\" }}, body: [{expression}], entries: {{ \"e\": {INFER} }})",
        list.join(", ")
    );
    let said = mistakes(&text);
    if !said.is_empty() {
        return Err(said);
    }
    let x =
        Tensor::generate(&Type::new(DType::F64, dims), |i| brolga_ir::scalar::Scalar::F64(i as f64 - 1.0));
    let found = run(build(&text).graph("e").expect("an entry"), &HashMap::from([("x".to_owned(), x)]));
    Ok(found["y"].clone())
}

/// As in PyTorch: no extreme of nothing, but of rows that there are none of; axes from the end; a sum of squares without
/// anything added to it.
#[test]
fn settings_at_the_edge() {
    for (expression, dims) in [
        ("Expr(\"max(x)\")", vec![0]),
        ("Expr(\"min(x, axis=1)\")", vec![2, 0]),
        ("Expr(\"max(x, axis=-1, keepdims=true)\")", vec![2, 0]),
        ("GlobalMaxPool", vec![1, 2, 0]),
    ] {
        let said = value(expression, &dims).expect_err(expression);
        assert!(said.contains("without elements"), "{expression}: {said}");
    }
    assert_eq!(value("Expr(\"max(x, axis=1)\")", &[0, 3]).unwrap().dims(), [0]);
    assert_eq!(value("Flatten(-1)", &[2, 3, 4]).unwrap().dims(), [2, 3, 4]);
    assert_eq!(value("Flatten(-2)", &[2, 3, 4]).unwrap().dims(), [2, 12]);
    assert!(value("Flatten(-4)", &[2, 3, 4]).unwrap_err().contains("there is no axis -4"));
    // x / (k + alpha / size x^2)^beta with k = 0.
    let found = value("LocalResponseNorm(size: 1, k: 0, alpha: 1, beta: 0.5)", &[1, 3, 2]).unwrap();
    assert_eq!((found.get(0).to_f64(), found.get(2).to_f64()), (-1.0, 1.0));
}
