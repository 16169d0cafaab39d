//! The arena of the models that come along, against what is alive at once; and under a limit.

use brolga::passes::program::plan::live_bytes;
use brolga::runtime::{Input, Instance};
use brolga::{CompileOptions, Compiler, Model, Settings, State, Tensor, Threads};

/// Small sizes and few layers: what is placed is alike for all members of a family.
const MODELS: [(&str, usize); 18] = [
    ("mlp", 4),
    ("lenet5", 4),
    ("lenet5-tanh", 64),
    ("softmax-regression", 4),
    ("resnet20", 2),
    ("resnet20-projection", 64),
    ("resnet56", 2),
    ("vgg11", 1),
    ("vgg16_bn", 1),
    ("alexnet-tv", 1),
    ("googlenet-aux", 1),
    ("googlenet-tv-aux", 1),
    ("resnet18", 2),
    ("resnet50", 1),
    ("mobilenet_v2", 1),
    ("bert-tiny-encoder", 2),
    ("char-gru", 4),
    ("ptb-lstm-small", 2),
];

#[test]
fn arenas_are_as_small_as_what_is_alive() {
    for (name, batch) in MODELS {
        let model = Model::load(name, &Settings::default().dim("batch", batch)).unwrap();
        for entry in ["infer", "train"] {
            let Ok(graph) = model.graph(entry) else { continue };
            let mut compiler = Compiler::new(&CompileOptions::default());
            let optimised = compiler.optimise(graph).unwrap();
            let program = compiler.lower(&optimised).unwrap();
            let (arena, live) = (program.arena_bytes, live_bytes(&program));
            println!(
                "{name:<22} {batch:>3} {entry:<6} {arena:>12} of {live:>12} {:.3}",
                arena as f64 / live.max(1) as f64
            );
            assert!(arena >= live, "{name} {entry}: {arena} bytes hold {live}");
            assert!(10 * arena <= 11 * live, "{name} {entry}: {arena} bytes for {live} alive");
        }
    }
}

/// A tensor for an input: numbers of both signs, or labels.
fn batch(input: &Input) -> Tensor {
    let elements: usize = input.dims.iter().product();
    if input.dtype == brolga::runtime::DType::I32 {
        let labels: Vec<i32> = (0..elements as i32).map(|i| i * 7 % 10).collect();
        return Tensor::from_slice(&input.dims, &labels).unwrap();
    }
    let values: Vec<f32> = (0..elements).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect();
    Tensor::from_slice(&input.dims, &values).unwrap()
}

/// Two training steps under a limit; the arena, the outputs of the second, and the state behind it.
fn two_steps(
    name: &str,
    size: usize,
    memory_limit: Option<usize>,
    threads: usize,
) -> (usize, Vec<Tensor>, State) {
    let mut options = CompileOptions::default();
    options.passes.memory_limit = memory_limit;
    let model = Model::load(name, &Settings::default().dim("batch", size)).unwrap().with_options(options);
    let executable = model.compile("train").unwrap_or_else(|error| panic!("{error}"));
    let mut state = model.initial_state(1).unwrap();
    let manifest = executable.manifest();
    let inputs: Vec<Tensor> = manifest.inputs.iter().map(batch).collect();
    let outputs = manifest.outputs.iter().map(|output| Tensor::zeros(output.dtype, &output.dims).unwrap());
    let mut outputs: Vec<Tensor> = outputs.collect();
    let arena = manifest.arena_bytes;
    let mut instance = Instance::bind(executable, &state, &Threads::new(threads).unwrap()).unwrap();
    for _ in 0..2 {
        instance.run_tensors(&mut state, &inputs, &mut outputs).unwrap();
    }
    (arena, outputs, state)
}

/// What is computed again instead of kept has the same bits.
#[test]
fn a_limit_is_met_with_the_same_bits() {
    for (name, size, share) in [("resnet20-projection", 8, 60), ("resnet20", 4, 70), ("vgg-mini", 64, 82)] {
        let (arena, outputs, state) = two_steps(name, size, None, 2);
        let limit = arena * share / 100;
        let (small, same_outputs, same_state) = two_steps(name, size, Some(limit), 2);
        assert!(small <= limit, "{name}: {small} of {limit} bytes");
        assert_same(name, (&outputs, &state), (&same_outputs, &same_state));
    }
}

fn assert_same(what: &str, a: (&[Tensor], &State), b: (&[Tensor], &State)) {
    let bytes = |tensors: &[Tensor]| -> Vec<Vec<u8>> { tensors.iter().map(|t| t.bytes().to_vec()).collect() };
    assert!(bytes(a.0) == bytes(b.0), "{what}: other outputs");
    for (a, b) in a.1.slots().iter().zip(b.1.slots()) {
        assert!(a.tensor().bytes() == b.tensor().bytes(), "{what}: {} differs", a.name());
    }
}

