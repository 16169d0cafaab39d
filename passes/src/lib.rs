//! Transformations of graphs and kernel programs, one file each, and the pipelines as lists.
//!
//! [`manager`] says what a pass is and runs them; [`pipelines`] lists them. Every other public module is one pass.

pub mod cse;
pub mod dce;
pub mod fold;
pub mod grad;
pub mod manager;
pub mod pipelines;
pub mod simplify;

mod constants;
mod regions;
mod rewrite;
mod table;

pub use manager::{GraphPass, Kind, Manager, Options, Pass, PassError, ProgramPass, Report, Stage};
