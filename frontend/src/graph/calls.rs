//! Calls: arguments are evaluated and checked. What a function of an expression builds with them is the value; layers and
//! optimisers take them as they are.

use super::builder::Builder;
use super::functions::{find, names};
use super::value::{Args, Fault, Val};
use crate::diagnostics::Diagnostic;
use crate::expr::{Expr, ExprKind};
use crate::model::tree::{Argument, Arguments};
use crate::signature::{Parameter, ParameterKind, Signature};
use crate::source::{Span, Spanned};

impl Builder<'_> {
    /// The values of all given arguments, in the order of the parameters; `None` if one is missing, wrong or unknown. Each
    /// is checked by itself, so that all mistakes show.
    pub fn evaluate(&mut self, signature: &'static Signature, arguments: &Arguments) -> Option<Args> {
        let mut args = Args::default();
        let mut known = arguments.complete;
        let mut set = std::mem::take(&mut self.reuse_set);
        for parameter in signature.parameters {
            // What a `Reuse` sets stands in the place of what is written.
            let (value, span) = match (set.remove(parameter.name), arguments.get(parameter.name)) {
                (Some(set), _) => set,
                (None, Some(argument)) => (self.argument(parameter, argument), argument.span),
                (None, None) => continue,
            };
            let known_value = !value.is_unknown();
            known &= known_value;
            if parameter.required && value == Val::None {
                let fault = Fault::new(format!("`{}` needs `{}`", signature.name, parameter.name));
                self.fail(fault.note("`none` stands for an argument that is not given"), span);
                known = false;
            }
            args.push(parameter.name, Spanned::new(value, span));
            // Checked here too, so that a mistake shows even where the layer's input is unknown.
            if known_value && let Err(fault) = args.check(parameter) {
                self.fail(fault, span);
                known = false;
            }
        }
        known.then_some(args)
    }

    /// The value of an argument as it is written.
    fn argument(&mut self, parameter: &Parameter, argument: &Spanned<Argument>) -> Val {
        match &argument.value {
            Argument::Expr(expr) => match (parameter.kind, &expr.kind) {
                // A name that stands for nothing was meant as one of the words.
                (ParameterKind::Word(words), ExprKind::Name(name)) if self.lookup(name).is_none() => {
                    let fault = Fault::new(format!("`{name}` is none of the words for `{}`", parameter.name));
                    self.fail(fault.help(format!("expected one of {}", words.join(", "))), argument.span)
                }
                _ => self.eval(expr),
            },
            Argument::Word(word) => Val::Text((*word).to_owned()),
            Argument::Call(signature, arguments) => match self.evaluate(signature, arguments) {
                Some(args) => Val::Call(signature, Box::new(args)),
                None => Val::Unknown,
            },
        }
    }
}

/// Evaluates the arguments and calls a function.
pub(crate) fn call(
    builder: &mut Builder,
    name: &Spanned<String>,
    positional: &[Expr],
    named: &[(Spanned<String>, Expr)],
    span: Span,
) -> Val {
    let given: Vec<(Option<&Spanned<String>>, &Expr)> = positional
        .iter()
        .map(|expr| (None, expr))
        .chain(named.iter().map(|(name, expr)| (Some(name), expr)))
        .collect();
    let values: Vec<Val> = given.iter().map(|(_, expr)| builder.eval(expr)).collect();
    if let Some(own) = builder.own_function(&name.value) {
        return builder.call_own(&own, &given, values, span);
    }
    let Some(function) = find(&name.value) else {
        let own: Vec<String> =
            builder.tree.functions.iter().map(|function| function.name.value.clone()).collect();
        let known = own.iter().map(String::as_str).chain(names().map(|name| -> &str { name }));
        let message = format!("there is no function `{}`", name.value);
        let diagnostic = Diagnostic::new(&builder.source, name.span, message).suggest(&name.value, known);
        builder.report(diagnostic);
        return Val::Unknown;
    };
    let parameters = function.signature.parameters;
    let (args, known) = arguments(builder, &name.value, parameters, &given, values);
    if !are_complete(builder, &args, known, &function.signature, span) {
        return Val::Unknown;
    }
    match (function.build)(builder, &args) {
        Ok(value) => {
            builder.report_unused(&args, &name.value, span);
            value
        }
        Err(fault) => builder.fail(of_function(fault, &name.value), span),
    }
}

