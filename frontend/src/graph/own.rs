//! Functions of the model's own: `functions: { "energy(v)": "-v @ b" }`. A call is its expression, with the arguments under their
//! names. And lists that an expression makes of another's elements, `[f(x) for x in list]`.

use std::collections::HashMap;
use std::sync::Arc;

use crate::diagnostics::Diagnostic;
use crate::expr::Expr;
use crate::graph::builder::Builder;
use crate::graph::frames::{Frame, Named};
use crate::graph::operators;
use crate::graph::value::{Fault, Val};
use crate::model::tree::UserFunction;
use crate::source::{Span, Spanned};

impl Builder<'_> {
    /// The function of that name in the current file.
    pub(in crate::graph) fn own_function(&self, name: &str) -> Option<Arc<UserFunction>> {
        self.tree.functions.iter().find(|function| function.name.value == name).cloned()
    }

    /// Calls a function of the model's own, whose arguments have these values. It sees them and the model's names, not those of the
    /// place where it is called, nor the current value there. A call counts as a step.
    pub(in crate::graph) fn call_own(
        &mut self,
        function: &UserFunction,
        given: &[(Option<&Spanned<String>>, &Expr)],
        values: Vec<Val>,
        span: Span,
    ) -> Val {
        let Some(names) = self.own_arguments(function, given, values, span) else { return Val::Unknown };
        self.steps += 1;
        if self.has_too_many_steps(span) || self.is_too_deep(&function.name.value, span) {
            return Val::Unknown;
        }
        let parent = Some(self.root_frame());
        let frame = Frame { names: names.into(), parent, is_call: true, ..Frame::default() };
        let current = std::mem::replace(&mut self.current, Val::None);
        self.depth += 1;
        let value = self.in_frame(frame, |builder| builder.eval(&function.body));
        self.depth -= 1;
        self.current = current;
        value
    }

    /// The list of what an expression is for each element of another. Each counts as a step.
    pub(in crate::graph) fn each(
        &mut self,
        body: &Expr,
        element: &Spanned<String>,
        list: &Expr,
        span: Span,
    ) -> Val {
        let (values, known) = match self.eval(list) {
            Val::List(values) => (values, true),
            // What is wrong in the expression shows all the same.
            Val::Unknown => (vec![Val::Unknown], false),
            other => {
                let fault = Fault::new(format!("a list stands behind `in`, found {}", other.describe()));
                let help =
                    "of a tensor take elements by their positions: `[x[i] for i in range(size(x, 0))]`";
                return self.fail(fault.help(help), list.span);
            }
        };
        let mut results = Vec::new();
        for value in values {
            self.steps += 1;
            if self.has_too_many_steps(span) {
                return Val::Unknown;
            }
            let names = HashMap::from([(element.value.clone(), (value, element.span))]);
            let frame =
                Frame { names: names.into(), parent: Some(self.frame), is_loop: true, ..Frame::default() };
            results.push(self.in_frame(frame, |builder| builder.eval(body)));
        }
        match known {
            true => self.resolve(operators::list(results), span),
            false => Val::Unknown,
        }
    }

    /// The arguments by the names of the parameters; nothing after a mistake, which is reported.
    fn own_arguments(
        &mut self,
        function: &UserFunction,
        given: &[(Option<&Spanned<String>>, &Expr)],
        values: Vec<Val>,
        span: Span,
    ) -> Option<HashMap<String, Named>> {
        let (name, parameters) = (&function.name.value, &function.parameters);
        let list: Vec<&str> = parameters.iter().map(|parameter| parameter.value.as_str()).collect();
        let mut names: HashMap<String, Named> = HashMap::new();
        let mut good = true;
        for (position, ((key, expr), value)) in given.iter().zip(values).enumerate() {
            let parameter = match key {
                Some(key) => list.iter().find(|parameter| **parameter == key.value),
                None => list.get(position),
            };
            let mistake = match (parameter, key) {
                (Some(parameter), _) => match names.insert((*parameter).to_owned(), (value, expr.span)) {
                    None => continue,
                    Some(_) => (expr.span, format!("`{parameter}` is given twice")),
                },
                (None, Some(key)) => (key.span, format!("`{name}` has no argument `{}`", key.value)),
                (None, None) => {
                    let (count, plural) = (list.len(), if list.len() == 1 { "" } else { "s" });
                    (expr.span, format!("`{name}` takes {count} argument{plural}: {}", list.join(", ")))
                }
            };
            good = false;
            self.report(Diagnostic::new(&self.source, mistake.0, mistake.1));
        }
        let missing: Vec<String> = (list.iter().filter(|parameter| !names.contains_key(**parameter)))
            .map(|parameter| format!("`{parameter}`"))
            .collect();
        if good && !missing.is_empty() {
            let message = format!("`{name}` needs {}", missing.join(", "));
            self.report(Diagnostic::new(&self.source, span, message));
        }
        (good && missing.is_empty()).then_some(names)
    }
}
