//! The builder: the graph being built, and where in the model its building is.
//!
//! It walks the steps of a body (`graph/body`) with a *current value*, gives every layer its path, and lets layers and
//! functions add primitives. A mistake is reported and makes the current value unknown: later steps are then checked as far as
//! they can be, and nothing is reported twice.
//!
//! Here is what everybody needs who builds: names and scopes ([`scope`]), mistakes ([`report`]), bounds ([`limits`]), whether
//! it is training ([`mode`]), state ([`state`]), values as tensors ([`values`]). Whoever does one thing with it has an
//! `impl Builder` in a file of its own: `graph/eval.rs` evaluates expressions, `graph/body` runs steps, `graph/metrics` measures, `graph/entry` makes entry points of all that.

mod limits;
mod mode;
mod report;
mod scope;
mod state;
mod values;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use brolga_ir::graph::NodeId;
use brolga_ir::{DType, Type};

pub(super) use limits::MOST_STEPS;

use super::class_axes::ClassAxes;
use super::frames::{Frame, Named};
use super::loops::Loops;
use super::measured::Metrics;
use super::named::NamedValues;
use super::names::LayerNames;
use super::ops::{GraphBuilder, Ops};
use super::settings::Settings;
use super::state::Slots;
use super::uses::EntryUse;
use super::value::{Fault, Tensor, Val};
use crate::diagnostics::Diagnostics;
use crate::model::tree::{Body, ModelTree, UserBlock};
use crate::source::{Source, Span, Spanned};

/// How unnamed layers of a scope are named.
#[derive(Clone, Debug)]
pub(super) enum Numbering {
    /// By position, as in PyTorch's `Sequential`.
    Position(usize),
    /// By kind: `conv1`, `conv2`, `fc1`.
    Kind(HashMap<String, usize>),
    /// By kind, the first without a number: what is done to data, of which there is mostly one of a kind.
    Bare(HashMap<String, usize>),
}

/// A layer's row in the table of `check`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerRow {
    /// Path, such as `layer1.0.conv1`.
    pub path: String,
    /// Kind, such as `Conv2d`.
    pub kind: String,
    /// The kind with what says which one it is: `Conv2d(6, 5)`, `Activation(relu)`.
    pub call: String,
    /// Type of the result.
    pub output: Type,
    /// Number of trained numbers, those shared with an earlier layer not counted again.
    pub parameters: usize,
}

/// Where a layer was built, for the mistake that another one has its path.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub source: Arc<Source>,
    pub span: Span,
    /// The imports that it came by, the outermost first: positions in [`Builder::import_sites`].
    pub imports: Vec<usize>,
}

/// An import, by its place in the file that asks for it.
#[derive(Clone, Debug)]
pub(super) struct ImportSite {
    pub source: Arc<Source>,
    pub span: Span,
    /// What it sets, as ``the variant `small`, w = 2``.
    pub set: String,
    /// Whether it was said that its layers have the names of others.
    pub told: bool,
}

/// What a named step needs to be run once more by `Reuse`: where it stands, and which names it sees there.
#[derive(Clone, Debug)]
pub(crate) struct Reusable {
    pub body: Body,
    /// Its position in the body.
    pub position: usize,
    pub frames: Vec<Frame>,
    pub frame: usize,
    pub tree: Arc<ModelTree>,
}

/// A `With` that the walk is inside of.
#[derive(Debug)]
pub(crate) struct Within {
    /// The names or patterns of its parameters, and whether the body has read one that fits.
    pub of: Vec<Spanned<String>>,
    pub used: Vec<bool>,
    /// What makes something of each of them, the names that it sees, and whether it is run once more by `Reuse`.
    pub by: Body,
    pub span: Span,
    pub frames: Vec<Frame>,
    pub frame: usize,
    pub tree: Arc<ModelTree>,
    pub reusing: bool,
    /// How many loops stand around it.
    pub loops: usize,
    /// What has been made of parameters, by their names.
    pub made: HashMap<String, Tensor>,
}

