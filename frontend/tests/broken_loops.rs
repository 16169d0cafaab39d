//! Broken loops, each with its exact diagnostics.

use crate::broken::table;

/// A model with a series of steps, whose body is given.
fn body(steps: &str) -> String {
    format!(
        "Model(
    inputs: {{ \"x\": \"f32[4, 5, 3]\", \"y\": \"f32[4, 6, 3]\", \"length\": \"i32[4]\" }},
    body: [{steps}],
    entries: {{ \"infer\": Infer(outputs: {{ \"out\": \"it\" }}) }},
)"
    )
}

/// A loop whose fields and body are given, then other steps.
fn scan(fields: &str, steps: &str, behind: &str) -> String {
    let behind = if behind.is_empty() { String::new() } else { format!(" {behind}") };
    body(&format!("\n        Scan({fields} body: [\n            {steps},\n        ]),{behind}\n    "))
}

const SUM: &str = "Carry(\"h\", \"zeros([4, 3])\"), Let(\"h\", \"prev.h + it\"), Ref(\"h\")";

#[test]
fn carries() {
    let cases = [
        ("another type", scan("", "Carry(\"h\", \"zeros([4])\"), Let(\"h\", \"prev.h[:, none] + it\")", "")),
        ("another element type", scan("", "Carry(\"n\", 0), Let(\"n\", \"prev.n + 0.5\")", "")),
        ("a number that is none of its type", scan("", "Carry(\"n\", 0), Let(\"n\", 0.5)", "")),
        ("a text", scan("", "Carry(\"n\", 0), Let(\"n\", \"'a'\")", "")),
        ("never named", scan("", "Carry(\"h\", \"zeros([4, 3])\"), Expr(\"prev.h + it\")", "")),
        ("named twice", scan("", "Carry(\"h\", \"zeros([4, 3])\"), As(\"h\"), Tanh, As(\"h\")", "")),
        (
            "named in a repetition",
            scan("", "Carry(\"h\", \"zeros([4, 3])\"), Repeat(2, [Tanh, As(\"h\")])", ""),
        ),
        ("declared twice", scan("", &format!("{SUM}, Carry(\"h\", 0)"), "")),
        ("a name that there is", scan("over: { \"h\": \"x\" },", "Carry(\"h\", 0)", "")),
        ("read before it is named", scan("", "Carry(\"h\", \"it * 0\"), Expr(\"h + it\"), As(\"h\")", "")),
        (
            "an outer one is not meant",
            body("As(\"h\"), Scan(body: [Carry(\"h\", 0.0), Let(\"h\", \"prev.h + sum(h)\")])"),
        ),
        ("the start depends on a step", scan("", "Carry(\"h\", \"0 * it\"), As(\"h\")", "")),
        ("the start is a text", scan("", "Carry(\"h\", \"'zeros'\"), As(\"h\")", "")),
        ("no loop around", body("Carry(\"h\", 0), As(\"h\")")),
        ("no carry of that name", scan("", &SUM.replace("prev.h", "prev.g"), "")),
        (
            "the start is a mistake",
            scan("name: \"l\",", &SUM.replace("zeros", "zeroes"), "Expr(\"l.last.h\")"),
        ),
    ];
    insta::assert_snapshot!(table(&cases));
}

/// A loop whose carry `h`, `f32[4, 3]`, is kept for these rows; then other steps.
fn kept_then(rows: &str, behind: &str) -> String {
    scan("name: \"l\",", &format!("{}, Let(\"h\", \"prev.h + it\"), Ref(\"h\")", keeps(rows)), behind)
}

fn kept(rows: &str) -> String {
    kept_then(rows, "")
}

fn keeps(rows: &str) -> String {
    format!("Carry(name: \"h\", start: \"zeros([4, 3])\", kept: {rows})")
}

#[test]
fn kept_carries() {
    let again = "Let(\"h\", \"prev.h + it\"), Ref(\"h\")";
    let unnamed = |rows: &str| format!("Scan(body: [{}, {again}])", keeps(rows));
    let cases = [
        ("a number", kept("1")),
        ("a number for each row", kept("\"length\"")),
        ("other rows", kept("\"y[0, :, 0] > 0\"")),
        ("more than rows", kept("\"x[:, 0] > 0\"")),
        (
            "rows of a number",
            scan("", "Carry(name: \"n\", start: 0, kept: \"length > 0\"), Let(\"n\", \"prev.n + 1\")", ""),
        ),
        ("it depends on a step", kept("\"it[:, 0] > 0\"")),
        ("an unknown name, said once", kept("\"longer > 0\"")),
        (
            "the start depends on a step",
            scan("", "Carry(name: \"h\", start: \"0 * it\", kept: true), As(\"h\")", ""),
        ),
        ("another type", scan("", &format!("{}, Let(\"h\", \"sum(prev.h)\")", keeps("true")), "")),
        ("a loop in a loop", scan("", &unnamed("true").replace("body:", "times: 2, body:"), "")),
        ("two loops without names", body(&format!("{}, {}", unnamed("true"), unnamed("\"length > 0\"")))),
        ("a loop that is run again", kept_then("true", "Reuse(\"l\")")),
        ("no loop around", body(&keeps("true"))),
    ];
    insta::assert_snapshot!(table(&cases));
}

/// The rows of a start that does not fit are those of the batch; what a loop that failed would name is not missed.
#[test]
fn carries_of_a_batch() {
    let batch = |text: String| text.replace("f32[4, 5, 3]", "f32[batch, 5, 3]");
    let cases = [
        ("another type", batch(scan("", "Carry(\"h\", 0.0), Let(\"h\", \"prev.h + it\")", ""))),
        (
            "a layer that fails",
            body("Lstm(name: \"l\", features: 4, lengths: \"x\"), Let(\"h\", \"l.last.h\"), Linear(3)"),
        ),
        ("a name that is seen nowhere", scan("times: 3, index: \"it\",", "Tanh", "")),
        ("a value under such a name", body("Let(\"pi\", 3), Tanh")),
    ];
    insta::assert_snapshot!(table(&cases));
}

#[test]
fn what_they_go_over() {
    let cases = [
        ("no such axis", body("Expr(\"x[:, 0, 0]\"), Scan(body: [Tanh])")),
        ("an axis that is no number", scan("axis: \"'time'\",", "Tanh", "")),
        ("sequences of different lengths", scan("over: { \"a\": \"x\", \"b\": \"y\" },", "Tanh", "")),
        ("a sequence that is a number", scan("over: { \"a\": 3 },", "Tanh", "")),
        ("no sequence", scan("over: {},", "Tanh", "")),
        ("sequences and a number of times", scan("over: { \"a\": \"x\" }, times: 3,", "Tanh", "")),
        ("a negative number of times", scan("times: -1,", "Tanh", "")),
        ("a tensor of times", scan("times: \"length\",", "Tanh", "")),
        ("a direction that is none", scan("reverse: 1,", "Tanh", "")),
        ("the position is called like a sequence", scan("over: { \"a\": \"x\" }, index: \"a\",", "Tanh", "")),
        (
            "an unknown sequence, said once",
            scan("name: \"l\", over: { \"a\": \"z\" },", SUM, "Expr(\"l.h + l.last.h\")"),
        ),
        ("unknown fields", scan("length: 3,", "Tanh", "")),
        ("a sequence's name", scan("over: { \"a b\": \"x\" },", "Tanh", "")),
        ("too few names", scan("", "Let([\"a\", \"b\"], \"split(it, 3)\")", "")),
        ("names for no list", scan("", "Let([\"a\", \"b\"], \"it\")", "")),
    ];
    insta::assert_snapshot!(table(&cases));
}

#[test]
fn rows_that_end() {
    let cases = [
        ("lengths that are no whole numbers", scan("lengths: \"x[:, 0, 0]\",", SUM, "")),
        ("lengths with two axes", scan("lengths: \"length[:, none]\",", SUM, "")),
        ("lengths that are a number", scan("lengths: 3,", SUM, "")),
        (
            "a carry without rows",
            scan(
                "lengths: \"length\",",
                "Carry(\"s\", 0.0), Let(\"s\", \"prev.s + sum(it)\"), Ref(\"it\")",
                "",
            ),
        ),
        ("what is stacked has no rows", scan("lengths: \"length\",", "Expr(\"sum(it)\")", "")),
        ("other rows", scan("lengths: \"[1, 2]\",", SUM, "")),
        (
            "a name without rows is seen behind",
            scan(
                "name: \"l\", lengths: \"length\",",
                &format!("Let(\"s\", \"sum(it)\"), {SUM}"),
                "Expr(\"l.last.s\")",
            ),
        ),
        ("a condition of numbers", scan("until: \"sum(h, axis=1)\",", SUM, "")),
        ("a condition of other rows", scan("lengths: \"length\", until: \"h[0] > 1\",", SUM, "")),
        ("a condition with two axes", scan("until: \"h > 1\",", SUM, "")),
        ("a condition that is a text", scan("until: \"'done'\",", SUM, "")),
        ("a condition that names nothing", scan("until: \"done\",", SUM, "")),
    ];
    insta::assert_snapshot!(table(&cases));
}

#[test]
fn behind_a_loop() {
    let cases = [
        ("a value of a step, without a name", scan("", SUM, "Expr(\"h + 1\")")),
        ("a value of a step, with one", scan("name: \"l\",", SUM, "Expr(\"h + 1\")")),
        ("a name that the loop does not have", scan("name: \"l\",", SUM, "Expr(\"l.last.g\")")),
        ("the carry of a loop that has ended", scan("name: \"l\",", SUM, "Expr(\"prev.h\")")),
        ("a list", scan("name: \"l\",", "Let(\"parts\", \"split(it, 3)\"), Relu", "Expr(\"l.parts\")")),
        ("a layer of a step", scan("", "Linear(name: \"w\", features: 3)", "Ref(\"w\")")),
        (
            "a layer that reads a step is reused outside",
            scan(
                "name: \"l\",",
                "Let(\"k\", \"it * 2\"), Sequential(name: \"s\", body: [Expr(\"it + k\")])",
                "Reuse(\"l.s\")",
            ),
        ),
    ];
    insta::assert_snapshot!(table(&cases));
}

#[test]
fn recurrent_layers() {
    let cases = [
        ("no steps", body("Expr(\"x[:, 0]\"), Lstm(features: 4)")),
        ("lengths of other rows", body("Gru(features: 4, lengths: \"[1, 2]\")")),
        ("lengths that are no whole numbers", body("Gru(features: 4, lengths: \"x[:, 0, 0]\")")),
        ("dropout between one layer", body("Rnn(features: 4, dropout: 0.5)")),
        ("one state for two", body("Lstm(features: 3, initial: \"x[:, 0]\")")),
        ("a state of other features", body("Gru(features: 4, initial: \"x[:, 0]\")")),
        (
            "a state for one of two directions",
            body("Gru(features: 3, bidirectional: true, initial: \"x[:, 0]\")"),
        ),
        ("a cell outside of a loop", body("Expr(\"x[:, 0]\"), GruCell(features: 4)")),
        ("a cell of all steps", body("Scan(times: 2, body: [LstmCell(features: 4)])")),
        (
            "a cell's state of other features",
            scan(
                "",
                "Carry(\"h\", \"zeros([4, 4])\"), GruCell(features: 3, state: \"prev.h\"), As(\"h\")",
                "",
            ),
        ),
    ];
    insta::assert_snapshot!(table(&cases));
}
