//! Entry points: the graph of a forward pass, of a training step, of its evaluation, and of the initial state.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use brolga_ir::graph::{Graph, NodeId};
use brolga_ir::ops::Role;
use brolga_ir::{DType, Type};

use super::ops::Tensor;
use super::settings::{DEFAULT_BATCH, Settings, parameter_values};
use super::state::{Slot, SlotKind};
use super::value::{Args, Built, Fault, Val};
use super::{Builder, Frame, LayerRow, Numbering};
use crate::diagnostics::{Diagnostic, Diagnostics, nearest};
use crate::expr::{Expr, ExprKind};
use crate::init::Init;
use crate::model::{Action, Body, Entry, EntryKind, Minimize, Outputs, Tree};
use crate::optimizers::{self, Update, schedule};
use crate::source::{Source, Span};

/// The graph of one entry point, with what was learnt while building it.
pub(crate) struct BuiltEntry {
    pub graph: Graph,
    pub slots: Vec<Slot>,
    pub rows: Vec<LayerRow>,
    pub places: HashMap<String, (Arc<Source>, Span)>,
    pub dims: Vec<(String, usize)>,
}

/// Which graph of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Main,
    /// Loss and metrics of a training entry in inference mode.
    Evaluation,
}

/// Builds one entry point. Mistakes come back even where the graph could be built.
pub(crate) fn build(
    tree: &Arc<Tree>,
    settings: &Settings,
    set: &[(String, Val)],
    entry: &Entry,
    form: Form,
) -> (Option<BuiltEntry>, Diagnostics) {
    let (name, train) = match (&entry.kind, form) {
        (_, Form::Evaluation) => (format!("{}.eval", entry.name.value), false),
        (EntryKind::Infer { .. } | EntryKind::Broken, _) => (entry.name.value.clone(), false),
        (EntryKind::Train { .. }, _) => (entry.name.value.clone(), true),
        (EntryKind::Steps { train, .. }, _) => (entry.name.value.clone(), *train),
    };
    let mut builder = Builder::new(tree, settings, &name, train);
    let base = builder.open(set);
    builder.forward(&base, entry.body.as_ref());
    let dims = base.dims.clone();
    match &entry.kind {
        EntryKind::Broken => {}
        EntryKind::Infer { outputs } => builder.outputs(outputs),
        EntryKind::Train { minimize, metrics } => {
            let loss = builder.loss(&minimize.loss);
            if let Some(loss) = loss {
                builder.graph.graph.add_output("loss", Role::Data, loss);
            }
            builder.outputs(metrics);
            if let (Some(loss), Form::Main) = (loss, form) {
                builder.minimize(minimize, loss, entry.span);
                builder.count_step(entry.span);
            }
        }
        EntryKind::Steps { train, steps, outputs } => {
            for (position, step) in steps.iter().enumerate() {
                if position > 0 {
                    // Each step sees the state that the ones before it left.
                    builder.forward(&base, entry.body.as_ref());
                }
                builder.action(step);
            }
            builder.outputs(outputs);
            if *train {
                builder.count_step(entry.span);
            }
        }
    }
    let diagnostics = builder.take_diagnostics();
    if !diagnostics.is_empty() {
        return (None, diagnostics);
    }
    for (name, value) in builder.slots.updates() {
        builder.graph.graph.add_output(&name, Role::State, value);
    }
    let mut graph = builder.graph.graph;
    prune(&mut graph);
    let slots = builder.slots.list().to_vec();
    (Some(BuiltEntry { graph, slots, rows: builder.rows, places: builder.graph.places, dims }), diagnostics)
}

/// Removes what no output needs: dead nodes, then parameters that nothing uses.
fn prune(graph: &mut Graph) {
    let live: HashSet<NodeId> = graph.order().into_iter().collect();
    let dead: Vec<NodeId> = graph.nodes().filter(|id| !live.contains(id)).collect();
    for id in dead.into_iter().rev() {
        graph.remove(id);
    }
    let returned: HashSet<NodeId> = graph.outputs().iter().map(|output| output.value.node).collect();
    graph.retain_parameters(|graph, id| returned.contains(&id) || !graph.users(id).is_empty());
}

