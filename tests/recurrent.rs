//! Models with loops, from their text to compiled code: the values of the graph's interpreter, the same bits for any number of
//! threads and with either emitter, and learning.

use std::collections::HashMap;
use std::sync::Arc;

use brolga::ir::interpret::interpret;
use brolga::ir::ops::Role;
use brolga::passes::{Manager, Options, pipelines};
use brolga::runtime::{DType, Executable, Instance, SlotKind};
use brolga::{CompileOptions, Model, Settings, State, TargetCpu, Tensor, Threads};

use crate::fuzz::values::from_runtime;

/// Inputs of a batch of three: a series, how many of its steps each row has, and a class for each row.
const INPUTS: &str = "\"x\": \"f32[batch, 7, 5]\", \"length\": \"i32[batch]\", \"label\": \"i32[batch]\"";

/// Bodies from the series to something for each row and step, `[batch, 7, ...]`.
const BODIES: &[(&str, &str)] = &[
    (
        "Elman's network",
        "Scan(name: \"rnn\", body: [
            Carry(\"h\", \"zeros([batch, 6])\"),
            Add([[Linear(name: \"ih\", features: 6)], [Expr(\"prev.h\"), Linear(name: \"hh\", features: 6)]]),
            Tanh, As(\"h\"),
        ])",
    ),
    (
        "an LSTM, written out",
        "Scan(name: \"lstm\", lengths: \"length\", body: [
            Carry(\"h\", \"zeros([batch, 4])\"), Carry(\"c\", \"zeros([batch, 4])\"),
            Add([[Linear(name: \"ih\", features: 16)], [Expr(\"prev.h\"), Linear(name: \"hh\", features: 16)]]),
            Let([\"i\", \"f\", \"g\", \"o\"], \"split(it, 4)\"),
            Let(\"c\", \"sigmoid(f) * prev.c + sigmoid(i) * tanh(g)\"), Let(\"h\", \"sigmoid(o) * tanh(c)\"), Ref(\"h\"),
        ])",
    ),
    ("an LSTM in both directions", "Lstm(features: 3, layers: 2, bidirectional: true, lengths: \"length\")"),
    ("gated units", "Gru(features: 4), Gru(features: 3, reset: \"before\", lengths: \"length\")"),
    (
        "cells, one on the other",
        "Scan(lengths: \"length\", body: [LstmCell(features: 4), GruCell(features: 3), RnnCell(features: 5)])",
    ),
    (
        "a loop in a loop",
        "Linear(name: \"w\", features: 5), Scan(body: [
            Carry(\"h\", \"zeros([batch])\"),
            Scan(name: \"inner\", axis: 1, reverse: true, body: [
                Carry(\"h\", \"prev.h\"), Expr(\"it + 0.5 * prev.h\"), Tanh, As(\"h\"),
            ]),
            Let(\"h\", \"inner.last.h\"), Reuse(\"w\"),
        ])",
    ),
    (
        "convolutions of every step",
        "Scan(body: [
            Reshape([-1, 1, 5]), Conv1d(features: 3, kernel: 3), BatchNorm, Relu, Dropout(0.3), Flatten,
        ])",
    ),
    (
        "rows that end by a condition",
        "Scan(until: \"sum(h, axis=1) > 1\", body: [
            Carry(\"h\", \"zeros([batch, 4])\"), Linear(name: \"w\", features: 4), Expr(\"prev.h + sigmoid(it)\"), As(\"h\"),
        ])",
    ),
    (
        "no step of its own, and carries that nothing needs",
        "Scan(body: []), Scan(body: [Carry(\"h\", \"x[:, 0]\"), Let(\"h\", \"prev.h\"), Linear(name: \"w\", features: 4)])",
    ),
    (
        "the last of all steps, of one and of none",
        "Scan(name: \"s\", body: [Carry(\"h\", 0.5), Let(\"h\", \"0.9 * prev.h\"), Let(\"u\", \"it * h\")]),
         Scan(name: \"one\", times: 1, body: [Let(\"u\", \"x * 2\")]), Scan(name: \"none\", times: 0, body: [Let(\"u\", \"x * 3\")]),
         Expr(\"x + s.last.u[:, none] + one.last.u + none.last.u + s.last.h\"), Linear(name: \"w\", features: 4)",
    ),
    (
        "a count, and numbers of a series by position",
        "Scan(name: \"s\", index: \"t\", body: [
            Carry(\"n\", 0), Let(\"n\", \"prev.n + 1\"), Linear(name: \"w\", features: 4),
            Expr(\"it * float(n) + x[:, t, :4]\"),
        ])",
    ),
];

fn model(body: &str, batch: usize, threads: usize, target_cpu: TargetCpu) -> Model {
    let text = format!(
        "Model(
            inputs: {{ {INPUTS} }},
            body: [{body}, Let(\"logits\", \"mean(it, axis=1)\")],
            entries: {{
                \"infer\": Infer(outputs: {{ \"y\": \"it\" }}),
                \"train\": Train(loss: \"cross_entropy(logits, label)\", optimizer: Sgd(lr: 0.1, momentum: 0.9)),
            }},
        )"
    );
    // So small a part that small programs are parallel too.
    let least_part = if threads > 1 { 4 } else { Options::default().least_part };
    let passes = Options { least_part, ..Options::default() };
    let model = Model::from_text("loop", &text, &Settings::default().dim("batch", batch));
    let model = model.unwrap_or_else(|e| panic!("{text}\n{e}"));
    model.with_options(CompileOptions { target_cpu, passes, verify: true })
}

/// Inputs of these samples.
fn given(executable: &Executable, samples: &[usize]) -> Vec<Tensor> {
    let x = samples
        .iter()
        .flat_map(|sample| (35 * sample..35 * (sample + 1)).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0));
    let x: Vec<f32> = x.collect();
    let of = |values: [i32; 3]| samples.iter().map(|&sample| values[sample]).collect::<Vec<i32>>();
    let one = |name: &str| match name {
        "x" => Tensor::from_slice(&[samples.len(), 7, 5], &x).unwrap(),
        "length" => Tensor::from_slice(&[samples.len()], &of([7, 0, 4])).unwrap(),
        _ => Tensor::from_slice(&[samples.len()], &of([2, 0, 1])).unwrap(),
    };
    executable.manifest().inputs.iter().map(|input| one(&input.name)).collect()
}

/// What an entry gives in so many runs, one behind the other, and the state behind them.
fn run(model: &Model, entry: &str, threads: usize, runs: usize) -> (Vec<Tensor>, State) {
    run_on(model, entry, threads, runs, &[0, 1, 2])
}

fn run_on(
    model: &Model,
    entry: &str,
    threads: usize,
    runs: usize,
    samples: &[usize],
) -> (Vec<Tensor>, State) {
    let executable: Arc<Executable> = model.compile(entry).unwrap_or_else(|e| panic!("{e}"));
    let mut state = model.initial_state(5).unwrap();
    let inputs = given(&executable, samples);
    let outputs = executable.manifest().outputs.iter();
    let mut outputs: Vec<Tensor> = outputs.map(|o| Tensor::zeros(o.dtype, &o.dims).unwrap()).collect();
    let mut instance = Instance::bind(executable, &state, &Threads::new(threads).unwrap()).unwrap();
    for _ in 0..runs {
        instance.run_tensors(&mut state, &inputs, &mut outputs).unwrap();
    }
    (outputs, state)
}

/// Compiled code against the interpreter of the graph, up to the rounding that lowering decides: outputs, and the state behind an
/// update.
#[test]
fn loops_have_the_values_of_the_graph() {
    for (name, body) in BODIES {
        let model = model(body, 3, 1, TargetCpu::Native);
        for entry in ["infer", "train"] {
            let (outputs, state) = run(&model, entry, 1, 1);
            let mut graph = model.graph(entry).unwrap().clone();
            Manager::new(Options::default())
                .run(&pipelines::graph_passes("grad").unwrap(), &mut graph)
                .unwrap();
            let before = model.initial_state(5).unwrap();
            let inputs = given(&model.compile(entry).unwrap(), &[0, 1, 2]);
            let manifest = model.compile(entry).unwrap();
            let by_name: HashMap<&str, &Tensor> =
                manifest.manifest().inputs.iter().map(|input| input.name.as_str()).zip(&inputs).collect();
            let parameters = graph.parameters().iter().map(|&id| graph.parameter(id).expect("a parameter"));
            let values: Vec<_> = parameters
                .map(|parameter| match parameter.role {
                    Role::State => from_runtime(before.get(&parameter.name).unwrap()),
                    Role::Data => from_runtime(by_name[parameter.name.as_str()]),
                })
                .collect();
            let results = interpret(&graph, &values.iter().collect::<Vec<_>>()).unwrap();
            let mut outputs = outputs.iter();
            for (output, expected) in graph.outputs().iter().zip(&results) {
                let found = match output.role {
                    Role::State => from_runtime(state.get(&output.name).unwrap()),
                    Role::Data => from_runtime(outputs.next().expect("an output")),
                };
                assert_eq!(found.ty(), expected.ty(), "{name}, {entry}: {}", output.name);
                for at in 0..found.elements() {
                    let (found, expected) = (found.get(at).to_f64(), expected.get(at).to_f64());
                    let near = (found - expected).abs() <= 2e-5 * expected.abs().max(1.0);
                    assert!(near, "{name}, {entry}: {} is {found}, not {expected}, at {at}", output.name);
                }
            }
        }
    }
}

#[test]
fn loops_have_the_same_bits_for_any_threads_and_emitter() {
    for (name, body) in BODIES {
        for (entry, runs) in [("infer", 1), ("train", 3)] {
            let (outputs, state) = run(&model(body, 3, 1, TargetCpu::Native), entry, 1, runs);
            for (threads, cpu) in [(2, TargetCpu::Native), (5, TargetCpu::Native), (2, TargetCpu::Portable)] {
                let (others, other) = run(&model(body, 3, threads, cpu), entry, threads, runs);
                let same = outputs.iter().zip(&others).all(|(a, b)| a.bytes() == b.bytes());
                assert!(same, "{name}, {entry} with {threads} threads on {cpu}");
                for (a, b) in state.slots().iter().zip(other.slots()) {
                    let same = a.tensor().bytes() == b.tensor().bytes();
                    assert!(same, "{name}: {} with {threads} threads on {cpu}", a.name());
                }
            }
        }
    }
}

#[test]
fn a_sample_has_the_same_bits_in_any_batch() {
    for (name, body) in BODIES {
        let (together, _) = run(&model(body, 3, 2, TargetCpu::Native), "infer", 2, 1);
        let single = model(body, 1, 1, TargetCpu::Native);
        for sample in 0..3 {
            let (alone, _) = run_on(&single, "infer", 1, 1, &[sample]);
            let size = alone[0].bytes().len();
            assert!(
                alone[0].bytes() == &together[0].bytes()[sample * size..][..size],
                "{name}: sample {sample}"
            );
        }
    }
}

/// What stands behind the end of a row changes nothing: neither what a loop gives nor what is learned, NaN included.
#[test]
fn nothing_is_looked_at_behind_the_end_of_a_row() {
    // Units without lengths see all.
    let with_lengths =
        BODIES.iter().filter(|(name, body)| body.contains("lengths") && *name != "gated units");
    let mut count = 0;
    for (name, body) in with_lengths {
        let model = model(body, 3, 1, TargetCpu::Native);
        let executable = model.compile("train").unwrap_or_else(|e| panic!("{e}"));
        let learned = |padding: f32| {
            let mut inputs = given(&executable, &[0, 1, 2]);
            let at = executable.manifest().inputs.iter().position(|input| input.name == "x").unwrap();
            // Rows have 7, 0 and 4 steps of 5 numbers.
            for place in (35..70).chain(2 * 35 + 4 * 5..3 * 35) {
                inputs[at].as_mut_slice::<f32>().unwrap()[place] = padding;
            }
            let mut state = model.initial_state(5).unwrap();
            let outputs = executable.manifest().outputs.iter();
            let mut outputs: Vec<Tensor> =
                outputs.map(|o| Tensor::zeros(o.dtype, &o.dims).unwrap()).collect();
            let mut instance = Instance::bind(executable.clone(), &state, &Threads::new(1).unwrap()).unwrap();
            instance.run_tensors(&mut state, &inputs, &mut outputs).unwrap();
            let values: Vec<Vec<u8>> =
                state.slots().iter().map(|slot| slot.tensor().bytes().to_vec()).collect();
            (outputs[0].as_slice::<f32>().unwrap()[0], values)
        };
        let expected = learned(0.0);
        assert!(expected.0.is_finite(), "{name}");
        // The second layer sees the series itself in neither of the two.
        for padding in [1.0, 1e30, f32::INFINITY, f32::NAN] {
            assert_eq!(learned(padding), expected, "{name}: {padding}");
        }
        count += 1;
    }
    assert!(count >= 3);
}

/// A row that has ended keeps a carry that the body could not go on from: neither values nor gradients are of that.
#[test]
fn ended_rows_do_not_come_into_gradients() {
    for until in ["h >= 4", "all(h >= 4)"] {
        let text = format!(
            "Model(
                inputs: {{ \"x\": \"f32[2]\" }},
                body: [Parameter(name: \"w\", dims: [], init: Ones), Let(\"w\", \"it\"), Scan(name: \"s\", times: 9, until: \"{until}\", body: [
                    Carry(\"h\", \"x\"), Let(\"h\", \"prev.h + w * sqrt(4 - prev.h) + 0.1\"), Ref(\"h\"),
                ])],
                entries: {{
                    \"infer\": Infer(outputs: {{ \"h\": \"s.last.h\", \"steps\": \"s.steps\" }}),
                    \"train\": Train(loss: \"sum(s.last.h)\", optimizer: Sgd(lr: 0.001)),
                }},
            )"
        );
        let model =
            Model::from_text("loop", &text, &Settings::default()).unwrap_or_else(|e| panic!("{text}\n{e}"));
        let executable = model.compile("train").unwrap();
        let mut state = model.initial_state(5).unwrap();
        let mut outputs = [Tensor::zeros(DType::F32, &[]).unwrap()];
        let mut instance = Instance::bind(executable, &state, &Threads::new(1).unwrap()).unwrap();
        let x = Tensor::from_slice(&[2], &[2.5f32, 2.5]).unwrap();
        instance.run_tensors(&mut state, &[x], &mut outputs).unwrap();
        let w = state.slots()[0].tensor().as_slice::<f32>().unwrap()[0];
        assert!(w.is_finite() && w != 1.0, "{until}: {w}");
    }
}

/// A loop is left when all its rows have ended, however many steps it might have: those of this one would take a minute.
#[test]
fn a_loop_ends_where_all_rows_have() {
    for (until, steps, last) in [("h >= 7", 7, [7.0, 7.0]), ("all(h >= 7)", 7, [7.0, 9.0])] {
        let text = format!(
            "Model(
                inputs: {{ \"x\": \"f32[2]\" }},
                body: [Scan(name: \"s\", times: 1000000000, until: \"{until}\", body: [
                    Carry(\"h\", \"x\"), Let(\"h\", \"prev.h + 1\"),
                ])],
                entries: {{ \"infer\": Infer(outputs: {{ \"h\": \"s.last.h\", \"steps\": \"s.steps\" }}) }},
            )"
        );
        let model = Model::from_text("loop", &text, &Settings::default()).unwrap_or_else(|e| panic!("{e}"));
        let executable = model.compile("infer").unwrap();
        let mut state = model.initial_state(5).unwrap();
        let outputs = executable.manifest().outputs.iter();
        let mut outputs: Vec<Tensor> = outputs.map(|o| Tensor::zeros(o.dtype, &o.dims).unwrap()).collect();
        let mut instance = Instance::bind(executable, &state, &Threads::new(1).unwrap()).unwrap();
        let x = Tensor::from_slice(&[2], &[0.0f32, 2.0]).unwrap();
        instance.run_tensors(&mut state, &[x], &mut outputs).unwrap();
        assert_eq!(outputs[0].as_slice::<f32>().unwrap(), last, "{until}");
        assert_eq!(outputs[1].as_slice::<i32>().unwrap(), [steps], "{until}");
    }
}

/// Going backwards, rows begin at their own ends: a step that no row takes is none, so the loop does not end there.
#[test]
fn a_step_that_no_row_takes_ends_nothing() {
    let text = "Model(
        inputs: { \"x\": \"f32[2, 7]\", \"n\": \"i32[2]\" },
        body: [Scan(name: \"s\", reverse: true, lengths: \"n\", until: \"all(h > 0)\", body: [
            Carry(\"h\", \"zeros([2])\"), Let(\"h\", \"prev.h + 1\"),
        ])],
        entries: { \"infer\": Infer(outputs: { \"h\": \"s.last.h\", \"steps\": \"s.steps\" }) },
    )";
    let model = Model::from_text("loop", text, &Settings::default()).unwrap_or_else(|e| panic!("{e}"));
    let executable = model.compile("infer").unwrap();
    let inputs = executable.manifest().inputs.iter().map(|input| match input.name.as_str() {
        "n" => Tensor::from_slice(&[2], &[3i32, 1]).unwrap(),
        _ => Tensor::zeros(input.dtype, &input.dims).unwrap(),
    });
    let inputs: Vec<Tensor> = inputs.collect();
    let outputs = executable.manifest().outputs.iter();
    let mut outputs: Vec<Tensor> = outputs.map(|o| Tensor::zeros(o.dtype, &o.dims).unwrap()).collect();
    let mut state = model.initial_state(5).unwrap();
    let mut instance = Instance::bind(executable, &state, &Threads::new(1).unwrap()).unwrap();
    instance.run_tensors(&mut state, &inputs, &mut outputs).unwrap();
    // The first row begins at its position 2, and ends there with all others.
    assert_eq!(outputs[0].as_slice::<f32>().unwrap(), [1.0, 0.0]);
    assert_eq!(outputs[1].as_slice::<i32>().unwrap(), [1]);
}

/// Each step of an entry runs the body, and its loops offer the same each time: two steps of training are two runs of one.
#[test]
fn entries_of_several_steps_see_behind_their_loops() {
    let step = "Minimize(loss: \"mse(it, y)\", optimizer: Sgd(lr: 0.1))";
    let learned = |steps: &str, runs: usize| {
        let text = format!(
            "Model(
                inputs: {{ \"x\": \"f32[batch, 6, 3]\", \"y\": \"f32[batch, 3]\" }},
                body: [
                    Scan(name: \"outer\", times: 2, body: [Scan(name: \"s\", over: {{ \"x\": \"x\" }}, body: [
                        Carry(\"h\", \"zeros([batch, 3])\"), Expr(\"prev.h + it\"), Linear(name: \"k\", features: 3), As(\"h\"),
                    ]), Ref(\"s.last.h\"), As(\"z\")]),
                    Expr(\"outer.last.z + outer.s.h[:, 0, 0]\"),
                ],
                entries: {{ \"train\": Entry(mode: \"train\", steps: [{steps}]) }},
            )"
        );
        let model = Model::from_text("loop", &text, &Settings::default().dim("batch", 4));
        let model = model.unwrap_or_else(|e| panic!("{text}\n{e}"));
        let executable = model.compile("train").unwrap();
        let mut state = model.initial_state(5).unwrap();
        let inputs: Vec<Tensor> = (executable.manifest().inputs.iter())
            .map(|input| {
                let count: usize = input.dims.iter().product();
                let values: Vec<f32> = (0..count).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect();
                Tensor::from_slice(&input.dims, &values).unwrap()
            })
            .collect();
        let outputs = executable.manifest().outputs.iter();
        let mut outputs: Vec<Tensor> = outputs.map(|o| Tensor::zeros(o.dtype, &o.dims).unwrap()).collect();
        let mut instance = Instance::bind(executable, &state, &Threads::new(1).unwrap()).unwrap();
        for _ in 0..runs {
            instance.run_tensors(&mut state, &inputs, &mut outputs).unwrap();
        }
        let parameters = state.slots().iter().filter(|slot| slot.kind() == SlotKind::Parameter);
        parameters.map(|slot| slot.tensor().as_slice::<f32>().unwrap().to_vec()).collect::<Vec<_>>()
    };
    let (one, two) = (learned(step, 2), learned(&format!("{step}, {step}"), 1));
    for (one, two) in one.iter().flatten().zip(two.iter().flatten()) {
        assert!((one - two).abs() < 1e-5, "{one} {two}");
    }
}

/// Elman's network learns a sequence in which the next symbol depends on the one before the last.
#[test]
fn a_recurrent_network_learns() {
    let text = "Model(
        inputs: { \"symbol\": \"i32[batch, 12]\", \"next\": \"i32[batch, 12]\" },
        body: [
            Expr(\"one_hot(symbol, 3)\"),
            Scan(name: \"rnn\", body: [
                Carry(\"h\", \"zeros([batch, 16])\"),
                Add([[Linear(name: \"ih\", features: 16)], [Expr(\"prev.h\"), Linear(name: \"hh\", features: 16)]]),
                Tanh, As(\"h\"),
            ]),
            Linear(name: \"out\", features: 3), As(\"logits\"),
        ],
        entries: {
            \"train\": Train(
                loss: \"cross_entropy(reshape(logits, [-1, 3]), reshape(next, [-1]))\",
                optimizer: Adam(lr: 0.02), clip: ClipNorm(1),
            ),
        },
    )";
    let model = Model::from_text("elman", text, &Settings::default().dim("batch", 8)).unwrap();
    let executable = model.compile("train").unwrap();
    let mut state = model.initial_state(1).unwrap();
    // 0 0 1 2 1 0 0 1 2 1 ...: behind 0 comes 0 or 1, behind 1 comes 2 or 0.
    let symbol = |row: usize, at: usize| [0, 0, 1, 2, 1][(row + at) % 5];
    let series = |from: usize| -> Vec<i32> { (0..96).map(|i| symbol(i / 12, i % 12 + from)).collect() };
    let inputs: Vec<Tensor> = (executable.manifest().inputs.iter())
        .map(|input| Tensor::from_slice(&[8, 12], &series(usize::from(input.name == "next"))).unwrap())
        .collect();
    let outputs = executable.manifest().outputs.iter();
    let mut outputs: Vec<Tensor> = outputs.map(|o| Tensor::zeros(o.dtype, &o.dims).unwrap()).collect();
    let mut instance = Instance::bind(executable, &state, &Threads::new(1).unwrap()).unwrap();
    let mut losses = Vec::new();
    for _ in 0..150 {
        instance.run_tensors(&mut state, &inputs, &mut outputs).unwrap();
        losses.push(outputs[0].as_slice::<f32>().unwrap()[0]);
    }
    // What no network knows is the first step of rows that begin in the middle.
    assert!(losses[0] > 0.9 && losses[149] < 0.1, "{losses:?}");
}
