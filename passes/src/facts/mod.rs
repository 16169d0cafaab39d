//! What is true of a graph or of a program. Facts are found, and nothing is changed; no pass is seen from here.

pub(crate) mod accesses;
pub mod batch;
pub(crate) mod constants;
pub(crate) mod fixed;
pub mod index_ranges;
pub(crate) mod liveness;
pub(crate) mod table;
