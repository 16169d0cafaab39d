//! Recurrent networks against PyTorch: outputs, gradients of the first step, losses of 20 steps and what they leave
//! (`tests/recurrent/README.md`).

use std::sync::Arc;

use brolga::ir::DType;
use brolga::passes::Algorithms;
use brolga::runtime::{Executable, Input, Instance};
use brolga::{CompileOptions, Model, Settings, State, Tensor, Threads, compile, with_gradients};

use crate::common::generate::{bits, uniform};
use crate::common::reference::{Reference, Row};

const STEPS: usize = 20;

/// A case: its name, the layer or the family of models it is of, its settings, and what its inputs of whole numbers stay below.
struct Case {
    name: &'static str,
    what: What,
    sizes: &'static [(&'static str, usize)],
    below: usize,
    rate: &'static str,
    /// The least bound of gradients in f32.
    gradients: f64,
}

/// The least bound of the rule.
const LEAST: f64 = 1e-6;

enum What {
    /// A step that reads the series.
    Layer(&'static str),
    /// A model that comes along, with settings.
    Model(&'static str, &'static [(&'static str, &'static str)]),
}

const fn layer(name: &'static str, call: &'static str) -> Case {
    Case { name, what: What::Layer(call), sizes: &[], below: 5, rate: "0.01", gradients: LEAST }
}

const fn comes_along(
    name: &'static str,
    family: &'static str,
    set: &'static [(&'static str, &'static str)],
    sizes: &'static [(&'static str, usize)],
    below: usize,
) -> Case {
    Case { name, what: What::Model(family, set), sizes, below, rate: "0.01", gradients: LEAST }
}

static CASES: [Case; 9] = [
    layer("rnn", "Rnn(name: \"rnn\", features: 12)"),
    layer("lstm", "Lstm(name: \"rnn\", features: 12, layers: 2, bidirectional: true, lengths: \"length\")"),
    layer("gru", "Gru(name: \"rnn\", features: 12)"),
    layer("gru-before", "Gru(name: \"rnn\", features: 12, reset: \"before\")"),
    comes_along("lstm-peephole", "lstm-peephole", &[], &[("batch", 6), ("longest", 20)], 7),
    Case { rate: "1e-4", ..comes_along("irnn", "irnn", &[("n", "16")], &[("batch", 4), ("length", 20)], 0) },
    comes_along("char-gru", "char-gru", &[], &[("batch", 4)], 65),
    // Behind every gradient stands the sum of 10,000 products that leads back from the words, in one chain.
    Case {
        gradients: 2.5e-6,
        ..comes_along("ptb-lstm-small", "ptb-lstm-small", &[], &[("batch", 4)], 10_000)
    },
    comes_along("ptb-lstm-1000", "ptb-lstm-small", &[("vocabulary", "1000")], &[("batch", 4)], 1_000),
];

/// The text with this optimiser, and with logits for probabilities.
fn as_compared(text: &str, rate: &str) -> String {
    let at = text.find("optimizer: ").expect("an optimiser");
    let clip = "clip: ClipNorm(1),";
    let length = text[at..].find("),").expect("an end") + 2;
    let (before, rest) = (&text[..at], text[at + length..].replace(clip, ""));
    let rest = rest.replace("softmax(logits)", "logits");
    let before = before.replace("softmax(logits)", "logits");
    format!("{before}optimizer: Sgd(lr: {rate}, momentum: 0.9),{rest}")
}

