//! Large networks against PyTorch: outputs, loss, gradients and running statistics of one batch
//! (`tests/networks/README.md`).

use std::sync::Arc;

use brolga::ir::DType;
use brolga::passes::Algorithms;
use brolga::runtime::{Executable, Input, Instance, SlotKind};
use brolga::{CompileOptions, Model, Settings, State, Tensor, Threads, compile, with_gradients};

use crate::common::generate::{bits, images, initial, labels};
use crate::common::reference::{Reference, Row};

/// What the file has of the network, or of it without kinks.
fn reference(network: &str, kinks: bool) -> Vec<Row> {
    let mut rows = Reference::open(&format!("networks/{network}.safetensors")).unwrap().rows;
    rows.retain(|row| row.name.starts_with("smooth.") != kinks);
    // The error of a single number may be small by chance: that of the loss comes from all that leads to it.
    let forward = rows.iter().filter(|row| !row.name.contains("grad."));
    let worst = forward.map(|row| row.torch_error).fold(0.0, f64::max);
    for row in rows.iter_mut().filter(|row| row.name == "loss") {
        row.torch_error = worst;
    }
    rows
}

/// The largest error that the rule allows; `typical` is PyTorch's of gradients in a network where derivatives jump. One
/// jump changes all gradients before it, by 1e-3 or so, and which jump is chance, so a tensor may be as far off as most
/// are, or as this one was. What is strict is the comparison without kinks.
fn bound(row: &Row, float: DType, typical: Option<f64>) -> f64 {
    match (float, typical) {
        (DType::F64, _) => 1e-9,
        (_, Some(typical)) if row.name.starts_with("grad.") => (3.0 * row.torch_error.max(typical)).max(1e-3),
        _ => row.bound(),
    }
}

/// A network as the references have it, in f32 or f64: 10 classes, no dropout, logits for probabilities. Without kinks it
/// has SiLU for ReLU, and means for maxima of windows.
fn model(network: &str, float: DType, kinks: bool) -> Model {
    let (family, batch, settings): (_, _, &[(&str, &str)]) = match network {
        "resnet18" | "resnet50" => ("resnet", 4, &[("size", "64")]),
        "vgg11" => ("vgg", 2, &[("size", "64"), ("hidden", "[64, 64]"), ("dropout", "0")]),
        "alexnet-tv" => ("alexnet-tv", 2, &[("hidden", "64"), ("dropout", "0")]),
        "mobilenet_v2" => ("mobilenet_v2", 4, &[("size", "64"), ("dropout", "0")]),
        "googlenet-tv-aux" => ("googlenet-tv", 2, &[("size", "96"), ("dropout", "0"), ("aux_dropout", "0")]),
        "googlenet-aux" => ("googlenet", 2, &[("size", "96"), ("dropout", "0"), ("aux_dropout", "0")]),
        "densenet121" => ("densenet", 4, &[("size", "64")]),
        _ => ("bert-tiny-encoder", 2, &[("vocabulary", "500"), ("length", "32")]),
    };
    let text = brolga::models::catalogue::file(family).unwrap().text;
    let text = text.replace("\"probability\": \"softmax(logits)\"", "\"logits\": \"logits\"");
    let text = match kinks {
        true => text,
        false => text.replace("Relu6", "Silu").replace("Relu", "Silu").replace("MaxPool2d", "AvgPool2d"),
    };
    let mut all = Settings { float, ..Settings::variant(network).dim("batch", batch) };
    if family != "bert-tiny-encoder" {
        all = all.with("classes", "10");
    }
    for &(name, value) in settings {
        all = all.with(name, value);
    }
    // The bounds are those of direct sums.
    let mut options = CompileOptions::default();
    options.passes.algorithms = Algorithms::NONE;
    Model::from_text(network, &text, &all).unwrap().with_options(options)
}

/// These numbers as f32 or f64.
fn tensor(float: brolga::runtime::DType, dims: &[usize], values: &[f32]) -> Tensor {
    if float == brolga::runtime::DType::F32 {
        return Tensor::from_slice(dims, values).unwrap();
    }
    let values: Vec<f64> = values.iter().map(|&v| f64::from(v)).collect();
    Tensor::from_slice(dims, &values).unwrap()
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    match tensor.as_slice::<f32>() {
        Ok(values) => values.iter().map(|&v| f64::from(v)).collect(),
        Err(_) => tensor.as_slice::<f64>().unwrap().to_vec(),
    }
}

fn initial_state(model: &Model) -> State {
    let mut state = model.initial_state(0).unwrap();
    let slots = state.slots().iter().filter(|slot| slot.kind().is_weight());
    let weights: Vec<_> = slots
        .map(|slot| {
            let (name, old) = (slot.name().to_owned(), slot.tensor());
            let new = tensor(old.dtype(), old.dims(), &initial(&name, old.dims()));
            (name, new)
        })
        .collect();
    for (name, tensor) in weights {
        state.set(&name, tensor).unwrap();
    }
    state
}

fn input(input: &Input) -> Tensor {
    let (name, dims) = (input.name.as_str(), input.dims.as_slice());
    let count: usize = dims.iter().product();
    match name {
        "image" => tensor(input.dtype, dims, &images("image", count)),
        "label" => Tensor::from_slice(dims, &labels(count)).unwrap(),
        "masked" => {
            let masked: Vec<f32> =
                (0..count).map(|i| if bits(name, i).is_multiple_of(4) { 1.0 } else { 0.0 }).collect();
            tensor(input.dtype, dims, &masked)
        }
        _ => {
            let words: Vec<i32> = (0..count).map(|i| (bits(name, i) % 500) as i32).collect();
            Tensor::from_slice(dims, &words).unwrap()
        }
    }
}

