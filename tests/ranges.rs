//! What is scaled on purpose stays in range, and what a batch of none leaves: models compiled in `f32` against the same models
//! compiled in `f64`, whose range nothing here leaves. About 12 seconds.

use std::sync::Arc;

use brolga::runtime::Instance;
use brolga::{CompileOptions, Model, Settings, Tensor, Threads, compile, with_gradients};
use brolga_ir::DType;

use crate::common::layers::LAYERS;

const X: [usize; 2] = [4, 64];

/// From -1 to 1, most of them positive; the first two are large.
fn numbers(scale: f64) -> Vec<f32> {
    let number = |i: usize| {
        let size = 0.05 + (i * 37 % 97) as f64 / 102.0;
        let signed = if i % 3 == 2 { -size } else { size };
        if i < 2 { 0.8 + 0.1 * i as f64 } else { signed }
    };
    (0..X[0] * X[1]).map(|i| (number(i) * scale) as f32).collect()
}

/// The result of an entry by name, in `f64`.
type Found = Vec<(String, Vec<f64>)>;

/// The outputs of `infer`; those of `train`, with the gradients by the inputs.
fn run(body: &str, loss: &str, scale: f64, float: DType) -> Found {
    let text = format!(
        "Model(
            inputs: {{ \"x\": \"f32[4, 64]\" }},
            body: [Parameter(name: \"p\", dims: [1], init: Ones), As(\"one\"), Ref(\"x\"), {body}, As(\"y\")],
            entries: {{
                \"infer\": Infer(outputs: {{ \"y\": \"y\" }}),
                \"train\": Entry(
                    mode: \"train\",
                    steps: [Minimize(loss: \"sum(one) * {loss}\", optimizer: Sgd(lr: 0.1))], outputs: {{ \"trained\": \"y\" }},
                ),
            }},
        )"
    );
    let settings = Settings { float, ..Settings::default() };
    let model = Model::from_text("ranges", &text, &settings).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let x = numbers(scale);
    let x = if float == DType::F32 {
        Tensor::from_slice(&X, &x).unwrap()
    } else {
        Tensor::from_slice(&X, &x.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>()).unwrap()
    };
    let mut found = Vec::new();
    for graph in
        [model.graph("infer").unwrap().clone(), with_gradients(model.graph("train").unwrap()).unwrap()]
    {
        let executable = Arc::new(compile(&graph, &CompileOptions::default()).unwrap());
        let mut state = model.initial_state(1).unwrap();
        let mut instance = Instance::bind(executable, &state, &Threads::serial()).unwrap();
        for (name, tensor) in instance.run_named(&mut state, &[("x", &x)]).unwrap() {
            let values = match tensor.as_slice::<f32>() {
                Ok(values) => values.iter().map(|&value| f64::from(value)).collect(),
                Err(_) => tensor.as_slice::<f64>().unwrap().to_vec(),
            };
            found.push((name, values));
        }
    }
    found
}

/// Whether values are those, but for a part of the largest.
fn near(found: &[f64], right: &[f64]) -> bool {
    let largest = right.iter().fold(0.0, |largest: f64, right| largest.max(right.abs()));
    let close = |(found, right): (&f64, &f64)| (found - right).abs() <= 1e-3 * largest;
    largest.is_finite() && largest > 0.0 && found.iter().zip(right).all(close)
}

const MEAN: &str = "mean(y)";
const CUBES: &str = "mean(y ** 3)";
const Z: &str = "(x - mean(x, axis=1, keepdims=true)) / std(x, axis=1, keepdims=true)";

/// What is computed, the loss, sizes of the input, and whether gradients are in range as well.
fn rows() -> Vec<(String, &'static str, Vec<f64>, bool)> {
    let expression = |text: &str| format!("Expr(\"{text}\")");
    let power = |power: usize| expression(&format!("mean(({Z}) ** {power}, axis=1)"));
    let share = "(x / max(abs(x), axis=1, keepdims=true)) ** 2";
    let huge = || vec![3e38];
    let far = || vec![1.0, 20.0];
    vec![
        (expression("sum(x * 1e-30, axis=1)"), MEAN, huge(), true),
        (expression("sum(x * 1e-30)"), MEAN, huge(), true),
        (expression("mean(x * 1e-30, axis=1)"), MEAN, huge(), true),
        (expression("mean(x * 1e-30, axis=0)"), MEAN, huge(), true),
        (expression("sum(x / 1e30, axis=1)"), MEAN, huge(), true),
        (expression("sum(-x * 1e-30, axis=1)"), MEAN, huge(), true),
        (expression("sum(x * 1e-15 * 1e-15, axis=1)"), MEAN, huge(), true),
        (expression("sum(x / x[0, 0], axis=1)"), MEAN, huge(), false),
        (expression("sum((x / x[0, 0]) * (x / x[0, 1]), axis=1)"), MEAN, vec![1e25, 1e-25], false),
        (expression("mean((x / max(x)) ** 2, axis=1)"), MEAN, vec![1e25, 1e-25], false),
        (expression("mean((x / x[:, 0:1]) ** 2, axis=1)"), MEAN, vec![1e25, 1e-25], false),
        (expression("mean((x * 1e-25) ** 2)"), MEAN, vec![1e25], true),
        (expression("mean((x * 1e25) ** 2)"), MEAN, vec![1e-25], true),
        (expression("sum((x * 1e20) ** 2, axis=1)"), MEAN, vec![1e-24], true),
        (expression("mean(((x - 2) / 1e20) ** 2)"), MEAN, vec![5e20], true),
        (
            expression(&format!("sqrt(sum({share}, axis=1)) * max(abs(x), axis=1)")),
            MEAN,
            vec![1e25, 1e-24],
            true,
        ),
        (power(2), MEAN, vec![1.0, 1e-25, 3e19], false),
        (power(3), MEAN, vec![1.0, 1e13, 1e-15], true),
        (power(4), MEAN, vec![1.0, 1e10, 1e-12], true),
        (expression("norm(x * 1e-30, axis=1)"), MEAN, huge(), true),
        (expression("softmax(x * 1e-30, axis=1)"), CUBES, vec![1e30], true),
        // Behind products with fixed weights, into which factors are folded.
        (expression("(x * 1e-30) @ ones([64, 2])"), MEAN, huge(), true),
        (expression("(x @ ones([64, 2])) * 1e-30 * 1e-30"), MEAN, vec![1e36], false),
        (expression("(x @ (ones([64, 2]) * 1e-20)) * 1e-30"), MEAN, vec![1e36], false),
        (expression("(x @ ones([64, 2])) * 1e25 * 1e25"), MEAN, vec![1e-30], false),
        ("Rescale(1e-37), LayerNorm".into(), CUBES, vec![5e37], false),
        ("Rescale(1e-30), LayerNorm".into(), CUBES, vec![1e30], true),
        ("Rescale(1e-30), Expr(\"mean(it, axis=1)\")".into(), MEAN, vec![1e38], true),
        ("LayerNorm".into(), CUBES, vec![1.0, 1e14, 1e15, 1e17], true),
        ("BatchNorm".into(), CUBES, vec![1.0, 1e14, 1e15], false),
        // Far below 0 the slope is all that there is.
        (expression("expm1(-abs(x) - 20)"), MEAN, far(), true),
        ("Expr(\"-abs(x) - 20\"), Elu".into(), MEAN, far(), true),
        ("Expr(\"-abs(x) - 20\"), Selu".into(), MEAN, far(), true),
        ("Expr(\"-abs(x) - 20\"), Celu".into(), MEAN, far(), true),
        ("Expr(\"-abs(x) - 20\"), Silu".into(), MEAN, far(), true),
        ("Expr(\"-abs(x) - 20\"), Mish".into(), MEAN, far(), true),
        ("Expr(\"-abs(x) - 20\"), Softplus".into(), MEAN, far(), true),
        ("Expr(\"abs(x) + 20\"), LogSigmoid".into(), MEAN, far(), true),
    ]
}

#[test]
fn scaled_expressions_keep_their_range() {
    let mut wrong = Vec::new();
    for (body, loss, scales, gradients) in rows() {
        for scale in scales {
            let found = run(&body, loss, scale, DType::F32);
            for (name, right) in run(&body, loss, scale, DType::F64) {
                let checked = match name.as_str() {
                    "y" | "trained" => true,
                    "input.x" => gradients,
                    _ => false,
                };
                let found = &found.iter().find(|(found, _)| *found == name).expect("the same outputs").1;
                if checked && !near(found, &right) {
                    wrong.push(format!(
                        "{body} at {scale:e}: {name} {:?}, right {:?}",
                        &found[..1],
                        &right[..1]
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Figures of PyTorch.
#[test]
fn sums_of_what_is_scaled_are_those_of_the_scaled() {
    let text = "Model(inputs: { \"x\": \"f32[4]\", \"m\": \"f32\" }, body: [Identity], entries: { \"infer\": Infer(outputs: {
        \"sum\": \"sum(x * 1e-30)\", \"share\": \"sum(x / m)\", \"squares\": \"mean((x / m) ** 2)\",
        \"norm\": \"sqrt(sum((x / m) ** 2)) * 0.5 * m\",
    }) })";
    let model = Model::from_text("sums", text, &Settings::default()).unwrap_or_else(|e| panic!("{e}"));
    let executable = Arc::new(compile(model.graph("infer").unwrap(), &CompileOptions::default()).unwrap());
    let mut state = model.initial_state(1).unwrap();
    let mut instance = Instance::bind(executable, &state, &Threads::serial()).unwrap();
    let x = Tensor::from_slice(&[4], &[3e38f32, 2e38, 2e38, 1e38]).unwrap();
    let m = Tensor::scalar(3e38f32).unwrap();
    let outputs = instance.run_named(&mut state, &[("x", &x), ("m", &m)]).unwrap();
    for (name, right) in [("sum", 8e8), ("share", 2.666_666_7), ("squares", 0.5), ("norm", 2.121_320_3e38)] {
        let (_, found) = outputs.iter().find(|(found, _)| found == name).expect("the output");
        let found = found.as_slice::<f32>().unwrap()[0];
        assert!((found / right - 1.0f32).abs() < 1e-5, "{name} is {found}, not {right}");
    }
}

/// A batch of none has the loss NaN, the mean of nothing, and no gradient, whatever parameters a layer has.
#[test]
fn a_batch_of_none_has_no_gradients() {
    let (mut layers, mut wrong) = (0, Vec::new());
    for row in LAYERS {
        let Some(input) = row.input else { continue };
        let text = format!(
            "Model(inputs: {{ \"x\": \"{input}\" }}, body: [{}], entries: {{ \"train\": Train(loss: \"mean(it * it)\", \
             optimizer: Sgd(lr: 0.1)) }})",
            row.call
        );
        let model = match Model::from_text(row.name, &text, &Settings::default().dim("batch", 0)) {
            Ok(model) => model,
            Err(error) => {
                let error = error.to_string();
                let known = ["no parameter to train", "training needs more than one value"];
                assert!(known.iter().any(|known| error.contains(known)), "{}: {error}", row.call);
                continue;
            }
        };
        let graph = with_gradients(model.graph("train").unwrap()).unwrap();
        let executable = Arc::new(compile(&graph, &CompileOptions::default()).unwrap());
        let mut state = model.initial_state(1).unwrap();
        let dtype = executable.manifest().inputs[0].dtype;
        let x = Tensor::zeros(dtype, &executable.manifest().inputs[0].dims).unwrap();
        let mut instance = Instance::bind(executable, &state, &Threads::serial()).unwrap();
        for (name, tensor) in instance.run_named(&mut state, &[("x", &x)]).unwrap() {
            if !name.starts_with("grad.") {
                continue;
            }
            if !tensor.as_slice::<f32>().unwrap().iter().all(|&value| value == 0.0) {
                wrong.push(format!("{}: {name}", row.call));
            }
        }
        layers += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(layers >= 20, "{layers} layers have parameters");
}
