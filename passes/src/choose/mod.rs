//! Choices of how things are computed and stored: what pays on the machines at hand.
//!
//! In comes a simplified graph; out comes the same one with channels elsewhere, products joined, weights narrower, or an
//! algorithm beside a node; or a second graph, of what is computed before the first call (`prepare`). Sees facts and the passes
//! of graphs, never how anything is lowered.

pub mod batch_norm;
pub mod images;
pub mod layout;
pub mod merge;
pub mod narrow;
pub mod prepare;
pub mod strassen;
pub mod winograd;
