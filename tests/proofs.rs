//! What the verifier of kernel programs cannot prove of the programs of small models: each kernel with accesses that it does
//! not see to stay inside their parameters, and how many. Whoever compiles such a program as text
//! ([`compile_checked`](brolga::codegen::compile_checked)) pays for checking them. About 4 seconds.

use brolga::ir::program::verify::unproven_accesses;
use brolga::{CompileOptions, Compiler, Model, Settings, TargetCpu};

/// An entry of a model, and its kernels with such accesses, by their names.
type Row = (&'static str, &'static str, &'static [(&'static str, usize)]);

const ROWS: [Row; 18] = [
    ("softmax-regression", "infer", &[]),
    ("softmax-regression", "train", &[]),
    ("mlp-256-128", "infer", &[]),
    ("mlp-256-128", "train", &[]),
    ("lenet5", "infer", &[]),
    ("lenet5", "train", &[]),
    ("lenet5-tanh", "train", &[]),
    ("resnet8", "infer", &[]),
    ("resnet8", "train", &[]),
    ("alexnet-tv-mini", "infer", &[]),
    ("alexnet-tv-mini", "train", &[]),
    ("vgg-mini", "infer", &[]),
    ("vgg-mini", "train", &[]),
    ("googlenet-mini", "infer", &[]),
    ("densenet-mini", "infer", &[]),
    ("mobilenet_v2-mini", "infer", &[]),
    ("bert-encoder-mini", "infer", &[]),
    ("bert-encoder-mini", "train", &[]),
];

fn unproven(model: &str, entry: &str) -> Vec<(String, usize)> {
    let model = Model::load(model, &Settings::default().dim("batch", 4)).expect("a model that comes along");
    let options = CompileOptions { target_cpu: TargetCpu::Portable, ..CompileOptions::default() };
    let mut compiler = Compiler::new(&options);
    let graph = compiler.optimise(model.graph(entry).expect("an entry")).expect("a graph");
    let program = compiler.lower(&graph).expect("a program");
    let count = |kernel| unproven_accesses(kernel).expect("a valid kernel");
    let all = program.kernels.iter().map(|kernel| (kernel.name.clone(), count(kernel)));
    all.filter(|(_, count)| *count > 0).collect()
}

#[test]
fn accesses_of_models_are_proven_but_for_these() {
    let mut wrong = Vec::new();
    for (model, entry, expected) in ROWS {
        let expected: Vec<(String, usize)> =
            expected.iter().map(|&(name, count)| (name.to_owned(), count)).collect();
        let found = unproven(model, entry);
        if found != expected {
            wrong.push(format!("{model} {entry}: {found:?}, expected {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
