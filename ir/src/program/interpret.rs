//! The exact interpreter of kernel programs: the oracle that every emitter must equal to the bit.
//!
//! It follows the program's documentation to the letter: grid points, loops and strips run one iteration after the
//! other, scalars go through [`ScalarOp::apply`](crate::scalar::ScalarOp::apply), tiles are chains of fused
//! multiply-adds. Every access is checked, and memory that nothing has written yet is all ones (NaN in floats, -1
//! in integers, no valid `bool`), so that a program that reads too early does not go unnoticed; local memory is so
//! again for every grid point. Planned arena buffers share one block of bytes, so mistakes of the memory planner show
//! as well.
//!
//! Kernels are first resolved (slots instead of ids, `code.rs`), then run.

mod code;
mod error;
mod execute;
mod memory;
mod tile;

use std::ops::ControlFlow;

use self::code::Code;
use self::execute::execute;
use self::memory::{Binding, Memory};
use super::verify::verify_kernel;
use super::{Arg, Buffer, Call, Kernel, Place, Program, Step};
use crate::tensor::Tensor;
use crate::types::DType;

pub use self::error::Error;
pub use self::execute::GridOrder;

/// A program made ready to run, any number of times.
pub struct Interpreter<'p> {
    program: &'p Program,
    kernels: Vec<Code>,
    homes: Homes,
    order: GridOrder,
}

/// Runs a program once: [`Interpreter::run`].
pub fn run(program: &Program, inputs: &[Tensor], state: &mut [Tensor]) -> Result<Vec<Tensor>, Error> {
    Interpreter::new(program)?.run(inputs, state)
}

/// Runs one kernel with each parameter that is not local on a tensor of its own, which must have the parameter's element type and
/// at least its number of elements.
pub fn run_kernel(kernel: &Kernel, tensors: &mut [Tensor]) -> Result<(), Error> {
    let args: Vec<Arg> = (0..tensors.len() as u32)
        .map(|i| Arg { buffer: super::BufferId(i), offset: 0, strides: Vec::new() })
        .collect();
    run_kernel_on(kernel, tensors, &args)
}

/// Runs one kernel with its parameters anywhere inside `tensors`: argument buffers are positions in `tensors`.
pub fn run_kernel_on(kernel: &Kernel, tensors: &mut [Tensor], args: &[Arg]) -> Result<(), Error> {
    verify_kernel(kernel).map_err(|e| Error::new(e.to_string()))?;
    if kernel.local_bytes() > MAX_MEMORY {
        return Err(Error::new("the kernel needs more than the 2^33 bytes that the interpreter allows"));
    }
    let code = Code::new(kernel)?;
    let mut memory = Memory::default();
    let mut buffers = Vec::with_capacity(tensors.len());
    for tensor in tensors.iter() {
        let home = memory.allocate(tensor.ty().bytes())?;
        memory.write_tensor(home, tensor);
        buffers.push((home, tensor.ty()));
    }
    let find = |arg: &Arg| buffers.get(arg.buffer.0 as usize).map(|(home, ty)| (*home, ty));
    let bindings = bind(&code, args, find, &[])?;
    execute(&code, bindings, &mut memory, GridOrder::Forward)?;
    for (tensor, (home, _)) in tensors.iter_mut().zip(&buffers) {
        memory.read_tensor(*home, tensor)?;
    }
    Ok(())
}

/// Bytes that a program may use here; more is a mistake, or nothing for an interpreter.
const MAX_MEMORY: usize = 1 << 33;

/// Where buffers lie: (space of [`Memory`], first byte), and how many bytes each space has.
struct Homes {
    buffers: Vec<memory::Home>,
    spaces: Vec<usize>,
}

impl Homes {
    /// Planned arena and prepared buffers share a space; every other buffer has its own.
    fn new(program: &Program) -> Result<Homes, Error> {
        let mut spaces = vec![program.arena_bytes, program.prepared_bytes];
        let mut buffers = Vec::with_capacity(program.buffers.len());
        for (id, buffer) in program.buffers.iter().enumerate() {
            buffer.ty.check_size().map_err(|e| Error::new(format!("buffer %{id}: {e}")))?;
            let (shared, offset) = match buffer.place {
                Place::Arena(offset) if program.arena_bytes > 0 => (Some(0), offset),
                Place::Prepared(offset) if program.prepared_bytes > 0 => (Some(1), offset),
                _ => (None, None),
            };
            let Some(space) = shared else {
                spaces.push(buffer.ty.bytes());
                buffers.push(memory::Home { space: spaces.len() - 1, start: 0 });
                continue;
            };
            let size = spaces[space];
            match offset {
                Some(start) if start.checked_add(buffer.ty.bytes()).is_some_and(|end| end <= size) => {
                    buffers.push(memory::Home { space, start });
                }
                _ => {
                    return Err(Error::new(format!(
                        "buffer %{id} \"{}\" of {} bytes is at {offset:?} of {size} planned bytes",
                        buffer.name,
                        buffer.ty.bytes()
                    )));
                }
            }
        }
        match spaces.iter().try_fold(program.local_bytes(), |sum, &size| sum.checked_add(size)) {
            Some(bytes) if bytes <= MAX_MEMORY => Ok(Homes { buffers, spaces }),
            _ => Err(Error::new("the program needs more than the 2^33 bytes that the interpreter allows")),
        }
    }
}

