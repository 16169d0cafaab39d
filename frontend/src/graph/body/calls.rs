//! Layers, blocks and models that a step names, and layers that are used once more.

use std::collections::HashMap;
use std::sync::Arc;

use super::naming::STANDS_IN;
use crate::diagnostics::Diagnostic;
use crate::expr::{Expr, Template};
use crate::graph::layers::Layer;
use crate::graph::settings::{misfit, parameter_values};
use crate::graph::value::{Fault, Tensor, Val};
use crate::graph::{Builder, Call, Frame, ImportSite, LayerRow, Numbering};
use crate::model::{Block, Body, Import, Step, StepKind, Tree};
use crate::source::{Span, Spanned};

/// Blocks may use blocks this deep.
const DEEPEST: usize = 64;

impl Builder<'_> {
    /// Runs a layer, block or `Sequential` under the name that it is given, or one made of the label.
    pub(super) fn named(&mut self, name: Option<&Template>, label: &str, body: &Body, position: usize) {
        match (self.layer_name(name, label, body[position].span), &body[position].kind) {
            (Some(name), _) => self.call(&name, body, position),
            (None, kind) => {
                if let StepKind::Layer { layer, arguments, .. } = kind {
                    self.evaluate(&layer.signature, arguments);
                }
                self.skip();
            }
        }
    }

    /// Runs a layer, block or `Sequential` under a name, and notes it for `Reuse` and references.
    fn call(&mut self, name: &str, body: &Body, position: usize) {
        let path = self.full_name(name);
        if !self.reusing {
            let frames = self.frames.iter_mut().map(|frame| Frame { names: frame.names.kept(), ..*frame });
            let frames = frames.collect();
            let call =
                Call { body: body.clone(), position, frames, frame: self.frame, tree: self.tree.clone() };
            self.calls.insert(path.clone(), call);
        }
        let step = &body[position];
        match &step.kind {
            StepKind::Layer { layer, .. } => self.layer(layer, name, step),
            StepKind::Block { block, arguments, .. } => self.block_call(block, name, arguments, step.span),
            StepKind::Sequential { body, .. } => {
                self.in_scope(name, Numbering::Position(0), |builder| builder.run(body));
            }
            _ => {}
        }
        if !self.stopped {
            let value = self.current.clone();
            self.values.insert(path, value);
            self.reached(name);
        }
    }

    fn layer(&mut self, layer: &'static Layer, name: &str, step: &Step) {
        let StepKind::Layer { arguments, .. } = &step.kind else { return };
        let args = self.evaluate(&layer.signature, arguments);
        // A layer without input (a parameter) needs no current value.
        let input = if layer.source { None } else { self.current_tensor(step.span) };
        let (Some(args), true) = (args, layer.source || input.is_some()) else {
            self.current = Val::Unknown;
            return;
        };
        let path = self.full_name(name);
        let before = self.slots.parameter_count();
        self.graph.enter(&path, &self.source, step.span);
        let result =
            self.in_scope(name, Numbering::Position(0), |builder| (layer.build)(builder, input, &args));
        if let Some(fault) = self.refusing.take() {
            let fault = self.of_layer(fault, layer, &path, input);
            let refused = self.imported(fault.diagnostic(&self.source, step.span));
            self.refused.push(refused);
        }
        self.current = match result {
            Ok(tensor) => {
                self.report_unused(&args, layer.signature.name, step.span);
                let output = self.ops().ty(tensor);
                let parameters = self.slots.parameter_count() - before;
                if !self.reusing {
                    let (kind, call) = (layer.signature.name.into(), args.shown(&layer.signature));
                    self.rows.push(LayerRow { path, kind, call, output, parameters });
                }
                Val::Tensor(tensor)
            }
            Err(fault) => {
                let fault = self.of_layer(fault, layer, &path, input);
                self.fail(fault, step.span)
            }
        };
    }

    /// A mistake with the layer that has it, and what the layer was given.
    fn of_layer(&mut self, mut fault: Fault, layer: &Layer, path: &str, input: Option<Tensor>) -> Fault {
        fault.message = format!("{} `{path}`: {}", layer.signature.name, fault.message);
        let ty = input.map(|input| self.ops().ty(input).to_string());
        if let Some(ty) = ty.filter(|ty| !fault.message.contains(ty)) {
            fault = fault.note(format!("the input of this layer is {ty}"));
        }
        if let Some(place) = &self.reused_at {
            fault = fault.note(format!("it is used once more at {place}"));
        }
        fault
    }

    fn block_call(
        &mut self,
        block: &Spanned<String>,
        name: &str,
        arguments: &[(Option<Spanned<String>>, Expr)],
        span: Span,
    ) {
        let Some(definition) = self.block(&block.value) else {
            for (_, value) in arguments {
                self.eval(value);
            }
            self.skip();
            return;
        };
        let (names, good) = self.block_arguments(&definition, &block.value, arguments);
        if self.is_deep_in_doubt() {
            self.skip();
            return;
        }
        if self.depth >= DEEPEST {
            let fault = Fault::new(format!("blocks are nested more than {DEEPEST} deep"))
                .note(format!("does `{}` use itself?", block.value));
            self.fail(fault, span);
            return self.skip();
        }
        // Blocks see the model's names and their own, not those of the place where they are called.
        let mut root = self.frame;
        while let Some(parent) = self.frames[root].parent {
            root = parent;
        }
        let frame = Frame { names: names.into(), parent: Some(root), is_loop: false };
        self.depth += 1;
        self.in_frame(frame, |builder| {
            // With mistakes, too: a parameter that has no value is unknown.
            let good = builder.block_defaults(&definition, &block.value, span, good);
            let numbering = Numbering::Kind(HashMap::new());
            builder.in_scope(name, numbering, |builder| builder.run(&definition.body));
            if !good {
                builder.current = Val::Unknown;
            }
        });
        self.depth -= 1;
    }

    /// The arguments of a block by the names of its parameters, and whether there is no mistake in them.
    fn block_arguments(
        &mut self,
        definition: &Block,
        block: &str,
        arguments: &[(Option<Spanned<String>>, Expr)],
    ) -> (HashMap<String, (Val, Span)>, bool) {
        let mut names: HashMap<String, (Val, Span)> = HashMap::new();
        let mut good = true;
        for (position, (key, value)) in arguments.iter().enumerate() {
            let parameter = match key {
                Some(key) => definition.parameters.iter().find(|(name, _)| name.value == key.value),
                None => definition.parameters.get(position),
            };
            let evaluated = self.eval(value);
            let Some((parameter, _)) = parameter else {
                let (found, place, message) = match key {
                    Some(Spanned { value: key, span }) => {
                        (key.as_str(), *span, format!("the block `{block}` has no parameter `{key}`"))
                    }
                    None => {
                        let count = definition.parameters.len();
                        ("", value.span, format!("the block `{block}` has {count} parameters"))
                    }
                };
                let valid = definition.parameters.iter().map(|(name, _)| name.value.as_str());
                let diagnostic = Diagnostic::new(&self.source, place, message).suggest(found, valid);
                self.report(diagnostic);
                good = false;
                continue;
            };
            if names.insert(parameter.value.clone(), (evaluated, value.span)).is_some() {
                let message = format!("`{}` is given twice", parameter.value);
                let place = key.as_ref().map_or(value.span, |key| key.span);
                self.report(Diagnostic::new(&self.source, place, message));
                good = false;
            }
        }
        (names, good)
    }

    /// Gives the parameters that have no argument their defaults, which may use those before them; whether all have values
    /// then. One that is missing is reported where nothing else is wrong.
    fn block_defaults(&mut self, definition: &Block, block: &str, span: Span, mut good: bool) -> bool {
        for (parameter, default) in &definition.parameters {
            let frame = self.frame;
            if self.frames[frame].names.get(&parameter.value).is_some() {
                continue;
            }
            let value = match default {
                Some(default) => self.eval(default),
                None => {
                    if good {
                        let message = format!("the block `{block}` needs `{}`", parameter.value);
                        self.fail(Fault::new(message), span);
                    }
                    good = false;
                    Val::Unknown
                }
            };
            self.frames[frame].names.insert(parameter.value.clone(), (value, parameter.span));
        }
        good
    }

    /// Whether steps are not known to be run, and a block around them neither: what it ends by may be what is a mistake.
    fn is_deep_in_doubt(&self) -> bool {
        self.in_doubt.is_some_and(|depth| self.depth > depth)
    }

    pub(super) fn reuse(&mut self, name: &Template, span: Span) {
        let filled = self.fill(name).filter(|_| !self.is_deep_in_doubt());
        let Some(filled) = filled else {
            self.skip();
            return;
        };
        let call = [self.full_name(&filled), filled.clone()]
            .iter()
            .find_map(|path| self.calls.get(path).map(|call| (path.clone(), call.clone())));
        let Some((path, call)) = call else {
            let mut names: Vec<String> =
                self.calls.keys().filter(|name| !name.contains(STANDS_IN)).cloned().collect();
            names.sort();
            let message = format!("there is no layer `{filled}` to reuse");
            let mut diagnostic = Diagnostic::new(&self.source, name.span, message)
                .suggest(&filled, names.iter().map(String::as_str));
            if !(1..=16).contains(&names.len()) {
                diagnostic = diagnostic.help(format!(
                    "a layer is reused behind where it stands, by the name that it was given: `Linear(name: \"{filled}\", ...)`"
                ));
            }
            self.report(diagnostic);
            self.current = Val::Unknown;
            return;
        };
        if self.depth >= DEEPEST {
            let fault = Fault::new(format!("blocks are nested more than {DEEPEST} deep"))
                .note(format!("does `{filled}` use itself?"));
            self.current = self.fail(fault, span);
            return;
        }
        self.depth += 1;
        let outer_path = std::mem::take(&mut self.path);
        let outer_frames = std::mem::replace(&mut self.frames, call.frames);
        let outer_frame = std::mem::replace(&mut self.frame, call.frame);
        let outer_tree = std::mem::replace(&mut self.tree, call.tree.clone());
        let outer_source = std::mem::replace(&mut self.source, call.tree.source.clone());
        let outer_reusing = std::mem::replace(&mut self.reusing, true);
        let (line, column) = outer_source.position(span.start);
        let place = format!("{}:{line}:{column}", outer_source.name);
        let outer_place = self.reused_at.replace(place);
        self.call(&path, &call.body, call.position);
        self.reused_at = outer_place;
        self.path = outer_path;
        self.frames = outer_frames;
        self.frame = outer_frame;
        self.tree = outer_tree;
        self.source = outer_source;
        self.reusing = outer_reusing;
        self.depth -= 1;
    }

    /// The values that an import sets, computed in the file that imports; a mistake there if the parameter is of another kind.
    fn import_values(&mut self, tree: &Tree, import: &Import) -> Vec<(String, Val)> {
        let mut values = Vec::new();
        for (key, setting) in &import.set {
            let mut value = match &setting.text {
                None => self.eval(&setting.value),
                // A text stands for itself, unless it is an expression that gives one.
                Some(text) => match self.quiet(|builder| builder.eval(&setting.value)) {
                    value @ (Val::Text(_) | Val::List(_)) => value,
                    _ => Val::Text(text.clone()),
                },
            };
            let parameter = tree.parameters.iter().find(|(name, _)| name.value == key.value);
            let expected = parameter.and_then(|(_, default)| misfit(default, &value));
            if let Some(expected) = expected.filter(|_| value != Val::None) {
                let (name, found) = (&key.value, value.describe());
                let message = format!("the parameter `{name}` must be {expected}, found {found}");
                value = self.fail(Fault::new(message), setting.value.span);
            }
            values.push((key.value.clone(), value));
        }
        values
    }

    pub(super) fn import(&mut self, import: &Import, span: Span) {
        let prefix = match &import.name {
            Some(name) => self.import_name(name),
            None => Some(String::new()),
        };
        let until = match &import.until {
            Some(until) => self.fill(until).map(Some),
            None => Some(None),
        };
        let values = import.tree.as_ref().map(|tree| self.import_values(tree, import));
        // Without a known end, what lies behind it is not known to be run.
        let (Some(tree), Some(values), Some(prefix), Some(until)) = (&import.tree, values, prefix, until)
        else {
            self.skip();
            return;
        };
        let variant = import.variant.as_ref().map(|variant| variant.value.as_str());
        let chosen = variant.map(|variant| format!("the variant `{variant}`"));
        let set = values.iter().map(|(name, value)| format!("{name} = {}", value.describe()));
        let set: Vec<String> = chosen.into_iter().chain(set).collect();
        let place = import.name.as_ref().map_or(span, |name| name.span);
        let site = ImportSite { source: self.source.clone(), span: place, set: set.join(", "), told: false };
        self.importing.push(self.import_sites.len());
        self.import_sites.push(site);
        let outer_until = self.until.take();
        let outer_tree = std::mem::replace(&mut self.tree, Arc::clone(tree));
        let outer_source = std::mem::replace(&mut self.source, tree.source.clone());
        // It sees nothing of this file, and places in it are in the other.
        let outer_values = std::mem::take(&mut self.values);
        let mut names = self.in_frame(Frame::default(), |builder| {
            parameter_values(tree, variant, &values, |expr| builder.eval(expr))
        });
        if let Some(input) = tree.inputs.first() {
            names.insert(input.name.value.clone(), (self.current.clone(), input.name.span));
        }
        let frame = Frame { names: names.into(), parent: None, is_loop: false };
        // Without a name, its layers stand among those around it, and are counted with them.
        let counted = match self.numbering.last() {
            Some(Numbering::Kind(counts)) if prefix.is_empty() => Some(counts.clone()),
            _ => None,
        };
        let among = counted.is_some();
        self.in_frame(frame, |builder| {
            let numbering = Numbering::Kind(counted.unwrap_or_default());
            let counted = builder.in_scope(&prefix, numbering, |builder| {
                builder.until = until.as_ref().map(|until| builder.full_name(until));
                builder.run(&tree.body);
                builder.numbering.last().cloned()
            });
            if let (true, Some(outer), Some(counted)) = (among, builder.numbering.last_mut(), counted) {
                *outer = counted;
            }
        });
        let values = std::mem::replace(&mut self.values, outer_values);
        self.values.extend(values);
        self.importing.pop();
        self.source = outer_source;
        self.tree = outer_tree;
        self.until = outer_until;
        if let (Some(until), false) = (&until, self.stopped) {
            let place = import.until.as_ref().map_or(span, |until| until.span);
            let known = !self.has_mistakes();
            if known {
                let message = format!("`{}` has no layer or value `{until}`", import.model.value);
                self.fail(Fault::new(message), place);
            }
            self.current = Val::Unknown;
        }
        self.stopped = false;
    }
}
