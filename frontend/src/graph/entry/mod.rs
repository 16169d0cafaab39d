//! Entry points: the graph of a forward pass, of a training step, of its evaluation, and of the initial state.

mod actions;
mod memory;
mod minimize;
mod opening;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use brolga_ir::Size;
use brolga_ir::graph::{Graph, NodeId};
use brolga_ir::ops::Role;

use super::functions::classes::{ClassAxes, Fitting};
use super::names::LayerNames;
use super::settings::{MOST_TRIED, Settings};
use super::shared::Place;
use super::state::Slot;
use super::value::Val;
use super::{Builder, LayerRow};
use crate::diagnostics::Diagnostics;
use crate::model::{Action, Entry, EntryKind, Tree};

/// The graph of one entry point, with what was learnt while building it.
pub(crate) struct BuiltEntry {
    pub graph: Graph,
    /// What makes metrics of totals, if it has any.
    pub formulas: Option<Graph>,
    pub slots: Vec<Slot>,
    /// Where each piece of state was declared.
    pub declared: HashMap<String, Place>,
    pub rows: Vec<LayerRow>,
    /// Whether it is in training mode.
    pub train: bool,
    pub places: HashMap<String, Place>,
    pub dims: Vec<(String, usize)>,
    pub fits: Fits,
    /// Why it cannot be run for these sizes.
    pub refused: Diagnostics,
}

/// Where a model has layers that are fitted to data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fits {
    #[default]
    None,
    /// In the preparation alone.
    Prepare,
    /// In the body too.
    Body,
}

/// Which graph of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Main,
    /// Loss and metrics of an entry in inference mode.
    Evaluation,
}

impl Entry {
    /// What the graph of a form is called.
    pub(crate) fn name_of(&self, form: Form) -> String {
        match form {
            Form::Main => self.name.value.clone(),
            Form::Evaluation => format!("{}.eval", self.name.value),
        }
    }
}

/// The entry point that shows what preparation is fitted to.
pub const FIT: &str = "data.fit";

/// Builds the graph of what is fitted to data: an output for each layer that is, under the name of its state,
/// `[batch, ...]`. Mistakes are those of the entries, and not reported again.
pub(crate) fn build_fit(
    tree: &Arc<Tree>,
    settings: &Settings,
    set: &[(String, Val)],
    fits: Fits,
    names: &mut LayerNames,
) -> Option<Graph> {
    let mut builder = Builder::new(tree, settings, FIT, false);
    std::mem::swap(&mut builder.layer_names, names);
    let base = builder.open(set);
    match fits {
        Fits::None => return None,
        Fits::Prepare => {}
        Fits::Body => builder.forward(&base, None),
    }
    std::mem::swap(&mut builder.layer_names, names);
    if builder.has_mistakes() {
        return None;
    }
    let mut graph = builder.graph.graph;
    for fit in &builder.fits {
        graph.add_output(&fit.name, Role::Data, fit.input);
    }
    prune(&mut graph);
    Some(graph)
}

/// Builds the table of layers alone, of the model's body in training mode or not; nothing where there are mistakes.
pub(crate) fn build_rows(
    tree: &Arc<Tree>,
    settings: &Settings,
    set: &[(String, Val)],
    train: bool,
    names: &mut LayerNames,
) -> Option<Vec<LayerRow>> {
    let mut builder = Builder::new(tree, settings, "rows", train);
    std::mem::swap(&mut builder.layer_names, names);
    let base = builder.open(set);
    builder.forward(&base, None);
    std::mem::swap(&mut builder.layer_names, names);
    (!builder.has_mistakes()).then_some(builder.rows)
}

/// Builds one entry point. Mistakes come back even where the graph could be built; without mistakes there is no graph only
/// of an evaluation that has nothing to tell; a note says why one has no loss. Where labels fit scores in several ways, the entry is built for other sizes
/// as well, which say what was meant.
pub(crate) fn build(
    tree: &Arc<Tree>,
    settings: &Settings,
    set: &[(String, Val)],
    entry: &Entry,
    form: Form,
    names: &mut LayerNames,
) -> (Option<BuiltEntry>, Diagnostics, Option<String>) {
    let mut once = |settings: &Settings, elsewhere: Option<Vec<Fitting>>| {
        build_once(tree, settings, set, entry, form, ClassAxes::tried(elsewhere), names)
    };
    let first = once(settings, None);
    if !first.axes.undecided {
        return (first.entry, first.diagnostics, first.note);
    }
    let others = other_sizes(settings, &first.dims);
    let elsewhere = others.iter().map(|settings| once(settings, None).axes.found).collect();
    let last = once(settings, Some(elsewhere));
    (last.entry, last.diagnostics, last.note)
}