impl<'p> Interpreter<'p> {
    /// Verifies and resolves all kernels. The schedule is not verified: what it does wrong shows when it runs.
    pub fn new(program: &'p Program) -> Result<Interpreter<'p>, Error> {
        let ready = |kernel: &Kernel| {
            verify_kernel(kernel).map_err(|e| Error::new(e.to_string()))?;
            Code::new(kernel)
        };
        let kernels = program.kernels.iter().map(ready).collect::<Result<_, _>>()?;
        Ok(Interpreter { program, kernels, homes: Homes::new(program)?, order: GridOrder::Forward })
    }

    /// With another order of grid points.
    pub fn with_order(self, order: GridOrder) -> Interpreter<'p> {
        Interpreter { order, ..self }
    }

    /// Runs `prepare`, then the schedule. Tensors are in the order of the buffers with that place: `inputs` of the
    /// inputs, `state` of all state (changed in place where it is updated, untouched on error), the result of the
    /// outputs, whose NaNs have one form.
    pub fn run(&self, inputs: &[Tensor], state: &mut [Tensor]) -> Result<Vec<Tensor>, Error> {
        let mut memory = Memory::new(&self.homes.spaces)?;
        self.fill(&mut memory, inputs, state)?;
        let prepared = self.steps(&self.program.prepare, &mut Vec::new(), &mut memory);
        outermost(prepared).map_err(|e| e.within("while preparing"))?;
        memory.forget(0);
        outermost(self.steps(&self.program.schedule, &mut Vec::new(), &mut memory))?;

        let mut updated: Vec<Tensor> = Vec::new();
        let mut outputs = Vec::new();
        for (buffer, home) in self.program.buffers.iter().zip(&self.homes.buffers) {
            let target = match buffer.place {
                Place::Output => &mut outputs,
                Place::State { .. } => &mut updated,
                _ => continue,
            };
            let mut tensor = Tensor::try_zeros(&buffer.ty).map_err(Error::new)?;
            memory.read_tensor(*home, &mut tensor).map_err(|e| e.within(quoted(buffer)))?;
            target.push(if matches!(buffer.place, Place::Output) { tensor.with_one_nan() } else { tensor });
        }
        for (old, new) in state.iter_mut().zip(updated) {
            *old = new;
        }
        Ok(outputs)
    }

    /// Copies inputs, state and constants to their places.
    fn fill(&self, memory: &mut Memory, inputs: &[Tensor], state: &[Tensor]) -> Result<(), Error> {
        let (mut next_input, mut next_state) = (inputs.iter(), state.iter());
        for (buffer, home) in self.program.buffers.iter().zip(&self.homes.buffers) {
            let tensor = match &buffer.place {
                Place::Input { .. } => next_input.next(),
                Place::State { .. } => next_state.next(),
                Place::Constant(tensor) => Some(tensor),
                Place::Output | Place::Prepared(_) | Place::Arena(_) => continue,
            };
            let Some(tensor) = tensor else {
                return Err(Error::new(format!("no tensor is given for {}", quoted(buffer))));
            };
            if tensor.ty() != buffer.ty {
                return Err(Error::new(format!(
                    "{} is {}, but a tensor of type {} is given",
                    quoted(buffer),
                    buffer.ty,
                    tensor.ty()
                )));
            }
            if let Place::Input { range: Some((low, high)) } = buffer.place {
                let outside = |&i: &usize| !(low..=high).contains(&tensor.get(i).to_i64());
                if let Some(i) = (0..tensor.elements()).find(outside) {
                    return Err(Error::new(format!(
                        "{} must lie in {low}..={high}, but element {i} is {}",
                        quoted(buffer),
                        tensor.get(i).to_i64()
                    )));
                }
            }
            memory.write_tensor(*home, tensor);
        }
        let left = (next_input.count(), next_state.count());
        if left != (0, 0) {
            return Err(Error::new(format!(
                "{} inputs and {} state tensors too many are given",
                left.0, left.1
            )));
        }
        Ok(())
    }

