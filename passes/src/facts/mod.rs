//! What is true of a graph or of a program. Facts are found, and nothing is changed; no pass is seen from here.

pub(crate) mod accesses;
pub mod batch;
pub(crate) mod constants;
pub(crate) mod cost;
pub(crate) mod definition;
pub(crate) mod fixed;
pub(crate) mod independence;
pub mod index_ranges;
pub(crate) mod liveness;
pub(crate) mod products;
pub(crate) mod storage;
pub(crate) mod table;
