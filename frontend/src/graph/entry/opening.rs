//! What an entry begins with: parameters, sizes, inputs and their preparation, then the model's body.

use std::collections::{HashMap, HashSet};

use brolga_ir::graph::NodeId;
use brolga_ir::names::nearest;
use brolga_ir::ops::Role;
use brolga_ir::{DType, Type};

use crate::diagnostics::Diagnostic;
use crate::expr::{Expr, ExprKind};
use crate::graph::builder::{Builder, LayerRow, Numbering};
use crate::graph::frames::{Frame, Named};
use crate::graph::named::NamedValues;
use crate::graph::names::check_input;
use crate::graph::settings::{BATCH, DEFAULT_BATCH, parameter_values};
use crate::graph::uses::EntryUse;
use crate::graph::value::{Fault, Val};
use crate::model::tree::{Body, EntryPoint, Input, InputTreatment};
use crate::source::Span;

/// What a forward pass starts from.
pub(super) struct Base {
    frame: Frame,
    /// The first input.
    input: Val,
    /// The sizes that are bound, by name.
    pub dims: Vec<(String, usize)>,
    /// The layers of the preparation.
    rows: Vec<LayerRow>,
}

/// The symbolic sizes of an entry, such as `batch`.
#[derive(Default)]
struct Sizes {
    /// Those that the model has, bound or not.
    named: HashSet<String>,
    /// Those that are bound, in this order.
    bound: Vec<(String, usize)>,
}