    /// Runs steps inside schedule loops whose iteration numbers are `at`; whether the innermost loop goes on.
    fn steps(
        &self,
        steps: &[Step],
        at: &mut Vec<usize>,
        memory: &mut Memory,
    ) -> Result<ControlFlow<()>, Error> {
        for (i, step) in steps.iter().enumerate() {
            let place = |e: Error| e.within(format_args!("step {i}"));
            match step {
                Step::Call(call) => self
                    .call(call, at, memory)
                    .map_err(|e| e.within(format_args!("call {i} ({})", call.origin)))?,
                Step::Loop { extent, body } => {
                    for t in 0..*extent {
                        at.push(t);
                        let flow = self.steps(body, at, memory);
                        at.pop();
                        if flow.map_err(|e| e.within(format_args!("step {i}, iteration {t}")))?.is_break() {
                            break;
                        }
                    }
                }
                Step::Break { unless } => {
                    if !self.condition(unless, at, memory).map_err(place)? {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                Step::If { condition, then, otherwise } => {
                    let chosen = self.condition(condition, at, memory).map_err(place)?;
                    let steps = if chosen { then } else { otherwise };
                    if self.steps(steps, at, memory).map_err(place)?.is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The `bool` at a place.
    fn condition(&self, arg: &Arg, at: &[usize], memory: &Memory) -> Result<bool, Error> {
        let param = super::Param { dtype: DType::Bool, len: 1, access: super::Access::Read };
        let Binding { space, start } = self.binding(arg, &param, at).map_err(|e| e.within("a condition"))?;
        match memory::decode(DType::Bool, memory.bytes(space, start)) {
            Some(value) => Ok(value.to_bool()),
            None => Err(Error::new("a condition was never written")),
        }
    }

    fn binding(&self, arg: &Arg, param: &super::Param, at: &[usize]) -> Result<Binding, Error> {
        let id = arg.buffer.0 as usize;
        let buffer = self.program.buffers.get(id).map(|buffer| (self.homes.buffers[id], &buffer.ty));
        bind_one(arg, param, buffer, at)
    }

    fn call(&self, call: &Call, at: &[usize], memory: &mut Memory) -> Result<(), Error> {
        let code = self
            .kernels
            .get(call.kernel.0 as usize)
            .ok_or_else(|| Error::new(format!("no kernel has number {}", call.kernel.0)))?;
        let find = |arg: &Arg| {
            let id = arg.buffer.0 as usize;
            Some((*self.homes.buffers.get(id)?, &self.program.buffers[id].ty))
        };
        let bindings = bind(code, &call.args, find, at)?;
        execute(code, bindings, memory, self.order)
    }
}

/// An error if a `break` was met that is in no loop.
fn outermost(flow: Result<ControlFlow<()>, Error>) -> Result<(), Error> {
    if flow?.is_break() { Err(Error::new("a `break` is in no loop")) } else { Ok(()) }
}

fn quoted(buffer: &Buffer) -> String {
    format!("buffer \"{}\"", buffer.name)
}

/// The bytes that each parameter stands for, checked against the argument's buffer.
fn bind<'b>(
    code: &Code,
    args: &[Arg],
    find: impl Fn(&Arg) -> Option<(memory::Home, &'b crate::Type)>,
    at: &[usize],
) -> Result<Vec<Binding>, Error> {
    let place = |e: Error| e.within(format_args!("kernel @{}", code.name));
    if args.len() != code.arguments {
        let message = format!("{} parameters, but {} arguments", code.arguments, args.len());
        return Err(place(Error::new(message)));
    }
    let one = |(i, (arg, param)): (usize, (&Arg, &super::Param))| {
        bind_one(arg, param, find(arg), at).map_err(|e| e.within(format_args!("p{i}")))
    };
    args.iter().zip(&code.params).enumerate().map(one).collect::<Result<_, _>>().map_err(place)
}

/// The bytes that a parameter stands for when it is given `arg`, a place in that buffer.
fn bind_one(
    arg: &Arg,
    param: &super::Param,
    buffer: Option<(memory::Home, &crate::Type)>,
    at: &[usize],
) -> Result<Binding, Error> {
    let (home, ty) =
        buffer.ok_or_else(|| Error::new(format!("is given buffer %{}, which is not there", arg.buffer.0)))?;
    if ty.dtype != param.dtype {
        return Err(Error::new(format!("is {}, but its argument is {ty}", param.dtype)));
    }
    let start = arg
        .strides
        .iter()
        .zip(at)
        .try_fold(arg.offset as i64, |sum, (stride, &t)| sum.checked_add(stride.checked_mul(t as i64)?));
    let start = start.and_then(|s| usize::try_from(s).ok());
    match start {
        Some(start) if start.checked_add(param.len).is_some_and(|end| end <= ty.elements()) => {
            Ok(Binding { space: home.space, start: home.start + start * ty.dtype.size() })
        }
        _ => {
            Err(Error::new(format!("has {} elements from {start:?} on, but its argument is {ty}", param.len)))
        }
    }
}
