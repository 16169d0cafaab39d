//! Batch invariance: what an entry that does not train gives for a sample has the same bits when the sample is alone, in a
//! batch of any size, and beside any neighbours, be they huge or NaN.
//!
//! Models that come along: the test run takes those below 0.2 GFLOP a sample and with few layers, and the small one of each
//! family, alone, as one of 3, and as one of 64; and larger images of few others. [`LEFT`] names the rest:
//! `BROLGA_MODELS=all` takes every model as it is, those of more work alone and as one of 3 (minutes). Every layer runs alone, as
//! one of 3 and as one of 19. Evaluations give totals of each sample, which are compared, too, and means, which are those of
//! the samples alone; every fourth layer's (`BROLGA_CASES`: every one's), and those of the smallest models. `BROLGA_CASES` sets
//! the number of random models.

mod random;

use crate::common::compiled::compile_emulated;
use crate::common::layers::LAYERS;
use crate::common::{cases, everywhere, load};
use std::sync::Arc;

use brolga::ir::{Graph, Op, choice};
use brolga::passes::Algorithms;
use brolga::runtime::{DType, Executable, Instance};
use brolga::{CompileOptions, Model, Settings, State, TargetCpu, Tensor, Threads};

/// What becomes of a sample's numbers.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Kind {
    Plain,
    Huge,
    Nan,
}

/// A sample: its number, of which its values are a function, and what becomes of them.
type Sample = (usize, Kind);

/// A number in [0, 1) for an element of a sample.
fn unit(sample: usize, input: usize, element: usize) -> f64 {
    let mut x = (sample as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
        ^ (input as u64 + 1).wrapping_mul(0xC2B2_AE3D_27D4_EB4F)
        ^ (element as u64).wrapping_mul(0x1656_67B1_9E37_79F9);
    for _ in 0..3 {
        x ^= x >> 29;
        x = x.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    }
    (x >> 11) as f64 / (1u64 << 53) as f64
}

/// The axis along which a tensor's samples lie: the one that is longer in a batch of more; `None` if there is none.
fn batch_axis(few: &[usize], more: &[usize]) -> Option<usize> {
    few.iter().zip(more).position(|(few, more)| few != more)
}

/// Elements before, along and behind an axis.
fn around(dims: &[usize], axis: Option<usize>) -> [usize; 3] {
    let axis = axis.unwrap_or(dims.len());
    let product = |dims: &[usize]| dims.iter().product::<usize>();
    [
        product(&dims[..axis]),
        dims.get(axis).copied().unwrap_or(1),
        product(dims.get(axis + 1..).unwrap_or(&[])),
    ]
}

/// A batch of samples.
fn batch(input: &brolga::runtime::Input, number: usize, axis: Option<usize>, samples: &[Sample]) -> Tensor {
    let [outer, count, inner] = around(&input.dims, axis);
    let mut tensor = Tensor::zeros(input.dtype, &input.dims).expect("a tensor");
    let (low, high) = input.range.map_or((0, 1), |range| (range.low, range.high.min(range.low + 1000)));
    let draw = |i: usize| {
        let sample = samples[if axis.is_some() { i / inner % count } else { 0 }];
        (unit(sample.0, number, i / (count * inner) * inner + i % inner), sample.1)
    };
    assert_eq!(outer * count * inner, input.dims.iter().product::<usize>());
    let float = |i: usize| {
        let (unit, kind) = draw(i);
        match kind {
            Kind::Plain => unit * 2.0 - 1.0,
            Kind::Huge => (unit * 2.0 - 1.0) * 1e6,
            Kind::Nan => f64::NAN,
        }
    };
    let whole = |i: usize| low + (draw(i).0 * (high - low + 1) as f64) as i64;
    match input.dtype {
        DType::F32 => {
            let values = tensor.as_mut_slice::<f32>().expect("f32");
            values.iter_mut().enumerate().for_each(|(i, v)| *v = float(i) as f32);
        }
        DType::F64 => {
            let values = tensor.as_mut_slice::<f64>().expect("f64");
            values.iter_mut().enumerate().for_each(|(i, v)| *v = float(i));
        }
        DType::I32 => {
            let values = tensor.as_mut_slice::<i32>().expect("i32");
            values.iter_mut().enumerate().for_each(|(i, v)| *v = whole(i) as i32);
        }
        DType::I64 => {
            let values = tensor.as_mut_slice::<i64>().expect("i64");
            values.iter_mut().enumerate().for_each(|(i, v)| *v = whole(i));
        }
        _ => tensor.bytes_mut().iter_mut().enumerate().for_each(|(i, v)| *v = u8::from(draw(i).0 < 0.7)),
    }
    tensor
}

/// The bytes of one of so many samples; each may have several parts along the axis.
fn sample_of(tensor: &Tensor, axis: Option<usize>, (at, samples): (usize, usize)) -> Vec<u8> {
    let [outer, count, _] = around(tensor.dims(), axis);
    assert!(count.is_multiple_of(samples), "{:?} of {samples} samples", tensor.dims());
    let piece = tensor.bytes().len() / (outer * samples).max(1);
    (0..outer).flat_map(|o| tensor.bytes()[(o * samples + at) * piece..][..piece].to_vec()).collect()
}

/// An entry, for batches of any size.
struct Case<'m> {
    name: String,
    compile: Box<dyn Fn(usize) -> Arc<Executable> + 'm>,
    state: State,
    /// Where samples lie, of each input and of each output.
    inputs: Vec<Option<usize>>,
    outputs: Vec<Option<usize>>,
}

