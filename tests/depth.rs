//! What compiling costs grows with the number of layers and no faster: layers that are alike share their kernels, and
//! every further one adds the same number of calls.

use brolga::{CompileOptions, Compiler, Model, Settings};

#[test]
fn alike_layers_share_kernels() {
    for entry in ["infer", "train"] {
        let sizes = ["resnet32", "resnet44", "resnet56"].map(|name| {
            let model = Model::load(name, &Settings::default().dim("batch", 2)).unwrap();
            let mut compiler = Compiler::new(&CompileOptions::default());
            let optimised = compiler.optimise(model.graph(entry).unwrap()).unwrap();
            let program = compiler.lower(&optimised).unwrap();
            [program.kernels.len(), program.schedule.len(), program.buffers.len()]
        });
        let [[kernels, calls, buffers], middle, last] = sizes;
        assert_eq!([middle[0], last[0]], [kernels; 2], "{entry}: kernels");
        assert!(middle[1] > calls && middle[2] > buffers, "{entry}: {sizes:?}");
        let steps = |at: usize| [middle[at] - sizes[0][at], last[at] - middle[at]];
        for at in [1, 2] {
            assert_eq!(steps(at)[0], steps(at)[1], "{entry}: {sizes:?}");
        }
    }
}
