//! Arguments of layers, optimisers, initialisers and schedules: what each takes, and reading what is given.

use crate::diagnostics::Diagnostic;
use crate::expr::Expr;
use crate::model::file::Decoder;
use crate::model::notation::{Fields, Value};
use crate::source::{Span, Spanned};

/// What an argument may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// A number, a truth value, a list, or an expression for one.
    Value,
    /// One of a few words, or an expression for one or for another value.
    Word(&'static [&'static str]),
    /// A call such as `Normal(std: 0.02)`, or a number.
    Call(&'static [Signature]),
}

/// What can be said of a value before anything is built with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rule {
    Any,
    /// A whole number from 1 on.
    Size,
    /// A whole number from `low` on, or a list with one for each of so many axes.
    Sizes {
        axes: usize,
        low: i64,
    },
    /// Padding before and after each of so many axes, or one of the parameter's words.
    Padding(usize),
    /// A whole number of any sign.
    Int,
    /// Whole numbers: a list of them, or one.
    Ints,
    /// Numbers: a list of them, or one.
    Numbers,
    /// Numbers from 0 on, in ascending order.
    Ascending,
    /// A number within bounds.
    Within(Bounds),
    /// True or false.
    Flag,
}

/// The largest number that an argument may be: beyond it there is no f32.
pub(crate) const LARGEST: f64 = f32::MAX as f64;

/// The numbers from `low` to `high`, without the ends that are open.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bounds {
    low: f64,
    high: f64,
    open: (bool, bool),
}

impl Bounds {
    /// Any number.
    pub const ANY: Bounds = Bounds::closed(-LARGEST, LARGEST);
    /// A number from 0 on.
    pub const NOT_NEGATIVE: Bounds = Bounds::closed(0.0, LARGEST);
    /// A number above 0 that, and whose reciprocal, f32 has.
    pub const POSITIVE: Bounds = Bounds::closed(f32::MIN_POSITIVE as f64, LARGEST);
    /// A share, such as a probability.
    pub const UNIT: Bounds = Bounds::closed(0.0, 1.0);
    /// What a running average keeps: with 1 it would never begin.
    pub const BELOW_ONE: Bounds = Bounds { low: 0.0, high: 1.0, open: (false, true) };
    /// A factor that shrinks.
    pub const SHRINKING: Bounds = Bounds { low: 0.0, high: 1.0, open: (true, true) };
    /// A factor that grows.
    pub const GROWING: Bounds = Bounds { low: 1.0, high: LARGEST, open: (true, false) };
    /// A number of steps, or the width of a layer.
    pub const FROM_ONE: Bounds = Bounds::closed(1.0, LARGEST);

    /// Both ends belong to it.
    pub const fn closed(low: f64, high: f64) -> Bounds {
        Bounds { low, high, open: (false, false) }
    }

    /// The least and the largest of these.
    pub fn ends(&self) -> (f64, f64) {
        let low = if self.open.0 { self.low.next_up() } else { self.low };
        (low, if self.open.1 { self.high.next_down() } else { self.high })
    }

    /// Whether the number is one of these.
    pub fn hold(&self, number: f64) -> bool {
        (self.low..=self.high).contains(&number)
            && !(self.open.0 && number == self.low)
            && !(self.open.1 && number == self.high)
    }

    /// What is expected, for a number outside.
    pub fn expected(&self, number: f64) -> String {
        let end = |end: f64| match end as f32 {
            end if end.abs() < 1e6 && (end == 0.0 || end.abs() > 1e-6) => end.to_string(),
            end => format!("{end:e}"),
        };
        let (low, high) = (end(self.low), end(self.high));
        match self.open {
            _ if *self == Bounds::POSITIVE && number <= 0.0 => "a positive number".into(),
            (false, false) if self.high == LARGEST && number < self.low => format!("a number from {low} on"),
            (false, false) => format!("a number from {low} to {high}"),
            (false, true) => format!("a number from {low} to below {high}"),
            (true, _) if self.high == LARGEST && number <= self.low => format!("a number above {low}"),
            (true, false) => format!("a number above {low}, up to {high}"),
            (true, true) => format!("a number above {low} and below {high}"),
        }
    }
}

