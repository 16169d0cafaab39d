//! Transformations of graphs and kernel programs, one file each, in rooms in the order of the data; and the pipelines as lists.
//!
//! A graph goes through passes of [`graph`] and [`choose`], is grouped by [`fuse`], becomes a kernel program in [`lower`],
//! and goes through passes of [`program`]. All of them may ask [`facts`]. [`manager`] says what a pass is and runs them;
//! [`pipelines`] lists them. What each room may use is written down in the test of layers.

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
pub mod tuning;

pub use manager::{GraphPass, Kind, Manager, Pass, PassError, ProgramPass, Regions, Report, Stage};
pub use options::{Algorithms, Options, Precision};
pub use tuning::{Outer, ProductKind, Tuning, Tunings};
