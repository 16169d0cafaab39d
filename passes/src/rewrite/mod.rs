//! The ways in which passes change things: replacing nodes, going into regions, sharing equal kernels.

pub(crate) mod digest;
pub(crate) mod regions;
pub(crate) mod rewriter;
