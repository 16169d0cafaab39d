//! What a model file consists of besides layers and expressions: every structure with its fields, and what these hold. The
//! decoder reads fields by these lists, and the schema for editors is made of them.

use crate::signature::{Constant, Words, words};

/// Something that is written like a call and is part of the structure: a step that is no layer, an entry point, `Data(...)`.
#[derive(Clone, Copy, Debug)]
pub struct Structure {
    /// Its name in a model.
    pub name: &'static str,
    /// Its fields, in the order of unnamed ones.
    pub fields: &'static [Field],
    /// Orders of the unnamed fields where so many of them are given: of `Repeat(3, [...])` the second is the body, of
    /// `Repeat(3, "i", [...])` the index.
    pub orders: &'static [(usize, &'static [&'static str])],
}

/// A field of a [`Structure`].
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Whether it must be given.
    pub required: bool,
    /// What it holds.
    pub holds: Form,
    /// The value that it has where it is left out, such as `"i"` for the index of `Repeat`. Nothing where leaving it out means
    /// that there is none, as for a name.
    pub default: Option<Constant>,
}

impl Field {
    /// With a value by default.
    pub(crate) const fn or(self, default: Constant) -> Field {
        Field { default: Some(default), ..self }
    }
}

/// What a field holds.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// A number, a truth value, a list of them, or an expression in a string.
    Value,
    /// A text: a name, a pattern, a type.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    /// True or false.
    Flag,
    /// A number above 0 and below 1.
    Fraction,
    /// A whole number, from the first to the second.
    Count(i64, i64),
    /// A list of steps.
    Body,
    /// A step.
    Step,
    /// A call of an optimiser.
    Optimizer,
    /// A call of an initialiser, or a number.
    Initializer,
    /// A list of these.
    List(&'static Form),
    /// A map of names to these.
    Map(&'static Form),
    /// One of these structures.
    OneOf(fn() -> Vec<Structure>),
    /// Any of these.
    Any(&'static [Form]),
}

/// A field that must be given.
pub(crate) const fn needs(name: &'static str, holds: Form) -> Field {
    Field { name, required: true, holds, default: None }
}

/// A field that may be left out.
pub(crate) const fn may(name: &'static str, holds: Form) -> Field {
    Field { name, required: false, holds, default: None }
}

/// Words that are structures.
pub(crate) trait Structured: Words {
    /// Their fields.
    fn fields(self) -> &'static [Field];

    /// See [`Structure::orders`].
    fn orders(self) -> &'static [(usize, &'static [&'static str])] {
        &[]
    }

    /// The whole structure.
    fn structure(self) -> Structure {
        Structure { name: self.name(), fields: self.fields(), orders: self.orders() }
    }
}

/// The structures of some words.
pub(crate) fn structures<W: Structured>() -> Vec<Structure> {
    W::ALL.iter().map(|word| word.structure()).collect()
}

// A model.

const VALUES: Form = Form::Map(&Form::Value);

/// A model file.
pub(crate) const MODEL: Structure = Structure {
    name: "Model",
    fields: &[
        may("parameters", VALUES),
        may("variants", Form::Map(&VALUES)),
        may("dims", VALUES),
        may("blocks", Form::Map(&Form::OneOf(|| vec![BLOCK]))),
        may("functions", VALUES),
        may("inputs", Form::Map(&Form::Text)),
        needs("body", Form::Body),
        needs("entries", Form::Map(&Form::OneOf(structures::<EntryWord>))),
        may("data", Form::Any(&[Form::Text, Form::OneOf(|| vec![DATA])])),
        may("training", Form::List(&Form::OneOf(structures::<PlanWord>))),
    ],
    orders: &[],
};

/// A layer of the model's own. A parameter whose default is `Required` has none.
pub(crate) const BLOCK: Structure =
    Structure { name: "Block", fields: &[may("parameters", VALUES), needs("body", Form::Body)], orders: &[] };

// Steps.

words! {
    /// The steps that are not layers.
    pub(crate) enum BodyWord {
        Sequential = "Sequential",
        Residual = "Residual",
        Add = "Add",
        Multiply = "Multiply",
        Concat = "Concat",
        Repeat = "Repeat",
        For = "For",
        If = "If",
        Aside = "Aside",
        With = "With",
        As = "As",
        Ref = "Ref",
        Let = "Let",
        Expr = "Expr",
        Reuse = "Reuse",
        Scan = "Scan",
        Carry = "Carry",
        State = "State",
        Update = "Update",
        Import = "Import",
        Block = "Block",
    }
}

/// The fields of an `Update`, of an entry or of a body: a state and its value, or a map of several.
const UPDATE: &[Field] = &[needs("state", Form::Any(&[Form::Text, VALUES])), may("value", Form::Value)];
/// What a state begins as: by an initialiser, or as a table of the data set.
const BEGINNING: Form = Form::Any(&[Form::Initializer, Form::OneOf(|| vec![TABLE])]);
/// A table of the data set, by its name.
pub(crate) const TABLE: Structure =
    Structure { name: "Data", fields: &[needs("table", Form::Text)], orders: &[] };
/// A pattern of names of parameters, or several.
const PATTERNS: Form = Form::Any(&[Form::Text, Form::List(&Form::Text)]);
const BODY: Field = needs("body", Form::Body);
const NAME: Field = needs("name", Form::Text);
const BRANCHES: Field = needs("branches", Form::List(&Form::Any(&[Form::Body, Form::Text, Form::Step])));

impl Structured for BodyWord {
    fn fields(self) -> &'static [Field] {
        match self {
            BodyWord::Sequential => const { &[may("name", Form::Text), BODY] },
            BodyWord::Residual | BodyWord::Aside => const { &[BODY] },
            BodyWord::Add | BodyWord::Multiply => const { &[BRANCHES] },
            BodyWord::Concat => const { &[BRANCHES, may("axis", Form::Value).or(Constant::Int(1))] },
            BodyWord::Repeat => {
                const { &[needs("times", Form::Value), may("index", Form::Text).or(Constant::Word("i")), BODY] }
            }
            BodyWord::For => const { &[needs("each", Form::Text), needs("within", Form::Value), BODY] },
            BodyWord::If => {
                const {
                    &[
                        needs("condition", Form::Value),
                        needs("then", Form::Body),
                        may("otherwise", Form::Body),
                    ]
                }
            }
            BodyWord::With => const { &[needs("of", PATTERNS), needs("by", Form::Body), BODY] },
            BodyWord::As | BodyWord::Ref => const { &[NAME] },
            BodyWord::Reuse => const { &[NAME, may("set", VALUES)] },
            BodyWord::Let => {
                const {
                    &[
                        needs("name", Form::Any(&[Form::Text, Form::List(&Form::Text)])),
                        needs("value", Form::Value),
                    ]
                }
            }
            BodyWord::Scan => {
                const {
                    &[
                        BODY,
                        may("name", Form::Text),
                        may("axis", Form::Value).or(Constant::Int(1)),
                        may("over", Form::Any(&[Form::Value, VALUES])),
                        may("times", Form::Value),
                        may("index", Form::Text),
                        may("reverse", Form::Value).or(Constant::Flag(false)),
                        may("lengths", Form::Value),
                        may("until", Form::Value),
                    ]
                }
            }
            BodyWord::Carry => const { &[NAME, needs("start", Form::Value), may("kept", Form::Value)] },
            BodyWord::State => const { &[NAME, needs("type", Form::Text), may("init", BEGINNING)] },
            BodyWord::Update => UPDATE,
            BodyWord::Expr => const { &[needs("value", Form::Value)] },
            BodyWord::Import => {
                const {
                    &[
                        needs("model", Form::Text),
                        may("variant", Form::Text),
                        may("set", VALUES),
                        may("name", Form::Text),
                        may("until", Form::Text),
                    ]
                }
            }
            BodyWord::Block => BLOCK.fields,
        }
    }

    /// Where a name or an index may be left out, the number of unnamed arguments says what they are.
    fn orders(self) -> &'static [(usize, &'static [&'static str])] {
        match self {
            BodyWord::Sequential => &[(1, &["body", "name"])],
            BodyWord::Repeat => &[(2, &["times", "body", "index"])],
            _ => &[],
        }
    }
}

// Entry points.

words! {
    /// Kinds of entries.
    pub(crate) enum EntryWord { Infer = "Infer", Train = "Train", Entry = "Entry" }
}

const LOSS: Field = needs("loss", Form::Value);
const OPTIMIZER: Field = needs("optimizer", Form::Optimizer);
const GROUPS: Field = may("groups", Form::List(&Form::OneOf(|| vec![GROUP])));
const CLIP: Field = may("clip", Form::OneOf(structures::<Clip>));
const METRICS: Field = may("metrics", VALUES);
/// Goes on from the model's.
const OWN_BODY: Field = may("body", Form::Body);
const SETTINGS: Field = may("parameters", VALUES);
const OF: Field = may("of", PATTERNS);

impl Structured for EntryWord {
    fn fields(self) -> &'static [Field] {
        match self {
            EntryWord::Infer => const { &[may("outputs", VALUES), METRICS, OWN_BODY, SETTINGS] },
            EntryWord::Train => const { &[LOSS, OPTIMIZER, METRICS, GROUPS, CLIP, OWN_BODY, OF, SETTINGS] },
            EntryWord::Entry => {
                const {
                    &[
                        may("mode", Form::Word(Mode::NAMES)).or(Constant::Word("train")),
                        needs("steps", Form::List(&Form::OneOf(structures::<ActionWord>))),
                        METRICS,
                        may("outputs", VALUES),
                        OWN_BODY,
                        SETTINGS,
                    ]
                }
            }
        }
    }
}

