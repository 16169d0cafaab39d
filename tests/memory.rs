//! The arena of every model that comes along, against what is alive at once.

use brolga::passes::plan::live_bytes;
use brolga::{CompileOptions, Compiler, Model, Settings};

/// Small sizes and few layers: what is placed is alike for all members of a family.
const MODELS: [(&str, usize); 16] = [
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
