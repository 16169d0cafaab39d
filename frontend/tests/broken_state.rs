//! Mistakes of states, updates, derivatives, functions of one's own and steps that are used again, each with its exact diagnostics.

use crate::broken::table;

/// A model of two numbers for each sample, with these fields, whose body is given.
fn model(fields: &str, steps: &str) -> String {
    format!(
        "Model({fields}
    inputs: {{ \"x\": \"f32[batch, 2]\", \"label\": \"i32[batch]\" }},
    body: [
        Parameter(name: \"w\", dims: [2]), Ref(\"x\"),
        {steps},
    ],
    entries: {{ \"infer\": Infer(outputs: {{ \"y\": \"it\" }}) }},
)"
    )
}

fn body(steps: &str) -> String {
    model("", steps)
}

/// A model with states `s`, `f32[2]`, and `n`, `i64[]`, whose training entry has these steps.
fn steps(steps: &str) -> String {
    body("State(name: \"s\", type: \"f32[2]\"), State(name: \"n\", type: \"i64[]\"), Ref(\"x\")")
        .replace("Infer(outputs: { \"y\": \"it\" })", &format!("Entry(steps: [\n        {steps},\n    ])"))
}

#[test]
fn states() {
    let cases = [
        ("without a name", body("State(type: \"f32[2]\")")),
        ("without a type", body("State(name: \"s\")")),
        ("the size of a batch", body("State(name: \"s\", type: \"f32[batch, 2]\")")),
        ("a negative size", body("State(name: \"s\", type: \"f32[-1]\")")),
        ("no element type", body("State(name: \"s\", type: \"float[2]\")")),
        ("drawn whole numbers", body("State(name: \"s\", type: \"i64[2]\", init: Normal(std: 1))")),
        ("a name that there is", body("State(name: \"w\", type: \"f32[2]\")")),
        ("a name of training", body("State(name: \"step\", type: \"i64[]\")")),
    ];
    insta::assert_snapshot!(table(&cases));
}

#[test]
fn updates() {
    let cases = [
        ("no state of that name", steps("Update({ \"t\": \"it\" })")),
        ("no state of that pattern", steps("Update({ \"t.*\": \"it\" })")),
        ("two stars", steps("Update({ \"*.*\": \"it\" })")),
        ("twice in one step", steps("Update({ \"s\": \"it\", \"s*\": \"2 * it\" })")),
        ("another shape", steps("Update({ \"s\": \"sum(it)\" })")),
        ("another element type", steps("Update({ \"n\": \"it + 0.5\" })")),
        ("a text", steps("Update({ \"s\": \"'zeros'\" })")),
        ("a star without a pattern", steps("Update({ \"s\": \"parameter('*')\" })")),
        ("a value that is missing", steps("Update(\"s\")")),
        ("two values", steps("Update({ \"s\": \"it\" }, \"it\")")),
        ("no action", steps("Relu")),
        ("what an update does not see", steps("Update({ \"s\": \"it + z\" })")),
        ("in a loop", body("Scan(times: 2, body: [Update({ \"w\": \"it\" })])")),
        (
            "between loss and training",
            body("Let(\"y\", \"x @ w\"), Update({ \"w\": \"0.5 * it\" })").replace(
                "Infer(outputs: { \"y\": \"it\" })",
                "Train(loss: \"mean(y)\", optimizer: Sgd(lr: 1))",
            ),
        ),
    ];
    insta::assert_snapshot!(table(&cases));
}

#[test]
fn derivatives() {
    let cases = [
        ("of what is no number", body("Expr(\"grad(x, x)\")")),
        ("of whole numbers", body("Expr(\"grad(sum(label), x)\")")),
        ("by whole numbers", body("Expr(\"grad(sum(x), label)\")")),
        ("by what it does not depend on", body("Expr(\"grad(sum(x), w)\")")),
        (
            "by a value that is computed behind",
            body("Let(\"y\", \"sum(x)\"), Let(\"z\", \"2 * x\"), Expr(\"grad(y, z)\")"),
        ),
        ("by a number", body("Expr(\"grad(sum(x), 3)\")")),
        ("a direction of another shape", body("Expr(\"jvp(sum(x), x, w)\")")),
        ("a direction of whole numbers", body("Expr(\"jvp(sum(x * w), w, [1, 2])\")")),
        ("a direction that is missing", body("Expr(\"jvp(sum(x), x)\")")),
    ];
    insta::assert_snapshot!(table(&cases));
}

#[test]
fn functions() {
    let with = |functions: &str, steps: &str| model(&format!("\n    functions: {{ {functions} }},"), steps);
    let twice = "\"twice(a)\": \"2 * a\"";
    let cases = [
        ("arguments without names", with("\"f(2)\": \"3\"", "Relu")),
        ("no brackets", with("\"f\": \"3\"", "Relu")),
        ("one argument twice", with("\"f(a, a)\": \"a\"", "Relu")),
        ("an argument that it does not use", with("\"f(a)\": \"3\"", "Relu")),
        ("a function of the language", with("\"relu(a)\": \"a\"", "Relu")),
        ("two of one name", with("\"f(a)\": \"a\", \"f(b)\": \"b\"", "Relu")),
        ("an argument with a meaning of its own", with("\"f(it)\": \"it\"", "Relu")),
        ("an argument too many", with(twice, "Expr(\"twice(x, x)\")")),
        ("an argument that is missing", with("\"f(a, b)\": \"a + b\"", "Expr(\"f(x)\")")),
        ("no argument of that name", with(twice, "Expr(\"twice(b=x)\")")),
        ("a mistake in its expression", with("\"f(a)\": \"a @ a\"", "Expr(\"f(x)\")")),
        ("the current value", with("\"f(a)\": \"a * it\"", "Expr(\"f(x)\")")),
        (
            "a name of the place of the call",
            with("\"f(a)\": \"a * k\"", "Scan(times: 2, body: [Let(\"k\", \"2 * x\"), Expr(\"f(k)\")])"),
        ),
        ("it never ends", with("\"f(a)\": \"f(a)\"", "Expr(\"f(x)\")")),
        ("nearly its name", with(twice, "Expr(\"twise(x)\")")),
        ("not called", with(twice, "Expr(\"twice\")")),
    ];
    insta::assert_snapshot!(table(&cases));
}

#[test]
fn steps_that_are_used_again() {
    let head = "Head(name: \"head\", of: \"x\")";
    let with = |steps: &str| {
        model(
            "\n    blocks: { \"Head\": Block(parameters: { \"of\": Required }, body: [Expr(\"of * w\")]) },",
            &format!("{head}, {steps}"),
        )
    };
    let cases = [
        ("no argument of that name", with("Reuse(name: \"head\", set: { \"off\": 0 })")),
        ("a value that is unknown", with("Reuse(name: \"head\", set: { \"of\": \"z\" })")),
        ("no arguments", with("Sequential(name: \"s\", body: [Relu]), Reuse(name: \"s\", set: { \"k\": 1 })")),
        ("an argument of another kind", with("Dropout(name: \"d\"), Reuse(name: \"d\", set: { \"p\": 2 })")),
        ("no map", with("Reuse(name: \"head\", set: 3)")),
        (
            "it takes the state of a loop that has ended",
            with("Scan(times: 2, name: \"l\", body: [Carry(\"h\", \"zeros([batch, 2])\"), GruCell(name: \"c\", features: 2, state: \"prev.h\"), As(\"h\")]),
        Scan(times: 2, body: [Carry(\"h\", \"zeros([batch, 2])\"), Ref(\"x\"), Reuse(\"l.c\"), As(\"h\")])"),
        ),
    ];
    insta::assert_snapshot!(table(&cases));
}

/// Classes that lie along one of two axes are asked for.
#[test]
fn labels_that_fit_two_axes() {
    let text = "Model(
    inputs: { \"x\": \"f32[batch, 5, 5]\", \"label\": \"i32[batch, 5]\" },
    body: [],
    entries: { \"infer\": Infer(outputs: { \"y\": \"cross_entropy(x, label)\" }) },
)";
    insta::assert_snapshot!(table(&[("two axes of five", text.to_owned())]));
}
