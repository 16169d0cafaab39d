//! Speed of matrix tiles whose operands lie in the first-level cache, in multiply-adds per second (two floating-point
//! operations each).
//!
//! The peak of a core is its clock times 32 (two units of 8 lanes with AVX2, multiply and add).

use std::sync::Arc;

use brolga_codegen::{Options, TargetCpu, compile};
use brolga_ir::index::Index;
use brolga_ir::program::{
    Access, Arg, Buffer, BufferId, Call, Kernel, KernelId, Panel, Param, Place, Program, Step, Stmt, Tile,
    TileLoop,
};
use brolga_ir::{DType, Type};
use brolga_runtime::{Instance, SlotKind, State, Tensor, Threads};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// A program that computes the same `m` x `n` x `k` tile `times` times.
fn program(m: usize, n: usize, k: usize, times: usize) -> Program {
    let lens = [m * k, k * n, m * n];
    let access = [Access::Read, Access::Read, Access::ReadWrite];
    let params = std::iter::zip(lens, access).map(|(len, access)| Param { dtype: DType::F32, len, access });
    let panel = |param, row: usize| Panel { param, index: Index::constant(0), row: row as i64 };
    let tile = Tile {
        dtype: DType::F32,
        m,
        n,
        reduce: vec![TileLoop { extent: k, a: 1, b: n as i64 }],
        a: panel(0, k),
        b: panel(1, 0),
        c: panel(2, n),
        zero: true,
    };
    let body = vec![Stmt::For { var: 0, extent: times, body: vec![Stmt::Tile(tile)] }];
    Program {
        name: "tile".into(),
        buffers: (0..3)
            .map(|i| {
                let place = Place::State { updated: i == 2 };
                Buffer::new(&format!("{i}"), Type::new(DType::F32, [lens[i]]), place)
            })
            .collect(),
        kernels: vec![Kernel { name: "tile".into(), params: params.collect(), grid: vec![], body }],
        schedule: vec![Step::Call(Call {
            kernel: KernelId(0),
            args: (0..3).map(|i| Arg { buffer: BufferId(i), offset: 0, strides: vec![] }).collect(),
            parallel: false,
            origin: String::new(),
        })],
        ..Program::default()
    }
}

fn tiles(c: &mut Criterion) {
    const TIMES: usize = 200;
    for (m, n, k) in
        [(24, 32, 64), (48, 16, 64), (6, 16, 256), (16, 16, 64), (64, 10, 84), (8, 8, 64), (4, 96, 48)]
    {
        let program = program(m, n, k, TIMES);
        let mut group = c.benchmark_group(format!("tile_{m}x{n}x{k}"));
        group.throughput(Throughput::Elements((m * n * k * TIMES) as u64));
        for target_cpu in [TargetCpu::Portable, TargetCpu::Native] {
            // SAFETY: the tiles of `program` lie inside their panels.
            let compiled =
                unsafe { compile(&program, &Options::from(target_cpu)) }.expect("the program compiles");
            let executable = Arc::new(compiled.executable);
            let mut state = State::new();
            for slot in &executable.manifest().state {
                let tensor = Tensor::zeros(slot.dtype, &slot.dims).expect("memory");
                state.insert(&slot.name, SlotKind::Buffer, tensor).expect("names differ");
            }
            let threads = Threads::new(1).expect("one thread");
            let mut instance = Instance::bind(executable, &state, &threads).expect("the state fits");
            group.bench_function(target_cpu.name(), |b| {
                b.iter(|| instance.run_tensors(&mut state, &[], &mut []).expect("runs"));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, tiles);
criterion_main!(benches);