impl Builder<'_> {
    /// Binds parameters, sizes and inputs, and runs what is done to inputs.
    pub(super) fn open(&mut self, set: &[(String, Val)]) -> Base {
        let tree = self.tree.clone();
        self.frames = vec![Frame::default()];
        self.frame = 0;
        let variant = self.settings.variant.clone();
        let names = parameter_values(&tree, variant.as_deref(), set, |expr| self.eval(expr));
        self.frames[0].names = names.into();
        let mut sizes = Sizes::default();
        for (name, default) in &tree.dims {
            let value = self.eval(default);
            self.bind_size(&name.value, value, default.span, &mut sizes);
        }
        for input in &tree.inputs {
            self.open_input(input, &mut sizes);
        }
        self.check_sizes(&sizes);
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
        let rows = std::mem::take(&mut self.rows);
        Base { frame: self.frames[0].clone(), input, dims: sizes.bound, rows }
    }

    /// Reports sizes that the user gives and the model does not have.
    fn check_sizes(&mut self, sizes: &Sizes) {
        for (name, _) in &self.settings.dims {
            if !sizes.named.contains(name) {
                let known: Vec<&str> = sizes.named.iter().map(String::as_str).collect();
                let message = format!("the model has no size `{name}`");
                let diagnostic = Diagnostic::general(&self.tree.source, message).suggest(name, known);
                self.report(diagnostic);
            }
        }
    }

    /// Makes an input a parameter of the graph, of the sizes that its type names.
    fn open_input(&mut self, input: &Input, sizes: &mut Sizes) {
        if let Err(fault) = check_input(&input.name.value) {
            self.fail(fault, input.name.span);
        }
        let Some(ty) = &input.ty else {
            self.bind(&input.name.value, Val::Unknown, input.name.span);
            return;
        };
        let mut value = Val::Unknown;
        if let Some(extents) = self.extents(&ty.dims, sizes) {
            let dtype = if ty.dtype == DType::F32 { self.float() } else { ty.dtype };
            let whole = Type::new(dtype, extents);
            value = match whole.check_size() {
                Ok(()) => Val::Tensor(self.graph.graph.add_parameter(&input.name.value, Role::Data, whole)),
                Err(reason) => self.fail(Fault::new(reason), ty.span),
            };
        }
        self.layer_names.add(&input.name.value, true);
        self.bind(&input.name.value, value, input.name.span);
    }

    /// The extents of a type; nothing if one is unknown, or no size, which is reported.
    fn extents(&mut self, dims: &[Expr], sizes: &mut Sizes) -> Option<Vec<usize>> {
        let mut extents = Vec::new();
        for dim in dims {
            self.bind_sizes_of(dim, sizes);
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
        (extents.len() == dims.len()).then_some(extents)
    }

    /// From here on the name of an input stands for what the layers make of it, and `raw.<input>` for what is given.
    fn treat(&mut self, treatment: &InputTreatment, scope: &str) {
        let input = &treatment.input.value;
        let Some((raw, span)) = self.frames[0].names.get(input).cloned() else { return };
        if self.has_samples_elsewhere(treatment) {
            return;
        }
        let given = format!("raw.{input}");
        if self.frames[0].names.get(&given).is_none() {
            self.frames[0].names.insert(given, (raw.clone(), span));
        }
        self.current = raw;
        let numbering = Numbering::Bare(HashMap::new());
        self.in_scope(&format!("{scope}.{input}"), numbering, |builder| builder.run(&treatment.body));
        let prepared = self.current.clone();
        self.frames[0].names.insert(input.clone(), (prepared, span));
    }

    /// Whether an input has samples along another axis than the first, which is reported: what data are treated with counts axes
    /// from there, as a data set gives samples one behind the other.
    fn has_samples_elsewhere(&mut self, treatment: &InputTreatment) -> bool {
        let name = &treatment.input.value;
        let tree = self.tree.clone();
        let ty =
            tree.inputs.iter().find(|input| input.name.value == *name).and_then(|input| input.ty.as_ref());
        let Some(axis) = ty.and_then(|ty| ty.dims.iter().rposition(|dim| dim.mentions(BATCH))) else {
            return false;
        };
        if axis == 0 {
            return false;
        }
        let message = format!(
            "what is done to data takes samples along axis 0, but axis {axis} of `{name}` is the batch"
        );
        let help = "declare the input with `batch` first, and turn it in the body: `Expr(\"transpose(it, [1, 0, ...])\")`";
        self.fail(Fault::new(message).help(help), treatment.input.span);
        true
    }

    /// An error if augmentation gives an input another type: other entries have it without.
    fn check_augmented(&mut self, treatment: &InputTreatment, before: Option<Val>) {
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

    /// Binds the sizes that an extent is made of. `batch` needs no default of the model's; any other unknown name in a type
    /// does, alone or in a sum or product.
    fn bind_sizes_of(&mut self, extent: &Expr, sizes: &mut Sizes) {
        let name = match &extent.kind {
            ExprKind::Name(name) => name,
            ExprKind::Chain(first, rest) => {
                self.bind_sizes_of(first, sizes);
                rest.iter().for_each(|(_, part)| self.bind_sizes_of(part, sizes));
                return;
            }
            _ => return,
        };
        if self.lookup(name).is_some() {
            return;
        }
        let given = self.settings.dims.iter().any(|(dim, _)| dim == name);
        if name == BATCH || given {
            self.bind_size(name, Val::Int(DEFAULT_BATCH), extent.span, sizes);
            return;
        }
        let source = self.source.clone();
        let names = self.visible_names();
        let mut diagnostic = Diagnostic::new(&source, extent.span, format!("the size `{name}` has no value"));
        if let Some(near) = nearest(name, names.iter().map(String::as_str)) {
            diagnostic = diagnostic.help(format!("did you mean `{near}`?"));
        }
        diagnostic = diagnostic.help(format!(
            "give it a default with `dims: {{ \"{name}\": 32 }}`, or a value with `--dim {name}=32`"
        ));
        self.report(diagnostic);
        self.bind(name, Val::Unknown, extent.span);
    }

    /// Binds a size to what the user gives, or the default.
    fn bind_size(&mut self, name: &str, default: Val, span: Span, sizes: &mut Sizes) {
        sizes.named.insert(name.to_owned());
        let given = self.settings.dims.iter().rev().find(|(dim, _)| dim == name);
        let value = given.map_or(default, |(_, size)| Val::Int(i64::try_from(*size).unwrap_or(i64::MAX)));
        if let Some(size) = value.as_int().and_then(|size| usize::try_from(size).ok()) {
            sizes.bound.push((name.to_owned(), size));
        }
        self.bind(name, value, span);
    }

    /// Runs the model's body; then, if the entry has a body of its own, that one, which goes on from there. `keeps` says that
    /// what the model's body updates counts for it, too.
    pub(super) fn forward(&mut self, base: &Base, entry: Option<&EntryPoint>, keeps: bool) {
        let body = self.tree.body.clone();
        let (before, changes) = (self.slots.save(), self.slots.changes());
        self.pass_began = changes;
        let own = entry.and_then(|entry| entry.body.as_ref());
        let known: HashSet<NodeId> = own.map_or_else(HashSet::new, |_| self.graph.graph.nodes().collect());
        // Each pass draws the same random numbers.
        self.draws.clear();
        self.run_pass(base, &body);
        let Some(entry) = entry else { return };
        let set = self.entry_set;
        let names = self.settings_of(entry, set);
        self.frames.push(Frame { names: names.into(), parent: Some(self.frame), ..Frame::default() });
        self.frame = self.frames.len() - 1;
        let Some(own) = own else { return };
        if !keeps && !self.slots.changed_since(changes).is_empty() {
            self.slots.restore(before);
            self.loops.keeping.clear();
            self.set_aside.extend(self.graph.graph.nodes().filter(|id| !known.contains(id)));
        }
        let rows = std::mem::take(&mut self.rows);
        self.run(own);
        self.rows = rows;
    }

    /// The names of an entry's settings: what is set, or the default.
    fn settings_of(&mut self, entry: &EntryPoint, set: &[(String, Val)]) -> HashMap<String, Named> {
        let mut names = HashMap::new();
        for (name, default) in &entry.parameters {
            let given = set.iter().find(|(known, _)| *known == name.value);
            let value = given.map_or_else(|| self.eval(default), |(_, value)| value.clone());
            names.insert(name.value.clone(), (value, name.span));
        }
        names
    }

    /// Does something where the settings of an entry are known by their names.
    pub(super) fn with_settings<T>(&mut self, used: &EntryUse, inside: impl FnOnce(&mut Self) -> T) -> T {
        let tree = self.tree.clone();
        let names = self.quiet(|builder| builder.settings_of(used.entry(&tree), &used.set));
        let frame = Frame { names: names.into(), parent: Some(0), ..Frame::default() };
        self.in_frame(frame, inside)
    }

    /// Whether the entry needs a value of the model's body, whose updates were left out.
    pub(super) fn lacks_updates(&self) -> bool {
        if self.set_aside.is_empty() || self.has_mistakes() {
            return false;
        }
        let graph = &self.graph.graph;
        let outputs = graph.outputs().iter().map(|output| output.value);
        let updates = self.slots.updates().into_iter().map(|(_, value)| value);
        let mut open: Vec<NodeId> = outputs.chain(updates).map(|value| value.node).collect();
        let mut seen = HashSet::new();
        while let Some(id) = open.pop() {
            if self.set_aside.contains(&id) && !graph.node(id).operands.is_empty() {
                return true;
            }
            if seen.insert(id) {
                open.extend(graph.node(id).operands.iter().map(|value| value.node));
            }
        }
        false
    }

    fn run_pass(&mut self, base: &Base, body: &Body) {
        self.frames = vec![base.frame.clone()];
        self.frame = 0;
        self.seen.clear();
        self.twins.clear();
        self.import_sites.clear();
        self.values = NamedValues::default();
        self.reusable.clear();
        self.loops.keeping.clear();
        self.rows.clone_from(&base.rows);
        self.numbering = vec![Numbering::Kind(HashMap::new())];
        self.current = base.input.clone();
        self.run(body);
    }
}
