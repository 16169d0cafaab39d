//! `training`: the phases by which a model is trained.

use super::decoder::{Decoder, Given};
use super::notation::{Value, ValueKind, field_list};
use super::structure::{PlanWord, Structured};
use super::tree::{PhaseStep, PlanStep};
use crate::diagnostics::Diagnostic;
use crate::expr::Expr;
use crate::signature::{Words, find};
use crate::source::{Span, Spanned};

impl Decoder<'_> {
    /// A list of phases, and of repetitions of them.
    pub fn plan(&mut self, value: &Value) -> Vec<PlanStep> {
        let items = self.list(value, "a list of phases").iter();
        items.filter_map(|item| self.plan_step(item)).collect()
    }

    fn plan_step(&mut self, value: &Value) -> Option<PlanStep> {
        let ValueKind::Struct(Some(name), fields) = &value.kind else {
            self.mismatch(value, "`Phase(...)`, `Repeat(...)` or `For(...)`");
            return None;
        };
        let Some(word) = find::<PlanWord>(&name.value) else {
            let message = format!("there is no step of a plan `{}`", name.value);
            let diagnostic = Diagnostic::new(&self.source, name.span, message);
            self.report(diagnostic.suggest(&name.value, PlanWord::NAMES.iter().copied()));
            return None;
        };
        let given = self.matched(&word.structure(), &field_list(fields), value.span);
        let expression = |decoder: &mut Self, field: &str| {
            given.get(field).map_or(Expr::mistake(value.span), |value| decoder.expression_or_mistake(value))
        };
        let name = |decoder: &mut Self, field: &str, default: &str| {
            let name = given.get(field).and_then(|value| decoder.identifier(value));
            name.map_or(default.to_owned(), |name| name.value)
        };
        let body = |decoder: &mut Self| given.get("body").map_or(Vec::new(), |value| decoder.plan(value));
        let span = value.span;
        match word {
            PlanWord::Phase => self.phase(&given, span),
            PlanWord::Repeat => Some(PlanStep::Repeat {
                times: expression(self, "times"),
                index: name(self, "index", "i"),
                body: body(self),
                span,
            }),
            PlanWord::For => Some(PlanStep::For {
                each: name(self, "each", "it"),
                within: expression(self, "within"),
                body: body(self),
                span,
            }),
        }
    }

    fn phase(&mut self, given: &Given, span: Span) -> Option<PlanStep> {
        let expression = |decoder: &mut Self, field: &str| {
            given.get(field).map(|value| decoder.expression_or_mistake(value))
        };
        let (epochs, updates) = (expression(self, "epochs"), expression(self, "updates"));
        if given.complete && epochs.is_some() == updates.is_some() {
            let message = match epochs {
                Some(_) => "a phase has `epochs` or `updates`, not both",
                None => "a phase needs `epochs` or `updates`: how long it is",
            };
            self.error(span, message);
        }
        let text = |decoder: &mut Self, field: &str| {
            given.get(field).and_then(|value| decoder.spanned_text(value, "a name in quotes"))
        };
        let entry = text(self, "entry");
        let data = text(self, "data");
        let set = self.settings_of(given, "set");
        let dims = self.settings_of(given, "dims");
        let mut measure = Vec::new();
        for value in given.get("measure").map_or(&[][..], |value| self.list(value, "a list of entries")) {
            measure.extend(self.spanned_text(value, "the name of an entry"));
        }
        let phase = PhaseStep { entry: entry?, epochs, updates, set, data, dims, measure, span };
        Some(PlanStep::Phase(Box::new(phase)))
    }

    /// A field that gives expressions by name.
    fn settings_of(&mut self, given: &Given, field: &str) -> Vec<(Spanned<String>, Expr)> {
        let map = given.get(field).map_or(Vec::new(), |value| self.map(value, "a map of names to values"));
        map.into_iter().map(|(name, value)| (name, self.expression_or_mistake(value))).collect()
    }
}
