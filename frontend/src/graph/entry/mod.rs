//! Entry points: the graph of a forward pass, of a training step and of its evaluation.
//!
//! An entry opens with the model's parameters, sizes and inputs ([`opening`]), runs the body (`graph/body`), and ends with what
//! it gives and updates ([`actions`], [`minimize`], [`memory`]).

mod actions;
mod memory;
mod minimize;
mod opening;
mod samples;

pub(crate) use samples::output_samples;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use brolga_ir::Size;
use brolga_ir::graph::{Graph, NodeId};
use brolga_ir::ops::Role;

use super::builder::{Builder, LayerRow};
use super::class_axes::{ClassAxes, Fitting};
use super::loops::shrink;
use super::names::LayerNames;
use super::plan::Planned;
use super::settings::{MOST_TRIED, Settings};
use super::state::Slot;
use super::uses::{EntryGraph, EntryUse};
use super::value::Val;
use crate::diagnostics::Diagnostics;
use crate::model::tree::{EntryKind, EntryPoint, Minimize, ModelTree};
use crate::source::{FilePlace, Span};

/// A model with the choices that it is built for.
#[derive(Clone, Copy)]
pub(crate) struct Configured<'a> {
    pub tree: &'a Arc<ModelTree>,
    pub settings: &'a Settings,
    /// The parameters that are set, with their values.
    pub set: &'a [(String, Val)],
    /// Its entries: those of the file, and those that the plan of training has with other settings.
    pub uses: &'a [EntryUse],
}

