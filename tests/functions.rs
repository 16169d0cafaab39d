//! Every function and layer of the language against PyTorch, at ordinary points and at the edges of their domains: the
//! result, and the gradients by inputs and parameters, by compiled code of both emitters.
//!
//! The rows are in `functions/rows.tsv`, those of layers in `functions/layers.tsv`; `functions/make.py` writes and explains them.
//! Their names and arguments are compared with those that the language dispatches by (`functions/complete.rs`), so that what is new
//! needs a row. `BROLGA_ROW=softmax` runs some rows only.
//!
//! No value is let pass. Where PyTorch's is no measure (its gradient is NaN, its f32 overflows on the way, an operand is NaN)
//! and ours differs, `functions/undefined.tsv` has ours with the reason; `BROLGA_BLESS=1` writes it anew, and [`UNDEFINED`] counts
//! it. At kinks `functions/kinks.rs` has the intervals of subgradients.

mod complete;
mod kinks;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use brolga::codegen::TargetCpu;
use brolga::frontend::{self, language, no_imports};
use brolga::ir::ops::Role;
use brolga::ir::scalar::Scalar;
use brolga::ir::{Builder, DType, Graph, Tensor as Constant, Type};
use brolga::runtime::{Executable, Instance, SlotKind};
use brolga::{CompileOptions, Settings, State, Tensor, Threads, compile};
use safetensors::SafeTensors;

/// Where PyTorch's value is no measure and ours is another: how many values, for each reason.
const UNDEFINED: [(&str, usize); 3] = [(LOST, 7), (NO_GRADIENT, 14), (NO_RULE, 91)];
const LOST: &str = "PyTorch's f32 overflows on the way";
const NO_GRADIENT: &str = "PyTorch's gradient is NaN";
const NO_RULE: &str = "the result or an operand is NaN";

/// Operators whose zeros have PyTorch's sign.
const SIGNED_ZEROS: [&str; 6] = ["+", "-", "*", "/", "//", "%"];

/// The values that differ where they may, line by line.
const LIST: &str = "tests/functions/undefined.tsv";

/// A value by name: its element type and extents.
struct Named {
    name: String,
    dtype: String,
    dims: Vec<usize>,
}

impl Named {
    /// `x:f32[2,3] i:i32[2]`
    fn list(text: &str) -> Vec<Named> {
        let one = |text: &str| {
            let (name, ty) = text.split_once(':').expect("a name and a type");
            let (dtype, dims) = ty.trim_end_matches(']').split_once('[').expect("a type");
            let dims =
                dims.split(',').filter(|n| !n.is_empty()).map(|n| n.parse().expect("a size")).collect();
            Named { name: name.into(), dtype: dtype.into(), dims }
        };
        text.split_whitespace().map(one).collect()
    }

    fn len(&self) -> usize {
        self.dims.iter().product()
    }

    /// The tensor of those elements.
    fn tensor(&self, values: &[f64]) -> Tensor {
        let of = |tensor: brolga::runtime::Result<Tensor>| tensor.expect("a tensor");
        match self.dtype.as_str() {
            "f64" => of(Tensor::from_slice(&self.dims, values)),
            "i32" => {
                of(Tensor::from_slice(&self.dims, &values.iter().map(|&v| v as i32).collect::<Vec<_>>()))
            }
            "i64" => {
                of(Tensor::from_slice(&self.dims, &values.iter().map(|&v| v as i64).collect::<Vec<_>>()))
            }
            "u8" => of(Tensor::from_slice(&self.dims, &values.iter().map(|&v| v as u8).collect::<Vec<_>>())),
            "bool" => {
                let bytes: Vec<u8> = values.iter().map(|&v| u8::from(v != 0.0)).collect();
                of(Tensor::from_bytes(brolga::runtime::DType::Bool, &self.dims, &bytes))
            }
            _ => of(Tensor::from_slice(&self.dims, &values.iter().map(|&v| v as f32).collect::<Vec<_>>())),
        }
    }

    fn declared(&self) -> String {
        let dims: Vec<String> = self.dims.iter().map(usize::to_string).collect();
        format!("\"{}\": \"{}[{}]\"", self.name, self.dtype, dims.join(", "))
    }
}

/// A line of the table.
struct Row {
    kind: String,
    names: Vec<String>,
    train: bool,
    inputs: Vec<Named>,
    states: Vec<Named>,
    body: String,
    output: String,
    results: Vec<Named>,
    cases: usize,
}

