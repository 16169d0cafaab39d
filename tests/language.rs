//! What the language promises, compiled and run: the models of its documentation, whole numbers, state that is written,
//! inputs that are indices.

use std::collections::HashMap;
use std::sync::Arc;

use brolga::ir::interpret::interpret;
use brolga::passes::Options;
use brolga::runtime::{DType, Error, Executable, Instance, Purpose, Random};
use brolga::{CompileOptions, Model, Settings, State, TargetCpu, Tensor, Threads, random_inputs};

use crate::common::documents::{Fenced, blocks, documents, shown};

fn model(text: &str) -> Model {
    Model::from_text("language", text, &Settings::default()).unwrap_or_else(|e| panic!("{text}\n{e}"))
}

/// An entry that is run by itself, on given inputs by name.
struct Runner {
    executable: Arc<Executable>,
    instance: Instance,
    state: State,
}

impl Runner {
    fn new(model: &Model, entry: &str, threads: usize) -> Runner {
        let executable = model.compile(entry).unwrap_or_else(|e| panic!("{e}"));
        let state = model.initial_state(5).unwrap();
        let instance = Instance::bind(executable.clone(), &state, &Threads::new(threads).unwrap()).unwrap();
        Runner { executable, instance, state }
    }

    fn with_state(mut self, state: State) -> Runner {
        self.instance = Instance::bind(self.executable.clone(), &state, &Threads::new(2).unwrap()).unwrap();
        self.state = state;
        self
    }

    fn try_run(&mut self, inputs: &[Tensor]) -> Result<HashMap<String, Tensor>, Error> {
        let outputs = &self.executable.manifest().outputs;
        let mut results: Vec<Tensor> =
            outputs.iter().map(|o| Tensor::zeros(o.dtype, &o.dims).unwrap()).collect();
        self.instance.run_tensors(&mut self.state, inputs, &mut results)?;
        Ok(outputs.iter().map(|o| o.name.clone()).zip(results).collect())
    }

    fn run(&mut self, inputs: &[Tensor]) -> HashMap<String, Tensor> {
        self.try_run(inputs).unwrap_or_else(|e| panic!("{e}"))
    }

    fn floats(&self, state: &str) -> Vec<f32> {
        self.state.get(state).unwrap().as_slice::<f32>().unwrap().to_vec()
    }
}

fn finite(tensor: &Tensor) -> bool {
    match tensor.dtype() {
        DType::F32 => tensor.as_slice::<f32>().unwrap().iter().all(|v| v.is_finite()),
        DType::F64 => tensor.as_slice::<f64>().unwrap().iter().all(|v| v.is_finite()),
        _ => true,
    }
}

/// What a document shows of the language.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Listing {
    Model,
    /// A model of which it shows that `brolga check` refuses it.
    Refused,
    /// Fields of a model.
    Fields,
    /// Metrics of an entry.
    Metrics,
}

/// The listings of a block: files that it shows by `$ cat`, or all of it where it is marked as `ron`.
fn listings(block: &Fenced) -> Vec<(Listing, String)> {
    let all = shown(block);
    let refused = |file: &str| {
        let check = format!("brolga check {file}");
        let mut output = all.iter().filter(|shown| shown.command == check).flat_map(|shown| &shown.output);
        output.any(|line| line.starts_with("error"))
    };
    let files = all.iter().filter(|shown| shown.file().is_some_and(|file| file.ends_with(".ron")));
    let mut found: Vec<(Listing, String)> = files
        .map(|shown| {
            let refused = refused(shown.file().expect("a file"));
            (if refused { Listing::Refused } else { Listing::Model }, shown.text())
        })
        .collect();
    if block.language == "ron" {
        let code = block.lines.iter().find(|line| !line.trim().is_empty() && !line.trim().starts_with("//"));
        let code = code.map_or("", |line| line.trim());
        let fields = ["data:", "dims:", "inputs:", "blocks:", "body:", "entries:"];
        let listing = match code {
            _ if code.starts_with("Model(") => Listing::Model,
            _ if fields.iter().any(|field| code.starts_with(field)) => Listing::Fields,
            _ if code.starts_with('"') => Listing::Metrics,
            _ => panic!("line {}: `{code}` begins no listing that is known here", block.line),
        };
        found.push((listing, block.lines.join("\n")));
    }
    found
}

