//! An image: the functions and tables of one or several programs, compiled, and linked to one piece without addresses.
//!
//! Each program is an entry of the image. Kernels, leaves and constants that are equal are there once.
//!
//! | file | what |
//! |---|---|
//! | `parts.rs` | what an image is made of, and from |
//! | `compile.rs` | from programs to an image |
//! | `kernels.rs` | the kernels of all programs, compiled in parallel |
//! | `compiler.rs` | from Cranelift IR to machine code |
//! | `calls.rs` | tables of calls, and the entry functions that have them walked |
//! | `placement.rs` | where buffers lie at run time, and the manifest |
//! | `link.rs` | one piece, in which everything refers to everything else by distance |

mod calls;
mod compile;
mod compiler;
mod kernels;
mod link;
mod parts;
mod placement;

pub use calls::TracedCall;
pub(crate) use link::resolved;
pub(crate) use parts::{Entry, Function, Image, Source, symbol_name, verified};
pub use placement::runtime_dtype;