/// Builds one graph. A *pass* is one run through the model's body; an entry of several steps has several.
pub(crate) struct Builder<'a> {
    // What is built, and from what.
    /// The graph so far.
    pub graph: GraphBuilder,
    /// The file whose steps are run: another one inside an import.
    pub source: Arc<Source>,
    pub tree: Arc<ModelTree>,
    pub settings: &'a Settings,
    /// Whether layers behave as in training.
    pub train: bool,
    /// Patterns of the groups of the gradient step that this pass is for, and whether they are frozen: their layers behave as in
    /// inference.
    pub groups: Vec<(String, bool)>,
    /// The model's entries, with their settings.
    pub uses: &'a [EntryUse],
    /// What is set of this one.
    pub entry_set: &'a [(String, Val)],
    /// How many changes of state there had been when this pass began.
    pub pass_began: usize,
    /// Nodes of the model's body whose updates of state were left out, as the entry goes on with a body of its own.
    pub set_aside: HashSet<NodeId>,
    /// The state that has been declared, and what it holds at this point of the graph.
    pub slots: Slots,
    /// The table of layers so far.
    pub rows: Vec<LayerRow>,
    /// What is fitted to the data.
    pub fits: Vec<Fit>,
    /// How many of [`Self::fits`] are in the preparation; the others are in the body.
    pub prepared: usize,
    /// Along which axes the classes of labels lie.
    pub class_axes: ClassAxes,
    pub(super) measured: Metrics,

    // Mistakes.
    pub(super) diagnostics: Diagnostics,
    /// Why the entry cannot be run, though it can be built, for a batch of 1: a normalisation over one sample, for instance.
    pub refused: Diagnostics,
    /// A mistake of that kind in the layer that is being built; it becomes one of [`Self::refused`] behind it.
    pub(super) refusing: Option<Fault>,
    /// Inside of steps that are not known to be run at all, as the condition of an `If` is a mistake: the value of
    /// [`Self::depth`] where that began.
    pub(super) in_doubt: Option<usize>,
    /// How the paths of layers begin that are not known, or not built, for a mistake in their name or step.
    pub(super) lost: HashSet<String>,
    /// There are too many steps or operators, which was reported: nothing more is.
    pub(super) given_up: bool,

    // Names.
    /// The frames of names that are there now, each with the number of the one around it.
    pub(super) frames: Vec<Frame>,
    /// The innermost of them.
    pub(super) frame: usize,
    /// The scopes that the next layer stands in: `["layer1", "0"]`.
    pub(super) path: Vec<String>,
    /// How layers without a name are called, for each scope.
    pub(super) numbering: Vec<Numbering>,
    /// Named values and results of layers, by path.
    pub(super) values: NamedValues,
    /// The layers of this pass, by path.
    pub(super) seen: HashMap<String, Seen>,
    /// Paths that two layers have, which was reported: what is inside of them has the same names, too.
    pub(super) twins: Vec<String>,
    /// All paths of layers that the model gives, or that were made: known from build to build.
    pub layer_names: LayerNames,

    // Where the walk is.
    /// The current value, `it`.
    pub current: Val,
    /// What a `*` in the name of a state stands for, in an update by a pattern.
    pub star: Option<String>,
    /// All imports of this pass.
    pub(super) import_sites: Vec<ImportSite>,
    /// Those that the walk is inside of, the outermost first.
    pub(super) importing: Vec<usize>,
    /// Named steps, by path.
    pub(super) reusable: HashMap<String, Reusable>,
    /// The `With`s that the walk is inside of, the outermost first.
    pub(super) withs: Vec<Within>,
    /// Inside `Reuse`: parameters are there already.
    pub(super) reusing: bool,
    /// What the step that is about to be run once more gets in the place of its arguments.
    pub(super) reuse_set: HashMap<String, Named>,
    /// Where that was asked for: `model.ron:12:5`.
    pub(super) reused_at: Option<String>,
    /// How often each layer has drawn random numbers in this pass, by path.
    pub(super) draws: HashMap<String, usize>,
    /// The layer or value, by path, behind which an import ends.
    pub(super) until: Option<String>,
    /// It has been reached.
    pub(super) stopped: bool,
    /// How many steps have been run: bounds the work of hostile repetition.
    pub(super) steps: usize,
    /// How many blocks and reused layers the walk is inside of.
    pub(super) depth: usize,
    /// The loops that it is inside of, and what is known of those that have ended.
    pub(super) loops: Loops,
}

/// A layer that is fitted to the data before training.
#[derive(Clone, Debug)]
pub(crate) struct Fit {
    /// What its state is named after: `data.image`.
    pub name: String,
    /// What it is fitted to.
    pub input: Tensor,
}

impl<'a> Builder<'a> {
    pub fn new(tree: &Arc<ModelTree>, settings: &'a Settings, name: &str, train: bool) -> Self {
        Self {
            graph: GraphBuilder::new(name, settings.float),
            source: tree.source.clone(),
            tree: tree.clone(),
            settings,
            train,
            groups: Vec::new(),
            uses: &[],
            entry_set: &[],
            pass_began: 0,
            set_aside: HashSet::new(),
            diagnostics: Diagnostics::default(),
            refused: Diagnostics::default(),
            refusing: None,
            frames: Vec::new(),
            frame: 0,
            path: Vec::new(),
            numbering: vec![Numbering::Kind(HashMap::new())],
            current: Val::Unknown,
            star: None,
            values: NamedValues::default(),
            slots: Slots::default(),
            class_axes: ClassAxes::default(),
            seen: HashMap::new(),
            twins: Vec::new(),
            import_sites: Vec::new(),
            importing: Vec::new(),
            layer_names: LayerNames::default(),
            reusable: HashMap::new(),
            withs: Vec::new(),
            reusing: false,
            reuse_set: HashMap::new(),
            in_doubt: None,
            lost: HashSet::new(),
            reused_at: None,
            draws: HashMap::new(),
            until: None,
            stopped: false,
            steps: 0,
            given_up: false,
            depth: 0,
            loops: Loops::default(),
            rows: Vec::new(),
            measured: Metrics::default(),
            fits: Vec::new(),
            prepared: 0,
        }
    }

    /// The primitives, with numpy's conventions.
    pub fn ops(&mut self) -> Ops<'_> {
        Ops::new(&mut self.graph)
    }

    /// The element type that stands for `f32` in this build.
    pub fn float(&self) -> DType {
        self.settings.float
    }

    /// The block of that name in the current file.
    pub fn block(&self, name: &str) -> Option<Arc<UserBlock>> {
        self.tree.blocks.iter().find(|block| block.name.value == name).cloned()
    }
}
