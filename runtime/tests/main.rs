//! The tests of `runtime`: one binary, one module a subject. What counts allocations of the process is a binary of its own.

mod checkpoints;
mod common;
mod container;
mod files;
mod kill;
mod plans;
mod quiet;
mod run;
mod threads;
mod train;
mod weights;
