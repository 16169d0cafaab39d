//! Entry points: their fields, optimisers and parameter groups.

use super::decoder::{Decoder, Given};
use super::notation::{Value, ValueKind, field_list};
use super::structure::{ActionWord, Clip, EntryWord, GROUP, Mode, Structured};
use super::tree::{Action, ChosenOptimizer, EntryKind, EntryPoint, Group, Minimize, Outputs};
use crate::diagnostics::Diagnostic;
use crate::expr::Expr;
use crate::signature::{Words, find};
use crate::source::{Span, Spanned};

impl Decoder<'_> {
    /// A field that maps names to expressions; empty if it is not given.
    fn given_outputs(&mut self, given: &Given, field: &str) -> Outputs {
        let mut outputs = Vec::new();
        let Some(value) = given.get(field) else { return outputs };
        for (name, value) in self.map(value, "a map of names to expressions") {
            if let Some(expr) = self.expression(value) {
                outputs.push((name, expr));
            }
        }
        outputs
    }

    pub fn entry(&mut self, name: Spanned<String>, value: &Value) -> EntryPoint {
        let (parameters, span) = (Vec::new(), value.span);
        let mut entry = EntryPoint { name, kind: EntryKind::Broken, parameters, body: None, span };
        let ValueKind::Struct(Some(kind), fields) = &value.kind else {
            self.mismatch(value, "`Infer(...)`, `Train(...)` or `Entry(...)`");
            return entry;
        };
        let fields = field_list(fields);
        let Some(word) = find::<EntryWord>(&kind.value) else {
            let message = format!("there is no kind of entry `{}`", kind.value);
            let diagnostic = Diagnostic::new(&self.source, kind.span, message);
            self.report(diagnostic.suggest(&kind.value, EntryWord::NAMES.iter().copied()));
            return entry;
        };
        let given = self.matched(&word.structure(), &fields, value.span);
        entry.body = given.get("body").map(|value| self.body(value));
        for (name, value) in
            given.get("parameters").map_or(Vec::new(), |value| self.map(value, "a map of parameters"))
        {
            self.check_identifier(&name);
            entry.parameters.push((name, self.expression_or_mistake(value)));
        }
        let outputs = self.given_outputs(&given, "outputs");
        entry.kind = match word {
            EntryWord::Infer => self.infer(&given, outputs, value.span),
            EntryWord::Train => self.train(&given, value.span),
            EntryWord::Entry => self.steps(&given, outputs),
        };
        entry
    }

    /// The fields of an `Infer`.
    fn infer(&mut self, given: &Given, outputs: Outputs, span: Span) -> EntryKind {
        let metrics = self.given_outputs(given, "metrics");
        if given.get("outputs").is_none() && given.get("metrics").is_none() {
            self.error(span, "`Infer` needs `outputs`, or `metrics`");
        }
        EntryKind::Infer { outputs, metrics }
    }

    /// The fields of a `Train`.
    fn train(&mut self, given: &Given, span: Span) -> EntryKind {
        let metrics = self.given_outputs(given, "metrics");
        if let Some((name, _)) = metrics.iter().find(|(name, _)| name.value == "loss") {
            self.error(name.span, "a metric cannot be named `loss`: the loss is always reported");
        }
        EntryKind::Train { minimize: Box::new(self.minimize(given, span)), metrics }
    }

    /// The fields of an `Entry`.
    fn steps(&mut self, given: &Given, outputs: Outputs) -> EntryKind {
        let train = self.is_training(given);
        let mut steps = Vec::new();
        for value in given.get("steps").map_or(&[][..], |value| self.list(value, "a list of steps")) {
            steps.extend(self.action(value));
        }
        let metrics = self.given_outputs(given, "metrics");
        for (name, _) in &outputs {
            if metrics.iter().any(|(metric, _)| metric.value == name.value) {
                self.error(name.span, format!("`{}` is a metric, too: give it another name", name.value));
            }
        }
        EntryKind::Steps { train, steps, metrics, outputs }
    }

    /// The `mode` of an `Entry`: training where none is given, or a wrong one, which is reported.
    fn is_training(&mut self, given: &Given) -> bool {
        let mode = given.get("mode").and_then(|value| self.spanned_text(value, "\"train\" or \"infer\""));
        match mode.map(|mode| (find::<Mode>(&mode.value), mode.span)) {
            None | Some((Some(Mode::Train), _)) => true,
            Some((Some(Mode::Infer), _)) => false,
            Some((None, span)) => {
                self.error(span, "a mode is \"train\" or \"infer\"");
                true
            }
        }
    }

    fn action(&mut self, value: &Value) -> Option<Action> {
        let ValueKind::Struct(Some(kind), fields) = &value.kind else {
            self.mismatch(value, "`Minimize(...)` or `Update(...)`");
            return None;
        };
        let fields = field_list(fields);
        let Some(word) = find::<ActionWord>(&kind.value) else {
            let message = format!("there is no update step `{}`", kind.value);
            let diagnostic = Diagnostic::new(&self.source, kind.span, message);
            self.report(diagnostic.suggest(&kind.value, ActionWord::NAMES.iter().copied()));
            return None;
        };
        let given = self.matched(&word.structure(), &fields, value.span);
        match word {
            ActionWord::Minimize => Some(Action::Minimize(Box::new(self.minimize(&given, value.span)))),
            ActionWord::Update => Some(Action::Update(self.update(&given, value.span))),
        }
    }

    /// The fields of a gradient step. One that is missing or a mistake, which is reported, leaves the others as they are.
    fn minimize(&mut self, given: &Given, span: Span) -> Minimize {
        let loss = given.get("loss").map_or(Expr::mistake(span), |value| self.expression_or_mistake(value));
        let clip = given.get("clip").and_then(|value| self.clip(value));
        let of = given.get("of").map_or(Vec::new(), |value| self.patterns(value));
        let mut groups = Vec::new();
        for value in given.get("groups").map_or(&[][..], |value| self.list(value, "a list of groups")) {
            groups.extend(self.group(value));
        }
        let optimizer = given.get("optimizer").and_then(|value| self.optimizer(value));
        Minimize { loss, of, optimizer, clip, groups }
    }

    /// `ClipNorm(1.0)` or `ClipValue(0.5)`.
    fn clip(&mut self, value: &Value) -> Option<(Clip, Expr)> {
        let ValueKind::Struct(Some(name), fields) = &value.kind else {
            self.mismatch(value, "`ClipNorm(...)` or `ClipValue(...)`");
            return None;
        };
        let Some(kind) = find::<Clip>(&name.value) else {
            let message = format!("`{}` is not a way of clipping", name.value);
            let diagnostic = Diagnostic::new(&self.source, name.span, message);
            self.report(diagnostic.suggest(&name.value, Clip::NAMES.iter().copied()));
            return None;
        };
        let given = self.matched(&kind.structure(), &field_list(fields), value.span);
        let (_, limit) = given.fields.first()?;
        let limit = self.expression(limit)?;
        given.complete.then_some((kind, limit))
    }

    fn group(&mut self, value: &Value) -> Option<Group> {
        let fields = match &value.kind {
            ValueKind::Struct(Some(kind), fields) if kind.value == "Group" => field_list(fields),
            _ => {
                self.mismatch(value, "`Group(...)`");
                return None;
            }
        };
        let given = self.matched(&GROUP, &fields, value.span);
        let pattern = given.get("of").and_then(|value| self.spanned_text(value, "a pattern in quotes"));
        let mut expression = |name: &str| given.get(name).and_then(|value| self.expression(value));
        let (lr, weight_decay, frozen) = (expression("lr"), expression("weight_decay"), expression("frozen"));
        Some(Group { pattern: pattern?, lr, weight_decay, frozen })
    }

    fn optimizer(&mut self, value: &Value) -> Option<ChosenOptimizer> {
        let ValueKind::Struct(Some(name), fields) = &value.kind else {
            self.mismatch(value, "an optimizer such as `Sgd(lr: 0.1)`");
            return None;
        };
        let Some(signature) = self.context.vocabulary.optimizer(&name.value) else {
            let message = format!("there is no optimizer `{}`", name.value);
            let known = self.context.vocabulary.optimizers.iter().map(|optimizer| optimizer.name);
            let diagnostic = Diagnostic::new(&self.source, name.span, message);
            self.report(diagnostic.suggest(&name.value, known));
            return None;
        };
        let arguments = self.arguments(signature, &field_list(fields), value.span);
        Some(ChosenOptimizer { signature, arguments, span: value.span })
    }
}
