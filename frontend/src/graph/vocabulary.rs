//! The signatures of all layers and optimisers, by which a model's file is read.

use super::{layers, optimizers};
use crate::signature::Vocabulary;

/// The vocabulary of the language.
pub(crate) fn vocabulary() -> Vocabulary {
    Vocabulary { layers: layers::signatures().collect(), optimizers: optimizers::signatures().collect() }
}
