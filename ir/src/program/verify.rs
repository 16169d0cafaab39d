//! The verifier of kernel programs. What it accepts, the interpreter and every emitter must be able to run.
//!
//! Buffers
//! - have types of at most [`MAX_BYTES`](crate::types::MAX_BYTES); names of inputs, outputs and state are unique in
//!   their kind; a constant's tensor has the buffer's type; bounds of an input are ordered, and its elements integers.
//! - Panels are of prepared and arena buffers of one axis, and take all elements; their blocks have terms and columns.
//! - Where `arena_bytes` (`prepared_bytes`) is not 0, every arena (prepared) buffer has an offset, a multiple of
//!   [`ALIGNMENT`], and ends inside.
//!
//! Kernels ([`verify_kernel`])
//! - The grid's variables are `0..grid.len()`; a loop binds a variable that no loop around it binds. Loops and
//!   conditions nest at most [`MAX_NESTING`] deep; extents, and the number of grid points, are at most 2^40.
//! - A value is assigned once in the kernel, and used only behind its assignment in the same block or one inside.
//!   Its type follows from its expression: a constant's own, an integer for an index, [`ScalarOp::result`] for an
//!   operation, the parameter's for a load. Conditions and guards are `bool`. Values in indices are integers.
//! - A parameter that is only read is not stored to, and one that is only written is not loaded from. Local ones stand
//!   behind all others, take at most 2^40 bytes together, and in the order of the text are stored to first.
//! - An index stays inside its parameter. It is an error where the ranges of variables and values prove that some
//!   iteration leaves it (guarded and conditional accesses, and loops that never run, excepted); what is neither
//!   proven nor refuted is checked when the interpreter runs, and [`proven`] tells it apart. Quotients and remainders have
//!   positive divisors.
//! - Iterations of the grid and of strips are independent: the element that is stored (the C of a tile) depends on
//!   every variable of the grid and of the strip around it, but for extents of 1 and under conditions. Of the grid's,
//!   an element of a local parameter need not.
//! - A strip holds values, loads, stores, accumulators and serial loops only.
//! - An accumulator is declared once, has 1 or 32 lanes (1 inside a strip), and combines values of its type, which
//!   its operation allows. It is visible like a value. One that is declared outside a strip is finished outside it.
//! - A tile is of `f32` or `f64` like its parameters; C is another parameter than A and B, its rows do not overlap,
//!   and it is read as well unless chains start from +0; `b.row` is 0.
//!
//! Calls ([`verify`])
//! - name a kernel; arguments match parameters (but local ones) in number and type, and `len` elements from the argument's offset on
//!   lie inside the buffer, in every iteration of the loops around the call. Strides are not more than those loops.
//! - One that is parallel has a grid of several points. Nothing else is asked: the points of a grid do not depend on each other.
//! - The schedule writes outputs, arena and updated state only; `prepare` writes prepared and arena buffers only,
//!   and touches neither inputs nor outputs.
//! - What a call writes does not overlap what its other arguments read or write, unless the two begin at the same
//!   byte, have one element type, and one of them is only read, by no tile: an update in place.
//! - A call reads arena, prepared and output buffers only after a call has written to them, and an arena buffer only
//!   as long as no buffer at the same bytes has been written since: whichever branch of a condition was taken, and
//!   wherever a loop was left.
//! - The same holds for the condition of an `if` or `break`, one `bool`. A `break` is in a loop. Loops and conditions
//!   nest at most [`MAX_NESTING`] deep.

mod error;
mod independent;
mod kernel;
mod overlap;
mod schedule;

use std::collections::HashSet;

use super::{Arg, Buffer, Kernel, Panels, Place, Program};

pub use super::{ALIGNMENT, MAX_NESTING};
#[cfg(doc)]
use crate::scalar::ScalarOp;
pub use error::Error;

/// Checks a program: the first broken rule, in the order of buffers, kernels, `prepare`, schedule.
pub fn verify(program: &Program) -> Result<(), Error> {
    buffers(program)?;
    for (id, kernel) in program.kernels.iter().enumerate() {
        let _ = kernel::verify(kernel, &format!("kernel @{}#{id}", crate::lexer::name(&kernel.name)))?;
    }
    schedule::verify(program)
}

/// Checks a kernel by itself.
pub fn verify_kernel(kernel: &Kernel) -> Result<(), Error> {
    unproven_accesses(kernel).map(|_| ())
}

/// Checks a kernel by itself, and counts the accesses that are not proven to stay inside their parameters for every content
/// of memory.
pub fn unproven_accesses(kernel: &Kernel) -> Result<usize, Error> {
    kernel::verify(kernel, &format!("kernel @{}", crate::lexer::name(&kernel.name)))
}

