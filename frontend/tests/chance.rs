//! Functions that draw: what they make of the numbers that are drawn, how these are distributed, and when they are others.

use std::collections::HashMap;

use brolga_frontend::{Instance, Model, Settings, no_imports};
use brolga_ir::graph::Graph;
use brolga_ir::scalar::Scalar;
use brolga_ir::{DType, Tensor, Type};

use crate::common::{build, differentiate, formulas, mistakes, numbers, run};

/// The same with random numbers as inputs.
fn fed(text: &str) -> Instance {
    let settings = Settings { float: DType::F64, feed_random: true, ..Settings::default() };
    Model::parse("test.ron", text, &no_imports)
        .and_then(|model| model.instantiate(&settings))
        .unwrap_or_else(|diagnostics| panic!("{text}\n{diagnostics}"))
}

/// Names of a graph's parameters.
fn parameters(graph: &Graph) -> Vec<String> {
    let parameters = graph.parameters().iter().filter_map(|&id| graph.parameter(id));
    parameters.map(|parameter| parameter.name.clone()).collect()
}

fn count(value: i64) -> Tensor {
    Tensor::generate(&Type::scalar(DType::I64), |_| Scalar::I64(value))
}

/// What an entry without inputs gives for a seed, where all that is counted is at `at`.
fn drawn(text: &str, entry: &str, seed: i64, at: i64) -> HashMap<String, Tensor> {
    let instance = build(text);
    let graph = instance.graph(entry).expect("an entry");
    let given = parameters(graph).into_iter().map(|name| {
        let value = if name == "seed" { seed } else { at };
        (name, count(value))
    });
    run(graph, &given.collect())
}

fn outputs(expressions: &[&str]) -> String {
    formulas("", "", expressions)
}

#[test]
fn what_is_drawn_is_made_of_uniform_and_normal_numbers() {
    let third = 1.0f64 / 3.0;
    let rows: &[(&str, &str, Tensor, &[f64])] = &[
        ("uniform([3])", "uniform", Tensor::f64([3], [0.0, 0.5, 0.75]), &[0.0, 0.5, 0.75]),
        ("normal([2])", "normal", Tensor::f64([2], [-1.5, 2.0]), &[-1.5, 2.0]),
        (
            "gumbel([2])",
            "gumbel",
            Tensor::f64([2], [(-1f64).exp(), 0.0]),
            &[0.0, -(25.0 * std::f64::consts::LN_2).ln()],
        ),
        (
            "bernoulli([0.25, 0.5, 1, 0])",
            "bernoulli",
            Tensor::f64([4], [0.25, 0.25, 0.9, 0.0]),
            &[0.0, 1.0, 1.0, 0.0],
        ),
        // Shares of a third each: below 1/3, between, above 2/3.
        (
            "categorical([0.5, 0.5, 0.5], [2, 2])",
            "categorical",
            Tensor::f64([2, 2], [0.0, third + 0.01, 0.5, 0.99]),
            &[0.0, 1.0, 1.0, 2.0],
        ),
        // What has no probability is never drawn, wherever it stands.
        (
            "categorical([-inf, 2, -inf, 2, -inf], [3])",
            "categorical",
            Tensor::f64([3], [0.0, 0.5, 1.0]),
            &[1.0, 3.0, 1.0],
        ),
        // Of each row one.
        ("categorical([[1, 1], [-inf, 0]])", "categorical", Tensor::f64([2], [0.75, 0.0]), &[1.0, 1.0]),
        ("permutation(4)", "permutation", Tensor::i32([4], [7, -3, 5, 7]), &[1.0, 2.0, 0.0, 3.0]),
    ];
    for (call, name, given, expected) in rows {
        let instance = fed(&outputs(&[call]));
        let graph = instance.graph("infer").expect("infer");
        let given = HashMap::from([(format!("random.{name}"), given.clone())]);
        let found = numbers(&run(graph, &given)["0"]);
        assert_eq!(found.len(), expected.len(), "{call}");
        let close = found.iter().zip(*expected).all(|(found, expected)| (found - expected).abs() < 1e-12);
        assert!(close, "{call}: {found:?}, not {expected:?}");
    }
}