fn rows() -> Vec<Row> {
    let row = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        Row {
            kind: fields[0].into(),
            names: fields[1].split(',').map(str::to_owned).collect(),
            train: fields[2] == "train",
            inputs: Named::list(fields[3]),
            states: Named::list(fields[4]),
            body: fields[5].into(),
            output: fields[6].into(),
            results: Named::list(fields[7]),
            cases: fields[8].parse().expect("a number of cases"),
        }
    };
    let tables = [include_str!("functions/rows.tsv"), include_str!("functions/layers.tsv")];
    tables.into_iter().flat_map(str::lines).map(row).collect()
}

#[test]
fn every_function_and_layer_has_a_row() {
    let rows = rows();
    let covered: BTreeSet<String> = rows.into_iter().flat_map(|row| row.names).collect();
    let words = language::activations().iter().map(|word| format!("activation {word}"));
    let called = [language::functions(), language::layers()].concat().into_iter().map(|called| called.name);
    // These are of a data set, derive, or draw: see `metrics.rs`, `derivatives.rs`, and `chance.rs` of the frontend.
    let called =
        called.filter(|name| !["total", "r2", "grad", "jvp"].contains(name) && !language::draws(name));
    let operators = language::operators().into_iter().chain(language::prefixes());
    let known: BTreeSet<String> = called.chain(operators).map(str::to_owned).chain(words).collect();
    let without: Vec<_> = known.difference(&covered).collect();
    let unknown: Vec<_> = covered.difference(&known).collect();
    assert!(without.is_empty(), "no row in functions/rows: {without:?}");
    assert!(unknown.is_empty(), "rows of what the language does not have: {unknown:?}");
}

impl Row {
    /// The model of the row; entries without and with training.
    fn model(&self) -> String {
        let inputs: Vec<String> =
            self.inputs.iter().filter(|input| !input.name.contains('.')).map(Named::declared).collect();
        let (inputs, body, output) = (inputs.join(", "), &self.body, &self.output);
        format!(
            "Model(
                inputs: {{ {inputs} }},
                body: [{body}],
                entries: {{
                    \"infer\": Infer(outputs: {{ \"y\": \"{output}\" }}),
                    \"train\": Entry(steps: [], outputs: {{ \"y\": \"{output}\" }}),
                }},
            )"
        )
    }

    fn title(&self) -> String {
        let what = if self.output == "it" { &self.body } else { &self.output };
        format!("{what}{}", if self.train { " (training)" } else { "" })
    }

    /// The graph of the row: the result `y`, and the gradients of `sum(y * cotangent)`.
    fn graph(&self) -> Graph {
        let text = self.model();
        let instance = instance(&text).unwrap_or_else(|diagnostics| panic!("{text}\n{diagnostics}"));
        let mut graph =
            instance.graph(if self.train { "train" } else { "infer" }).expect("the entry").clone();
        let y = graph.outputs().iter().find(|output| output.name == "y").expect("the result").value;
        let wanted: Vec<&str> = self.results.iter().filter_map(|r| r.name.strip_prefix("grad.")).collect();
        let parameter = |name: &&str| {
            let by_name = |&&id: &&_| graph.parameter(id).is_some_and(|parameter| parameter.name == **name);
            let id = graph.parameters().iter().find(by_name);
            graph.result(*id.unwrap_or_else(|| panic!("{}: no parameter {name}", self.title())))
        };
        let by: Vec<_> = wanted.iter().map(parameter).collect();
        if by.is_empty() {
            return graph;
        }
        let mut b = Builder::new(&mut graph, Default::default());
        let ty = b.ty(y).clone();
        let cotangent = |i: usize| ((i * 5 + 3) % 8) as f64 / 4.0 - 0.875;
        let cotangent = Constant::generate(&ty, |i| Scalar::from_f64(ty.dtype, cotangent(i)));
        let built = b.constant(cotangent).and_then(|cotangent| {
            let product = b.mul(y, cotangent)?;
            let axes: Vec<usize> = (0..ty.rank()).collect();
            let loss = b.reduce(brolga::ir::program::Combine::Add, product, &axes)?;
            b.gradient(loss, &by)
        });
        let gradients = built.unwrap_or_else(|error| panic!("{}: {error}", self.title()));
        for (name, gradient) in wanted.iter().zip(gradients) {
            graph.add_output(&format!("grad.{name}"), Role::Data, gradient);
        }
        count_steps(&mut graph);
        graph
    }
}

