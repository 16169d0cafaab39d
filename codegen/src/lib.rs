//! Machine code for a kernel program: portable and wide emitters, JIT and object back ends.
//!
//! The way through: every kernel becomes one function (`portable`, with leaf functions from `wide` where the
//! processor has wider vectors), and the schedule a static table of calls with a function that walks it; together they are
//! an `image`, in one piece without addresses. `artefacts` has what an image becomes: code in memory, an object file or a
//! shared library with a C header, the code of a container. The bits that a program computes depend neither on the emitter
//! nor on the processor.

mod artefacts;
#[cfg(all(feature = "emulate", target_arch = "x86_64"))]
pub mod emulate;
mod error;
mod image;
mod leaf;
mod limits;
mod portable;
mod target;
mod wide;

pub use artefacts::{
    Compiled, Listing, Object, ObjectRequest, StateTensor, check_symbol, compile, compile_all,
    compile_checked, compile_traced, container, emit_object, emit_shared, emit_static, listing,
};
pub use error::Error;
pub use image::{TracedCall, runtime_dtype};
pub use target::{Options, TargetCpu, TargetTriple, features};

/// Changes whenever the same program may compute other bits.
pub const NUMERICS_VERSION: u32 = 6;
