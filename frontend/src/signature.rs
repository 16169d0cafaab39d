//! Signatures: what a layer, function, optimiser, schedule or initialiser takes. They are data, and know nothing of how a
//! model is read or built.
//!
//! A signature stands beside the function that builds what it names, so that both are one entry of one list: see
//! `graph/layers/mod.rs` for how a layer is added. The decoder (`model/`) reads calls by signatures alone, which it is
//! given as a [`Vocabulary`]; documentation and editors' schema are made of them too (`language.rs`).
//!
//! ```text
//! Signature { name: "Dropout", parameters: &[within("p", 0.0, 1.0).or(0.5)] }    // in a model: Dropout(0.1)
//! ```

/// What an argument may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ParameterKind {
    /// A number, a truth value, a list, or an expression for one.
    Value,
    /// One of a few words, or an expression for one or for another value.
    Word(&'static [&'static str]),
    /// A call such as `Normal(std: 0.02)`, or a number.
    Call(&'static [Signature]),
}

/// What a value must be, whatever it is used for: checked before anything is built with it, so that all mistakes of a call show.
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
    /// From 0 to below 1: the share that a running average keeps. With 1 it would never take up a value.
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
    pub kind: ParameterKind,
    pub required: bool,
    pub rule: Rule,
    /// Its value where it is not given: the one that the function which reads it takes then; a test compares both. Nothing
    /// where that depends on other things, as the stride of a pool does on its kernel.
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
    Parameter { name, kind: ParameterKind::Value, required: true, rule: Rule::Any, default: None }
}

/// A parameter that need not be given.
pub(crate) const fn optional(name: &'static str) -> Parameter {
    Parameter { name, kind: ParameterKind::Value, required: false, rule: Rule::Any, default: None }
}

/// A size that must be given.
pub(crate) const fn size(name: &'static str) -> Parameter {
    ruled(name, Rule::Size, true)
}

/// A parameter whose values keep a rule.
pub(crate) const fn ruled(name: &'static str, rule: Rule, required: bool) -> Parameter {
    Parameter { name, kind: ParameterKind::Value, required, rule, default: None }
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
    Parameter { name, kind: ParameterKind::Value, required: false, rule: Rule::Within(bounds), default: None }
}

/// A number within bounds that must be given.
pub(crate) const fn required_number(name: &'static str, bounds: Bounds) -> Parameter {
    Parameter { required: true, ..number(name, bounds) }
}

/// A truth value, and what it is by default.
pub(crate) const fn flag(name: &'static str, default: bool) -> Parameter {
    let default = Some(Constant::Flag(default));
    Parameter { name, kind: ParameterKind::Value, required: false, rule: Rule::Flag, default }
}

/// A parameter with a few possible words, those of `W`.
pub(crate) const fn word<W: Words>(name: &'static str, required: bool) -> Parameter {
    one_of(name, W::NAMES, required)
}

/// A parameter with a few possible words.
pub(crate) const fn one_of(name: &'static str, words: &'static [&'static str], required: bool) -> Parameter {
    Parameter { name, kind: ParameterKind::Word(words), required, rule: Rule::Any, default: None }
}

/// A parameter that is one of a few callables, or a number within bounds.
pub(crate) const fn call(
    name: &'static str,
    calls: &'static [Signature],
    bounds: Bounds,
    required: bool,
) -> Parameter {
    Parameter { name, kind: ParameterKind::Call(calls), required, rule: Rule::Within(bounds), default: None }
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

/// Declares an enumeration of words: `words! { enum Pooling { Max = "max", Average = "avg" } }`.
macro_rules! words {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis enum $name {
            $($variant),+
        }

        impl $crate::signature::Words for $name {
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
        $vis static $list: [$crate::signature::Signature; [$(stringify!($variant)),+].len()] = [
            $($crate::signature::Signature { name: stringify!($variant), parameters: $parameters }),+
        ];

        impl $crate::signature::Calls for $name {
            fn of(signature: &$crate::signature::Signature) -> Option<Self> {
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

/// The signatures by which a model's file is read. The decoder is given them, so that it depends on no layer.
#[derive(Debug)]
pub(crate) struct Vocabulary {
    /// What may stand in a body, besides the structures of `model/structure.rs`.
    pub layers: Vec<&'static Signature>,
    /// What `optimizer` may be.
    pub optimizers: Vec<&'static Signature>,
    /// The argument `init` of what has one without being a layer.
    pub init: Parameter,
    /// What expressions can call; the model's own functions have other names.
    pub functions: Vec<&'static Signature>,
}

impl Vocabulary {
    /// The layer of that name.
    pub fn layer(&self, name: &str) -> Option<&'static Signature> {
        self.layers.iter().copied().find(|layer| layer.name == name)
    }

    /// The optimiser of that name.
    pub fn optimizer(&self, name: &str) -> Option<&'static Signature> {
        self.optimizers.iter().copied().find(|optimizer| optimizer.name == name)
    }
}
