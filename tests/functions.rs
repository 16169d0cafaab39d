//! Every function and layer of the language against PyTorch, at ordinary points and at the edges of their domains: the
//! result, and the gradients by inputs and parameters, by compiled code of both emitters.
//!
//! The rows are in `functions/rows.tsv`, which `functions/make.py` writes and explains. Their names and arguments are compared
//! with those that the language dispatches by (`functions/complete.rs`), so that what is new needs a row. `BROLGA_ROW=softmax`
//! runs some rows only.

mod complete;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use brolga::codegen::TargetCpu;
use brolga::frontend::{self, language, no_imports};
use brolga::ir::ops::Role;
use brolga::ir::scalar::Scalar;
use brolga::ir::{Builder, DType, Graph, Tensor as Constant, Type};
use brolga::runtime::{Executable, Instance, SlotKind};
use brolga::{CompileOptions, Settings, State, Tensor, Threads, compile};
use safetensors::SafeTensors;

const KINDS: [&str; 5] = ["functions", "losses", "activations", "layers", "data"];

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
    include_str!("functions/rows.tsv").lines().map(row).collect()
}

#[test]
fn every_function_and_layer_has_a_row() {
    let rows = rows();
    let covered: BTreeSet<String> = rows.into_iter().flat_map(|row| row.names).collect();
    let words = language::activations().iter().map(|word| format!("activation {word}"));
    let called = [language::functions(), language::layers()].concat().into_iter().map(|called| called.name);
    // A total is one over a data set: see `metrics.rs`.
    let called = called.filter(|name| *name != "total");
    let operators = language::operators().into_iter().chain(language::prefixes());
    let known: BTreeSet<String> = called.chain(operators).map(str::to_owned).chain(words).collect();
    let without: Vec<_> = known.difference(&covered).collect();
    let unknown: Vec<_> = covered.difference(&known).collect();
    assert!(without.is_empty(), "no row in functions/make.py: {without:?}");
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
        let cotangent = Constant::generate(&ty, |i| Scalar::from_f64(DType::F32, cotangent(i)));
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
    values: Vec<f32>,
    tolerance: Vec<f32>,
    at: usize,
    tolerance_at: usize,
}

impl Values {
    fn open(kind: &str) -> Values {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/functions/{kind}.safetensors"));
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let file = SafeTensors::deserialize(&bytes).expect("a safetensors file");
        let raw = |name: &str| file.tensor(name).expect("a tensor").data().to_vec();
        let word = |b: &[u8]| f32::from_le_bytes(b.try_into().expect("4 bytes"));
        // Tolerances are the upper halves of their f32.
        let half = |b: &[u8]| f32::from_bits(u32::from(b[0]) << 16 | u32::from(b[1]) << 24);
        Values {
            values: raw("values").chunks(4).map(word).collect(),
            tolerance: raw("tolerance").chunks(2).map(half).collect(),
            at: 0,
            tolerance_at: 0,
        }
    }

    fn next(&mut self, count: usize) -> &[f32] {
        self.at += count;
        &self.values[self.at - count..self.at]
    }

    fn next_tolerance(&mut self, count: usize) -> &[f32] {
        self.tolerance_at += count;
        &self.tolerance[self.tolerance_at - count..self.tolerance_at]
    }
}

/// Whether `found` is what is expected; the tolerance is explained in `functions/make.py`.
fn passes(found: f32, expected: f32, tolerance: f32) -> bool {
    if tolerance.is_nan() || found == expected || (found.is_nan() && expected.is_nan()) {
        return true;
    }
    if tolerance.is_infinite() && !found.is_finite() {
        return true;
    }
    // PyTorch has no rule there; cotangents are below 1.
    if tolerance < 0.0 && (found.is_nan() || found.abs() <= 1.0) {
        return true;
    }
    let tolerance = tolerance.abs();
    let bound = if tolerance.is_infinite() { 1e-6 * expected.abs().max(1.0) } else { tolerance };
    // What rounds to infinity may stay just below.
    let near = |v: f32| f64::from(v).clamp(-2f64.powi(128), 2f64.powi(128));
    (near(found) - near(expected)).abs() <= f64::from(bound)
}