impl<'m> Case<'m> {
    fn new(name: &str, model: &'m Model) -> Case<'m> {
        let case = Case::entry(name, model, "infer");
        assert!(case.outputs.iter().any(Option::is_some), "{name}: no output has samples");
        case
    }

    fn entry(name: &str, model: &'m Model, entry: &'m str) -> Case<'m> {
        let compile = move |batch: usize| {
            model.compile_for(entry, &[("batch", batch)]).unwrap_or_else(|error| panic!("{entry}: {error}"))
        };
        Case::of(name, model.initial_state(7).expect("a state"), compile)
    }

    fn of(name: &str, state: State, compile: impl Fn(usize) -> Arc<Executable> + 'm) -> Case<'m> {
        let dims = |batch: usize| {
            let executable = compile(batch);
            let inputs: Vec<_> = executable.manifest().inputs.iter().map(|i| i.dims.clone()).collect();
            let outputs: Vec<_> = executable.manifest().outputs.iter().map(|o| o.dims.clone()).collect();
            (inputs, outputs)
        };
        let (few, more) = (dims(1), dims(3));
        let axes = |few: &[Vec<usize>], more: &[Vec<usize>]| {
            few.iter().zip(more).map(|(few, more)| batch_axis(few, more)).collect::<Vec<_>>()
        };
        let (inputs, outputs) = (axes(&few.0, &more.0), axes(&few.1, &more.1));
        Case { name: name.to_owned(), compile: Box::new(compile), state, inputs, outputs }
    }

    /// What the entry gives for a batch.
    fn results(&mut self, samples: &[Sample], threads: usize) -> Vec<Tensor> {
        let executable = (self.compile)(samples.len());
        let manifest = executable.manifest();
        let inputs = manifest.inputs.iter().zip(&self.inputs).enumerate();
        let inputs: Vec<Tensor> =
            inputs.map(|(number, (input, axis))| batch(input, number, *axis, samples)).collect();
        let zeros = |o: &brolga::runtime::Output| Tensor::zeros(o.dtype, &o.dims).expect("a tensor");
        let mut outputs: Vec<Tensor> = manifest.outputs.iter().map(zeros).collect();
        let threads = Threads::new(threads).expect("threads");
        let mut instance = Instance::bind(Arc::clone(&executable), &self.state, &threads).expect("bind");
        instance.run_tensors(&mut self.state, &inputs, &mut outputs).expect("runs");
        outputs
    }

    /// What the entry gives for each sample of a batch, output by output; nothing of outputs without samples.
    fn run(&mut self, samples: &[Sample], threads: usize) -> Vec<Vec<u8>> {
        let outputs = self.results(samples, threads);
        let of = |at: usize| {
            let outputs = outputs.iter().zip(&self.outputs);
            outputs
                .filter(|(_, axis)| axis.is_some())
                .flat_map(|(o, axis)| sample_of(o, *axis, (at, samples.len())))
                .collect()
        };
        (0..samples.len()).map(of).collect()
    }

    /// Runs a batch; each sample that is plain must be what it is alone.
    fn check(&mut self, samples: &[Sample], threads: usize) {
        let together = self.run(samples, threads);
        let plain = (0..samples.len()).filter(|&at| samples[at].1 == Kind::Plain);
        // All would take long: the first, the last, and what lies beside something strange.
        let strange = |at: usize| samples.get(at).is_some_and(|sample| sample.1 != Kind::Plain);
        let telling: Vec<usize> = plain
            .filter(|&at| {
                at == 0 || at + 1 == samples.len() || strange(at + 1) || strange(at.wrapping_sub(1))
            })
            .collect();
        for at in telling {
            let alone = self.run(&samples[at..=at], 1).remove(0);
            let (name, size) = (&self.name, samples.len());
            let off = alone.iter().zip(&together[at]).filter(|(a, b)| a != b).count();
            assert!(
                alone == together[at],
                "{name}: sample {at} of {size} differs in {off} of {} bytes with {threads} threads, beside {samples:?}",
                alone.len()
            );
        }
    }
}

/// The elements of a tensor of floats.
fn numbers(tensor: &Tensor) -> Vec<f64> {
    match tensor.dtype() {
        DType::F64 => tensor.as_slice::<f64>().expect("f64").to_vec(),
        _ => tensor.as_slice::<f32>().expect("f32").iter().map(|&v| f64::from(v)).collect(),
    }
}

/// An evaluation: what it gives for each sample has the same bits in any batch, and what it gives for a batch is the mean,
/// or the total, of what it gives for the samples alone. Whether it gives something for each.
fn check_evaluation(name: &str, model: &Model, entry: &str) -> bool {
    let mut case = Case::entry(&format!("{name}, {entry}"), model, entry);
    let samples = [0, 1, 2].map(|at| (at, Kind::Plain));
    let together = case.results(&samples, 2);
    let alone = samples.map(|sample| case.results(&[sample], 1));
    let outputs = (case.compile)(3).manifest().outputs.clone();
    for (at, output) in outputs.iter().enumerate().filter(|(at, _)| case.outputs[*at].is_none()) {
        // Means of evaluations are in f64; what else an entry gives is in f32.
        let tolerance = if output.dtype == DType::F64 { 1e-12 } else { 1e-6 };
        let parts = if output.name.starts_with("total.") { 1.0 } else { 3.0 };
        for (i, found) in numbers(&together[at]).into_iter().enumerate() {
            let expected = alone.iter().map(|results| numbers(&results[at])[i]).sum::<f64>() / parts;
            let close = (found - expected).abs() <= tolerance * expected.abs().max(1.0);
            let (case, name) = (&case.name, &output.name);
            assert!(close, "{case}: `{name}` of three samples is {found}, of them alone {expected}");
        }
    }
    let each = case.outputs.iter().any(Option::is_some);
    if each {
        case.check(&three(), 1);
        case.check(&mixed(19), 2);
    }
    each
}

/// Samples of which some are strange: a few positions of each kind of neighbourhood.
fn mixed(count: usize) -> Vec<Sample> {
    let kind = |at: usize| match at % 16 {
        2 | 7 => Kind::Nan,
        5 | 8 | 15 => Kind::Huge,
        _ => Kind::Plain,
    };
    (0..count).map(|at| (at, kind(at))).collect()
}

fn three() -> [Sample; 3] {
    [(0, Kind::Plain), (1, Kind::Nan), (2, Kind::Plain)]
}

/// A sample of work of an entry, in GFLOP.
fn work(model: &Model) -> f64 {
    let compiler = &mut brolga::Compiler::new(&CompileOptions::default());
    let graph = compiler.differentiate(model.graph("infer").expect("an entry")).expect("a graph");
    brolga::cost::flops(&graph) as f64 / 1e9
}

fn check_model(name: &str, settings: &Settings, most: usize) {
    let model = Model::load(name, &settings.clone().dim("batch", 1)).expect("a model");
    let mut case = Case::new(name, &model);
    case.check(&three(), 2);
    if most > 3 {
        case.check(&mixed(most), 2);
    }
}

/// The models that come along, with their variants.
fn names() -> Vec<String> {
    brolga::names().expect("models").into_iter().map(|(name, _)| name).collect()
}

/// Layers of the deepest model that the test run takes, and of the deepest whose evaluations it takes.
const FEW: usize = 80;
const VERY_FEW: usize = 25;

/// The models that run with `BROLGA_MODELS=all` only.
const LEFT: [&str; 34] = [
    "alexnet-tv",
    "bert-tiny-encoder",
    "densenet",
    "densenet121",
    "densenet161",
    "densenet169",
    "densenet201",
    "googlenet",
    "googlenet-aux",
    "googlenet-tv",
    "googlenet-tv-aux",
    "mobilenet_v2",
    "mobilenet_v2-0.5",
    "mobilenet_v2-1.4",
    "resnet",
    "resnet101",
    "resnet110",
    "resnet1202",
    "resnet152",
    "resnet18",
    "resnet32",
    "resnet34",
    "resnet44",
    "resnet50",
    "resnet56",
    "vgg",
    "vgg11",
    "vgg11_bn",
    "vgg13",
    "vgg13_bn",
    "vgg16",
    "vgg16_bn",
    "vgg19",
    "vgg19_bn",
];

#[test]
fn every_model_has_the_same_bits_for_a_sample_in_any_batch() {
    let all = std::env::var("BROLGA_MODELS").is_ok_and(|models| models == "all");
    let (mut run, mut left, mut evaluations) = (0, Vec::new(), 0);
    for name in names() {
        let settings = Settings::default();
        let model = load(&name, 1);
        // Models that check something, or only train, answer no samples.
        if model.instance().graph("infer").is_none() {
            continue;
        }
        let (work, start) = (work(&model), std::time::Instant::now());
        let (layers, small) = (model.instance().layers().len(), name.ends_with("-mini"));
        if work < 0.2 && (all || layers < FEW) {
            check_model(&name, &settings, 64);
        } else if all || small {
            check_model(&name, &settings, 3);
        } else {
            left.push(name);
            continue;
        }
        run += 1;
        if layers < VERY_FEW || all && work < 0.2 {
            let entries = model.instance().entries();
            for entry in entries.into_iter().filter(|entry| entry.ends_with(".eval")) {
                check_evaluation(&name, &model, entry);
                evaluations += 1;
            }
        }
        println!("{name}: {work:.3} GFLOP a sample, {:.1} s", start.elapsed().as_secs_f64());
    }
    left.sort();
    println!("{run} models and {evaluations} evaluations; left to BROLGA_MODELS=all: {}", left.join(", "));
    assert_eq!(left, if all { Vec::new() } else { LEFT.to_vec() });
    assert!(evaluations >= 5, "{evaluations}");
    for name in ["resnet18", "resnet50"] {
        check_model(name, &Settings::default().with("size", "64"), 3);
    }
}

/// What a loop goes on to write, from states that lie along axis 1.
#[test]
fn what_is_written_has_the_same_bits_in_any_batch() {
    let model = Model::load("char-gru-mini", &Settings::default().dim("batch", 1)).expect("a model");
    let mut case = Case::entry("char-gru-mini", &model, "write");
    assert_eq!(case.inputs, [Some(0), Some(1)]);
    case.check(&three(), 2);
    case.check(&mixed(19), 2);
}

/// Every layer alone, as one of 3 and as one of 19, beside NaN and huge numbers.
#[test]
fn every_layer_has_the_same_bits_for_a_sample_in_any_batch() {
    let mut evaluated = 0;
    for (number, row) in LAYERS.iter().enumerate() {
        // A parameter has no samples.
        let Some(input) = row.input else { continue };
        let text = infer(input, row.call);
        let plain = model(row.call, &text, CompileOptions::default());
        let mut case = Case::new(row.call, &plain);
        case.check(&three(), 1);
        case.check(&mixed(19), 2);
        if cases(0) == 0 && !number.is_multiple_of(4) {
            continue;
        }
        let first = if input.starts_with("f32") { "Parameter([1]), Expr(\"x * it\"), " } else { "" };
        let text = format!(
            "Model(inputs: {{ \"x\": \"{input}\" }}, body: [{first}{}], entries: {{ \"train\": Train(loss: \
             \"mean(it * it)\", optimizer: Sgd(lr: 0.1), metrics: {{ \"m\": \"total(it ** 2) / total(batch)\" }}) }})",
            row.call
        );
        let trained = model(row.call, &text, CompileOptions::default());
        assert!(check_evaluation(row.call, &trained, "train.eval"), "{}: no totals of samples", row.call);
        evaluated += 1;
    }
    assert!(evaluated >= 20, "{evaluated} evaluations");
}

/// A model from text, compiled with these options.
fn model(name: &str, text: &str, options: CompileOptions) -> Model {
    let settings = Settings::default().dim("batch", 1);
    Model::from_text(name, text, &settings).unwrap_or_else(|e| panic!("{e}\n{text}")).with_options(options)
}

fn infer(input: &str, body: &str) -> String {
    format!(
        "Model(inputs: {{ \"x\": \"{input}\" }}, body: [{body}], \
         entries: {{ \"infer\": Infer(outputs: {{ \"y\": \"it\" }}) }})"
    )
}

fn for_cpu(target_cpu: TargetCpu) -> CompileOptions {
    CompileOptions { target_cpu, ..CompileOptions::default() }
}

/// The same, with leaves for AVX-512 run by the emulator, which needs no such processor.
fn emulated<'t>(name: &str, text: &'t str, options: CompileOptions) -> Case<'t> {
    let state = model(name, text, options.clone()).initial_state(7).expect("a state");
    let compile = move |batch: usize| {
        let settings = Settings::default().dim("batch", batch);
        let model = Model::from_text("emulated", text, &settings).expect("a model");
        let mut compiler = brolga::Compiler::new(&options);
        let graph = compiler.optimise(model.graph("infer").expect("an entry")).expect("passes");
        let program = compiler.lower(&graph).expect("lowers");
        Arc::new(compile_emulated(&program).executable)
    };
    Case::of(name, state, compile)
}

