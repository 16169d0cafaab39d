//! A whole model file: its parameters, variants, sizes, blocks, inputs, body and entries.

use std::sync::Arc;

use brolga_ir::DType;

use super::decoder::{Context, Decoder, Given};
use super::notation::{self, Value, ValueKind, field_list};
use super::structure::{BLOCK, BodyWord, MODEL};
use super::tree::{Body, EntryPoint, Input, ModelTree, Setting, TypeExpr, UserBlock, Variant};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::expr::{Expr, ExprKind, Index, parse};
use crate::signature::Words;
use crate::source::{Source, Span, Spanned, Text};

/// Reads a model file and the files it imports. The tree is there wherever the text could be read at all, with
/// broken parts marked, so that independent mistakes elsewhere in it can be found as well.
pub(crate) fn read(
    source: &Arc<Source>,
    context: Context,
    importing: Vec<String>,
) -> (Option<ModelTree>, Diagnostics) {
    match notation::parse(source) {
        Err(diagnostic) => (None, diagnostic.into()),
        Ok(value) => {
            let mut decoder = Decoder::new(source, context, importing);
            let tree = decoder.model(&value);
            (tree, decoder.diagnostics)
        }
    }
}

/// The expression that a text is, such as the value of a parameter on the command line; nothing if it is none.
pub(crate) fn literal(text: &str) -> Option<Expr> {
    let source = Source::new("value", format!("{text:?}"));
    match notation::parse(&source) {
        Ok(Value { kind: ValueKind::Text(content), .. }) => parse::expression(&source, &content).ok(),
        _ => None,
    }
}