/// A model around metrics or fields, with the names that the documents' are about.
fn completed(listing: Listing, text: &str) -> String {
    let (fields, metrics) = match listing {
        Listing::Fields => (format!("{},", text.trim_end().trim_end_matches(',')), String::new()),
        _ => (String::new(), text.lines().collect::<Vec<_>>().join(",\n")),
    };
    format!(
        "Model(
            {fields}
            inputs: {{ \"x\": \"f32[batch, 3, 8, 8]\", \"label\": \"i32[batch]\", \"t\": \"f32[batch]\" }},
            body: [
                Flatten, Linear(10), As(\"logits\"), Expr(\"it[:, 0]\"), As(\"y\"),
                Expr(\"y > 0\"), As(\"found\"), Expr(\"argmax(logits) == label\"), As(\"hit\"), Ref(\"logits\"),
            ],
            entries: {{ \"train\": Train(
                loss: \"cross_entropy(logits, label) + mse(y, t)\", optimizer: Sgd(lr: 0.1), metrics: {{ {metrics} }},
            ) }},
        )"
    )
}

/// Every model of every document, whatever the block is fenced by: its entries run a hundred times on random inputs
/// within their bounds, in turn, as a critic and a generator do, on one state. Every output and all state stays finite.
/// What a document shows as refused is refused, and parts of a model compile within one.
#[test]
fn documented_models_stay_finite() {
    for document in documents() {
        let text = std::fs::read_to_string(&document).unwrap();
        let place = |block: &Fenced| format!("{}:{}", document.display(), block.line);
        let mut models = 0;
        for block in blocks(&text) {
            let all = listings(&block);
            assert!(all.is_empty() || block.aside.is_none(), "{}: models are compiled", place(&block));
            for (listing, text) in all {
                models += usize::from(matches!(listing, Listing::Model | Listing::Refused));
                println!("{}: {listing:?}", place(&block));
                match listing {
                    Listing::Model => stays_finite(&text),
                    Listing::Refused => {
                        let built = Model::from_text("refused.ron", &text, &Settings::default());
                        assert!(built.is_err(), "{} is not refused", place(&block));
                    }
                    part => compiles(&completed(part, &text)),
                }
            }
        }
        // Another count of the same: lines at which a model begins, in a block or not.
        let begin =
            text.lines().filter(|line| line.trim_start_matches([' ', '>', '\t']).starts_with("Model("));
        assert_eq!(models, begin.count(), "{}: models in blocks, of all", document.display());
    }
}

fn compiles(text: &str) {
    let model = Model::from_text("part.ron", text, &Settings::default().dim("batch", 8));
    let model = model.unwrap_or_else(|error| panic!("{text}\n{error}"));
    for entry in model.instance().entries() {
        model.compile(entry).unwrap_or_else(|error| panic!("{text}\n{entry}: {error}"));
    }
}

fn stays_finite(text: &str) {
    let model = Model::from_text("documented.ron", text, &Settings::default().dim("batch", 8));
    let model = model.unwrap_or_else(|e| panic!("{text}\n{e}"));
    let mut state = model.initial_state(3).unwrap();
    let threads = Threads::new(1).unwrap();
    let entries = model.instance().entries().into_iter().filter(|entry| *entry != "init");
    let mut instances: Vec<(&str, Instance)> = entries
        .map(|entry| (entry, Instance::bind(model.compile(entry).unwrap(), &state, &threads).unwrap()))
        .collect();
    for round in 0..100 {
        for (entry, instance) in &mut instances {
            let manifest = instance.executable().manifest().clone();
            let mut outputs: Vec<Tensor> =
                manifest.outputs.iter().map(|o| Tensor::zeros(o.dtype, &o.dims).unwrap()).collect();
            let mut inputs = random_inputs(&manifest.inputs).unwrap();
            vary(&mut inputs, round);
            instance.run_tensors(&mut state, &inputs, &mut outputs).unwrap();
            for (output, tensor) in manifest.outputs.iter().zip(&outputs) {
                assert!(finite(tensor), "{entry}, run {round}: `{}` in\n{text}", output.name);
            }
        }
    }
    for slot in state.slots() {
        assert!(finite(slot.tensor()), "`{}` in\n{text}", slot.name());
    }
}

/// Other floats in every round; what is within bounds stays there.
fn vary(inputs: &mut [Tensor], round: u32) {
    for (number, tensor) in inputs.iter_mut().enumerate() {
        if tensor.dtype() == DType::F32 {
            let mut random = Random::new(1, Purpose::Augment, round, number as u32);
            tensor.as_mut_slice::<f32>().unwrap().iter_mut().for_each(|v| *v = random.uniform() * 2.0 - 1.0);
        }
    }
}

/// The second gradient step sees what the first has left as a mere value: a becomes 2 - 3 = -1, then b 3 - (-1) = 4.
#[test]
fn steps_see_values() {
    let model = model(
        "Model(
            inputs: { \"x\": \"f32[1]\" },
            body: [Parameter(name: \"a\", dims: [], init: Constant(2)), Parameter(name: \"b\", dims: [], init: Constant(3))],
            entries: { \"train\": Entry(steps: [
                Minimize(loss: \"mean(x*a*b)\", of: \"a\", optimizer: Sgd(lr: 1.0)),
                Minimize(loss: \"mean(x*a*b)\", of: \"b\", optimizer: Sgd(lr: 1.0)),
            ]) },
        )",
    );
    let mut runner = Runner::new(&model, "train", 1);
    runner.run(&[Tensor::from_slice(&[1], &[1.0f32]).unwrap()]);
    assert_eq!([runner.floats("a"), runner.floats("b")], [[-1.0], [4.0]]);
}

/// An entry may write state that it does not read: a parameter, running statistics, what nothing uses.
#[test]
fn written_state_is_live() {
    for (state, value, read) in [
        ("a", "x", false),
        ("a", "x * 2", true),
        ("n.running_mean", "x", false),
        ("unused", "x", false),
        ("unused", "parameter('a')", false),
        ("a", "parameter('unused')", true),
    ] {
        let model = model(&format!(
            "Model(
                inputs: {{ \"x\": \"f32[3]\" }},
                body: [
                    Parameter(name: \"a\", dims: [3], init: Ones), Expr(\"reshape(it, [1, 3])\"), BatchNorm(name: \"n\"),
                    Aside([Parameter(name: \"unused\", dims: [3], init: Constant(7))]),
                ],
                entries: {{ \"set\": Entry(
                    mode: \"infer\", steps: [Update(state: \"{state}\", value: \"{value}\")],
                    outputs: {{ \"y\": \"{}\" }},
                ) }},
            )",
            if read { "mean(it) + mean(x)" } else { "x + 1" }
        ));
        let mut runner = Runner::new(&model, "set", 2);
        runner.run(&[Tensor::from_slice(&[3], &[1.0f32, 2.0, 3.0]).unwrap()]);
        let expected = match value {
            "x" => [1.0, 2.0, 3.0],
            "x * 2" => [2.0, 4.0, 6.0],
            "parameter('a')" => [1.0; 3],
            _ => [7.0; 3],
        };
        assert_eq!(runner.floats(state), expected, "{state} = {value}");
    }
}

/// Labels of a loss are checked before anything runs; a comparison with classes is no index, so a label of -1 may stand
/// for a row of zeros.
#[test]
fn labels_that_are_indices() {
    let text = |loss: &str| {
        format!(
            "Model(
                inputs: {{ \"x\": \"f32[3, 4]\", \"label\": \"i32[3]\" }},
                body: [],
                entries: {{ \"infer\": Infer(outputs: {{ \"y\": \"{loss}\" }}) }},
            )"
        )
    };
    let inputs = |labels: [i32; 3]| {
        let x = Tensor::from_slice(&[3, 4], &[1.0f32; 12]).unwrap();
        vec![x, Tensor::from_slice(&[3], &labels).unwrap()]
    };
    for loss in ["cross_entropy(x, label)", "nll(x, label)", "focal(x, label)", "sum(take(x, label, axis=1))"]
    {
        let model = model(&text(loss));
        let mut runner = Runner::new(&model, "infer", 1);
        runner.run(&inputs([0, 3, 1]));
        for labels in [[0, -1, 1], [0, 4, 1]] {
            let error = runner.try_run(&inputs(labels)).expect_err("a label outside").to_string();
            let expected =
                format!("input `label` at [1] is {}, but only values from 0 to 3 are allowed", labels[1]);
            assert!(error.contains(&expected), "{loss}: {error}");
        }
    }
    for (formula, expected) in [
        ("sum(one_hot(label, 4) * x)", 2.0),
        ("sum(float(reshape(label, [3, 1]) == positions(x)))", 2.0),
        ("sum(take(x, label, axis=1, mode='clip'))", 9.0),
        ("sum(take(x, label, axis=1, mode='wrap'))", 9.0),
        ("sum(take(x, label, axis=1, mode='fill', fill=0))", 6.0),
        ("sum(where(label < 0, 0.0, x[:, 0]))", 2.0),
    ] {
        let model = model(&text(formula));
        let mut runner = Runner::new(&model, "infer", 1);
        let executable = runner.executable.clone();
        let given = inputs([0, -1, 1]);
        let wanted =
            executable.manifest().inputs.iter().map(|input| &given[usize::from(input.name == "label")]);
        let wanted: Vec<Tensor> = wanted.map(|tensor| tensor.try_clone().unwrap()).collect();
        let result = runner.run(&wanted);
        assert_eq!(result["y"].as_slice::<f32>().unwrap(), [expected], "{formula}");
    }
}

fn same(a: &brolga::ir::Tensor, b: &brolga::ir::Tensor) -> bool {
    a.ty() == b.ty() && (0..a.ty().elements()).all(|i| a.get(i).same(b.get(i)))
}

/// Expressions of whole numbers, of the inputs that [`whole_numbers`] gives.
const WHOLE_NUMBERS: [&str; 66] = [
    "sum(u)",
    "sum(i)",
    "sum(b)",
    "sum(l)",
    "prod(u)",
    "prod(b)",
    "cumsum(u)",
    "cumsum(i)",
    "mean(u)",
    "mean(i)",
    "all(u)",
    "any(x)",
    "all(x, axis=0)",
    "i // 3",
    "i % 3",
    "i // -3",
    "i % -3",
    "i // j",
    "i % j",
    "u // 7",
    "u % 7",
    "l // j",
    "l % j",
    "i ** 3",
    "u ** 2",
    "i + l",
    "u * 0.5",
    "b + 1",
    "i / j",
    "clip(i, 0, 2)",
    "where(b, l, 0)",
    "take(l, i, mode='wrap')",
    "take(x, j, mode='fill')",
    "take(u, j, mode='clip')",
    "max(u, 7)",
    "x[:, None] - x[None]",
    "i ** j",
    "u ** u",
    "l ** (j % 5)",
    "2 ** i",
    "i @ j",
    "[i, j] @ stack([l, l], axis=1)",
    "stack([i[:6], j[:6]], axis=1) @ stack([j[:5], i[:5]])",
    "b * (x > 0)",
    "b + (x > 0)",
    "x[::-1]",
    "i[::-2]",
    "l[[3, -1, 0]]",
    "x[j]",
    "(x[:, None] + x)[i, j]",
    "sort(i)",
    "sort(u, descending=true)",
    "argsort(x)",
    "sort(b)",
    "top_k(l, 3)[1]",
    "cumprod(j)",
    "cast(x * 100, 'u8')",
    "cast(l, 'u8')",
    "cast(i, 'bool')",
    "cast(cast(x, 'f64') * 3, 'i64')",
    "-3 < i < j",
    "where(b[None], i[:, None], 0.5)",
    "isnan(x)",
    "xor(b, i)",
    "zeros([3], 'u8')",
    "full([2], 5)",
];

/// Inputs with 37 elements, some of every type: edges of `u8`, integers of either sign, and beyond 32 bits.
fn whole_numbers() -> HashMap<&'static str, Tensor> {
    let n = 37;
    let i: Vec<i32> = (0..n).map(|k| k * 7919 % 101 - 50).collect();
    let j: Vec<i32> = (0..n).map(|k| k * 31 % 13 - 6).collect();
    let l: Vec<i64> = (0..n).map(|k| i64::from(k) * 5_000_000_007 - 90_000_000_000).collect();
    let x: Vec<f32> = (0..n).map(|k| (k * 37 % 11) as f32 * 0.25 - 1.0).collect();
    let u: Vec<u8> = (0..n).map(|k| (k * 71 % 256) as u8).collect();
    let b: Vec<u8> = (0..n).map(|k| (k % 3 != 0) as u8).collect();
    HashMap::from([
        ("b", Tensor::from_bytes(DType::Bool, &[37], &b).unwrap()),
        ("u", Tensor::from_slice(&[37], &u).unwrap()),
        ("i", Tensor::from_slice(&[37], &i).unwrap()),
        ("j", Tensor::from_slice(&[37], &j).unwrap()),
        ("l", Tensor::from_slice(&[37], &l).unwrap()),
        ("x", Tensor::from_slice(&[37], &x).unwrap()),
    ])
}

/// A model with an output `y<i>` for each expression.
fn model_of_whole_numbers() -> String {
    let outputs: Vec<String> =
        (WHOLE_NUMBERS.iter().enumerate()).map(|(i, formula)| format!("\"y{i}\": \"{formula}\"")).collect();
    format!(
        "Model(
            inputs: {{
                \"b\": \"bool[37]\", \"u\": \"u8[37]\", \"i\": \"i32[37]\", \"j\": \"i32[37]\", \"l\": \"i64[37]\", \"x\": \"f32[37]\",
            }},
            body: [],
            entries: {{ \"infer\": Infer(outputs: {{ {} }}) }},
        )",
        outputs.join(", ")
    )
}

/// Expressions of whole numbers give the same compiled, on every target, as by the graph's interpreter.
#[test]
fn whole_numbers_on_every_target() {
    let (text, tensors) = (model_of_whole_numbers(), whole_numbers());
    let model = model(&text);
    let graph = model.graph("infer").unwrap();
    let names: Vec<&str> =
        graph.parameters().iter().map(|&id| graph.parameter(id).unwrap().name.as_str()).collect();
    let given: Vec<brolga::ir::Tensor> =
        names.iter().map(|name| crate::common::compiled::from_runtime(&tensors[name])).collect();
    let reference = interpret(graph, &given.iter().collect::<Vec<_>>()).unwrap();
    let targets = [TargetCpu::Portable, TargetCpu::X86_64V3, TargetCpu::Native];
    for (target, threads) in targets.into_iter().zip([1, 2, 5]) {
        let options = CompileOptions { target_cpu: target, passes: Options::default(), verify: true };
        let compiled =
            Model::from_text("language", &text, &Settings::default()).unwrap().with_options(options);
        let mut runner = Runner::new(&compiled, "infer", threads);
        let order: Vec<Tensor> = (runner.executable.manifest().inputs.iter())
            .map(|input| tensors[input.name.as_str()].try_clone().unwrap())
            .collect();
        let results = runner.run(&order);
        for ((k, formula), expected) in WHOLE_NUMBERS.iter().enumerate().zip(&reference) {
            let found = crate::common::compiled::from_runtime(&results[&format!("y{k}")]);
            assert!(same(&found, expected), "{formula} on {target:?}: {found:?}, not {expected:?}");
        }
    }
    // AVX-512, whether the machine has it or not.
    let mut compiler = brolga::Compiler::new(&CompileOptions::default());
    let optimised = compiler.optimise(graph).unwrap();
    let program = compiler.lower(&optimised).unwrap();
    let inputs =
        program.buffers.iter().filter(|b| matches!(b.place, brolga::ir::program::Place::Input { .. }));
    let inputs: Vec<brolga::ir::Tensor> =
        inputs.map(|b| crate::common::compiled::from_runtime(&tensors[b.name.as_str()])).collect();
    let emulated = crate::common::compiled::compile_emulated(&program);
    let (found, _) = crate::common::compiled::run_compiled(emulated, 1, &inputs, &[]);
    for (formula, (found, expected)) in WHOLE_NUMBERS.iter().zip(found.iter().zip(&reference)) {
        assert!(same(found, expected), "{formula} by AVX-512: {found:?}, not {expected:?}");
    }
}

/// A model in f64 takes weights that were saved in f32, and computes and trains in f64.
#[test]
fn whole_models_in_f64() {
    let text = "Model(
        inputs: { \"x\": \"f32[4, 3]\", \"y\": \"f32[4, 2]\" },
        body: [Linear(name: \"a\", features: 5), BatchNorm(name: \"n\"), Tanh, Dropout(0.2), Linear(name: \"b\", features: 2)],
        entries: {
            \"infer\": Infer(outputs: { \"z\": \"it\", \"w\": \"sort(atan(it)) + [1, 2]\" }),
            \"train\": Train(loss: \"mse(it, y)\", optimizer: Adam(lr: 0.1)),
        },
    )";
    let single = model(text);
    let double = Settings { float: brolga::ir::DType::F64, ..Settings::default() };
    let double = Model::from_text("language", text, &double).unwrap();
    let path = std::env::temp_dir().join(format!("brolga-f64-{}.safetensors", std::process::id()));
    let narrow = single.initial_state(5).unwrap();
    narrow.save(&path).unwrap();
    let mut wide = double.initial_state(9).unwrap();
    wide.load(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    for slot in narrow.slots().iter().filter(|slot| slot.tensor().dtype() == DType::F32) {
        let found = wide.get(slot.name()).unwrap().as_slice::<f64>().unwrap();
        let given = slot.tensor().as_slice::<f32>().unwrap();
        assert!(found.iter().zip(given).all(|(a, b)| *a == f64::from(*b)), "{}", slot.name());
    }
    let numbers: Vec<f64> = (0..12).map(|i| f64::from(i) * 0.37 - 2.0).collect();
    let small: Vec<f32> = numbers.iter().map(|&v| v as f32).collect();
    let large: Vec<f64> = small.iter().map(|&v| f64::from(v)).collect();
    let x = [Tensor::from_slice(&[4, 3], &small).unwrap(), Tensor::from_slice(&[4, 3], &large).unwrap()];
    let y = Tensor::from_slice(&[4, 2], &[0.5f64, -1.0, 2.0, 0.0, 1.5, 0.25, -0.5, 1.0]).unwrap();
    let mut first = Runner::new(&single, "train", 1).with_state(narrow.try_clone().unwrap());
    let mut single = Runner::new(&single, "infer", 1).with_state(narrow);
    let mut infer = Runner::new(&double, "infer", 1).with_state(wide.try_clone().unwrap());
    let found = [single.run(&x[..1]), infer.run(&x[1..])];
    for name in ["z", "w"] {
        let narrow = found[0][name].as_slice::<f32>().unwrap();
        let wide = found[1][name].as_slice::<f64>().unwrap();
        let close = |(a, b): (&f32, &f64)| (f64::from(*a) - b).abs() < 1e-5;
        assert!(narrow.iter().zip(wide).all(close), "{narrow:?} {wide:?}");
        assert!(wide.iter().any(|v| f64::from(*v as f32) != *v), "f32 is not enough: {wide:?}");
    }
    let mut training = Runner::new(&double, "train", 2).with_state(wide);
    let small_y = Tensor::from_slice(&[4, 2], &[0.5f32, -1.0, 2.0, 0.0, 1.5, 0.25, -0.5, 1.0]).unwrap();
    let [small_x, x] = x;
    let losses: Vec<f64> = (0..20)
        .map(|_| {
            let inputs = [x.try_clone().unwrap(), y.try_clone().unwrap()];
            training.run(&inputs)["loss"].as_slice::<f64>().unwrap()[0]
        })
        .collect();
    // Dropout draws the same numbers in either precision.
    let narrow: Vec<f64> = (0..20)
        .map(|_| {
            let inputs = [small_x.try_clone().unwrap(), small_y.try_clone().unwrap()];
            f64::from(first.run(&inputs)["loss"].as_slice::<f32>().unwrap()[0])
        })
        .collect();
    let near = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-3;
    assert!(losses.iter().zip(&narrow).all(near) && losses != narrow, "{losses:?} {narrow:?}");
}

/// A layer, the image, all of ones, and what each window gives: the number of elements that it sees, over the number of its places.
const BEYOND: &[(&str, &[usize], f32)] = &[
    ("AvgPool1d(1099511627, 1099511627, 549755813)", &[1, 1, 8], 8.0 / 1_099_511_627.0),
    ("AvgPool2d(131072, 131072, 65536)", &[1, 1, 8, 8], 64.0 / (131_072.0 * 131_072.0)),
    ("AvgPool2d(131072, 131072, 65536, count_include_pad: false)", &[1, 1, 8, 8], 1.0),
    ("MaxPool2d(131072, 131072, 131071)", &[1, 1, 8, 8], 1.0),
    ("AvgPool3d(4096, 4096, 2048)", &[1, 1, 8, 8, 8], 512.0 / (4096.0 * 4096.0 * 4096.0)),
];

/// Windows that reach far beyond the image end at once, forward and in training.
#[test]
fn windows_far_beyond_the_image_see_the_image() {
    for &(layer, dims, expected) in BEYOND {
        let sizes: Vec<String> = dims.iter().map(usize::to_string).collect();
        let text = |body: &str| {
            format!(
                "Model(inputs: {{ \"x\": \"f32[{}]\" }}, body: [{body}{layer}], entries: {{ \"infer\": Infer(outputs: {{ \"y\": \
                 \"it\" }}), \"train\": Train(loss: \"mean(it)\", optimizer: Sgd(lr: 1.0)) }})",
                sizes.join(", ")
            )
        };
        let x = Tensor::from_slice(dims, &vec![1.0_f32; dims.iter().product()]).unwrap();
        let plain = text("").replace(", \"train\": Train(loss: \"mean(it)\", optimizer: Sgd(lr: 1.0))", "");
        let found = Runner::new(&model(&plain), "infer", 2).run(std::slice::from_ref(&x));
        for &found in found["y"].as_slice::<f32>().unwrap() {
            assert!((found - expected).abs() <= 1e-6 * expected, "{layer}: {found}, not {expected}");
        }
        let trained = model(&text("Parameter(name: \"w\", dims: [1], init: Zeros), Expr(\"x * it\"), "));
        let mut runner = Runner::new(&trained, "train", 2);
        runner.run(&[x]);
        let step = -runner.floats("w")[0];
        assert!((step - expected).abs() <= 1e-6 * expected, "{layer}: {step}, not {expected}");
    }
}
