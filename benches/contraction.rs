//! Matrix products of all kinds of shapes, packing included: `cargo bench --bench contraction`.
//!
//! The throughput counts two operations for a multiplication and an addition, so that Gelem/s reads as GFLOP/s: with one
//! thread, and with as many as there are cores. `brolga profile` measures the processor's peak. Strassen's algorithm,
//! where it is chosen, does with an eighth less than is counted; `square-direct` is without.

use brolga::ir::graph::Origin;
use brolga::ir::ops::{Dot, Role};
use brolga::ir::{Builder, DType, Graph, Type};
use brolga::runtime::{Instance, State, Tensor};
use brolga::{CompileOptions, Threads, compile, random_inputs};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Operands, and which axes are batches and are summed over.
type Shape = (&'static str, Vec<usize>, Vec<usize>, Dot);

fn plain(contract: [usize; 2]) -> Dot {
    Dot::new([vec![], vec![]], contract.map(|axis| vec![axis]))
}

fn shapes() -> Vec<Shape> {
    let heads = Dot::new([vec![0], vec![0]], [vec![2], vec![2]]);
    vec![
        ("square", vec![1024, 1024], vec![1024, 1024], plain([1, 0])),
        ("transposed", vec![1024, 1024], vec![1024, 1024], plain([0, 1])),
        ("tall", vec![16384, 64], vec![64, 64], plain([1, 0])),
        ("deep", vec![64, 16384], vec![16384, 64], plain([1, 0])),
        ("vector", vec![1, 1024], vec![1024, 4096], plain([1, 0])),
        ("odd", vec![331, 257], vec![257, 503], plain([1, 0])),
        ("tiny", vec![7, 5], vec![5, 3], plain([1, 0])),
        ("heads", vec![32, 128, 64], vec![32, 128, 64], heads),
    ]
}

fn contractions(c: &mut Criterion) {
    for (name, a, b, dot) in shapes() {
        let mut graph = Graph::new("product");
        let operands = [("a", &a), ("b", &b)]
            .map(|(name, dims)| graph.add_parameter(name, Role::Data, Type::new(DType::F32, dims.clone())));
        let depth = a[dot.contract[0][0]];
        let y = Builder::new(&mut graph, Origin::default()).add_node(dot, &operands).expect("a product");
        let elements = graph.ty(y).elements();
        graph.add_output("y", Role::Data, y);
        let options = CompileOptions::default();
        let executable = std::sync::Arc::new(compile(&graph, &options).expect("compiles"));
        let mut group = c.benchmark_group(format!("contraction/{name}"));
        group.throughput(Throughput::Elements((2 * elements * depth) as u64));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        for threads in [1, cores] {
            let pool = Threads::new(threads).expect("threads");
            let mut state = State::new();
            let mut instance = Instance::bind(executable.clone(), &state, &pool).expect("binds");
            let manifest = executable.manifest();
            let given = random_inputs(&manifest.inputs).expect("memory");
            let output = &manifest.outputs[0];
            let mut outputs = [Tensor::zeros(output.dtype, &output.dims).expect("memory")];
            group.bench_function(format!("{threads} threads"), |b| {
                b.iter(|| instance.run_tensors(&mut state, &given, &mut outputs));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, contractions);
criterion_main!(benches);
