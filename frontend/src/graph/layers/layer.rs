//! What a layer is, and what most of them ask of their input.

use crate::graph::builder::Builder;
use crate::graph::value::{Args, Built, Fault, Tensor};
use crate::signature::Signature;

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

/// The input of a layer that has one.
pub(super) fn input(input: Option<Tensor>) -> Built {
    input.ok_or_else(|| Fault::new("there is no input"))
}

/// An error unless the input has `rank` axes.
pub(super) fn expect_rank(builder: &mut Builder, x: Tensor, rank: usize, form: &str) -> Built<Vec<usize>> {
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