/// A value that stands for an argument where none is given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Constant {
    /// A number.
    Number(f64),
    /// A whole number.
    Int(i64),
    /// A truth value.
    Flag(bool),
    /// One of the words that the argument may be.
    Word(&'static str),
    /// A call without arguments.
    Call(&'static str),
}

impl Constant {
    /// As it is written in a model; words stand in such quotes.
    pub fn written(&self, quote: char) -> String {
        match self {
            Constant::Number(number) => format!("{number:?}"),
            Constant::Int(number) => number.to_string(),
            Constant::Flag(flag) => flag.to_string(),
            Constant::Word(word) => format!("{quote}{word}{quote}"),
            Constant::Call(name) => (*name).to_owned(),
        }
    }
}

/// One parameter of a layer or another callable.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Parameter {
    pub name: &'static str,
    pub kind: Kind,
    pub required: bool,
    pub rule: Rule,
    /// What it is where it is not given: what its reader takes then, which the tests compare. Nothing where that depends on
    /// other things, as the stride of a pool does on its kernel.
    pub default: Option<Constant>,
}

impl Parameter {
    /// With a number by default.
    pub const fn or(self, number: f64) -> Parameter {
        Parameter { default: Some(Constant::Number(number)), ..self }
    }

    /// With a whole number by default.
    pub const fn or_int(self, number: i64) -> Parameter {
        Parameter { default: Some(Constant::Int(number)), ..self }
    }

    /// With a word by default.
    pub const fn or_word(self, word: &'static str) -> Parameter {
        Parameter { default: Some(Constant::Word(word)), ..self }
    }

    /// With a call by default.
    pub const fn or_call(self, name: &'static str) -> Parameter {
        Parameter { default: Some(Constant::Call(name)), ..self }
    }
}

/// A parameter that must be given.
pub(crate) const fn required(name: &'static str) -> Parameter {
    Parameter { name, kind: Kind::Value, required: true, rule: Rule::Any, default: None }
}

/// A parameter that need not be given.
pub(crate) const fn optional(name: &'static str) -> Parameter {
    Parameter { name, kind: Kind::Value, required: false, rule: Rule::Any, default: None }
}

/// A size that must be given.
pub(crate) const fn size(name: &'static str) -> Parameter {
    ruled(name, Rule::Size, true)
}

/// A parameter whose values keep a rule.
pub(crate) const fn ruled(name: &'static str, rule: Rule, required: bool) -> Parameter {
    Parameter { name, kind: Kind::Value, required, rule, default: None }
}

/// Sizes along so many axes, from 1 on.
pub(crate) const fn sizes(name: &'static str, axes: usize, required: bool) -> Parameter {
    ruled(name, Rule::Sizes { axes, low: 1 }, required)
}

/// A whole number of any sign that need not be given, such as an axis.
pub(crate) const fn int(name: &'static str) -> Parameter {
    ruled(name, Rule::Int, false)
}

/// A number from `low` to `high` that need not be given.
pub(crate) const fn within(name: &'static str, low: f64, high: f64) -> Parameter {
    number(name, Bounds::closed(low, high))
}

/// A number within bounds that need not be given.
pub(crate) const fn number(name: &'static str, bounds: Bounds) -> Parameter {
    Parameter { name, kind: Kind::Value, required: false, rule: Rule::Within(bounds), default: None }
}

/// A number within bounds that must be given.
pub(crate) const fn required_number(name: &'static str, bounds: Bounds) -> Parameter {
    Parameter { required: true, ..number(name, bounds) }
}

/// A truth value, and what it is by default.
pub(crate) const fn flag(name: &'static str, default: bool) -> Parameter {
    let default = Some(Constant::Flag(default));
    Parameter { name, kind: Kind::Value, required: false, rule: Rule::Flag, default }
}

/// A parameter with a few possible words, those of `W`.
pub(crate) const fn word<W: Words>(name: &'static str, required: bool) -> Parameter {
    one_of(name, W::NAMES, required)
}

