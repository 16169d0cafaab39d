//! The tree of values to the tree of the model: every name, argument and expression is checked for its form.

use std::collections::HashMap;
use std::sync::Arc;

use brolga_ir::DType;

use super::notation::{Kind, Text, Value};
use super::structure::{BLOCK, MODEL, Structure};
use super::{Block, Body, Input, Setting, Tree, TypeExpr, Variant};
use crate::arguments::{self, field_list, match_fields};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::expr::{Expr, ExprKind, Index, Template, parse};
use crate::source::{Source, Span, Spanned};

/// Gives the name and the text of an imported model: what the import says, and the name of the file that imports it.
pub type Resolver<'a> = &'a dyn Fn(&str, &str) -> Result<(String, String), String>;

/// Reads one file.
pub(crate) struct Decoder<'a> {
    pub source: Arc<Source>,
    pub diagnostics: Diagnostics,
    pub resolver: Resolver<'a>,
    /// Names of the user's blocks.
    pub blocks: Vec<String>,
    /// Files being read, this one last: finds cycles.
    pub importing: Vec<String>,
}

impl<'a> Decoder<'a> {
    pub fn new(source: &Arc<Source>, resolver: Resolver<'a>, importing: Vec<String>) -> Self {
        let source = source.clone();
        Self { source, diagnostics: Diagnostics::default(), resolver, blocks: Vec::new(), importing }
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
        self.report(Diagnostic::new(&self.source, value.span, message));
    }

    /// A number, truth value, list, expression in a string, or call.
    pub fn expression(&mut self, value: &Value) -> Option<Expr> {
        let kind = match &value.kind {
            Kind::Bool(value) => ExprKind::Bool(*value),
            Kind::Int(value) => ExprKind::Int(*value),
            Kind::Float(number) if number.is_finite() => ExprKind::Float(*number),
            Kind::Float(_) => {
                self.mismatch(value, "a finite number");
                return None;
            }
            Kind::Text(text) => return self.parsed(parse::expression(&self.source.clone(), text)),
            Kind::List(items) => {
                let items: Vec<_> = items.iter().map(|item| self.expression(item)).collect();
                ExprKind::List(items.into_iter().collect::<Option<_>>()?)
            }
            Kind::Struct(None, fields) => {
                let items = field_list(fields);
                if items.iter().any(|(name, _)| name.is_some()) {
                    self.mismatch(value, "a number or an expression");
                    return None;
                }
                let items: Vec<_> = items.iter().map(|(_, item)| self.expression(item)).collect();
                ExprKind::List(items.into_iter().collect::<Option<_>>()?)
            }
            _ if value.is_none() => ExprKind::None,
            _ => {
                self.mismatch(value, "a number or an expression");
                return None;
            }
        };
        Some(Expr { kind, span: value.span })
    }

    /// The expression; where it is a mistake, which is reported, one of unknown value: what stands around it is still
    /// checked.
    pub fn expression_or_mistake(&mut self, value: &Value) -> Expr {
        self.expression(value).unwrap_or_else(|| Expr::mistake(value.span))
    }

