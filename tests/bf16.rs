//! Weights kept as `bf16`: the same bits on every target and for every number of threads, half the prepared memory, and
//! what it costs in accuracy.

use crate::common::{compiled, everywhere};
use std::collections::HashMap;
use std::sync::Arc;

use brolga::passes::{Algorithms, Options, Precision, pipelines};
use brolga::runtime::{Instance, Purpose, Random};
use brolga::{CompileOptions, Model, Settings, State, Tensor, Threads};
use brolga_codegen::TargetCpu;
use brolga_ir::generate::{Rng, value};
use brolga_ir::graph::Origin;
use brolga_ir::interpret::interpret;
use brolga_ir::ops::{Conv, ConvForm, Role};
use brolga_ir::program::interpret::Interpreter;
use brolga_ir::program::{Place, Program};
use brolga_ir::scalar::ScalarOp;
use brolga_ir::{Builder, DType, Graph, NodeId, Op, Type, Value};
use brolga_passes::Manager;
use brolga_passes::lower::lower_prepared;

/// A chain of products with fixed weights, with factors, shifts and rectifiers behind some of them.
fn network(rng: &mut Rng, values: &mut HashMap<String, brolga_ir::Tensor>) -> Graph {
    let mut graph = Graph::new("infer");
    let mut parameter = |graph: &mut Graph, rng: &mut Rng, role, dims: &[usize]| -> Value {
        let name = format!("p{}", graph.parameters().len());
        let ty = Type::new(DType::F32, dims);
        values.insert(name.clone(), value(rng, &ty));
        graph.add_parameter(&name, role, ty)
    };
    let (batch, mut channels, mut size) = (1 + rng.below(3), 1 + rng.below(9), 3 + rng.below(6));
    let mut x = parameter(&mut graph, rng, Role::Data, &[batch, channels, size, size]);
    for _ in 0..1 + rng.below(3) {
        let kernel = 1 + 2 * rng.below(2);
        let mut conv = Conv::new(2);
        conv.padding = vec![(kernel / 2, kernel / 2); 2];
        let outputs = match rng.below(4) {
            // Each channel by itself.
            0 => {
                conv.groups = channels;
                channels
            }
            _ => 1 + rng.below(35),
        };
        let transposed = conv.groups == 1 && rng.below(5) == 0;
        let dims = match transposed {
            true => {
                conv.form = ConvForm::InputGradient { size: vec![size, size] };
                [channels, outputs, kernel, kernel]
            }
            false => [outputs, channels / conv.groups, kernel, kernel],
        };
        let w = parameter(&mut graph, rng, Role::State, &dims);
        let scale = parameter(&mut graph, rng, Role::State, &[outputs]);
        let shift = parameter(&mut graph, rng, Role::State, &[outputs]);
        let mut b = Builder::new(&mut graph, Origin::default());
        let mut y = b.add_node(conv, &[x, w]).expect("conv");
        let dims = b.dims(y);
        if rng.below(2) == 0 {
            let scale = b.broadcast(scale, &dims, &[1]).expect("broadcast");
            y = b.mul(y, scale).expect("mul");
        }
        let shift = b.broadcast(shift, &dims, &[1]).expect("broadcast");
        y = b.add(y, shift).expect("add");
        if rng.below(2) == 0 {
            let zero = b.zeros_like(y).expect("zero");
            y = b.max(y, zero).expect("max");
        }
        (x, channels, size) = (y, outputs, dims[2]);
    }
    let flat = channels * size * size;
    let mut b = Builder::new(&mut graph, Origin::default());
    x = b.reshape(x, &[batch, flat]).expect("reshape");
    let columns = 1 + rng.below(40);
    let turned = rng.below(2) == 0;
    let dims = if turned { [flat, columns] } else { [columns, flat] };
    let w = parameter(&mut graph, rng, Role::State, &dims);
    let axis = usize::from(!turned);
    let mut b = Builder::new(&mut graph, Origin::default());
    let y = b.dot(x, w, [&[], &[]], [&[1], &[axis]]).expect("dot");
    let y = b.elementwise(ScalarOp::Function(brolga_ir::scalar::Function::Tanh), &[y]).expect("tanh");
    graph.add_output("y", Role::Data, y);
    graph
}

