//! Large networks against PyTorch: outputs, loss, gradients and running statistics of one batch
//! (`tests/networks/README.md`).

use std::sync::Arc;

use brolga::ir::DType;
use brolga::passes::Algorithms;
use brolga::runtime::{Executable, Input, Instance, SlotKind};
use brolga::{CompileOptions, Model, Settings, State, Tensor, Threads, compile, with_gradients};
use safetensors::SafeTensors;

use crate::common::generate::{bits, images, initial, labels};

/// Elements stored of each tensor.
const SAMPLES: usize = 16;

/// What PyTorch computed of one tensor.
struct Row {
    name: String,
    /// `max|y64|` over the whole tensor; where it is nothing but rounding, over all gradients.
    largest: f64,
    /// `max|y32 - y64| / max|y64|` of PyTorch's run in f32.
    torch_error: f64,
    /// The elements' sum with signs from a formula.
    projection: f64,
    samples: [f64; SAMPLES],
}

fn reference(network: &str) -> Vec<Row> {
    let path = format!("{}/tests/networks/{network}.safetensors", env!("CARGO_MANIFEST_DIR"));
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let names = &metadata.metadata().as_ref().expect("names")["names"];
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let data = file.tensor("rows").unwrap();
    let numbers: Vec<f64> = data.data().as_chunks().0.iter().map(|&c| f64::from_le_bytes(c)).collect();
    let mut rows: Vec<Row> = names
        .lines()
        .zip(numbers.chunks_exact(4 + SAMPLES))
        .map(|(name, row)| Row {
            name: name.to_owned(),
            largest: row[0],
            torch_error: row[2], // row[1] is that of the first run alone
            projection: row[3],
            samples: row[4..].try_into().unwrap(),
        })
        .collect();
    assert_eq!(data.shape(), [rows.len(), 4 + SAMPLES]);
    // The error of a single number may be small by chance: that of the loss comes from all that leads to it.
    let forward = rows.iter().filter(|row| !row.name.starts_with("grad."));
    let worst = forward.map(|row| row.torch_error).fold(0.0, f64::max);
    for row in rows.iter_mut().filter(|row| row.name == "loss") {
        row.torch_error = worst;
    }
    rows
}

impl Row {
    /// The larger of the largest error of the stored elements, and that of the projection as if all elements had it:
    /// signs that know nothing of the errors add n of them up to their root mean square times the root of n.
    fn error(&self, values: &[f64]) -> f64 {
        let sign = |i: usize| if bits(&self.name, i) >> 63 == 1 { -1.0 } else { 1.0 };
        let projection: f64 = values.iter().enumerate().map(|(i, y)| sign(i) * y).sum();
        let at = |j: usize| match values.len() {
            ..=SAMPLES => j,
            many => (bits(&format!("at.{}", self.name), j) % many as u64) as usize,
        };
        let stored = self.samples.iter().take(values.len()).enumerate();
        let differences = stored.map(|(j, y64)| (values[at(j)] - y64).abs());
        let sum = (projection - self.projection).abs() / (values.len() as f64).sqrt();
        // Unlike f64::max, this keeps a NaN.
        let worst = differences.fold(sum, |worst, d| if d > worst || d.is_nan() { d } else { worst });
        if worst == 0.0 { 0.0 } else { worst / self.largest }
    }

    /// The largest error that the rule allows; `typical` is PyTorch's of gradients in a network where derivatives jump. One
    /// jump changes all gradients before it, by 1e-3 or so, and which jump is chance, so a tensor may be as far off as most
    /// are, or as this one was. What is strict is the comparison without kinks.
    fn bound(&self, float: DType, typical: Option<f64>) -> f64 {
        match (float, typical) {
            (DType::F64, _) => 1e-9,
            (_, Some(typical)) if self.name.starts_with("grad.") => {
                (3.0 * self.torch_error.max(typical)).max(1e-3)
            }
            _ => (3.0 * self.torch_error).max(1e-6),
        }
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
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
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

/// Compares what was computed with a reference file.
fn compare(
    file: &str,
    float: DType,
    rows: &mut [Row],
    found: &mut [(String, Vec<f64>)],
    bound: &dyn Fn(&Row) -> f64,
) {
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(found.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), names, "{file}");
    let mut wrong = Vec::new();
    for (row, (name, values)) in rows.iter().zip(found) {
        let (error, bound) = (row.error(values), bound(row));
        let line = format!("{file} {float} {name:<44} {error:8.1e} of {bound:8.1e}");
        println!("{line}");
        // A NaN does not pass.
        if error.is_nan() || error > bound {
            wrong.push(line);
        }
    }
    assert!(wrong.is_empty(), "{} of {} tensors:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

fn agrees(network: &str) {
    let mut rows = reference(network);
    let kinks = network != "bert-tiny-encoder";
    let typical = kinks.then(|| typical(&rows));
    for float in [DType::F32, DType::F64] {
        let mut found = compute(&model(network, float, true));
        compare(network, float, &mut rows, &mut found, &|row| row.bound(float, typical));
    }
    if kinks {
        let file = format!("{network}-smooth");
        let model = model(network, DType::F32, false);
        let mut found = train(&model, &mut initial_state(&model), &Threads::new(2).unwrap());
        compare(&file, DType::F32, &mut reference(&file), &mut found, &|row| row.bound(DType::F32, None));
    }
}

/// The bound with fast algorithms, of whose errors `tests/snapshots/winograd.md` speaks, for gradients that went through
/// many of them.
#[test]
fn fast_algorithms_keep_their_bound() {
    for network in ["resnet18", "googlenet-tv-aux"] {
        let file = format!("{network}-smooth");
        let model = model(network, DType::F32, false).with_options(CompileOptions::default());
        let mut found = train(&model, &mut initial_state(&model), &Threads::new(2).unwrap());
        compare(&file, DType::F32, &mut reference(&file), &mut found, &|_| 1e-3);
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
    let sign = |i: usize| if bits("first.x", i) >> 63 == 1 { -1.0 } else { 1.0 };
    let row = Row {
        largest: 1.7,
        torch_error: 1e-7,
        projection: values.iter().enumerate().map(|(i, y)| sign(i) * y).sum(),
        samples: std::array::from_fn(|j| values[stored(j)]),
        name: "first.x".to_owned(),
    };
    let passes = |values: &[f64]| row.error(values) <= row.bound(DType::F32, None);
    assert!(passes(&values));
    for at in [stored(3), 0, 999] {
        for change in [1e-3, f64::NAN] {
            let mut changed = values.clone();
            changed[at] += change;
            assert!(!passes(&changed), "{at} {change}");
        }
    }
    let mut turned = values.clone();
    turned.rotate_left(1);
    assert!(!passes(&turned));
}
