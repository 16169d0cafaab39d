//! Passes from program to program: where kernels write, what they share, what threads share, in which order they run, and where
//! their memory lies.
//!
//! `join` decides whether two kernels, loops over the same points, become one call; `share` which calls threads share.
//!
//! In comes a kernel program that was verified; out comes one of the same bits, and whether it changed. Sees facts and how things
//! are changed; none of them sees a graph.

pub mod forward;
pub mod join;
pub(crate) mod occupied;
pub mod order;
pub mod parallelise;
pub mod plan;
pub mod rematerialise;
pub(crate) mod separate;
pub(crate) mod share;
pub mod vectorise;
pub mod views;
