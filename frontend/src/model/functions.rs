//! Functions of the model's own: `functions: { "energy(v)": "-v @ b" }`.

use std::sync::Arc;

use super::decoder::Decoder;
use super::notation::{Value, ValueKind};
use super::tree::UserFunction;
use crate::diagnostics::Diagnostic;
use crate::expr::{Expr, ExprKind, parse};
use crate::source::Spanned;

impl Decoder<'_> {
    /// All functions of a file.
    pub fn functions(&mut self, value: &Value) -> Vec<Arc<UserFunction>> {
        let ValueKind::Map(entries) = &value.kind else {
            self.mismatch(value, "a map of functions, as in `{ \"half(x)\": \"x / 2\" }`");
            return Vec::new();
        };
        let mut functions: Vec<Arc<UserFunction>> = Vec::new();
        for (head, body) in entries {
            let body = self.expression_or_mistake(body);
            let Some(function) = self.function(head, body) else { continue };
            if let Some(first) = functions.iter().find(|other| other.name.value == function.name.value) {
                let message = format!("`{}` is defined twice", function.name.value);
                let diagnostic = Diagnostic::new(&self.source, function.name.span, message);
                self.report(diagnostic.context(first.name.span, "first defined here"));
                continue;
            }
            functions.push(Arc::new(function));
        }
        functions
    }

    /// One function: its head, `energy(v)`, is a call of names.
    fn function(&mut self, head: &Value, body: Expr) -> Option<UserFunction> {
        let text = self.text(head, "a function with its arguments in quotes, as in \"half(x)\"")?;
        let head = self.parsed(parse::expression(&self.source.clone(), text))?;
        let names = |parameters: Vec<Expr>| -> Option<Vec<Spanned<String>>> {
            let name = |parameter: Expr| match parameter.kind {
                ExprKind::Name(name) => Some(Spanned::new(name, parameter.span)),
                _ => None,
            };
            parameters.into_iter().map(name).collect()
        };
        let (name, parameters) = match head.kind {
            ExprKind::Call { function, positional, named } if named.is_empty() => {
                (function, names(positional))
            }
            ExprKind::Mistake => return None,
            _ => (Spanned::new(String::new(), head.span), None),
        };
        let Some(parameters) = parameters else {
            self.error(head.span, "a function is written with the names of its arguments, as in \"half(x)\"");
            return None;
        };
        if self.context.vocabulary.functions.iter().any(|known| known.name == name.value) {
            self.error(
                name.span,
                format!("`{}` is a function of the language: give it another name", name.value),
            );
            return None;
        }
        let mut good = self.check_identifier(&name);
        for (position, parameter) in parameters.iter().enumerate() {
            good &= self.check_identifier(parameter);
            if parameters[..position].iter().any(|earlier| earlier.value == parameter.value) {
                self.error(parameter.span, format!("`{}` is an argument twice", parameter.value));
                good = false;
            } else if !matches!(body.kind, ExprKind::Mistake) && !body.mentions(&parameter.value) {
                let message = format!("`{}` does not use its argument `{}`", name.value, parameter.value);
                self.error(parameter.span, message);
                good = false;
            }
        }
        good.then_some(UserFunction { name, parameters, body })
    }
}
