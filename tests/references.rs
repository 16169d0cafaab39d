//! Comparison with PyTorch (`tests/references/README.md`).

use std::collections::BTreeSet;
use std::sync::Arc;

use brolga::passes::Algorithms;
use brolga::runtime::{Instance, SlotKind};
use brolga::{CompileOptions, Model, Settings, State, Tensor, Threads, compile, with_gradients};

use crate::common::generate::{bits, images, initial, labels};
use crate::common::reference::{Reference, Row, digest};

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
        let reference = Reference::open(&file(model)).unwrap();
        let names: Vec<&str> = reference.rows.iter().map(|row| row.name.as_str()).collect();
        let with = |prefix: &str| names.iter().filter_map(|n| n.strip_prefix(prefix)).collect::<Vec<_>>();
        let parameters = with("grad.");
        assert!(parameters.len() >= 6, "{model}: {parameters:?}");
        let mut state = [parameters, with("first.")].concat();
        state.sort_unstable();
        assert!(names.contains(&"logits"));
        for optimizer in ["sgd", "adam"] {
            let last = with(&format!("{optimizer}.final."));
            assert_eq!(last, state, "{model}: every parameter and running statistic");
            assert!(names.contains(&format!("{optimizer}.losses").as_str()));
        }
        assert_eq!(names.len(), 2 * (1 + state.len()) + state.len() + 1);
    }
}

/// A repository keeps what it ever had: a model's numbers are at most 100 KB.
#[test]
fn no_reference_is_large() {
    let mut found = 0;
    for folder in ["references", "networks", "recurrent"] {
        let path = format!("{}/tests/{folder}", env!("CARGO_MANIFEST_DIR"));
        for entry in std::fs::read_dir(&path).unwrap().map(Result::unwrap) {
            let (name, size) = (entry.file_name(), entry.metadata().unwrap().len());
            if entry.path().extension().is_some_and(|extension| extension == "safetensors") {
                assert!(size <= 100_000, "{name:?} has {size} bytes");
                found += 1;
            }
        }
    }
    assert!(found >= 24, "{found}");
}

/// The numbers that `make.py` is tested with as well.
#[test]
fn digests_have_the_known_values() {
    let values: Vec<f64> = images("image", 8 * 28 * 28).into_iter().map(f64::from).collect();
    let known = [
        0.057_072_937_488_555_91,
        0.088_909_350_335_597_99,
        0.395_237_982_273_101_8,
        0.461_962_193_250_656_13,
        0.015_255_520_137_741_058,
        0.642_491_291_079_546_2,
        1.264_488_451_717_621_4,
        -0.403_591_657_733_047_67,
    ];
    let found = digest("first.x", &values, 8);
    assert_eq!(found.len(), known.len());
    assert!(found.iter().zip(known).all(|(y, known)| (y - known).abs() < 1e-14), "{found:?}");
    assert_eq!(digest("first.x", &values[..8], 8), values[..8]);
}

/// Of a small tensor all is stored; a change above the bound is seen.
#[test]
fn compares_by_the_rule() {
    let reference = Reference::open(&file("lenet5")).unwrap();
    let row = reference.row("sgd.final.conv2.bias").unwrap();
    assert!(row.count == 16 && row.bound() >= 1e-6);
    let exact: Vec<f64> = row.numbers().iter().map(|&v| f64::from(v as f32)).collect();
    let error = row.error(&exact).unwrap();
    assert!(error < 1e-7, "{error}");

    for (wrong, change) in [(3, 2.0 * row.bound() * row.largest), (0, f64::NAN), (7, f64::INFINITY)] {
        let mut changed = exact.clone();
        changed[wrong] += change;
        let error = row.error(&changed).unwrap();
        assert!(!row.passes(error), "{error}");
    }

    assert!(row.error(&exact[1..]).unwrap_err().contains("15 elements"));
    assert!(reference.row("sgd.final.conv9.bias").unwrap_err().contains("conv9"));
    assert!(Reference::open(&file("lenet6")).is_err());
}

/// A wrong element of a tensor of which not all is stored is seen wherever it is; so are rows in another order.
#[test]
fn every_element_of_a_large_tensor_counts() {
    let values: Vec<f64> = initial("x.weight", &[64, 64, 3, 3]).into_iter().map(f64::from).collect();
    let row = Row::of("grad.x.weight", &values, 1e-7, 96);
    assert!(row.numbers().len() == 96 && row.passes(row.error(&values).unwrap()));
    for at in (0..values.len()).step_by(1009) {
        for change in [1.01 * row.seen(), -1.01 * row.seen(), f64::NAN] {
            let mut changed = values.clone();
            changed[at] += change;
            assert!(!row.passes(row.error(&changed).unwrap()), "{at}: {change}");
        }
    }
    let mut turned = values;
    turned.rotate_left(9);
    assert!(!row.passes(row.error(&turned).unwrap()));
}

fn file(model: &str) -> String {
    format!("references/{model}.safetensors")
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

/// Everything that a reference file has of this optimiser, as Brolga computes it.
fn compute(model: &Model, optimizer: &str) -> Vec<(String, Vec<f64>)> {
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
    let floats = |tensor: &Tensor| -> Vec<f64> {
        tensor.as_slice::<f32>().unwrap().iter().map(|&v| f64::from(v)).collect()
    };
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
        losses.push(outputs.iter().find(|(name, _)| name == "loss").unwrap().1.item().unwrap());
        for slot in state.slots().iter().filter(|slot| slot.kind().is_weight()) {
            let value = || floats(slot.tensor());
            if step == 0 && slot.kind() == SlotKind::Buffer {
                found.push((format!("first.{}", slot.name()), value()));
            }
            if step == 19 {
                found.push((format!("{optimizer}.final.{}", slot.name()), value()));
            }
        }
    }
    found.push((format!("{optimizer}.losses"), losses));
    found
}

/// Compares everything by the rule. Nothing passes with a wrong element in its middle.
fn agrees(name: &str) {
    let reference = Reference::open(&file(name)).unwrap();
    let (mut wrong, mut compared) = (Vec::new(), BTreeSet::new());
    for optimizer in ["sgd", "adam"] {
        for (tensor, mut values) in compute(&model(name, optimizer), optimizer) {
            let row = reference.row(&tensor).unwrap();
            let error = row.error(&values).unwrap();
            let line = format!("{name} {optimizer} {tensor:<44} {error:9.2e} of {:8.2e}", row.bound());
            println!("{line}");
            if !row.passes(error) {
                wrong.push(line);
            } else {
                let middle = values.len() / 2;
                values[middle] += 1.01 * row.seen();
                assert!(!row.passes(row.error(&values).unwrap()), "{tensor}: a wrong element is not seen");
            }
            compared.insert(tensor);
        }
    }
    assert!(wrong.is_empty(), "{} tensors differ too much:\n{}", wrong.len(), wrong.join("\n"));
    let stored: BTreeSet<String> = reference.rows.iter().map(|row| row.name.clone()).collect();
    assert_eq!(compared, stored, "{name}: what is compared");
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
