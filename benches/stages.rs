//! How long the compiler's stages take, and what they make: `cargo bench --bench stages`.

use std::hint::black_box;

use brolga::ir::graph::Origin;
use brolga::ir::ops::{Conv, Dot, Role};
use brolga::ir::scalar::Function;
use brolga::ir::{Builder, DType, Graph, Type, Value};
use brolga::runtime::{Instance, State, Tensor};
use brolga::{CompileOptions, Compiler, Model, Settings, Threads, compile};
use criterion::{Criterion, criterion_group, criterion_main};

fn stages(c: &mut Criterion) {
    for name in ["lenet5-tanh", "resnet20-projection"] {
        let model = Model::load(name, &Settings::default().dim("batch", 64)).expect("a model");
        let graph = model.graph("train").expect("an entry");
        let compiler = || Compiler::new(&CompileOptions::default());
        let optimised = compiler().optimise(graph).expect("graph passes");
        let program = compiler().lower(&optimised).expect("lowering");
        let mut group = c.benchmark_group(format!("compile/{name}"));
        group.sample_size(10);
        group.bench_function("graph-passes", |b| b.iter(|| compiler().optimise(black_box(graph))));
        group.bench_function("lower", |b| b.iter(|| compiler().lower(black_box(&optimised))));
        group.bench_function("emit", |b| b.iter(|| compiler().emit(black_box(&program))));
        group.finish();
    }
}

/// A graph of one operator over f32 inputs, compiled and called with zeros and ones.
fn operator(
    c: &mut Criterion,
    name: &str,
    inputs: &[&[usize]],
    build: impl Fn(&mut Builder, &[Value]) -> Value,
) {
    let mut graph = Graph::new("bench");
    let mut values = Vec::new();
    for (i, dims) in inputs.iter().enumerate() {
        values.push(graph.add_parameter(&format!("x{i}"), Role::Data, Type::new(DType::F32, *dims)));
    }
    let y = build(&mut Builder::new(&mut graph, Origin::default()), &values);
    graph.add_output("y", Role::Data, y);
    let executable = compile(&graph, &CompileOptions::default()).expect("compiles");
    let threads = Threads::new(1).expect("threads");
    let mut state = State::new();
    let mut instance = Instance::bind(executable.into(), &state, &threads).expect("binds");
    let tensor = |dims: &[usize]| Tensor::zeros(brolga::runtime::DType::F32, dims).expect("memory");
    let given: Vec<Tensor> = inputs.iter().map(|dims| tensor(dims)).collect();
    let mut outputs = [tensor(&instance.executable().manifest().outputs[0].dims.clone())];
    c.bench_function(name, |b| b.iter(|| instance.run_tensors(&mut state, &given, &mut outputs)));
}

fn operators(c: &mut Criterion) {
    operator(c, "contraction/256x256x256", &[&[256, 256], &[256, 256]], |b, x| {
        let dot = Dot::new([vec![], vec![]], [vec![1], vec![0]]);
        b.add_node(dot, x).expect("dot")
    });
    operator(c, "convolution/8x64x28x28-3x3", &[&[8, 64, 28, 28], &[64, 64, 3, 3]], |b, x| {
        let conv = Conv { padding: vec![(1, 1); 2], ..Conv::new(2) };
        b.add_node(conv, x).expect("conv")
    });
    operator(c, "elementwise/tanh-1M", &[&[1 << 20], &[1 << 20]], |b, x| {
        let sum = b.add(x[0], x[1]).expect("add");
        b.function(Function::Tanh, sum).expect("tanh")
    });
}

fn step(c: &mut Criterion) {
    let model = Model::load("lenet5-tanh", &Settings::default().dim("batch", 64)).expect("a model");
    let executable = model.compile("train").expect("compiles");
    let threads = Threads::new(1).expect("threads");
    let mut state = model.initial_state(0).expect("a state");
    let mut instance = Instance::bind(executable, &state, &threads).expect("binds");
    let manifest = instance.executable().manifest();
    let zeros = |dtype, dims: &[usize]| Tensor::zeros(dtype, dims).expect("memory");
    let inputs: Vec<Tensor> = manifest.inputs.iter().map(|input| zeros(input.dtype, &input.dims)).collect();
    let mut outputs: Vec<Tensor> =
        manifest.outputs.iter().map(|output| zeros(output.dtype, &output.dims)).collect();
    c.bench_function("step/lenet5-tanh-64", |b| {
        b.iter(|| instance.run_tensors(&mut state, &inputs, &mut outputs))
    });
}

criterion_group!(benches, stages, operators, step);
criterion_main!(benches);