    /// Like [`Self::expression`], but a string is a text: the values of model parameters.
    fn plain(&mut self, value: &Value) -> Option<Expr> {
        match &value.kind {
            Kind::Text(text) => Some(Expr { kind: ExprKind::Text(text.value.clone()), span: value.span }),
            Kind::List(items) => {
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

    pub fn parsed<T>(&mut self, result: Result<T, Diagnostic>) -> Option<T> {
        result.map_err(|diagnostic| self.report(diagnostic)).ok()
    }

    pub fn text<'v>(&mut self, value: &'v Value, expected: &str) -> Option<&'v Text> {
        match &value.kind {
            Kind::Text(text) => Some(text),
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

    fn check_identifier(&mut self, name: &Spanned<String>) -> bool {
        let mut characters = name.value.chars();
        let good = characters.next().is_some_and(|c| c.is_alphabetic() || c == '_')
            && characters.all(|c| c.is_alphanumeric() || c == '_');
        if !good {
            self.report(
                Diagnostic::new(&self.source, name.span, format!("{:?} is not a name", name.value))
                    .help("a name has letters, digits and `_`, and does not begin with a digit"),
            );
        }
        good
    }

    pub fn list<'v>(&mut self, value: &'v Value, expected: &str) -> &'v [Value] {
        match &value.kind {
            Kind::List(items) => items,
            _ => {
                self.mismatch(value, expected);
                &[]
            }
        }
    }

    /// A map with names as keys; a repeated key is a mistake.
    pub fn map<'v>(&mut self, value: &'v Value, expected: &str) -> Vec<(Spanned<String>, &'v Value)> {
        let Kind::Map(entries) = &value.kind else {
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

    fn settings(&mut self, value: &Value) -> Vec<(Spanned<String>, Expr)> {
        let mut settings = Vec::new();
        for (name, value) in self.map(value, "a map of parameters to values") {
            settings.push((name, self.plain(value).unwrap_or_else(|| Expr::mistake(value.span))));
        }
        settings
    }

    /// What an import sets, in expressions of this file; texts where the parameter's default is one.
    pub fn import_settings(
        &mut self,
        value: &Value,
        parameters: &[(Spanned<String>, Expr)],
    ) -> Vec<(Spanned<String>, Setting)> {
        let mut settings = Vec::new();
        for (name, value) in self.map(value, "a map of parameters to values") {
            let default = parameters.iter().find(|(known, _)| known.value == name.value);
            let setting = match &value.kind {
                Kind::Text(text) if default.is_some_and(|(_, default)| holds_texts(default)) => {
                    let expr = parse::expression(&self.source.clone(), text).ok();
                    let itself = Expr { kind: ExprKind::Text(text.value.clone()), span: value.span };
                    let value = Expr { span: value.span, ..expr.unwrap_or(itself) };
                    Some(Setting { value, text: Some(text.value.clone()) })
                }
                Kind::List(_) if default.is_some_and(|(_, default)| holds_texts(default)) => {
                    self.plain(value).map(|value| Setting { value, text: None })
                }
                _ => self.expression(value).map(|value| Setting { value, text: None }),
            };
            settings.extend(setting.map(|setting| (name, setting)));
        }
        settings
    }

    /// The given fields under the names of a structure's; see [`match_fields`].
    pub fn matched<'v>(
        &mut self,
        structure: &Structure,
        given: &[arguments::Field<'v>],
        span: Span,
        complete: &mut bool,
    ) -> Vec<(&'static str, &'v Value)> {
        let unnamed = given.iter().filter(|(name, _)| name.is_none()).count();
        let other = structure.orders.iter().find(|(count, _)| *count == unnamed);
        let own: Vec<&'static str> = structure.fields.iter().map(|field| field.name).collect();
        let names = other.map_or(&own[..], |(_, names)| *names);
        let required = structure.fields.iter().filter(|field| field.required);
        let required: Vec<&'static str> = required.map(|field| field.name).collect();
        match_fields(self, structure.name, names, &required, given, span, complete)
    }

    /// The whole model.
    pub fn model(&mut self, value: &Value) -> Option<Tree> {
        let fields = match &value.kind {
            Kind::Struct(Some(name), fields) if name.value == MODEL.name => field_list(fields),
            _ => {
                self.mismatch(value, "`Model(...)`");
                return None;
            }
        };
        let fields = self.matched(&MODEL, &fields, value.span, &mut true);
        let get = |name: &str| fields.iter().find(|(field, _)| *field == name).map(|(_, value)| *value);

        let parameters = get("parameters").map_or(Vec::new(), |value| self.settings(value));
        for (name, _) in &parameters {
            self.check_identifier(name);
        }
        let variants = get("variants").map_or(Vec::new(), |value| self.variants(value, &parameters));
        let mut dims = Vec::new();
        for (name, value) in get("dims").map_or(Vec::new(), |value| self.map(value, "a map of sizes")) {
            dims.push((name, self.expression_or_mistake(value)));
        }
        let blocks = get("blocks").map_or(Vec::new(), |value| self.blocks(value));
        let mut inputs = Vec::new();
        for (name, value) in get("inputs").map_or(Vec::new(), |value| self.map(value, "a map of inputs")) {
            self.check_identifier(&name);
            let ty = self.type_expr(value);
            inputs.push(Input { name, ty });
        }
        let body = get("body").map_or_else(Body::default, |value| self.body(value));
        let mut entries = Vec::new();
        for (name, value) in get("entries").map_or(Vec::new(), |value| self.map(value, "a map of entries")) {
            if name.value == "init" || name.value.contains('.') {
                let diagnostic = Diagnostic::new(
                    &self.source,
                    name.span,
                    format!("an entry cannot be named `{}`", name.value),
                )
                .note("`init` and names with a dot are made by the compiler");
                self.report(diagnostic);
            }
            entries.push(self.entry(name, value));
        }
        let data = get("data").map_or_else(Default::default, |value| self.data(value, &inputs));
        let source = self.source.clone();
        let broken = !self.diagnostics.is_empty();
        Some(Tree { source, parameters, variants, dims, blocks, inputs, body, entries, data, broken })
    }

    fn variants(&mut self, value: &Value, parameters: &[(Spanned<String>, Expr)]) -> Vec<Variant> {
        let mut variants = Vec::new();
        for (name, value) in self.map(value, "a map of variants") {
            let settings = self.settings(value);
            for (key, _) in &settings {
                self.known_parameter(key, parameters);
            }
            variants.push(Variant { name, settings });
        }
        variants
    }

    pub fn known_parameter(&mut self, key: &Spanned<String>, parameters: &[(Spanned<String>, Expr)]) {
        let names = || parameters.iter().map(|(name, _)| name.value.as_str());
        if !names().any(|name| name == key.value) {
            let message = format!("the model has no parameter `{}`", key.value);
            let diagnostic = Diagnostic::new(&self.source, key.span, message).suggest(&key.value, names());
            self.report(diagnostic);
        }
    }

    fn blocks(&mut self, value: &Value) -> Vec<Arc<Block>> {
        let entries = self.map(value, "a map of blocks");
        // Blocks may use each other, so all names are known before any body is read.
        self.blocks = entries.iter().map(|(name, _)| name.value.clone()).collect();
        let mut blocks = Vec::new();
        for (name, value) in entries {
            if crate::graph::layers::find(&name.value).is_some()
                || super::steps::STEPS.contains(&name.value.as_str())
            {
                self.error(name.span, format!("`{}` is already the name of a layer", name.value));
            }
            let fields = match &value.kind {
                Kind::Struct(Some(kind), fields) if kind.value == BLOCK.name => field_list(fields),
                _ => {
                    self.mismatch(value, "`Block(...)`");
                    continue;
                }
            };
            let fields = self.matched(&BLOCK, &fields, value.span, &mut true);
            let mut parameters = Vec::new();
            let mut body = Body::default();
            for (field, value) in fields {
                if field == "body" {
                    body = self.body(value);
                    continue;
                }
                for (name, value) in self.map(value, "a map of parameters") {
                    self.check_identifier(&name);
                    let default = match &value.kind {
                        Kind::Struct(Some(word), fields) if fields.is_empty() && word.value == "Required" => {
                            None
                        }
                        _ => Some(self.expression_or_mistake(value)),
                    };
                    parameters.push((name, default));
                }
            }
            blocks.push(Arc::new(Block { name, parameters, body }));
        }
        blocks
    }

    /// `"f32[batch, 3]"`.
    fn type_expr(&mut self, value: &Value) -> Option<TypeExpr> {
        let text = self.text(value, "a type such as \"f32[batch, 10]\"")?;
        let span = text.span();
        let bare = text.value.trim().strip_suffix("[]").map(str::to_owned);
        let (name, name_span, dims) = match bare {
            Some(name) => (name, span, Vec::new()),
            None => {
                let expr = self.parsed(parse::expression(&self.source.clone(), text))?;
                let (base, indices) = match expr.kind {
                    ExprKind::Index(base, indices) => (*base, indices),
                    _ => (expr, Vec::new()),
                };
                let mut dims = Vec::new();
                for index in indices {
                    match index {
                        Index::At(dim) => dims.push(dim),
                        Index::Range(_) | Index::Rest => {
                            self.error(span, "a size is expected in a type, not a range");
                            return None;
                        }
                    }
                }
                match base.kind {
                    ExprKind::Name(name) => (name, base.span, dims),
                    _ => (text.value.clone(), base.span, dims),
                }
            }
        };
        // Types that only store are the compiler's business.
        let types = DType::ALL.into_iter().filter(|dtype| !dtype.is_storage());
        let Some(dtype) = types.clone().find(|dtype| dtype.name() == name) else {
            let diagnostic =
                Diagnostic::new(&self.source, name_span, format!("`{name}` is not an element type"))
                    .suggest(&name, types.map(DType::name));
            let alias = [
                ("float", "f32"),
                ("float32", "f32"),
                ("double", "f64"),
                ("float64", "f64"),
                ("int", "i32"),
                ("int32", "i32"),
                ("long", "i64"),
                ("int64", "i64"),
                ("uint8", "u8"),
                ("bf16", "f32` and compile with `--precision bf16"),
                ("bfloat16", "f32` and compile with `--precision bf16"),
            ];
            let alias = alias.iter().find(|(other, _)| *other == name).map(|(_, own)| own);
            let diagnostic = match alias {
                Some(own) => diagnostic.help(format!("write `{own}`")),
                None => diagnostic,
            };
            self.report(diagnostic);
            return None;
        };
        Some(TypeExpr { dtype, dims, span })
    }
}

/// Reads a model file and the files it imports. The tree is there wherever the text could be read at all, with
/// broken parts marked, so that independent mistakes elsewhere in it can be found as well.
pub(crate) fn read(
    source: &Arc<Source>,
    resolver: Resolver,
    importing: Vec<String>,
) -> (Option<Tree>, Diagnostics) {
    match crate::model::notation::parse(source) {
        Err(diagnostic) => (None, diagnostic.into()),
        Ok(value) => {
            let mut decoder = Decoder::new(source, resolver, importing);
            let tree = decoder.model(&value);
            (tree, decoder.diagnostics)
        }
    }
}

/// Whether the default of a parameter is a text, or a list with texts in it.
fn holds_texts(default: &Expr) -> bool {
    match &default.kind {
        ExprKind::Text(_) => true,
        ExprKind::List(items) => items.iter().any(holds_texts),
        _ => false,
    }
}