fn run(
    executable: &Arc<Executable>,
    state: &State,
    inputs: &[(String, Tensor)],
    threads: &Threads,
) -> Vec<(String, Vec<f32>)> {
    let mut state = state.try_clone().expect("a state");
    let mut instance = Instance::bind(executable.clone(), &state, threads).expect("an instance");
    let manifest = instance.executable().manifest();
    let used = |name: &str| manifest.inputs.iter().any(|input| input.name == name);
    let named: Vec<(&str, &Tensor)> =
        inputs.iter().filter(|(name, _)| used(name)).map(|(n, t)| (n.as_str(), t)).collect();
    let outputs = instance.run_named(&mut state, &named).expect("a run");
    let floats = |t: &Tensor| t.as_slice::<f32>().map(<[f32]>::to_vec).ok();
    let new = state.slots().iter().filter_map(|s| Some((format!("new.{}", s.name()), floats(s.tensor())?)));
    let outputs = outputs.iter().map(|(name, t)| (name.clone(), floats(t).expect("floats")));
    outputs.chain(new).collect()
}

/// Compares one row, on both emitters; what is wrong, a line each.
fn check(row: &Row, values: &mut Values, threads: &Threads, chosen: bool) -> Vec<String> {
    let executables = chosen.then(|| {
        let graph = row.graph();
        [TargetCpu::Native, TargetCpu::Portable].map(|target_cpu| {
            let options = CompileOptions { target_cpu, ..CompileOptions::default() };
            Arc::new(compile(&graph, &options).unwrap_or_else(|error| panic!("{}: {error}", row.title())))
        })
    });
    let mut wrong = Vec::new();
    for case in 0..row.cases {
        let (mut inputs, mut state) = (Vec::new(), State::new());
        for input in &row.inputs {
            let given = values.next(input.len());
            let tensor = match input.dtype.as_str() {
                "i32" => {
                    let given: Vec<i32> = given.iter().map(|&v| v as i32).collect();
                    Tensor::from_slice(&input.dims, &given)
                }
                _ => Tensor::from_slice(&input.dims, given),
            };
            inputs.push((input.name.clone(), tensor.expect("an input")));
        }
        for slot in &row.states {
            let tensor = Tensor::from_slice(&slot.dims, values.next(slot.len())).expect("a parameter");
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
                let output = outputs.iter().find(|(name, _)| *name == result.name);
                &output.unwrap_or_else(|| panic!("{}: no {}", row.title(), result.name)).1
            });
            for (i, (&expected, &tolerance)) in expected.iter().zip(tolerance).enumerate() {
                let [wide, portable] = both.map(|values| values[i]);
                let place = format!("{}, case {case}: {}[{i}] is {wide:e}", row.title(), result.name);
                if wide.to_bits() != portable.to_bits() && !(wide.is_nan() && portable.is_nan()) {
                    wrong.push(format!("{place}, by the portable emitter {portable:e}"));
                }
                if !passes(wide, expected, tolerance) {
                    let at = inputs.iter().filter_map(|(name, t)| {
                        let value = t.as_slice::<f32>().ok()?.get(i)?;
                        Some(format!("{name} {value:e}"))
                    });
                    let at: Vec<String> = at.collect();
                    wrong.push(format!("{place}, not {expected:e} within {tolerance:e} ({})", at.join(", ")));
                }
            }
        }
    }
    wrong
}

fn compare(kind: &str) {
    let threads = Threads::new(1).expect("a thread");
    let only = std::env::var("BROLGA_ROW").ok();
    let mut values = Values::open(kind);
    let mut wrong = Vec::new();
    for row in rows().iter().filter(|row| row.kind == kind) {
        let chosen = only.as_deref().is_none_or(|only| row.title().contains(only));
        wrong.extend(check(row, &mut values, &threads, chosen));
    }
    assert_eq!((values.at, values.tolerance_at), (values.values.len(), values.tolerance.len()), "all values");
    assert!(wrong.is_empty(), "{} values are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn functions_are_pytorchs() {
    compare(KINDS[0]);
}

#[test]
fn losses_are_pytorchs() {
    compare(KINDS[1]);
}

#[test]
fn activations_are_pytorchs() {
    compare(KINDS[2]);
}

#[test]
fn layers_are_pytorchs() {
    compare(KINDS[3]);
}

#[test]
fn what_is_done_to_data_is_pytorchs() {
    compare(KINDS[4]);
}
