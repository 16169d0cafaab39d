//! Transformations of graphs and kernel programs, one file each, and the pipelines as lists.
//!
//! [`manager`] says what a pass is and runs them; [`pipelines`] lists them. Every other public module is one pass.

pub mod accumulate;
pub mod batch;
pub mod batch_norm;
pub mod clip;
pub mod cse;
pub mod dce;
pub mod filetest;
pub mod fold;
pub mod forward;
pub mod fuse;
pub mod grad;
pub mod images;
pub mod index_ranges;
pub mod join;
pub mod layout;
pub mod lower;
pub mod manager;
pub mod merge;
pub mod narrow;
pub mod order;
pub mod parallelise;
pub mod pipelines;
pub mod plan;
pub mod pooling;
pub mod prepare;
pub mod rematerialise;
pub mod schedule;
mod separate;
pub mod simplify;
pub mod strassen;
pub mod vectorise;
pub mod views;
pub mod winograd;

mod accesses;
mod constants;
mod digest;
mod fixed;
mod liveness;
mod occupied;
mod regions;
mod rewrite;
mod table;

pub use manager::{
    Algorithms, GraphPass, Kind, Manager, Options, Pass, PassError, Precision, ProgramPass, Report, Stage,
    Strassen, Winograd,
};
pub use schedule::{Algorithm, Outer, Schedule, Schedules};