words! {
    /// Steps of an `Entry`.
    pub(crate) enum ActionWord { Minimize = "Minimize", Update = "Update" }
}

impl Structured for ActionWord {
    fn fields(self) -> &'static [Field] {
        match self {
            ActionWord::Minimize => const { &[LOSS, OF, OPTIMIZER, GROUPS, CLIP] },
            ActionWord::Update => UPDATE,
        }
    }
}

words! {
    /// Ways of clipping gradients.
    pub(crate) enum Clip { Norm = "ClipNorm", Value = "ClipValue" }
}

impl Structured for Clip {
    fn fields(self) -> &'static [Field] {
        const { &[needs("max", Form::Value)] }
    }
}

/// Parameters that are treated in a way of their own.
pub(crate) const GROUP: Structure = Structure {
    name: "Group",
    fields: &[
        needs("of", Form::Text),
        may("lr", Form::Value).or(Constant::Number(1.0)),
        may("weight_decay", Form::Value),
        may("frozen", Form::Value).or(Constant::Flag(false)),
    ],
    orders: &[],
};

// Plans of training.

words! {
    /// Steps of a plan.
    pub(crate) enum PlanWord { Phase = "Phase", Repeat = "Repeat", For = "For" }
}

const PHASES: Field = needs("body", Form::List(&Form::OneOf(structures::<PlanWord>)));