/// Whether a function can be called: its arguments are known, none is missing, and each keeps its rule. What is wrong is
/// reported.
fn are_complete(builder: &mut Builder, args: &Args, known: bool, signature: &Signature, span: Span) -> bool {
    let lacks = |parameter: &&Parameter| parameter.required && !args.has(parameter.name);
    let missing = signature.parameters.iter().filter(lacks);
    let missing: Vec<String> = missing.map(|parameter| format!("`{}`", parameter.name)).collect();
    if !missing.is_empty() && known {
        let message = format!("`{}` needs {}", signature.name, missing.join(", "));
        builder.report(Diagnostic::new(&builder.source, span, message));
    }
    // Each by itself, so that all mistakes show.
    let checked = signature.parameters.iter().filter_map(|parameter| args.check(parameter).err());
    let faults: Vec<Fault> = checked.collect();
    let good = known && missing.is_empty() && faults.is_empty();
    for fault in faults {
        // Of `concat(a, b)` the second one is taken for the axis.
        let fault = match signature.parameters {
            [first, ..] if first.name == "parts" => {
                fault.help(format!("the parts are one list: `{}([a, b], axis=0)`", signature.name))
            }
            _ => fault,
        };
        builder.fail(fault, span);
    }
    good
}

/// A mistake that a function has found, said of the function and not of the operators that it is made of.
fn of_function(mut fault: Fault, function: &str) -> Fault {
    let itself = fault.no_truths == Some(function);
    if fault.no_truths.is_some() && !itself {
        fault.message = "truth values are no numbers".to_owned();
        fault.helps = vec!["`int(x)` makes them 0 and 1".to_owned()];
    }
    if fault.at.is_none() && !itself {
        fault.message = format!("`{function}`: {}", fault.message);
    }
    fault
}

/// The values of a call by the names of its parameters, and whether all are known and none is a mistake, which is reported.
fn arguments(
    builder: &mut Builder,
    function: &str,
    parameters: &'static [Parameter],
    given: &[(Option<&Spanned<String>>, &Expr)],
    values: Vec<Val>,
) -> (Args, bool) {
    let mut args = Args::default();
    let mut known = true;
    for (position, ((key, expr), value)) in given.iter().zip(values).enumerate() {
        let parameter = match key {
            Some(key) => parameters.iter().find(|parameter| parameter.name == key.value),
            None => parameters.get(position),
        };
        let mistake = match (parameter, key) {
            (Some(parameter), _) if !args.is_written(parameter.name) => {
                known &= !value.is_unknown();
                args.push(parameter.name, Spanned::new(value, expr.span));
                continue;
            }
            (Some(parameter), _) => {
                let message = format!("`{}` is given twice", parameter.name);
                Diagnostic::new(&builder.source, expr.span, message)
            }
            (None, Some(key)) => {
                let message = format!("`{function}` has no argument `{}`", key.value);
                Diagnostic::new(&builder.source, key.span, message)
                    .suggest(&key.value, parameters.iter().map(|parameter| parameter.name))
            }
            (None, None) => {
                let list: Vec<&str> = parameters.iter().map(|parameter| parameter.name).collect();
                let (count, list) = (list.len(), list.join(", "));
                let plural = if count == 1 { "" } else { "s" };
                let message = format!("`{function}` takes at most {count} argument{plural}: {list}");
                Diagnostic::new(&builder.source, expr.span, message)
            }
        };
        builder.report(mistake);
        known = false;
    }
    (args, known)
}
