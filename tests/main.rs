//! Tests of whole models and of the command: one binary, one module a subject.

mod batch;
mod bad_days;
mod bf16;
mod broken;
mod cli;
mod common;
mod control_flow;
mod depth;
mod eval;
mod facade;
mod kernels;
mod memory;
mod nan;
mod networks;
mod random_graphs;
mod references;
mod safe;
mod schedules;
mod snapshots;
mod stages;
mod streams;
mod tree;
mod tune;
mod updates;
mod views;
mod winograd;