#[test]
fn numbers_have_their_distribution() {
    let n = 20_000f64;
    let text = outputs(&[
        "uniform([20000])",
        "normal([20000])",
        "gumbel([20000])",
        "bernoulli(full([20000], 0.3))",
        "categorical([log(0.5), log(0.3), -inf, log(0.2)], [20000])",
        "permutation(1000)",
    ]);
    let found = drawn(&text, "infer", 5, 0);
    // Mean and variance, each within five standard errors.
    // Gumbel numbers have the mean of Euler's constant.
    let euler = 0.5772;
    let moments = [
        (0, 0.5, 1.0 / 12.0),
        (1, 0.0, 1.0),
        (2, euler, std::f64::consts::PI.powi(2) / 6.0),
        (3, 0.3, 0.21),
        (4, 0.9, 1.29),
    ];
    for (row, mean, variance) in moments {
        let values = numbers(&found[&row.to_string()]);
        let average = values.iter().sum::<f64>() / n;
        let spread = values.iter().map(|value| (value - average).powi(2)).sum::<f64>() / n;
        assert!((average - mean).abs() < 5.0 * f64::sqrt(variance / n), "{row}: {average}, not {mean}");
        assert!((spread - variance).abs() < 0.1 * variance, "{row}: {spread}, not {variance}");
    }
    assert!(numbers(&found["4"]).iter().all(|class| *class != 2.0), "a class without probability");
    let mut order = numbers(&found["5"]);
    assert_ne!(order, (0..1000).map(f64::from).collect::<Vec<_>>());
    order.sort_by(f64::total_cmp);
    assert_eq!(order, (0..1000).map(f64::from).collect::<Vec<_>>());
}

#[test]
fn runs_draw_anew() {
    let text = outputs(&["normal([4])", "normal([4])"]);
    let first = drawn(&text, "infer", 5, 0);
    assert_eq!(drawn(&text, "infer", 5, 0), first, "the same seed and run");
    assert_ne!(first["0"], first["1"], "two places");
    assert_eq!(numbers(&first["optim.infer.calls"]), [1.0], "the run is counted");
    assert_ne!(drawn(&text, "infer", 5, 1)["0"], first["0"], "the next run");
    assert_ne!(drawn(&text, "infer", 6, 0)["0"], first["0"], "another seed");

    // What no output needs counts no run, nor in a loop.
    let dead =
        "Let(\"noise\", \"normal([4])\"), Scan(name: \"s\", times: 2, body: [Let(\"n\", \"normal([4])\")])";
    for (output, counts) in [("x", false), ("noise", true), ("s.last.n", true), ("s.steps", false)] {
        let text = format!(
            "Model(inputs: {{ \"x\": \"f32[4]\" }}, body: [{dead}], entries: {{ \"infer\": Infer(outputs: {{ \"y\": \"{output}\" }}) }})"
        );
        let instance = build(&text);
        let names = parameters(instance.graph("infer").expect("infer"));
        let state = instance.state().iter().any(|slot| slot.name == "optim.infer.calls");
        let has = |name: &str| names.contains(&name.to_owned());
        assert_eq!([has("optim.infer.calls"), has("seed"), state], [counts; 3], "{output}: {names:?}");
    }

    // In training by all updates; its evaluation draws other numbers, by its own runs.
    let text = "Model(
        body: [Parameter(name: \"w\", dims: []), Let(\"noise\", \"normal([])\")],
        entries: { \"train\": Train(
            loss: \"(it - noise) ** 2\", optimizer: Sgd(lr: 0.1), metrics: { \"noise\": \"noise\" },
        ) },
    )";
    let instance = build(text);
    let names = |entry: &str| parameters(instance.graph(entry).expect("an entry"));
    assert!(names("train").contains(&"step".to_owned()), "{:?}", names("train"));
    assert!(names("train.eval").contains(&"optim.train.eval.calls".to_owned()), "{:?}", names("train.eval"));
    let value = |entry: &str, at: i64| {
        let mut graph = instance.graph(entry).expect("an entry").clone();
        differentiate(&mut graph);
        let given = parameters(&graph).into_iter().map(|name| match name.as_str() {
            "w" => (name, Tensor::f64([], [0.0])),
            "seed" => (name, count(5)),
            _ => (name, count(at)),
        });
        numbers(&run(&graph, &given.collect())["noise"])[0]
    };
    let values = [value("train", 0), value("train", 1), value("train.eval", 0), value("train.eval", 1)];
    for (at, one) in values.iter().enumerate() {
        assert!(values[at + 1..].iter().all(|other| other != one), "{values:?}");
    }
}

