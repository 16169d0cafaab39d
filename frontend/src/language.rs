//! The words of the model language as lists: what can be called, and what each call takes.
//!
//! Tools and tests go over these lists, so that what is new is in them by itself.

use crate::arguments::{Kind, Signature};
use crate::expr::Binary;

/// Something that can be called: a layer, function, optimiser, schedule or initialiser.
#[derive(Clone, Debug, PartialEq)]
pub struct Callable {
    /// Its name in a model.
    pub name: &'static str,
    /// What it takes; unnamed arguments are taken in this order.
    pub arguments: Vec<Argument>,
}

/// An argument of a [`Callable`].
#[derive(Clone, Debug, PartialEq)]
pub struct Argument {
    /// Its name in a call.
    pub name: &'static str,
    /// Whether it must be given.
    pub required: bool,
    /// What may be given beside values and expressions.
    pub takes: Takes,
}

/// What an argument takes.
#[derive(Clone, Debug, PartialEq)]
pub enum Takes {
    /// Values and expressions only.
    Values,
    /// One of these words too.
    Words(&'static [&'static str]),
    /// Calls of these names too.
    Calls(Vec<&'static str>),
}

/// The layers.
pub fn layers() -> Vec<Callable> {
    crate::layers::signatures().map(callable).collect()
}

/// The functions of expressions.
pub fn functions() -> Vec<Callable> {
    crate::build::functions::signatures().map(callable).collect()
}

/// The optimisers.
pub fn optimizers() -> Vec<Callable> {
    crate::optimizers::signatures().map(callable).collect()
}

/// The schedules of learning rates.
pub fn schedules() -> Vec<Callable> {
    crate::optimizers::schedule::SCHEDULES.iter().map(callable).collect()
}

/// The initialisers.
pub fn initializers() -> Vec<Callable> {
    crate::init::INITS.iter().map(callable).collect()
}

/// The names of the steps that are no layers, such as `Residual`.
pub fn steps() -> &'static [&'static str] {
    crate::model::steps::STEPS
}

/// The operators of expressions that stand between two operands, such as `+`.
pub fn operators() -> Vec<&'static str> {
    Binary::ALL.map(Binary::symbol).to_vec()
}

fn callable(signature: &Signature) -> Callable {
    let arguments = signature.parameters.iter().map(|parameter| Argument {
        name: parameter.name,
        required: parameter.required,
        takes: match parameter.kind {
            Kind::Value => Takes::Values,
            Kind::Word(words) => Takes::Words(words),
            Kind::Call(calls) => Takes::Calls(calls.iter().map(|call| call.name).collect()),
        },
    });
    Callable { name: signature.name, arguments: arguments.collect() }
}
