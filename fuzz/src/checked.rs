//! Programs that anybody may have written, compiled by `compile_checked`, against the interpreter: what is accepted gives
//! its bits; an access outside is an error of both.

#![forbid(unsafe_code)]

use std::sync::Arc;

use brolga::TargetCpu;
use brolga::codegen::{Options, compile_checked};
use brolga::ir::generate::Rng;
use brolga::ir::program::interpret::{self, Interpreter};
use brolga::ir::program::{Call, Kernel, Place, Program, Step, Stmt};
use brolga::ir::scalar::{NAN_F32, NAN_F64, Scalar};
use brolga::ir::{DType, Tensor, Type};
use brolga::passes::program::plan::plan;
use brolga::runtime::{self, ErrorKind, Instance, Manifest, SlotKind, State, Threads};

use super::values::{element, to_runtime};

/// Programs larger than this are passed over: bytes of all buffers, and statements of a run.
const MOST_BYTES: usize = 1 << 22;
const MOST_WORK: u64 = 300_000;

/// The program with places for its buffers, if it is one to be run and has none.
pub fn planned(mut program: Program) -> Program {
    let planned = program.arena_bytes + program.prepared_bytes > 0;
    if !planned && brolga::ir::program::verify::verify(&program).is_ok() && is_small(&program) {
        plan(&mut program);
    }
    program
}

/// Statements that a run executes, at most.
fn work(program: &Program) -> u64 {
    fn block(body: &[Stmt]) -> u64 {
        let statement = |stmt: &Stmt| match stmt {
            Stmt::For { extent, body, .. } | Stmt::Strip { extent, body, .. } => {
                (*extent as u64).saturating_mul(block(body).saturating_add(1))
            }
            Stmt::If { then, otherwise, .. } => block(then).saturating_add(block(otherwise)),
            Stmt::Tile(tile) => {
                let all = [tile.m, tile.n].into_iter().chain(tile.reduce.iter().map(|l| l.extent.max(1)));
                all.fold(1u64, |n, extent| n.saturating_mul(extent as u64))
            }
            _ => 1,
        };
        body.iter().map(statement).fold(1, u64::saturating_add)
    }
    fn steps(program: &Program, list: &[Step]) -> u64 {
        let step = |step: &Step| match step {
            Step::Call(Call { kernel, .. }) => {
                program.kernels.get(kernel.0 as usize).map_or(1, |kernel: &Kernel| {
                    let points =
                        kernel.grid.iter().fold(1, |n: u64, &extent| n.saturating_mul(extent as u64));
                    let local = kernel.local_bytes() as u64 / 8;
                    points.saturating_mul(block(&kernel.body).saturating_add(local))
                })
            }
            Step::Loop { extent, body } => {
                (*extent as u64).saturating_mul(steps(program, body).saturating_add(1))
            }
            Step::Break { .. } => 1,
            Step::If { then, otherwise, .. } => {
                steps(program, then).saturating_add(steps(program, otherwise))
            }
        };
        list.iter().map(step).fold(0, u64::saturating_add)
    }
    steps(program, &program.prepare).saturating_add(steps(program, &program.schedule))
}

/// Whether a program is small enough to be run.
pub fn is_small(program: &Program) -> bool {
    let bytes =
        |ty: &Type| ty.dims.iter().fold(ty.dtype.size(), |n, &extent| n.saturating_mul(extent.max(1)));
    let buffers = program.buffers.iter().map(|buffer| bytes(&buffer.ty));
    let all = buffers.chain([program.arena_bytes, program.prepared_bytes, program.local_bytes()]);
    all.fold(0, usize::saturating_add) <= MOST_BYTES && work(program) <= MOST_WORK
}

/// Values of any kind, integers small more often than not.
fn value(rng: &mut Rng, ty: &Type, range: Option<(i64, i64)>) -> Tensor {
    let special = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 1e30, 1e-40];
    Tensor::generate(ty, |_| {
        let bits = rng.bits();
        let small = (bits >> 32) as i64 % 16 - 4;
        match ty.dtype {
            DType::Bool => Scalar::Bool(bits & 1 == 1),
            dtype if dtype.is_int() => match range {
                Some((low, high)) => {
                    let span = (high as i128 - low as i128 + 1) as u128;
                    Scalar::from_i64(dtype, (low as i128 + (u128::from(bits) % span) as i128) as i64)
                }
                None if bits.is_multiple_of(5) => Scalar::from_i64(dtype, bits as i64),
                None => Scalar::from_i64(dtype, small),
            },
            dtype if bits.is_multiple_of(9) => {
                Scalar::from_f64(dtype, special[(bits >> 8) as usize % special.len()])
            }
            dtype => Scalar::from_f64(dtype, small as f64 / 4.0 + 0.125),
        }
    })
}