/// Local memory is the threads', so it is the same for any number of grid points: Winograd's algorithm by boxes and by
/// columns, forwards and backwards.
#[test]
fn threads_with_memory_of_their_own_give_the_same_bits() {
    for (name, size) in [("resnet20-projection", 12), ("vgg-mini", 5)] {
        let (_, outputs, state) = two_steps(name, size, None, 1);
        for threads in [2, 5, 7] {
            let (_, others, other) = two_steps(name, size, None, threads);
            assert_same(&format!("{name}, {threads} threads"), (&outputs, &state), (&others, &other));
        }
    }
}

/// A thread needs what one grid point uses, not what all of them do.
#[test]
fn local_memory_is_that_of_one_grid_point() {
    let options = Settings::default().dim("batch", 64);
    let model = Model::load("resnet20-projection", &options).unwrap();
    let executable = model.compile("train").unwrap();
    let manifest = executable.manifest();
    // The standardised images, which the gradient of the first convolution needs.
    let prepared = 64 * 3 * 32 * 32 * 4;
    let both = manifest.arena_bytes + 2 * manifest.local_bytes;
    assert!(manifest.local_bytes > 0 && both <= 102_900_000 + prepared, "{both} bytes for two threads");
}

#[test]
fn a_limit_that_cannot_be_met_says_what_can() {
    let mut options = CompileOptions::default();
    options.passes.memory_limit = Some(1000);
    let model = Model::load("lenet5", &Settings::default().dim("batch", 4)).unwrap().with_options(options);
    let error = model.compile("train").expect_err("an error").to_string();
    assert!(error.contains("memory limit of 1000 bytes") && error.contains("the smallest that"), "{error}");
    // Drawing weights is not limited.
    model.initial_state(0).unwrap();
}

/// A recurrent cell with dropout, trained on what the last step leaves.
fn long(steps: usize, memory_limit: Option<usize>) -> Model {
    let text = format!(
        "Model(inputs: {{ \"x\": \"f32[16, {steps}, 6]\", \"y\": \"f32[16, 8]\" }}, body: [
           Scan(name: \"rnn\", body: [
             Carry(\"h\", \"zeros([16, 8])\"),
             Add([[Linear(name: \"ih\", features: 8)], [Expr(\"prev.h\"), Linear(name: \"hh\", features: 8)]]),
             Tanh, Dropout(p: 0.25), As(\"h\"),
           ]), Ref(\"rnn.last.h\")],
         entries: {{ \"train\": Train(loss: \"mse(it, y)\", optimizer: Sgd(lr: 0.1)) }})"
    );
    let mut options = CompileOptions::default();
    options.passes.memory_limit = memory_limit;
    Model::from_text("long.ron", &text, &Settings::default()).unwrap().with_options(options)
}

/// The arena of a step of training, what it gives, and the state behind it.
fn one_step(steps: usize, memory_limit: Option<usize>) -> Result<(usize, Vec<Tensor>, State), String> {
    let model = long(steps, memory_limit);
    let executable = model.compile("train").map_err(|error| error.to_string())?;
    let mut state = model.initial_state(1).unwrap();
    let manifest = executable.manifest();
    let inputs: Vec<Tensor> = manifest.inputs.iter().map(batch).collect();
    let outputs = manifest.outputs.iter().map(|output| Tensor::zeros(output.dtype, &output.dims).unwrap());
    let mut outputs: Vec<Tensor> = outputs.collect();
    let arena = manifest.arena_bytes;
    let mut instance = Instance::bind(executable, &state, &Threads::new(2).unwrap()).unwrap();
    instance.run_tensors(&mut state, &inputs, &mut outputs).unwrap();
    Ok((arena, outputs, state))
}

/// The memory of a long loop grows with its length, or like the square root of it under a limit, which the same bits meet: those of
/// draws, too. What is too little says how much is enough.
#[test]
fn long_loops_run_their_segments_again_under_a_limit() {
    let mut arenas = Vec::new();
    for steps in [1024, 4096, 1031] {
        let (arena, outputs, state) = one_step(steps, None).unwrap();
        let error = one_step(steps, Some(1000)).expect_err("an error");
        let least = error.split("the smallest that recomputation reaches is ").nth(1).expect("a number");
        let least: usize = least.split(' ').next().unwrap().parse().expect("a number");
        let (small, same_outputs, same_state) = one_step(steps, Some(least)).unwrap();
        println!("{steps} steps: {arena} bytes, {small} under the least limit of {least}");
        assert!(small <= least && 4 * small < arena, "{steps} steps: {small} of {arena} bytes");
        assert_same(&format!("{steps} steps"), (&outputs, &state), (&same_outputs, &same_state));
        // A limit that is met without that changes nothing.
        assert_eq!(one_step(steps, Some(arena)).unwrap().0, arena);
        arenas.push((arena, small));
    }
    let [(arena, small), (four_times, twice), _] = arenas[..] else { panic!("three lengths") };
    assert!(10 * four_times < 42 * arena, "{arena} bytes, {four_times} for four times the steps");
    assert!(2 * twice <= 5 * small, "{small} bytes, {twice} for four times the steps");
}
