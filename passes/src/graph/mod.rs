//! Passes from graph to graph that are right for any machine.

pub mod accumulate;
pub mod clip;
pub mod cse;
pub mod dce;
pub mod fold;
pub mod grad;
pub mod pooling;
pub mod simplify;
pub(crate) mod windowed;
