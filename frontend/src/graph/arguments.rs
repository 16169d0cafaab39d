//! Evaluates the arguments of a call, and reads tensors among them.

use super::builder::Builder;
use super::value::{Args, Built, Fault, Val};
use crate::expr::ExprKind;
use crate::model::tree::{Argument, Arguments};
use crate::signature::{ParameterKind, Signature};
use crate::source::{Span, Spanned};

impl Builder<'_> {
    /// The values of all given arguments, in the order of the parameters; `None` if one is missing, wrong or unknown. Each
    /// is checked by itself, so that all mistakes show.
    pub fn evaluate(&mut self, signature: &'static Signature, arguments: &Arguments) -> Option<Args> {
        let mut args = Args::default();
        let mut known = arguments.complete;
        for parameter in signature.parameters {
            let Some(argument) = arguments.get(parameter.name) else { continue };
            let value = match &argument.value {
                Argument::Expr(expr) => match (parameter.kind, &expr.kind) {
                    // A name that stands for nothing was meant as one of the words.
                    (ParameterKind::Word(words), ExprKind::Name(name)) if self.lookup(name).is_none() => {
                        let fault =
                            Fault::new(format!("`{name}` is none of the words for `{}`", parameter.name));
                        self.fail(fault.help(format!("expected one of {}", words.join(", "))), argument.span)
                    }
                    _ => self.eval(expr),
                },
                Argument::Word(word) => Val::Text((*word).to_owned()),
                Argument::Call(signature, arguments) => match self.evaluate(signature, arguments) {
                    Some(args) => Val::Call(signature, Box::new(args)),
                    None => Val::Unknown,
                },
            };
            let known_value = !value.is_unknown();
            known &= known_value;
            if parameter.required && value == Val::None {
                let fault = Fault::new(format!("`{}` needs `{}`", signature.name, parameter.name));
                self.fail(fault.note("`none` stands for an argument that is not given"), argument.span);
                known = false;
            }
            args.push(parameter.name, Spanned::new(value, argument.span));
            // Checked here too, so that a mistake shows even where the layer's input is unknown.
            if known_value && let Err(fault) = args.check(parameter) {
                self.fail(fault, argument.span);
                known = false;
            }
        }
        known.then_some(args)
    }

    /// Reports every argument that was given to `of` and had no effect.
    pub fn report_unused(&mut self, args: &Args, of: &str, span: Span) {
        for fault in args.unused(of) {
            self.fail(fault, span);
        }
    }
}

/// The argument as a tensor, wherever a layer or function takes one: a list is what it holds, a number a float.
pub(crate) fn tensor(builder: &mut Builder, args: &Args, name: &str) -> Built {
    let Some(given) = args.get(name) else {
        return Err(Fault::new(format!("the argument `{name}` is missing")));
    };
    match &given.value {
        Val::Tensor(tensor) => Ok(*tensor),
        Val::List(_) | Val::Bool(_) => builder.ops().tensor(given),
        Val::Int(_) | Val::Float(_) => {
            let float = builder.float();
            builder.ops().literal(given, float)
        }
        other => Err(args.fault(name, format!("`{name}` must be a tensor, found {}", other.describe()))),
    }
}
