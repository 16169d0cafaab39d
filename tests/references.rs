//! Comparison with PyTorch (`tests/references/README.md`).

use std::sync::Arc;

use brolga::passes::Algorithms;
use brolga::runtime::{Instance, SlotKind};
use brolga::{CompileOptions, Model, Settings, State, Tensor, Threads, compile, with_gradients};

use crate::common::generate::{bits, images, initial, labels};
use crate::common::reference::{Reference, Row, stride};

#[test]
fn generates_the_known_values() {
    assert_eq!(bits("image", 0), 0xb117_8fc3_f9b0_0095);
    assert_eq!(bits("image", 1), 0xf2c8_e909_1799_e73e);
    assert_eq!(images("image", 3), [0.652_003_47, 1.524_485_7, 0.446_369_23]);
    assert_eq!(labels(8), [5, 3, 3, 1, 2, 2, 3, 1]);
    assert_eq!(initial("fc1.weight", &[256, 784])[255 * 784 + 783], -0.025_306_452);
    assert_eq!(initial("bn1.weight", &[16])[15], 1.006_376_4);
}

/// Every reference file, with the models that it is for.
const MODELS: [&str; 6] =
    ["mlp-256-128", "lenet5", "lenet5-tanh", "resnet20", "resnet20-projection", "vgg-mini"];

#[test]
fn every_reference_is_complete() {
    for model in MODELS {
        for optimizer in ["sgd", "adam"] {
            let reference = Reference::open(model, optimizer).unwrap();
            let names = reference.names();
            let with = |prefix: &str| names.iter().filter_map(|n| n.strip_prefix(prefix)).collect::<Vec<_>>();
            let parameters = with("grad.");
            assert!(parameters.len() >= 6, "{model}: {parameters:?}");
            let mut state = [parameters, with("first.")].concat();
            state.sort_unstable();
            assert_eq!(with("final."), state, "{model}: every parameter and running statistic");
            assert!(names.iter().any(|n| n == "logits") && names.iter().any(|n| n == "losses"));
        }
    }
}

#[test]
fn a_stride_leaves_no_row_out() {
    assert_eq!([0, 1, 150, 1024].map(stride), [1, 1, 1, 1]);
    // 2 does not divide 1,025; 2,304 = 16 * 16 * 3 * 3 needs 5; 36,864 = 64 * 64 * 3 * 3 needs 37.
    assert_eq!([1025, 2304, 36_864].map(stride), [2, 5, 37]);
}

/// What is stored, spread out again to a whole tensor, is equal; a change above the bound is seen.
#[test]
fn compares_by_the_rule() {
    let reference = Reference::open("lenet5", "sgd").unwrap();
    let exact: Vec<f32> = reference.tensor("final.conv2.bias").unwrap().iter().map(|&v| v as f32).collect();
    let row = reference.compare("final.conv2.bias", &exact).unwrap();
    assert!(row.passes() && row.error < 1e-7, "{row}");
    assert!(row.bound >= 1e-6);

    let largest = exact.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    for (wrong, change) in [(3, 2.0 * row.bound as f32 * largest), (0, f32::NAN), (7, f32::INFINITY)] {
        let mut changed = exact.clone();
        changed[wrong] += change;
        let row = reference.compare("final.conv2.bias", &changed).unwrap();
        assert!(!row.passes(), "{row}");
    }

    assert!(reference.compare("final.conv2.bias", &exact[1..]).unwrap_err().contains("15 elements"));
    assert!(reference.compare("final.conv9.bias", &exact).unwrap_err().contains("conv9"));
    assert!(Reference::open("lenet6", "sgd").is_err());
}

/// A large tensor is compared where samples of it are stored.
#[test]
fn compares_samples_of_large_tensors() {
    let reference = Reference::open("mlp-256-128", "adam").unwrap();
    let stored = reference.tensor("grad.fc1.weight").unwrap();
    let count = 256 * 784;
    let mut whole = vec![0.0; count];
    for (i, value) in stored.iter().enumerate() {
        whole[i * stride(count)] = *value as f32;
    }
    let row: Row = reference.compare("grad.fc1.weight", &whole).unwrap();
    assert!(row.passes(), "{row}");
    whole[stride(count)] += 1.0;
    assert!(!reference.compare("grad.fc1.weight", &whole).unwrap().passes());
}

/// The model as the references have it: this optimiser, logits for probabilities, no dropout.
fn model(name: &str, optimizer: &str) -> Model {
    let family = match name {
        "mlp-256-128" => "mlp",
        "resnet20" | "resnet20-projection" => "resnet-cifar",
        "vgg-mini" => "vgg",
        _ => "lenet5",
    };
    let text = brolga::models::catalogue::file(family).unwrap().text;
    let gentle = !["mlp", "lenet5"].contains(&family);
    let optimizer = match (optimizer, gentle) {
        ("sgd", false) => "optimizer: Sgd(lr: 0.01, momentum: 0.9),",
        ("sgd", true) => "optimizer: Sgd(lr: 5e-6, momentum: 0.9),",
        (_, false) => "optimizer: Adam(lr: 0.001),",
        (_, true) => "optimizer: Adam(lr: 5e-6, eps: 0.1),",
    };
    let lines = text.lines().map(|l| if l.trim_start().starts_with("optimizer:") { optimizer } else { l });
    let text = lines.collect::<Vec<_>>().join("\n");
    let text = text.replace("\"probability\": \"softmax(logits)\"", "\"logits\": \"logits\"");
    let batch = match name {
        "mlp-256-128" | "lenet5" => 64,
        "lenet5-tanh" => 32,
        _ => 16,
    };
    let mut settings = Settings::variant(name).dim("batch", batch);
    if name == "vgg-mini" {
        for (parameter, value) in [
            ("stages", "[2, 2]"),
            ("widths", "[16, 32]"),
            ("hidden", "[64]"),
            ("pooled", "8"),
            ("dropout", "0.0"),
        ] {
            settings = settings.with(parameter, value);
        }
    }
    // The bounds are those of direct sums.
    let mut options = CompileOptions::default();
    options.passes.algorithms = Algorithms::NONE;
    Model::from_text(name, &text, &settings).unwrap().with_options(options)
}

