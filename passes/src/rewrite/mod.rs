//! The ways in which passes change things: replacing nodes, going into regions, renaming what steps touch, kernels without
//! what nothing needs of them.
//!
//! In come a graph or a program, and a function that says what becomes of a node; out comes whether anything changed. Sees
//! facts.

pub(crate) mod interface;
pub(crate) mod kernels;
pub(crate) mod regions;
pub(crate) mod rewriter;
pub(crate) mod steps;
