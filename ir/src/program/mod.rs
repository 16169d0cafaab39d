//! The kernel program: what a graph is lowered to, and what machine code is made from.
//!
//! A [`Program`] is buffers, kernels, and a schedule that calls kernels on buffers. A [`Kernel`] is an imperative
//! loop nest over typed buffers:
//!
//! ```text
//! program   = buffer* kernel* schedule
//! buffer    = name type panels? place             input, output, state, constant, prepared, arena
//! kernel    = name param* grid statement*         one parallel grid; every point is independent
//! param     = type access                         read, write, readwrite: given by calls; local: behind all others
//! statement = for var in 0..n { statement* }      serial loop
//!           | strip var in 0..n { statement* }    vectorised loop: iterations are independent but for accumulators
//!           | if value { statement* } else { statement* }
//!           | value = constant | index | op(value, …) | load param[index] [if value]
//!           | store param[index] = value
//!           | accumulator = combine lanes         declares an accumulator and sets it to its identity
//!           | accumulate accumulator value
//!           | value = finish accumulator          adds up the lanes by a fixed tree
//!           | tile                                batch-reduce matrix multiply
//! schedule  = step*
//! step      = call kernel(arg, …) parallel?     `parallel`: threads share the points of its grid
//!           | loop n { step* }                    n iterations at most
//!           | break unless arg                    leaves the innermost loop where the bool at arg is false
//!           | if arg { step* } else { step* }
//! ```
//!
//! A *local* parameter is memory of a grid point's own: calls pass nothing for it, and what is in it when the point
//! begins is undefined. Every thread has memory for it, not every point.
//!
//! What fixes the bits, and therefore holds for the interpreter and for every emitter alike:
//!
//! - Scalar operations are those of [`ScalarOp::apply`](crate::scalar::ScalarOp::apply); nothing is contracted, reordered or
//!   approximated.
//! - An accumulator has 1 or 32 lanes, which start at the identity of its operation. `accumulate` inside the strip
//!   over `var` does `lane = combine(lane, value)` for lane `var mod lanes` (lane 0 outside strips, and for an
//!   accumulator declared inside the strip, which belongs to one iteration). `finish` folds the lanes: for `half`
//!   in 16, 8, 4, 2, 1: `lane[i] = combine(lane[i], lane[i + half])` for `i < half`; the result is `lane[0]`. The accumulator itself
//!   stays as it is: it may be added to, and finished, again (a running sum).
//! - A NaN that is stored to an output takes one form there: positive, quiet, without payload
//!   ([`NAN_F32`](crate::scalar::NAN_F32)). Everywhere else its bits are whatever the processor makes of it.
//! - A tile computes, for each element of C, one chain of fused multiply-adds in the lexicographic order of its
//!   reduction loops, starting from +0 or from the element's old value.
//!
//! A program has a [text form](text), a [verifier](verify), and an exact [interpreter](interpret):
//!
//! ```
//! use brolga_ir::{Tensor, program::{Program, interpret, verify::verify}};
//!
//! let program = Program::parse(r#"
//! program @relu
//!   %0 input "x" f32[2, 3]
//!   %1 output "y" f32[2, 3]
//! kernel @relu(p0: read f32[6], p1: write f32[6]) grid [2] {
//!   v0 = constant 0.0 : f32
//!   strip i1 in 0..3 {
//!     v1 = load p0[3*i0 + i1] : f32
//!     v2 = max v1, v0 : f32
//!     store p1[3*i0 + i1] = v2
//!   }
//! }
//! schedule {
//!   call @relu#0(%0, %1)   // activation
//! }
//! "#)?;
//! verify(&program)?;
//! let x = Tensor::f32([2, 3], [-1.0, 2.0, -3.0, 4.0, 0.5, -0.5]);
//! let y = interpret::run(&program, &[x], &mut [])?;
//! assert_eq!(y, [Tensor::f32([2, 3], [0.0, 2.0, 0.0, 4.0, 0.5, 0.0])]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod digest;
pub mod footprint;
mod grammar;
pub mod interpret;
mod panels;
mod parse;
pub mod text;
pub mod verify;
pub mod walk;
pub mod work;

pub use grammar::{
    ALIGNMENT, AccId, Access, Arg, Buffer, BufferId, Call, Combine, Expr, Kernel, KernelId, MAX_NESTING,
    Panel, Param, Place, Program, Step, Stmt, Tile, TileLoop, ValueId,
};
pub use panels::Panels;
