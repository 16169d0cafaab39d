//! What several tests share.

pub mod compiled;
pub mod documents;
pub mod generate;
pub mod growing;
pub mod layers;
pub mod lcg;
pub mod machine;
pub mod reference;
pub mod snapshot;
pub mod time;

use brolga::{Model, Settings};
use brolga_passes::Algorithms;

/// How many cases are tried: `BROLGA_CASES`, or `few`.
pub fn cases(few: u64) -> u64 {
    std::env::var("BROLGA_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(few)
}

/// Every algorithm wherever it applies, however small the product; Winograd's with tiles of so many outputs.
pub fn everywhere(tile: usize) -> Algorithms {
    Algorithms { cost: 0, tile: Some(tile), ..Algorithms::default() }
}

/// A model that comes along, for a batch of this size; one without a batch as it is.
pub fn load(name: &str, batch: usize) -> Model {
    let load = |settings: &Settings| Model::load(name, settings).unwrap_or_else(|e| panic!("{name}: {e}"));
    let model = load(&Settings::default());
    match model.instance().dims().iter().any(|(name, _)| name == "batch") {
        true => load(&Settings::default().dim("batch", batch)),
        false => model,
    }
}