impl Decoder<'_> {
    /// The whole model.
    fn model(&mut self, value: &Value) -> Option<ModelTree> {
        let fields = match &value.kind {
            ValueKind::Struct(Some(name), fields) if name.value == MODEL.name => field_list(fields),
            _ => {
                self.mismatch(value, "`Model(...)`");
                return None;
            }
        };
        let given = self.matched(&MODEL, &fields, value.span);
        let parameters = given.get("parameters").map_or(Vec::new(), |value| self.settings(value));
        for (name, _) in &parameters {
            self.check_identifier(name);
        }
        let variants = given.get("variants").map_or(Vec::new(), |value| self.variants(value, &parameters));
        let dims = self.dims(&given);
        let blocks = given.get("blocks").map_or(Vec::new(), |value| self.blocks(value));
        let functions = given.get("functions").map_or(Vec::new(), |value| self.functions(value));
        let inputs = self.inputs(&given);
        let body = given.get("body").map_or_else(Body::default, |value| self.body(value));
        let entries = self.entries(&given);
        let data = given.get("data").map_or_else(Default::default, |value| self.data(value, &inputs));
        let training = given.get("training").map_or(Vec::new(), |value| self.plan(value));
        let source = self.source.clone();
        let broken = !self.diagnostics.is_empty();
        Some(ModelTree {
            source,
            parameters,
            variants,
            dims,
            blocks,
            functions,
            inputs,
            body,
            entries,
            data,
            training,
            broken,
        })
    }

    /// The defaults of the symbolic sizes.
    fn dims(&mut self, given: &Given) -> Vec<(Spanned<String>, Expr)> {
        let mut dims = Vec::new();
        for (name, value) in given.get("dims").map_or(Vec::new(), |value| self.map(value, "a map of sizes")) {
            dims.push((name, self.expression_or_mistake(value)));
        }
        dims
    }

    fn inputs(&mut self, given: &Given) -> Vec<Input> {
        let mut inputs = Vec::new();
        let written = given.get("inputs").map_or(Vec::new(), |value| self.map(value, "a map of inputs"));
        for (name, value) in written {
            self.check_identifier(&name);
            let ty = self.type_expr(value);
            inputs.push(Input { name, ty });
        }
        inputs
    }

    fn entries(&mut self, given: &Given) -> Vec<EntryPoint> {
        let mut entries = Vec::new();
        let written = given.get("entries").map_or(Vec::new(), |value| self.map(value, "a map of entries"));
        for (name, value) in written {
            if name.value == "init" || name.value.contains('.') {
                let message = format!("an entry cannot be named `{}`", name.value);
                let diagnostic = Diagnostic::new(&self.source, name.span, message)
                    .note("`init` and names with a dot are made by the compiler");
                self.report(diagnostic);
            }
            entries.push(self.entry(name, value));
        }
        entries
    }

    // Parameters.

    fn settings(&mut self, value: &Value) -> Vec<(Spanned<String>, Expr)> {
        let mut settings = Vec::new();
        for (name, value) in self.map(value, "a map of parameters to values") {
            settings.push((name, self.plain(value).unwrap_or_else(|| Expr::mistake(value.span))));
        }
        settings
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

    /// The parameters that an import sets. Values are expressions of this file: `set: { "width": "2 * w" }`. Where the default of
    /// the parameter is a text, so is what is written: `set: { "act": "relu" }`.
    pub fn import_settings(
        &mut self,
        value: &Value,
        parameters: &[(Spanned<String>, Expr)],
    ) -> Vec<(Spanned<String>, Setting)> {
        let mut settings = Vec::new();
        for (name, value) in self.map(value, "a map of parameters to values") {
            let default = parameters.iter().find(|(known, _)| known.value == name.value);
            let of_texts = default.is_some_and(|(_, default)| holds_texts(default));
            let setting = match &value.kind {
                ValueKind::Text(text) if of_texts => {
                    let expr = parse::expression(&self.source.clone(), text).ok();
                    let itself = Expr { kind: ExprKind::Text(text.value.clone()), span: value.span };
                    let value = Expr { span: value.span, ..expr.unwrap_or(itself) };
                    Some(Setting { value, text: Some(text.value.clone()) })
                }
                ValueKind::List(_) if of_texts => {
                    self.plain(value).map(|value| Setting { value, text: None })
                }
                _ => self.expression(value).map(|value| Setting { value, text: None }),
            };
            settings.extend(setting.map(|setting| (name, setting)));
        }
        settings
    }

    pub fn known_parameter(&mut self, key: &Spanned<String>, parameters: &[(Spanned<String>, Expr)]) {
        let names = || parameters.iter().map(|(name, _)| name.value.as_str());
        if !names().any(|name| name == key.value) {
            let message = format!("the model has no parameter `{}`", key.value);
            let diagnostic = Diagnostic::new(&self.source, key.span, message).suggest(&key.value, names());
            self.report(diagnostic);
        }
    }

    // Blocks and types.

    fn blocks(&mut self, value: &Value) -> Vec<Arc<UserBlock>> {
        let entries = self.map(value, "a map of blocks");
        // Blocks may use each other, so all names are known before any body is read.
        self.blocks = entries.iter().map(|(name, _)| name.value.clone()).collect();
        let mut blocks = Vec::new();
        for (name, value) in entries {
            if self.context.vocabulary.layer(&name.value).is_some()
                || BodyWord::NAMES.contains(&name.value.as_str())
            {
                self.error(name.span, format!("`{}` is already the name of a layer", name.value));
            }
            match &value.kind {
                ValueKind::Struct(Some(kind), fields) if kind.value == BLOCK.name => {
                    let given = self.matched(&BLOCK, &field_list(fields), value.span);
                    blocks.push(Arc::new(self.block(name, &given)));
                }
                _ => self.mismatch(value, "`Block(...)`"),
            }
        }
        blocks
    }

    /// One block; its fields are read in the order in which they are written.
    fn block(&mut self, name: Spanned<String>, given: &Given) -> UserBlock {
        let mut parameters = Vec::new();
        let mut body = Body::default();
        for (field, value) in &given.fields {
            if *field == "body" {
                body = self.body(value);
                continue;
            }
            for (name, value) in self.map(value, "a map of parameters") {
                self.check_identifier(&name);
                let default = match &value.kind {
                    ValueKind::Struct(Some(word), fields)
                        if fields.is_empty() && word.value == "Required" =>
                    {
                        None
                    }
                    _ => Some(self.expression_or_mistake(value)),
                };
                parameters.push((name, default));
            }
        }
        UserBlock { name, parameters, body }
    }

    /// `"f32[batch, 3]"`.
    pub fn type_expr(&mut self, value: &Value) -> Option<TypeExpr> {
        let text = self.text(value, "a type such as \"f32[batch, 10]\"")?;
        let span = text.span();
        let (name, name_span, dims) = match text.value.trim().strip_suffix("[]") {
            Some(name) => (name.to_owned(), span, Vec::new()),
            None => self.name_and_dims(text)?,
        };
        // Types that only store are the compiler's business.
        let mut types = DType::ALL.into_iter().filter(|dtype| !dtype.is_storage());
        match types.find(|dtype| dtype.name() == name) {
            Some(dtype) => Some(TypeExpr { dtype, dims, span }),
            None => {
                self.unknown_type(&name, name_span);
                None
            }
        }
    }

    /// A type is an indexing by its form: `f32[batch, 3]` names an element type and expressions for sizes.
    fn name_and_dims(&mut self, text: &Text) -> Option<(String, Span, Vec<Expr>)> {
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
                    self.error(text.span(), "a size is expected in a type, not a range");
                    return None;
                }
            }
        }
        Some(match base.kind {
            ExprKind::Name(name) => (name, base.span, dims),
            _ => (text.value.clone(), base.span, dims),
        })
    }

    /// Reports what is no element type, with what other systems' names for one are here.
    fn unknown_type(&mut self, name: &str, span: Span) {
        let known = DType::ALL.into_iter().filter(|dtype| !dtype.is_storage()).map(DType::name);
        let mut diagnostic = Diagnostic::new(&self.source, span, format!("`{name}` is not an element type"))
            .suggest(name, known);
        if let Some((_, own)) = TYPES_ELSEWHERE.iter().find(|(other, _)| *other == name) {
            diagnostic = diagnostic.help(format!("write `{own}`"));
        }
        self.report(diagnostic);
    }
}

/// What other systems call element types, and what to write here.
const TYPES_ELSEWHERE: [(&str, &str); 11] = [
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

/// Whether the default of a parameter is a text, or a list with texts in it.
fn holds_texts(default: &Expr) -> bool {
    match &default.kind {
        ExprKind::Text(_) => true,
        ExprKind::List(items) => items.iter().any(holds_texts),
        _ => false,
    }
}