/// The graph of one entry point, with what was learnt while building it.
pub(crate) struct BuiltEntry {
    pub graph: Graph,
    /// From totals over a set to metrics: the entry `<name>.metrics`, if it has metrics of totals.
    pub formulas: Option<Graph>,
    pub slots: Vec<Slot>,
    /// Where each piece of state was declared.
    pub declared: HashMap<String, FilePlace>,
    pub rows: Vec<LayerRow>,
    /// Whether it is in training mode.
    pub train: bool,
    pub places: HashMap<String, FilePlace>,
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

/// The entry point that shows what preparation is fitted to.
pub const FIT: &str = "data.fit";

/// The plan of training, with the entries that it needs; and its mistakes.
pub(crate) fn plan(model: Configured) -> (Planned, Diagnostics) {
    let mut builder = Builder::new(model.tree, model.settings, "training", false);
    builder.open(model.set);
    // What is wrong with inputs, each entry finds.
    builder.take_diagnostics();
    let planned = builder.planned(&model.tree.training);
    (planned, builder.take_diagnostics())
}

/// Builds the graph of what is fitted to data: an output for each layer that is, under the name of its state,
/// `[batch, ...]`. Mistakes are those of the entries, and not reported again.
pub(crate) fn build_fit(model: Configured, fits: Fits, names: &mut LayerNames) -> Option<Graph> {
    let mut builder = Builder::new(model.tree, model.settings, FIT, false);
    std::mem::swap(&mut builder.layer_names, names);
    let base = builder.open(model.set);
    match fits {
        Fits::None => return None,
        Fits::Prepare => {}
        Fits::Body => builder.forward(&base, None, false),
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
pub(crate) fn build_rows(model: Configured, train: bool, names: &mut LayerNames) -> Option<Vec<LayerRow>> {
    let mut builder = Builder::new(model.tree, model.settings, "rows", train);
    std::mem::swap(&mut builder.layer_names, names);
    let base = builder.open(model.set);
    builder.forward(&base, None, false);
    std::mem::swap(&mut builder.layer_names, names);
    (!builder.has_mistakes()).then_some(builder.rows)
}

/// What building an entry gives.
pub(crate) struct Outcome {
    /// The entry, if there is no mistake. An evaluation without loss and metrics is none, without a mistake.
    pub entry: Option<BuiltEntry>,
    /// Mistakes come back even where the graph could be built.
    pub diagnostics: Diagnostics,
    /// Why an evaluation has no loss, if it has none.
    pub note: Option<String>,
    dims: Vec<(String, usize)>,
    axes: ClassAxes,
}

/// Builds one graph of an entry point. Where labels fit scores in several ways, it is built for other sizes as well, which say
/// what was meant.
pub(crate) fn build(
    model: Configured,
    entry: &EntryUse,
    graph: EntryGraph,
    names: &mut LayerNames,
) -> Outcome {
    let mut once = |settings: &Settings, elsewhere: Option<Vec<Fitting>>| {
        let wanted = Wanted { model: Configured { settings, ..model }, entry, graph };
        build_once(wanted, ClassAxes::tried(elsewhere), names)
    };
    let first = once(model.settings, None);
    if !first.axes.undecided {
        return first;
    }
    let others = other_sizes(model.settings, &first.dims);
    let elsewhere = others.iter().map(|settings| once(settings, None).axes.found).collect();
    once(model.settings, Some(elsewhere))
}

/// The settings with another value of one symbolic size: `batch` 65, 129 and 128 instead of 64, then the next size. Each takes
/// a build; so of more than [`MOST_TRIED`] sizes the last ones are changed all at a time, each by another number. Where a model
/// does not allow a size, nothing is learnt from it.
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

/// One graph of one entry point.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    model: Configured<'a>,
    entry: &'a EntryUse,
    graph: EntryGraph,
}

impl<'a> Wanted<'a> {
    /// The entry of the file.
    fn entry(self) -> &'a EntryPoint {
        self.entry.entry(self.model.tree)
    }
}

fn build_once(wanted: Wanted, axes: ClassAxes, names: &mut LayerNames) -> Outcome {
    let (mut builder, dims) = draft(wanted, axes, names);
    let is_evaluation = wanted.graph == EntryGraph::Evaluation;
    if is_evaluation && builder.has_mistakes() && asks_nothing(wanted.entry()) {
        let axes = std::mem::take(&mut builder.class_axes);
        return Outcome { entry: None, diagnostics: Diagnostics::default(), note: None, dims, axes };
    }
    let evaluates = is_evaluation && !builder.has_mistakes();
    if evaluates {
        compare_batches(&mut builder, wanted, &dims, names);
    }
    let nothing = evaluates && builder.graph.graph.outputs().is_empty();
    let formulas = if builder.has_mistakes() { None } else { builder.formulas() };
    builder.expect_no_escapes();
    let diagnostics = builder.take_diagnostics();
    let axes = std::mem::take(&mut builder.class_axes);
    let note = builder.measured.note.take();
    let good = diagnostics.is_empty() && !nothing;
    let entry = good.then(|| finished(builder, formulas, dims.clone(), wanted.entry().span));
    Outcome { entry, diagnostics, note, dims, axes }
}

/// The batch for which metrics are compared with twice as many samples: always the same, so that what is found does not
/// depend on the batch that is asked for; even, and seldom the extent of another axis.
const CHECKED: usize = 46;

/// Finds out whether the metrics of an evaluation are means and sums over the samples: it is built for a batch and for one of
/// twice the size.
fn compare_batches(builder: &mut Builder, wanted: Wanted, dims: &[(String, usize)], names: &mut LayerNames) {
    let own = dims.iter().find(|(name, _)| name == "batch").map(|(_, size)| *size);
    let Some(own) = own.filter(|_| builder.measured.need_check()) else { return };
    // A model may be one for some batches only.
    for batch in [CHECKED, own.max(1)] {
        let settings = [batch, 2 * batch].map(|batch| wanted.model.settings.clone().dim("batch", batch));
        let [one, two] = settings.each_ref().map(|settings| {
            let wanted = Wanted { model: Configured { settings, ..wanted.model }, ..wanted };
            draft(wanted, builder.class_axes.again(), names).0
        });
        if !one.has_mistakes() && !two.has_mistakes() {
            builder.check_metrics(&one, &two, batch, own);
            return;
        }
    }
}

/// The entry with the updates of its state, and without what nothing needs.
fn finished(
    mut builder: Builder,
    formulas: Option<Graph>,
    dims: Vec<(String, usize)>,
    span: Span,
) -> BuiltEntry {
    for (name, value) in builder.slots.updates() {
        builder.graph.graph.add_output(&name, Role::State, value);
    }
    shrink(&mut builder.graph.graph);
    let (calls, counts) = (builder.calls_name(), builder.count_calls(span));
    let slots = builder.slots.list().iter().filter(|slot| counts || slot.name != calls).cloned().collect();
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
    BuiltEntry {
        graph,
        formulas,
        slots,
        declared: builder.slots.places,
        rows: builder.rows,
        train: builder.train,
        places: builder.graph.places,
        dims,
        fits,
        refused: builder.refused,
    }
}

/// Whether an `Entry` has no metrics of its own. Its evaluation is then left out where it has mistakes, and they are not
/// reported: nobody has asked for it.
fn asks_nothing(entry: &EntryPoint) -> bool {
    matches!(&entry.kind, EntryKind::Steps { metrics, .. } if metrics.is_empty())
}

/// Runs a model for an entry: body, loss, metrics, steps. State is updated in the builder; its outputs are added by [`finished`].
///
/// Of an entry with a body of its own, what the model's body updates (running statistics, `Update`) counts only where the entry needs
/// a value of it, which is known when all has been built.
fn draft<'a>(
    wanted: Wanted<'a>,
    axes: ClassAxes,
    names: &mut LayerNames,
) -> (Builder<'a>, Vec<(String, usize)>) {
    let again = axes.again();
    let (builder, dims) = drafted(wanted, axes, false, names);
    if builder.lacks_updates() { drafted(wanted, again, true, names) } else { (builder, dims) }
}