/// Bits, of state with all NaNs equal.
fn equal(found: Option<Scalar>, expected: Scalar, output: bool) -> bool {
    let Some(found) = found else { return false };
    match (found, expected) {
        (Scalar::F32(f), Scalar::F32(e)) if output => f.to_bits() == e.to_bits(),
        (Scalar::F64(f), Scalar::F64(e)) if output => f.to_bits() == e.to_bits(),
        _ => found.same(expected),
    }
}

/// Outputs as they are where nothing is written, for the interpreter: all ones, or the one form of NaN.
fn outputs(manifest: &Manifest) -> Vec<runtime::Tensor> {
    let made = manifest.outputs.iter().map(|output| {
        let mut tensor = runtime::Tensor::zeros(output.dtype, &output.dims).expect("an output");
        match output.dtype {
            runtime::DType::F32 => tensor.as_mut_slice().expect("f32").fill(f32::from_bits(NAN_F32)),
            runtime::DType::F64 => tensor.as_mut_slice().expect("f64").fill(f64::from_bits(NAN_F64)),
            _ => tensor.bytes_mut().fill(0xff),
        }
        tensor
    });
    made.collect()
}

/// What came of a program.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Outcome {
    /// No program, or one that breaks a rule.
    Refused,
    /// Too large for a test.
    Large,
    /// Reaches outside of its memory.
    Outside,
    /// Reads what nothing has written where that has no value.
    Unwritten,
    /// Runs, and some of its accesses are checked.
    Checked,
    /// Runs as it is.
    Proven,
}

/// Compiles and runs a program, and compares it with the interpreter.
pub fn check(program: &Program, rng: &mut Rng) -> Outcome {
    if brolga::ir::program::verify::verify(program).is_err() {
        // Nothing that the verifier refuses is compiled.
        assert!(compile_checked(program, &Options::default()).is_err());
        return Outcome::Refused;
    }
    if !is_small(program) {
        return Outcome::Large;
    }
    let proven = brolga::ir::program::verify::proven(program).expect("a valid program");
    let cpus = [TargetCpu::Native, TargetCpu::Portable, TargetCpu::X86_64V3];
    let target_cpu = cpus[rng.below(if cfg!(target_arch = "x86_64") { 3 } else { 2 })];
    let Ok(compiled) = compile_checked(program, &Options::from(target_cpu)) else { return Outcome::Refused };
    let executable = Arc::new(compiled.executable);
    let (mut inputs, mut state, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for buffer in &program.buffers {
        match buffer.place {
            Place::Input { range } => inputs.push(value(rng, &buffer.ty, range)),
            Place::State { .. } => {
                state.push(value(rng, &buffer.ty, None));
                names.push(&buffer.name);
            }
            Place::Output | Place::Constant(_) | Place::Prepared(_) | Place::Arena(_) => {}
        }
    }
    let mut memory = State::new();
    for (name, tensor) in names.iter().zip(&state) {
        // A name that no state may have, such as none at all.
        if memory.insert(name.as_str(), SlotKind::Buffer, to_runtime(tensor)).is_err() {
            return Outcome::Refused;
        }
    }
    let given: Vec<runtime::Tensor> = inputs.iter().map(to_runtime).collect();
    let mut found = outputs(executable.manifest());
    let threads = Threads::new(1 + rng.below(3)).expect("threads");
    let mut instance = Instance::bind(executable, &memory, &threads).expect("memory");
    let ran = instance.run_tensors(&mut memory, &given, &mut found);

    let expected = Interpreter::new(program).and_then(|interpreter| interpreter.run(&inputs, &mut state));
    let expected = match (expected, ran) {
        (Ok(expected), Ok(())) => expected,
        (Err(interpret::Error { message }), _) if message.contains("never written") => {
            return Outcome::Unwritten;
        }
        (Err(_), Err(error)) if error.kind() == ErrorKind::Range => return Outcome::Outside,
        (expected, ran) => {
            panic!("the interpreter says {expected:?}, compiled code {ran:?}, {target_cpu}\n{program}")
        }
    };
    for (expected, found) in expected.iter().zip(&found) {
        for at in 0..expected.elements() {
            let (e, f) = (expected.get(at), element(found, at));
            assert!(equal(f, e, true), "an output at {at} is {f:?}, not {e:?}, {target_cpu}\n{program}");
        }
    }
    for (expected, name) in state.iter().zip(&names) {
        let found = memory.get(name).expect("a slot");
        for at in 0..expected.elements() {
            let (e, f) = (expected.get(at), element(found, at));
            assert!(equal(f, e, false), "{name} at {at} is {f:?}, not {e:?}, {target_cpu}\n{program}");
        }
    }
    if proven.iter().all(|&proven| proven) { Outcome::Proven } else { Outcome::Checked }
}
