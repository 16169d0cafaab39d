//! The wide emitter: leaf functions for x86-64 with AVX2 or AVX-512, assembled directly.
//!
//! A run of statements with strips or tiles in it, and all loops around them, becomes one leaf, as large as there
//! is code for; what there is none for (conditions, `f64`, …) is left to the portable emitter, statement by
//! statement. The bits are the same.
//!
//! Statements are written as *lane code*, a list of operations on vectors without registers (`writing`), and lane code is
//! assembled: values get registers, loops addresses that move, and operations instructions (`assembling`). Neither knows
//! the other; both know what lane code, words, tiles, registers and operands are (`types`). `nest.rs` is the way through both.

mod assembling;
mod nest;
mod types;
mod writing;

#[cfg(test)]
mod tests;

#[cfg(feature = "emulate")]
pub(crate) use assembling::Instructions;
pub(crate) use nest::Wide;
pub(crate) use types::machine::Machine;
#[cfg(feature = "emulate")]
pub(crate) use types::operands::registers;