/// The settings with a few other values of each symbolic size, one at a time; of many sizes the last ones all at a time, each
/// by another number. Where a model does not allow one of them, nothing is learnt from it.
fn other_sizes(settings: &Settings, dims: &[(String, usize)]) -> Vec<Settings> {
    let others = |(name, size): &(String, usize)| {
        let sizes = [Size::from(*size) + 1, Size::from(*size) * 2 + 1, Size::from(*size) * 2];
        let fitting = sizes.into_iter().filter_map(|size| size.get().ok());
        fitting.map(|size| settings.clone().dim(name.clone(), size)).collect::<Vec<_>>()
    };
    let mut settings_of: Vec<Settings> = dims.iter().take(MOST_TRIED).flat_map(others).collect();
    let together = |by: usize| {
        let mut all = settings.clone();
        for (at, (name, size)) in dims.iter().enumerate().skip(MOST_TRIED) {
            let another = Size::from(*size) * 2 + Size::from(by * (at + 1));
            all = all.dim(name.clone(), another.get().ok()?);
        }
        Some(all)
    };
    if dims.len() > MOST_TRIED {
        settings_of.extend([1, 2].into_iter().filter_map(together));
    }
    settings_of
}

/// What one build gives.
struct Outcome {
    entry: Option<BuiltEntry>,
    diagnostics: Diagnostics,
    dims: Vec<(String, usize)>,
    axes: ClassAxes,
    /// Why an evaluation has no loss, if it has none.
    note: Option<String>,
}

fn build_once(
    tree: &Arc<Tree>,
    settings: &Settings,
    set: &[(String, Val)],
    entry: &Entry,
    form: Form,
    axes: ClassAxes,
    names: &mut LayerNames,
) -> Outcome {
    let (mut builder, dims) = draft(tree, settings, set, entry, form, axes, names);
    if form == Form::Evaluation && builder.has_mistakes() && asks_nothing(entry) {
        let axes = std::mem::take(&mut builder.class_axes);
        return Outcome { entry: None, diagnostics: Diagnostics::default(), dims, axes, note: None };
    }
    let evaluates = form == Form::Evaluation && !builder.has_mistakes();
    let own = dims.iter().find(|(name, _)| name == "batch").map(|(_, size)| *size);
    if let (true, Some(own)) = (evaluates && builder.measured.need_check(), own) {
        // A model may be one for some batches only.
        for batch in [CHECKED, own.max(1)] {
            let [one, two] = [batch, 2 * batch].map(|batch| settings.clone().dim("batch", batch));
            let [one, two] = [&one, &two].map(|settings| {
                let axes = builder.class_axes.again();
                draft(tree, settings, set, entry, form, axes, names).0
            });
            if !one.has_mistakes() && !two.has_mistakes() {
                builder.check_metrics(&one, &two, batch, own);
                break;
            }
        }
    }
    let nothing = evaluates && builder.graph.graph.outputs().is_empty();
    let formulas = if builder.has_mistakes() { None } else { builder.formulas() };
    let diagnostics = builder.take_diagnostics();
    let axes = std::mem::take(&mut builder.class_axes);
    let note = builder.measured.note.take();
    if !diagnostics.is_empty() || nothing {
        return Outcome { entry: None, diagnostics, dims, axes, note };
    }
    for (name, value) in builder.slots.updates() {
        builder.graph.graph.add_output(&name, Role::State, value);
    }
    let fits = match builder.fits.len() {
        0 => Fits::None,
        all if all == builder.prepared => Fits::Prepare,
        _ => Fits::Body,
    };
    let mut graph = builder.graph.graph;
    prune(&mut graph);
    let formulas = formulas.map(|mut formulas| {
        prune(&mut formulas);
        formulas
    });
    let slots = builder.slots.list().to_vec();
    let declared = builder.slots.places;
    let (rows, train, places) = (builder.rows, builder.train, builder.graph.places);
    let (refused, own) = (builder.refused, dims.clone());
    let built =
        BuiltEntry { graph, formulas, slots, declared, rows, train, places, dims: own, fits, refused };
    Outcome { entry: Some(built), diagnostics, dims, axes, note }
}

