//! What is true of a graph or of a program: found, and nothing is changed.
//!
//! In comes a graph, a value of it, or a kernel program; out come sets, tables, numbers, yes or no. Sees no pass, so that any
//! pass may ask.

pub(crate) mod accesses;
pub mod batch;
pub(crate) mod blocking;
pub(crate) mod blocks;
pub(crate) mod constants;
pub(crate) mod cost;
pub(crate) mod definition;
pub(crate) mod expansion;
pub(crate) mod fixed;
pub(crate) mod independence;
pub mod index_ranges;
pub(crate) mod liveness;
pub(crate) mod products;
pub(crate) mod table;
pub(crate) mod unrun;
pub(crate) mod windows;