/// A draft; `keeps` says that updates of the model's body count.
fn drafted<'a>(
    wanted: Wanted<'a>,
    axes: ClassAxes,
    keeps: bool,
    names: &mut LayerNames,
) -> (Builder<'a>, Vec<(String, usize)>) {
    let (entry, model) = (wanted.entry(), wanted.model);
    let train = match (&entry.kind, wanted.graph) {
        (_, EntryGraph::Evaluation) | (EntryKind::Infer { .. } | EntryKind::Broken, _) => false,
        (EntryKind::Train { .. }, _) => true,
        (EntryKind::Steps { train, .. }, _) => *train,
    };
    let mut builder = Builder::new(model.tree, model.settings, &wanted.entry.name_of(wanted.graph), train);
    builder.class_axes = axes;
    builder.uses = model.uses;
    builder.entry_set = &wanted.entry.set;
    std::mem::swap(&mut builder.layer_names, names);
    let base = builder.open(model.set);
    if wanted.graph == EntryGraph::Main {
        builder.freeze(wanted.entry, first_minimize(&entry.kind));
    }
    builder.forward(&base, Some(entry), keeps);
    match (&entry.kind, wanted.graph) {
        (EntryKind::Broken, _) => {}
        (EntryKind::Infer { outputs, .. }, EntryGraph::Main) => builder.outputs(outputs),
        (EntryKind::Infer { metrics, .. }, EntryGraph::Evaluation) => builder.metrics(metrics),
        (EntryKind::Train { minimize, metrics }, EntryGraph::Main) => {
            builder.train_step(wanted.entry, minimize, metrics, entry.span);
        }
        (EntryKind::Train { minimize, metrics }, EntryGraph::Evaluation) => {
            let loss = builder.measured_loss(&minimize.loss);
            builder.add_loss(loss);
            builder.metrics(metrics);
        }
        (EntryKind::Steps { metrics, outputs, .. }, EntryGraph::Evaluation) => {
            builder.metrics(metrics);
            builder.scalar_outputs(outputs);
        }
        (EntryKind::Steps { train, steps, metrics, outputs }, EntryGraph::Main) => {
            builder.metrics(metrics);
            builder.steps(wanted.entry, &base, steps, keeps);
            builder.outputs(outputs);
            builder.count_steps(wanted.entry, steps, *train, entry.span);
        }
    }
    std::mem::swap(&mut builder.layer_names, names);
    (builder, base.dims)
}

/// The gradient step that the first pass through the body is for.
fn first_minimize(kind: &EntryKind) -> Option<&Minimize> {
    match kind {
        EntryKind::Train { minimize, .. } => Some(minimize),
        EntryKind::Steps { steps, .. } => actions::governing(steps, 0),
        EntryKind::Infer { .. } | EntryKind::Broken => None,
    }
}

/// Removes what no output needs: results of loops, dead nodes, then parameters that nothing reads or writes.
fn prune(graph: &mut Graph) {
    shrink(graph);
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
