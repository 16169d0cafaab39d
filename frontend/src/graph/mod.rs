//! From the tree of a model to the graph of one entry point.
//!
//! The builder walks the steps of a body with a *current value*, gives every layer its path, and lets layers and
//! functions build primitives. A mistake is reported and makes the current value unknown: later steps are then
//! checked as far as they can be, and nothing is reported twice.

pub(crate) mod arguments;
pub(crate) mod attention;
pub(crate) mod body;
pub(crate) mod entry;
pub(crate) mod eval;
mod frames;
pub(crate) mod functions;
pub(crate) mod init;
pub(crate) mod init_entry;
pub(crate) mod layers;
pub(crate) mod metrics;
pub(crate) mod names;
pub(crate) mod ops;
pub(crate) mod optimizers;
mod samples;
pub(crate) mod settings;
pub(crate) mod shared;
pub(crate) mod state;
pub(crate) mod value;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use brolga_ir::{DType, Type};

use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::model::{Block, Body, Tree};
use crate::source::{Source, Span};
use frames::Frame;
use functions::classes::ClassAxes;
use ops::Ops;
use state::Slots;
use value::{Fault, Tensor, Val};

/// How unnamed layers of a scope are named.
#[derive(Clone, Debug)]
enum Numbering {
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

/// A layer that was built.
#[derive(Clone, Debug)]
struct Seen {
    source: Arc<Source>,
    span: Span,
    /// The imports that it came by, the outermost first.
    imports: Vec<usize>,
}

/// An import, by its place in the file that asks for it.
#[derive(Clone, Debug)]
struct ImportSite {
    source: Arc<Source>,
    span: Span,
    /// What it sets, as ``the variant `small`, w = 2``.
    set: String,
    /// Whether it was said that its layers have the names of others.
    told: bool,
}

/// What a step needs to be run once more by `Reuse`.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub body: Body,
    pub position: usize,
    pub frames: Vec<Frame>,
    pub frame: usize,
    pub tree: Arc<Tree>,
}

