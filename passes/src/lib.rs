//! Transformations of graphs and kernel programs, one file each, and the pipelines as lists.
//!
//! [`manager`] says what a pass is and runs them; [`pipelines`] lists them. Every other public module is one pass.

pub mod choose;
pub mod facts;
pub mod filetest;
pub mod fuse;
pub mod graph;
pub mod lower;
pub mod manager;
pub mod options;
pub mod pipelines;
pub mod program;
mod rewrite;
pub mod schedule;

pub use manager::{GraphPass, Kind, Manager, Pass, PassError, ProgramPass, Report, Stage};
pub use options::{Algorithms, Options, Precision};
pub use schedule::{Algorithm, Outer, Schedule, Schedules};
