//! Kernels on aarch64: many in one object, which a C program runs on an emulator; without C compiler or emulator they are
//! skipped.

use brolga_codegen::{ObjectRequest, Options, StateTensor, TargetCpu, TargetTriple, emit_object};
use brolga_ir::Tensor;
use brolga_ir::program::{BufferId, Kernel, KernelId, Place, Program, Step, interpret};
use brolga_runtime as rt;

use super::machine::{AARCH64, references};
use super::{at_the_border, from_runtime, program, same, to_runtime};

/// Compares kernels with the interpreter.
pub fn check_on_aarch64(kernels: &[(Kernel, Vec<Tensor>)]) {
    if kernels.is_empty() || !AARCH64.is_there() {
        return;
    }
    let mut all = Program { name: "all".into(), ..Program::default() };
    let mut state = rt::State::new();
    for (number, (kernel, tensors)) in kernels.iter().enumerate() {
        let program = program(kernel);
        for (name, tensor) in names(&program).iter().zip(tensors) {
            let tensor = to_runtime(&at_the_border(tensor));
            state.insert(format!("{number}.{name}"), rt::SlotKind::Buffer, tensor).unwrap();
        }
        add(&mut all, program, number);
    }
    let slots = state.slots().iter();
    let slots: Vec<StateTensor<'_>> =
        slots.map(|slot| StateTensor { name: slot.name(), kind: slot.kind(), fresh: 0.0 }).collect();
    let options = Options { target_cpu: TargetCpu::Native, triple: TargetTriple::Aarch64Linux };
    let request = ObjectRequest {
        entries: &[(&all, "all")],
        state: &slots,
        weights: None,
        symbol: "net",
        targets: &[options],
    };
    let object = emit_object(&request).unwrap();
    assert_eq!(references(&object.bytes), [""; 0]);
    let (_, after) = AARCH64.run(&object, &["all"], &[Vec::new()], &state);
    for (number, (kernel, tensors)) in kernels.iter().enumerate() {
        let program = program(kernel);
        let mut expected: Vec<Tensor> = tensors.iter().map(at_the_border).collect();
        interpret::run(&program, &[], &mut expected).unwrap();
        for (name, want) in names(&program).iter().zip(&expected) {
            let name = format!("{number}.{name}");
            let (_, got) = after.iter().find(|(found, _)| *found == name).expect("a tensor of the state");
            same(&from_runtime(got), want, &format!("aarch64, {name}"), &program);
        }
    }
}

/// The state of a program, in its order.
fn names(program: &Program) -> Vec<String> {
    let state = program.buffers.iter().filter(|buffer| matches!(buffer.place, Place::State { .. }));
    state.map(|buffer| buffer.name.clone()).collect()
}

/// Adds the calls of another program, whose names begin with a number.
fn add(all: &mut Program, other: Program, number: usize) {
    let (buffers, kernels) = (all.buffers.len() as u32, all.kernels.len() as u32);
    for mut buffer in other.buffers {
        buffer.name = format!("{number}.{}", buffer.name);
        if let Place::Arena(Some(at)) = &mut buffer.place {
            *at += all.arena_bytes;
        }
        all.buffers.push(buffer);
    }
    all.arena_bytes += other.arena_bytes;
    all.kernels.extend(other.kernels);
    for mut step in other.schedule {
        if let Step::Call(call) = &mut step {
            call.kernel = KernelId(call.kernel.0 + kernels);
            call.args.iter_mut().for_each(|arg| arg.buffer = BufferId(arg.buffer.0 + buffers));
        }
        all.schedule.push(step);
    }
}
