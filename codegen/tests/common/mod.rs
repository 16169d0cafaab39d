//! Compiles a kernel for every target, runs it, and compares every bit with the interpreter.

#![allow(dead_code, reason = "each test file uses a part")]

mod aarch64;
#[cfg(target_arch = "x86_64")]
pub mod encodings;
#[path = "../../../tests/common/machine.rs"]
pub mod machine;
#[path = "../../../tests/common/values.rs"]
mod values;

use std::ops::Range;
use std::sync::Arc;

#[cfg(target_arch = "x86_64")]
use brolga_codegen::emulate::leaves;
use brolga_codegen::{Compiled, Error, Options, TargetCpu};
use brolga_ir::Tensor;
use brolga_ir::program::{Kernel, Program, interpret};
use brolga_ir::tensor::Data;
use brolga_runtime as rt;

pub use aarch64::check_on_aarch64;
pub use brolga_ir::generate::kernels::{Body, Values, kernel, param, program};
pub use brolga_ir::random::Rng;
pub use values::{from_runtime, to_runtime};

/// Compiles a program of the tests as it is: the interpreter, which checks every access, runs them as well.
pub fn compile(program: &Program, options: &Options) -> Result<Compiled, Error> {
    // SAFETY: programs of these tests are valid, and stay inside their buffers.
    unsafe { brolga_codegen::compile(program, options) }
}

/// The same with leaves that are interpreted.
#[cfg(target_arch = "x86_64")]
pub fn compile_emulated(program: &Program, options: &Options) -> Result<Compiled, Error> {
    // SAFETY: as above.
    unsafe { brolga_codegen::emulate::compile_emulated(program, options) }
}

/// The targets that this machine can run.
pub fn targets() -> Vec<TargetCpu> {
    let wide = cfg!(target_arch = "x86_64");
    let avx512 = ["avx512f", "avx512bw", "avx512dq", "avx512vl"].into_iter().all(rt::cpu_has);
    let runs = |cpu: &TargetCpu| match cpu {
        TargetCpu::Portable => true,
        TargetCpu::X86_64V4 => avx512,
        TargetCpu::X86_64V3 | TargetCpu::Native => wide,
    };
    TargetCpu::ALL.into_iter().filter(runs).collect()
}

/// Runs a program whose buffers are all inputs, outputs or state; gives the outputs and the state after it.
pub fn run(
    program: &Program,
    cpu: TargetCpu,
    inputs: &[Tensor],
    state: &[Tensor],
) -> (Vec<Tensor>, Vec<Tensor>) {
    let compiled = compile(program, &Options::from(cpu)).unwrap_or_else(|e| panic!("{cpu}: {e}"));
    run_compiled(compiled, 2, inputs, state)
}

/// Runs what has been compiled, with so many threads.
pub fn run_compiled(
    compiled: Compiled,
    threads: usize,
    inputs: &[Tensor],
    state: &[Tensor],
) -> (Vec<Tensor>, Vec<Tensor>) {
    let executable = Arc::new(compiled.executable);
    let manifest = executable.manifest().clone();
    let mut memory = rt::State::new();
    for (slot, tensor) in manifest.state.iter().zip(state) {
        memory.insert(&slot.name, rt::SlotKind::Buffer, to_runtime(tensor)).unwrap();
    }
    let threads = rt::Threads::new(threads).unwrap();
    let mut instance = rt::Instance::bind(executable, &memory, &threads).unwrap();
    let inputs: Vec<rt::Tensor> = inputs.iter().map(to_runtime).collect();
    let mut outputs: Vec<rt::Tensor> =
        manifest.outputs.iter().map(|o| rt::Tensor::zeros(o.dtype, &o.dims).unwrap()).collect();
    instance.run_tensors(&mut memory, &inputs, &mut outputs).unwrap();
    let after = manifest.state.iter().map(|s| from_runtime(memory.get(&s.name).unwrap())).collect();
    (outputs.iter().map(from_runtime).collect(), after)
}

/// Compares all targets with the interpreter, those that this machine cannot run by emulation.
pub fn check_program(program: &Program, inputs: &[Tensor], state: &[Tensor]) {
    let mut expected = state.to_vec();
    let outputs = interpret::run(program, inputs, &mut expected)
        .unwrap_or_else(|e| panic!("not a valid program: {e}\n{program:#?}"));
    let compare = |(got, after): (Vec<Tensor>, Vec<Tensor>), what: &str| {
        for (got, want) in got.iter().zip(&outputs).chain(after.iter().zip(&expected)) {
            same(got, want, what, program);
        }
    };
    for cpu in targets() {
        compare(run(program, cpu, inputs, state), cpu.name());
    }
    #[cfg(target_arch = "x86_64")]
    for target_cpu in [TargetCpu::X86_64V4, TargetCpu::X86_64V3] {
        // AVX2 only tests the emulator, for which some programs are enough.
        if target_cpu == TargetCpu::X86_64V3 && !program.buffers.len().is_multiple_of(4) {
            continue;
        }
        let options = Options::from(target_cpu);
        leaves(program, &options).unwrap().iter().for_each(|leaf| encodings::check(leaf));
        let what = format!("emulated {target_cpu}");
        let compiled = compile_emulated(program, &options).unwrap_or_else(|e| panic!("{what}: {e}"));
        compare(run_compiled(compiled, 2, inputs, state), &what);
    }
}

/// Compares all targets with the interpreter on one kernel.
pub fn check(kernel: &Kernel, tensors: &[Tensor]) {
    // As the slots of `program` hold them.
    let tensors: Vec<Tensor> = tensors.iter().map(at_the_border).collect();
    check_program(&program(kernel), &[], &tensors);
}

/// Kernels of some seeds that run on aarch64 too, unless `BROLGA_CASES` is given: one in so many, and how many in one object.
const ON_AARCH64: (u64, usize) = (10, 100);

/// Compares them on the kernels of some seeds.
pub fn check_seeds(seeds: Range<u64>, kernel: fn(u64) -> Kernel) {
    let each = if std::env::var_os("BROLGA_CASES").is_some() { 1 } else { ON_AARCH64.0 };
    let mut waiting = Vec::new();
    for seed in seeds {
        let kernel = kernel(seed);
        let tensors = Rng(!seed).tensors(&kernel);
        check(&kernel, &tensors);
        if seed.is_multiple_of(each) {
            waiting.push((kernel, tensors));
        }
        if waiting.len() == ON_AARCH64.1 {
            check_on_aarch64(&waiting);
            waiting.clear();
        }
    }
    check_on_aarch64(&waiting);
}

/// `BROLGA_CASES` seeds, or 20,000, which no test tries as it is.
pub fn many() -> Range<u64> {
    let cases = std::env::var("BROLGA_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(20_000);
    1_000_000..1_000_000 + cases
}

fn at_the_border(tensor: &Tensor) -> Tensor {
    match tensor.data() {
        Data::Bf16(v) => Tensor::f32(tensor.dims(), v.iter().map(|x| x.to_f32()).collect::<Vec<_>>()),
        _ => tensor.clone(),
    }
}

pub fn same(got: &Tensor, want: &Tensor, what: &str, program: &Program) {
    for i in 0..want.elements() {
        let (g, w) = (got.get(i), want.get(i));
        assert!(
            g.same(w),
            "{what}: element {i} is {g:?}, the interpreter says {w:?}, in\n{:#?}",
            program.kernels
        );
    }
}
