//! A model that was read, and its instances: the graphs of one variant with all sizes bound.

use std::collections::HashMap;
use std::sync::Arc;

use brolga_ir::graph::Graph;
use brolga_ir::ops::Role;

use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::expr::{Expr, ExprKind};
use crate::graph::builder::LayerRow;
use crate::graph::entry::{self, BuiltEntry, Configured, FIT, Fits};
use crate::graph::init_entry::init_graph;
use crate::graph::names::{KEPT, LayerNames};
use crate::graph::plan::{Plan, Planned};
use crate::graph::samples::Samples;
use crate::graph::settings::{self, BATCH, Settings};
use crate::graph::shared::SharedState;
use crate::graph::state::{Slot, SlotKind};
use crate::graph::vocabulary::vocabulary;
use crate::model::tree::{Data, Input, ModelTree};
use crate::model::{self, Context, Resolver};
use crate::source::{FilePlace, Source, Span};

/// A resolver for models that import nothing.
pub fn no_imports(name: &str, _importer: &str) -> Result<(String, String), String> {
    Err(format!("there is no model {name:?}: imports are not available here"))
}

/// A model file, read and checked for its form.
#[derive(Debug)]
pub struct Model {
    tree: Arc<ModelTree>,
}

impl Model {
    /// Reads a model. `name` is shown in diagnostics; `resolver` gives name and text of an imported model, from what
    /// the import says and the name of the file that imports it.
    ///
    /// # Errors
    ///
    /// All mistakes of form; and, where the rest of the model can be built with its defaults, the mistakes that
    /// building it shows.
    pub fn parse(name: &str, text: &str, resolver: Resolver) -> Result<Model, Diagnostics> {
        let source = Source::new(name, text);
        let context = Context { vocabulary: &vocabulary(), resolver };
        let (tree, mut diagnostics) = model::read(&source, context, vec![name.to_owned()]);
        let Some(tree) = tree.map(Arc::new) else {
            return diagnostics.into_result(()).and_then(|()| unread(&source));
        };
        if !diagnostics.is_empty()
            && let Err(more) = build_all(&tree, &Settings::default(), None)
        {
            diagnostics.extend(more);
        }
        diagnostics.into_result(Model { tree })
    }

    /// As [`Model::parse`], for bytes that may not be UTF-8.
    ///
    /// # Errors
    ///
    /// As [`Model::parse`].
    pub fn parse_bytes(name: &str, bytes: &[u8], resolver: Resolver) -> Result<Model, Diagnostics> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::parse(name, text, resolver),
            Err(error) => {
                let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]).into_owned();
                let end = valid.len();
                let source = Source::new(name, valid);
                let (line, column) = source.position(end);
                Err(Diagnostic::new(&source, Span::new(end, end), "the file is not UTF-8")
                    .label(format!("byte {end} (line {line}, column {column}) begins no character"))
                    .into())
            }
        }
    }

    /// Names of the variants, in the order of the file.
    pub fn variants(&self) -> Vec<&str> {
        self.tree.variants.iter().map(|variant| variant.name.value.as_str()).collect()
    }

    /// Names of the parameters that can be set, with their defaults as written.
    pub fn parameters(&self) -> Vec<(&str, &str)> {
        let text = |span: Span| self.tree.source.text.get(span.start..span.end).unwrap_or("");
        self.tree.parameters.iter().map(|(name, value)| (name.value.as_str(), text(value.span))).collect()
    }

    /// The data set that the model trains on where none is given.
    pub fn data(&self) -> Option<&str> {
        self.tree.data.declared.set.as_deref()
    }

    /// The source that the model was read from.
    pub fn source(&self) -> &Arc<Source> {
        &self.tree.source
    }

    /// Builds the graphs of all entry points.
    ///
    /// # Errors
    ///
    /// Wrong settings, unknown names, shapes that do not fit: all that can be found in one run.
    pub fn instantiate(&self, settings: &Settings) -> Result<Instance, Diagnostics> {
        build_all(&self.tree, settings, None)
    }

    /// Builds for other sizes than a known instance has, such as a batch of 1 to answer single samples. An entry point that
    /// cannot be built for them has no graph then, and [`Instance::refused`] says why; the others are there all the same, and
    /// the state is that of all entry points.
    ///
    /// # Errors
    ///
    /// As [`Model::instantiate`], where no entry point can be built for the sizes, or those that can need other state than the
    /// known instance has.
    pub fn instantiate_beside(&self, settings: &Settings, known: &Instance) -> Result<Instance, Diagnostics> {
        build_all(&self.tree, settings, Some(known))
    }

    /// For the outputs of an entry point, or of [`FIT`], what they are of the samples of a batch, by name: the same for any
    /// batch. Outputs of which nothing is known are left out, as all of a model without the size `batch`. Builds the entry twice
    /// more than [`Model::instantiate`] has for `instance`.
    pub fn output_samples(
        &self,
        settings: &Settings,
        instance: &Instance,
        entry: &str,
    ) -> HashMap<String, Samples> {
        let batch = instance.dims.iter().find(|(name, _)| name == BATCH).map(|(_, size)| *size);
        let (Some(batch), Ok(set)) = (batch, settings::check(&self.tree, settings)) else {
            return HashMap::new();
        };
        let model = Configured { tree: &self.tree, settings, set: &set, uses: &[] };
        let (planned, _) = entry::plan(model);
        let model = Configured { uses: &planned.uses, ..model };
        with_names(|names| entry::output_samples(model, entry, batch, names))
    }

    /// The table of layers alone, in training or not; nothing where they have mistakes.
    pub(crate) fn rows(&self, settings: &Settings, train: bool) -> Option<Vec<LayerRow>> {
        let set = settings::check(&self.tree, settings).ok()?;
        let model = Configured { tree: &self.tree, settings, set: &set, uses: &[] };
        with_names(|names| entry::build_rows(model, train, names))
    }
}