/// The graph behind all passes, and its program.
fn lowered(graph: &Graph, precision: Precision, algorithms: Algorithms) -> (Graph, Program) {
    let mut graph = graph.clone();
    let mut manager = Manager::new(Options { precision, algorithms, least_part: 4, ..Options::default() });
    manager.run(pipelines::INFER, &mut graph).expect("graph passes");
    manager.run(pipelines::REGIONS, &mut graph).expect("fusion");
    let made =
        manager.make("lower", |options| lower_prepared(&graph, &HashMap::new(), options)).expect("lowering");
    let mut program = made.expect("a manager that does not stop");
    manager.run(pipelines::PROGRAM, &mut program).expect("program passes");
    (graph, program)
}

fn largest_difference(found: &brolga_ir::Tensor, expected: &brolga_ir::Tensor) -> f64 {
    let pairs = || (0..expected.elements()).map(|i| (found.get(i).to_f64(), expected.get(i).to_f64()));
    let largest = pairs().map(|(_, e)| e.abs()).fold(1e-30, f64::max);
    pairs()
        .map(|(f, e)| (f - e).abs() / largest)
        .fold(0.0, |worst, d| if d > worst || d.is_nan() { d } else { worst })
}

#[test]
fn programs_and_code_agree_with_the_interpreter() {
    let (mut tiles, mut prepared) = (0, [0; 2]);
    for seed in 0..150 {
        let mut values = HashMap::new();
        let graph = network(&mut Rng(seed), &mut values);
        let of = |graph: &Graph, role: Role| -> Vec<(String, brolga_ir::Tensor)> {
            let parameters = graph.parameters().iter().filter_map(|&id| graph.parameter(id));
            parameters.filter(|p| p.role == role).map(|p| (p.name.clone(), values[&p.name].clone())).collect()
        };
        let algorithms = if seed % 3 == 0 { everywhere(2) } else { Algorithms::NONE };
        let (narrow, program) = lowered(&graph, Precision::Bf16, algorithms);
        let (_, wide) = lowered(&graph, Precision::F32, algorithms);
        prepared[0] += program.prepared_bytes;
        prepared[1] += wide.prepared_bytes;
        assert!(program.prepared_bytes <= wide.prepared_bytes, "seed {seed}");
        tiles += usize::from(program.kernels.iter().any(|k| k.params.iter().any(|p| p.dtype == DType::Bf16)));
        let parameters = narrow.parameters().iter().filter_map(|&id| narrow.parameter(id));
        let given: Vec<&brolga_ir::Tensor> = parameters.map(|p| &values[&p.name]).collect();
        let expected = interpret(&narrow, &given).expect("a graph runs").remove(0);
        let inputs: Vec<_> = of(&narrow, Role::Data).into_iter().map(|(_, tensor)| tensor).collect();
        let state = of(&narrow, Role::State);
        let mut slots: Vec<_> = state.iter().map(|(_, tensor)| tensor.clone()).collect();
        let exact = Interpreter::new(&program)
            .and_then(|interpreter| interpreter.run(&inputs, &mut slots))
            .unwrap_or_else(|e| panic!("seed {seed}: {e}\n{narrow}\n{program}"))
            .remove(0);
        let off = largest_difference(&exact, &expected);
        assert!(off < 1e-3, "seed {seed}: off by {off:e}\n{narrow}\n{program}");
        for (cpu, threads) in [
            (TargetCpu::Portable, 1),
            (TargetCpu::Portable, 2),
            (TargetCpu::Native, 1),
            (TargetCpu::Native, 5),
        ] {
            let found = compiled::run(&program, cpu, threads, &inputs, &state).0.remove(0);
            let wrong = (0..exact.elements()).find(|&i| !found.get(i).same(exact.get(i)));
            assert!(wrong.is_none(), "seed {seed} on {cpu}: element {wrong:?}\n{program}");
        }
    }
    assert!(tiles > 120, "{tiles} of 150 programs hold bf16");
    assert!(prepared[0] * 3 < prepared[1] * 2, "{prepared:?} bytes prepared");
}