/// What a forward pass starts from.
pub(crate) struct Base {
    frame: Frame,
    input: Val,
    dims: Vec<(String, usize)>,
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
        let mut first = None;
        for input in &tree.inputs {
            let Some(ty) = &input.ty else {
                first.get_or_insert(Val::Unknown);
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
            first.get_or_insert_with(|| value.clone());
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
        let input = first.unwrap_or_else(|| {
            let message = "the model needs at least one input";
            self.fail(Fault::new(message), Span::new(tree.span.start, tree.span.start + 5))
        });
        Base { frame: self.frames[0].clone(), input, dims }
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
        self.rows.clear();
        self.numbering = vec![Numbering::Kind(HashMap::new())];
        self.current = base.input.clone();
        self.run(body);
    }

    fn outputs(&mut self, outputs: &Outputs) {
        for (name, expr) in outputs {
            self.graph.enter(&name.value, &self.source.clone(), expr.span);
            let value = self.eval(expr);
            if let Some(tensor) = self.as_tensor(value, expr.span) {
                self.graph.graph.add_output(&name.value, Role::Data, tensor);
            }
        }
    }

    /// A number becomes a constant.
    pub fn as_tensor(&mut self, value: Val, span: Span) -> Option<Tensor> {
        let result = match value {
            Val::Tensor(tensor) => Ok(tensor),
            Val::Unknown => return None,
            Val::Int(_) | Val::Float(_) => {
                let float = self.float();
                self.ops().scalar(value.as_float().unwrap_or(0.0), float)
            }
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

    fn loss(&mut self, expr: &Expr) -> Option<Tensor> {
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

    fn action(&mut self, action: &Action) {
        match action {
            Action::Minimize(minimize) => {
                if let Some(loss) = self.loss(&minimize.loss) {
                    self.minimize(minimize, loss, minimize.loss.span);
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
                let Some(tensor) = self.as_tensor(evaluated, value.span) else { return };
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
        let result = self.step_count().and_then(|step| {
            let mut ops = self.ops();
            let one = ops.int_scalar(1, DType::I64)?;
            ops.add(step, one)
        });
        match result {
            Ok(next) => self.slots.set("step", next),
            Err(fault) => {
                self.fail(fault, span);
            }
        }
    }

    /// One step of gradient descent.
    fn minimize(&mut self, minimize: &Minimize, loss: Tensor, span: Span) {
        let optimizer = minimize.kind;
        let args = self.evaluate(optimizer.signature.parameters, &minimize.optimizer.value);
        let plans = self.plans(minimize);
        let clip = minimize.clip.as_ref().map(|clip| self.clip_limit(clip));
        let (Some(args), Some(plans)) = (args, plans) else { return };
        let clip = match clip {
            Some(None) => return,
            Some(Some(clip)) => Some(clip),
            None => None,
        };
        let trained: Vec<&Plan> = plans.iter().filter(|plan| !plan.frozen).collect();
        if trained.is_empty() {
            let place = minimize.of.first().map_or(span, |pattern| pattern.span);
            self.fail(Fault::new("there is no parameter to train"), place);
            return;
        }
        if let Err(fault) = self.descend(minimize, loss, &trained, &args, clip) {
            self.fail(fault, minimize.optimizer.span);
        }
    }

    fn descend(
        &mut self,
        minimize: &Minimize,
        loss: Tensor,
        plans: &[&Plan],
        args: &Args,
        clip: Option<(bool, f64)>,
    ) -> Built<()> {
        let optimizer = minimize.kind;
        let source = self.source.clone();
        let place = minimize.optimizer.span;
        self.graph.enter("gradient", &source, place);
        let parameters: Vec<Tensor> = plans.iter().map(|plan| plan.value).collect();
        let mut gradients = self.ops().gradient(loss, &parameters)?;
        match clip {
            Some((true, max)) => optimizers::clip::by_norm(&mut self.ops(), &mut gradients, max)?,
            Some((false, max)) => optimizers::clip::by_value(&mut self.ops(), &mut gradients, max)?,
            None => {}
        }
        self.graph.enter("optimizer", &source, place);
        let step = self.step_count()?;
        let mut ops = self.ops();
        let done = ops.convert(step, DType::F64)?;
        let time = ops.add_num(done, 1.0)?;
        let lr = schedule::rate(&mut ops, args, "lr", optimizer.lr, done)?;
        let decay = args.float_in("weight_decay", 0.0, 0.0, f64::MAX)?;
        let l1 = args.float_in("l1", 0.0, 0.0, f64::MAX)?;
        let mut updated = Vec::new();
        for (plan, &gradient) in plans.iter().zip(&gradients) {
            self.graph.enter(&format!("optimizer.{}", plan.name), &source, place);
            let decay = plan.weight_decay.unwrap_or(decay);
            let mut ops = self.ops();
            let lr = ops.mul_num(lr, plan.lr)?;
            let coupled = if optimizer.decoupled { 0.0 } else { decay };
            let gradient = optimizers::add_decay(&mut ops, gradient, plan.value, coupled, l1)?;
            let mut update = Update {
                builder: self,
                name: &plan.name,
                parameter: plan.value,
                gradient,
                lr,
                time,
                decay: if optimizer.decoupled { decay } else { 0.0 },
            };
            updated.push((plan.name.clone(), (optimizer.update)(&mut update, args)?));
        }
        for (name, value) in updated {
            self.slots.set(&name, value);
        }
        Ok(())
    }

    /// How each chosen parameter is treated; the first group that names it decides.
    fn plans(&mut self, minimize: &Minimize) -> Option<Vec<Plan>> {
        let mut good = true;
        let mut groups = Vec::new();
        for group in &minimize.groups {
            let mut number = |expr: &Option<Expr>, what: &str| {
                let expr = expr.as_ref()?;
                let value = self.eval(expr);
                match value.as_float() {
                    Some(number) if number.is_finite() && number >= 0.0 => Some(number),
                    _ => {
                        good = false;
                        if !value.is_unknown() {
                            let message =
                                format!("`{what}` must be a number from 0 on, found {}", value.describe());
                            self.fail(Fault::new(message), expr.span);
                        }
                        None
                    }
                }
            };
            let lr = number(&group.lr, "lr");
            let weight_decay = number(&group.weight_decay, "weight_decay");
            let frozen = match group.frozen.as_ref().map(|expr| (self.eval(expr), expr.span)) {
                None => false,
                Some((Val::Bool(frozen), _)) => frozen,
                Some((other, span)) => {
                    good = false;
                    if !other.is_unknown() {
                        let message = format!("`frozen` must be true or false, found {}", other.describe());
                        self.fail(Fault::new(message), span);
                    }
                    false
                }
            };
            groups.push((&group.pattern, lr, weight_decay, frozen));
        }
        let parameters = self.slots.parameters();
        for pattern in minimize.of.iter().chain(minimize.groups.iter().map(|group| &group.pattern)) {
            if !parameters.iter().any(|(name, _)| matches(&pattern.value, name)) {
                good = false;
                if !self.has_mistakes() {
                    let message = format!("no parameter is named `{}`", pattern.value);
                    let diagnostic = Diagnostic::new(&self.source, pattern.span, message)
                        .suggest(&pattern.value, parameters.iter().map(|(name, _)| name.as_str()))
                        .help("`*` stands for any text, as in \"layer1.*\"");
                    self.report(diagnostic);
                }
            }
        }
        let chosen =
            |name: &str| minimize.of.is_empty() || minimize.of.iter().any(|of| matches(&of.value, name));
        let mut plans = Vec::new();
        for (name, value) in parameters {
            if !chosen(&name) {
                continue;
            }
            let group = groups.iter().find(|(pattern, ..)| matches(&pattern.value, &name));
            plans.push(Plan {
                value,
                lr: group.and_then(|group| group.1).unwrap_or(1.0),
                weight_decay: group.and_then(|group| group.2),
                frozen: group.is_some_and(|group| group.3),
                name,
            });
        }
        good.then_some(plans)
    }

    /// Whether to clip by norm, and the limit.
    fn clip_limit(&mut self, clip: &Expr) -> Option<(bool, f64)> {
        let ExprKind::Call { function, positional, .. } = &clip.kind else { return None };
        let limit = positional.first()?;
        let value = self.eval(limit);
        match value.as_float() {
            Some(max) if max.is_finite() && max > 0.0 => Some((function.value == "ClipNorm", max)),
            _ => {
                if !value.is_unknown() {
                    let message = format!("a limit must be a number above 0, found {}", value.describe());
                    self.fail(Fault::new(message), limit.span);
                }
                None
            }
        }
    }
}

/// The treatment of one parameter in a gradient step.
struct Plan {
    name: String,
    value: Tensor,
    /// Factor of the learning rate.
    lr: f64,
    weight_decay: Option<f64>,
    frozen: bool,
}

/// Whether `name` fits a pattern, in which `*` stands for any text.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let pieces: Vec<&str> = pieces.collect();
    let Some((last, middle)) = pieces.split_last() else { return rest.is_empty() };
    for piece in middle {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// The graph that makes the initial state from the input `seed`, an `i64[]`. The state `seed` itself is the caller's
/// to set.
pub(crate) fn init_graph(slots: &[Slot]) -> Result<Graph, Fault> {
    let mut graph = super::ops::GraphBuilder::new("init");
    let seed = graph.graph.add_parameter("seed", Role::Data, Type::scalar(DType::I64));
    for slot in slots {
        graph.graph.add_parameter(&slot.name, Role::State, slot.ty.clone());
    }
    let source = Source::new("init", "");
    for slot in slots.iter().filter(|slot| slot.kind != SlotKind::Seed) {
        graph.graph.add_parameter(&slot.name, Role::State, slot.ty.clone());
        graph.enter(&slot.name, &source, Span::default());
        let value = initial(&mut super::ops::Ops::new(&mut graph), slot, seed)?;
        graph.graph.add_output(&slot.name, Role::State, value);
    }
    Ok(graph.graph)
}

fn initial(ops: &mut super::ops::Ops, slot: &Slot, seed: Tensor) -> Built {
    let ty = &slot.ty;
    match slot.init {
        Init::Constant(value) => ops.full(value, ty),
        Init::Uniform { low, high } => {
            let uniform = ops.uniform(seed, None, &format!("init.{}", slot.name), ty)?;
            let scaled = ops.mul_num(uniform, high - low)?;
            ops.add_num(scaled, low)
        }
        Init::Normal { mean, std } => {
            let normal = ops.normal(seed, None, &format!("init.{}", slot.name), ty)?;
            let scaled = ops.mul_num(normal, std)?;
            ops.add_num(scaled, mean)
        }
        Init::TruncatedNormal { std } => {
            // The inverse of the distribution, applied between its values at -2 and 2 standard deviations.
            let uniform = ops.uniform(seed, None, &format!("init.{}", slot.name), ty)?;
            let edge = 0.954_499_736_103_641_6; // erf(sqrt 2)
            let centred = ops.mul_num(uniform, 2.0 * edge)?;
            let centred = ops.sub_num(centred, edge)?;
            let inverse = ops.function(brolga_ir::scalar::Function::ErfInv, centred)?;
            ops.mul_num(inverse, std * std::f64::consts::SQRT_2)
        }
        Init::Identity { gain } => {
            // One where the first two indices are equal and the others are at the centre.
            let mut here = ops.full(1.0, &ty.with_dtype(DType::Bool))?;
            let counts = ty.with_dtype(DType::I32);
            let mut iotas = Vec::new();
            for axis in 0..ty.rank() {
                iotas.push(ops.b.iota(DType::I32, &counts.dims, axis)?);
            }
            if let [rows, columns, ..] = iotas[..] {
                here = ops.compare(brolga_ir::scalar::Comparison::Eq, rows, columns)?;
            }
            for (axis, &iota) in iotas.iter().enumerate().skip(2) {
                let centre = ops.compare_num(
                    brolga_ir::scalar::Comparison::Eq,
                    iota,
                    ((ty.dims[axis] - 1) / 2) as f64,
                )?;
                here = ops.elementwise2(brolga_ir::scalar::ScalarOp::And, here, centre)?;
            }
            let float = ops.convert(here, ty.dtype)?;
            ops.mul_num(float, gain)
        }
    }
}
