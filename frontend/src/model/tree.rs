//! The tree of a model: what its file says, before anything is built. [`ModelTree`] is the whole file; its parts follow in the
//! order in which a file has them.

use std::sync::Arc;

use brolga_ir::DType;

use super::structure::Clip;
use crate::expr::{Expr, Template};
use crate::signature::Signature;
use crate::source::{Source, Span, Spanned};

/// A model file.
#[derive(Debug)]
pub(crate) struct ModelTree {
    pub source: Arc<Source>,
    pub parameters: Vec<(Spanned<String>, Expr)>,
    pub variants: Vec<Variant>,
    pub dims: Vec<(Spanned<String>, Expr)>,
    pub blocks: Vec<Arc<UserBlock>>,
    pub functions: Vec<Arc<UserFunction>>,
    pub inputs: Vec<Input>,
    pub body: Body,
    pub entries: Vec<EntryPoint>,
    pub data: DataTree,
    pub training: Vec<PlanStep>,
    /// There are mistakes in its form, which have been reported.
    pub broken: bool,
}

/// A named setting of parameters.
#[derive(Debug)]
pub(crate) struct Variant {
    pub name: Spanned<String>,
    pub settings: Vec<(Spanned<String>, Expr)>,
}

/// A user-defined layer.
#[derive(Debug)]
pub(crate) struct UserBlock {
    pub name: Spanned<String>,
    /// A parameter without default must be given.
    pub parameters: Vec<(Spanned<String>, Option<Expr>)>,
    pub body: Body,
}

/// A function of expressions that a model defines itself.
#[derive(Debug)]
pub(crate) struct UserFunction {
    pub name: Spanned<String>,
    pub parameters: Vec<Spanned<String>>,
    pub body: Expr,
}

#[derive(Debug)]
pub(crate) struct Input {
    pub name: Spanned<String>,
    /// Absent after a mistake, which has been reported.
    pub ty: Option<TypeExpr>,
}

/// `f32[batch, 2 * n]`.
#[derive(Clone, Debug)]
pub(crate) struct TypeExpr {
    pub dtype: DType,
    pub dims: Vec<Expr>,
    pub span: Span,
}

pub(crate) type Body = Arc<Vec<BodyStep>>;

#[derive(Debug)]
pub(crate) struct BodyStep {
    pub kind: BodyStepKind,
    /// Not so after a mistake in its form, which has been reported: its result is unknown, but what it holds is checked.
    pub complete: bool,
    pub span: Span,
}

/// What a state begins as.
#[derive(Debug)]
pub(crate) enum Beginning {
    /// By the argument `init`, if it is given.
    Initializer(Arguments),
    /// As the table of that name in the data set.
    Table(String),
}

#[derive(Debug)]
pub(crate) enum BodyStepKind {
    /// A mistake already reported; its result is unknown.
    Broken,
    Layer {
        layer: &'static Signature,
        name: Option<Template>,
        arguments: Arguments,
    },
    Block {
        block: Spanned<String>,
        name: Option<Template>,
        arguments: Vec<(Option<Spanned<String>>, Expr)>,
    },
    Sequential {
        name: Option<Template>,
        body: Body,
    },
    Join {
        join: Join,
        axis: Option<Expr>,
        branches: Vec<Branch>,
    },
    Repeat {
        times: Expr,
        index: String,
        body: Body,
    },
    For {
        each: String,
        within: Expr,
        body: Body,
    },
    If {
        condition: Expr,
        then: Body,
        otherwise: Body,
    },
    Aside(Body),
    /// In its body, parameters are what steps make of them.
    With {
        of: Vec<Template>,
        by: Body,
        body: Body,
    },
    As(Template),
    Ref(Template),
    Let {
        names: LetNames,
        value: Expr,
    },
    Scan(Box<ScanStep>),
    Carry {
        name: Spanned<String>,
        start: Expr,
        /// Whether it, or which of its rows, begin where they ended when the entry was run last.
        kept: Option<Expr>,
    },
    /// A tensor that is kept and not trained.
    State {
        name: Template,
        /// Absent after a mistake, which has been reported.
        ty: Option<TypeExpr>,
        init: Beginning,
    },
    /// State becomes other values, in training.
    Update(Vec<NewState>),
    Expr(Expr),
    Reuse {
        name: Template,
        /// What it is given in the place of its arguments.
        set: Vec<(Spanned<String>, Expr)>,
    },
    Import(Box<Import>),
}

