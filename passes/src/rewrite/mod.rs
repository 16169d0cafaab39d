//! The ways in which passes change things: replacing nodes, going into regions, sharing equal kernels.

pub(crate) mod kernels;
pub(crate) mod regions;
pub(crate) mod rewriter;
pub(crate) mod steps;
