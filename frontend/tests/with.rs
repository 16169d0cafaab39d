//! `With`: parameters that are, in a body, what steps make of them.

use std::collections::HashMap;

use brolga_frontend::{Instance, SlotKind};
use brolga_ir::ops::Op;
use brolga_ir::scalar::Scalar;
use brolga_ir::{DType, Graph, Tensor, Type};

use crate::common::{build, differentiate, mistakes, numbers, run, wave};

/// The values of all states, and an input `x`; a bias for each parameter, so that none is alike.
fn values(instance: &Instance) -> HashMap<String, Tensor> {
    let mut values = HashMap::from([("x".to_owned(), wave(&[4, 3], 1.0, 0.7, 0.1))]);
    for (number, slot) in instance.state().iter().enumerate() {
        let value = match slot.kind {
            SlotKind::Seed | SlotKind::Step => Tensor::generate(&slot.ty, |_| Scalar::I64(3)),
            _ if slot.ty.dtype == DType::I64 => Tensor::generate(&slot.ty, |_| Scalar::I64(0)),
            _ => wave(&slot.ty.dims, 1.0, 0.9, 0.3 + number as f64),
        };
        values.insert(slot.name.clone(), value);
    }
    values
}

fn graph(instance: &Instance, name: &str) -> Graph {
    let mut graph = instance.graph(name).expect("an entry").clone();
    differentiate(&mut graph);
    graph
}

fn model(body: &str, entries: &str) -> String {
    format!("Model(inputs: {{ \"x\": \"f32[4, 3]\" }}, body: [{body}], entries: {{ {entries} }})")
}

/// What the body `made` gives is what `plain` gives with other weights, and is trained by the gradient through the steps.
#[test]
fn a_body_reads_what_the_steps_make() {
    let made = "With(of: \"d.*.weight\", by: [Expr(\"3 * it\")], body: [
        Sequential(name: \"d\", body: [Linear(5), Tanh, Linear(3)]), Reuse(\"d\"), As(\"y\")])";
    let plain = "Sequential(name: \"d\", body: [Linear(5), Tanh, Linear(3)]), Reuse(\"d\"), As(\"y\")";
    let entries = "\"infer\": Infer(outputs: { \"y\": \"y\" }),
        \"train\": Train(loss: \"mean(y ** 2)\", optimizer: Sgd(lr: 0.5))";
    let [made, plain] = [made, plain].map(|body| build(&model(body, entries)));
    let before = values(&made);
    let mut times = before.clone();
    for name in ["d.0.weight", "d.2.weight"] {
        let weight = &before[name];
        let values: Vec<f64> = numbers(weight).iter().map(|value| 3.0 * value).collect();
        times.insert(name.to_owned(), Tensor::f64(weight.dims().to_vec(), values));
    }
    let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12 * b.abs().max(1.0));
    let [found, expected] =
        [(&made, &before), (&plain, &times)].map(|(of, values)| run(&graph(of, "infer"), values));
    assert!(close(&numbers(&found["y"]), &numbers(&expected["y"])));
    let [found, expected] =
        [(&made, &before), (&plain, &times)].map(|(of, values)| run(&graph(of, "train"), values));
    for name in ["d.0.weight", "d.0.bias", "d.2.weight", "d.2.bias"] {
        let factor = if name.ends_with("weight") { 3.0 } else { 1.0 };
        let moved = |after: &Tensor, before: &Tensor| -> Vec<f64> {
            numbers(after).iter().zip(numbers(before)).map(|(after, before)| after - before).collect()
        };
        let step: Vec<f64> = moved(&expected[name], &times[name]).iter().map(|step| factor * step).collect();
        assert!(close(&moved(&found[name], &before[name]), &step), "{name}");
    }
    // The parameter itself is what is kept.
    let names: Vec<&str> = made.state().iter().map(|slot| slot.name.as_str()).collect();
    assert!(names.contains(&"d.0.weight") && !names.iter().any(|name| name.contains("weight.")), "{names:?}");
}

