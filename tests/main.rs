//! Tests of whole models and of the command: one binary, one module a subject.

mod bad_days;
mod batch;
mod bf16;
mod broken;
mod cli;
mod common;
mod control_flow;
mod data;
mod depth;
mod documents;
mod eval;
mod facade;
mod files;
mod functions;
#[cfg_attr(not(all(feature = "cli", unix)), allow(dead_code, reason = "`hostile` uses most of it"))]
#[path = "../fuzz/src/lib.rs"]
mod fuzz;
mod growth;
mod hostile;
mod joins;
mod kernels;
mod language;
mod memory;
mod metrics;
mod nan;
mod networks;
mod random_graphs;
mod references;
mod safe;
mod schedules;
mod schema;
mod short_memory;
mod snapshots;
mod spread;
mod stages;
mod state_alone;
mod streams;
mod sums;
mod termination;
mod tree;
mod tune;
mod updates;
mod views;
mod vocabularies;
mod winograd;
mod without_inputs;
