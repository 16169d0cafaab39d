//! Optimiser updates: one call for each parameter, with the bits that its operations give one by one.

use std::sync::Arc;

use brolga::passes::facts::index_ranges::index_ranges;
use brolga::passes::lower::lower_prepared;
use brolga::passes::{Manager, pipelines};
use brolga::runtime::{Executable, Instance};
use brolga::{CompileOptions, Compiler, Model, Settings, State, TargetCpu, Tensor, Threads};

use crate::common::compiled;

const OPTIMIZERS: [&str; 5] = [
    "Sgd(lr: 0.1)",
    "Sgd(lr: 0.1, momentum: 0.9, weight_decay: 1e-2)",
    "Sgd(lr: Inverse(initial: 0.1, rate: 0.1), momentum: 0.9, nesterov: true, weight_decay: 1e-2)",
    "Adam(lr: 0.01)",
    "AdamW(lr: 0.01, weight_decay: 0.1)",
];

/// A network with weights and vectors of parameters, some of which have a rate of their own, and one of which is frozen.
fn model(optimizer: &str) -> Model {
    let text = format!(
        r#"Model(
            inputs: {{ "image": "f32[batch, 2, 8, 8]", "label": "i32[batch]" }},
            body: [
                Conv2d(name: "conv1", features: 8, kernel: 3, bias: false), BatchNorm(name: "bn1"), Relu,
                Conv2d(name: "conv2", features: 12, kernel: 3, padding: 1), Tanh, Flatten,
                Linear(name: "fc1", features: 40), Relu, Linear(name: "fc2", features: 10), As("logits"),
            ],
            entries: {{
                "train": Train(
                    loss: "cross_entropy(logits, label)",
                    optimizer: {optimizer},
                    groups: [Group(of: "fc1.*", lr: 0.02, weight_decay: 0), Group(of: "conv2.weight", frozen: true)],
                ),
            }},
        )"#
    );
    Model::from_text("updates", &text, &Settings::default().dim("batch", 6)).unwrap_or_else(|e| panic!("{e}"))
}

/// The parameters that are trained.
const TRAINED: usize = 8;

/// Three steps from the same state; the state behind them.
fn three_steps(model: &Model, executable: Arc<Executable>, threads: usize) -> State {
    let mut state = model.initial_state(5).unwrap();
    let values: Vec<f32> = (0..6 * 2 * 64).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect();
    let image = Tensor::from_slice(&[6, 2, 8, 8], &values).unwrap();
    let label = Tensor::from_slice(&[6], &[0i32, 3, 9, 1, 3, 7]).unwrap();
    let outputs = executable.manifest().outputs.iter();
    let mut outputs: Vec<Tensor> = outputs.map(|o| Tensor::zeros(o.dtype, &o.dims).unwrap()).collect();
    let inputs: Vec<Tensor> = match executable.manifest().inputs[0].name.as_str() {
        "image" => vec![image, label],
        _ => vec![label, image],
    };
    let mut instance = Instance::bind(executable, &state, &Threads::new(threads).unwrap()).unwrap();
    for _ in 0..3 {
        instance.run_tensors(&mut state, &inputs, &mut outputs).unwrap();
    }
    state
}

fn assert_same(a: &State, b: &State, what: &str) {
    assert_eq!(a.slots().len(), b.slots().len());
    for (a, b) in a.slots().iter().zip(b.slots()) {
        assert!(a.tensor().bytes() == b.tensor().bytes(), "{what}: {} differs", a.name());
    }
}

#[test]
fn fused_updates_have_the_bits_of_single_operations() {
    for optimizer in OPTIMIZERS {
        let model = model(optimizer);
        let fused = model.compile("train").unwrap();
        // The same without fusion: every operation is a kernel.
        let mut graph = model.graph("train").unwrap().clone();
        let mut manager = Manager::new(CompileOptions::default().passes);
        manager.run(pipelines::TRAIN, &mut graph).unwrap();
        let ranges = index_ranges(&graph).into_iter().collect();
        let mut program = lower_prepared(&graph, &ranges, manager.options()).unwrap();
        manager.run(pipelines::PROGRAM, &mut program).unwrap();
        let single = compiled::compile(&program, TargetCpu::Native).executable;

        let reference = three_steps(&model, Arc::new(single), 1);
        let start = model.initial_state(5).unwrap();
        let moved = reference.slots().iter().zip(start.slots());
        let moved = moved.filter(|(a, b)| a.tensor().bytes() != b.tensor().bytes());
        assert!(moved.count() > TRAINED, "{optimizer}: nothing is learned");
        for threads in [1, 2, 5] {
            let state = three_steps(&model, fused.clone(), threads);
            assert_same(&reference, &state, &format!("{optimizer}, {threads} threads"));
            let frozen = |state: &State| state.get("conv2.weight").unwrap().try_clone().unwrap();
            assert!(frozen(&state) == frozen(&start), "{optimizer}: a frozen parameter moved");
        }
    }
}

/// Everything that an optimiser does with a vector is part of the kernel that sums its gradient; what it does with
/// a matrix is one kernel, which may run in parts. Scalars that all updates share are one more. A scale of which the old
/// value is read once more, by the gradient of what it scales, is copied to its place behind that.
#[test]
fn a_parameter_is_updated_by_one_call() {
    for optimizer in OPTIMIZERS {
        let model = model(optimizer);
        let mut compiler = Compiler::new(&CompileOptions::default());
        let optimised = compiler.optimise(model.graph("train").unwrap()).unwrap();
        let program = compiler.lower(&optimised).unwrap().to_string();
        let updates =
            program.lines().filter(|line| line.contains("// optimizer.") && !line.contains("@copy#"));
        let updates: Vec<&str> = updates.collect();
        assert!(updates.len() <= TRAINED + 1, "{optimizer}: {updates:#?}");
    }
}