/// A parameter with a few possible words.
pub(crate) const fn one_of(name: &'static str, words: &'static [&'static str], required: bool) -> Parameter {
    Parameter { name, kind: Kind::Word(words), required, rule: Rule::Any, default: None }
}

/// A parameter that is one of a few callables, or a number within bounds.
pub(crate) const fn call(
    name: &'static str,
    calls: &'static [Signature],
    bounds: Bounds,
    required: bool,
) -> Parameter {
    Parameter { name, kind: Kind::Call(calls), required, rule: Rule::Within(bounds), default: None }
}

/// The words that an argument may be, as an enumeration: who reads one matches all of them. See [`words!`].
pub(crate) trait Words: Copy + 'static {
    /// How they are written.
    const NAMES: &'static [&'static str];
    /// The same words as values, in that order.
    const ALL: &'static [Self];

    /// How it is written.
    fn name(self) -> &'static str;
}

/// The word that is written so.
pub(crate) fn find<W: Words>(name: &str) -> Option<W> {
    W::NAMES.iter().position(|known| *known == name).map(|position| W::ALL[position])
}

/// Declares an enumeration of words: `words! { enum Kind { Max = "max", Average = "avg" } }`.
macro_rules! words {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis enum $name {
            $($variant),+
        }

        impl $crate::arguments::Words for $name {
            const NAMES: &'static [&'static str] = &[$($word),+];
            const ALL: &'static [Self] = &[$(Self::$variant),+];

            fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }
        }
    };
}
pub(crate) use words;

/// The calls that an argument may be, as an enumeration: who reads one matches all of them. See [`calls!`].
pub(crate) trait Calls: Copy + 'static {
    /// The call of that signature.
    fn of(signature: &Signature) -> Option<Self>;
}

