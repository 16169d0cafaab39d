//! The decoder: from a value of the notation to what it means, with every mistake reported at its place.
//!
//! Here is what all parts of a file need: texts, names, lists, maps, expressions, and the fields of a call. What a whole file,
//! a body, an entry point and `data` consist of, the other files of this folder say, each in an `impl Decoder` of its own.
//!
//! A mistake never ends the reading: it is reported, and something that is known to be wrong ([`Expr::mistake`], a `complete`
//! that is false) stands for what could not be read, so that everything else is checked as well.

use std::collections::HashMap;
use std::sync::Arc;

use super::notation::{FieldRef, Value, ValueKind};
use super::structure::Structure;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::expr::{Expr, ExprKind, Template, parse};
use crate::signature::Vocabulary;
use crate::source::{Source, Span, Spanned, Text};

/// Gives the name and the text of an imported model: what the import says, and the name of the file that imports it.
pub type Resolver<'a> = &'a dyn Fn(&str, &str) -> Result<(String, String), String>;

/// Names that expressions understand wherever they stand; another value under one would not be seen.
const MEANT: [&str; 5] = ["it", "training", "pi", "inf", "nan"];

/// What reading a file needs besides its text.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub vocabulary: &'a Vocabulary,
    pub resolver: Resolver<'a>,
}

/// Reads one file.
pub(crate) struct Decoder<'a> {
    pub source: Arc<Source>,
    pub diagnostics: Diagnostics,
    pub context: Context<'a>,
    /// Names of the user's blocks.
    pub blocks: Vec<String>,
    /// Files being read, this one last: finds cycles.
    pub importing: Vec<String>,
}

/// What a call may be given.
pub(crate) struct Accepted<'n> {
    /// What is called.
    pub name: &'n str,
    /// Its fields; unnamed values fill them in this order.
    pub fields: &'n [&'static str],
    /// Those that must be given.
    pub required: &'n [&'static str],
}

impl Accepted<'_> {
    /// Which field is meant by the one that is given at this position.
    fn meant(&self, position: usize, (name, _): &FieldRef) -> Option<&'static str> {
        match name {
            Some(name) => self.fields.iter().copied().find(|known| *known == name.value),
            None => self.fields.get(position).copied(),
        }
    }
}

/// The fields that a call was given, under their names.
pub(crate) struct Given<'v> {
    pub fields: Vec<(&'static str, &'v Value)>,
    /// Nothing is missing, unknown or given twice; what is has been reported.
    pub complete: bool,
}

impl<'v> Given<'v> {
    /// The value of a field, if it was given.
    pub fn get(&self, name: &str) -> Option<&'v Value> {
        self.fields.iter().find(|(field, _)| *field == name).map(|(_, value)| *value)
    }
}

impl<'a> Decoder<'a> {
    pub fn new(source: &Arc<Source>, context: Context<'a>, importing: Vec<String>) -> Self {
        let source = source.clone();
        Self { source, diagnostics: Diagnostics::default(), context, blocks: Vec::new(), importing }
    }

    pub fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    pub fn error(&mut self, span: Span, message: impl Into<String>) -> &mut Self {
        self.diagnostics.push(Diagnostic::new(&self.source, span, message));
        self
    }

    /// Reports that `value` is not what was expected.
    pub fn mismatch(&mut self, value: &Value, expected: &str) {
        let message = format!("expected {expected}, found {}", value.describe());
        let diagnostic = Diagnostic::new(&self.source, value.span, message);
        let written = &self.source.text[value.span.start..value.span.end];
        let quoted = ["expression", "quotes", "name"].iter().any(|word| expected.contains(word));
        let diagnostic = match &value.kind {
            ValueKind::Struct(Some(name), fields)
                if fields.is_empty() && ["True", "False"].contains(&&*name.value) =>
            {
                diagnostic.help(format!("truth values are written small: `{}`", name.value.to_lowercase()))
            }
            ValueKind::Struct(Some(_), _)
                if quoted && written.len() <= 60 && !written.contains(['"', '\n']) =>
            {
                diagnostic.help(format!("write it in quotes: \"{written}\""))
            }
            _ => diagnostic,
        };
        self.report(diagnostic);
    }

    // Expressions and names with expressions in them.

