//! Real models through every stage: each stage agrees with the one before, compiled code to the bit.

use crate::common::compiled;
use std::collections::HashMap;

use brolga_codegen::TargetCpu;
use brolga_frontend::{Instance, Model, Settings, no_imports};
use brolga_ir::interpret::interpret;
use brolga_ir::ops::Role;
use brolga_ir::program::Program;
use brolga_ir::program::interpret::Interpreter;
use brolga_ir::scalar::Scalar;
use brolga_ir::{DType, Graph, Tensor, Type};
use brolga_passes::{Manager, forward, fuse, lower, parallelise, pipelines, plan, vectorise};

fn instance(file: &str, variant: &str, batch: usize) -> Instance {
    let path = format!("{}/models/{file}.ron", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect("a model file");
    let model = Model::parse(&path, &text, &no_imports).unwrap_or_else(|e| panic!("{}", e.render(false)));
    let settings = if variant == file && model.variants().is_empty() {
        Settings::default()
    } else {
        Settings::variant(variant)
    };
    let settings = settings.dim("batch", batch);
    model.instantiate(&settings).unwrap_or_else(|e| panic!("{}", e.render(false)))
}

/// Values for a parameter: small numbers that differ, labels below 10, state as it is after initialisation.
fn value(name: &str, ty: &Type, salt: u64) -> Tensor {
    let mut seed = salt.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let fan_in: usize = ty.dims.iter().skip(1).product::<usize>().max(1);
    Tensor::generate(ty, |_| {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let unit = (seed >> 40) as f64 / (1u64 << 23) as f64 - 1.0;
        match ty.dtype {
            _ if name.starts_with("optim.") => Scalar::zero(ty.dtype),
            DType::I64 => Scalar::I64(0),
            DType::I32 => Scalar::I32((unit.abs() * 10.0) as i32 % 10),
            dtype if name.contains("running_var") => Scalar::from_f64(dtype, 1.0),
            dtype if ty.rank() > 1 && !name.contains("image") => {
                Scalar::from_f64(dtype, unit * (3.0 / fan_in as f64).sqrt())
            }
            dtype => Scalar::from_f64(dtype, unit),
        }
    })
}

fn lowered(graph: &Graph) -> Program {
    let mut fused = graph.clone();
    fuse::fuse(&mut fused).expect("fuse");
    let mut program = lower::lower(&fused, &HashMap::new()).expect("lower");
    vectorise::vectorise(&mut program);
    parallelise::parallelise(&mut program, &Default::default()).expect("parallelise");
    forward::forward(&mut program);
    plan::plan(&mut program);
    brolga_ir::program::verify::verify(&program).expect("a valid program");
    program
}

fn check(file: &str, variant: &str, entry: &str, batch: usize, tolerance: f64) {
    let instance = instance(file, variant, batch);
    let mut graph = instance.graph(entry).expect("an entry").clone();
    Manager::new(brolga_passes::Options::default())
        .run(pipelines::TRAIN, &mut graph)
        .unwrap_or_else(|e| panic!("{e}"));
    let parameters: Vec<(String, Role, Tensor)> = graph
        .parameters()
        .iter()
        .zip(1..)
        .map(|(&id, salt)| {
            let p = graph.parameter(id).expect("a parameter");
            (p.name.clone(), p.role, value(&p.name, &p.ty, salt))
        })
        .collect();
    let reference =
        interpret(&graph, &parameters.iter().map(|(_, _, t)| t).collect::<Vec<_>>()).expect("reference");
    let program = lowered(&graph);
    let of =
        |wanted: Role| parameters.iter().filter(move |(_, r, _)| *r == wanted).map(|(_, _, t)| t.clone());
    let inputs: Vec<Tensor> = of(Role::Data).collect();
    let mut state: Vec<Tensor> = of(Role::State).collect();
    let named = |(name, _, tensor): &(String, Role, Tensor)| (name.clone(), tensor.clone());
    let before: Vec<(String, Tensor)> =
        parameters.iter().filter(|(_, role, _)| *role == Role::State).map(named).collect();
    let outputs = Interpreter::new(&program).expect("interpreter").run(&inputs, &mut state).expect("run");
    // Outputs, then all state.
    let exact: Vec<Tensor> = outputs.into_iter().chain(state).collect();
    let names: Vec<&str> =
        parameters.iter().filter(|(_, r, _)| *r == Role::State).map(|(name, _, _)| name.as_str()).collect();
    let data = graph.outputs().iter().filter(|o| o.role == Role::Data).count();
    let mut position = 0;
    for (output, expected) in graph.outputs().iter().zip(&reference) {
        let found = match output.role {
            Role::Data => {
                position += 1;
                &exact[position - 1]
            }
            Role::State => &exact[data + names.iter().position(|n| *n == output.name).expect("a state")],
        };
        let n = expected.elements();
        let scale = (0..n).map(|i| expected.get(i).to_f64().abs()).fold(1e-3, f64::max);
        let worst =
            (0..n).map(|i| (found.get(i).to_f64() - expected.get(i).to_f64()).abs()).fold(0.0, f64::max);
        assert!(worst <= tolerance * scale, "{variant} {entry}: {} is off by {}", output.name, worst / scale);
    }
    for (cpu, threads) in [(TargetCpu::Portable, 1), (TargetCpu::Native, 1), (TargetCpu::Native, 3)] {
        let (outputs, after) = compiled::run(&program, cpu, threads, &inputs, &before);
        for (i, (found, expected)) in outputs.iter().chain(&after).zip(&exact).enumerate() {
            let differs = (0..expected.elements()).find(|&j| !found.get(j).same(expected.get(j)));
            if let Some(j) = differs {
                let (f, e) = (found.get(j), expected.get(j));
                panic!(
                    "{variant} {entry} on {cpu} with {threads} threads: result {i}[{j}] is {f:?}, not {e:?}"
                );
            }
        }
    }
}

#[test]
fn perceptrons() {
    check("softmax-regression", "softmax-regression", "train", 5, 1e-4);
    check("mlp", "mlp-256-128", "train", 5, 1e-4);
    check("mlp", "mlp", "infer", 1, 1e-5);
}

#[test]
fn lenet5() {
    check("lenet5", "lenet5", "train", 3, 1e-4);
    check("lenet5", "lenet5-tanh", "train", 3, 1e-4);
    check("lenet5", "lenet5", "infer", 1, 1e-5);
    check("lenet5", "lenet5", "init", 1, 1e-5);
}

#[test]
fn residual_and_plain_networks() {
    check("resnet-cifar", "resnet20-projection", "train", 2, 2e-3);
    check("resnet-cifar", "resnet20", "infer", 2, 1e-4);
    check("vgg", "vgg-mini", "train", 2, 1e-3);
}
