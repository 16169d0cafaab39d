//! Machine code for a kernel program: portable and wide emitters, JIT and object back ends.
//!
//! The way through: every kernel becomes one function (`portable`, with leaf functions from `wide` where the
//! processor has wider vectors); the schedule becomes a static call table and a function that walks it
//! (`schedule`); together they are an `image`, which `link` makes one piece without addresses; `jit` puts it into memory,
//! `object` into an object file (or `shared` into a shared library), for which `header` writes a C header, and `container`
//! into a file that is opened without a compiler. An object may have several images, among which `choice` chooses.
//! The bits that a program computes do not depend on the emitter.

mod archive;
mod choice;
mod container;
mod emitter;
#[cfg(all(feature = "emulate", target_arch = "x86_64"))]
pub mod emulate;
mod error;
mod header;
mod image;
mod jit;
mod layout;
mod link;
mod listing;
mod object;
mod portable;
mod schedule;
mod shared;
mod state_block;
mod target;
mod text;
mod wide;

pub use container::container;
pub use error::Error;
pub use header::check_symbol;
pub use jit::{Compiled, compile, compile_all, compile_checked, compile_traced};
pub use listing::{Listing, listing};
pub use object::{Object, emit_object, emit_shared};
pub use schedule::TracedCall;
pub use state_block::StateTensor;
pub use target::{Options, TargetCpu, TargetTriple, features};

/// Changes whenever the same program may compute other bits.
pub const NUMERICS_VERSION: u32 = 6;