/// Rows of a product that Strassen's algorithm used to pair.
#[test]
fn a_huge_or_nan_row_of_a_product_stays_alone() {
    let text = infer("f32[batch, 256]", "Linear(1024)");
    let model = model("rows", &text, CompileOptions::default());
    let mut case = Case::new("rows", &model);
    for kind in [Kind::Huge, Kind::Nan] {
        let mut samples: Vec<Sample> = (0..128).map(|at| (at, Kind::Plain)).collect();
        samples[7].1 = kind;
        case.check(&samples, 2);
    }
}

#[test]
fn small_models_in_a_large_batch() {
    for name in ["lenet5", "mlp-256-128"] {
        let model = Model::load(name, &Settings::default().dim("batch", 1)).expect("a model");
        let mut case = Case::new(name, &model);
        case.check(&mixed(160), 2);
    }
}

/// A net with everything that chooses by shape: Winograd's tiles, Strassen's pairs, few channels, a folded normalisation,
/// windows, statistics of a sample, and a product.
const NET: &str = "Conv2d(features: 16, kernel: 3, padding: 1), BatchNorm, Relu, MaxPool2d(2), \
     Conv2d(features: 32, kernel: 3, padding: 1), BatchNorm, Relu, Conv2d(features: 24, kernel: 1), LayerNorm, \
     GlobalAvgPool, Linear(12), BatchNorm, Softmax";

