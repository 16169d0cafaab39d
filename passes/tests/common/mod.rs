//! What tests of passes have in common: random graphs and values, results, and their comparison.

#[path = "../../../tests/common/lcg.rs"]
pub mod lcg;

use brolga_passes::Algorithms;

pub use brolga_ir::generate::random_graph;
pub use brolga_ir::random::Rng;
pub use brolga_passes::filetest::{compare, evaluate, parameters, tensor};

/// Every algorithm wherever it applies, however small the product; Winograd's with tiles of so many outputs.
pub fn everywhere(tile: usize) -> Algorithms {
    Algorithms { cost: 0, tile: Some(tile), ..Algorithms::default() }
}