    /// A number, truth value, list, expression in a string, or call.
    pub fn expression(&mut self, value: &Value) -> Option<Expr> {
        let kind = match &value.kind {
            ValueKind::Bool(value) => ExprKind::Bool(*value),
            ValueKind::Int(value) => ExprKind::Int(*value),
            ValueKind::Float(number) if number.is_finite() => ExprKind::Float(*number),
            ValueKind::Float(_) => {
                self.mismatch(value, "a finite number");
                return None;
            }
            ValueKind::Text(text) => return self.parsed(parse::expression(&self.source.clone(), text)),
            ValueKind::List(items) => ExprKind::List(self.expressions(items.iter())?),
            ValueKind::Struct(None, fields) if fields.iter().all(|(name, _)| name.is_none()) => {
                ExprKind::List(self.expressions(fields.iter().map(|(_, item)| item))?)
            }
            _ if value.is_none() => ExprKind::None,
            _ => {
                self.mismatch(value, "a number or an expression");
                return None;
            }
        };
        Some(Expr { kind, span: value.span })
    }

    /// The items of a list; nothing if one is a mistake, but all are looked at.
    fn expressions<'v>(&mut self, items: impl Iterator<Item = &'v Value>) -> Option<Vec<Expr>> {
        let items: Vec<_> = items.map(|item| self.expression(item)).collect();
        items.into_iter().collect()
    }

    /// The expression; where it is a mistake, which is reported, one of unknown value: what stands around it is still
    /// checked.
    pub fn expression_or_mistake(&mut self, value: &Value) -> Expr {
        self.expression(value).unwrap_or_else(|| Expr::mistake(value.span))
    }

    /// Like [`Self::expression`], but a string is a text: the values of model parameters.
    pub fn plain(&mut self, value: &Value) -> Option<Expr> {
        match &value.kind {
            ValueKind::Text(text) => {
                Some(Expr { kind: ExprKind::Text(text.value.clone()), span: value.span })
            }
            ValueKind::List(items) => {
                let items: Vec<_> = items.iter().map(|item| self.plain(item)).collect();
                let kind = ExprKind::List(items.into_iter().collect::<Option<_>>()?);
                Some(Expr { kind, span: value.span })
            }
            _ => self.expression(value),
        }
    }

    pub fn template(&mut self, value: &Value) -> Option<Template> {
        let text = self.text(value, "a name in quotes")?;
        self.parsed(parse::template(&self.source.clone(), text))
    }

    /// The name; where it is a mistake, which is reported, one that cannot be filled in.
    pub fn template_or_mistake(&mut self, value: &Value) -> Template {
        self.template(value).unwrap_or_else(|| Template::mistake(value.span))
    }

    /// One name or pattern, or a list of them.
    pub fn patterns(&mut self, value: &Value) -> Vec<Template> {
        match &value.kind {
            ValueKind::List(items) => items.iter().filter_map(|item| self.template(item)).collect(),
            _ => self.template(value).into_iter().collect(),
        }
    }

    pub fn parsed<T>(&mut self, result: Result<T, Diagnostic>) -> Option<T> {
        result.map_err(|diagnostic| self.report(diagnostic)).ok()
    }

    // Texts, lists and maps.

    pub fn text<'v>(&mut self, value: &'v Value, expected: &str) -> Option<&'v Text> {
        match &value.kind {
            ValueKind::Text(text) => Some(text),
            _ => {
                self.mismatch(value, expected);
                None
            }
        }
    }

    pub fn spanned_text(&mut self, value: &Value, expected: &str) -> Option<Spanned<String>> {
        let text = self.text(value, expected)?;
        Some(Spanned::new(text.value.clone(), text.span()))
    }

    /// A name that expressions can use.
    pub fn identifier(&mut self, value: &Value) -> Option<Spanned<String>> {
        let name = self.spanned_text(value, "a name in quotes")?;
        self.check_identifier(&name).then_some(name)
    }

    pub fn check_identifier(&mut self, name: &Spanned<String>) -> bool {
        let mut characters = name.value.chars();
        let good = characters.next().is_some_and(|c| c.is_alphabetic() || c == '_')
            && characters.all(|c| c.is_alphanumeric() || c == '_');
        if !good {
            self.report(
                Diagnostic::new(&self.source, name.span, format!("{:?} is not a name", name.value))
                    .help("a name has letters, digits and `_`, and does not begin with a digit"),
            );
        }
        if MEANT.contains(&name.value.as_str()) {
            let message = format!("`{}` has a meaning of its own", name.value);
            self.report(Diagnostic::new(&self.source, name.span, message).help("choose another name"));
            return false;
        }
        good
    }

    pub fn list<'v>(&mut self, value: &'v Value, expected: &str) -> &'v [Value] {
        match &value.kind {
            ValueKind::List(items) => items,
            _ => {
                self.mismatch(value, expected);
                &[]
            }
        }
    }

    /// A map with names as keys; a repeated key is a mistake.
    pub fn map<'v>(&mut self, value: &'v Value, expected: &str) -> Vec<(Spanned<String>, &'v Value)> {
        let ValueKind::Map(entries) = &value.kind else {
            self.mismatch(value, expected);
            return Vec::new();
        };
        let mut result: Vec<(Spanned<String>, &Value)> = Vec::new();
        let mut first: HashMap<String, Span> = HashMap::new();
        for (key, value) in entries {
            let Some(key) = self.spanned_text(key, "a name in quotes") else { continue };
            if let Some(first) = first.get(&key.value) {
                let message = format!("`{}` is defined twice", key.value);
                let diagnostic =
                    Diagnostic::new(&self.source, key.span, message).context(*first, "first defined here");
                self.report(diagnostic);
                continue;
            }
            first.insert(key.value.clone(), key.span);
            result.push((key, value));
        }
        result
    }

    // The fields of a call.

    /// The given fields under the names of a structure's.
    pub fn matched<'v>(&mut self, structure: &Structure, given: &[FieldRef<'v>], span: Span) -> Given<'v> {
        let unnamed = given.iter().filter(|(name, _)| name.is_none()).count();
        let other = structure.orders.iter().find(|(count, _)| *count == unnamed);
        let own: Vec<&'static str> = structure.fields.iter().map(|field| field.name).collect();
        let required = structure.fields.iter().filter(|field| field.required);
        let required: Vec<&'static str> = required.map(|field| field.name).collect();
        let fields = other.map_or(&own[..], |(_, names)| *names);
        self.match_fields(&Accepted { name: structure.name, fields, required: &required }, given, span)
    }

    /// Brings fields under the names that a call accepts; unnamed ones in that order. Unknown, repeated, superfluous and missing
    /// ones are reported.
    pub fn match_fields<'v>(&mut self, call: &Accepted, given: &[FieldRef<'v>], span: Span) -> Given<'v> {
        let mut matched = Given { fields: Vec::new(), complete: true };
        let mut unknown = false;
        for (position, field) in given.iter().enumerate() {
            match call.meant(position, field) {
                Some(known) if matched.get(known).is_some() => {
                    let place = field.0.map_or(field.1.span, |name| name.span);
                    self.error(place, format!("`{known}` is given twice"));
                    matched.complete = false;
                }
                Some(known) => matched.fields.push((known, field.1)),
                None => {
                    self.unknown_field(call, field);
                    matched.complete = false;
                    unknown = true;
                }
            }
        }
        let missing = call.required.iter().filter(|name| matched.get(name).is_none());
        let missing: Vec<String> = missing.map(|name| format!("`{name}`")).collect();
        if !missing.is_empty() {
            // An unknown name is most likely the missing one misspelt, and has been reported.
            if !unknown {
                self.error(span, format!("`{}` needs {}", call.name, missing.join(", ")));
            }
            matched.complete = false;
        }
        matched
    }

    /// Reports a field that the call does not have, or a value more than it has fields.
    fn unknown_field(&mut self, call: &Accepted, (name, value): &FieldRef) {
        let diagnostic = match (name, call.fields) {
            (Some(name), fields) => {
                let message = match fields {
                    [] => format!("`{}` takes no arguments", call.name),
                    _ => format!("`{}` has no argument `{}`", call.name, name.value),
                };
                Diagnostic::new(&self.source, name.span, message).suggest(&name.value, fields.iter().copied())
            }
            (None, fields) => {
                let message = match fields.len() {
                    0 => format!("`{}` takes no arguments", call.name),
                    n => format!("`{}` takes at most {n} arguments: {}", call.name, fields.join(", ")),
                };
                Diagnostic::new(&self.source, value.span, message)
            }
        };
        self.report(diagnostic);
    }
}
