//! What can be called in the language, as one list: for tools, and for tests that must not forget a row.

use crate::arguments::{Kind as ArgumentKind, Signature};
use crate::{build, init, layers, optimizers};

/// What something that can be called is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A function of expressions, losses and metrics among them.
    Function,
    /// A layer.
    Layer,
    /// An optimiser.
    Optimizer,
    /// A schedule of learning rates.
    Schedule,
    /// An initialiser.
    Initializer,
}

/// Something that can be called, with its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callable {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: &'static str,
    /// Its parameters, in the order of unnamed arguments.
    pub parameters: Vec<Parameter>,
}

/// A parameter of something that can be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Whether it must be given.
    pub required: bool,
    /// The words that it may be; empty where it takes none.
    pub words: &'static [&'static str],
}

/// All that can be called.
pub fn callables() -> Vec<Callable> {
    let lists: [(Kind, Vec<&'static Signature>); 5] = [
        (Kind::Function, build::functions::signatures().collect()),
        (Kind::Layer, layers::signatures().collect()),
        (Kind::Optimizer, optimizers::signatures().collect()),
        (Kind::Schedule, optimizers::schedule::SCHEDULES.iter().collect()),
        (Kind::Initializer, init::INITS.iter().collect()),
    ];
    let mut callables = Vec::new();
    for (kind, signatures) in lists {
        callables.extend(signatures.into_iter().map(|signature| callable(kind, signature)));
    }
    callables
}

fn callable(kind: Kind, signature: &'static Signature) -> Callable {
    let parameter = |parameter: &crate::arguments::Parameter| Parameter {
        name: parameter.name,
        required: parameter.required,
        words: match parameter.kind {
            ArgumentKind::Word(words) => words,
            ArgumentKind::Value | ArgumentKind::Call(_) => &[],
        },
    };
    Callable { kind, name: signature.name, parameters: signature.parameters.iter().map(parameter).collect() }
}
