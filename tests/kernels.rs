//! Every distinct kernel of whole models at full extents: the emitters give the same bits.

use crate::common::compiled;
use crate::common::lcg::Lcg;
use brolga::{CompileOptions, Compiler, Model, Settings};
use brolga_codegen::TargetCpu;
use brolga_ir::program::{Access, Arg, Buffer, BufferId, Call, Kernel, KernelId, Place, Program, Step};
use brolga_ir::scalar::Scalar;
use brolga_ir::{DType, Tensor, Type};

/// A program that calls one kernel: what it reads are inputs, what it writes is state.
fn alone(kernel: &Kernel) -> Program {
    let buffer = |(i, p): (usize, &brolga_ir::program::Param)| {
        let place = match p.access {
            Access::Read => Place::Input { range: None },
            Access::Write | Access::ReadWrite | Access::Local => Place::State { updated: true },
        };
        Buffer::new(&format!("p{i}"), Type::new(p.dtype, [p.len]), place)
    };
    let args = (0..kernel.arguments().len() as u32)
        .map(|i| Arg { buffer: BufferId(i), offset: 0, strides: Vec::new() })
        .collect();
    Program {
        name: "alone".into(),
        buffers: kernel.arguments().iter().enumerate().map(buffer).collect(),
        kernels: vec![kernel.clone()],
        schedule: vec![Step::Call(Call {
            kernel: KernelId(0),
            args,
            parallel: false,
            origin: String::new(),
        })],
        ..Program::default()
    }
}

/// Numbers of both signs that differ; small integers, which are indices often.
fn values(ty: &Type, salt: u64) -> Tensor {
    let mut random = Lcg::new(salt);
    Tensor::generate(ty, |_| {
        let unit = random.unit();
        match ty.dtype {
            dtype if dtype.is_float() => Scalar::from_f64(dtype, unit),
            DType::Bool => Scalar::Bool(unit > 0.0),
            dtype => Scalar::from_i64(dtype, (unit.abs() * 10.0) as i64),
        }
    })
}

/// What is compared with the portable emitter.
#[derive(Clone, Copy)]
enum On {
    /// This processor's own instructions.
    Native,
    /// AVX-512, whose leaf functions are interpreted.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

fn check(model: &str, entry: &str, batch: usize) {
    check_on(On::Native, model, entry, batch);
}

fn check_on(on: On, model: &str, entry: &str, batch: usize) {
    let model =
        Model::load(model, &Settings::default().dim("batch", batch)).unwrap_or_else(|e| panic!("{e}"));
    let mut compiler = Compiler::new(&CompileOptions::default());
    let graph = compiler.optimise(model.graph(entry).expect("an entry")).expect("graph passes");
    let program = compiler.lower(&graph).expect("lowering");
    for kernel in &program.kernels {
        let program = alone(kernel);
        let (mut inputs, mut state) = (Vec::new(), Vec::new());
        for (buffer, salt) in program.buffers.iter().zip(1..) {
            let value = values(&buffer.ty, salt);
            match buffer.place {
                Place::State { .. } => state.push((buffer.name.clone(), value)),
                _ => inputs.push(value),
            }
        }
        let run = |cpu, threads| compiled::run(&program, cpu, threads, &inputs, &state).1;
        let portable = run(TargetCpu::Portable, 1);
        let others = match on {
            On::Native => {
                vec![("one thread", run(TargetCpu::Native, 1)), ("two threads", run(TargetCpu::Native, 2))]
            }
            #[cfg(target_arch = "x86_64")]
            On::Avx512 => {
                let options = brolga_codegen::Options::from(TargetCpu::X86_64V4);
                // SAFETY: the kernel is one that lowering has made.
                let compiled = unsafe { brolga_codegen::emulate::compile_emulated(&program, &options) };
                let compiled = compiled.unwrap_or_else(|e| panic!("{e}\n{kernel}"));
                vec![("emulated AVX-512", compiled::run_compiled(compiled, 1, &inputs, &state).1)]
            }
        };
        for (what, other) in others {
            for (p, n) in portable.iter().zip(&other) {
                let differs = (0..p.elements()).find(|&i| !p.get(i).same(n.get(i)));
                if let Some(i) = differs {
                    panic!("{what}: [{i}] is {:?}, portably {:?}:\n{kernel}", n.get(i), p.get(i));
                }
            }
        }
    }
}

#[test]
fn perceptrons() {
    check("mlp-256-128", "train", 64);
    check("mlp", "infer", 1);
}

#[test]
fn lenet5() {
    check("lenet5", "train", 64);
    check("lenet5-tanh", "train", 64);
    // Blocks of images are lanes.
    check("lenet5-tanh", "infer", 32);
}

#[test]
fn residual_networks() {
    check("resnet20", "train", 16);
    check("resnet20-projection", "train", 64);
}

/// Small models, as interpreting is slow; they have every kind of layer.
#[test]
#[cfg(target_arch = "x86_64")]
fn small_models_with_avx512() {
    for (model, entry, batch) in [
        ("softmax-regression", "train", 5),
        ("mlp-256-128", "train", 3),
        ("lenet5", "train", 3),
        ("lenet5-tanh", "infer", 1),
        ("resnet20-projection", "train", 1),
        ("densenet-mini", "train", 1),
        ("googlenet-mini", "train", 1),
        ("vgg-mini", "train", 1),
        ("alexnet-tv-mini", "train", 1),
        ("bert-encoder-mini", "infer", 1),
    ] {
        check_on(On::Avx512, model, entry, batch);
    }
}

/// Kernels of loops, of rows that end, and of trees.
#[test]
#[cfg(target_arch = "x86_64")]
fn recurrent_models_with_avx512() {
    for (model, entry) in [
        ("char-gru-mini", "train"),
        ("char-gru-mini", "write"),
        ("ptb-lstm-mini", "train"),
        ("birnn", "train"),
        ("gru", "infer"),
        ("lstm-peephole", "train"),
        ("recursive-nn", "train"),
    ] {
        check_on(On::Avx512, model, entry, 2);
    }
}
