//! What a model file says, before anything is built: the tree of its steps, blocks, inputs and entries.

pub(crate) mod data;
pub(crate) mod entries;
pub(crate) mod file;
pub(crate) mod notation;
pub(crate) mod steps;
pub(crate) mod structure;

use std::sync::Arc;

use brolga_ir::DType;

use crate::arguments::Arguments;
use crate::expr::{Expr, Template};
use crate::graph::layers::Layer;
use crate::graph::optimizers::Optimizer;
use crate::graph::optimizers::clip::Clip;
use crate::source::{Source, Span, Spanned};
use data::DataTree;

/// A model file.
#[derive(Debug)]
pub(crate) struct Tree {
    pub source: Arc<Source>,
    pub parameters: Vec<(Spanned<String>, Expr)>,
    pub variants: Vec<Variant>,
    pub dims: Vec<(Spanned<String>, Expr)>,
    pub blocks: Vec<Arc<Block>>,
    pub inputs: Vec<Input>,
    pub body: Body,
    pub entries: Vec<Entry>,
    pub data: DataTree,
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
pub(crate) struct Block {
    pub name: Spanned<String>,
    /// A parameter without default must be given.
    pub parameters: Vec<(Spanned<String>, Option<Expr>)>,
    pub body: Body,
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

pub(crate) type Body = Arc<Vec<Step>>;

#[derive(Debug)]
pub(crate) struct Step {
    pub kind: StepKind,
    /// Not so after a mistake in its form, which has been reported: its result is unknown, but what it holds is checked.
    pub complete: bool,
    pub span: Span,
}

#[derive(Debug)]
pub(crate) enum StepKind {
    /// A mistake already reported; its result is unknown.
    Broken,
    Layer {
        layer: &'static Layer,
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
    As(Template),
    Ref(Template),
    Let(Spanned<String>, Expr),
    Expr(Expr),
    Reuse(Template),
    Import(Box<Import>),
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
    pub tree: Option<Arc<Tree>>,
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
    /// What was written, where a text is expected: it stands for itself unless the expression gives a text.
    pub text: Option<String>,
}

/// An entry point.
#[derive(Debug)]
pub(crate) struct Entry {
    pub name: Spanned<String>,
    pub kind: EntryKind,
    /// Replaces the model's body.
    pub body: Option<Body>,
    pub span: Span,
}

#[derive(Debug)]
pub(crate) enum EntryKind {
    /// Inference: outputs by name.
    Infer { outputs: Outputs },
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
    /// A state slot becomes the value of an expression.
    Update {
        state: Template,
        value: Expr,
    },
}

/// One gradient step.
#[derive(Debug)]
pub(crate) struct Minimize {
    pub loss: Expr,
    /// Patterns of the parameters that are updated; all of them if empty.
    pub of: Vec<Spanned<String>>,
    /// Absent after a mistake, which has been reported.
    pub optimizer: Option<ChosenOptimizer>,
    pub clip: Option<(Clip, Expr)>,
    pub groups: Vec<Group>,
}

/// An optimiser as it is written.
#[derive(Debug)]
pub(crate) struct ChosenOptimizer {
    pub kind: &'static Optimizer,
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
