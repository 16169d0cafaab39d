//! Times at n and 8 n, of every operator and of models that slice in repeated blocks: `cargo bench --bench growth`.
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

use growing::{NOT_RUN, SORTING, UNROLLED, graphs_of, unrolled_text, whole};

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

fn models(c: &mut Criterion) {
    let threads = Threads::new(1).expect("threads");
    for row in UNROLLED {
        for n in [MODEL, 8 * MODEL] {
            let model =
                Model::from_text(row[0], &unrolled_text(row, n), &Settings::default()).expect("a model");
            let executable = model.compile("train").expect("compiles");
            let mut state = model.initial_state(0).expect("a state");
            let mut instance = Instance::bind(executable, &state, &threads).expect("binds");
            run(c, &format!("train/{}/{n}", row[0]), &mut instance, &mut state);
        }
    }
}

fn short() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(300))
}

criterion_group! { name = benches; config = short(); targets = operators, models }
criterion_main!(benches);
