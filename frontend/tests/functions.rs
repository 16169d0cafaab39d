//! Functions of the model's own: what a call is, what it sees, and mistakes.

use std::collections::HashMap;

use brolga_ir::Tensor;

use crate::common::{build, mistakes, numbers, run};

fn model(functions: &str, body: &str, output: &str) -> String {
    format!(
        "Model(
            parameters: {{ \"n\": 3 }},
            inputs: {{ \"x\": \"f32[2]\" }},
            functions: {{ {functions} }},
            blocks: {{ \"Twice\": Block(parameters: {{ \"k\": 2 }}, body: [Expr(\"times(it, k)\")]) }},
            body: [{body}],
            entries: {{ \"infer\": Infer(outputs: {{ \"y\": \"{output}\" }}) }},
        )"
    )
}

const TIMES: &str = "\"times(a, b)\": \"a * b\"";

#[test]
fn a_call_is_its_expression() {
    for (functions, body, output, expected) in [
        ("", "", "times(x, 3)", [3.0, 6.0]),
        ("", "", "times(b=x, a=x)", [1.0, 4.0]),
        ("", "", "times(2, n) * x", [6.0, 12.0]),
        // The model's names, also those that are given later; not those of the place of the call.
        ("\"more(a)\": \"a + shown * n\"", "Let(\"shown\", \"x / 2\")", "more(x)", [2.5, 5.0]),
        ("\"more(x)\": \"x + n\"", "", "more(0 * x)", [3.0, 3.0]),
        // Others, and itself.
        ("\"cube(a)\": \"times(a, times(a, a))\"", "", "cube(x)", [1.0, 8.0]),
        ("\"power(a, k)\": \"times(a, power(a, k - 1)) if k > 0 else 1\"", "", "power(x, 4)", [1.0, 16.0]),
        ("\"three()\": \"n\"", "", "x * three()", [3.0, 6.0]),
        // In blocks and loops.
        ("", "Twice, Twice(k: 5)", "it", [10.0, 20.0]),
        (
            "",
            "Scan(name: \"s\", times: 2, body: [Carry(\"h\", \"x\"), Let(\"h\", \"times(prev.h, prev.h)\"), Ref(\"h\")])",
            "s.last.h",
            [1.0, 16.0],
        ),
    ] {
        let functions = [TIMES, functions].join(",");
        let instance = build(&model(functions.trim_end_matches(','), body, output));
        let given = HashMap::from([("x".to_owned(), Tensor::f64([2], [1.0, 2.0]))]);
        let found = run(instance.graph("infer").expect("infer"), &given);
        assert_eq!(numbers(&found["y"]), expected, "{functions} {body} {output}");
    }
}

/// A function sees nothing of the place that calls it: neither a name of a block, a `Sequential` or a step of a loop, nor the current
/// value.
#[test]
fn functions_see_nothing_of_their_call() {
    let local = "\"f(a)\": \"a + local\"";
    let block = |steps: &str| format!("{{ \"Own\": Block(body: [{steps}]), \"Twice\":");
    let loops = |name: &str| {
        format!(
            "Scan({name} times: 2, body: [Carry(\"h\", \"x\"), Let(\"local\", \"prev.h\"), Let(\"h\", \"f(prev.h)\")])"
        )
    };
    for (functions, blocks, body, message) in [
        (
            local,
            block("Let(\"local\", \"x\"), Expr(\"f(x)\")"),
            "Own".to_owned(),
            "there is no value `local` here",
        ),
        (
            local,
            block("Parameter(name: \"local\", dims: [2]), Expr(\"f(x)\")"),
            "Own".into(),
            "there is no value `local`",
        ),
        (local, block("Relu"), loops(""), "there is no value `local` here"),
        (local, block("Relu"), loops("name: \"s\","), "there is no value `local` here"),
        (
            local,
            block("Relu"),
            "Sequential(name: \"walk\", body: [Parameter(name: \"local\", dims: [2]), Expr(\"f(x)\")])"
                .into(),
            "there is no value `local` here",
        ),
        ("\"f(a)\": \"a * it\"", block("Relu"), "Expr(\"f(x)\")".into(), "there is no value `it` here"),
        (
            "\"f(a)\": \"a * size(0)\"",
            block("Relu"),
            "Expr(\"f(x)\")".into(),
            "there is no current value here",
        ),
    ] {
        let text = model(functions, &body, "it").replace("{ \"Twice\":", &blocks);
        let found = mistakes(&text.replace("Expr(\"times(it, k)\")", "Expr(\"it * k\")"));
        assert!(found.contains(message), "{functions} {body}: {found}");
    }
    // The model's own is meant, whatever has its name around.
    for body in [
        "Sequential(name: \"walk\", body: [Parameter(name: \"b\", dims: [2]), Expr(\"f(x)\")])",
        "Scan(name: \"s\", times: 1, body: [Let(\"b\", \"100\"), Expr(\"f(x)\")]), Expr(\"it[:, 0]\")",
        "Scan(times: 1, body: [Let(\"b\", \"100\"), Expr(\"f(x)\")]), Expr(\"it[:, 0]\")",
        "Other",
    ] {
        let functions = "\"f(a)\": \"a * b\"";
        let whole = format!("Parameter(name: \"b\", dims: []), Ref(\"x\"), {body}");
        let other = "{ \"Other\": Block(body: [Let(\"b\", \"100\"), Expr(\"f(x)\")]), \"Twice\":";
        let text = model(functions, &whole, "it").replace("{ \"Twice\":", other);
        let instance = build(&text.replace("Expr(\"times(it, k)\")", "Expr(\"it * k\")"));
        let given = HashMap::from([
            ("x".to_owned(), Tensor::f64([2], [1.0, 2.0])),
            ("b".to_owned(), Tensor::f64([], [3.0])),
            ("walk.b".to_owned(), Tensor::f64([2], [100.0, 100.0])),
        ]);
        let found = run(instance.graph("infer").expect("infer"), &given);
        assert_eq!(numbers(&found["y"]), [3.0, 6.0], "{body}");
    }
}

#[test]
fn mistakes_of_functions_are_told() {
    for (functions, output, message) in [
        ("\"f(a)\": \"3\"", "x", "`f` does not use its argument `a`"),
        ("\"f(a, a)\": \"a\"", "x", "`a` is an argument twice"),
        ("\"f\": \"3\"", "x", "a function is written with the names of its arguments"),
        ("\"f(2)\": \"3\"", "x", "a function is written with the names of its arguments"),
        ("\"relu(a)\": \"a\"", "x", "`relu` is a function of the language"),
        ("\"f(a)\": \"a\", \"f(b)\": \"b\"", "x", "`f` is defined twice"),
        ("\"f(a)\": \"a + local\"", "f(x)", "there is no value `local` here"),
        ("\"f(a)\": \"a\"", "f(x, x)", "`f` takes 1 argument: a"),
        ("\"f(a)\": \"a\"", "f(b=x)", "`f` has no argument `b`"),
        ("\"f(a)\": \"a\"", "f(x, a=x)", "`a` is given twice"),
        ("\"f(a, b)\": \"a + b\"", "f(x)", "`f` needs `b`"),
        ("\"f(a)\": \"f(a)\"", "f(x)", "does `f` use itself?"),
        ("\"half(a)\": \"a / 2\"", "hafl(x)", "did you mean `half`?"),
    ] {
        let functions = [TIMES, functions].join(",");
        let found = mistakes(&model(&functions, "", output));
        assert!(found.contains(message), "{functions} {output}: {found}");
    }
}

#[test]
fn lists_are_made_of_lists() {
    let rows: [(&str, &[f64]); 7] = [
        ("stack([x * i for i in range(3)])", &[0.0, 0.0, 1.0, 2.0, 2.0, 4.0]),
        ("x * sum([i * i for i in [1, 2, 3]])", &[14.0, 28.0]),
        ("stack([times(a, b) for a in split(x, 2)][1])", &[]),
        ("x * len([[i, k] for i in range(n)])", &[]),
        ("x * len([0 for i in []])", &[0.0, 0.0]),
        // The innermost name, and none behind.
        ("x * sum([sum([i for i in range(i + 1)]) for i in range(n)])", &[4.0, 8.0]),
        ("stack([for * 2 for for in [1, 2]])", &[2.0, 4.0]),
    ];
    for (output, expected) in rows {
        if expected.is_empty() {
            let found = mistakes(&model(TIMES, "", output));
            assert!(found.contains("there is no value `"), "{output}: {found}");
            continue;
        }
        let instance = build(&model(TIMES, "", output));
        let given = HashMap::from([("x".to_owned(), Tensor::f64([2], [1.0, 2.0]))]);
        let found = run(instance.graph("infer").expect("infer"), &given);
        assert_eq!(numbers(&found["y"]), expected, "{output}");
    }
    for (output, message) in [
        ("[i for i in x]", "a list stands behind `in`, found a tensor"),
        ("[i for i in 3]", "a list stands behind `in`, found 3"),
        ("[i for 3 in [1]]", "expected a name for each element"),
        ("[i for i of [1]]", "expected `in`"),
        ("[1, i for i in [1]]", "expected `]`"),
        ("[i for i in [1]] + x * i", "there is no value `i`"),
    ] {
        let found = mistakes(&model(TIMES, "", output));
        assert!(found.contains(message), "{output}: {found}");
    }
}

/// Calls that double with each function end.
#[test]
fn calls_of_calls_are_bounded() {
    let doubled = (1..30).map(|n| format!("\"f{n}(a)\": \"f{}(a) + f{}(a)\"", n - 1, n - 1));
    let functions: Vec<String> =
        [TIMES.to_owned(), "\"f0(a)\": \"a\"".to_owned()].into_iter().chain(doubled).collect();
    let found = mistakes(&model(&functions.join(","), "", "f29(x)"));
    assert!(found.contains("the model has more than 20000 steps"), "{found}");
}

/// `Reuse` may give a block or a layer other arguments; what is not set is as where it stands.
#[test]
fn reused_steps_get_other_arguments() {
    let model = |body: &str| {
        format!(
            "Model(
                inputs: {{ \"x\": \"f32[2]\" }},
                blocks: {{ \"Head\": Block(parameters: {{ \"of\": Required, \"k\": 10 }}, body: [Parameter(name: \"w\", dims: []), Expr(\"w * of + k\")]) }},
                body: [{body}],
                entries: {{ \"infer\": Infer(outputs: {{ \"y\": \"it\" }}) }},
            )"
        )
    };
    let head = "Head(name: \"head\", of: \"x\")";
    for (body, expected) in [
        (format!("{head}, Reuse(\"head\")"), [13.0, 16.0]),
        (format!("{head}, Reuse(name: \"head\", set: {{ \"of\": \"2 * x\" }})"), [16.0, 22.0]),
        (format!("{head}, Reuse(name: \"head\", set: {{ \"k\": 0 }})"), [3.0, 6.0]),
        (format!("{head}, Reuse(name: \"head\", set: {{ \"k\": 0 }}), Reuse(\"head\")"), [13.0, 16.0]),
        (format!("{head}, As(\"a\"), Reuse(name: \"head\", set: {{ \"k\": 1, \"of\": \"a\" }})"), [40.0, 49.0]),
        // A cell, and a block that is one, in a second loop.
        (
            "Scan(name: \"a\", times: 1, body: [Carry(\"h\", \"x\"), Head(name: \"cell\", of: \"prev.h\", k: 0), As(\"h\")]),
             Scan(name: \"b\", times: 2, body: [Carry(\"h\", \"a.last.h\"), Reuse(name: \"a.cell\", set: { \"of\": \"prev.h\" }), As(\"h\")]),
             Ref(\"b.last.h\")"
                .to_owned(),
            [27.0, 54.0],
        ),
        ("Ref(\"x\"), LeakyRelu(name: \"l\", slope: 0.5), Expr(\"-x\"), Reuse(name: \"l\", set: { \"slope\": 0.25 })".to_owned(), [-0.25, -0.5]),
    ] {
        let instance = build(&model(&body));
        let graph = instance.graph("infer").expect("infer");
        let mut given = HashMap::from([("x".to_owned(), Tensor::f64([2], [1.0, 2.0]))]);
        for name in ["head.w", "a.cell.w"] {
            given.insert(name.to_owned(), Tensor::f64([], [3.0]));
        }
        assert_eq!(numbers(&run(graph, &given)["y"]), expected, "{body}");
    }
    for (body, message) in [
        (format!("{head}, Reuse(name: \"head\", set: {{ \"off\": 0 }})"), "`head` has no argument `off`"),
        (format!("{head}, Reuse(name: \"head\", set: {{ \"of\": \"z\" }})"), "there is no value `z`"),
        (
            "Sequential(name: \"s\", body: [Relu]), Reuse(name: \"s\", set: { \"k\": 1 })".into(),
            "`s` has no arguments to be set",
        ),
        ("LeakyRelu(name: \"l\"), Reuse(name: \"l\", set: { \"slop\": 1 })".into(), "did you mean `slope`?"),
    ] {
        let found = mistakes(&model(&body));
        assert!(found.contains(message), "{body}: {found}");
    }
}