/// Declares an enumeration of calls with their parameters, and the list of their signatures:
/// `calls! { enum Clip in CLIPS { ClipNorm: &[required("max")], ClipValue: &[required("max")] } }`.
macro_rules! calls {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident in $list:ident { $($variant:ident: $parameters:expr),+ $(,)? }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis enum $name {
            $($variant),+
        }

        /// The signatures, in the order of the enumeration.
        $vis static $list: [$crate::arguments::Signature; [$(stringify!($variant)),+].len()] = [
            $($crate::arguments::Signature { name: stringify!($variant), parameters: $parameters }),+
        ];

        impl $crate::arguments::Calls for $name {
            fn of(signature: &$crate::arguments::Signature) -> Option<Self> {
                match signature.name {
                    $(stringify!($variant) => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}
pub(crate) use calls;

/// A callable: its name and parameters. Unnamed arguments fill the parameters in this order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Signature {
    pub name: &'static str,
    pub parameters: &'static [Parameter],
}

/// One given argument.
#[derive(Clone, Debug)]
pub(crate) enum Argument {
    Expr(Expr),
    Word(&'static str),
    Call(&'static Signature, Arguments),
}

/// The arguments of one call, under the names of the parameters.
#[derive(Clone, Debug)]
pub(crate) struct Arguments {
    given: Vec<(&'static str, Spanned<Argument>)>,
    /// Nothing is missing or wrong in form; what is has been reported, and the rest is still checked.
    pub complete: bool,
}

impl Arguments {
    /// The argument for a parameter, if it was given.
    pub fn get(&self, name: &str) -> Option<&Spanned<Argument>> {
        self.given.iter().find(|(given, _)| *given == name).map(|(_, argument)| argument)
    }
}

/// Reads the arguments of a call of `signature`; reports what is wrong and keeps the rest.
pub(crate) fn read(decoder: &mut Decoder, signature: &Signature, fields: &[Field], span: Span) -> Arguments {
    let names: Vec<&'static str> = signature.parameters.iter().map(|parameter| parameter.name).collect();
    let required: Vec<&'static str> =
        signature.parameters.iter().filter(|parameter| parameter.required).map(|p| p.name).collect();
    let mut complete = true;
    let mut given = Vec::new();
    for (name, value) in match_fields(decoder, signature.name, &names, &required, fields, span, &mut complete)
    {
        let parameter = signature.parameters.iter().find(|parameter| parameter.name == name);
        match parameter.and_then(|parameter| argument(decoder, parameter, value)) {
            Some(argument) => given.push((name, Spanned::new(argument, value.span))),
            None => complete = false,
        }
    }
    Arguments { given, complete }
}

fn argument(decoder: &mut Decoder, parameter: &Parameter, value: &Value) -> Option<Argument> {
    use crate::model::notation::Kind as Syntax;
    match (parameter.kind, &value.kind) {
        (Kind::Word(words), Syntax::Text(text)) => {
            if let Some(word) = words.iter().find(|word| **word == text.value) {
                return Some(Argument::Word(word));
            }
            decoder.expression(value).map(Argument::Expr)
        }
        (Kind::Call(calls), Syntax::Struct(Some(name), fields)) if !value.is_none() => {
            let Some(signature) = calls.iter().find(|signature| signature.name == name.value) else {
                decoder.report(
                    Diagnostic::new(
                        &decoder.source,
                        name.span,
                        format!("`{}` cannot stand for `{}`", name.value, parameter.name),
                    )
                    .suggest(&name.value, calls.iter().map(|signature| signature.name)),
                );
                return None;
            };
            let arguments = read(decoder, signature, &field_list(fields), value.span);
            Some(Argument::Call(signature, arguments))
        }
        _ => decoder.expression(value).map(Argument::Expr),
    }
}

/// One field of a struct: its name if it has one, and its value.
pub(crate) type Field<'a> = (Option<&'a Spanned<String>>, &'a Value);

/// The fields of a struct, borrowed.
pub(crate) fn field_list(fields: &Fields) -> Vec<Field<'_>> {
    fields.iter().map(|(name, value)| (name.as_ref(), value)).collect()
}

/// Brings fields under the names of `names`; unnamed ones in that order. Unknown, repeated, superfluous and
/// missing ones are reported, and make `complete` false.
pub(crate) fn match_fields<'a>(
    decoder: &mut Decoder,
    what: &str,
    names: &[&'static str],
    required: &[&'static str],
    fields: &[Field<'a>],
    span: Span,
    complete: &mut bool,
) -> Vec<(&'static str, &'a Value)> {
    let mut matched: Vec<(&'static str, &Value)> = Vec::new();
    let mut unknown = false;
    for (position, (name, value)) in fields.iter().enumerate() {
        let (found, place) = match name {
            Some(name) => (names.iter().find(|known| **known == name.value), name.span),
            None => (names.get(position), value.span),
        };
        let source = decoder.source.clone();
        match (found, name) {
            (Some(known), _) if matched.iter().any(|(other, _)| other == known) => {
                decoder.report(Diagnostic::new(&source, place, format!("`{known}` is given twice")));
                *complete = false;
            }
            (Some(known), _) => matched.push((*known, *value)),
            (None, Some(name)) => {
                let message = if names.is_empty() {
                    format!("`{what}` takes no arguments")
                } else {
                    format!("`{what}` has no argument `{}`", name.value)
                };
                decoder.report(
                    Diagnostic::new(&source, place, message).suggest(&name.value, names.iter().copied()),
                );
                *complete = false;
                unknown = true;
            }
            (None, None) => {
                let message = match names.len() {
                    0 => format!("`{what}` takes no arguments"),
                    n => format!("`{what}` takes at most {n} arguments: {}", names.join(", ")),
                };
                decoder.report(Diagnostic::new(&source, place, message));
                *complete = false;
                unknown = true;
            }
        }
    }
    let missing: Vec<&str> =
        required.iter().copied().filter(|name| !matched.iter().any(|(found, _)| found == name)).collect();
    if !missing.is_empty() {
        // An unknown name is most likely the missing one misspelt, and has been reported.
        if !unknown {
            let names = missing.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let source = decoder.source.clone();
            decoder.report(Diagnostic::new(&source, span, format!("`{what}` needs {names}")));
        }
        *complete = false;
    }
    matched
}