/// The text could be read, but is no model; the reason has been reported.
fn unread(source: &Arc<Source>) -> Result<Model, Diagnostics> {
    Err(Diagnostic::general(source, "this is not a model").into())
}

/// The graphs of one variant with all sizes bound.
#[derive(Debug)]
pub struct Instance {
    graphs: Vec<(String, Graph)>,
    slots: Vec<Slot>,
    rows: Vec<LayerRow>,
    /// Whether these are the layers of training.
    pub(crate) rows_of_training: bool,
    dims: Vec<(String, usize)>,
    /// For each input, the size that each of its axes is, where it is one alone.
    axes: Vec<(String, Vec<Option<String>>)>,
    /// For each input, what it is of the samples.
    samples: Vec<(String, Samples)>,
    data: Data,
    /// The graph that shows what preparation is fitted to.
    fit: Option<Graph>,
    notes: Vec<(String, String)>,
    /// Entry points that cannot be run for these sizes, and why.
    refused: Vec<(String, Diagnostics)>,
    places: HashMap<String, FilePlace>,
    plan: Plan,
}

impl Instance {
    /// The plan by which the model is trained; without phases if the file has none.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Names of the entry points: those of the file, `<name>.eval` after each `Train` and each `Entry` with metrics,
    /// `<name>.metrics` after each of these whose metrics are made of totals, and `init`.
    pub fn entries(&self) -> Vec<&str> {
        self.graphs.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// The graph of an entry point. A training entry contains `gradient` operators; its outputs are `loss` and the
    /// metrics, then the new state. `init` takes `seed`, an `i64[]`, and gives the initial state, except for the slot
    /// of kind [`SlotKind::Seed`], which is the caller's to set. [`FIT`], which is not listed, is there if layers are
    /// fitted to data: it gives what enters each, under the name that its state begins with.
    pub fn graph(&self, entry: &str) -> Option<&Graph> {
        if entry == FIT {
            return self.fit.as_ref();
        }
        self.graphs.iter().find(|(name, _)| name == entry).map(|(_, graph)| graph)
    }

    /// All state, in the order of its first use.
    pub fn state(&self) -> &[Slot] {
        &self.slots
    }

    /// The table of layers.
    pub fn layers(&self) -> &[LayerRow] {
        &self.rows
    }

    /// Number of trained numbers.
    pub fn parameter_count(&self) -> usize {
        let parameters = self.slots.iter().filter(|slot| slot.kind == SlotKind::Parameter);
        parameters.map(|slot| slot.ty.elements()).sum()
    }

    /// The symbolic sizes, bound.
    pub fn dims(&self) -> &[(String, usize)] {
        &self.dims
    }

    /// The axis of an input that is the size of this name, such as `batch`: 1 in `f32[length, batch, 8]`. None for what is no
    /// input of the model, and where the size occurs only in a sum or product.
    pub fn input_axis(&self, input: &str, size: &str) -> Option<usize> {
        let (_, axes) = self.axes.iter().find(|(name, _)| name == input)?;
        axes.iter().position(|axis| axis.as_deref() == Some(size))
    }

    /// What an input is of the samples of a batch, as its type says: those of `f32[batch, 8]` are along axis 0. Of what is no
    /// input of the model, such as the seed of `init`, nothing is known.
    pub fn input_samples(&self, input: &str) -> Samples {
        let known = self.samples.iter().find(|(name, _)| name == input);
        known.map_or(Samples::Together, |(_, samples)| *samples)
    }

    /// The data set that the model trains on where none is given.
    pub fn data(&self) -> Option<&str> {
        self.data.set.as_deref()
    }

    /// What a user should know of an entry point, though it is no mistake: why its evaluation has no loss.
    pub fn notes(&self, entry: &str) -> impl Iterator<Item = &str> {
        self.notes.iter().filter(move |(of, _)| of == entry).map(|(_, note)| note.as_str())
    }

    /// The inputs that no entry point reads.
    pub fn unused_inputs(&self) -> Vec<&str> {
        let reads = |graph: &Graph, input: &str| {
            let parameters = graph.parameters().iter().filter_map(|&id| graph.parameter(id));
            parameters.into_iter().any(|parameter| parameter.role == Role::Data && parameter.name == input)
        };
        let inputs = self.samples.iter().map(|(name, _)| name.as_str());
        inputs.filter(|input| !self.graphs.iter().any(|(_, graph)| reads(graph, input))).collect()
    }

    /// Why an entry point cannot be run for these sizes, though others can. With a batch of 1, training a batch normalisation
    /// over one value is such a case: the graph is there, but useless. There is no graph where [`Model::instantiate_beside`]
    /// found that it cannot be built. The state is there in either case.
    pub fn refused(&self, entry: &str) -> Option<&Diagnostics> {
        self.refused.iter().find(|(name, _)| name == entry).map(|(_, why)| why)
    }

    /// The state of all entry points, in the order of a known instance, where `slots` are those of the ones that were built.
    fn state_beside(&self, known: &Instance, slots: Vec<Slot>) -> Result<Vec<Slot>, Diagnostics> {
        let lacking = || self.refused.iter().filter(|(name, _)| self.graph(name).is_none());
        if lacking().next().is_none() {
            return Ok(slots);
        }
        let is_known = |slot: &Slot| known.slots.iter().any(|known| known.name == slot.name);
        if self.graphs.is_empty() || !slots.iter().all(is_known) {
            let mut all = Diagnostics::default();
            lacking().for_each(|(_, why)| all.extend(why.clone()));
            return Err(all);
        }
        let built = |slot: &Slot| slots.iter().find(|built| built.name == slot.name).unwrap_or(slot).clone();
        Ok(known.slots.iter().map(built).collect())
    }

    /// What the model says of its data.
    pub fn declared(&self) -> &Data {
        &self.data
    }

    /// File name, line and column of a layer's path, for messages of later stages.
    pub fn place(&self, path: &str) -> Option<(&str, usize, usize)> {
        let (source, span) = self.places.get(path.split('/').next().unwrap_or(path))?;
        let (line, column) = source.position(span.start);
        Some((&source.name, line, column))
    }
}

/// How often a model is built at most to learn the names that it gives. Twice is enough, unless names that are made, such as
/// `block1`, stand around names that are given.
const MOST_BUILDS: usize = 8;

/// Builds; and builds again where a layer was called `conv1` by itself, and a later one turned out to be given that name.
fn with_names<T>(mut build: impl FnMut(&mut LayerNames) -> T) -> T {
    let mut names = LayerNames::default();
    let mut built = build(&mut names);
    for _ in 1..MOST_BUILDS {
        if !names.clash() {
            break;
        }
        built = build(&mut names);
    }
    built
}

/// Builds all entry points; beside a known instance those that can be.
fn build_all(
    tree: &Arc<ModelTree>,
    settings: &Settings,
    known: Option<&Instance>,
) -> Result<Instance, Diagnostics> {
    let (set, mut mistakes) = settings::checked(tree, settings);
    let model = Configured { tree, settings, set: &set, uses: &[] };
    // Defaults stand for values that are wrong, so that what is wrong besides is found too; nothing stands for a variant.
    if !settings::has_variant(tree, settings) {
        return Err(mistakes);
    }
    let (Planned { plan, uses }, wrong) = entry::plan(model);
    mistakes.extend(wrong);
    let model = Configured { uses: &uses, ..model };
    match with_names(|names| build_entries(model, known, names)) {
        Ok(instance) => {
            mistakes.extend(kept_for_another_batch(&plan, &instance, tree));
            mistakes.into_result(Instance { plan, ..instance })
        }
        Err(others) => {
            mistakes.extend(others);
            Err(mistakes.sorted())
        }
    }
}

/// Phases of another batch than the model's, of entries that go on from run to run: these have the rows of the model's.
fn kept_for_another_batch(plan: &Plan, instance: &Instance, tree: &ModelTree) -> Diagnostics {
    let mut mistakes = Diagnostics::default();
    for trained in plan.trained.iter().filter(|trained| trained.batch.is_some()) {
        let graph = instance.graph(&trained.entry);
        let keeps = |name: &str| name.starts_with(KEPT);
        if graph.is_some_and(|graph| graph.outputs().iter().any(|output| keeps(&output.name))) {
            let message = format!(
                "a phase gives `{}` another batch, but it keeps carries from run to run",
                trained.entry
            );
            let diagnostic = Diagnostic::general(&tree.source, message);
            let note = "what is kept has the rows of the model's batch";
            mistakes.push(
                diagnostic
                    .note(note)
                    .help("give the whole model that batch: `dims: { \"batch\": 32 }`, or --batch"),
            );
        }
    }
    mistakes
}

/// Builds the graphs of each entry point, and puts together what they have learnt: state, layers, sizes, places.
fn build_entries(
    model: Configured,
    known: Option<&Instance>,
    layer_names: &mut LayerNames,
) -> Result<Instance, Diagnostics> {
    let tree = model.tree;
    let mut diagnostics = Diagnostics::default();
    let mut parts = Parts::new(tree);
    if tree.entries.is_empty() {
        diagnostics.push(
            Diagnostic::general(&tree.source, "the model has no entry point")
                .help("add one, for instance entries: { \"infer\": Infer(outputs: { \"y\": \"it\" }) }"),
        );
    }
    for entry in model.uses {
        for &graph in entry.entry(tree).graphs() {
            let outcome = entry::build(model, entry, graph, layer_names);
            parts.instance.notes.extend(outcome.note.map(|note| (entry.name.clone(), note)));
            if known.is_some() && !outcome.diagnostics.is_empty() {
                parts.instance.refused.push((entry.name_of(graph), outcome.diagnostics));
                continue;
            }
            // Most mistakes that inference mode finds, training mode has found before.
            let is_first = entry.entry(tree).graphs().first() == Some(&graph);
            if is_first || diagnostics.is_empty() {
                diagnostics.extend(outcome.diagnostics);
            }
            if let Some(built) = outcome.entry {
                parts.add(built, &tree.source, &mut diagnostics);
            }
        }
    }
    let Parts { mut instance, state, fits } = parts;
    instance.slots = match known {
        Some(known) => instance.state_beside(known, state.slots)?,
        None => state.slots,
    };
    if diagnostics.is_empty() {
        instance.fit = entry::build_fit(model, fits, layer_names);
        match init_graph(&instance.slots) {
            Ok(graph) => instance.graphs.push(("init".into(), graph)),
            Err(fault) => diagnostics.push(Diagnostic::general(&tree.source, fault.message)),
        }
    }
    diagnostics.into_result(instance)
}

/// An instance under way.
struct Parts {
    instance: Instance,
    /// The state of all entries.
    state: SharedState,
    /// Where the entries have layers that are fitted to data.
    fits: Fits,
}

impl Parts {
    fn new(tree: &ModelTree) -> Parts {
        let instance = Instance {
            graphs: Vec::new(),
            slots: Vec::new(),
            rows: Vec::new(),
            rows_of_training: false,
            dims: Vec::new(),
            axes: tree.inputs.iter().map(axes).collect(),
            samples: tree.inputs.iter().map(samples).collect(),
            data: tree.data.declared.clone(),
            fit: None,
            notes: Vec::new(),
            refused: Vec::new(),
            places: Default::default(),
            plan: Plan::default(),
        };
        Parts { instance, state: SharedState::default(), fits: Fits::default() }
    }