/// Names of parameters, and `parameter('...')`, stand for what is made inside; `it` of an update, and all behind, for the parameter.
/// An inner `With` goes on from what an outer one makes, and a `*` stands for what the first one does.
#[test]
fn names_stand_for_what_is_made() {
    for (body, expected) in [
        ("With(of: \"w\", by: [Expr(\"it + 1\")], body: [Let(\"y\", \"w\")])", 3.0),
        ("With(of: \"w\", by: [Expr(\"it + 1\")], body: [Let(\"y\", \"parameter('w')\")])", 3.0),
        ("With(of: \"w\", by: [Expr(\"it + w\")], body: [Ref(\"w\"), As(\"y\")])", 4.0),
        (
            "With(of: \"w\", by: [As(\"old\"), Expr(\"5\"), Expr(\"it + old\")], body: [Let(\"y\", \"w\")])",
            7.0,
        ),
        ("With(of: \"w\", by: [Expr(\"it + 1\")], body: [Let(\"z\", \"w\")]), Let(\"y\", \"w + z\")", 5.0),
        (
            "With(of: \"w\", by: [Expr(\"it + 1\")], body: [
                With(of: [\"v\", \"w\"], by: [Expr(\"it * 10\")], body: [Let(\"y\", \"v + w\")])])",
            100.0,
        ),
        (
            "With(of: \"*\", by: [Expr(\"it + parameter('far.*')\")], body: [Let(\"y\", \"v + w\")])",
            9.0 + 40.0,
        ),
    ] {
        let names = ["v", "w", "far.v", "far.w"];
        let parameters = names.map(|name| format!("Parameter(name: \"{name}\", dims: [])")).join(", ");
        let instance =
            build(&model(&format!("{parameters}, {body}"), "\"infer\": Infer(outputs: { \"y\": \"y\" })"));
        let mut values = values(&instance);
        for (name, value) in names.into_iter().zip([7.0, 2.0, 30.0, 10.0]) {
            values.insert(name.into(), Tensor::f64([], [value]));
        }
        let found = numbers(&run(instance.graph("infer").expect("infer"), &values)["y"]);
        assert_eq!(found, [expected], "{body}");
    }
}

/// A block that normalises a weight keeps a state for each, which training moves once in each run, however often the weight is
/// read, and be it in a loop.
#[test]
fn steps_keep_their_state() {
    let blocks = "blocks: { \"Mean\": Block(body: [
        As(\"w\"), State(name: \"level\", type: \"f32[]\"),
        Ref(\"w\"), Update({ \"level\": \"stop_gradient(it + sum(w))\" }), Expr(\"w * 2\"),
    ]) }";
    let text = |body: &str| {
        model(
            &format!("With(of: \"*.weight\", by: [Mean(name: \"mean\")], body: [{body}]), As(\"y\")"),
            "\"infer\": Infer(outputs: { \"y\": \"y\" }),
             \"train\": Train(loss: \"mean(y ** 2)\", optimizer: Sgd(lr: 0))",
        )
        .replacen("Model(", &format!("Model({blocks}, "), 1)
    };
    for body in [
        "Linear(name: \"a\", features: 3), Reuse(\"a\"), Linear(name: \"b\", features: 3)",
        "Scan(times: 5, body: [Carry(\"h\", \"x\"), Expr(\"prev.h\"), Linear(name: \"a\", features: 3), Linear(name: \"b\", features: 3), As(\"h\")])",
        "Scan(name: \"s\", times: 2, body: [Scan(times: 2, body: [Ref(\"x\"), BatchNorm(name: \"n\", affine: false), Linear(name: \"a\", features: 3)])]),
         Ref(\"x\"), Linear(name: \"b\", features: 3)",
    ] {
        let instance = build(&text(body));
        let before = values(&instance);
        let states: Vec<String> = instance
            .state()
            .iter()
            .filter(|slot| slot.name.ends_with(".weight.mean.level"))
            .map(|slot| slot.name.clone())
            .collect();
        assert_eq!(states.len(), 2, "{body}: {states:?}");
        let found = run(&graph(&instance, "train"), &before);
        for state in &states {
            let weight = state.trim_end_matches(".mean.level");
            let expected = numbers(&before[state])[0] + numbers(&before[weight]).iter().sum::<f64>();
            assert!((numbers(&found[state])[0] - expected).abs() < 1e-9, "{body}: {state}");
        }
        let infer = run(&graph(&instance, "infer"), &before);
        assert!(states.iter().all(|state| !infer.contains_key(state)), "{body}: inference moves no state");
    }
}

/// What the steps draw is drawn once, as often as a parameter is read, in a loop or not; anew in each step of a loop around.
#[test]
fn draws_are_those_of_the_with() {
    let noisy = |body: &str| {
        format!("With(of: \"*.weight\", by: [Expr(\"it * bernoulli(full([3, 3], 0.5))\")], body: [{body}])")
    };
    let linear = "Linear(name: \"a\", features: 3)";
    for (body, draws, dims) in [
        (noisy(&format!("{linear}, Reuse(\"a\"), Reuse(\"a\")")), 1, vec![3, 3]),
        (noisy(&format!("Scan(times: 5, body: [Ref(\"x\"), {linear}])")), 1, vec![3, 3]),
        (format!("Scan(times: 5, body: [Ref(\"x\"), {}])", noisy(linear)), 1, vec![5, 3, 3]),
        (format!("{}, {}", noisy(linear), noisy("Reuse(\"a\")")), 2, vec![3, 3]),
    ] {
        let instance =
            build(&model(&body, "\"train\": Train(loss: \"mean(it ** 2)\", optimizer: Sgd(lr: 1))"));
        let graph = instance.graph("train").expect("train");
        let random = graph.nodes().filter(|&id| matches!(graph.node(id).op, Op::Random(_)));
        let types: Vec<Type> = random.map(|id| graph.ty(graph.result(id)).clone()).collect();
        assert_eq!(types.len(), draws, "{body}: {types:?}");
        assert!(types.iter().all(|ty| ty.dims == dims), "{body}: {types:?}");
    }
}

#[test]
fn mistakes_of_with_are_told() {
    let infer = "\"infer\": Infer(outputs: { \"y\": \"it\" })";
    for (body, message) in [
        (
            "With(of: \"fc.wieght\", by: [Tanh], body: [Linear(name: \"fc\", features: 3)])",
            "the body of this `With` reads no parameter named `fc.wieght`",
        ),
        (
            "Linear(name: \"fc\", features: 3), With(of: \"fc.*\", by: [Tanh], body: [Relu])",
            "the body of this `With` reads no parameter named `fc.*`",
        ),
        (
            "With(of: \"*.weight\", by: [Expr(\"sum(it, axis=0)\")], body: [Linear(name: \"fc\", features: 3)])",
            "`fc.weight` is f32[3, 3], but the steps of `With` make f32[3] of it",
        ),
        (
            "With(of: \"*.weight\", by: [Expr(\"it > 0\")], body: [Linear(name: \"fc\", features: 3)])",
            "`fc.weight` is f32[3, 3], but the steps of `With` make bool[3, 3] of it",
        ),
        ("With(of: \"*\", body: [Linear(3)])", "`With` needs `by`"),
        ("With(of: 3, by: [], body: [Linear(3)])", "expected a name in quotes"),
        (
            "Scan(times: 2, body: [With(of: \"*.weight\", by: [State(name: \"s\", type: \"f32[]\"), Update({ \"s\": \"it + 1\" }), Expr(\"parameter('a.weight')\")], body: [Linear(name: \"a\", features: 3)])])",
            "an `Update` does not stand in a loop",
        ),
    ] {
        let found = mistakes(&model(body, infer));
        assert!(found.contains(message), "{body}\n{found}");
    }
    // One message, not another one for the layer or the pattern.
    let found =
        mistakes(&model("With(of: \"fc.*\", by: [Tanh], body: [Linear(name: \"fc\", featres: 3)])", infer));
    assert_eq!(found.matches("error:").count(), 1, "{found}");
}