/// Folded weights are scratch of `prepare` once they are packed.
#[test]
fn only_packed_weights_are_kept() {
    let settings = Settings::default().dim("batch", 1);
    for (precision, bytes) in [(Precision::F32, 4), (Precision::Bf16, 2)] {
        let mut options = CompileOptions::default();
        options.passes.precision = precision;
        options.passes.algorithms = Algorithms::NONE;
        let model = Model::load("resnet20", &settings).unwrap().with_options(options.clone());
        let mut compiler = brolga::Compiler::new(&options);
        let graph = compiler.optimise(model.graph("infer").unwrap()).unwrap();
        let program = compiler.lower(&graph).unwrap();
        let parameters: usize = model
            .instance()
            .state()
            .iter()
            .filter(|s| s.name.ends_with("weight") && !s.name.starts_with("optim."))
            .map(|s| if s.ty.rank() > 1 { s.ty.elements() } else { 0 })
            .sum();
        let (least, most) = (bytes * parameters, bytes * parameters + (64 << 10));
        assert!((least..most).contains(&program.prepared_bytes), "{precision:?}: {}", program.prepared_bytes);
        let scratch = program.buffers.iter().filter(|b| matches!(b.place, Place::Arena(_)));
        assert!(scratch.count() > 0);
    }
}

/// Weights uniform in ±sqrt(6 / fan-in), which keep the size of what goes through rectifiers (He, Zhang, Ren & Sun 2015);
/// everything else at its beginning.
fn he_weights(model: &Model) -> State {
    let mut state = model.initial_state(1).unwrap();
    let weights: Vec<(String, Vec<usize>)> = state
        .slots()
        .iter()
        .filter(|slot| !slot.name().starts_with("optim."))
        .map(|slot| (slot.name().to_owned(), state.get(slot.name()).unwrap().dims().to_vec()))
        .filter(|(_, dims)| dims.len() > 1)
        .collect();
    for (number, (name, dims)) in weights.into_iter().enumerate() {
        let mut random = Random::new(2, Purpose::Augment, 0, number as u32);
        let bound = (6.0f32 / dims[1..].iter().product::<usize>() as f32).sqrt();
        let draw = || (random.uniform() * 2.0 - 1.0) * bound;
        let values: Vec<f32> = std::iter::repeat_with(draw).take(dims.iter().product()).collect();
        state.set(&name, Tensor::from_slice(&dims, &values).unwrap()).unwrap();
    }
    state
}

/// The graph of an entry. Where it ends in probabilities, which drawn weights drive to 0 and 1, it ends in the last product
/// instead, the logits without their shift.
fn before_softmax(model: &Model, entry: &str) -> Graph {
    let mut graph = model.graph(entry).unwrap().clone();
    if graph.outputs().iter().any(|output| output.name == "probability") {
        let is_dot = |id: &NodeId| matches!(graph.node(*id).op, Op::Dot(_));
        let logits = graph.order().into_iter().rfind(is_dot).expect("a classifier");
        let value = graph.result(logits);
        graph.outputs_mut().clear();
        graph.add_output("logits", Role::Data, value);
    }
    graph
}

