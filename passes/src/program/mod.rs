//! Passes from program to program. None of them sees a graph, and none changes a bit.

pub mod forward;
pub mod join;
pub(crate) mod occupied;
pub mod order;
pub mod parallelise;
pub mod plan;
pub mod rematerialise;
pub(crate) mod separate;
pub mod vectorise;
pub mod views;
