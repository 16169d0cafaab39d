//! Values of expressions and arguments, and reading them as what a layer or function needs.

use crate::arguments::{Parameter, Rule, Signature};
use crate::diagnostics::Diagnostic;
use crate::source::{Source, Span, Spanned};
use std::sync::Arc;

pub(crate) use super::ops::Tensor;

/// What an expression stands for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Val {
    /// The result of a mistake that has been reported; everything made of it is unknown too.
    Unknown,
    None,
    Int(i64),
    Float(f64),
    Bool(bool),
    Text(String),
    List(Vec<Val>),
    Tensor(Tensor),
    /// `Normal(std: 0.02)` and the like.
    Call(&'static Signature, Box<Args>),
}

impl Val {
    /// What this is, for "found ...".
    pub fn describe(&self) -> String {
        match self {
            Val::Unknown => "an unknown value".into(),
            Val::None => "none".into(),
            Val::Int(value) => value.to_string(),
            Val::Float(value) => format!("{value:?}"),
            Val::Bool(value) => value.to_string(),
            Val::Text(text) => format!("'{text}'"),
            Val::List(items) if items.len() <= 6 => {
                let items: Vec<String> = items.iter().map(Val::describe).collect();
                format!("[{}]", items.join(", "))
            }
            Val::List(items) => format!("a list of {} values", items.len()),
            Val::Tensor(_) => "a tensor".into(),
            Val::Call(signature, _) => format!("`{}`", signature.name),
        }
    }

    /// An integer, or a float with an integral value.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Val::Int(value) => Some(*value),
            Val::Float(value) if value.fract() == 0.0 && value.abs() < 9.0e15 => Some(*value as i64),
            _ => None,
        }
    }

    pub fn as_float(&self) -> Option<f64> {
        match self {
            Val::Int(value) => Some(*value as f64),
            Val::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// Whether something in it is unknown.
    pub fn is_unknown(&self) -> bool {
        match self {
            Val::Unknown => true,
            Val::List(items) => items.iter().any(Val::is_unknown),
            Val::Call(_, args) => args.values.iter().any(|(_, value)| value.value.is_unknown()),
            _ => false,
        }
    }
}

/// A mistake found while building; it becomes a diagnostic at the place of the call unless it has its own.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub message: String,
    pub at: Option<Span>,
    pub notes: Vec<String>,
    pub helps: Vec<String>,
}

impl Fault {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), at: None, notes: Vec::new(), helps: Vec::new() }
    }

    pub fn at(mut self, span: Span) -> Self {
        self.at = Some(span);
        self
    }

    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.helps.push(help.into());
        self
    }

    pub fn diagnostic(self, source: &Arc<Source>, span: Span) -> Diagnostic {
        let mut diagnostic = Diagnostic::new(source, self.at.unwrap_or(span), self.message);
        for note in self.notes {
            diagnostic = diagnostic.note(note);
        }
        for help in self.helps {
            diagnostic = diagnostic.help(help);
        }
        diagnostic
    }
}

pub(crate) type Built<T = Tensor> = Result<T, Fault>;

/// The largest size that a layer takes: sizes stay far from overflow.
pub(crate) const MAX_SIZE: i64 = 1 << 40;

/// Evaluated arguments of one call.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Args {
    pub values: Vec<(&'static str, Spanned<Val>)>,
}

impl Args {
    pub fn get(&self, name: &str) -> Option<&Spanned<Val>> {
        self.values
            .iter()
            .find(|(given, _)| *given == name)
            .map(|(_, value)| value)
            .filter(|value| value.value != Val::None)
    }

