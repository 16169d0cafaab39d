//! The signatures of all layers, optimisers and functions, by which a model's file is read.

use super::{functions, init, layers, optimizers};
use crate::signature::Vocabulary;

/// The vocabulary of the language.
pub(crate) fn vocabulary() -> Vocabulary {
    Vocabulary {
        layers: layers::signatures().collect(),
        optimizers: optimizers::signatures().collect(),
        init: init::INIT,
        functions: functions::signatures().collect(),
    }
}