/// The graphs of a model, whose random numbers are inputs.
fn instance(text: &str) -> Result<frontend::Instance, frontend::Diagnostics> {
    let settings = Settings { feed_random: true, ..Settings::default() };
    frontend::Model::parse("row.ron", text, &no_imports).and_then(|model| model.instantiate(&settings))
}

/// Gradients belong to training steps: what changes no state is compiled as inference.
fn count_steps(graph: &mut Graph) {
    if graph.outputs().iter().any(|output| output.role == Role::State) {
        return;
    }
    let step = graph.add_parameter("step", Role::State, Type::new(DType::I64, []));
    let mut b = Builder::new(graph, Default::default());
    let next = b.add_scalar(step, 1.0).expect("a number");
    graph.add_output("step", Role::State, next);
}

/// The numbers of one kind of rows, in the order of the table.
struct Values {
    values: Vec<f64>,
    tolerance: Vec<f32>,
    at: usize,
    tolerance_at: usize,
}

impl Values {
    fn open(kind: &str) -> Values {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/functions/{kind}.safetensors"));
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let file = SafeTensors::deserialize(&bytes).expect("a safetensors file");
        let values = file.tensor("values").expect("a tensor");
        let word = |b: &[u8]| f64::from(f32::from_le_bytes(b.try_into().expect("4 bytes")));
        let wide = |b: &[u8]| f64::from_le_bytes(b.try_into().expect("8 bytes"));
        let values = match values.dtype() {
            safetensors::Dtype::F64 => values.data().chunks(8).map(wide).collect(),
            _ => values.data().chunks(4).map(word).collect(),
        };
        // Tolerances are the upper halves of their f32.
        let half = |b: &[u8]| f32::from_bits(u32::from(b[0]) << 16 | u32::from(b[1]) << 24);
        let tolerance = file.tensor("tolerance").expect("a tensor").data().chunks(2).map(half).collect();
        Values { values, tolerance, at: 0, tolerance_at: 0 }
    }

    fn next(&mut self, count: usize) -> &[f64] {
        self.at += count;
        &self.values[self.at - count..self.at]
    }

    fn next_tolerance(&mut self, count: usize) -> &[f32] {
        self.tolerance_at += count;
        &self.tolerance[self.tolerance_at - count..self.tolerance_at]
    }
}

/// Why PyTorch's value is no measure, as `functions/make.py` says it by a tolerance.
fn undefined(tolerance: f32) -> Option<&'static str> {
    match tolerance {
        _ if tolerance.is_nan() => Some(NO_GRADIENT),
        _ if tolerance.is_infinite() => Some(LOST),
        _ if tolerance < 0.0 => Some(NO_RULE),
        _ => None,
    }
}

/// Whether `found` is what is expected. Tolerances of f64 are parts of the value, where it is above 1.
fn passes(dtype: &str, found: f64, expected: f64, tolerance: f32) -> bool {
    if found == expected || (found.is_nan() && expected.is_nan()) {
        return true;
    }
    let (size, least) = (expected.abs().max(1.0), if dtype == "f64" { 1e-14 } else { 1e-6 });
    let bound = match undefined(tolerance) {
        Some(NO_RULE) | None if dtype == "f64" => f64::from(tolerance.abs()) * size,
        Some(NO_RULE) | None => f64::from(tolerance.abs()),
        Some(_) => least * size,
    };
    // What rounds to infinity may stay just below.
    let expected = if dtype == "f32" { expected.clamp(-2f64.powi(128), 2f64.powi(128)) } else { expected };
    found.is_finite() && (found - expected).abs() <= bound
}

/// A result: its element type, and its elements.
struct Found {
    name: String,
    dtype: String,
    values: Vec<f64>,
}

impl Found {
    fn new(name: &str, tensor: &Tensor) -> Found {
        use brolga::runtime::DType as D;
        let values = match tensor.dtype() {
            D::F32 => tensor.as_slice::<f32>().map(|s| s.iter().map(|&v| f64::from(v)).collect()),
            D::F64 => tensor.as_slice::<f64>().map(<[f64]>::to_vec),
            D::I32 => tensor.as_slice::<i32>().map(|s| s.iter().map(|&v| f64::from(v)).collect()),
            D::I64 => tensor.as_slice::<i64>().map(|s| s.iter().map(|&v| v as f64).collect()),
            _ => Ok(tensor.bytes().iter().map(|&v| f64::from(v)).collect()),
        };
        Found { name: name.into(), dtype: tensor.dtype().to_string(), values: values.expect("elements") }
    }
}