/// Whether an entry has no metrics of its own, so that its evaluation is worth no mistake.
fn asks_nothing(entry: &Entry) -> bool {
    matches!(&entry.kind, EntryKind::Steps { metrics, .. } if metrics.is_empty())
}

/// The batch for which metrics are compared with twice as many samples: always the same, so that what is found does not
/// depend on the batch that is asked for; even, and seldom the extent of another axis.
const CHECKED: usize = 46;

/// Everything but the updates of state.
fn draft<'s>(
    tree: &Arc<Tree>,
    settings: &'s Settings,
    set: &[(String, Val)],
    entry: &Entry,
    form: Form,
    axes: ClassAxes,
    names: &mut LayerNames,
) -> (Builder<'s>, Vec<(String, usize)>) {
    let train = match (&entry.kind, form) {
        (_, Form::Evaluation) | (EntryKind::Infer { .. } | EntryKind::Broken, _) => false,
        (EntryKind::Train { .. }, _) => true,
        (EntryKind::Steps { train, .. }, _) => *train,
    };
    let mut builder = Builder::new(tree, settings, &entry.name_of(form), train);
    builder.class_axes = axes;
    std::mem::swap(&mut builder.layer_names, names);
    let base = builder.open(set);
    builder.forward(&base, entry.body.as_ref());
    match &entry.kind {
        EntryKind::Broken => {}
        EntryKind::Infer { outputs } => builder.outputs(outputs),
        EntryKind::Train { minimize, metrics } => {
            let loss = match form {
                Form::Main => builder.loss(&minimize.loss),
                Form::Evaluation => builder.measured_loss(&minimize.loss),
            };
            if let Some(loss) = loss {
                builder.graph.graph.add_output("loss", Role::Data, loss);
            }
            builder.metrics(metrics);
            if form == Form::Main {
                let memory = builder.memory(&entry.name.value, 1);
                builder.minimize(minimize, loss, &memory, entry.span);
                builder.count(&memory, entry.span);
                builder.count_step(entry.span);
            }
        }
        EntryKind::Steps { metrics, outputs, .. } if form == Form::Evaluation => {
            builder.metrics(metrics);
            builder.scalar_outputs(outputs);
        }
        EntryKind::Steps { train, steps, metrics, outputs } => {
            builder.metrics(metrics);
            builder.steps(entry, &base, steps);
            builder.outputs(outputs);
            if steps.iter().any(|step| matches!(step, Action::Minimize(_))) {
                let memory = builder.memory(&entry.name.value, 1);
                builder.count(&memory, entry.span);
            }
            if *train {
                builder.count_step(entry.span);
            }
        }
    }
    std::mem::swap(&mut builder.layer_names, names);
    (builder, base.dims)
}

/// Removes what no output needs: dead nodes, then parameters that nothing reads or writes.
fn prune(graph: &mut Graph) {
    let live: HashSet<NodeId> = graph.order().into_iter().collect();
    let dead: Vec<NodeId> = graph.nodes().filter(|id| !live.contains(id)).collect();
    for id in dead.into_iter().rev() {
        graph.remove(id);
    }
    let returned: HashSet<NodeId> = graph.outputs().iter().map(|output| output.value.node).collect();
    let written: HashSet<String> = (graph.outputs().iter())
        .filter(|output| output.role == Role::State)
        .map(|output| output.name.clone())
        .collect();
    // State that is written is there, whether its old value is read or not.
    let is_written = |graph: &Graph, id: NodeId| {
        let state = graph.parameter(id).filter(|parameter| parameter.role == Role::State);
        state.is_some_and(|parameter| written.contains(&parameter.name))
    };
    graph.retain_parameters(|graph, id| returned.contains(&id) || graph.is_used(id) || is_written(graph, id));
}
