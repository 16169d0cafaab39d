//! The functions that expressions can call: `cross_entropy(logits, label)`, `mean(x, axis=0)`.
//!
//! A function is a [`Signature`] and what it computes, side by side in one list of one file here, as layers are: everything else
//! is made of these lists. How one is added: copy the shortest entry of `FUNCTIONS` that resembles it, in the file of its
//! subject (a loss in `losses.rs`, a metric in `metrics.rs`), and its function if it is more than a line; then a row in
//! `tests/functions/rows` with PyTorch's form and the edges of its domain (a test fails until it is there). A new file is
//! listed in [`FUNCTIONS`] below.

mod attention;
mod chance;
mod classes;
mod creation;
mod derivatives;
mod elementwise;
mod function;
mod losses;
mod metrics;
mod numbers;
mod places;
mod reductions;
mod sequences;
mod shapes;
mod sorting;

use crate::signature::Signature;
use function::Function;

const FUNCTIONS: [&[Function]; 13] = [
    &numbers::FUNCTIONS,
    &elementwise::FUNCTIONS,
    &reductions::FUNCTIONS,
    &shapes::FUNCTIONS,
    &sequences::FUNCTIONS,
    &places::FUNCTIONS,
    &creation::FUNCTIONS,
    &sorting::FUNCTIONS,
    &chance::FUNCTIONS,
    &derivatives::FUNCTIONS,
    &attention::FUNCTIONS,
    &losses::FUNCTIONS,
    &metrics::FUNCTIONS,
];

/// The function of that name.
pub(crate) fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().copied().flatten().find(|function| function.signature.name == name)
}

/// All signatures.
pub(crate) fn signatures() -> impl Iterator<Item = &'static Signature> {
    FUNCTIONS.iter().copied().flatten().map(|function| &function.signature)
}

/// Whether the function of that name draws random numbers.
pub(crate) fn draws(name: &str) -> bool {
    chance::FUNCTIONS.iter().any(|function| function.signature.name == name)
}

/// All names.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    signatures().map(|signature| signature.name)
}
