//! Passes from graph to graph that are right on any machine: derivatives, simplification, what is computed twice or by nobody,
//! windows that are longer than they must be.
//!
//! In comes a graph that was verified; out comes one of the same inputs and outputs, and whether it changed. Sees facts and how
//! things are changed, never how anything is lowered.

pub mod accumulate;
pub mod clip;
pub mod cse;
pub mod dce;
pub mod fold;
pub mod grad;
pub mod hoist;
pub mod pooling;
pub mod segment;
pub mod simplify;
pub mod tables;
pub mod time_batch;
pub(crate) mod windowed;
