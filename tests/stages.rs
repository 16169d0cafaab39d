//! Real models through every stage of the production pipeline: each stage agrees with the one before, compiled code to the
//! bit. The pipeline is the facade's own, watched pass by pass.

use std::cell::RefCell;

use brolga::{CompileOptions, Compiler, Lowered, TargetCpu};
use brolga_frontend::{Instance, Model, Settings, no_imports};
use brolga_ir::interpret::interpret;
use brolga_ir::ops::Role;
use brolga_ir::program::interpret::Interpreter;
use brolga_ir::program::{Place, Program};
use brolga_ir::scalar::Scalar;
use brolga_ir::{DType, Graph, Tensor, Type};
use brolga_passes::{Stage, pipelines};

use crate::common::compiled;
use crate::common::lcg::Lcg;

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
    let mut random = Lcg::new(salt);
    let fan_in: usize = ty.dims.iter().skip(1).product::<usize>().max(1);
    Tensor::generate(ty, |_| {
        let unit = random.unit();
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

/// What the production pipeline leaves after each pass that changed something, from the first graph that has a value on.
struct Stages {
    graphs: Vec<(&'static str, Graph)>,
    programs: Vec<(&'static str, Program)>,
    last: Lowered,
}

/// Runs the pipeline that the facade runs, and watches it. With `every`, all passes are kept, else what fusion and lowering
/// begin with and leave, and the last program.
fn stages(graph: &Graph, every: bool) -> Stages {
    let evaluates = |graph: &Graph| graph.nodes().all(|id| !graph.node(id).op.is_derivative());
    let built = evaluates(graph).then(|| ("frontend", graph.clone()));
    let (graphs, programs) = (RefCell::new(Vec::from_iter(built)), RefCell::new(Vec::new()));
    let options = CompileOptions { verify: true, ..CompileOptions::default() };
    let mut compiler = Compiler::new(&options).observe(|report, stage| match stage {
        Stage::Graph(graph) if report.changed => {
            let mut kept = graphs.borrow_mut();
            if !every && kept.len() > 1 {
                kept.pop();
            }
            if evaluates(graph) {
                kept.push((report.pass, graph.clone()));
            }
        }
        Stage::Program(program) if report.changed => {
            let mut kept = programs.borrow_mut();
            if !every && kept.len() > 1 {
                kept.pop();
            }
            kept.push((report.pass, program.clone()));
        }
        Stage::Graph(_) | Stage::Program(_) => {}
    });
    let optimised = compiler.optimise(graph).expect("graph passes");
    let last = compiler.lower(&optimised).expect("lowering");
    let names: Vec<&str> = compiler.reports().iter().map(|report| report.pass).collect();
    let train = graph.outputs().iter().any(|output| output.role == Role::State);
    let production = if train { pipelines::TRAIN } else { pipelines::INFER };
    let expected = production.iter().chain(pipelines::REGIONS).map(|pass| pass.name).chain(["lower"]);
    let expected: Vec<&str> = expected.chain(pipelines::PROGRAM.iter().map(|pass| pass.name)).collect();
    assert_eq!(names, expected, "the lists that the documentation shows are those that run");
    drop(compiler);
    Stages { graphs: graphs.into_inner(), programs: programs.into_inner(), last }
}

/// Values of parameters, by name and role.
type Parameters = [(String, Role, Tensor)];

/// The outputs of a graph, then its new state.
fn evaluate(graph: &Graph, parameters: &Parameters) -> Vec<(String, Tensor)> {
    let value = |name: &str| &parameters.iter().find(|(known, ..)| known == name).expect("a parameter").2;
    let values: Vec<&Tensor> =
        graph.parameters().iter().map(|&id| value(&graph.parameter(id).expect("a parameter").name)).collect();
    let results = interpret(graph, &values).expect("a graph that evaluates");
    graph.outputs().iter().map(|output| output.name.clone()).zip(results).collect()
}

/// The same of a program, by the interpreter.
fn run(program: &Program, parameters: &Parameters) -> Vec<(String, Tensor)> {
    let of = |name: &str, wanted: Role| {
        let found = parameters.iter().find(|(known, role, _)| known == name && *role == wanted);
        found.map(|(_, _, tensor)| tensor.clone()).expect("a parameter")
    };
    let (mut inputs, mut state, mut names, mut outputs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for buffer in &program.buffers {
        match buffer.place {
            Place::Input { .. } => inputs.push(of(&buffer.name, Role::Data)),
            Place::State { .. } => {
                state.push(of(&buffer.name, Role::State));
                names.push(buffer.name.clone());
            }
            Place::Output => outputs.push(buffer.name.clone()),
            Place::Constant(_) | Place::Prepared(_) | Place::Arena(_) => {}
        }
    }
    let results = Interpreter::new(program).expect("interpreter").run(&inputs, &mut state).expect("run");
    outputs.into_iter().zip(results).chain(names.into_iter().zip(state)).collect()
}

fn find<'t>(results: &'t [(String, Tensor)], name: &str) -> &'t Tensor {
    &results.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("no result `{name}`")).1
}

/// Results that agree, but for rounding.
fn close(what: &str, found: &[(String, Tensor)], expected: &[(String, Tensor)], tolerance: f64) {
    for (name, expected) in expected {
        let found = find(found, name);
        let n = expected.elements();
        let scale = (0..n).map(|i| expected.get(i).to_f64().abs()).fold(1e-3, f64::max);
        let worst =
            (0..n).map(|i| (found.get(i).to_f64() - expected.get(i).to_f64()).abs()).fold(0.0, f64::max);
        assert!(worst <= tolerance * scale, "{what}: {name} is off by {}", worst / scale);
    }
}

/// Results with the same bits.
fn same(what: &str, found: &[(String, Tensor)], expected: &[(String, Tensor)]) {
    for (name, expected) in expected {
        let found = find(found, name);
        let differs = (0..expected.elements()).find(|&j| !found.get(j).same(expected.get(j)));
        if let Some(j) = differs {
            let (f, e) = (found.get(j), expected.get(j));
            panic!("{what}: {name}[{j}] is {f:?}, not {e:?}");
        }
    }
}

fn check(file: &str, variant: &str, entry: &str, batch: usize, tolerance: f64) {
    check_stages(file, variant, entry, batch, tolerance, true);
}

fn check_stages(file: &str, variant: &str, entry: &str, batch: usize, tolerance: f64, every: bool) {
    let instance = instance(file, variant, batch);
    let Stages { graphs, programs, last } = stages(instance.graph(entry).expect("an entry"), every);
    let first = &graphs.first().expect("a pass that changes something").1;
    let parameters: Vec<(String, Role, Tensor)> = first
        .parameters()
        .iter()
        .zip(1..)
        .map(|(&id, salt)| {
            let p = first.parameter(id).expect("a parameter");
            (p.name.clone(), p.role, value(&p.name, &p.ty, salt))
        })
        .collect();
    let about = format!("{variant} {entry}");
    let reference = evaluate(first, &parameters);
    for (pass, graph) in &graphs[1..] {
        close(&format!("{about} after {pass}"), &evaluate(graph, &parameters), &reference, tolerance);
    }
    let exact = run(&programs.first().expect("a program").1, &parameters);
    close(&format!("{about} lowered"), &exact, &reference, tolerance);
    for (pass, program) in &programs[1..] {
        same(&format!("{about} after {pass}"), &run(program, &parameters), &exact);
    }
    let of = |wanted: Role| parameters.iter().filter(move |(_, r, _)| *r == wanted);
    let inputs: Vec<Tensor> = of(Role::Data).map(|(_, _, tensor)| tensor.clone()).collect();
    let before: Vec<(String, Tensor)> =
        of(Role::State).map(|(name, _, tensor)| (name.clone(), tensor.clone())).collect();
    let outputs = last.buffers.iter().filter(|buffer| matches!(buffer.place, Place::Output));
    let names: Vec<String> =
        outputs.map(|b| b.name.clone()).chain(before.iter().map(|(name, _)| name.clone())).collect();
    for (cpu, threads) in [(TargetCpu::Portable, 1), (TargetCpu::Native, 1), (TargetCpu::Native, 3)] {
        let (outputs, after) = compiled::run(&last, cpu, threads, &inputs, &before);
        let found: Vec<(String, Tensor)> =
            names.iter().cloned().zip(outputs.into_iter().chain(after)).collect();
        same(&format!("{about} on {cpu} with {threads} threads"), &found, &exact);
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
    check_stages("resnet-cifar", "resnet20-projection", "train", 2, 2e-3, false);
    check_stages("resnet-cifar", "resnet20", "infer", 2, 1e-4, false);
    check_stages("vgg", "vgg-mini", "train", 2, 1e-3, false);
}