#[test]
fn a_batch_of_any_size() {
    let text = infer("f32[batch, 3, 12, 12]", NET);
    let model = model("net", &text, CompileOptions::default());
    let mut case = Case::new("net", &model);
    let alone: Vec<Vec<u8>> = (0..40).map(|at| case.run(&[(at, Kind::Plain)], 1).remove(0)).collect();
    for size in 2..=40 {
        let samples: Vec<Sample> = (0..size).map(|at| (at, Kind::Plain)).collect();
        assert!(case.run(&samples, 2) == alone[..size], "a batch of {size}");
    }
}

#[test]
fn any_number_of_threads_and_every_target() {
    for algorithms in [Algorithms::default(), everywhere(2), everywhere(4)] {
        let mut expected: Option<Vec<u8>> = None;
        for cpu in [TargetCpu::Portable, TargetCpu::X86_64V3, TargetCpu::Native] {
            let mut options = for_cpu(cpu);
            options.passes.algorithms = algorithms;
            let text = infer("f32[batch, 3, 12, 12]", NET);
            let model = model("net", &text, options);
            let mut case = Case::new("net", &model);
            let alone = case.run(&[(0, Kind::Plain)], 1).remove(0);
            assert!(*expected.get_or_insert(alone.clone()) == alone, "{cpu} differs");
            for threads in [1, 2, 5] {
                case.check(&mixed(20), threads);
            }
        }
        let text = infer("f32[batch, 3, 12, 12]", NET);
        let mut options = CompileOptions::default();
        options.passes.algorithms = algorithms;
        let mut case = emulated("net", &text, options);
        let found = case.run(&mixed(3), 2);
        assert!(expected == Some(found[0].clone()), "x86-64-v4 differs");
    }
}

