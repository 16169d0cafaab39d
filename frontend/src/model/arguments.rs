//! The arguments of a call by its signature: `Conv2d(features: 6, kernel: 5)`, `Sgd(lr: Step(initial: 0.1, every: 30))`.
//!
//! Words are told apart from expressions here, and calls within calls are read; values are checked where they are known, when
//! the graph is built.

use super::decoder::{Accepted, Decoder};
use super::notation::{FieldRef, Value, ValueKind, field_list};
use super::tree::{Argument, Arguments};
use crate::diagnostics::Diagnostic;
use crate::signature::{Parameter, ParameterKind, Signature};
use crate::source::{Span, Spanned};

impl Decoder<'_> {
    /// Reads the arguments of a call of `signature`; reports what is wrong and keeps the rest.
    pub fn arguments(&mut self, signature: &Signature, fields: &[FieldRef], span: Span) -> Arguments {
        let parameters = signature.parameters;
        let names: Vec<&'static str> = parameters.iter().map(|parameter| parameter.name).collect();
        let required = parameters.iter().filter(|parameter| parameter.required);
        let required: Vec<&'static str> = required.map(|parameter| parameter.name).collect();
        let accepted = Accepted { name: signature.name, fields: &names, required: &required };
        let matched = self.match_fields(&accepted, fields, span);
        let mut arguments = Arguments { given: Vec::new(), complete: matched.complete };
        for (name, value) in matched.fields {
            let parameter = parameters.iter().find(|parameter| parameter.name == name);
            match parameter.and_then(|parameter| self.argument(parameter, value)) {
                Some(argument) => arguments.given.push((name, Spanned::new(argument, value.span))),
                None => arguments.complete = false,
            }
        }
        arguments
    }

    /// One argument for a parameter; nothing after a mistake, which is reported.
    pub fn argument(&mut self, parameter: &Parameter, value: &Value) -> Option<Argument> {
        match (parameter.kind, &value.kind) {
            (ParameterKind::Word(words), ValueKind::Text(text)) => {
                if let Some(word) = words.iter().find(|word| **word == text.value) {
                    return Some(Argument::Word(word));
                }
                self.expression(value).map(Argument::Expr)
            }
            (ParameterKind::Call(calls), ValueKind::Struct(Some(name), fields)) if !value.is_none() => {
                let Some(signature) = calls.iter().find(|signature| signature.name == name.value) else {
                    let message = format!("`{}` cannot stand for `{}`", name.value, parameter.name);
                    let diagnostic = Diagnostic::new(&self.source, name.span, message);
                    let known = calls.iter().map(|signature| signature.name);
                    self.report(diagnostic.suggest(&name.value, known));
                    return None;
                };
                let arguments = self.arguments(signature, &field_list(fields), value.span);
                Some(Argument::Call(signature, arguments))
            }
            _ => self.expression(value).map(Argument::Expr),
        }
    }
}