/// Outputs of an entry on random inputs, and the bytes that it prepares.
fn outputs(model: &Model, entry: &str) -> (Vec<Tensor>, usize) {
    let executable = Arc::new(brolga::compile(&before_softmax(model, entry), model.options()).unwrap());
    let prepared = executable.manifest().prepared_bytes;
    let mut state = he_weights(model);
    let mut inputs = Vec::new();
    for (number, input) in executable.manifest().inputs.iter().enumerate() {
        let mut random = Random::new(5, Purpose::Augment, 0, number as u32);
        let mut tensor = Tensor::zeros(input.dtype, &input.dims).unwrap();
        let (low, high) = input.range.map_or((0, 9), |range| (range.low, range.high));
        match input.dtype {
            brolga::runtime::DType::F32 => {
                tensor
                    .as_mut_slice::<f32>()
                    .unwrap()
                    .iter_mut()
                    .for_each(|v| *v = random.uniform() * 2.0 - 1.0);
            }
            brolga::runtime::DType::I32 => {
                let mut draw = || low + random.below(high.abs_diff(low) + 1) as i64;
                tensor.as_mut_slice::<i32>().unwrap().iter_mut().for_each(|v| *v = draw() as i32);
            }
            _ => tensor.bytes_mut().fill(1),
        }
        inputs.push(tensor);
    }
    let mut instance = Instance::bind(Arc::clone(&executable), &state, &Threads::new(2).unwrap()).unwrap();
    let manifest = executable.manifest();
    let mut results: Vec<Tensor> =
        manifest.outputs.iter().map(|o| Tensor::zeros(o.dtype, &o.dims).unwrap()).collect();
    instance.run_tensors(&mut state, &inputs, &mut results).unwrap();
    (results, prepared)
}

/// The largest difference between results of both precisions, relative to the largest value of a result; and the bytes
/// of prepared values for either.
fn loss(name: &str, settings: &Settings) -> (f64, [usize; 2]) {
    let of = |precision| {
        let mut options = CompileOptions::default();
        options.passes.precision = precision;
        outputs(&Model::load(name, settings).unwrap().with_options(options), "infer")
    };
    let ((wide, before), (narrow, after)) = (of(Precision::F32), of(Precision::Bf16));
    let mut worst: f64 = 0.0;
    for (wide, narrow) in wide.iter().zip(&narrow) {
        assert_eq!(wide.dtype(), narrow.dtype());
        let (Ok(wide), Ok(narrow)) = (wide.as_slice::<f32>(), narrow.as_slice::<f32>()) else { continue };
        let largest = wide.iter().fold(1e-30f32, |m, v| m.max(v.abs()));
        let off = wide.iter().zip(narrow).map(|(w, n)| f64::from((w - n).abs() / largest));
        worst = off.fold(worst, |worst, off| if off > worst || off.is_nan() { off } else { worst });
    }
    (worst, [before, after])
}

#[test]
fn small_models_lose_little() {
    for name in ["lenet5", "resnet20", "mobilenet_v2-mini", "bert-encoder-mini"] {
        let (off, [before, after]) = loss(name, &Settings::default().dim("batch", 2));
        assert!(off > 0.0 && off < 0.03, "{name}: off by {off}");
        assert!(after < before, "{name}: {after} bytes are prepared, {before} in f32");
    }
}

/// The table of the documentation.
#[test]
#[ignore = "large models; prints a table"]
fn the_loss_of_large_models() {
    println!("| model | largest difference | prepared in f32, MB | in bf16, MB |\n|---|---|---|---|");
    let names = [
        "lenet5",
        "alexnet-tv",
        "vgg16",
        "googlenet-tv",
        "resnet18",
        "resnet50",
        "mobilenet_v2",
        "densenet121",
        "bert-tiny-encoder",
    ];
    for name in names {
        let (off, [before, after]) = loss(name, &Settings::default().dim("batch", 1));
        println!("| {name} | {off:.1e} | {:.1} | {:.1} |", before as f64 / 1e6, after as f64 / 1e6);
        assert!(off < 0.05, "{name}");
    }
}
