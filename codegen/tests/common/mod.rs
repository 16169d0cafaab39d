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
use brolga_ir::index::Index;
use brolga_ir::program::{
    Access, Arg, Buffer, BufferId, Call, Expr, Kernel, KernelId, Param, Place, Program, Step,
};
use brolga_ir::program::{Stmt, ValueId, interpret};
use brolga_ir::scalar::{Scalar, ScalarOp};
use brolga_ir::tensor::Data;
use brolga_ir::{DType, Tensor, Type};
use brolga_runtime as rt;

pub use aarch64::check_on_aarch64;
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

/// A program of one call, parallel if there are several parts; every parameter but local ones is a state slot, named by its
/// position. A `bf16` exists inside of programs only, so its slot is a `f32`, and a kernel before the call or behind it converts.
pub fn program(kernel: &Kernel) -> Program {
    let mut program = Program { name: "test".into(), kernels: vec![kernel.clone()], ..Program::default() };
    let arg = |buffer: usize| Arg { buffer: BufferId(buffer as u32), offset: 0, strides: Vec::new() };
    let call = |kernel: usize, args, parallel| {
        Step::Call(Call { kernel: KernelId(kernel as u32), args, parallel, origin: "test".into() })
    };
    let (mut args, mut behind) = (Vec::new(), Vec::new());
    for (i, p) in kernel.arguments().iter().enumerate() {
        let ty = Type::new(p.dtype, [p.len]);
        let place = Place::State { updated: p.access != Access::Read };
        let slot = program.buffers.len();
        let border = if p.dtype == DType::Bf16 { DType::F32 } else { p.dtype };
        program.buffers.push(Buffer::new(&format!("p{i}"), ty.with_dtype(border), place));
        args.push(arg(program.buffers.len() - 1));
        if border == p.dtype {
            continue;
        }
        let offset = program.arena_bytes;
        program.arena_bytes += ty.bytes().next_multiple_of(64);
        program.buffers.push(Buffer::new(&format!("p{i}.bf16"), ty, Place::Arena(Some(offset))));
        args[i] = arg(slot + 1);
        // What is only written as well: a kernel may leave elements alone.
        program.schedule.push(call(program.kernels.len(), vec![arg(slot), arg(slot + 1)], false));
        program.kernels.push(conversion(border, p.dtype, p.len));
        if p.access != Access::Read {
            behind.push(call(program.kernels.len(), vec![arg(slot + 1), arg(slot)], false));
            program.kernels.push(conversion(p.dtype, border, p.len));
        }
    }
    program.schedule.push(call(0, args, kernel.parts() > 1));
    program.schedule.append(&mut behind);
    program
}

/// A kernel that converts all elements of a parameter.
fn conversion(from: DType, to: DType, len: usize) -> Kernel {
    let mut body = Body::default();
    let value = body.load(from, 0, Index::var(0));
    let value = body.op(to, ScalarOp::Convert(to), &[value]);
    body.store(1, Index::var(0), value);
    let params = vec![param(from, len, Access::Read), param(to, len, Access::Write)];
    kernel(params, vec![], vec![Stmt::Strip { var: 0, extent: len, body: body.stmts }])
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

/// Values for kernels.
pub trait Values {
    /// A value of the type: usually plain, sometimes a special one.
    fn scalar(&mut self, dtype: DType) -> Scalar;

    fn tensor(&mut self, dtype: DType, len: usize) -> Tensor {
        Tensor::generate(&Type::new(dtype, [len]), |_| self.scalar(dtype))
    }

    /// Tensors for a kernel's parameters.
    fn tensors(&mut self, kernel: &Kernel) -> Vec<Tensor> {
        kernel.arguments().iter().map(|p| self.tensor(p.dtype, p.len)).collect()
    }
}

impl Values for Rng {
    fn scalar(&mut self, dtype: DType) -> Scalar {
        let plain = (self.bits() >> 40) as f64 / (1u64 << 22) as f64 - 2.0;
        match dtype {
            DType::Bool => Scalar::Bool(self.chance(50)),
            DType::U8 => Scalar::U8(self.bits() as u8),
            DType::I32 => match self.below(8) {
                0 => Scalar::I32(self.of(&[0, -1, 1, i32::MIN, i32::MAX, 31, 32, 33])),
                1..4 => Scalar::I32(self.below(19) as i32 - 9),
                _ => Scalar::I32(self.bits() as i32),
            },
            DType::I64 => match self.below(8) {
                0 => Scalar::I64(self.of(&[0, -1, 1, i64::MIN, i64::MAX, 63, 64, 65])),
                1..4 => Scalar::I64(self.below(19) as i64 - 9),
                _ => Scalar::I64(self.bits() as i64),
            },
            DType::Bf16 => ScalarOp::Convert(DType::Bf16).apply(&[self.scalar(DType::F32)]),
            DType::F32 => match self.below(16) {
                0 => Scalar::F32(self.of(&[
                    0.0,
                    -0.0,
                    f32::INFINITY,
                    f32::NEG_INFINITY,
                    f32::NAN,
                    f32::MIN_POSITIVE,
                    1e-42,
                    -1e-45,
                    3e9,
                    -3e9,
                    0.5,
                    1.5,
                    2.5,
                    f32::MAX,
                    255.5,
                    1e19,
                ])),
                1 => Scalar::F32(f32::from_bits(self.bits() as u32)),
                2 => Scalar::F32((plain * 1000.0) as f32),
                _ => Scalar::F32(plain as f32),
            },
            DType::F64 => match self.below(16) {
                0 => Scalar::F64(self.of(&[
                    0.0,
                    -0.0,
                    f64::INFINITY,
                    f64::NEG_INFINITY,
                    f64::NAN,
                    f64::MIN_POSITIVE,
                    5e-324,
                    3e9,
                    -3e9,
                    1e19,
                    0.5,
                    2.5,
                    f64::MAX,
                    1e-40,
                ])),
                1 => Scalar::F64(f64::from_bits(self.bits())),
                2 => Scalar::F64(plain * 1000.0),
                _ => Scalar::F64(plain),
            },
        }
    }
}

/// Statements, with values numbered as they come.
#[derive(Default)]
pub struct Body {
    pub stmts: Vec<Stmt>,
    pub next: u32,
}

impl Body {
    pub fn starting(next: u32) -> Body {
        Body { stmts: Vec::new(), next }
    }

    pub fn let_(&mut self, dtype: DType, expr: Expr) -> ValueId {
        let id = ValueId(self.next);
        self.next += 1;
        self.stmts.push(Stmt::Let { id, dtype, expr });
        id
    }

    pub fn load(&mut self, dtype: DType, param: usize, index: Index) -> ValueId {
        self.let_(dtype, Expr::Load { param, index, guard: None })
    }

    pub fn op(&mut self, dtype: DType, op: ScalarOp, args: &[ValueId]) -> ValueId {
        self.let_(dtype, Expr::Op(op, args.to_vec()))
    }

    pub fn store(&mut self, param: usize, index: Index, value: ValueId) {
        self.stmts.push(Stmt::Store { param, index, value });
    }
}

pub fn param(dtype: DType, len: usize, access: Access) -> Param {
    Param { dtype, len, access }
}

pub fn kernel(params: Vec<Param>, grid: Vec<usize>, body: Vec<Stmt>) -> Kernel {
    Kernel { name: "k".into(), params, grid, body }
}
