//! The words of the model language as lists: what can be called, what each call takes, and what else has a name.
//!
//! These are the lists that the language itself is read by, and the only ones there are. Documentation, editors' schema,
//! tests and fuzzers go over them, so that what is new is in them by itself, and a table that lacks a row fails.

use crate::arguments::{Kind as ArgumentKind, Rule, Signature, Words};
use crate::expr::{Binary, Unary};
use crate::model::entries::EntryWord;
use crate::model::steps::StepWord;
use crate::{build, init, optimizers};

/// What something that can be called is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A layer.
    Layer,
    /// A function of expressions, losses and metrics among them.
    Function,
    /// An optimiser.
    Optimizer,
    /// A schedule of learning rates.
    Schedule,
    /// An initialiser.
    Initializer,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 5] =
        [Kind::Layer, Kind::Function, Kind::Optimizer, Kind::Schedule, Kind::Initializer];

    fn signatures(self) -> Vec<&'static Signature> {
        match self {
            Kind::Layer => crate::layers::signatures().collect(),
            Kind::Function => build::functions::signatures().collect(),
            Kind::Optimizer => optimizers::signatures().collect(),
            Kind::Schedule => optimizers::schedule::SCHEDULES.iter().collect(),
            Kind::Initializer => init::INITS.iter().collect(),
        }
    }

    /// What is of this kind, in the language's own order.
    pub fn callables(self) -> Vec<Callable> {
        self.signatures().into_iter().map(|signature| callable(self, signature)).collect()
    }
}

/// Something that can be called, with what it takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Callable {
    /// What it is.
    pub kind: Kind,
    /// Its name in a model.
    pub name: &'static str,
    /// What it takes; unnamed arguments are taken in this order.
    pub arguments: Vec<Argument>,
}

impl Callable {
    /// The argument of that name.
    pub fn argument(&self, name: &str) -> Option<&Argument> {
        self.arguments.iter().find(|argument| argument.name == name)
    }
}

/// An argument of a [`Callable`].
#[derive(Clone, Debug, PartialEq)]
pub struct Argument {
    /// Its name in a call.
    pub name: &'static str,
    /// Whether it must be given.
    pub required: bool,
    /// What may be given.
    pub takes: Takes,
}

impl Argument {
    /// The words that may be given; none where it takes other values only.
    pub fn words(&self) -> &'static [&'static str] {
        match self.takes {
            Takes::Words(words) => words,
            _ => &[],
        }
    }
}

/// What an argument takes: a value, or an expression for one.
#[derive(Clone, Debug, PartialEq)]
pub enum Takes {
    /// Any value that the call makes something of: numbers, lists, tensors.
    Values,
    /// A whole number from 1 on.
    Size,
    /// A number from the first to the second, both included.
    Within(f64, f64),
    /// True or false.
    Flag,
    /// One of these words, or another value.
    Words(&'static [&'static str]),
    /// A call of one of these names, or another value.
    Calls(Vec<&'static str>),
}

/// All that can be called.
pub fn callables() -> Vec<Callable> {
    Kind::ALL.into_iter().flat_map(Kind::callables).collect()
}

/// The layers.
pub fn layers() -> Vec<Callable> {
    Kind::Layer.callables()
}

/// The functions of expressions.
pub fn functions() -> Vec<Callable> {
    Kind::Function.callables()
}

/// The optimisers.
pub fn optimizers() -> Vec<Callable> {
    Kind::Optimizer.callables()
}

/// The schedules of learning rates.
pub fn schedules() -> Vec<Callable> {
    Kind::Schedule.callables()
}

/// The initialisers.
pub fn initializers() -> Vec<Callable> {
    Kind::Initializer.callables()
}

/// The names of the steps that are no layers, such as `Residual`.
pub fn steps() -> &'static [&'static str] {
    crate::model::steps::STEPS
}

/// Something that is written like a call and is part of the structure: a step that is no layer, or an entry point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Structure {
    /// Its name in a model.
    pub name: &'static str,
    /// Its fields, in the order of unnamed ones.
    pub fields: &'static [&'static str],
    /// Those that must be given.
    pub required: &'static [&'static str],
}

/// The steps that are no layers, such as `Residual`.
pub fn structures() -> Vec<Structure> {
    let of = |(word, name): (&StepWord, &&'static str)| {
        let (fields, required) = word.fields();
        Structure { name, fields, required }
    };
    // `Block` stands in `blocks`.
    let steps = StepWord::ALL.iter().zip(StepWord::NAMES).filter(|(word, _)| **word != StepWord::Block);
    steps.map(of).collect()
}

/// The kinds of entry points.
pub fn entries() -> Vec<Structure> {
    let of = |(word, name): (&EntryWord, &&'static str)| {
        let (fields, required) = word.fields();
        Structure { name, fields, required }
    };
    EntryWord::ALL.iter().zip(EntryWord::NAMES).map(of).collect()
}

/// The words that the layer `Activation` takes.
pub fn activations() -> &'static [&'static str] {
    crate::layers::activation::WORDS
}

/// The operators of expressions that stand between two operands, such as `+`.
pub fn operators() -> Vec<&'static str> {
    Binary::ALL.map(Binary::symbol).to_vec()
}

/// The operators of expressions that stand before their operand, such as `not`.
pub fn prefixes() -> Vec<&'static str> {
    Unary::ALL.map(Unary::symbol).to_vec()
}

fn callable(kind: Kind, signature: &'static Signature) -> Callable {
    let arguments = signature.parameters.iter().map(|parameter| Argument {
        name: parameter.name,
        required: parameter.required,
        takes: match (parameter.kind, parameter.rule) {
            (ArgumentKind::Word(words), _) => Takes::Words(words),
            (ArgumentKind::Call(calls), _) => Takes::Calls(calls.iter().map(|call| call.name).collect()),
            (ArgumentKind::Value, Rule::Any) => Takes::Values,
            (ArgumentKind::Value, Rule::Size) => Takes::Size,
            (ArgumentKind::Value, Rule::Within(bounds)) => {
                let (low, high) = bounds.ends();
                Takes::Within(low, high)
            }
            (ArgumentKind::Value, Rule::Flag) => Takes::Flag,
        },
    });
    Callable { kind, name: signature.name, arguments: arguments.collect() }
}