fn run(
    executable: &Arc<Executable>,
    state: &State,
    inputs: &[(String, Tensor)],
    threads: &Threads,
) -> Vec<Found> {
    let mut state = state.try_clone().expect("a state");
    let mut instance = Instance::bind(executable.clone(), &state, threads).expect("an instance");
    let manifest = instance.executable().manifest();
    let used = |name: &str| manifest.inputs.iter().any(|input| input.name == name);
    let named: Vec<(&str, &Tensor)> =
        inputs.iter().filter(|(name, _)| used(name)).map(|(n, t)| (n.as_str(), t)).collect();
    let outputs = instance.run_named(&mut state, &named).expect("a run");
    let new = state.slots().iter().map(|s| Found::new(&format!("new.{}", s.name()), s.tensor()));
    outputs.iter().map(|(name, t)| Found::new(name, t)).chain(new).collect()
}

/// What a row shows.
#[derive(Default)]
struct Outcome {
    /// What is wrong, a line each.
    wrong: Vec<String>,
    /// What differs where it may, as [`LIST`] has it.
    listed: Vec<String>,
}

/// Compares one row, on both emitters.
fn check(row: &Row, values: &mut Values, threads: &Threads, chosen: bool) -> Outcome {
    let executables = chosen.then(|| {
        let graph = row.graph();
        [TargetCpu::Native, TargetCpu::Portable].map(|target_cpu| {
            let options = CompileOptions { target_cpu, ..CompileOptions::default() };
            Arc::new(compile(&graph, &options).unwrap_or_else(|error| panic!("{}: {error}", row.title())))
        })
    });
    let mut outcome = Outcome::default();
    for case in 0..row.cases {
        let (mut inputs, mut state) = (Vec::new(), State::new());
        for input in &row.inputs {
            inputs.push((input.name.clone(), input.tensor(values.next(input.len()))));
        }
        for slot in &row.states {
            let tensor = slot.tensor(values.next(slot.len()));
            state.insert(slot.name.as_str(), SlotKind::Parameter, tensor).expect("a slot");
        }
        for (name, kind) in [("seed", SlotKind::Buffer), ("step", SlotKind::Buffer)] {
            state.insert(name, kind, Tensor::scalar(0i64).expect("a number")).expect("a slot");
        }
        let found =
            executables.as_ref().map(|both| both.each_ref().map(|e| run(e, &state, &inputs, threads)));
        for result in &row.results {
            let expected = values.next(result.len()).to_vec();
            let tolerance = values.next_tolerance(result.len());
            let Some(found) = &found else { continue };
            let both = found.each_ref().map(|outputs| {
                let output = outputs.iter().find(|output| output.name == result.name);
                output.unwrap_or_else(|| panic!("{}: no {}", row.title(), result.name))
            });
            let title = format!("{} #{case}", row.title());
            compare_result(&title, result, both, (&expected, tolerance), (&row.kind, &mut outcome));
            if result.name == "y" && row.names.iter().any(|name| SIGNED_ZEROS.contains(&name.as_str())) {
                outcome.wrong.extend(wrong_zeros(&title, &both[0].values, &expected));
            }
        }
    }
    outcome
}

/// Compares a result, by the wide emitter and by the portable one, with what is expected.
fn compare_result(
    title: &str,
    result: &Named,
    [wide, portable]: [&Found; 2],
    (expected, tolerance): (&[f64], &[f32]),
    (kind, outcome): (&str, &mut Outcome),
) {
    let name = &result.name;
    if wide.dtype != result.dtype {
        outcome.wrong.push(format!("{title}: {name} is {}, not {}", wide.dtype, result.dtype));
    }
    assert_eq!([wide.values.len(), portable.values.len()], [expected.len(); 2], "{title}: {name}");
    let mut listed: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (i, (&expected, &tolerance)) in expected.iter().zip(tolerance).enumerate() {
        let (found, other) = (wide.values[i], portable.values[i]);
        let place = format!("{title}: {name}[{i}] is {found:e}");
        if found.to_bits() != other.to_bits() && !(found.is_nan() && other.is_nan()) {
            outcome.wrong.push(format!("{place}, by the portable emitter {other:e}"));
        }
        if passes(&result.dtype, found, expected, tolerance) {
            continue;
        }
        match undefined(tolerance) {
            Some(reason) => listed.entry(reason).or_default().push(format!("{i} {found:e}")),
            None => outcome.wrong.push(format!("{place}, not {expected:e} within {tolerance:e}")),
        }
    }
    for (reason, values) in listed {
        outcome.listed.push(format!("{kind}\t{title}\t{name}\t{reason}\t{}", values.join(", ")));
    }
}