fn initial_state(model: &Model) -> State {
    let mut state = model.initial_state(0).unwrap();
    let slots = state.slots().iter().filter(|slot| slot.kind().is_weight());
    let names: Vec<_> = slots.map(|slot| (slot.name().to_owned(), slot.tensor().dims().to_vec())).collect();
    for (name, dims) in names {
        state.set(&name, Tensor::from_slice(&dims, &initial(&name, &dims)).unwrap()).unwrap();
    }
    state
}

/// Everything that a reference file has, as Brolga computes it.
fn compute(model: &Model) -> Vec<(String, Vec<f32>)> {
    // Streams that leave no pre-activation within rounding of 0 in the first step.
    let stream = match model.name() {
        "resnet20" => "image.27",
        "resnet20-projection" => "image.9",
        _ => "image",
    };
    let threads = Threads::new(2).unwrap();
    let batch_of = |name: &str| {
        let executable = model.compile(name).unwrap();
        let inputs = executable.manifest().inputs.iter().map(|input| {
            let count = input.dims.iter().product();
            let tensor = match input.name.as_str() {
                "image" => Tensor::from_slice(&input.dims, &images(stream, count)),
                _ => Tensor::from_slice(&input.dims, &labels(count)),
            };
            (input.name.clone(), tensor.unwrap())
        });
        (executable.clone(), inputs.collect::<Vec<_>>())
    };
    fn borrowed(inputs: &[(String, Tensor)]) -> Vec<(&str, &Tensor)> {
        inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect()
    }
    let floats = |tensor: &Tensor| tensor.as_slice::<f32>().unwrap().to_vec();
    let mut found = Vec::new();

    let mut state = initial_state(model);
    let (infer, inputs) = batch_of("infer");
    let mut instance = Instance::bind(infer, &state, &threads).unwrap();
    let outputs = instance.run_named(&mut state, &borrowed(&inputs)).unwrap();
    found.push(("logits".to_owned(), floats(&outputs[0].1)));

    let (train, inputs) = batch_of("train");
    let graph = with_gradients(model.graph("train").unwrap()).unwrap();
    let gradients = Arc::new(compile(&graph, model.options()).unwrap());
    let mut scratch = state.try_clone().unwrap();
    let mut instance = Instance::bind(gradients, &scratch, &threads).unwrap();
    let outputs = instance.run_named(&mut scratch, &borrowed(&inputs)).unwrap();
    found.extend(outputs.iter().filter(|(n, _)| n.starts_with("grad.")).map(|(n, t)| (n.clone(), floats(t))));

    let mut instance = Instance::bind(train, &state, &threads).unwrap();
    let mut losses = Vec::new();
    for step in 0..20 {
        let outputs = instance.run_named(&mut state, &borrowed(&inputs)).unwrap();
        losses.push(outputs.iter().find(|(name, _)| name == "loss").unwrap().1.item().unwrap() as f32);
        for slot in state.slots().iter().filter(|slot| slot.kind().is_weight()) {
            let value = || floats(slot.tensor());
            if step == 0 && slot.kind() == SlotKind::Buffer {
                found.push((format!("first.{}", slot.name()), value()));
            }
            if step == 19 {
                found.push((format!("final.{}", slot.name()), value()));
            }
        }
    }
    found.push(("losses".to_owned(), losses));
    found
}

/// Compares everything by the rule.
fn agrees(name: &str) {
    let mut wrong = Vec::new();
    for optimizer in ["sgd", "adam"] {
        let reference = Reference::open(name, optimizer).unwrap();
        let found = compute(&model(name, optimizer));
        let mut names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, reference.names(), "{name}.{optimizer}: what is compared");
        for (tensor, values) in &found {
            let row = reference.compare(tensor, values).unwrap();
            println!("{name}.{optimizer} {row}");
            if !row.passes() {
                wrong.push(format!("{name}.{optimizer} {row}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} tensors differ too much:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn mlp_agrees_with_pytorch() {
    agrees("mlp-256-128");
}

#[test]
fn lenet5_agrees_with_pytorch() {
    agrees("lenet5");
}

#[test]
fn lenet5_tanh_agrees_with_pytorch() {
    agrees("lenet5-tanh");
}

#[test]
fn resnet20_agrees_with_pytorch() {
    agrees("resnet20");
}

#[test]
fn resnet20_projection_agrees_with_pytorch() {
    agrees("resnet20-projection");
}

#[test]
fn vgg_mini_agrees_with_pytorch() {
    agrees("vgg-mini");
}