/// Checks a program as [`verify`] does, and says of each kernel whether these are *proven*, for every content of memory:
///
/// - accesses stay inside their parameters;
/// - grid points, and iterations of strips, touch nothing that another one stores, in any call: so that they may run in
///   any order and together;
/// - nothing is read from local memory, which may hold what another point has left.
///
/// What is not proven may still be right: a guard or a clamp keeps an index inside, a quotient tells points apart. Such a
/// kernel gives the bits of the interpreter if it runs one iteration after the other, with every access checked.
pub fn proven(program: &Program) -> Result<Vec<bool>, Error> {
    verify(program)?;
    let alone = |kernel: &Kernel| {
        let local = kernel.arguments().len() < kernel.params.len();
        Ok(!local && kernel::verify(kernel, "")? == 0 && independent::verify(kernel))
    };
    let mut proven: Vec<bool> = program.kernels.iter().map(alone).collect::<Result<_, Error>>()?;
    for steps in [&program.prepare, &program.schedule] {
        overlap::refute(program, steps, &mut Vec::new(), &mut proven);
    }
    Ok(proven)
}

/// Checks that what a kernel would write does not overlap what its other arguments touch, inside loops of those
/// extents: the rule of calls that passes have to ask about.
pub fn verify_arguments(
    program: &Program,
    kernel: &Kernel,
    args: &[Arg],
    loops: &[usize],
) -> Result<(), String> {
    let pairs = args.iter().zip(kernel.arguments());
    let spans: Vec<_> = pairs.map(|(arg, param)| overlap::ByteSpan::new(program, arg, param.dtype)).collect();
    overlap::verify(kernel, &spans, loops)
}

fn buffers(program: &Program) -> Result<(), Error> {
    let mut names = HashSet::new();
    for (id, buffer) in program.buffers.iter().enumerate() {
        let error = |message: String| Error::new(format!("buffer %{id} \"{}\"", buffer.name), message);
        buffer.ty.check_size().map_err(error)?;
        let kind = std::mem::discriminant(&buffer.place);
        let named = matches!(buffer.place, Place::Input { .. } | Place::Output | Place::State { .. });
        if named && !names.insert((kind, &buffer.name)) {
            return Err(error("another buffer in the same place has this name".into()));
        }
        let planned = |offset: Option<usize>, size: usize| match offset {
            None if size == 0 => Ok(()),
            None => Err(error(format!("has no offset, but {size} bytes are planned"))),
            Some(offset) if offset % ALIGNMENT != 0 => {
                Err(error(format!("offset {offset} is not a multiple of {ALIGNMENT}")))
            }
            Some(offset) if offset.checked_add(buffer.ty.bytes()).is_none_or(|end| end > size) => Err(error(
                format!("{} bytes at {offset} do not lie in the {size} planned bytes", buffer.ty.bytes()),
            )),
            Some(_) => Ok(()),
        };
        if let Some(panels) = &buffer.panels {
            verify_panels(panels, buffer).map_err(error)?;
        }
        match &buffer.place {
            Place::Input { range: Some(_) } if !buffer.ty.dtype.is_int() => {
                return Err(error(format!("bounds are for integers, but elements are {}", buffer.ty.dtype)));
            }
            Place::Input { range: Some((low, high)) } if low > high => {
                return Err(error(format!("the bounds {low}..={high} hold no integer")));
            }
            Place::Constant(tensor) if tensor.ty() != buffer.ty => {
                return Err(error(format!(
                    "expected a constant of type {}, found {}",
                    buffer.ty,
                    tensor.ty()
                )));
            }
            Place::Prepared(offset) => planned(*offset, program.prepared_bytes)?,
            Place::Arena(offset) => planned(*offset, program.arena_bytes)?,
            _ => {}
        }
    }
    Ok(())
}

fn verify_panels(panels: &Panels, buffer: &Buffer) -> Result<(), String> {
    if !matches!(buffer.place, Place::Prepared(_) | Place::Arena(_)) {
        return Err("what is given or constant lies row-major, and has no panels".into());
    }
    if panels.terms == 0 || panels.columns == 0 {
        return Err(format!("blocks of panels need terms and columns, found {panels}"));
    }
    let (expected, ty) = (panels.elements(), &buffer.ty);
    if ty.dims == [expected] {
        return Ok(());
    }
    Err(format!("expected {}[{expected}], which these panels take, found {ty}", ty.dtype))
}