fn model(case: &Case, float: DType) -> Model {
    let mut settings = Settings { float, ..Settings::default() };
    let text = match case.what {
        What::Layer(call) => format!(
            "Model(
                inputs: {{ \"x\": \"f32[6, 9, 7]\", \"length\": \"i32[6]\", \"label\": \"i32[6, 9]\" }},
                body: [{call}, Linear(name: \"out\", features: 5), As(\"logits\")],
                entries: {{
                    \"infer\": Infer(outputs: {{ \"logits\": \"softmax(logits)\" }}),
                    \"train\": Train(loss: \"cross_entropy(logits, label)\", optimizer: Adam(lr: 1),),
                }},
            )"
        ),
        What::Model(family, set) => {
            for (name, value) in set {
                settings = settings.with(*name, *value);
            }
            brolga::models::catalogue::file(family).expect("a model").text.to_owned()
        }
    };
    for &(name, size) in case.sizes {
        settings = settings.dim(name, size);
    }
    // The bounds are those of direct sums.
    let mut options = CompileOptions::default();
    options.passes.algorithms = Algorithms::NONE;
    let text = as_compared(&text, case.rate);
    let model = Model::from_text(case.name, &text, &settings);
    model.unwrap_or_else(|e| panic!("{text}\n{e}")).with_options(options)
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

/// The initial value of a parameter.
fn initial(name: &str, dims: &[usize]) -> Vec<f32> {
    let count = dims.iter().product();
    match dims {
        &[n, columns] if name == "rnn.hh.weight" && n == columns => {
            (0..count).map(|i| if i / n == i % n { 1.0 } else { 0.0 }).collect()
        }
        _ if name.contains("bias") => uniform(name, count, 0.1, 0.0),
        _ => uniform(name, count, (3.0 / dims[1..].iter().product::<usize>() as f64).sqrt(), 0.0),
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

fn input(case: &Case, input: &Input) -> Tensor {
    let (name, dims) = (input.name.as_str(), input.dims.as_slice());
    let count: usize = dims.iter().product();
    let steps = if matches!(case.what, What::Layer(_)) { 9 } else { 20 };
    let whole = |i: usize| match name {
        "length" => 1 + (bits(name, i) % steps) as i32,
        _ => (bits(name, i) % case.below as u64) as i32,
    };
    match input.dtype {
        brolga::runtime::DType::I32 => {
            Tensor::from_slice(dims, &(0..count).map(whole).collect::<Vec<i32>>()).unwrap()
        }
        // Which symbols may follow is what a metric asks for.
        brolga::runtime::DType::Bool => Tensor::zeros(input.dtype, dims).unwrap(),
        float => tensor(float, dims, &uniform(name, count, 1.7, 0.0)),
    }
}

/// An executable bound to a state, with its inputs.
struct Bound {
    instance: Instance,
    inputs: Vec<(String, Tensor)>,
}

impl Bound {
    fn new(case: &Case, executable: Arc<Executable>, state: &State) -> Bound {
        let inputs = executable.manifest().inputs.iter();
        let inputs = inputs.map(|about| (about.name.clone(), input(case, about))).collect();
        let threads = Threads::new(2).unwrap();
        Bound { instance: Instance::bind(executable, state, &threads).unwrap(), inputs }
    }

    fn run(&mut self, state: &mut State) -> Vec<(String, Tensor)> {
        let inputs: Vec<_> = self.inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        self.instance.run_named(state, &inputs).unwrap()
    }
}

/// What a reference file has, as Brolga computes it; of no steps, only what is before the first update.
fn compute(case: &Case, model: &Model, steps: usize) -> Vec<(String, Vec<f64>)> {
    let mut state = initial_state(model);
    let infer = Bound::new(case, model.compile("infer").unwrap(), &state).run(&mut state);
    let mut found = vec![("output".to_owned(), numbers(&infer[0].1))];

    let graph = with_gradients(model.graph("train").unwrap()).unwrap();
    let gradients = Arc::new(compile(&graph, model.options()).unwrap());
    let mut scratch = state.try_clone().unwrap();
    let outputs = Bound::new(case, gradients, &scratch).run(&mut scratch);
    let gradients = outputs.iter().filter(|(name, _)| name.starts_with("grad."));
    found.extend(gradients.map(|(name, gradient)| (name.clone(), numbers(gradient))));

    if steps == 0 {
        return found;
    }
    let mut train = Bound::new(case, model.compile("train").unwrap(), &state);
    let mut losses = Vec::new();
    for _ in 0..steps {
        let outputs = train.run(&mut state);
        losses.push(outputs.iter().find(|(name, _)| name == "loss").unwrap().1.item().unwrap());
    }
    found.push(("losses".to_owned(), losses));
    let weights = state.slots().iter().filter(|slot| slot.kind().is_weight());
    found.extend(weights.map(|slot| (format!("final.{}", slot.name()), numbers(slot.tensor()))));
    found
}

/// Parameters, at most, of a network whose steps are compared in f64 too, and of one that is compared in f64 at all: these are slow.
const FEW: usize = 10_000;
const MANY: usize = 2_000_000;

/// Compares everything by the rule. Nothing passes with a wrong element in its middle.
fn agrees(name: &str) {
    let case = CASES.iter().find(|case| case.name == name).expect("a case");
    let mut rows = Reference::open(&format!("recurrent/{name}.safetensors")).unwrap().rows;
    let parameters: usize =
        rows.iter().filter(|row| row.name.starts_with("grad.")).map(|row| row.count).sum();
    for float in [DType::F32, DType::F64] {
        if float == DType::F64 && parameters > MANY {
            continue;
        }
        let model = model(case, float);
        assert_eq!(model.instance().parameter_count(), parameters, "{name}");
        let steps = if float == DType::F64 && parameters > FEW { 0 } else { STEPS };
        if steps == 0 {
            rows.retain(|row| row.name == "output" || row.name.starts_with("grad."));
        }
        let mut found = compute(case, &model, steps);
        found.sort_by(|a, b| a.0.cmp(&b.0));
        let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(found.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), names, "{name}");
        let mut wrong = Vec::new();
        for (row, (tensor, values)) in rows.iter().zip(&mut found) {
            let least = if tensor.starts_with("grad.") { case.gradients } else { LEAST };
            let bound = if float == DType::F64 { 1e-9 } else { row.bound().max(least) };
            let error = row.error(values).unwrap();
            let line = format!("{name} {float} {tensor:<32} {error:8.1e} of {bound:8.1e}");
            println!("{line}");
            // A NaN does not pass.
            if error.is_nan() || error > bound {
                wrong.push(line);
            } else {
                let middle = values.len() / 2;
                values[middle] += 1.01 * row.seen() * (bound / row.bound()).max(1.0);
                assert!(row.error(values).unwrap() > bound, "{tensor}: a wrong element is not seen");
            }
        }
        assert!(wrong.is_empty(), "{} of {} tensors:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    }
}

macro_rules! cases {
    ($($test:ident: $name:literal),* $(,)?) => {
        $(#[test]
        fn $test() {
            agrees($name);
        })*

        #[test]
        fn every_case_is_compared() {
            assert_eq!(CASES.each_ref().map(|case| case.name), [$($name),*]);
        }
    };
}

cases! {
    rnn: "rnn",
    lstm: "lstm",
    gru: "gru",
    gru_before: "gru-before",
    lstm_peephole: "lstm-peephole",
    irnn: "irnn",
    char_gru: "char-gru",
    ptb_lstm_small: "ptb-lstm-small",
    ptb_lstm_1000: "ptb-lstm-1000",
}

/// A reference that is off by more than the rule allows fails.
#[test]
fn another_optimiser_is_seen() {
    let case = CASES.iter().find(|case| case.name == "gru").expect("a case");
    let other = Case { rate: "0.0101", what: What::Layer("Gru(name: \"rnn\", features: 12)"), ..*case };
    let reference = Reference::open("recurrent/gru.safetensors").unwrap();
    let passes = |row: &Row, values: &[f64]| row.passes(row.error(values).unwrap());
    let found = compute(&other, &model(&other, DType::F32), STEPS);
    for (tensor, values) in found {
        let row = reference.row(&tensor).unwrap();
        let before = tensor == "output" || tensor.starts_with("grad.");
        assert_eq!(passes(row, &values), before, "{tensor}");
    }
}
