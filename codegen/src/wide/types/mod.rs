//! What lane code, words, tiles, registers and operands are.
//!
//! | file | what |
//! |---|---|
//! | `machine.rs` | what AVX2 and AVX-512 differ in: vector registers, masks |
//! | `operands.rs` | what instructions work on |
//! | `operations.rs` | operations on vectors |
//! | `lane_code.rs` | lane code: operations in loops and strips, without registers |
//! | `words.rs` | the table of words that a leaf gets |
//! | `tile.rs`, `blocks.rs` | tiles, and how they are cut into blocks of registers |
//! | `epilogue.rs` | what is done to a tile's sums in their registers |

pub(crate) mod blocks;
pub(crate) mod epilogue;
pub(crate) mod lane_code;
pub(crate) mod machine;
pub(crate) mod operands;
pub(crate) mod operations;
pub(crate) mod tile;
pub(crate) mod words;
