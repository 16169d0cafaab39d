//! `grad` and `jvp` in expressions, compiled: their values where these are known, in loops and in losses.

use brolga::{Model, Network, Settings, Tensor, Threads};

/// What is expected where x and v are these.
type Expected = fn(f32, f32) -> f32;

const X: [f32; 3] = [0.5, -1.0, 2.0];
const V: [f32; 3] = [1.0, 0.25, -0.5];

fn network(body: &str, entry: &str) -> Network {
    let text = format!(
        "Model(inputs: {{ \"x\": \"f32[3]\", \"v\": \"f32[3]\" }}, body: [{body}], entries: {{ \"run\": {entry} }})"
    );
    let model = Model::from_text("derivatives", &text, &Settings::default());
    let model = model.unwrap_or_else(|error| panic!("{text}\n{error}"));
    Network::new(model, Threads::serial()).unwrap()
}

/// What an expression behind a body is at [`X`] and [`V`].
fn value(body: &str, expression: &str) -> Vec<f32> {
    let mut network =
        network(body, &format!("Infer(outputs: {{ \"y\": \"{expression}\", \"z\": \"x + v\" }})"));
    let [x, v] = [X, V].map(|values| Tensor::from_slice(&[3], &values).unwrap());
    let outputs = network.run("run", &[("x", &x), ("v", &v)]).unwrap();
    outputs[0].1.as_slice::<f32>().unwrap().to_vec()
}

fn close(what: &str, found: &[f32], expected: impl Fn(f32, f32) -> f32) {
    let expected: Vec<f32> = X.iter().zip(V).map(|(x, v)| expected(*x, v)).collect();
    let same = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-5 * b.abs().max(1.0);
    assert!(found.len() == 3 && found.iter().zip(&expected).all(same), "{what}: {found:?}, not {expected:?}");
}

#[test]
fn derivatives_are_values() {
    let rows: [(&str, &str, Expected); 7] = [
        ("", "grad(sum(x ** 3), x)", |x, _| 3.0 * x * x),
        ("", "jvp(x ** 3, x, v)", |x, v| 3.0 * x * x * v),
        ("", "grad(sum(grad(sum(x ** 3), x)), x)", |x, _| 6.0 * x),
        ("", "jvp(grad(sum(x ** 3), x), x, v)", |x, v| 6.0 * x * v),
        ("Let(\"u\", \"x * v\")", "grad(sum(u ** 2), u)", |x, v| 2.0 * x * v),
        // Of a step's own value: gradient descent in a loop.
        (
            "Scan(name: \"s\", times: 4, body: [
                Carry(\"w\", \"v\"), Let(\"w\", \"prev.w - 0.25 * grad(sum((prev.w - x) ** 2), prev.w)\"), Ref(\"w\"),
            ])",
            "s.last.w",
            |x, v| x + (v - x) / 16.0,
        ),
        ("Scan(times: 3, axis: 0, body: [Expr(\"grad(sum(x * x * v), x)\")])", "it[0]", |x, v| 2.0 * x * v),
    ];
    for (body, expression, expected) in rows {
        close(&format!("{body} {expression}"), &value(body, expression), expected);
    }
}

/// In a loop a derivative by a value from before it goes through what was computed before it, too.
#[test]
fn derivatives_in_loops_go_through_what_stands_before_them() {
    let rows: [(&str, Expected); 3] = [
        // Hessian-vector products: (6 x)^3 v.
        ("Let(\"g\", \"grad(sum(x ** 3), x)\"), Scan(name: \"s\", times: 3, body: [
            Carry(\"p\", \"v\"), Let(\"p\", \"jvp(g, x, prev.p)\"), Ref(\"p\")])", |x, v| 216.0 * x * x * x * v),
        ("Let(\"u\", \"x * 2\"), Scan(name: \"s\", times: 2, body: [
            Carry(\"p\", \"v\"), Let(\"p\", \"grad(sum(u * prev.p), x)\"), Ref(\"p\")])", |_, v| 4.0 * v),
        // Through a loop before.
        ("Scan(name: \"before\", times: 2, body: [Carry(\"h\", \"x\"), Let(\"h\", \"prev.h * prev.h\"), Ref(\"h\")]),
            Let(\"u\", \"before.last.h\"), Scan(name: \"s\", times: 1, body: [
            Carry(\"p\", \"v\"), Let(\"p\", \"grad(sum(u * prev.p), x)\"), Ref(\"p\")])", |x, v| 4.0 * x * x * x * v),
    ];
    for (body, expected) in rows {
        close(body, &value(body, "s.last.p"), expected);
    }
}

/// A penalty on a slope is minimised: its gradient goes through a gradient.
#[test]
fn losses_of_derivatives_are_minimised() {
    let train = "Train(loss: \"sum(grad(sum(w * x * x * v), x) ** 2)\", optimizer: Sgd(lr: 0.01))";
    let mut network = network("Parameter(name: \"w\", dims: [], init: Ones)", train);
    let [x, v] = [X, V].map(|values| Tensor::from_slice(&[3], &values).unwrap());
    let outputs = network.run("run", &[("x", &x), ("v", &v)]).unwrap();
    let squares: f32 = X.iter().zip(V).map(|(x, v)| 4.0 * x * x * v * v).sum();
    assert!((outputs[0].1.item().unwrap() - f64::from(squares)).abs() < 1e-5, "{:?}", outputs[0].1);
    let w = network.state().get("w").unwrap().as_slice::<f32>().unwrap()[0];
    let expected = 1.0 - 0.01 * 2.0 * squares;
    assert!((w - expected).abs() < 1e-5, "{w}, not {expected}");
}

#[test]
fn mistakes_of_derivatives_are_told() {
    for (expression, message) in [
        ("grad(x ** 2, x)", "`grad` is of one number, found f32[3]"),
        ("grad(sum(x ** 2), v)", "`y` does not depend on this value"),
        ("grad(sum(x ** 2), 3)", "`y` does not depend on this value"),
        ("grad(sum(int(x)), x)", "`y` must have floating-point elements, found i64[]"),
        ("jvp(x ** 2, x, v[:2])", "`v` is a direction of `x`, f32[3], but it is f32[2]"),
        ("grad(sum(x))", "`grad` needs `x`"),
    ] {
        let text = format!(
            "Model(inputs: {{ \"x\": \"f32[3]\", \"v\": \"f32[3]\" }}, body: [], entries: {{ \"run\": Infer(outputs: {{ \"y\": \
             \"{expression}\" }}) }})"
        );
        let error =
            Model::from_text("derivatives", &text, &Settings::default()).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(message), "{expression}: {error}");
    }
}
