//! Runs the steps of a body.

use std::collections::HashMap;
use std::sync::Arc;

use super::value::{Fault, Val};
use super::{Builder, Call, Frame, LayerRow, Numbering, Seen};
use crate::diagnostics::Diagnostic;
use crate::expr::{Expr, Template};
use crate::layers::Layer;
use crate::model::{Body, Branch, Import, Join, Step, StepKind};
use crate::source::{Span, Spanned};

/// Most steps of one graph: repetition is bounded, so that every model that is accepted is checked within seconds. The deepest
/// residual networks that have been trained, of 1202 layers, have 7,000.
const MOST_STEPS: usize = 20_000;

/// Blocks may use blocks this deep.
const DEEPEST: usize = 64;

impl Builder<'_> {
    /// Runs all steps from the current value.
    pub fn run(&mut self, body: &Body) {
        for position in 0..body.len() {
            if self.stopped || self.steps > MOST_STEPS {
                return;
            }
            self.steps += 1;
            if self.steps > MOST_STEPS {
                self.check_steps(body[position].span);
                return;
            }
            self.step(body, position);
        }
    }

    fn step(&mut self, body: &Body, position: usize) {
        let step = &body[position];
        let span = step.span;
        match &step.kind {
            StepKind::Broken => self.current = Val::Unknown,
            StepKind::Layer { layer, name, .. } => {
                let Some(name) = self.layer_name(name.as_ref(), layer.label, span) else { return };
                self.call(&name, body, position);
            }
            StepKind::Block { block, name, .. } => {
                let Some(name) = self.layer_name(name.as_ref(), &block.value.to_lowercase(), span) else {
                    return;
                };
                self.call(&name, body, position);
            }
            StepKind::Sequential { name, .. } => {
                let Some(name) = self.layer_name(name.as_ref(), "sequential", span) else { return };
                self.call(&name, body, position);
            }
            StepKind::Join { join, axis, branches } => self.join(*join, axis.as_ref(), branches, span),
            StepKind::Repeat { times, index, body } => {
                let value = self.eval(times);
                match value.as_int() {
                    _ if value.is_unknown() => self.current = Val::Unknown,
                    Some(times @ 0..) => {
                        // An iteration counts as a step itself, so that too many are known before the first.
                        let least = (times as usize).saturating_mul(1 + body.len());
                        if least > MOST_STEPS - self.steps.min(MOST_STEPS) {
                            self.steps = MOST_STEPS + 1;
                        }
                        for at in 0..times {
                            if self.stopped || self.steps > MOST_STEPS {
                                break;
                            }
                            self.steps += 1;
                            self.iteration(index, Val::Int(at), body, span);
                        }
                        self.check_steps(span);
                    }
                    _ => {
                        let message =
                            format!("`Repeat` needs a whole number from 0 on, found {}", value.describe());
                        self.current = self.fail(Fault::new(message), times.span);
                    }
                }
            }
            StepKind::For { each, within, body } => match self.eval(within) {
                Val::Unknown => self.current = Val::Unknown,
                Val::List(items) => {
                    for item in items {
                        if self.stopped || self.steps > MOST_STEPS {
                            break;
                        }
                        self.steps += 1;
                        self.iteration(each, item, body, span);
                    }
                    self.check_steps(span);
                }
                other => {
                    let fault = Fault::new(format!("`For` goes over a list, found {}", other.describe()))
                        .help("count with `range(n)`");
                    self.current = self.fail(fault, within.span);
                }
            },
            StepKind::If { condition, then, otherwise } => match self.eval(condition) {
                Val::Bool(true) => self.run(then),
                Val::Bool(false) => self.run(otherwise),
                Val::Unknown => self.current = Val::Unknown,
                other => {
                    let message = format!("a condition must be true or false, found {}", other.describe());
                    self.current = self.fail(Fault::new(message), condition.span);
                }
            },
            StepKind::Aside(body) => {
                let before = self.current.clone();
                self.run(body);
                if !self.stopped {
                    self.current = before;
                }
            }
            StepKind::As(name) => {
                if let Some(filled) = self.fill(name) {
                    let value = self.current.clone();
                    self.bind(&filled, value, name.span);
                    self.reached(&filled);
                }
            }
            StepKind::Ref(name) => {
                if let Some(filled) = self.fill(name) {
                    self.current = self.eval(&crate::model::steps::name_expr(&filled, name.span));
                }
            }
            StepKind::Let(name, value) => {
                let value = self.eval(value);
                self.bind(&name.value, value, name.span);
            }
            StepKind::Expr(value) => self.current = self.eval(value),
            StepKind::Reuse(name) => self.reuse(name, span),
            StepKind::Import(import) => self.import(import, span),
        }
    }

    /// Says once that there are too many steps; what else goes wrong then follows from that.
    fn check_steps(&mut self, span: Span) {
        if self.steps > MOST_STEPS {
            let fault = Fault::new(format!("the model has more than {MOST_STEPS} steps"))
                .help("each layer is one, and each iteration of a repetition");
            self.current = self.fail(fault, span);
            self.given_up = true;
        }
    }

    fn iteration(&mut self, index: &str, value: Val, body: &Body, span: Span) {
        let names = HashMap::from([(index.to_owned(), (value, span))]);
        let frame = Frame { names, parent: Some(self.frame), is_loop: true };
        self.in_frame(frame, |builder| builder.run(body));
    }

    /// The path of a layer: as given, or by position or kind; a path used before is a mistake.
    fn layer_name(&mut self, name: Option<&Template>, label: &str, span: Span) -> Option<String> {
        let given = name.is_some();
        let name = match name {
            Some(template) => {
                let filled = self.fill(template);
                if filled.is_none() {
                    self.current = Val::Unknown;
                }
                filled?
            }
            None => self.automatic_name(label),
        };
        let path = self.full_name(&name);
        if path.len() > 512
            || path.split('.').any(str::is_empty)
            || path.chars().any(|c| c.is_whitespace() || c.is_control() || c == '#')
        {
            self.current = self.fail(
                Fault::new(format!(
                    "{:?} cannot name a layer: it is empty, longer than 512 bytes, or has white space, control \
                     characters or `#`",
                    name.chars().take(40).collect::<String>()
                )),
                span,
            );
            return None;
        }
        if !self.reusing {
            self.note_layer(path, given, span);
        }
        Some(name)
    }

    /// The next name that no layer is given.
    fn automatic_name(&mut self, label: &str) -> String {
        loop {
            let name = match self.numbering.last_mut() {
                Some(Numbering::Kind(counts)) => {
                    let count = counts.entry(label.to_owned()).or_default();
                    *count += 1;
                    format!("{label}{count}")
                }
                Some(Numbering::Bare(counts)) => {
                    let count = counts.entry(label.to_owned()).or_default();
                    *count += 1;
                    if *count == 1 { label.to_owned() } else { format!("{label}{count}") }
                }
                Some(Numbering::Position(next)) => {
                    *next += 1;
                    (*next - 1).to_string()
                }
                None => return label.to_owned(),
            };
            if !self.layer_names.is_given(&self.full_name(&name)) {
                return name;
            }
        }
    }

    /// A layer of that path is built; another one before is a mistake.
    fn note_layer(&mut self, path: String, given: bool, span: Span) {
        self.layer_names.add(&path, given);
        let seen = Seen { source: self.source.clone(), span };
        let Some(first) = self.seen.insert(path.clone(), seen) else { return };
        let diagnostic = Diagnostic::new(&self.source, span, format!("two layers are named `{path}`"))
            .help(format!("give it another `name`, or share the weights with `Reuse(\"{path}\")`"));
        let diagnostic = if first.source.name != self.source.name {
            let (line, column) = first.source.position(first.span.start);
            diagnostic.note(format!("the first is at {}:{line}:{column}", first.source.name))
        } else if first.span != span {
            diagnostic.context(first.span, "the first is here")
        } else {
            diagnostic.note("it is built more than once: in a repetition use the index, as in \"conv{i}\"")
        };
        self.report(diagnostic);
    }

    /// Runs a layer, block or `Sequential` under a name, and notes it for `Reuse` and references.
    fn call(&mut self, name: &str, body: &Body, position: usize) {
        let path = self.full_name(name);
        if !self.reusing {
            let call = Call {
                body: body.clone(),
                position,
                frames: self.frames.clone(),
                frame: self.frame,
                tree: self.tree.clone(),
            };
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

    /// Stops an import at its `until`.
    fn reached(&mut self, name: &str) {
        if self.until.is_some() && self.until.as_deref() == Some(&self.full_name(name)) {
            self.stopped = true;
        }
    }

    fn layer(&mut self, layer: &'static Layer, name: &str, step: &Step) {
        let StepKind::Layer { arguments, .. } = &step.kind else { return };
        let args = self.evaluate(layer.signature.parameters, arguments);
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
        self.current = match result {
            Ok(tensor) => {
                self.report_unused(&args, layer.signature.name, step.span);
                let output = self.ops().ty(tensor);
                let parameters = self.slots.parameter_count() - before;
                if !self.reusing {
                    self.rows.push(LayerRow { path, kind: layer.signature.name.into(), output, parameters });
                }
                Val::Tensor(tensor)
            }
            Err(mut fault) => {
                fault.message = format!("{} `{path}`: {}", layer.signature.name, fault.message);
                let ty = input.map(|input| self.ops().ty(input).to_string());
                if let Some(ty) = ty.filter(|ty| !fault.message.contains(ty)) {
                    fault = fault.note(format!("the input of this layer is {ty}"));
                }
                if let Some(place) = &self.reused_at {
                    fault = fault.note(format!("it is used once more at {place}"));
                }
                self.fail(fault, step.span)
            }
        };
    }

    fn block_call(
        &mut self,
        block: &Spanned<String>,
        name: &str,
        arguments: &[(Option<Spanned<String>>, Expr)],
        span: Span,
    ) {
        let Some(definition) = self.block(&block.value) else {
            self.current = Val::Unknown;
            return;
        };
        let mut names: HashMap<String, (Val, Span)> = HashMap::new();
        let mut good = true;
        for (position, (key, value)) in arguments.iter().enumerate() {
            let parameter = match key {
                Some(key) => definition.parameters.iter().find(|(name, _)| name.value == key.value),
                None => definition.parameters.get(position),
            };
            let evaluated = self.eval(value);
            let Some((parameter, _)) = parameter else {
                let (found, place) = match key {
                    Some(key) => (key.value.as_str(), key.span),
                    None => ("", value.span),
                };
                let message = match key {
                    Some(key) => format!("the block `{}` has no parameter `{}`", block.value, key.value),
                    None => {
                        format!("the block `{}` has {} parameters", block.value, definition.parameters.len())
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
        if self.depth >= DEEPEST {
            let fault = Fault::new(format!("blocks are nested more than {DEEPEST} deep"))
                .note(format!("does `{}` use itself?", block.value));
            self.fail(fault, span);
            good = false;
        }
        // Blocks see the model's names and their own, not those of the place where they are called.
        let mut root = self.frame;
        while let Some(parent) = self.frames[root].parent {
            root = parent;
        }
        let frame = Frame { names, parent: Some(root), is_loop: false };
        self.depth += 1;
        self.in_frame(frame, |builder| {
            for (parameter, default) in &definition.parameters {
                let frame = builder.frame;
                if builder.frames[frame].names.contains_key(&parameter.value) {
                    continue;
                }
                let value = match default {
                    Some(default) => builder.eval(default),
                    None => {
                        if good {
                            let message = format!("the block `{}` needs `{}`", block.value, parameter.value);
                            builder.fail(Fault::new(message), span);
                        }
                        good = false;
                        Val::Unknown
                    }
                };
                builder.frames[frame].names.insert(parameter.value.clone(), (value, parameter.span));
            }
            if good {
                let numbering = Numbering::Kind(HashMap::new());
                builder.in_scope(name, numbering, |builder| builder.run(&definition.body));
            } else {
                builder.current = Val::Unknown;
            }
        });
        self.depth -= 1;
    }

    fn join(&mut self, join: Join, axis: Option<&Expr>, branches: &[Branch], span: Span) {
        let input = self.current.clone();
        let mut results = Vec::new();
        for branch in branches {
            self.current = input.clone();
            match branch {
                Branch::Body(body) => self.run(body),
                Branch::Expr(expr) => self.current = self.eval(expr),
            }
            if self.stopped {
                return;
            }
            results.push(self.current.clone());
        }
        let axis = axis.map_or(Val::Int(1), |axis| self.eval(axis));
        if axis.is_unknown() || results.iter().any(Val::is_unknown) {
            self.current = Val::Unknown;
            return;
        }
        let path = self.full_name("");
        self.graph.enter(&path, &self.source, span);
        let mut tensors = Vec::new();
        for result in &results {
            match result {
                Val::Tensor(tensor) => tensors.push(*tensor),
                other => {
                    let fault =
                        Fault::new(format!("a branch must give a tensor, found {}", other.describe()));
                    self.current = self.fail(fault, span);
                    return;
                }
            }
        }
        let mut ops = self.ops();
        let result = match join {
            Join::Concat => match axis.as_int() {
                Some(axis) => ops.concat(&tensors, axis),
                None => Err(Fault::new(format!("`axis` must be a whole number, found {}", axis.describe()))),
            },
            Join::Add | Join::Multiply => tensors[1..].iter().try_fold(tensors[0], |sum, &next| {
                let (left, right) = (ops.ty(sum), ops.ty(next));
                let meet = left.dims.iter().zip(&right.dims).all(|(&a, &b)| a == b || a == 1 || b == 1);
                match (left.rank() == right.rank() && meet, join) {
                    (true, Join::Add) => ops.add(sum, next),
                    (true, _) => ops.mul(sum, next),
                    (false, _) => Err(Fault::new(format!(
                        "branches of different shapes cannot be joined: {left} and {right}"
                    ))
                    .note("branches have as many axes as each other; extents are equal, or one of them is 1")
                    .help("bring them to one shape, for instance with a 1x1 convolution of the same stride")),
                }
            }),
        };
        self.current = self.resolve(result.map(Val::Tensor), span);
    }

    fn reuse(&mut self, name: &Template, span: Span) {
        let Some(filled) = self.fill(name) else {
            self.current = Val::Unknown;
            return;
        };
        let call = [self.full_name(&filled), filled.clone()]
            .iter()
            .find_map(|path| self.calls.get(path).map(|call| (path.clone(), call.clone())));
        let Some((path, call)) = call else {
            let mut names: Vec<String> = self.calls.keys().cloned().collect();
            names.sort();
            let message = format!("there is no layer `{filled}` to reuse");
            let diagnostic = Diagnostic::new(&self.source, name.span, message)
                .suggest(&filled, names.iter().map(String::as_str));
            self.report(diagnostic);
            self.current = Val::Unknown;
            return;
        };
        if self.depth >= DEEPEST {
            self.current = self.fail(Fault::new(format!("blocks are nested more than {DEEPEST} deep")), span);
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

    fn import(&mut self, import: &Import, span: Span) {
        let prefix = match &import.name {
            Some(name) => self.fill(name),
            None => Some(String::new()),
        };
        let until = match &import.until {
            Some(until) => self.fill(until).map(Some),
            None => Some(None),
        };
        let (Some(tree), Some(prefix), Some(until)) = (&import.tree, prefix, until) else {
            self.current = Val::Unknown;
            return;
        };
        let mut values = Vec::new();
        for (key, value) in &import.set {
            values.push((key.value.clone(), self.eval(value)));
        }
        let outer_until = self.until.take();
        let outer_tree = std::mem::replace(&mut self.tree, Arc::clone(tree));
        let outer_source = std::mem::replace(&mut self.source, tree.source.clone());
        // It sees nothing of this file, and places in it are in the other.
        let outer_values = std::mem::take(&mut self.values);
        let variant = import.variant.as_ref().map(|variant| variant.value.as_str());
        let mut names = self.in_frame(Frame::default(), |builder| {
            super::settings::parameter_values(tree, variant, &values, |expr| builder.eval(expr))
        });
        if let Some(input) = tree.inputs.first() {
            names.insert(input.name.value.clone(), (self.current.clone(), input.name.span));
        }
        let frame = Frame { names, parent: None, is_loop: false };
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