    /// Adds an entry; state that differs from what an earlier one has is a mistake.
    fn add(&mut self, built: BuiltEntry, source: &Arc<Source>, diagnostics: &mut Diagnostics) {
        let instance = &mut self.instance;
        self.state.add(&built.graph.name, built.slots, built.declared, source, diagnostics);
        if instance.rows.len() < built.rows.len() {
            instance.rows = built.rows;
            instance.rows_of_training = built.train;
        }
        instance.dims = built.dims;
        if !built.refused.is_empty() {
            instance.refused.push((built.graph.name.clone(), built.refused));
        }
        self.fits = self.fits.max(built.fits);
        instance.places.extend(built.places);
        for graph in [Some(built.graph), built.formulas].into_iter().flatten() {
            instance.graphs.push((graph.name.clone(), graph));
        }
    }
}

/// The name of an input, and the sizes that are its axes.
fn axes(input: &Input) -> (String, Vec<Option<String>>) {
    let dims = input.ty.iter().flat_map(|ty| &ty.dims);
    let size = |dim: &Expr| match &dim.kind {
        ExprKind::Name(name) => Some(name.clone()),
        _ => None,
    };
    (input.name.value.clone(), dims.map(size).collect())
}

/// The name of an input, and what it is of the samples.
fn samples(input: &Input) -> (String, Samples) {
    let dims: Vec<&Expr> = input.ty.iter().flat_map(|ty| &ty.dims).collect();
    let of_batch: Vec<usize> = (0..dims.len()).filter(|&axis| dims[axis].mentions(BATCH)).collect();
    let samples = match of_batch[..] {
        [] => Samples::Same,
        [axis] if matches!(dims[axis].kind, ExprKind::Name(_)) => Samples::Along(axis),
        _ => Samples::Together,
    };
    (input.name.value.clone(), samples)
}
