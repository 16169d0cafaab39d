//! Runs a kernel program as machine code, on tensors of `ir`.

use std::sync::Arc;

use brolga_codegen::{Options, TargetCpu};
use brolga_ir::program::{Program, verify::verify};
use brolga_ir::scalar::Scalar;
use brolga_ir::tensor::Data;
use brolga_ir::{DType, Tensor, Type};
use brolga_runtime::{SlotKind, State, Threads};

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
    let options = Options { target_cpu: cpu };
    // SAFETY: the program is verified, and its accesses stay inside: see above.
    let compiled = unsafe { brolga_codegen::compile(program, &options) };
    compiled.unwrap_or_else(|e| panic!("{e}\n{program}"))
}

/// The same for AVX-512, whose leaves the emulator runs.
pub fn compile_emulated(program: &Program) -> brolga_codegen::Compiled {
    verify(program).unwrap_or_else(|e| panic!("{e}\n{program}"));
    let options = Options { target_cpu: TargetCpu::X86_64V4 };
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

fn to_runtime(tensor: &Tensor) -> brolga_runtime::Tensor {
    let bytes: Vec<u8> = match tensor.data() {
        Data::Bool(v) => v.iter().map(|&b| u8::from(b)).collect(),
        Data::U8(v) => v.clone(),
        Data::I32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::I64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::Bf16(_) => panic!("a bf16 exists inside of programs only"),
        Data::F32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::F64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
    };
    let dtype = brolga_runtime::DType::from_name(tensor.dtype().name()).expect("a type of both");
    brolga_runtime::Tensor::from_bytes(dtype, tensor.dims(), &bytes).expect("a tensor")
}

pub fn from_runtime(tensor: &brolga_runtime::Tensor) -> Tensor {
    let dtype = DType::from_name(tensor.dtype().name()).expect("a type of both");
    let size = dtype.size();
    Tensor::generate(&Type::new(dtype, tensor.dims()), |i| {
        let bytes = &tensor.bytes()[i * size..(i + 1) * size];
        match dtype {
            DType::Bool => Scalar::Bool(bytes[0] != 0),
            DType::U8 => Scalar::U8(bytes[0]),
            DType::I32 => Scalar::I32(i32::from_le_bytes(bytes.try_into().expect("4 bytes"))),
            DType::I64 => Scalar::I64(i64::from_le_bytes(bytes.try_into().expect("8 bytes"))),
            DType::Bf16 => panic!("a bf16 exists inside of programs only"),
            DType::F32 => Scalar::F32(f32::from_le_bytes(bytes.try_into().expect("4 bytes"))),
            DType::F64 => Scalar::F64(f64::from_le_bytes(bytes.try_into().expect("8 bytes"))),
        }
    })
}