impl Structured for PlanWord {
    fn fields(self) -> &'static [Field] {
        match self {
            PlanWord::Phase => {
                const {
                    &[
                        needs("entry", Form::Text),
                        may("epochs", Form::Value),
                        may("updates", Form::Value),
                        may("set", VALUES),
                        may("data", Form::Text),
                        may("dims", VALUES),
                        may("measure", Form::List(&Form::Text)),
                    ]
                }
            }
            PlanWord::Repeat => {
                const { &[needs("times", Form::Value), may("index", Form::Text).or(Constant::Word("i")), PHASES] }
            }
            PlanWord::For => const { &[needs("each", Form::Text), needs("within", Form::Value), PHASES] },
        }
    }

    /// As those of the steps of a body.
    fn orders(self) -> &'static [(usize, &'static [&'static str])] {
        match self {
            PlanWord::Repeat => &[(2, &["times", "body", "index"])],
            _ => &[],
        }
    }
}

words! {
    /// How an `Entry` builds the layers.
    pub(crate) enum Mode { Train = "train", Infer = "infer" }
}

// Data.

words! {
    /// Ways to hold out a part.
    pub(crate) enum SplitWord { Holdout = "Holdout", Folds = "Folds" }
}

/// The most folds of a data set.
pub(crate) const MOST_FOLDS: i64 = 1000;

const STRATIFIED: Field = may("stratified", Form::Flag).or(Constant::Flag(false));

impl Structured for SplitWord {
    /// How much is held out, and how.
    fn fields(self) -> &'static [Field] {
        match self {
            SplitWord::Holdout => const { &[needs("fraction", Form::Fraction), STRATIFIED] },
            SplitWord::Folds => const { &[needs("count", Form::Count(2, MOST_FOLDS)), STRATIFIED] },
        }
    }
}

const TREATMENTS: Form = Form::Any(&[Form::Body, Form::Map(&Form::Body)]);
const TEXTS: Form = Form::List(&Form::Text);

/// The forms of `data` that are no name.
pub(crate) const DATA: Structure = Structure {
    name: "Data",
    fields: &[
        may("set", Form::Text),
        may("prepare", TREATMENTS),
        may("augment", TREATMENTS),
        may("classes", TEXTS),
        may("split", Form::OneOf(structures::<SplitWord>)),
        may("target", Form::Text),
        may("columns", TEXTS),
    ],
    orders: &[],
};
