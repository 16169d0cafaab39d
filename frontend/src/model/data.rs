//! What a model says of its data: the set, what is done to it, its classes, and what of it is held out.

use super::decoder::Decoder;
use super::notation::{Value, ValueKind, field_list};
use super::structure::{DATA, MOST_FOLDS, SplitWord, Structured};
use super::tree::{DataTree, Input, InputTreatment, SplitRule};
use crate::diagnostics::Diagnostic;
use crate::signature::{Words, find};

impl Decoder<'_> {
    /// `"digits"`, or `Data(...)`.
    pub fn data(&mut self, value: &Value, inputs: &[Input]) -> DataTree {
        let mut tree = DataTree::default();
        let fields = match &value.kind {
            ValueKind::Text(text) => {
                tree.declared.set = Some(text.value.clone());
                return tree;
            }
            ValueKind::Struct(Some(name), fields) if name.value == DATA.name => field_list(fields),
            _ => {
                self.mismatch(value, "the name of a data set, or `Data(...)`");
                return tree;
            }
        };
        for (field, value) in self.matched(&DATA, &fields, value.span).fields {
            match field {
                "set" => {
                    let set = self.spanned_text(value, "the name of a data set, or its path");
                    tree.declared.set = set.map(|set| set.value);
                }
                "classes" => tree.declared.classes = self.texts(value, "a list of names of classes"),
                "columns" => tree.declared.columns = self.texts(value, "a list of names of columns"),
                "target" => {
                    tree.declared.target = self.spanned_text(value, "the name of a column").map(|t| t.value);
                }
                "split" => tree.declared.split = self.split(value),
                "augment" => tree.augment = self.treatments(value, inputs),
                _ => tree.prepare = self.treatments(value, inputs),
            }
        }
        tree
    }

    /// A list of texts, each once.
    fn texts(&mut self, value: &Value, expected: &str) -> Vec<String> {
        let mut texts: Vec<String> = Vec::new();
        for item in self.list(value, expected) {
            let Some(text) = self.spanned_text(item, "a name in quotes") else { continue };
            if texts.contains(&text.value) {
                self.error(text.span, format!("{:?} is given twice", text.value));
            }
            texts.push(text.value);
        }
        texts
    }

    /// `Holdout(fraction: 0.2, stratified: true)` or `Folds(5)`.
    fn split(&mut self, value: &Value) -> Option<SplitRule> {
        let ValueKind::Struct(Some(name), fields) = &value.kind else {
            self.mismatch(value, "`Holdout(...)` or `Folds(...)`");
            return None;
        };
        let Some(word) = find::<SplitWord>(&name.value) else {
            let message = format!("there is no split `{}`", name.value);
            let diagnostic = Diagnostic::new(&self.source, name.span, message);
            self.report(diagnostic.suggest(&name.value, SplitWord::NAMES.iter().copied()));
            return None;
        };
        let given = self.matched(&word.structure(), &field_list(fields), value.span);
        let stratified = match given.get("stratified").map(|value| (&value.kind, value)) {
            None => false,
            Some((ValueKind::Bool(stratified), _)) => *stratified,
            Some((_, value)) => {
                self.mismatch(value, "true or false");
                false
            }
        };
        let amount = given.get(word.fields()[0].name)?;
        match (word, &amount.kind) {
            (SplitWord::Holdout, &ValueKind::Float(fraction)) if fraction > 0.0 && fraction < 1.0 => {
                Some(SplitRule::Holdout { fraction, stratified })
            }
            (SplitWord::Folds, &ValueKind::Int(count @ 2..=MOST_FOLDS)) => {
                Some(SplitRule::Folds { count: count as usize, stratified })
            }
            (SplitWord::Holdout, _) => {
                self.mismatch(amount, "a fraction between 0 and 1");
                None
            }
            (SplitWord::Folds, _) => {
                self.mismatch(amount, &format!("a whole number from 2 to {MOST_FOLDS}"));
                None
            }
        }
    }

    /// A list of layers for the first input, or such lists by the names of inputs.
    fn treatments(&mut self, value: &Value, inputs: &[Input]) -> Vec<InputTreatment> {
        let ValueKind::Map(_) = &value.kind else {
            let body = self.body(value);
            let first = inputs.first().map(|input| input.name.clone());
            return first.map(|input| InputTreatment { input, body }).into_iter().collect();
        };
        let mut treatments = Vec::new();
        for (input, value) in self.map(value, "a list of layers, or a map of inputs to lists") {
            if !inputs.iter().any(|known| known.name.value == input.value) {
                let message = format!("the model has no input `{}`", input.value);
                let known = inputs.iter().map(|known| known.name.value.as_str());
                let diagnostic =
                    Diagnostic::new(&self.source, input.span, message).suggest(&input.value, known);
                self.report(diagnostic);
            }
            let body = self.body(value);
            treatments.push(InputTreatment { input, body });
        }
        treatments
    }
}
