//! Entry points: the graph of a forward pass, of a training step, of its evaluation, and of the initial state.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use brolga_ir::graph::{Graph, NodeId};
use brolga_ir::names::nearest;
use brolga_ir::ops::Role;
use brolga_ir::{DType, Size, Type};

use super::functions::classes::{ClassAxes, Fitting};
use super::memory::Memory;
use super::names::{LayerNames, check_input, check_output};
use super::ops::Tensor;
use super::settings::{DEFAULT_BATCH, Settings, parameter_values};
use super::state::Slot;
use super::value::{Built, Fault, Val};
use super::{Builder, Frame, LayerRow, Numbering};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::expr::{Expr, ExprKind};
use crate::model::data::Treatment;
use crate::model::{Action, Body, Entry, EntryKind, Outputs, Tree};
use crate::source::{Source, Span, Spanned};

/// The graph of one entry point, with what was learnt while building it.
pub(crate) struct BuiltEntry {
    pub graph: Graph,
    /// What makes metrics of totals, if it has any.
    pub formulas: Option<Graph>,
    pub slots: Vec<Slot>,
    pub rows: Vec<LayerRow>,
    pub places: HashMap<String, (Arc<Source>, Span)>,
    pub dims: Vec<(String, usize)>,
    pub fits: Fits,
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

/// The settings with a few other values of each symbolic size, one at a time. Where a model does not allow one of them,
/// nothing is learnt from it.
fn other_sizes(settings: &Settings, dims: &[(String, usize)]) -> Vec<Settings> {
    let others = |(name, size): &(String, usize)| {
        let sizes = [Size::from(*size) + 1, Size::from(*size) * 2 + 1, Size::from(*size) * 2];
        let fitting = sizes.into_iter().filter_map(|size| size.get().ok());
        fitting.map(|size| settings.clone().dim(name.clone(), size)).collect::<Vec<_>>()
    };
    dims.iter().flat_map(others).collect()
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
    let (rows, places) = (builder.rows, builder.graph.places);
    let built = BuiltEntry { graph, formulas, slots, rows, places, dims: dims.clone(), fits };
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
    let (name, train) = match (&entry.kind, form) {
        (_, Form::Evaluation) => (format!("{}.eval", entry.name.value), false),
        (EntryKind::Infer { .. } | EntryKind::Broken, _) => (entry.name.value.clone(), false),
        (EntryKind::Train { .. }, _) => (entry.name.value.clone(), true),
        (EntryKind::Steps { train, .. }, _) => (entry.name.value.clone(), *train),
    };
    let mut builder = Builder::new(tree, settings, &name, train);
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
            if let (Some(loss), Form::Main) = (loss, form) {
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

/// What a forward pass starts from.
pub(crate) struct Base {
    frame: Frame,
    input: Val,
    dims: Vec<(String, usize)>,
    /// The layers of the preparation.
    rows: Vec<LayerRow>,
}

impl Builder<'_> {
    /// Binds parameters, sizes and inputs.
    fn open(&mut self, set: &[(String, Val)]) -> Base {
        let tree = self.tree.clone();
        self.frames = vec![Frame::default()];
        self.frame = 0;
        let variant = self.settings.variant.clone();
        let names = parameter_values(&tree, variant.as_deref(), set, |expr| self.eval(expr));
        self.frames[0].names = names;
        let mut used = HashSet::new();
        let mut dims: Vec<(String, usize)> = Vec::new();
        for (name, default) in &tree.dims {
            let value = self.eval(default);
            self.bind_dim(&name.value, value, default.span, &mut used, &mut dims);
        }
        for input in &tree.inputs {
            if let Err(fault) = check_input(&input.name.value) {
                self.fail(fault, input.name.span);
            }
            let Some(ty) = &input.ty else {
                self.bind(&input.name.value, Val::Unknown, input.name.span);
                continue;
            };
            let mut extents = Vec::new();
            for dim in &ty.dims {
                self.default_dim(dim, &mut used, &mut dims);
                let value = self.eval(dim);
                match value.as_int() {
                    Some(extent @ 0..) => extents.push(extent as usize),
                    _ if value.is_unknown() => {}
                    _ => {
                        let message =
                            format!("a size must be a whole number from 0 on, found {}", value.describe());
                        self.fail(Fault::new(message), dim.span);
                    }
                }
            }
            let mut value = Val::Unknown;
            if extents.len() == ty.dims.len() {
                let dtype = if ty.dtype == DType::F32 { self.float() } else { ty.dtype };
                let whole = Type::new(dtype, extents);
                value = match whole.check_size() {
                    Ok(()) => {
                        Val::Tensor(self.graph.graph.add_parameter(&input.name.value, Role::Data, whole))
                    }
                    Err(reason) => self.fail(Fault::new(reason), ty.span),
                };
            }
            self.layer_names.add(&input.name.value, true);
            self.bind(&input.name.value, value, input.name.span);
        }
        for (name, _) in &self.settings.dims {
            if !used.contains(name) {
                let names: Vec<&str> = used.iter().map(String::as_str).collect();
                let diagnostic = Diagnostic::general(&tree.source, format!("the model has no size `{name}`"))
                    .suggest(name, names);
                self.report(diagnostic);
            }
        }
        for treatment in &tree.data.prepare {
            self.treat(treatment, "data");
        }
        if self.train {
            for treatment in &tree.data.augment {
                let before = self.frames[0].names.get(&treatment.input.value).map(|(value, _)| value.clone());
                self.treat(treatment, "augment");
                self.check_augmented(treatment, before);
            }
        }
        self.prepared = self.fits.len();
        let first = tree.inputs.first().and_then(|input| self.frames[0].names.get(&input.name.value));
        // Without inputs the body starts from nothing: its first step must give a value.
        let nothing = if tree.inputs.is_empty() { Val::None } else { Val::Unknown };
        let input = first.map_or(nothing, |(value, _)| value.clone());
        Base { frame: self.frames[0].clone(), input, dims, rows: std::mem::take(&mut self.rows) }
    }

    /// From here on the name of an input stands for what the layers make of it, and `raw.<input>` for what is given.
    fn treat(&mut self, treatment: &Treatment, scope: &str) {
        let input = &treatment.input.value;
        let Some((raw, span)) = self.frames[0].names.get(input).cloned() else { return };
        self.frames[0].names.entry(format!("raw.{input}")).or_insert((raw.clone(), span));
        self.current = raw;
        let numbering = Numbering::Bare(HashMap::new());
        self.in_scope(&format!("{scope}.{input}"), numbering, |builder| builder.run(&treatment.body));
        let prepared = self.current.clone();
        self.frames[0].names.insert(input.clone(), (prepared, span));
    }

    /// An error if augmentation gives an input another type: other entries have it without.
    fn check_augmented(&mut self, treatment: &Treatment, before: Option<Val>) {
        let after = self.frames[0].names.get(&treatment.input.value).map(|(value, _)| value.clone());
        let (Some(Val::Tensor(before)), Some(Val::Tensor(after))) = (before, after) else { return };
        let (before, after) = (self.ops().ty(before), self.ops().ty(after));
        if before != after {
            let name = &treatment.input.value;
            let fault = Fault::new(format!(
                "`augment` makes {after} of `{name}`, which is {before} in other entries"
            ))
            .help("what changes the type belongs into `prepare`, or into the body");
            self.fail(fault, treatment.input.span);
        }
    }

    /// `batch` needs no default of the model's; any other unknown name in a type does.
    fn default_dim(&mut self, dim: &Expr, used: &mut HashSet<String>, dims: &mut Vec<(String, usize)>) {
        let ExprKind::Name(name) = &dim.kind else { return };
        if self.lookup(name).is_some() {
            return;
        }
        let given = self.settings.dims.iter().any(|(dim, _)| dim == name);
        if name == "batch" || given {
            self.bind_dim(name, Val::Int(DEFAULT_BATCH), dim.span, used, dims);
            return;
        }
        let source = self.source.clone();
        let names = self.visible_names();
        let mut diagnostic = Diagnostic::new(&source, dim.span, format!("the size `{name}` has no value"));
        if let Some(near) = nearest(name, names.iter().map(String::as_str)) {
            diagnostic = diagnostic.help(format!("did you mean `{near}`?"));
        }
        diagnostic = diagnostic.help(format!(
            "give it a default with `dims: {{ \"{name}\": 32 }}`, or a value with `--dim {name}=32`"
        ));
        self.report(diagnostic);
        self.bind(name, Val::Unknown, dim.span);
    }

    fn bind_dim(
        &mut self,
        name: &str,
        default: Val,
        span: Span,
        used: &mut HashSet<String>,
        dims: &mut Vec<(String, usize)>,
    ) {
        used.insert(name.to_owned());
        let given = self.settings.dims.iter().rev().find(|(dim, _)| dim == name);
        let value = given.map_or(default, |(_, size)| Val::Int(i64::try_from(*size).unwrap_or(i64::MAX)));
        if let Some(size) = value.as_int().and_then(|size| usize::try_from(size).ok()) {
            dims.push((name.to_owned(), size));
        }
        self.bind(name, value, span);
    }

    /// Runs the model's body; then, if the entry has a body of its own, that one from the first input.
    fn forward(&mut self, base: &Base, own: Option<&Body>) {
        let body = self.tree.body.clone();
        let before = self.slots.save();
        // Each pass draws the same random numbers.
        self.draws.clear();
        self.run_pass(base, &body);
        if let Some(own) = own {
            // The first run only declared the layers that the entry's body reuses.
            self.slots.restore(before);
            let rows = std::mem::take(&mut self.rows);
            self.frames = vec![base.frame.clone()];
            self.current = base.input.clone();
            self.run(own);
            self.rows = rows;
        }
    }

    fn run_pass(&mut self, base: &Base, body: &Body) {
        self.frames = vec![base.frame.clone()];
        self.frame = 0;
        self.seen.clear();
        self.values.clear();
        self.calls.clear();
        self.rows.clone_from(&base.rows);
        self.numbering = vec![Numbering::Kind(HashMap::new())];
        self.current = base.input.clone();
        self.run(body);
    }

    /// The steps of an entry. Each sees the state that the ones before it left, as mere values.
    fn steps(&mut self, entry: &Entry, base: &Base, steps: &[Action]) {
        let mut minimized = 0;
        for (position, step) in steps.iter().enumerate() {
            if position > 0 {
                self.settle(entry.span);
                self.forward(base, entry.body.as_ref());
            }
            minimized += usize::from(matches!(step, Action::Minimize(_)));
            self.action(step, &entry.name.value, minimized);
        }
    }

    pub(super) fn outputs(&mut self, outputs: &Outputs) {
        for (name, expr) in outputs {
            if let Err(fault) = check_output(&name.value) {
                self.fail(fault, name.span);
            }
            self.graph.enter(&name.value, &self.source.clone(), expr.span);
            let value = self.eval(expr);
            if let Some(tensor) = self.as_tensor(value, expr.span) {
                self.graph.graph.add_output(&name.value, Role::Data, tensor);
            }
        }
    }

    /// A number or a list becomes a constant: numbers alone are floats, lists what they hold.
    pub fn as_tensor(&mut self, value: Val, span: Span) -> Option<Tensor> {
        let float = self.float();
        match value {
            Val::List(_) | Val::Bool(_) => {
                let result = self.ops().tensor(&Spanned::new(value, span));
                result.map_err(|fault| self.fail(fault, span)).ok()
            }
            _ => self.as_tensor_of(value, float, span),
        }
    }

    /// The same; a number becomes a constant of that type.
    fn as_tensor_of(&mut self, value: Val, dtype: DType, span: Span) -> Option<Tensor> {
        let result = match value {
            Val::Tensor(tensor) => Ok(tensor),
            Val::Unknown => return None,
            Val::Int(_) | Val::Float(_) => self.ops().literal(&Spanned::new(value, span), dtype),
            Val::List(_) => self.ops().list(&Spanned::new(value, span), dtype),
            other => Err(Fault::new(format!("expected a tensor, found {}", other.describe()))),
        };
        match result {
            Ok(tensor) => Some(tensor),
            Err(fault) => {
                self.fail(fault, span);
                None
            }
        }
    }

    pub(super) fn loss(&mut self, expr: &Expr) -> Option<Tensor> {
        self.graph.enter("loss", &self.source.clone(), expr.span);
        let value = self.eval(expr);
        let tensor = self.as_tensor(value, expr.span)?;
        let ty = self.ops().ty(tensor);
        if !ty.dims.is_empty() || !ty.dtype.is_float() {
            let fault = Fault::new(format!("a loss is one floating-point number, found {ty}"))
                .help("reduce it with `mean(...)` or `sum(...)`");
            self.fail(fault, expr.span);
            return None;
        }
        Some(tensor)
    }

    /// What the steps so far have left becomes mere values: no later gradient looks behind them.
    fn settle(&mut self, span: Span) {
        self.graph.enter("settle", &self.source.clone(), span);
        for (name, value) in self.slots.updates() {
            // Those of earlier steps have become so already.
            if self.graph.graph.node(value.node).op.stops_gradient() {
                continue;
            }
            match self.ops().stop_gradient(value) {
                Ok(value) => self.slots.set(&name, value),
                Err(fault) => {
                    self.fail(fault, span);
                }
            }
        }
    }

    /// One step of an entry; `minimized` counts its gradient steps up to this one.
    fn action(&mut self, action: &Action, entry: &str, minimized: usize) {
        match action {
            Action::Minimize(minimize) => {
                if let Some(loss) = self.loss(&minimize.loss) {
                    let memory = self.memory(entry, minimized);
                    self.minimize(minimize, loss, &memory, minimize.loss.span);
                }
            }
            Action::Update { state, value } => {
                let Some(name) = self.fill(state) else { return };
                let Some((slot, _)) = self.slots.get(&name) else {
                    let names: Vec<String> = self.slots.list().iter().map(|slot| slot.name.clone()).collect();
                    let diagnostic =
                        Diagnostic::new(&self.source, state.span, format!("there is no state `{name}`"))
                            .suggest(&name, names.iter().map(String::as_str));
                    self.report(diagnostic);
                    return;
                };
                let expected = slot.ty.clone();
                let evaluated = self.eval(value);
                let dtype = expected.dtype;
                let Some(tensor) = self.as_tensor_of(evaluated, dtype, value.span) else { return };
                let found = self.ops().ty(tensor);
                if found != expected {
                    let message = format!("`{name}` is {expected}, but its new value is {found}");
                    self.fail(Fault::new(message), value.span);
                    return;
                }
                self.slots.set(&name, tensor);
            }
        }
    }

    /// `step` becomes one more.
    fn count_step(&mut self, span: Span) {
        self.graph.enter("step", &self.source.clone(), span);
        let step = self.step_count();
        self.one_more("step", step, span);
    }

    /// An entry's own count of updates, where it has one, becomes one more.
    fn count(&mut self, memory: &Memory, span: Span) {
        if let Some(name) = &memory.count {
            self.graph.enter("step", &self.source.clone(), span);
            let count = self.updates_done(memory);
            self.one_more(name, count, span);
        }
    }

    fn one_more(&mut self, name: &str, count: Built, span: Span) {
        let next = count.and_then(|count| {
            let mut ops = self.ops();
            let one = ops.int_scalar(1, DType::I64)?;
            ops.add(count, one)
        });
        match next {
            Ok(next) => self.slots.set(name, next),
            Err(fault) => {
                self.fail(fault, span);
            }
        }
    }
}