/// The algorithms of all products and convolutions: tiles of Winograd's, or whether it is Strassen's.
fn algorithms(graph: &Graph, found: &mut Vec<(usize, bool)>) {
    for id in graph.order() {
        match &graph.node(id).op {
            Op::Conv(_) | Op::Dot(_) => {
                let algorithm = graph.choice(id).algorithm;
                found.push((algorithm.winograd().unwrap_or(0), algorithm == choice::Algorithm::Strassen));
            }
            Op::Fused(fused) => algorithms(&fused.body, found),
            _ => {}
        }
    }
}

#[test]
fn algorithms_do_not_depend_on_the_batch() {
    let chosen = |name: &str, batch: usize, text: &str| {
        let model = Model::load(name, &Settings::default().dim("batch", batch)).expect("a model");
        let mut options = CompileOptions::default();
        options.passes.algorithms = text.parse().expect("algorithms");
        let graph = model.graph("infer").expect("an entry");
        let graph = brolga::Compiler::new(&options).optimise(graph).expect("passes");
        let mut found = Vec::new();
        algorithms(&graph, &mut found);
        found
    };
    for (name, strassen, winograd) in [("resnet50", true, true), ("bert-encoder-mini", false, false)] {
        let all = chosen(name, 4, "winograd,strassen");
        assert_eq!(all.iter().any(|found| found.0 > 0), winograd, "{name}");
        assert_eq!(all.iter().any(|found| found.1), strassen, "{name}");
        for batch in [1, 16] {
            assert_eq!(chosen(name, batch, "strassen, winograd"), all, "{name}, a batch of {batch}");
        }
        assert!(chosen(name, 1, "strassen").iter().all(|found| found.0 == 0), "{name}");
        assert!(chosen(name, 1, "winograd").iter().all(|found| !found.1), "{name}");
        assert!(chosen(name, 1, "none").iter().all(|found| *found == (0, false)), "{name}");
    }
    let error = "winogard".parse::<Algorithms>().expect_err("no such algorithm");
    assert!(error.contains("found `winogard`; did you mean `winograd`?"), "{error}");
}
