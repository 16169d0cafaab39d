//! The portable emitter: a kernel as Cranelift IR, with 128-bit vectors.
//!
//! `KernelCx` walks the statements of one kernel. Loops become blocks with the loop variable as block parameter;
//! values become SSA values; a strip is emitted twice, four lanes at a time and then one by one for the tail, by
//! the same code: every value knows whether it is one scalar (equal in all lanes) or a vector.
//!
//! | file | what |
//! |---|---|
//! | `kernel.rs` | kernels, statements, loops, grids |
//! | `context.rs` | what is known while a kernel is emitted, and what emitters differ in |
//! | `address.rs` | index expressions and addresses |
//! | `memory.rs` | loads and stores, guarded ones too |
//! | `checked.rs` | the same of kernels that may reach outside |
//! | `lanes.rs` | what scalars are kept in, and the lanes of vectors |
//! | `operations.rs` | operations on scalars and on vectors |
//! | `convert.rs` | conversions between types |
//! | `bf16.rs` | weights of `bf16`, widened as they are loaded |
//! | `function.rs` | elementary functions |
//! | `remainder.rs` | remainders of floats |
//! | `strip.rs` | which strips become vectors, what is hoisted out of them |
//! | `reduce.rs` | accumulators |
//! | `tile.rs` | matrix tiles |

mod address;
mod bf16;
mod checked;
mod context;
mod convert;
mod function;
mod kernel;
mod lanes;
mod memory;
mod operations;
mod reduce;
mod remainder;
mod strip;
mod tile;

pub(crate) use context::{
    Acc, Checks, Emitter, KernelCx, KernelSource, LEAF_NAMESPACE, Portable, kernel_signature,
};
pub(crate) use kernel::kernel;
pub(crate) use lanes::has_lanes;
pub(crate) use tile::{merge_loops, split_rows};
