//! The layers of the model language. A layer is a [`Signature`] (its name and what it takes) and the function that builds it of
//! primitives, side by side in one list of one file here; everything else is made of these lists: the decoder's knowledge of
//! layers, documentation, editors' schema, and tests that fail where a row is missing.
//!
//! How a layer is added:
//!
//! 1. Find the file whose layers resemble it, and the shortest layer in it. Copy its entry in `LAYERS` and its function.
//!    *An activation* is one line in the table `activations!` of `activation.rs`, and a function below it.
//! 2. Name its parameters, with bounds and defaults, by `signature.rs`. Its function reads each where it has an effect: one that
//!    was given and not read is reported to the user as unused.
//! 3. Weights are declared by `builder.parameter(name, dims, init)`, named and shaped as in PyTorch's `state_dict`. Formulas that
//!    several layers share are methods of [`Ops`](super::ops::Ops); those that are delicate at the edge of their domain are in
//!    `ops/stable.rs`.
//! 4. Add a row to `tests/functions/rows` with PyTorch's form and the edges of the domain (a test fails until it is there),
//!    and broken arguments to `frontend/tests/broken.rs`; `brolga language` writes `docs/language-reference.md` anew.
//!
//! A new file is listed in [`LAYERS`] below.

pub(crate) mod activation;
mod attention;
mod convolution;
mod data;
mod dense;
mod layer;
mod normalization;
mod pooling;
mod random;
mod recurrent;
mod shape;

pub(crate) use layer::Layer;

use crate::signature::Signature;

const LAYERS: [&[Layer]; 10] = [
    &dense::LAYERS,
    &attention::LAYERS,
    &convolution::LAYERS,
    &recurrent::LAYERS,
    &pooling::LAYERS,
    &normalization::LAYERS,
    activation::LAYERS,
    &shape::LAYERS,
    &random::LAYERS,
    &data::LAYERS,
];

/// The layer of that name.
pub(crate) fn find(name: &str) -> Option<&'static Layer> {
    LAYERS.iter().copied().flatten().find(|layer| layer.signature.name == name)
}

/// All signatures.
pub(crate) fn signatures() -> impl Iterator<Item = &'static Signature> {
    LAYERS.iter().copied().flatten().map(|layer| &layer.signature)
}
