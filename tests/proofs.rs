//! What the verifier of kernel programs cannot prove of the programs of small models: kernels with accesses that it does not
//! see to stay inside their parameters. Whoever compiles such a program as text
//! ([`compile_checked`](brolga::codegen::compile_checked)) pays for checking them. About 3 seconds.

use brolga::ir::program::verify::unproven_accesses;
use brolga::{CompileOptions, Compiler, Model, Settings, TargetCpu};

/// Words in the names of kernels, the first that fits, which say why an access is not proven:
///
/// - `gather`, `scatter`: the index is data, such as a label; it is clamped, or guarded, when the kernel runs;
/// - `winograd`: a tile may begin in the padding, where a guard keeps it from the image;
/// - `conv`: a tap may meet the padding, where a guard or a condition does.
const KINDS: [&str; 4] = ["gather", "scatter", "winograd", "conv"];

/// An entry of a model, and for each kind the kernels with such accesses, and how many these have at most.
type Row = (&'static str, &'static str, &'static [(&'static str, usize, usize)]);

const ROWS: [Row; 18] = [
    ("softmax-regression", "infer", &[]),
    ("softmax-regression", "train", &[("gather", 1, 1)]),
    ("mlp-256-128", "infer", &[]),
    ("mlp-256-128", "train", &[("gather", 1, 1)]),
    ("lenet5", "infer", &[("conv", 1, 15)]),
    ("lenet5", "train", &[("gather", 1, 1), ("conv", 3, 91)]),
    ("lenet5-tanh", "train", &[("gather", 1, 1), ("conv", 3, 91)]),
    ("resnet8", "infer", &[("conv", 4, 105)]),
    ("resnet8", "train", &[("gather", 2, 2), ("conv", 9, 124)]),
    ("alexnet-tv-mini", "infer", &[]),
    ("alexnet-tv-mini", "train", &[("gather", 1, 1)]),
    ("vgg-mini", "infer", &[("conv", 2, 31)]),
    ("vgg-mini", "train", &[("gather", 1, 1), ("winograd", 1, 2), ("conv", 4, 74)]),
    ("googlenet-mini", "infer", &[("conv", 3, 24)]),
    ("densenet-mini", "infer", &[("conv", 9, 51)]),
    ("mobilenet_v2-mini", "infer", &[("conv", 7, 198)]),
    ("bert-encoder-mini", "infer", &[("gather", 1, 1)]),
    ("bert-encoder-mini", "train", &[("gather", 2, 2), ("scatter", 1, 2)]),
];

/// The same as found; kernels of no kind under their names.
fn unproven(model: &str, entry: &str) -> Vec<(String, usize, usize)> {
    let model = Model::load(model, &Settings::default().dim("batch", 4)).expect("a model that comes along");
    let options = CompileOptions { target_cpu: TargetCpu::Portable, ..CompileOptions::default() };
    let mut compiler = Compiler::new(&options);
    let graph = compiler.optimise(model.graph(entry).expect("an entry")).expect("a graph");
    let program = compiler.lower(&graph).expect("a program");
    let mut found = KINDS.map(|kind| (kind.to_owned(), 0, 0)).to_vec();
    for kernel in &program.kernels {
        let accesses = unproven_accesses(kernel).expect("a valid kernel");
        match KINDS.iter().position(|kind| kernel.name.contains(kind)) {
            _ if accesses == 0 => {}
            Some(at) => found[at] = (found[at].0.clone(), found[at].1 + 1, found[at].2 + accesses),
            None => found.push((kernel.name.clone(), 1, accesses)),
        }
    }
    found.retain(|(_, kernels, _)| *kernels > 0);
    found
}

#[test]
fn accesses_of_models_are_proven_but_for_these() {
    let mut wrong = Vec::new();
    for (model, entry, expected) in ROWS {
        let found = unproven(model, entry);
        let fits = |(found, expected): (&(String, usize, usize), &(&str, usize, usize))| {
            found.0 == expected.0 && found.1 == expected.1 && found.2 <= expected.2
        };
        if found.len() != expected.len() || !found.iter().zip(expected).all(fits) {
            wrong.push(format!("{model} {entry}: {found:?}, expected {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