/// Builds one graph.
pub(crate) struct Builder<'a> {
    pub graph: ops::GraphBuilder,
    pub source: Arc<Source>,
    pub tree: Arc<Tree>,
    pub settings: &'a settings::Settings,
    pub train: bool,
    diagnostics: Diagnostics,
    /// Why the entry cannot be run, though it can be built, for a batch of 1.
    pub refused: Diagnostics,
    /// What is wrong of that kind in the layer under way.
    refusing: Option<Fault>,
    frames: Vec<Frame>,
    frame: usize,
    path: Vec<String>,
    numbering: Vec<Numbering>,
    pub current: Val,
    /// Named values and results of layers, by path.
    values: HashMap<String, Val>,
    pub slots: Slots,
    /// Along which axes the classes of labels lie.
    pub class_axes: ClassAxes,
    /// Paths of the layers of this pass.
    seen: HashMap<String, Seen>,
    /// Paths that two layers have, which was reported: what is inside of them has the same names, too.
    twins: Vec<String>,
    /// All imports of this pass.
    import_sites: Vec<ImportSite>,
    /// Those that are under way, the outermost first.
    importing: Vec<usize>,
    /// Who has given them.
    pub layer_names: names::LayerNames,
    calls: HashMap<String, Call>,
    /// Inside `Reuse`: parameters are there already.
    reusing: bool,
    /// Inside of steps that are not known to be run at all, as the condition of an `If` is a mistake: how many blocks were
    /// under way where that began.
    in_doubt: Option<usize>,
    /// How the paths of layers begin that are not known, or not built, for a mistake in their name or step.
    lost: HashSet<String>,
    /// Where it was asked for.
    reused_at: Option<String>,
    /// How often each layer has drawn random numbers in this pass, by path.
    draws: HashMap<String, usize>,
    /// Stop after the layer or value of this path.
    until: Option<String>,
    stopped: bool,
    /// Bounds the work of hostile repetition.
    steps: usize,
    /// Too many steps were asked for: nothing more is reported.
    given_up: bool,
    depth: usize,
    pub rows: Vec<LayerRow>,
    measured: metrics::Metrics,
    /// What is fitted to the data.
    pub fits: Vec<Fit>,
    /// How many of them are in the preparation.
    pub prepared: usize,
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
    pub fn new(tree: &Arc<Tree>, settings: &'a settings::Settings, name: &str, train: bool) -> Self {
        Self {
            graph: ops::GraphBuilder::new(name, settings.float),
            source: tree.source.clone(),
            tree: tree.clone(),
            settings,
            train,
            diagnostics: Diagnostics::default(),
            refused: Diagnostics::default(),
            refusing: None,
            frames: Vec::new(),
            frame: 0,
            path: Vec::new(),
            numbering: vec![Numbering::Kind(HashMap::new())],
            current: Val::Unknown,
            values: HashMap::new(),
            slots: Slots::default(),
            class_axes: ClassAxes::default(),
            seen: HashMap::new(),
            twins: Vec::new(),
            import_sites: Vec::new(),
            importing: Vec::new(),
            layer_names: names::LayerNames::default(),
            calls: HashMap::new(),
            reusing: false,
            in_doubt: None,
            lost: HashSet::new(),
            reused_at: None,
            draws: HashMap::new(),
            until: None,
            stopped: false,
            steps: 0,
            given_up: false,
            depth: 0,
            rows: Vec::new(),
            measured: metrics::Metrics::default(),
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

    pub fn report(&mut self, diagnostic: Diagnostic) {
        if self.given_up {
            return;
        }
        let diagnostic = self.imported(diagnostic);
        self.diagnostics.push(diagnostic);
    }

    /// The mistake with the imports that lead to its file, the innermost first, if one of them sets something: what is wrong
    /// in the file may come from that.
    fn imported(&self, mut diagnostic: Diagnostic) -> Diagnostic {
        let mut file = diagnostic.place().0.name.clone();
        let mut notes = Vec::new();
        for site in self.importing.iter().rev().map(|&number| &self.import_sites[number]) {
            // A value that is set is a mistake of the file that sets it.
            if site.source.name == file {
                continue;
            }
            let (line, column) = site.source.position(site.span.start);
            let with = if site.set.is_empty() { String::new() } else { format!(" with {}", site.set) };
            let what = if notes.is_empty() { "it" } else { file.as_str() };
            notes.push((format!("{}:{line}:{column} imports {what}{with}", site.source.name), with));
            file.clone_from(&site.source.name);
        }
        let last = notes.iter().rposition(|(_, with)| !with.is_empty());
        for (note, _) in notes.into_iter().take(last.map_or(0, |last| last + 1)) {
            diagnostic = diagnostic.note(note);
        }
        diagnostic
    }

    /// A mistake of the layer under way that a batch of one sample has, and others have not. For that batch the entry is
    /// built all the same, and refused when it is to be run: single samples go through other entries.
    pub fn refuse_single(&mut self, fault: Fault) -> Result<(), Fault> {
        let batch = self.frames[0].names.get("batch").map(|(value, _)| value);
        if !matches!(batch, Some(Val::Int(1))) {
            return Err(fault);
        }
        self.refusing = Some(fault);
        Ok(())
    }

    /// Runs `inside` without reporting anything: what is asked is checked at another place.
    pub fn quiet<T>(&mut self, inside: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::take(&mut self.diagnostics);
        let result = inside(self);
        self.diagnostics = before;
        result
    }

    /// Whether there is a mistake, here or in the form of the file: what follows from it is not said.
    pub fn has_mistakes(&self) -> bool {
        self.tree.broken || !self.diagnostics.is_empty()
    }

    /// Whether state of that name, in which `*` stands for any text, is missed after a mistake: a layer that would have it is in
    /// the model, but may not have been built.
    pub fn misses(&self, name: &str) -> bool {
        let known = name.split('*').next().unwrap_or(name);
        let of = |path: &String| match known.strip_prefix(path.as_str()) {
            Some(rest) => rest.is_empty() || rest.starts_with('.'),
            None => known.len() < name.len() && path.starts_with(known),
        };
        let lost = |begins: &String| {
            known.starts_with(begins.as_str()) || known.len() < name.len() && begins.starts_with(known)
        };
        self.has_mistakes() && (self.calls.keys().any(of) || self.lost.iter().any(lost))
    }

    /// Whether there are more mistakes than anybody reads.
    pub fn has_many_mistakes(&self) -> bool {
        self.diagnostics.are_many()
    }

    pub fn take_diagnostics(&mut self) -> Diagnostics {
        std::mem::take(&mut self.diagnostics)
    }

    /// The path of the layer or scope being built, with `name` appended.
    pub fn full_name(&self, name: &str) -> String {
        match (self.path.is_empty(), name.is_empty()) {
            (true, _) => name.to_owned(),
            (_, true) => self.path.join("."),
            _ => format!("{}.{name}", self.path.join(".")),
        }
    }

    /// The block of that name in the current file.
    pub fn block(&self, name: &str) -> Option<Arc<Block>> {
        self.tree.blocks.iter().find(|block| block.name.value == name).cloned()
    }

    /// The value of a name: the current value, then the names of block, loops and model, then layers.
    pub fn lookup(&mut self, name: &str) -> Option<Val> {
        match name {
            "it" => return Some(self.current.clone()),
            "training" => return Some(Val::Bool(self.train)),
            "pi" => return Some(Val::Float(std::f64::consts::PI)),
            "inf" => return Some(Val::Float(f64::INFINITY)),
            "nan" => return Some(Val::Float(f64::NAN)),
            _ => {}
        }
        let mut frame = Some(self.frame);
        while let Some(at) = frame {
            if let Some((value, _)) = self.frames[at].names.get(name) {
                return Some(value.clone());
            }
            frame = self.frames[at].parent;
        }
        // From the innermost scope outwards.
        for depth in (0..=self.path.len()).rev() {
            let path = match depth {
                0 => name.to_owned(),
                _ => format!("{}.{name}", self.path[..depth].join(".")),
            };
            if let Some(value) = self.values.get(&path) {
                return Some(value.clone());
            }
        }
        // What is fitted to data, as of now.
        let (slot, value) = self.slots.get(name)?;
        (slot.kind == state::SlotKind::Fitted).then_some(Val::Tensor(value))
    }

    /// All names that [`Self::lookup`] knows.
    pub fn visible_names(&self) -> Vec<String> {
        let mut names = vec!["it".to_owned()];
        let mut frame = Some(self.frame);
        while let Some(at) = frame {
            names.extend(self.frames[at].names.list().cloned());
            frame = self.frames[at].parent;
        }
        names.extend(self.values.keys().filter(|name| !name.contains(body::naming::STANDS_IN)).cloned());
        let fitted = self.slots.list().iter().filter(|slot| slot.kind == state::SlotKind::Fitted);
        names.extend(fitted.map(|slot| slot.name.clone()));
        names.sort();
        names.dedup();
        names
    }

    /// Binds a name in the body around the current loops; a second definition elsewhere is a mistake.
    pub fn bind(&mut self, name: &str, value: Val, span: Span) {
        let mut frame = self.frame;
        while let (true, Some(parent)) = (self.frames[frame].is_loop, self.frames[frame].parent) {
            frame = parent;
        }
        if let Some((_, first)) = self.frames[frame].names.get(name)
            && *first != span
        {
            let diagnostic = Diagnostic::new(&self.source, span, format!("`{name}` is defined twice"))
                .context(*first, "first defined here")
                .help("give it another name");
            self.report(diagnostic);
            return;
        }
        self.values.insert(self.full_name(name), value.clone());
        self.frames[frame].names.insert(name.to_owned(), (value, span));
    }

    /// Runs `inside` in a frame of its own.
    fn in_frame<T>(&mut self, frame: Frame, inside: impl FnOnce(&mut Self) -> T) -> T {
        let (outer, length) = (self.frame, self.frames.len());
        self.frames.push(frame);
        self.frame = length;
        let result = inside(self);
        self.frames.truncate(length);
        self.frame = outer;
        result
    }

    /// Runs `inside` with `name` appended to the path.
    fn in_scope<T>(&mut self, name: &str, numbering: Numbering, inside: impl FnOnce(&mut Self) -> T) -> T {
        let parts = name.split('.').filter(|part| !part.is_empty());
        let depth = self.path.len();
        self.path.extend(parts.map(str::to_owned));
        self.numbering.push(numbering);
        let result = inside(self);
        self.numbering.pop();
        self.path.truncate(depth);
        result
    }

    /// The name of the random numbers that this call of the current layer draws: its path; from its second call in a
    /// pass on with the number of the call, so that a layer that is used again draws anew.
    pub fn draw(&mut self) -> String {
        let path = self.full_name("");
        let calls = self.draws.entry(path.clone()).or_default();
        *calls += 1;
        match *calls {
            1 => path,
            call => format!("{path}#{call}"),
        }
    }

    /// The current value as a tensor; `None` if it is unknown.
    pub fn current_tensor(&mut self, span: Span) -> Option<Tensor> {
        match self.current.clone() {
            Val::Tensor(tensor) => Some(tensor),
            Val::Unknown => None,
            list @ Val::List(_) => self.as_tensor(list, span),
            Val::None => {
                let fault = Fault::new("there is no value yet: the model has no inputs");
                self.fail(fault.help("begin with a `Parameter`, `Ref` or `Expr`"), span);
                self.current = Val::Unknown;
                None
            }
            other => {
                self.fail(Fault::new(format!("a layer needs a tensor, found {}", other.describe())), span);
                self.current = Val::Unknown;
                None
            }
        }
    }
}
