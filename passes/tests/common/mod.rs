//! What tests of passes have in common: random graphs and values, results, and their comparison.

#[path = "../../../tests/common/lcg.rs"]
pub mod lcg;

pub use brolga_ir::generate::random_graph;
pub use brolga_ir::random::Rng;
pub use brolga_passes::filetest::{compare, evaluate, parameters, tensor};