/// Runs an executable once on the batch; its outputs.
fn run(executable: Arc<Executable>, state: &mut State, threads: &Threads) -> Vec<(String, Vec<f64>)> {
    let inputs = executable.manifest().inputs.iter().map(|about| (about.name.clone(), input(about)));
    let inputs: Vec<_> = inputs.collect();
    let inputs: Vec<_> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let mut instance = Instance::bind(executable, state, threads).unwrap();
    let outputs = instance.run_named(state, &inputs).unwrap();
    outputs.into_iter().map(|(name, tensor)| (name, numbers(&tensor))).collect()
}

/// Everything that a reference file has, as Brolga computes it.
fn compute(model: &Model) -> Vec<(String, Vec<f64>)> {
    let threads = Threads::new(2).unwrap();
    let mut state = initial_state(model);
    let infer = run(model.compile("infer").unwrap(), &mut state, &threads);
    let mut found = vec![("output".to_owned(), infer[0].1.clone())];
    found.extend(train(model, &mut state, &threads));
    let buffers = state.slots().iter().filter(|slot| slot.kind() == SlotKind::Buffer);
    found.extend(buffers.map(|slot| (format!("first.{}", slot.name()), numbers(slot.tensor()))));
    found
}

/// The loss and the gradients of a training step without kinks.
fn train_smooth(model: &Model) -> Vec<(String, Vec<f64>)> {
    let found = train(model, &mut initial_state(model), &Threads::new(2).unwrap());
    found.into_iter().map(|(name, values)| (format!("smooth.{name}"), values)).collect()
}

/// The loss and the gradients of a training step.
fn train(model: &Model, state: &mut State, threads: &Threads) -> Vec<(String, Vec<f64>)> {
    let graph = with_gradients(model.graph("train").unwrap()).unwrap();
    let train = Arc::new(compile(&graph, model.options()).unwrap());
    let outputs = run(train, state, threads).into_iter();
    outputs.filter(|(name, _)| name == "loss" || name.starts_with("grad.")).collect()
}

/// PyTorch's error of gradients where derivatives jump, in the median of the tensors: the worst of its runs in f32, which
/// differ by rounding errors of the image.
fn typical(rows: &[Row]) -> f64 {
    let gradients = rows.iter().filter(|row| row.name.starts_with("grad."));
    let mut errors: Vec<f64> = gradients.map(|row| row.torch_error).collect();
    errors.sort_by(f64::total_cmp);
    errors[errors.len() / 2]
}

/// Compares what was computed with what is stored.
fn compare(
    network: &str,
    float: DType,
    rows: &[Row],
    mut found: Vec<(String, Vec<f64>)>,
    bound: &dyn Fn(&Row) -> f64,
) {
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(found.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), names, "{network}");
    let mut wrong = Vec::new();
    for (row, (name, values)) in rows.iter().zip(&found) {
        let (error, bound) = (row.error(values).unwrap(), bound(row));
        let line = format!("{network} {float} {name:<44} {error:8.1e} of {bound:8.1e}");
        println!("{line}");
        // A NaN does not pass.
        if error.is_nan() || error > bound {
            wrong.push(line);
        }
    }
    assert!(wrong.is_empty(), "{} of {} tensors:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

fn agrees(network: &str) {
    let rows = reference(network, true);
    let kinks = network != "bert-tiny-encoder";
    let typical = kinks.then(|| typical(&rows));
    for float in [DType::F32, DType::F64] {
        let found = compute(&model(network, float, true));
        compare(network, float, &rows, found, &|row| bound(row, float, typical));
    }
    if kinks {
        let found = train_smooth(&model(network, DType::F32, false));
        compare(network, DType::F32, &reference(network, false), found, &Row::bound);
    }
}

/// The bound with fast algorithms, of whose errors `tests/snapshots/winograd.md` speaks, for gradients that went through
/// many of them.
#[test]
fn fast_algorithms_keep_their_bound() {
    for network in ["resnet18", "googlenet-tv-aux"] {
        let model = model(network, DType::F32, false).with_options(CompileOptions::default());
        compare(network, DType::F32, &reference(network, false), train_smooth(&model), &|_| 1e-3);
    }
}

macro_rules! networks {
    ($($test:ident: $name:literal),* $(,)?) => {
        $(#[test]
        fn $test() {
            agrees($name);
        })*
    };
}

networks! {
    resnet18: "resnet18",
    resnet50: "resnet50",
    vgg11: "vgg11",
    alexnet_tv: "alexnet-tv",
    mobilenet_v2: "mobilenet_v2",
    googlenet_tv: "googlenet-tv-aux",
    googlenet: "googlenet-aux",
    densenet121: "densenet121",
    bert_tiny_encoder: "bert-tiny-encoder",
}

/// A change of one element in a thousand is seen, be it stored or not, and so are values in another order.
#[test]
fn changes_are_seen() {
    let values: Vec<f64> = images("image", 1000).into_iter().map(f64::from).collect();
    let stored = |j: usize| (bits("at.first.x", j) % 1000) as usize;
    let row = Row::of("first.x", &values, 1e-7, 14);
    let passes = |values: &[f64]| row.passes(row.error(values).unwrap());
    assert!(passes(&values) && row.numbers()[3] == values[stored(3)]);
    for at in [stored(3), 0, 500, 999] {
        for change in [1e-4, f64::NAN] {
            let mut changed = values.clone();
            changed[at] += change;
            assert!(!passes(&changed), "{at} {change}");
        }
    }
    let mut turned = values.clone();
    turned.rotate_left(1);
    assert!(!passes(&turned));
}
