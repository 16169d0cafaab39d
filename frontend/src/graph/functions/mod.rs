//! The functions that expressions can call.

mod attention;
pub(crate) mod classes;
mod creation;
mod elementwise;
mod losses;
mod metrics;
mod numbers;
mod reductions;
mod shapes;
mod sorting;

use brolga_ir::DType;

use super::Builder;
use super::arguments::tensor;
use super::value::{Args, Built, Fault, Tensor, Val};
use crate::arguments::{Parameter, Signature};
use crate::diagnostics::Diagnostic;
use crate::expr::Expr;
use crate::source::{Span, Spanned};

/// A function of the expression language.
pub(crate) struct Function {
    pub signature: Signature,
    pub build: fn(&mut Builder, &Args) -> Built<Val>,
}

const fn function(
    name: &'static str,
    parameters: &'static [Parameter],
    build: fn(&mut Builder, &Args) -> Built<Val>,
) -> Function {
    Function { signature: Signature { name, parameters }, build }
}

const FUNCTIONS: [&[Function]; 9] = [
    &numbers::FUNCTIONS,
    &elementwise::FUNCTIONS,
    &reductions::FUNCTIONS,
    &shapes::FUNCTIONS,
    &creation::FUNCTIONS,
    &sorting::FUNCTIONS,
    &attention::FUNCTIONS,
    &losses::FUNCTIONS,
    &metrics::FUNCTIONS,
];

/// The function of that name.
pub(crate) fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().copied().flatten().find(|function| function.signature.name == name)
}

/// All signatures.
pub(crate) fn signatures() -> impl Iterator<Item = &'static Signature> {
    FUNCTIONS.iter().copied().flatten().map(|function| &function.signature)
}

/// All names.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    signatures().map(|signature| signature.name)
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
    let Some(function) = find(&name.value) else {
        let message = format!("there is no function `{}`", name.value);
        let diagnostic = Diagnostic::new(&builder.source, name.span, message).suggest(&name.value, names());
        builder.report(diagnostic);
        return Val::Unknown;
    };
    let parameters = function.signature.parameters;
    let (args, known) = arguments(builder, &name.value, parameters, &given, values);
    let missing: Vec<String> = parameters
        .iter()
        .filter(|parameter| parameter.required && !args.has(parameter.name))
        .map(|parameter| format!("`{}`", parameter.name))
        .collect();
    if !missing.is_empty() && known {
        let message = format!("`{}` needs {}", name.value, missing.join(", "));
        builder.report(Diagnostic::new(&builder.source, span, message));
    }
    // Each by itself, so that all mistakes show.
    let faults: Vec<Fault> = parameters.iter().filter_map(|parameter| args.check(parameter).err()).collect();
    let good = known && missing.is_empty() && faults.is_empty();
    for fault in faults {
        // Of `concat(a, b)` the second one is taken for the axis.
        let fault = match parameters {
            [first, ..] if first.name == "parts" => {
                fault.help(format!("the parts are one list: `{}([a, b], axis=0)`", name.value))
            }
            _ => fault,
        };
        builder.fail(fault, span);
    }
    if !good {
        return Val::Unknown;
    }
    match (function.build)(builder, &args) {
        Ok(value) => {
            builder.report_unused(&args, &name.value, span);
            value
        }
        Err(mut fault) => {
            let itself = fault.no_truths == Some(name.value.as_str());
            // Said of the function, not of the operators that it is made of.
            if fault.no_truths.is_some() && !itself {
                fault.message = "truth values are no numbers".to_owned();
                fault.helps = vec!["`int(x)` makes them 0 and 1".to_owned()];
            }
            if fault.at.is_none() && !itself {
                fault.message = format!("`{}`: {}", name.value, fault.message);
            }
            builder.fail(fault, span)
        }
    }
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

/// The argument as a floating-point tensor; integers and truth values are converted.
fn float_tensor(builder: &mut Builder, args: &Args, name: &str) -> Built {
    let tensor = tensor(builder, args, name)?;
    let float = builder.float();
    builder.ops().floated(tensor, float)
}

/// Arguments as tensors of one element type.
fn promoted<const N: usize>(builder: &mut Builder, args: &Args, names: [&str; N]) -> Built<[Tensor; N]> {
    let missing = |name| move || Fault::new(format!("the argument `{name}` is missing"));
    let values =
        names.iter().map(|name| args.get(name).ok_or_else(missing(*name))).collect::<Built<Vec<_>>>()?;
    let tensors = builder.ops().promote(&values)?;
    tensors.try_into().map_err(|_| Fault::new("arguments are missing"))
}

/// Whether the argument is a tensor or a list, which is one, rather than a number.
fn is_tensor(args: &Args, name: &str) -> bool {
    matches!(args.get(name).map(|value| &value.value), Some(Val::Tensor(_) | Val::List(_)))
}

/// Whether a list is one tensor, whose elements are combined along axes: a list of lists. Any other is numbers or tensors that are
/// combined with each other, as Python's are.
fn is_combined_along_axes(list: &[Val]) -> bool {
    let is_list = |item: &Val| matches!(item, Val::List(_));
    list.iter().any(is_list) && !list.iter().any(|item| matches!(item, Val::Tensor(_)))
}

/// The single axis `axis`.
fn axis(builder: &mut Builder, args: &Args, x: Tensor, default: i64) -> Built<usize> {
    let axis = args.int_or("axis", default)?;
    builder.ops().axis(x, axis).map_err(|fault| match args.place("axis") {
        Some(place) => fault.at(place),
        None => fault,
    })
}

/// The single axis `axis`, whose positions are the result: they are `i32`, half of what PyTorch's take.
fn counted_axis(builder: &mut Builder, args: &Args, x: Tensor) -> Built<usize> {
    let axis = axis(builder, args, x, -1)?;
    let extent = builder.ops().dims(x)[axis];
    if extent >= 1 << 31 {
        return Err(wrong(
            args,
            "x",
            format!("axis {axis} has {extent} elements, and positions are i32: below 2^31"),
        ));
    }
    Ok(axis)
}

fn tensor_value(result: Built) -> Built<Val> {
    result.map(Val::Tensor)
}

/// The sum of whole numbers is exact: it is formed in i64.
fn mean_of(builder: &mut Builder, x: Tensor, axes: &[usize], keep: bool) -> Built {
    let float = builder.float();
    let mut ops = builder.ops();
    if ops.is_precise() && axes.len() == ops.rank(x) {
        let mean = ops.mean_all(x)?;
        let dims = if keep { vec![1; axes.len()] } else { Vec::new() };
        return ops.reshape(mean, &dims);
    }
    if !ops.dtype(x).is_int() {
        let x = ops.floated(x, float)?;
        return ops.mean(x, axes, keep);
    }
    let count: usize = axes.iter().map(|&axis| ops.dims(x)[axis]).product();
    let wide = ops.widened(x)?;
    let sum = ops.sum(wide, axes, keep)?;
    let sum = ops.convert(sum, DType::F64)?;
    let mean = ops.div_num(sum, count as f64)?;
    ops.convert(mean, float)
}

/// An error at an argument.
fn wrong(args: &Args, name: &str, message: impl Into<String>) -> Fault {
    args.fault(name, message)
}
