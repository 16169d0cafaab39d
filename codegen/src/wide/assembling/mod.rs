//! From lane code to the bytes of a leaf.
//!
//! | file | what |
//! |---|---|
//! | `allocate.rs` | registers for the values of lane code |
//! | `assemble.rs`, `strips.rs` | loops, strips, and what is in them |
//! | `assembler.rs` | what is known while a leaf is assembled; where values are |
//! | `addresses.rs`, `pool.rs` | where words of the table are, and what lies behind the code |
//! | `operate.rs` | operations on vectors |
//! | `loads.rs`, `stores.rs`, `columns.rs`, `partial.rs` | loads and stores: of a strip, of neighbouring columns, of a few lanes |
//! | `bf16.rs` | weights of `bf16`, widened as they are loaded |
//! | `tile/` | matrix tiles |
//! | `instructions.rs`, `encodings.rs` | instructions, and their encodings |

mod addresses;
mod allocate;
mod assemble;
mod assembler;
mod bf16;
mod columns;
mod encodings;
mod instructions;
mod loads;
mod operate;
mod partial;
mod pool;
mod stores;
mod strips;
mod tile;

pub(crate) use allocate::allocate;
pub(crate) use assemble::assemble;
#[cfg(any(test, feature = "emulate"))]
pub(crate) use instructions::Instructions;