/// What `Let` names.
#[derive(Debug)]
pub(crate) enum LetNames {
    /// The value.
    One(Spanned<String>),
    /// The parts of a list, each by its own name.
    Each(Vec<Spanned<String>>),
}

/// A loop over steps.
#[derive(Debug)]
pub(crate) struct ScanStep {
    pub name: Option<Template>,
    pub body: Body,
    /// Along which axis the steps lie.
    pub axis: Option<Expr>,
    /// The sequences, by the names that their steps have in the body; a single one may have none.
    pub over: Option<Vec<(Option<Spanned<String>>, Expr)>>,
    /// The number of steps, where there is no sequence.
    pub times: Option<Expr>,
    /// The name of the position in the body.
    pub index: Option<Spanned<String>>,
    pub reverse: Option<Expr>,
    /// How many steps each row has.
    pub lengths: Option<Expr>,
    /// Whether it ends behind a step.
    pub until: Option<Expr>,
}

/// How branches come together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Join {
    Add,
    Multiply,
    Concat,
}

/// One branch of a join: steps from the current value, or an expression.
#[derive(Debug)]
pub(crate) enum Branch {
    Body(Body),
    Expr(Expr),
}

#[derive(Debug)]
pub(crate) struct Import {
    /// Present unless loading failed, which has been reported.
    pub tree: Option<Arc<ModelTree>>,
    pub model: Spanned<String>,
    pub variant: Option<Spanned<String>>,
    pub set: Vec<(Spanned<String>, Setting)>,
    pub name: Option<Template>,
    pub until: Option<Template>,
}

/// What an import sets a parameter to.
#[derive(Debug)]
pub(crate) struct Setting {
    /// An expression of the file that imports.
    pub value: Expr,
    /// The text as it is written, where the parameter's default is a text. It is the value, unless the expression gives a text:
    /// `"relu"` means relu, `"act"` means what the parameter `act` of this file is.
    pub text: Option<String>,
}

/// An entry point.
#[derive(Debug)]
pub(crate) struct EntryPoint {
    pub name: Spanned<String>,
    pub kind: EntryKind,
    /// Its settings, with their defaults.
    pub parameters: Vec<(Spanned<String>, Expr)>,
    /// Goes on from the model's body.
    pub body: Option<Body>,
    pub span: Span,
}

#[derive(Debug)]
pub(crate) enum EntryKind {
    /// Inference: outputs by name, and what is measured over a set.
    Infer { outputs: Outputs, metrics: Outputs },
    /// One step of gradient descent.
    Train { minimize: Box<Minimize>, metrics: Outputs },
    /// A list of gradient steps and explicit updates, each seeing the state that the ones before it left.
    Steps { train: bool, steps: Vec<Action>, metrics: Outputs, outputs: Outputs },
    /// A mistake already reported.
    Broken,
}

pub(crate) type Outputs = Vec<(Spanned<String>, Expr)>;

#[derive(Debug)]
pub(crate) enum Action {
    Minimize(Box<Minimize>),
    /// State becomes the values of expressions, all of them from what was before.
    Update(Vec<NewState>),
}

impl Action {
    /// The step, if it is one of gradient descent.
    pub fn minimize(&self) -> Option<&Minimize> {
        match self {
            Action::Minimize(minimize) => Some(minimize),
            Action::Update(_) => None,
        }
    }
}

/// What a piece of state becomes, or all whose names fit a pattern.
#[derive(Debug)]
pub(crate) struct NewState {
    pub state: Template,
    pub value: Expr,
}

