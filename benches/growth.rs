//! Times at n and 8 n, of every operator, of sorting and tables, of layers with windows, and of models that repeat:
//! `cargo bench --bench growth`.
//!
//! What is more than eight times as much is superlinear; `tests/growth.rs` counts the work of the same graphs.

#[path = "../tests/common/growing.rs"]
mod growing;

use std::time::Duration;

use brolga::ir::Graph;
use brolga::ir::ops::Op;
use brolga::runtime::{Instance, State, Tensor};
use brolga::{CompileOptions, Model, Settings, Threads, compile, random_inputs};
use criterion::{Criterion, criterion_group, criterion_main};

use growing::{
    ARGUMENTS, DENSE, NOT_RUN, REPEATED, SORTING, UNROLLED, WINDOWS, graphs_of, repeated_text, unrolled_text,
    whole, window_text,
};

/// The smaller size of an operator, and of a model.
const OPERATOR: usize = 4096;
const MODEL: usize = 16;

fn run(c: &mut Criterion, name: &str, instance: &mut Instance, state: &mut State) {
    let manifest = instance.executable().manifest().clone();
    let inputs = random_inputs(&manifest.inputs).expect("inputs");
    let outputs = manifest.outputs.iter().map(|output| Tensor::zeros(output.dtype, &output.dims));
    let mut outputs = outputs.collect::<Result<Vec<Tensor>, _>>().expect("memory");
    c.bench_function(name, |b| b.iter(|| instance.run_tensors(state, &inputs, &mut outputs)));
}

fn operators(c: &mut Criterion) {
    let threads = Threads::new(1).expect("threads");
    for name in Op::names().into_iter().filter(|name| !NOT_RUN.contains(name)) {
        let note = if SORTING.contains(&name) { " (n log n)" } else { "" };
        for (number, text) in graphs_of(name).iter().enumerate() {
            for n in [OPERATOR, 8 * OPERATOR] {
                let graph = Graph::parse(&whole(text, n, false)).expect("a graph");
                let executable = compile(&graph, &CompileOptions::default()).expect("compiles");
                let mut state = State::new();
                let mut instance = Instance::bind(executable.into(), &state, &threads).expect("binds");
                run(c, &format!("{name}{note}/{number}/{n}"), &mut instance, &mut state);
            }
        }
    }
}

/// Sizes at which sorting is wanted, at 8 n: 50,000 rows of 64, and the first 10 of 8 rows of 50,000.
const SORTED: [(&str, &str); 2] = [
    ("sort/rows of 64", "(%x: f32[$n, 64]) { %y = sort %x {axis: 1}"),
    ("sort/first 10 of 8 rows", "(%x: f32[8, $n]) { %y = sort %x {axis: 1, descending: true, first: 10}"),
];
const ROWS: usize = 6250;

/// A table of which 4,096 rows are used.
fn table(rows: usize) -> String {
    format!(
        "Model(
            dims: {{ \"batch\": 4096 }}, inputs: {{ \"word\": \"i32[batch]\", \"next\": \"i32[batch]\" }},
            body: [Embedding(vocabulary: {rows}, features: 256), Linear(features: 10), As(\"y\")],
            entries: {{
                \"infer\": Infer(outputs: {{ \"y\": \"y\" }}),
                \"train\": Train(loss: \"cross_entropy(y, next)\", optimizer: Sgd(lr: 0.1)),
            }},
        )"
    )
}

fn indexed(c: &mut Criterion) {
    let threads = Threads::new(1).expect("threads");
    for (name, text) in SORTED {
        for n in [ROWS, 8 * ROWS] {
            let graph = Graph::parse(&whole(text, n, false)).expect("a graph");
            let executable = compile(&graph, &CompileOptions::default()).expect("compiles");
            let mut state = State::new();
            let mut instance = Instance::bind(executable.into(), &state, &threads).expect("binds");
            run(c, &format!("{name}/{n}"), &mut instance, &mut state);
        }
    }
    for n in [2 * ROWS, 16 * ROWS] {
        entry(c, &format!("train/table of 256, 4096 rows used/{n}"), &table(n), "train");
    }
}

fn entry(c: &mut Criterion, name: &str, text: &str, entry: &str) {
    let threads = Threads::new(1).expect("threads");
    let model = Model::from_text(name, text, &Settings::default()).expect("a model");
    let executable = model.compile(entry).expect("compiles");
    let mut state = model.initial_state(0).expect("a state");
    let mut instance = Instance::bind(executable, &state, &threads).expect("binds");
    run(c, name, &mut instance, &mut state);
}

fn models(c: &mut Criterion) {
    for n in [MODEL, 8 * MODEL] {
        for row in UNROLLED {
            entry(c, &format!("train/{}/{n}", row[0]), &unrolled_text(row, n), "train");
        }
        for row in REPEATED.iter().chain([&DENSE]) {
            entry(c, &format!("train/{}/{n}", row.0), &repeated_text(row, n), "train");
        }
    }
}

fn windows(c: &mut Criterion) {
    for row in WINDOWS {
        for name in ["infer", "train"] {
            for n in [OPERATOR, 8 * OPERATOR] {
                entry(c, &format!("{name}/{}/{n}", row.1), &window_text(row, n), name);
            }
        }
    }
}

fn arguments(c: &mut Criterion) {
    for &(name, call, input, power) in ARGUMENTS {
        let note = if power > 1 { " (n²)" } else { "" };
        for n in [MODEL, 8 * MODEL] {
            entry(c, &format!("train/{call}{note}/{n}"), &window_text(&(name, call, input), n), "train");
        }
    }
}

fn short() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(300))
}

criterion_group! { name = benches; config = short(); targets = operators, indexed, windows, arguments, models }
criterion_main!(benches);
