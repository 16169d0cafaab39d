//! Runs a kernel program as machine code, on tensors of `ir`.

use std::sync::Arc;

use brolga_codegen::{Options, TargetCpu};
use brolga_ir::Tensor;
use brolga_ir::program::{Program, verify::verify};
use brolga_runtime::{SlotKind, State, Threads};

pub use crate::fuzz::values::from_runtime;
use crate::fuzz::values::to_runtime;

/// The outputs, and the state afterwards, in order.
pub fn run(
    program: &Program,
    cpu: TargetCpu,
    threads: usize,
    inputs: &[Tensor],
    state: &[(String, Tensor)],
) -> (Vec<Tensor>, Vec<Tensor>) {
    run_compiled(compile(program, cpu), threads, inputs, state)
}

/// Compiles a program that lowering has made, or that the interpreter, which checks every access, has run.
pub fn compile(program: &Program, cpu: TargetCpu) -> brolga_codegen::Compiled {
    verify(program).unwrap_or_else(|e| panic!("{e}\n{program}"));
    let options = Options::from(cpu);
    // SAFETY: the program is verified, and its accesses stay inside: see above.
    let compiled = unsafe { brolga_codegen::compile(program, &options) };
    compiled.unwrap_or_else(|e| panic!("{e}\n{program}"))
}

/// The same for AVX-512, whose leaves the emulator runs.
pub fn compile_emulated(program: &Program) -> brolga_codegen::Compiled {
    verify(program).unwrap_or_else(|e| panic!("{e}\n{program}"));
    let options = Options::from(TargetCpu::X86_64V4);
    // SAFETY: as in `compile`.
    let compiled = unsafe { brolga_codegen::emulate::compile_emulated(program, &options) };
    compiled.unwrap_or_else(|e| panic!("{e}\n{program}"))
}

/// The same of what has been compiled already.
pub fn run_compiled(
    compiled: brolga_codegen::Compiled,
    threads: usize,
    inputs: &[Tensor],
    state: &[(String, Tensor)],
) -> (Vec<Tensor>, Vec<Tensor>) {
    let mut slots = State::new();
    for (name, tensor) in state {
        slots.insert(name.as_str(), SlotKind::Parameter, to_runtime(tensor)).expect("a slot");
    }
    let threads = Threads::new(threads).expect("threads");
    let mut instance =
        brolga_runtime::Instance::bind(Arc::new(compiled.executable), &slots, &threads).expect("bind");
    let inputs: Vec<_> = inputs.iter().map(to_runtime).collect();
    let zeros = |t: &brolga_runtime::Output| brolga_runtime::Tensor::zeros(t.dtype, &t.dims).expect("zeros");
    let mut outputs: Vec<_> = instance.executable().manifest().outputs.iter().map(zeros).collect();
    instance.run_tensors(&mut slots, &inputs, &mut outputs).expect("run");
    let state = state.iter().map(|(name, _)| from_runtime(slots.get(name).expect("a slot"))).collect();
    (outputs.iter().map(from_runtime).collect(), state)
}