/// One gradient step.
#[derive(Debug)]
pub(crate) struct Minimize {
    pub loss: Expr,
    /// Patterns of the parameters that are updated; all of them if empty.
    pub of: Vec<Template>,
    /// Absent after a mistake, which has been reported.
    pub optimizer: Option<ChosenOptimizer>,
    pub clip: Option<(Clip, Expr)>,
    pub groups: Vec<Group>,
}

/// An optimiser as it is written.
#[derive(Debug)]
pub(crate) struct ChosenOptimizer {
    pub signature: &'static Signature,
    pub arguments: Arguments,
    pub span: Span,
}

/// Parameters that are treated in a way of their own.
#[derive(Debug)]
pub(crate) struct Group {
    pub pattern: Spanned<String>,
    /// Factor of the learning rate.
    pub lr: Option<Expr>,
    pub weight_decay: Option<Expr>,
    pub frozen: Option<Expr>,
}

// Training.

/// A step of the plan that a model is trained by.
#[derive(Debug)]
pub(crate) enum PlanStep {
    Phase(Box<PhaseStep>),
    Repeat { times: Expr, index: String, body: Vec<PlanStep>, span: Span },
    For { each: String, within: Expr, body: Vec<PlanStep>, span: Span },
}

/// One entry for some time.
#[derive(Debug)]
pub(crate) struct PhaseStep {
    pub entry: Spanned<String>,
    pub epochs: Option<Expr>,
    pub updates: Option<Expr>,
    /// Settings of the entry.
    pub set: Vec<(Spanned<String>, Expr)>,
    /// The data set, if it is not the model's.
    pub data: Option<Spanned<String>>,
    /// Sizes, if they are not the model's.
    pub dims: Vec<(Spanned<String>, Expr)>,
    /// Entries that are evaluated besides its own evaluation.
    pub measure: Vec<Spanned<String>>,
    pub span: Span,
}

/// One given argument of a layer, optimiser, schedule or initialiser.
#[derive(Clone, Debug)]
pub(crate) enum Argument {
    Expr(Expr),
    Word(&'static str),
    Call(&'static Signature, Arguments),
}

/// The arguments of one call, under the names of the parameters.
#[derive(Clone, Debug)]
pub(crate) struct Arguments {
    pub given: Vec<(&'static str, Spanned<Argument>)>,
    /// Nothing is missing or wrong in form; what is has been reported, and the rest is still checked.
    pub complete: bool,
}

impl Arguments {
    /// The argument for a parameter, if it was given.
    pub fn get(&self, name: &str) -> Option<&Spanned<Argument>> {
        self.given.iter().find(|(given, _)| *given == name).map(|(_, argument)| argument)
    }
}

// Data.

/// What is done to the values of one input.
#[derive(Debug)]
pub(crate) struct InputTreatment {
    pub input: Spanned<String>,
    pub body: Body,
}

/// What a model says of its data, as written.
#[derive(Debug, Default)]
pub(crate) struct DataTree {
    /// The layers of every entry, before the body.
    pub prepare: Vec<InputTreatment>,
    /// The layers of training entries, behind the preparation.
    pub augment: Vec<InputTreatment>,
    pub declared: Data,
}

/// What a model says of its data, without `prepare` and `augment`, which become parts of graphs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Data {
    /// The data set that the model trains on where none is given.
    pub set: Option<String>,
    /// The names of the classes, in the order of their numbers; empty if the data set says them.
    pub classes: Vec<String>,
    /// What of the data is held out in training, if it is said.
    pub split: Option<SplitRule>,
    /// The column of a table that is to be predicted.
    pub target: Option<String>,
    /// The columns of a table that are the input of several numbers; empty if all that are left are.
    pub columns: Vec<String>,
}

/// What of a data set is held out in training.
#[derive(Clone, Debug, PartialEq)]
pub enum SplitRule {
    /// A part of all samples, drawn by seed.
    Holdout {
        /// How much, between 0 and 1.
        fraction: f64,
        /// Whether of each class in proportion.
        stratified: bool,
    },
    /// One of several equal parts, drawn by seed; which one, a run says.
    Folds {
        /// How many there are, from 2 on.
        count: usize,
        /// Whether each has all classes in proportion.
        stratified: bool,
    },
}
