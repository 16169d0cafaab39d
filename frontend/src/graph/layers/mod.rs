//! Layers: functions that build primitives.

pub(crate) mod activation;
mod attention;
mod convolution;
mod data;
mod dense;
mod normalization;
mod pooling;
mod random;
mod shape;

use super::Builder;
use super::value::{Args, Built, Fault, Tensor};
use crate::arguments::Signature;

/// A layer of the model language.
#[derive(Debug)]
pub(crate) struct Layer {
    pub signature: Signature,
    /// Names unnamed layers: `conv`, then `conv1`, `conv2`.
    pub label: &'static str,
    /// The layer makes its value of nothing: there is no input.
    pub source: bool,
    /// Builds the layer; the input is there unless `source`.
    pub build: fn(&mut Builder, Option<Tensor>, &Args) -> Built,
}

const LAYERS: [&[Layer]; 9] = [
    &dense::LAYERS,
    &attention::LAYERS,
    &convolution::LAYERS,
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

/// All names.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    signatures().map(|signature| signature.name)
}

/// The input of a layer that has one.
fn input(input: Option<Tensor>) -> Built {
    input.ok_or_else(|| Fault::new("there is no input"))
}

/// An error unless the input has `rank` axes.
fn expect_rank(builder: &mut Builder, x: Tensor, rank: usize, form: &str) -> Built<Vec<usize>> {
    let ty = builder.ops().ty(x);
    if ty.rank() != rank {
        return Err(Fault::new(format!("the input must be {form}, found {ty}")));
    }
    if !ty.dtype.is_float() {
        return Err(Fault::new(format!("the input must have floating-point elements, found {ty}"))
            .help("convert it with `Expr(\"float(it)\")`"));
    }
    Ok(ty.dims)
}
