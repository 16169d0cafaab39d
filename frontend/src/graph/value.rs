//! Values of expressions and arguments, and reading them as what a layer or function needs.

use std::cell::Cell;

use crate::diagnostics::Diagnostic;
use crate::signature::{Bounds, Calls, LARGEST, Parameter, ParameterKind, Rule, Signature, Words};
use crate::source::{Source, Span, Spanned};
use std::sync::Arc;

use brolga_ir::Size;
use brolga_ir::size::MAX_SIZE;

/// A value of the graph being built.
pub(crate) type Tensor = brolga_ir::graph::Value;

/// The longest list in a table of layers, in bytes.
const LONGEST_SHOWN: usize = 16;

/// Padding before and after an axis.
pub(crate) type Padding = (Size, Size);

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

    /// A size from `low` to 2^40.
    pub fn as_size(&self, low: i64) -> Option<Size> {
        self.as_int().filter(|size| (low..=MAX_SIZE as i64).contains(size)).map(Size::from)
    }

    pub fn as_float(&self) -> Option<f64> {
        match self {
            Val::Int(value) => Some(*value as f64),
            Val::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// The number of values in it, itself and empty lists counted too; `None` if there are more than `most`.
    pub fn count(&self, most: usize) -> Option<usize> {
        match self {
            Val::List(items) => items.iter().try_fold(1, |sum: usize, item| {
                sum.checked_add(item.count(most)?).filter(|&sum| sum <= most.saturating_add(1))
            }),
            _ => Some(1),
        }
    }

    /// Whether it is a tensor, or a list that holds one, however deep.
    pub fn has_tensor(&self) -> bool {
        match self {
            Val::Tensor(_) => true,
            Val::List(items) => items.iter().any(Val::has_tensor),
            _ => false,
        }
    }

    /// Whether something in it is unknown.
    pub fn is_unknown(&self) -> bool {
        match self {
            Val::Unknown => true,
            Val::List(items) => items.iter().any(Val::is_unknown),
            Val::Call(_, args) => args.given.iter().any(|given| given.value.value.is_unknown()),
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
    /// The operator that does not take truth values, where they are what is wrong.
    pub no_truths: Option<&'static str>,
}

impl Fault {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), at: None, notes: Vec::new(), helps: Vec::new(), no_truths: None }
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

impl From<String> for Fault {
    fn from(message: String) -> Self {
        Fault::new(message)
    }
}

/// One evaluated argument.
#[derive(Clone, Debug)]
struct GivenArgument {
    name: &'static str,
    value: Spanned<Val>,
    /// Whether it was asked for.
    used: Cell<bool>,
}

/// Evaluated arguments of one call. Each remembers whether it was asked for: an argument that had no effect is a
/// mistake ([`Self::unused`]). So what is read decides: code reads an argument only where it matters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Args {
    given: Vec<GivenArgument>,
}

impl PartialEq for Args {
    fn eq(&self, other: &Args) -> bool {
        let pairs =
            |args: &Args| args.given.iter().map(|g| (g.name, g.value.value.clone())).collect::<Vec<_>>();
        pairs(self) == pairs(other)
    }
}

impl Args {
    /// Adds an argument.
    pub fn push(&mut self, name: &'static str, value: Spanned<Val>) {
        self.given.push(GivenArgument { name, value, used: Cell::new(false) });
    }

    /// Whether something was written for that name, be it `none`.
    pub fn is_written(&self, name: &str) -> bool {
        self.given.iter().any(|given| given.name == name)
    }

    /// `none` stands for an argument that is not given.
    fn find(&self, name: &str) -> Option<&GivenArgument> {
        self.given.iter().find(|given| given.name == name && given.value.value != Val::None)
    }

    /// The argument, if it is given; it counts as used from now on.
    pub fn get(&self, name: &str) -> Option<&Spanned<Val>> {
        let given = self.find(name)?;
        given.used.set(true);
        Some(&given.value)
    }

    /// Whether the argument is given; asking that does not use it.
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// The call as a table shows it: with the arguments that it needs, or the only one that it takes, and with words:
    /// `Activation(relu)`, `Dropout(0.1)`, `Conv2d(6, 5, padding: same)`. Others, like the padding of `Conv2d(6, 5, padding: 2)`,
    /// show in the shape of the result. Long lists are `[...]`.
    pub fn shown(&self, signature: &Signature) -> String {
        let mut shown = Vec::new();
        for parameter in signature.parameters {
            let plain = parameter.required || signature.parameters.len() == 1;
            match self.find(parameter.name).map(|given| &given.value.value) {
                Some(Val::Text(word)) if plain => shown.push(word.clone()),
                Some(Val::Text(word)) => shown.push(format!("{}: {word}", parameter.name)),
                Some(value @ (Val::Int(_) | Val::Float(_) | Val::Bool(_))) if plain => {
                    shown.push(value.describe());
                }
                Some(value @ Val::List(_)) if plain => {
                    let list = value.describe();
                    let fits = list.starts_with('[') && list.len() <= LONGEST_SHOWN;
                    shown.push(if fits { list } else { "[...]".to_owned() });
                }
                _ => {}
            }
        }
        let name = signature.name;
        if shown.is_empty() { name.to_owned() } else { format!("{name}({})", shown.join(", ")) }
    }

    /// A mistake for each argument that was given to `of` and never asked for.
    pub fn unused(&self, of: &str) -> Vec<Fault> {
        let mut faults = Vec::new();
        let of_list = self.given.iter().any(|x| x.name == "x" && matches!(x.value.value, Val::List(_)));
        for given in self.given.iter().filter(|given| given.value.value != Val::None) {
            match &given.value.value {
                _ if !given.used.get() => {
                    let message = format!("`{}` has no effect here", given.name);
                    let note = format!("`{of}` does not use it together with its other arguments");
                    let fault = Fault::new(message).at(given.value.span).note(note);
                    faults.push(match given.name {
                        "axis" | "keepdims" if of_list => {
                            fault.help("a list of numbers has no axes, but `stack([1, 2])` has one")
                        }
                        "nesterov" | "dampening" => fault.help("it needs `momentum`, as in `momentum: 0.9`"),
                        _ => fault,
                    });
                }
                Val::Call(signature, args) => faults.extend(args.unused(signature.name)),
                _ => {}
            }
        }
        faults
    }

    fn wrong<T>(name: &str, value: &Spanned<Val>, expected: &str) -> Built<T> {
        let message = format!("`{name}` must be {expected}, found {}", value.value.describe());
        Err(Fault::new(message).at(value.span))
    }

    fn missing<T>(name: &str) -> Built<T> {
        Err(Fault::new(format!("the argument `{name}` is missing")))
    }

    /// Whether the argument keeps its parameter's rule; checking does not use it.
    pub fn check(&self, parameter: &Parameter) -> Built<()> {
        let used = self.find(parameter.name).map(|given| (given, given.used.get()));
        let result = self.keeps_rule(parameter);
        if let Some((given, used)) = used {
            given.used.set(used);
        }
        result
    }

    fn keeps_rule(&self, parameter: &Parameter) -> Built<()> {
        let name = parameter.name;
        let Some(value) = self.find(name).map(|given| &given.value.value) else { return Ok(()) };
        match (parameter.rule, parameter.kind, value) {
            (_, _, Val::Call(..)) => Ok(()),
            (_, _, value) if value.is_unknown() => Ok(()),
            (Rule::Any, ParameterKind::Word(words), _) => self.position(name, words).map(|_| ()),
            (Rule::Any, ..) => Ok(()),
            (Rule::Size, ..) => self.size(name).map(|_| ()),
            (Rule::Sizes { axes, low }, ..) => self.sizes_or(name, axes, low, &[Size::ONE]).map(|_| ()),
            (Rule::Padding(_), ParameterKind::Word(words), Val::Text(_)) => {
                self.position(name, words).map(|_| ())
            }
            (Rule::Padding(axes), ..) => self.paddings(name, axes).map(|_| ()),
            (Rule::Int, ..) => self.int_or(name, 0).map(|_| ()),
            (Rule::Ints, ..) => self.ints(name).map(|_| ()),
            (Rule::Numbers, ..) => self.floats(name).map(|_| ()),
            (Rule::Ascending, ..) => self.ascending(name).map(|_| ()),
            (Rule::Within(bounds), ..) => self.bounded(name, 0.0, bounds).map(|_| ()),
            (Rule::Flag, ..) => self.bool_or(name, false).map(|_| ()),
        }
    }

    /// A size from 1 on.
    pub fn size(&self, name: &str) -> Built<Size> {
        match self.get(name) {
            None => Self::missing(name),
            Some(value) => match value.value.as_size(1) {
                Some(size) => Ok(size),
                _ => Self::wrong(name, value, "a whole number from 1 to 2^40"),
            },
        }
    }

    pub fn size_or(&self, name: &str, default: usize) -> Built<Size> {
        if self.has(name) { self.size(name) } else { Ok(Size::from(default)) }
    }

    /// A whole number, such as an axis or a bound, of any sign and size.
    pub fn int_or(&self, name: &str, default: i64) -> Built<Size> {
        match self.get(name) {
            None => Ok(Size::from(default)),
            Some(value) => match value.value.as_int() {
                Some(int) => Ok(Size::from(int)),
                _ => Self::wrong(name, value, "a whole number"),
            },
        }
    }

    /// A number; bounds of its own are in the signature.
    pub fn float_or(&self, name: &str, default: f64) -> Built<f64> {
        self.bounded(name, default, Bounds::ANY)
    }

    /// A number from `low` to `high`.
    pub fn float_in(&self, name: &str, default: f64, low: f64, high: f64) -> Built<f64> {
        self.bounded(name, default, Bounds::closed(low.max(-LARGEST), high.min(LARGEST)))
    }

    fn bounded(&self, name: &str, default: f64, bounds: Bounds) -> Built<f64> {
        let Some(value) = self.get(name) else { return Ok(default) };
        match value.value.as_float() {
            Some(float) if bounds.hold(float) => Ok(float),
            Some(float) if float.is_finite() => Self::wrong(name, value, &bounds.expected(float)),
            _ => Self::wrong(name, value, "a finite number"),
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

    /// One of the words of `W`.
    pub fn word<W: Words>(&self, name: &str, default: W) -> Built<W> {
        Ok(self.position(name, W::NAMES)?.map_or(default, |position| W::ALL[position]))
    }

    /// Which one of `words` is given.
    pub fn position(&self, name: &str, words: &[&str]) -> Built<Option<usize>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let text = match &value.value {
            Val::Text(text) => text.as_str(),
            _ => "",
        };
        match words.iter().position(|word| *word == text) {
            Some(position) => Ok(Some(position)),
            None => {
                let words: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
                Self::wrong(name, value, &format!("one of {}", words.join(", ")))
            }
        }
    }

    /// `n` sizes of at least `low`: one number for all axes, or a list with one for each.
    pub fn sizes_or(&self, name: &str, n: usize, low: i64, default: &[Size]) -> Built<Vec<Size>> {
        let Some(value) = self.get(name) else {
            return Ok(if default.len() == 1 { vec![default[0]; n] } else { default.to_vec() });
        };
        let size = |value: &Val| value.as_size(low);
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

    /// Padding before and after each of `n` axes: a number, one for each axis, or a list with `[before, after]` for each.
    pub fn paddings(&self, name: &str, n: usize) -> Built<Vec<Padding>> {
        let Some(value) = self.get(name) else { return Ok(vec![(Size::ZERO, Size::ZERO); n]) };
        let size = |value: &Val| value.as_size(0);
        let pair = |value: &Val| match value {
            Val::List(items) if items.len() == 2 => Some((size(&items[0])?, size(&items[1])?)),
            Val::List(_) => None,
            single => size(single).map(|size| (size, size)),
        };
        let pairs = match &value.value {
            Val::List(items) if items.len() == n => items.iter().map(pair).collect::<Option<Vec<_>>>(),
            Val::List(_) => None,
            single => pair(single).map(|pair| vec![pair; n]),
        };
        pairs.ok_or_else(|| {
            let message = format!(
                "`{name}` must be a whole number from 0 on, or a list of {n}, one for each axis; found {}",
                value.value.describe()
            );
            Fault::new(message).at(value.span).help("unequal padding is written [[before, after], ...]")
        })
    }

    /// A list of whole numbers; a single number is a list of one.
    pub fn ints(&self, name: &str) -> Built<Option<Vec<Size>>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let int = |value: &Val| value.as_int().map(Size::from);
        let ints = match &value.value {
            Val::List(items) => items.iter().map(int).collect::<Option<Vec<_>>>(),
            single => int(single).map(|int| vec![int]),
        };
        match ints {
            Some(ints) => Ok(Some(ints)),
            None => Self::wrong(name, value, "a whole number or a list of whole numbers"),
        }
    }

    /// A list of numbers.
    pub fn floats(&self, name: &str) -> Built<Option<Vec<f64>>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = |item: &Val| item.as_float().filter(|&float| Bounds::ANY.hold(float));
        let floats = match &value.value {
            Val::List(items) => items.iter().map(number).collect::<Option<Vec<_>>>(),
            single => number(single).map(|float| vec![float]),
        };
        match floats {
            Some(floats) => Ok(Some(floats)),
            None => Self::wrong(name, value, &format!("a list of numbers up to {LARGEST:e}")),
        }
    }

    /// A list of numbers of updates, from 0 on, in ascending order; empty if none is given.
    pub fn ascending(&self, name: &str) -> Built<Vec<f64>> {
        let numbers = self.floats(name)?.unwrap_or_default();
        if numbers.is_sorted() && numbers.first().is_none_or(|&first| first >= 0.0) {
            return Ok(numbers);
        }
        Err(self.fault(name, format!("`{name}` must name numbers of updates from 0 on, in ascending order")))
    }

    pub fn text(&self, name: &str) -> Built<Option<&str>> {
        match self.get(name) {
            None => Ok(None),
            Some(Spanned { value: Val::Text(text), .. }) => Ok(Some(text)),
            Some(value) => Self::wrong(name, value, "a text such as 'name'"),
        }
    }

    /// A mistake in an argument, at its place if it is given.
    pub fn fault(&self, name: &str, message: impl Into<String>) -> Fault {
        let fault = Fault::new(message);
        match self.place(name) {
            Some(place) => fault.at(place),
            None => fault,
        }
    }

    /// The place of an argument, if it is given.
    pub fn place(&self, name: &str) -> Option<Span> {
        self.find(name).map(|given| given.value.span)
    }

    /// The call given for `name`, such as an initialiser; nothing if none is given, or a plain value.
    pub fn call<C: Calls>(&self, name: &str) -> Built<Option<(C, &Args)>> {
        match self.find(name).map(|given| &given.value) {
            Some(value @ Spanned { value: Val::Call(signature, args), .. }) => {
                self.get(name);
                match C::of(signature) {
                    Some(call) => Ok(Some((call, args))),
                    None => Self::wrong(name, value, "another call"),
                }
            }
            _ => Ok(None),
        }
    }
}

/// The numbers of sizes.
pub(crate) fn extents(sizes: &[Size]) -> Built<Vec<usize>> {
    Ok(sizes.iter().map(|size| size.get()).collect::<Result<_, _>>()?)
}