#[test]
fn places_have_names_like_layers() {
    let names = |body: &str| {
        let mut names = parameters(fed(&formulas("", body, &["it"])).graph("infer").expect("infer"));
        names.sort_unstable();
        names
    };
    let walk = "Sequential(name: \"walk\", body: [Expr(\"it + normal([2])\"), Expr(\"it * uniform([2])\")])";
    let body = format!(
        "Let(\"x\", \"normal([2])\"), Expr(\"x\"), {walk}, Reuse(\"walk\"), Expr(\"it + normal([2])\")"
    );
    let expected = ["normal", "normal#2", "walk.normal", "walk.normal#2", "walk.uniform", "walk.uniform#2"];
    let expected: Vec<String> = expected.iter().map(|name| format!("random.{name}")).collect();
    assert_eq!(names(&body), expected);
}

#[test]
fn steps_of_loops_draw_anew() {
    let text = formulas(
        "",
        "Scan(name: \"walk\", times: 5, body: [
            Carry(\"w\", \"normal([3])\"), Let(\"move\", \"normal([3])\"), Let(\"w\", \"prev.w + move\"), Ref(\"w\"),
        ])",
        &["walk.move", "walk.w"],
    );
    let found = drawn(&text, "infer", 5, 0);
    assert_eq!(found["0"].dims(), [3, 5]);
    let all = numbers(&found["0"]);
    for (at, one) in all.iter().enumerate() {
        assert!(all[at + 1..].iter().all(|other| other != one), "{all:?}");
    }
    // The start is of no step: `[3]`, a place of its own.
    let instance = fed(&text);
    let graph = instance.graph("infer").expect("infer");
    let types = graph.parameters().iter().filter_map(|&id| graph.parameter(id));
    let mut types: Vec<String> =
        types.map(|parameter| format!("{} {}", parameter.name, parameter.ty)).collect();
    types.sort_unstable();
    assert_eq!(types, ["random.walk.normal f64[3]", "random.walk.normal#2 f64[5, 3]"]);
}

#[test]
fn mistakes_of_draws_are_told() {
    for (call, message) in [
        ("bernoulli(1.5)", "a probability is a number from 0 to 1, found 1.5"),
        ("bernoulli('a')", "`p` must be a tensor, found 'a'"),
        ("categorical(3)", "`logits` have classes along their last axis"),
        ("categorical(zeros([2, 0]))", "`logits` have classes along their last axis"),
        ("categorical(zeros([2, 5]), [3])", "the rows of logits f32[2, 5] cannot be repeated to [3]"),
        ("categorical(zeros([2, 5]), [])", "cannot be repeated to []"),
        ("normal()", "`normal` needs `dims`"),
        ("normal([1048576, 1048576, 1048576])", "is larger than the limit of 2^40 bytes"),
        ("permutation(-1)", "`n` must be a whole number from 0 to 2^31 - 1"),
        ("uniform([2], 3)", "`uniform` takes at most 1 argument: dims"),
    ] {
        let found = mistakes(&outputs(&[call]));
        assert!(found.contains(message), "{call}: {found}");
    }
}