    /// Whether the argument is given.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    fn wrong<T>(name: &str, value: &Spanned<Val>, expected: &str) -> Built<T> {
        let message = format!("`{name}` must be {expected}, found {}", value.value.describe());
        Err(Fault::new(message).at(value.span))
    }

    fn missing<T>(name: &str) -> Built<T> {
        Err(Fault::new(format!("the argument `{name}` is missing")))
    }

    /// Whether the argument keeps its parameter's rule.
    pub fn check(&self, parameter: &Parameter) -> Built<()> {
        match parameter.rule {
            Rule::Any => Ok(()),
            Rule::Size if self.has(parameter.name) => self.size(parameter.name).map(|_| ()),
            Rule::Size => Ok(()),
            Rule::Within(low, high) => self.float_in(parameter.name, low, low, high).map(|_| ()),
            Rule::Flag => self.bool_or(parameter.name, false).map(|_| ()),
        }
    }

    /// A size from 1 on.
    pub fn size(&self, name: &str) -> Built<usize> {
        match self.get(name) {
            None => Self::missing(name),
            Some(value) => match value.value.as_int() {
                Some(size @ 1..=MAX_SIZE) => Ok(size as usize),
                _ => Self::wrong(name, value, "a whole number from 1 to 2^40"),
            },
        }
    }

    pub fn size_or(&self, name: &str, default: usize) -> Built<usize> {
        if self.has(name) { self.size(name) } else { Ok(default) }
    }

    pub fn int_or(&self, name: &str, default: i64) -> Built<i64> {
        match self.get(name) {
            None => Ok(default),
            Some(value) => match value.value.as_int() {
                Some(int) if int.abs() <= MAX_SIZE => Ok(int),
                _ => Self::wrong(name, value, "a whole number"),
            },
        }
    }

    pub fn float_or(&self, name: &str, default: f64) -> Built<f64> {
        match self.get(name) {
            None => Ok(default),
            Some(value) => match value.value.as_float() {
                Some(float) if float.is_finite() => Ok(float),
                _ => Self::wrong(name, value, "a finite number"),
            },
        }
    }

    /// A number within bounds.
    pub fn float_in(&self, name: &str, default: f64, low: f64, high: f64) -> Built<f64> {
        let float = self.float_or(name, default)?;
        match self.get(name) {
            Some(value) if !(low..=high).contains(&float) => {
                Self::wrong(name, value, &format!("a number from {low} to {high}"))
            }
            _ => Ok(float),
        }
    }

    pub fn bool_or(&self, name: &str, default: bool) -> Built<bool> {
        match self.get(name) {
            None => Ok(default),
            Some(value) => match value.value {
                Val::Bool(bool) => Ok(bool),
                _ => Self::wrong(name, value, "true or false"),
            },
        }
    }

    /// One of `words`.
    pub fn word_or<'w>(&self, name: &str, words: &[&'w str], default: &'w str) -> Built<&'w str> {
        match self.get(name) {
            None => Ok(default),
            Some(value) => {
                let text = match &value.value {
                    Val::Text(text) => text.as_str(),
                    _ => "",
                };
                match words.iter().find(|word| **word == text) {
                    Some(word) => Ok(word),
                    None => {
                        let words: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
                        Self::wrong(name, value, &format!("one of {}", words.join(", ")))
                    }
                }
            }
        }
    }

    /// `n` sizes of at least `low`: one number for all axes, or a list with one for each.
    pub fn sizes_or(&self, name: &str, n: usize, low: i64, default: &[usize]) -> Built<Vec<usize>> {
        let Some(value) = self.get(name) else {
            return Ok(if default.len() == 1 { vec![default[0]; n] } else { default.to_vec() });
        };
        let size = |value: &Val| match value.as_int() {
            Some(size) if (low..=MAX_SIZE).contains(&size) => Some(size as usize),
            _ => None,
        };
        let sizes = match &value.value {
            Val::List(items) if items.len() == n => items.iter().map(size).collect::<Option<Vec<_>>>(),
            Val::List(_) => None,
            single => size(single).map(|size| vec![size; n]),
        };
        match sizes {
            Some(sizes) => Ok(sizes),
            None if n == 1 => Self::wrong(name, value, &format!("a whole number from {low} on")),
            None => {
                Self::wrong(name, value, &format!("a whole number from {low} on, or a list of {n} of them"))
            }
        }
    }

    /// A list of whole numbers; a single number is a list of one.
    pub fn ints(&self, name: &str) -> Built<Option<Vec<i64>>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let ints = match &value.value {
            Val::List(items) => items.iter().map(Val::as_int).collect::<Option<Vec<_>>>(),
            single => single.as_int().map(|int| vec![int]),
        };
        match ints.filter(|ints| ints.iter().all(|int| int.abs() <= MAX_SIZE)) {
            Some(ints) => Ok(Some(ints)),
            None => Self::wrong(name, value, "a whole number or a list of whole numbers"),
        }
    }

    /// A list of numbers.
    pub fn floats(&self, name: &str) -> Built<Option<Vec<f64>>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let floats = match &value.value {
            Val::List(items) => items.iter().map(Val::as_float).collect::<Option<Vec<_>>>(),
            single => single.as_float().map(|float| vec![float]),
        };
        match floats {
            Some(floats) => Ok(Some(floats)),
            None => Self::wrong(name, value, "a list of numbers"),
        }
    }

    pub fn text(&self, name: &str) -> Built<Option<&str>> {
        match self.get(name) {
            None => Ok(None),
            Some(Spanned { value: Val::Text(text), .. }) => Ok(Some(text)),
            Some(value) => Self::wrong(name, value, "a text such as 'name'"),
        }
    }

    /// The tensor given for `name`.
    pub fn tensor(&self, name: &str) -> Built {
        match self.get(name) {
            None => Self::missing(name),
            Some(Spanned { value: Val::Tensor(tensor), .. }) => Ok(*tensor),
            Some(value) => Self::wrong(name, value, "a tensor"),
        }
    }

    /// The place of an argument, if it is given.
    pub fn place(&self, name: &str) -> Option<Span> {
        self.get(name).map(|value| value.span)
    }

    /// The call given for `name`, such as an initialiser.
    pub fn call(&self, name: &str) -> Option<(&'static str, &Args)> {
        match self.get(name) {
            Some(Spanned { value: Val::Call(signature, args), .. }) => Some((signature.name, args)),
            _ => None,
        }
    }
}
