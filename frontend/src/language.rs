//! The words of the model language as lists: what can be called, what each call takes, and what else has a name.
//!
//! These are the lists that the language itself is read by, and the only ones there are. Documentation, editors' schema,
//! tests and fuzzers go over them, so that what is new is in them by itself, and a table that lacks a row fails.

use crate::diagnostics::Diagnostics;
use crate::expr::{Binary, Unary};
use crate::graph::{functions, init, layers, optimizers};
use crate::model::notation::{Value, ValueKind};
use crate::model::structure::{self, BodyWord, EntryWord, Structured};
use crate::signature::{ParameterKind, Rule, Signature, Words};
use crate::source::Source;

pub use crate::model::structure::{Field, Form, Structure};
pub use crate::signature::Constant;

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
            Kind::Layer => layers::signatures().collect(),
            Kind::Function => functions::signatures().collect(),
            Kind::Optimizer => optimizers::signatures().collect(),
            Kind::Schedule => optimizers::schedule::RATE_SCHEDULES.iter().collect(),
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
    /// What stands for it where it is not given; nothing where that depends on other things.
    pub default: Option<Constant>,
}

impl Argument {
    /// The words that may be given; none where it takes other values only.
    pub fn words(&self) -> &'static [&'static str] {
        match self.takes {
            Takes::Words(words) | Takes::Paddings { words, .. } => words,
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
    /// A whole number from `low` on, or a list with one for each of so many axes.
    Sizes {
        /// How many axes.
        axes: usize,
        /// The least of the numbers.
        low: i64,
    },
    /// A whole number from 0 on, a list with one for each of so many axes, or with `[before, after]`; or one of the words.
    Paddings {
        /// How many axes.
        axes: usize,
        /// What may stand for numbers, if anything.
        words: &'static [&'static str],
    },
    /// A whole number of any sign, such as an axis.
    Int,
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

/// Whether a function draws random numbers: what it gives differs from call to call and from run to run.
pub fn draws(name: &str) -> bool {
    functions::draws(name)
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
    BodyWord::NAMES
}

/// The steps that are no layers, such as `Residual`.
pub fn structures() -> Vec<Structure> {
    // `Block` stands in `blocks`.
    BodyWord::ALL.iter().filter(|word| **word != BodyWord::Block).map(|word| word.structure()).collect()
}

/// The kinds of entry points.
pub fn entries() -> Vec<Structure> {
    structure::structures::<EntryWord>()
}

/// A model file, and all that its fields hold, entry points among them, each once; without steps.
pub fn parts() -> Vec<Structure> {
    let mut found = Vec::new();
    add(structure::MODEL, &mut found);
    found
}

/// Adds a structure, and those that it holds.
fn add(structure: Structure, found: &mut Vec<Structure>) {
    if found.iter().all(|known| known.name != structure.name) {
        found.push(structure);
        structure.fields.iter().for_each(|field| visit(&field.holds, found));
    }
}

fn visit(form: &Form, found: &mut Vec<Structure>) {
    match form {
        Form::List(form) | Form::Map(form) => visit(form, found),
        Form::Any(forms) => forms.iter().for_each(|form| visit(form, found)),
        Form::OneOf(structures) => structures().into_iter().for_each(|structure| add(structure, found)),
        Form::Value | Form::Text | Form::Word(_) | Form::Flag | Form::Fraction | Form::Count(..) => {}
        Form::Body | Form::Step | Form::Optimizer | Form::Initializer => {}
    }
}

/// A text in the notation of models, as values.
#[derive(Clone, Debug, PartialEq)]
pub enum Tree {
    /// `true`
    Bool(bool),
    /// `5`
    Int(i64),
    /// `0.5`
    Float(f64),
    /// `"text"`
    Text(String),
    /// `[...]`
    List(Vec<Tree>),
    /// `{ key: value, ... }`
    Map(Vec<(Tree, Tree)>),
    /// `Name`, `Name(value, name: value, ...)`, or the same without a name.
    Call(Option<String>, Vec<(Option<String>, Tree)>),
}

/// Reads a model file as values, whatever they mean: for tools. `name` is shown in diagnostics.
///
/// # Errors
///
/// What is not in the notation.
pub fn tree(name: &str, text: &str) -> Result<Tree, Diagnostics> {
    Ok(plain(crate::model::notation::parse(&Source::new(name, text))?))
}

fn plain(value: Value) -> Tree {
    match value.kind {
        ValueKind::Bool(value) => Tree::Bool(value),
        ValueKind::Int(value) => Tree::Int(value),
        ValueKind::Float(value) => Tree::Float(value),
        ValueKind::Text(text) => Tree::Text(text.value),
        ValueKind::List(items) => Tree::List(items.into_iter().map(plain).collect()),
        ValueKind::Map(entries) => {
            Tree::Map(entries.into_iter().map(|(key, value)| (plain(key), plain(value))).collect())
        }
        ValueKind::Struct(name, fields) => {
            let fields = fields.into_iter().map(|(name, value)| (name.map(|name| name.value), plain(value)));
            Tree::Call(name.map(|name| name.value), fields.collect())
        }
    }
}

/// The words that the layer `Activation` takes.
pub fn activations() -> &'static [&'static str] {
    layers::activation::WORDS
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
        default: match (kind, parameter.name) {
            (Kind::Optimizer, "lr") => {
                optimizers::find(signature.name).and_then(|optimizer| optimizer.lr).map(Constant::Number)
            }
            _ => parameter.default,
        },
        takes: match (parameter.kind, parameter.rule) {
            (ParameterKind::Word(words), Rule::Padding(axes)) => Takes::Paddings { axes, words },
            (ParameterKind::Word(words), _) => Takes::Words(words),
            (ParameterKind::Call(calls), _) => Takes::Calls(calls.iter().map(|call| call.name).collect()),
            (ParameterKind::Value, Rule::Any | Rule::Ints | Rule::Numbers | Rule::Ascending) => Takes::Values,
            (ParameterKind::Value, Rule::Padding(axes)) => Takes::Paddings { axes, words: &[] },
            (ParameterKind::Value, Rule::Sizes { axes, low }) => Takes::Sizes { axes, low },
            (ParameterKind::Value, Rule::Int) => Takes::Int,
            (ParameterKind::Value, Rule::Size) => Takes::Size,
            (ParameterKind::Value, Rule::Within(bounds)) => {
                let (low, high) = bounds.ends();
                Takes::Within(low, high)
            }
            (ParameterKind::Value, Rule::Flag) => Takes::Flag,
        },
    });
    Callable { kind, name: signature.name, arguments: arguments.collect() }
}
