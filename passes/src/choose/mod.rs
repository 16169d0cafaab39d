//! Choices of how things are computed and stored: passes from graph to graph that pay on the machines at hand.

pub mod batch_norm;
pub mod images;
pub mod layout;
pub mod merge;
pub mod narrow;
pub mod prepare;
pub mod strassen;
pub mod winograd;
