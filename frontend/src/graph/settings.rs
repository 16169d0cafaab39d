//! What the user chooses for one build: variant, parameters, sizes.

use std::collections::HashMap;

use brolga_ir::DType;

use super::value::Val;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::expr::{Expr, ExprKind, Unary};
use crate::model;
use crate::model::tree::ModelTree;
use crate::source::Span;

/// Choices for one instance of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// A variant of the model; none leaves the defaults.
    pub variant: Option<String>,
    /// Parameters with their values as written: `width` and `2`.
    pub set: Vec<(String, String)>,
    /// Symbolic sizes, such as `batch`.
    pub dims: Vec<(String, usize)>,
    /// What stands for `f32` in the model: `f32`, or `f64` for checking gradients.
    pub float: DType,
    /// Random numbers become inputs named `random.<path>`, for comparisons with other systems.
    pub feed_random: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { variant: None, set: Vec::new(), dims: Vec::new(), float: DType::F32, feed_random: false }
    }
}

impl Settings {
    /// The settings of a variant.
    pub fn variant(name: impl Into<String>) -> Self {
        Self { variant: Some(name.into()), ..Self::default() }
    }

    /// Sets a parameter.
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.set.push((name.into(), value.into()));
        self
    }

    /// Binds a symbolic size.
    pub fn dim(mut self, name: impl Into<String>, size: usize) -> Self {
        self.dims.push((name.into(), size));
        self
    }
}

/// Sizes of a model, in the order of the file, that are given other values to see what follows them: each takes some builds.
pub(crate) const MOST_TRIED: usize = 32;

/// The size of `batch` where nothing says otherwise.
pub(crate) const DEFAULT_BATCH: i64 = 64;

/// The size that samples are counted by.
pub(crate) const BATCH: &str = "batch";

/// The values of a model's parameters: the defaults, then the variant, then `set`.
pub(crate) fn parameter_values(
    tree: &ModelTree,
    variant: Option<&str>,
    set: &[(String, Val)],
    mut eval: impl FnMut(&Expr) -> Val,
) -> HashMap<String, (Val, Span)> {
    let mut values = HashMap::new();
    for (name, default) in &tree.parameters {
        values.insert(name.value.clone(), (eval(default), name.span));
    }
    let variant = tree.variants.iter().find(|known| Some(known.name.value.as_str()) == variant);
    for (name, value) in variant.map_or(&[][..], |variant| &variant.settings) {
        values.insert(name.value.clone(), (eval(value), name.span));
    }
    for (name, value) in set {
        if let Some(entry) = values.get_mut(name) {
            entry.0 = value.clone();
        }
    }
    values
}

/// Whether the model has the variant that is chosen, if one is.
pub(crate) fn has_variant(tree: &ModelTree, settings: &Settings) -> bool {
    let known = |variant: &String| tree.variants.iter().any(|known| known.name.value == *variant);
    settings.variant.as_ref().is_none_or(known)
}

/// Checks the choices against the model; gives the values of `set`.
pub(crate) fn check(tree: &ModelTree, settings: &Settings) -> Result<Vec<(String, Val)>, Diagnostics> {
    let (values, mistakes) = checked(tree, settings);
    mistakes.into_result(values)
}

/// The values of `set` that are right, and what is wrong with the choices.
pub(crate) fn checked(tree: &ModelTree, settings: &Settings) -> (Vec<(String, Val)>, Diagnostics) {
    let mut diagnostics = Diagnostics::default();
    let general = |message: String| Diagnostic::general(&tree.source, message);
    if let Some(variant) = settings.variant.as_ref().filter(|_| !has_variant(tree, settings)) {
        let names = tree.variants.iter().map(|variant| variant.name.value.as_str());
        diagnostics.push(general(format!("the model has no variant `{variant}`")).suggest(variant, names));
    }
    let mut values = Vec::new();
    for (name, text) in &settings.set {
        let names = || tree.parameters.iter().map(|(name, _)| name.value.as_str());
        let Some((_, default)) = tree.parameters.iter().find(|(known, _)| known.value == *name) else {
            let diagnostic = general(format!("the model has no parameter `{name}`"));
            diagnostics.push(diagnostic.suggest(name, names()));
            continue;
        };
        let value =
            if matches!(default.kind, ExprKind::Text(_)) { Val::Text(text.clone()) } else { literal(text) };
        match misfit(default, &value) {
            None => values.push((name.clone(), value)),
            Some(expected) => {
                let message = format!("the parameter `{name}` must be {expected}, found `{text}`");
                diagnostics.push(general(message));
            }
        }
    }
    (values, diagnostics)
}

/// What a parameter with this default must be, if the value is something else. What is not known is
/// reported elsewhere.
pub(crate) fn misfit(default: &Expr, value: &Val) -> Option<&'static str> {
    let (expected, fits) = match &default.kind {
        ExprKind::Int(_) => ("a whole number", value.as_int().is_some()),
        ExprKind::Float(_) => ("a number", value.as_float().is_some()),
        ExprKind::Bool(_) => ("true or false", matches!(value, Val::Bool(_))),
        ExprKind::List(_) => ("a list such as [1, 2]", matches!(value, Val::List(_))),
        ExprKind::Text(_) => ("a text", matches!(value, Val::Text(_))),
        ExprKind::Unary(Unary::Minus, number) => return misfit(number, value),
        _ => return None,
    };
    (!fits && !value.is_unknown()).then_some(expected)
}

/// The value of a text from the command line: a number, truth value or list; else the text itself.
fn literal(text: &str) -> Val {
    let value = model::literal(text).and_then(|expr| constant(&expr));
    value.unwrap_or_else(|| Val::Text(text.to_owned()))
}

/// The value of an expression without names.
fn constant(expr: &Expr) -> Option<Val> {
    Some(match &expr.kind {
        ExprKind::None => Val::None,
        ExprKind::Int(value) => Val::Int(*value),
        ExprKind::Float(value) => Val::Float(*value),
        ExprKind::Bool(value) => Val::Bool(*value),
        ExprKind::Text(text) => Val::Text(text.clone()),
        ExprKind::List(items) => Val::List(items.iter().map(constant).collect::<Option<_>>()?),
        ExprKind::Name(name) => Val::Text(name.clone()),
        ExprKind::Unary(Unary::Minus, operand) => match constant(operand)? {
            Val::Int(value) => Val::Int(value.checked_neg()?),
            Val::Float(value) => Val::Float(-value),
            _ => return None,
        },
        _ => return None,
    })
}
