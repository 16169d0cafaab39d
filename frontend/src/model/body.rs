//! Steps of a body: layers, blocks, and what combines them.

use std::sync::Arc;

use super::decoder::{Decoder, Given};
use super::file::read;
use super::notation::{FieldRef, Value, ValueKind, field_list};
use super::structure::{BodyWord, Structured, TABLE};
use super::tree::{
    Arguments, Beginning, Body, BodyStep, BodyStepKind, Branch, Import, Join, LetNames, ModelTree, ScanStep,
};
use crate::diagnostics::Diagnostic;
use crate::expr::{Expr, Template};
use crate::signature::{Words, find};
use crate::source::{Source, Span, Spanned};

/// Names that later versions of the language give a meaning to.
const RESERVED: [&str; 2] = ["While", "Random"];

/// Files may import files this deep.
const DEEPEST_IMPORT: usize = 8;

impl Decoder<'_> {
    /// A list of steps.
    pub fn body(&mut self, value: &Value) -> Body {
        let steps = self.list(value, "a list of layers").iter().map(|step| self.step(step)).collect();
        Arc::new(steps)
    }

    fn step(&mut self, value: &Value) -> BodyStep {
        let (kind, complete) = match &value.kind {
            ValueKind::Struct(Some(name), fields) => self.named_step(name, &field_list(fields), value.span),
            _ => {
                self.mismatch(value, "a layer");
                (None, true)
            }
        };
        BodyStep { kind: kind.unwrap_or(BodyStepKind::Broken), complete, span: value.span }
    }

    /// A step by its name, and whether nothing is wrong in its form: a layer, a block of the model's own, or a structure.
    fn named_step(
        &mut self,
        name: &Spanned<String>,
        fields: &[FieldRef],
        span: Span,
    ) -> (Option<BodyStepKind>, bool) {
        if let Some(layer) = self.context.vocabulary.layer(&name.value) {
            let (name, rest) = self.split_name(fields);
            let arguments = self.arguments(layer, &rest, span);
            let complete = arguments.complete;
            return (Some(BodyStepKind::Layer { layer, name, arguments }), complete);
        }
        if self.blocks.contains(&name.value) {
            return (Some(self.block_call(name, fields)), true);
        }
        match find::<BodyWord>(&name.value) {
            Some(BodyWord::Block) => {
                self.error(name.span, "a block is defined in `blocks`, not in a body");
                (None, true)
            }
            Some(word) => {
                let given = self.matched(&word.structure(), fields, span);
                (self.structure(word, &name.value, &given, span), given.complete)
            }
            None => {
                self.unknown_step(name);
                (None, true)
            }
        }
    }

    fn unknown_step(&mut self, name: &Spanned<String>) {
        let mut diagnostic =
            Diagnostic::new(&self.source, name.span, format!("there is no layer `{}`", name.value));
        if RESERVED.contains(&name.value.as_str()) {
            diagnostic = diagnostic.note(format!("`{}` is reserved for a later version", name.value));
        } else {
            let blocks = self.blocks.clone();
            let layers = self.context.vocabulary.layers.iter().map(|layer| layer.name);
            let known = layers.chain(BodyWord::NAMES.iter().copied());
            let names: Vec<&str> =
                blocks.iter().map(String::as_str).chain(known.map(|name| -> &str { name })).collect();
            diagnostic = diagnostic.suggest(&name.value, names);
        }
        self.report(diagnostic);
    }

    /// Takes `name: "..."` out of the fields.
    fn split_name<'f>(&mut self, fields: &[FieldRef<'f>]) -> (Option<Template>, Vec<FieldRef<'f>>) {
        let is_name = |field: &&FieldRef| field.0.is_some_and(|name| name.value == "name");
        let mut names = fields.iter().filter(is_name);
        let name = names.next().map(|(_, value)| self.template_or_mistake(value));
        if let Some((_, again)) = names.next() {
            self.error(again.span, "`name` is given twice");
        }
        (name, fields.iter().filter(|field| !is_name(field)).copied().collect())
    }

    fn block_call(&mut self, block: &Spanned<String>, fields: &[FieldRef]) -> BodyStepKind {
        let (name, rest) = self.split_name(fields);
        let arguments = rest
            .into_iter()
            .map(|(name, value)| (name.cloned(), self.expression_or_mistake(value)))
            .collect();
        BodyStepKind::Block { block: block.clone(), name, arguments }
    }

    fn structure(&mut self, word: BodyWord, what: &str, given: &Given, span: Span) -> Option<BodyStepKind> {
        Some(match word {
            BodyWord::Sequential => {
                let name = given.get("name").map(|value| self.template_or_mistake(value));
                BodyStepKind::Sequential { name, body: self.given_body(given, "body") }
            }
            BodyWord::Aside => BodyStepKind::Aside(self.given_body(given, "body")),
            BodyWord::With => BodyStepKind::With {
                of: given.get("of").map_or(Vec::new(), |value| self.patterns(value)),
                by: self.given_body(given, "by"),
                body: self.given_body(given, "body"),
            },
            BodyWord::Residual => {
                let body = self.given_body(given, "body");
                let branches = vec![Branch::Body(Body::default()), Branch::Body(body)];
                BodyStepKind::Join { join: Join::Add, axis: None, branches }
            }
            BodyWord::Add => self.branches(Join::Add, what, given)?,
            BodyWord::Multiply => self.branches(Join::Multiply, what, given)?,
            BodyWord::Concat => self.branches(Join::Concat, what, given)?,
            BodyWord::Repeat => {
                let index = given.get("index").map(|value| self.identifier(value));
                let times = self.given_expression(given, "times", span);
                let body = self.given_body(given, "body");
                let index = index.flatten().map_or("i".into(), |index| index.value);
                BodyStepKind::Repeat { times, index, body }
            }
            BodyWord::For => {
                let each = given.get("each").and_then(|value| self.identifier(value));
                let within = self.given_expression(given, "within", span);
                let body = self.given_body(given, "body");
                BodyStepKind::For { each: each?.value, within, body }
            }
            BodyWord::If => {
                let condition = self.given_expression(given, "condition", span);
                let then = self.given_body(given, "then");
                let otherwise = self.given_body(given, "otherwise");
                BodyStepKind::If { condition, then, otherwise }
            }
            BodyWord::As => BodyStepKind::As(self.given_template(given, span)),
            BodyWord::Ref => BodyStepKind::Ref(self.given_template(given, span)),
            BodyWord::Reuse => {
                let name = self.given_template(given, span);
                let values = given.get("set").map(|value| self.map(value, "a map of arguments to values"));
                let values = values.into_iter().flatten();
                let set = values.map(|(key, value)| (key, self.expression_or_mistake(value))).collect();
                BodyStepKind::Reuse { name, set }
            }
            BodyWord::Let => {
                let names = given.get("name").and_then(|value| self.let_names(value));
                let value = self.given_expression(given, "value", span);
                BodyStepKind::Let { names: names?, value }
            }
            BodyWord::Scan => BodyStepKind::Scan(Box::new(self.scan(given))),
            BodyWord::Carry => {
                let name = given.get("name").and_then(|value| self.identifier(value));
                let start = self.given_expression(given, "start", span);
                let kept = given.get("kept").map(|value| self.expression_or_mistake(value));
                BodyStepKind::Carry { name: name?, start, kept }
            }
            BodyWord::State => {
                let name = self.given_template(given, span);
                let ty = given.get("type").and_then(|value| self.type_expr(value));
                BodyStepKind::State { name, ty, init: self.beginning(given) }
            }
            BodyWord::Update => BodyStepKind::Update(self.update(given, span)),
            BodyWord::Expr => BodyStepKind::Expr(self.given_expression(given, "value", span)),
            BodyWord::Import => BodyStepKind::Import(Box::new(self.import(given)?)),
            // Reported before its fields are read.
            BodyWord::Block => return None,
        })
    }

    /// What a state begins as: `Data("frequency")` is a table of the data set.
    fn beginning(&mut self, given: &Given) -> Beginning {
        if let Some(value) = given.get("init")
            && let ValueKind::Struct(Some(kind), fields) = &value.kind
            && kind.value == TABLE.name
        {
            let given = self.matched(&TABLE, &field_list(fields), value.span);
            let table = given.get("table").and_then(|value| self.spanned_text(value, "the name of a table"));
            return Beginning::Table(table.map_or(String::new(), |table| table.value));
        }
        Beginning::Initializer(self.initializer(given))
    }

    /// The argument `init`, if it is given.
    fn initializer(&mut self, given: &Given) -> Arguments {
        let mut arguments = Arguments { given: Vec::new(), complete: true };
        if let Some(value) = given.get("init") {
            let init = self.context.vocabulary.init;
            match self.argument(&init, value) {
                Some(argument) => arguments.given.push((init.name, Spanned::new(argument, value.span))),
                None => arguments.complete = false,
            }
        }
        arguments
    }

    /// The name of a `Let`, or its list of names.
    fn let_names(&mut self, value: &Value) -> Option<LetNames> {
        let ValueKind::List(items) = &value.kind else { return self.identifier(value).map(LetNames::One) };
        let names: Vec<_> = items.iter().map(|item| self.identifier(item)).collect();
        names.into_iter().collect::<Option<_>>().map(LetNames::Each)
    }

    fn scan(&mut self, given: &Given) -> ScanStep {
        let name = given.get("name").map(|value| self.template_or_mistake(value));
        let mut expression = |name| given.get(name).map(|value| self.expression_or_mistake(value));
        let [axis, times, reverse, lengths, until] =
            ["axis", "times", "reverse", "lengths", "until"].map(&mut expression);
        let over = given.get("over").map(|value| {
            let ValueKind::Map(_) = &value.kind else {
                return vec![(None, self.expression_or_mistake(value))];
            };
            let mut sequences = Vec::new();
            for (name, value) in self.map(value, "a map of names to sequences") {
                let value = self.expression_or_mistake(value);
                let good = self.check_identifier(&name);
                sequences.push((good.then_some(name), value));
            }
            sequences
        });
        let index = given.get("index").and_then(|value| self.identifier(value));
        let body = self.given_body(given, "body");
        ScanStep { name, body, axis, over, times, index, reverse, lengths, until }
    }

    /// The branches of a join.
    fn branches(&mut self, join: Join, what: &str, given: &Given) -> Option<BodyStepKind> {
        let axis = given.get("axis").map(|value| self.expression_or_mistake(value));
        let value = given.get("branches")?;
        let mut branches = Vec::new();
        for branch in self.list(value, "a list of branches, each a list of layers") {
            branches.push(match &branch.kind {
                ValueKind::Text(_) => Branch::Expr(self.expression_or_mistake(branch)),
                ValueKind::List(_) => Branch::Body(self.body(branch)),
                ValueKind::Struct(..) => Branch::Body(Arc::new(vec![self.step(branch)])),
                _ => {
                    self.mismatch(branch, "a branch: a list of layers, or an expression");
                    Branch::Expr(Expr::mistake(branch.span))
                }
            });
        }
        if branches.is_empty() {
            self.error(value.span, format!("`{what}` needs at least one branch"));
            return None;
        }
        Some(BodyStepKind::Join { join, axis, branches })
    }

    fn given_body(&mut self, given: &Given, name: &str) -> Body {
        given.get(name).map_or_else(Body::default, |value| self.body(value))
    }

    /// An expression of a step; one that is missing, which is reported, is a mistake.
    fn given_expression(&mut self, given: &Given, name: &str, span: Span) -> Expr {
        given.get(name).map_or(Expr::mistake(span), |value| self.expression_or_mistake(value))
    }

    /// The `name` of a step; see [`Self::given_expression`].
    fn given_template(&mut self, given: &Given, span: Span) -> Template {
        given.get("name").map_or(Template::mistake(span), |value| self.template_or_mistake(value))
    }

    fn import(&mut self, given: &Given) -> Option<Import> {
        let variant =
            given.get("variant").and_then(|value| self.spanned_text(value, "the name of a variant"));
        let name = given.get("name").map(|value| self.template_or_mistake(value));
        let until = given.get("until").map(|value| self.template_or_mistake(value));
        let model = self.spanned_text(given.get("model")?, "the name of a model or its file")?;
        let tree = self.load(&model);
        let parameters = tree.as_ref().map_or(&[][..], |tree| &tree.parameters);
        let set = given.get("set").map_or(Vec::new(), |value| self.import_settings(value, parameters));
        if let (Some(tree), Some(variant)) = (&tree, &variant) {
            let names = || tree.variants.iter().map(|variant| variant.name.value.as_str());
            if !names().any(|name| name == variant.value) {
                let message = format!("`{}` has no variant `{}`", model.value, variant.value);
                let diagnostic =
                    Diagnostic::new(&self.source, variant.span, message).suggest(&variant.value, names());
                self.report(diagnostic);
            }
        }
        if let Some(tree) = &tree {
            for (key, _) in &set {
                self.known_parameter(key, &tree.parameters);
            }
        }
        Some(Import { tree, model, variant, set, name, until })
    }

    fn load(&mut self, model: &Spanned<String>) -> Option<Arc<ModelTree>> {
        let resolved = (self.context.resolver)(&model.value, &self.source.name);
        let (name, text) = match resolved {
            Ok(found) => found,
            Err(reason) => {
                self.error(model.span, format!("cannot import `{}`: {reason}", model.value));
                return None;
            }
        };
        if self.importing.contains(&name) {
            let chain = self.importing.join(" -> ");
            let diagnostic = Diagnostic::new(&self.source, model.span, "a model imports itself")
                .note(format!("{chain} -> {name}"));
            self.report(diagnostic);
            return None;
        }
        if self.importing.len() >= DEEPEST_IMPORT {
            self.error(model.span, format!("imports are nested more than {DEEPEST_IMPORT} deep"));
            return None;
        }
        let mut importing = self.importing.clone();
        importing.push(name.clone());
        let (tree, diagnostics) = read(&Source::new(name, text), self.context, importing);
        self.diagnostics.extend(diagnostics);
        tree.map(Arc::new)
    }
}