/// Zeros with the other sign.
fn wrong_zeros(title: &str, found: &[f64], expected: &[f64]) -> Vec<String> {
    let differs = |a: f64, b: f64| a == 0.0 && b == 0.0 && a.to_bits() != b.to_bits();
    let both =
        found.iter().zip(expected).enumerate().filter(|(_, (found, expected))| differs(**found, **expected));
    both.map(|(i, (found, expected))| format!("{title}: y[{i}] is {found:?}, not {expected:?}")).collect()
}

/// Compares what differs where it may with the list, or writes it there.
fn compare_list(kind: &str, listed: &[String], chosen: impl Fn(&str) -> bool) {
    static WRITING: Mutex<()> = Mutex::new(());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(LIST);
    let own = |line: &str| line.split('\t').next() == Some(kind);
    let _guard = WRITING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let text = std::fs::read_to_string(&path).expect("the list");
    if std::env::var_os("BROLGA_BLESS").is_some() {
        let others = text.lines().filter(|line| !own(line)).map(str::to_owned);
        let mut lines: Vec<String> = others.chain(listed.iter().cloned()).collect();
        lines.sort();
        return std::fs::write(&path, lines.join("\n") + "\n").expect("the list");
    }
    let committed: BTreeSet<&str> = text.lines().filter(|line| own(line) && chosen(line)).collect();
    let found: BTreeSet<&str> = listed.iter().map(String::as_str).collect();
    let [more, less] = [found.difference(&committed), committed.difference(&found)]
        .map(|lines| lines.copied().collect::<Vec<_>>().join("\n"));
    assert!(more.is_empty() && less.is_empty(), "not in {LIST}:\n{more}\nonly in it:\n{less}");
}

fn compare(kind: &str) {
    let threads = Threads::new(1).expect("a thread");
    let only = std::env::var("BROLGA_ROW").ok();
    let chosen = |title: &str| only.as_deref().is_none_or(|only| title.contains(only));
    let mut values = Values::open(kind);
    let (mut wrong, mut listed) = (Vec::new(), Vec::new());
    for row in rows().iter().filter(|row| row.kind == kind) {
        let outcome = check(row, &mut values, &threads, chosen(&row.title()));
        wrong.extend(outcome.wrong);
        listed.extend(outcome.listed);
    }
    assert_eq!((values.at, values.tolerance_at), (values.values.len(), values.tolerance.len()), "all values");
    assert!(wrong.is_empty(), "{} values are wrong:\n{}", wrong.len(), wrong.join("\n"));
    compare_list(kind, &listed, |line| chosen(line.split('\t').nth(1).unwrap_or("")));
}

/// The list of what differs where PyTorch's value is no measure has no more than is known, and every line a reason.
#[test]
fn what_is_undefined_is_counted() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(LIST)).expect("the list");
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        assert_eq!(fields.len(), 5, "{line}");
        *counts.entry(fields[3]).or_default() += fields[4].split(", ").count();
    }
    assert_eq!(counts, UNDEFINED.into_iter().collect());
}

/// Every kind of rows has a test, and a file of at most 100 KB.
#[test]
fn every_kind_is_compared() {
    let kinds: BTreeSet<String> = rows().into_iter().map(|row| row.kind).collect();
    assert_eq!(kinds, KINDS.map(str::to_owned).into());
    for entry in
        std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/functions")).expect("files")
    {
        let entry = entry.expect("a file");
        let size = entry.metadata().expect("a size").len();
        assert!(size <= 100_000, "{} has {size} bytes", entry.path().display());
    }
}

/// A test for each kind of rows.
macro_rules! kinds {
    ($($test:ident: $kind:literal,)*) => {
        const KINDS: [&str; [$($kind),*].len()] = [$($kind),*];
        $(
            #[test]
            fn $test() {
                compare($kind);
            }
        )*
    };
}

kinds! {
    functions_of_elements_are_pytorchs: "elements",
    functions_are_pytorchs: "functions",
    losses_are_pytorchs: "losses",
    activations_are_pytorchs: "activations",
    layers_are_pytorchs: "layers",
    convolutions_are_pytorchs: "convolutions",
    pools_are_pytorchs: "pools",
    what_is_done_to_data_is_pytorchs: "data",
    integers_are_pytorchs: "integers",
    functions_in_f64_are_pytorchs: "f64",
}
