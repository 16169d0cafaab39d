//! Models without inputs, whose values come from parameters alone, and gradients by every input of floating type.

#![cfg(feature = "cli")]

use std::sync::Arc;

use brolga::runtime::{Instance, read_tensors};
use brolga::{CompileOptions, Model, Settings, Tensor, Threads, compile, with_gradients};

use crate::cli::{bad, folder, good};

/// A matrix that comes near the identity: the least squares of its product with a fixed one.
const FACTORS: &str = "Model(
    body: [
        Parameter(name: \"a\", dims: [3, 2], init: Normal(std: 1)), As(\"a\"),
        Parameter(name: \"b\", dims: [2, 3], init: Normal(std: 1)), Expr(\"a @ it\"), As(\"product\"),
    ],
    entries: {
        \"infer\": Infer(outputs: { \"product\": \"product\" }),
        \"train\": Train(
            loss: \"mean((product - 1) ** 2)\", optimizer: Adam(lr: 0.05),
            metrics: { \"largest\": \"max(product)\" },
        ),
    },
)";

#[test]
fn a_model_without_inputs_runs_and_trains() {
    let model = Model::from_text("factors", FACTORS, &Settings::default()).unwrap_or_else(|e| panic!("{e}"));
    let threads = Threads::new(1).unwrap();
    let mut state = model.initial_state(3).unwrap();
    let executable = model.compile("train").unwrap();
    assert!(executable.manifest().inputs.is_empty());
    let mut instance = Instance::bind(executable, &state, &threads).unwrap();
    let mut losses = Vec::new();
    for _ in 0..200 {
        let outputs = instance.run_named(&mut state, &[]).unwrap();
        losses.push(outputs.iter().find(|(name, _)| name == "loss").unwrap().1.item().unwrap());
    }
    assert!(losses[199] < 1e-3 * losses[0], "{} to {}", losses[0], losses[199]);
    let mut instance = Instance::bind(model.compile("infer").unwrap(), &state, &threads).unwrap();
    let outputs = instance.run_named(&mut state, &[]).unwrap();
    assert!(outputs[0].1.as_slice::<f32>().unwrap().iter().all(|v| (v - 1.0).abs() < 0.1));
}

#[test]
fn the_command_takes_models_without_inputs() {
    let folder = folder();
    let at = folder.path();
    std::fs::write(at.join("factors.ron"), FACTORS).unwrap();
    assert!(good(at, "check factors.ron").contains("a"));
    let text = good(at, "step factors.ron --steps 50 --save s.safetensors --grads g.safetensors");
    assert!(text.contains("step 50: loss"), "{text}");
    let gradients = read_tensors(at.join("g.safetensors")).unwrap();
    let mut names: Vec<&str> = gradients.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["grad.a", "grad.b"]);
    good(at, "run factors.ron --weights s.safetensors --outputs y.npz");
    assert_eq!(read_tensors(at.join("y.npz")).unwrap()[0].1.dims(), [3, 3]);
    // An epoch is one update: there is nothing to go through.
    let text = good(at, "train factors.ron --epochs 150 --save t.safetensors");
    assert!(text.contains("no data: 150 epochs, 150 updates"), "{text}");
    good(at, "train factors.ron --epochs 90 --checkpoint c --save u.safetensors");
    good(at, "train factors.ron --epochs 150 --checkpoint c --resume --save u.safetensors");
    let [whole, resumed] =
        ["t", "u"].map(|name| std::fs::read(at.join(format!("{name}.safetensors"))).unwrap());
    assert!(whole == resumed, "a run that was resumed ends elsewhere");
    assert!(bad(at, "train factors.ron --data digits").contains("no inputs"));
    // It is evaluated once, on nothing.
    let text = good(at, "evaluate factors.ron --weights t.safetensors");
    assert!(text.starts_with("factors, which has no inputs\n") && text.contains("loss"), "{text}");
    let text = good(at, "evaluate factors.ron --weights t.safetensors --json");
    assert!(text.contains("\"samples\":0") && text.contains("\"loss\":"), "{text}");
    for option in ["--all", "--target y", "--data digits"] {
        let errors = bad(at, &format!("evaluate factors.ron --weights t.safetensors {option}"));
        assert!(errors.contains("no inputs"), "{option}: {errors}");
    }
    let errors = bad(at, "run lenet5 --outputs y.npz");
    assert!(errors.contains("--inputs") && errors.contains("image"), "{errors}");
}

/// Each input of floating type, whatever it is for, has a gradient; one that no loss depends on has zeros.
#[test]
fn gradients_by_every_input() {
    let text = "Model(
        inputs: {
            \"x\": \"f32[2, 3]\", \"double\": \"f64[2, 3]\", \"target\": \"f32[2, 3]\", \"weight\": \"f32[3]\", \"mask\": \"f32[2, 2]\",
            \"shown\": \"f32[2]\", \"label\": \"i32[2]\",
        },
        body: [Linear(name: \"fc\", features: 3), As(\"y\"), Expr(\"attention(y[none], y[none], y[none], mask=mask)\"), As(\"mixed\")],
        entries: { \"train\": Entry(
            steps: [
                Minimize(loss: \"mean((y - target) ** 2 * weight) + float(mean(double * 2)) * mean(y)\", of: \"fc.weight\", optimizer: Sgd(lr: 0.1)),
                Minimize(loss: \"sum(mixed) + cross_entropy(y, label)\", of: \"fc.bias\", optimizer: Sgd(lr: 0.1)),
            ],
            outputs: { \"shown\": \"sum(shown)\" },
        ) },
    )";
    let model = Model::from_text("inputs", text, &Settings::default()).unwrap_or_else(|e| panic!("{e}"));
    let graph = with_gradients(model.graph("train").unwrap()).unwrap();
    let executable = Arc::new(compile(&graph, &CompileOptions::default()).unwrap());
    let mut state = model.initial_state(1).unwrap();
    let mut instance = Instance::bind(executable, &state, &Threads::new(1).unwrap()).unwrap();
    let wave = |dims: &[usize], shift: usize| {
        let values: Vec<f32> =
            (0..dims.iter().product()).map(|i| ((i * 5 + shift) % 7) as f32 / 4.0 - 0.6).collect();
        Tensor::from_slice(dims, &values).unwrap()
    };
    let given = [
        ("x", wave(&[2, 3], 1)),
        ("double", Tensor::from_slice(&[2, 3], &[0.5f64, -1.0, 2.0, 0.25, 1.0, 0.75]).unwrap()),
        ("target", wave(&[2, 3], 2)),
        ("weight", wave(&[3], 3)),
        ("mask", wave(&[2, 2], 4)),
        ("shown", wave(&[2], 5)),
        ("label", Tensor::from_slice(&[2], &[2i32, 0]).unwrap()),
    ];
    let inputs: Vec<(&str, &Tensor)> = given.iter().map(|(name, tensor)| (*name, tensor)).collect();
    let outputs = instance.run_named(&mut state, &inputs).unwrap();
    for (name, input) in &given {
        let found = outputs.iter().find(|(other, _)| *other == format!("input.{name}"));
        if *name == "label" {
            assert!(found.is_none());
            continue;
        }
        let gradient = &found.unwrap_or_else(|| panic!("no gradient by {name}")).1;
        assert_eq!((gradient.dims(), gradient.dtype()), (input.dims(), input.dtype()), "{name}");
        let empty = gradient.bytes().iter().all(|&byte| byte == 0);
        assert_eq!(empty, *name == "shown", "{name}: {gradient:?}");
    }
}
