//! The notation: RON text to a tree of values, each with its place.
//!
//! This reads the data language of the `ron` crate (structs, lists, maps, strings, numbers, comments), and
//! keeps the byte range of every value, name and key, and of every character inside a string, so that a mistake
//! in an expression is reported at its own place. `ron`'s raw values give the ranges of whole values only,
//! and need a data structure known beforehand; a model's steps are open-ended.
//!
//! Nesting is bounded, so that hostile text cannot exhaust the stack.

use std::sync::Arc;

use crate::diagnostics::Diagnostic;
use crate::source::{Source, Span, Spanned, Text};

/// A value of the notation.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    pub kind: ValueKind,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub(crate) enum ValueKind {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Text),
    List(Vec<Value>),
    Map(Vec<(Value, Value)>),
    /// `Name`, `Name(...)`, or `(...)` without a name.
    Struct(Option<Spanned<String>>, Fields),
}

/// What stands between a struct's parentheses: unnamed values, then named ones. Nothing where there are no parentheses.
pub(crate) type Fields = Vec<(Option<Spanned<String>>, Value)>;

/// One field of a struct, borrowed: its name if it has one, and its value.
pub(crate) type FieldRef<'a> = (Option<&'a Spanned<String>>, &'a Value);

/// The fields of a struct, borrowed.
pub(crate) fn field_list(fields: &Fields) -> Vec<FieldRef<'_>> {
    fields.iter().map(|(name, value)| (name.as_ref(), value)).collect()
}

impl Value {
    /// `none`, as in expressions, or `None`, as in RON.
    pub fn is_none(&self) -> bool {
        matches!(&self.kind, ValueKind::Struct(Some(name), fields) if fields.is_empty() && ["none", "None"].contains(&&*name.value))
    }

    /// What kind of value this is, for "found ...".
    pub fn describe(&self) -> String {
        match &self.kind {
            ValueKind::Bool(value) => format!("`{value}`"),
            ValueKind::Int(value) => format!("the number {value}"),
            ValueKind::Float(value) => format!("the number {value:?}"),
            ValueKind::Text(text) if text.value.chars().count() <= 40 => {
                format!("the string {:?}", text.value)
            }
            ValueKind::Text(_) => "a string".into(),
            ValueKind::List(_) => "a list".into(),
            ValueKind::Map(_) => "a map".into(),
            ValueKind::Struct(Some(name), fields) if fields.is_empty() => format!("`{}`", name.value),
            ValueKind::Struct(Some(name), _) => format!("`{}(...)`", name.value),
            ValueKind::Struct(None, fields) if fields.is_empty() => "`()`".into(),
            ValueKind::Struct(None, _) => "a tuple".into(),
        }
    }
}

/// Deepest nesting of values.
const DEEPEST: usize = 64;

/// Reads one value, which must be the whole text.
pub(crate) fn parse(source: &Arc<Source>) -> Result<Value, Diagnostic> {
    let mut parser = Parser { source, text: &source.text, at: 0, depth: 0, last_string: None };
    if parser.text.starts_with('\u{feff}') {
        parser.at = '\u{feff}'.len_utf8();
    }
    parser.skip()?;
    while parser.rest().starts_with("#![") {
        let end = parser.rest().find(']').unwrap_or(parser.rest().len());
        parser.at += (end + 1).min(parser.rest().len());
        parser.skip()?;
    }
    let value = parser.value()?;
    parser.skip()?;
    if parser.at < parser.text.len() {
        return Err(parser.error("there is text after the end of the model", "expected the end of the file"));
    }
    Ok(value)
}

struct Parser<'a> {
    source: &'a Arc<Source>,
    text: &'a str,
    at: usize,
    depth: usize,
    /// The string that was read last.
    last_string: Option<Span>,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn eat(&mut self, token: char) -> bool {
        let found = self.peek() == Some(token);
        if found {
            self.at += token.len_utf8();
        }
        found
    }

    fn span(&self, start: usize) -> Span {
        Span::new(start, self.at)
    }

    /// An error at the next token.
    fn error(&self, message: impl Into<String>, label: impl Into<String>) -> Diagnostic {
        let length = match self.peek() {
            Some(first) if is_name(first) => self.rest().find(|c| !is_name(c)).unwrap_or(self.rest().len()),
            Some(first) => first.len_utf8(),
            None => 0,
        };
        let diagnostic =
            Diagnostic::new(self.source, Span::new(self.at, self.at + length), message).label(label);
        self.with_way_out(diagnostic)
    }

    /// What is often meant where the notation cannot go on.
    fn with_way_out(&self, diagnostic: Diagnostic) -> Diagnostic {
        let rest = self.rest();
        let operators = ["**", "//", "*", "/", "+", "-", "%", "@", "<", ">", "==", "if ", "and ", "or "];
        match (self.last_string, self.peek()) {
            // `"x: "f32[1]"`: the quote that should begin a string has ended one.
            (Some(string), Some(next)) if string.end == self.at && (is_name(next) || next == '"') => {
                diagnostic
                    .context(string, "this string ends right before it")
                    .help("is the closing quote of an earlier string missing?")
            }
            (Some(string), _) if self.text[string.start..string.end].contains('\n') => diagnostic
                .context(Span::new(string.start, string.start + 1), "a string of several lines begins here")
                .help("is its closing quote missing?"),
            (_, Some('#')) => diagnostic.help("a comment begins with `//`"),
            (_, Some(_)) if operators.iter().any(|operator| rest.starts_with(operator)) => {
                diagnostic.help("an expression stands in quotes: \"2 * n\"")
            }
            _ => diagnostic,
        }
    }

    /// Skips white space and comments.
    fn skip(&mut self) -> Result<(), Diagnostic> {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if trimmed.starts_with("//") {
                self.at += trimmed.find('\n').unwrap_or(trimmed.len());
            } else if trimmed.starts_with("/*") {
                self.block_comment()?;
            } else {
                return Ok(());
            }
        }
    }

    fn block_comment(&mut self) -> Result<(), Diagnostic> {
        let start = self.at;
        let mut open = 0;
        while !self.rest().is_empty() {
            if self.rest().starts_with("/*") {
                open += 1;
                self.at += 2;
            } else if self.rest().starts_with("*/") {
                open -= 1;
                self.at += 2;
                if open == 0 {
                    return Ok(());
                }
            } else {
                self.at += self.peek().map_or(1, char::len_utf8);
            }
        }
        Err(Diagnostic::new(self.source, Span::new(start, start + 2), "this comment is never closed")
            .help("close it with `*/`"))
    }

    fn value(&mut self) -> Result<Value, Diagnostic> {
        if self.depth == DEEPEST {
            return Err(self.error(format!("values are nested more than {DEEPEST} deep"), "too deep"));
        }
        self.depth += 1;
        let start = self.at;
        let kind = match self.peek() {
            Some('[') => self.list()?,
            Some('{') => self.map()?,
            Some('(') => ValueKind::Struct(None, self.fields()?),
            Some('"') => ValueKind::Text(self.string()?),
            Some('r') if self.rest()[1..].starts_with(['"', '#']) => ValueKind::Text(self.raw_string()?),
            Some('0'..='9' | '+' | '-' | '.') => self.number()?,
            Some(first) if is_name(first) => self.named()?,
            Some('\'') => {
                return Err(self
                    .error("a single quote does not start a value", "expected a value")
                    .help("strings stand in double quotes: \"text\""));
            }
            Some(other) => {
                return Err(self.error(format!("`{other}` does not start a value"), "expected a value"));
            }
            None => return Err(self.error("the file ends where a value should stand", "expected a value")),
        };
        self.depth -= 1;
        Ok(Value { kind, span: self.span(start) })
    }

    fn named(&mut self) -> Result<ValueKind, Diagnostic> {
        let name = self.name();
        Ok(match name.value.as_str() {
            "true" => ValueKind::Bool(true),
            "false" => ValueKind::Bool(false),
            "inf" => ValueKind::Float(f64::INFINITY),
            "NaN" => ValueKind::Float(f64::NAN),
            _ => {
                let end = self.at;
                self.skip()?;
                if self.peek() == Some('(') {
                    ValueKind::Struct(Some(name), self.fields()?)
                } else {
                    self.at = end;
                    ValueKind::Struct(Some(name), Fields::new())
                }
            }
        })
    }

    fn name(&mut self) -> Spanned<String> {
        let start = self.at;
        self.at += self.rest().find(|c| !is_name(c)).unwrap_or(self.rest().len());
        Spanned::new(self.text[start..self.at].to_owned(), self.span(start))
    }

    /// Reads `item, item, ...` up to `close`; `open` is the place of the opening bracket.
    fn items(
        &mut self,
        close: char,
        mut item: impl FnMut(&mut Self) -> Result<(), Diagnostic>,
    ) -> Result<(), Diagnostic> {
        let open = Span::new(self.at, self.at + 1);
        self.at += 1;
        loop {
            self.skip()?;
            if self.eat(close) {
                return Ok(());
            }
            if self.peek().is_none() {
                return Err(Diagnostic::new(self.source, open, "this bracket is never closed")
                    .label(format!("expected `{close}` before the end of the file")));
            }
            item(self)?;
            self.skip()?;
            if !self.eat(',') && self.peek() != Some(close) && self.peek().is_some() {
                return Err(self
                    .error("a comma is missing", format!("expected `,` or `{close}`"))
                    .context(open, "inside this bracket"));
            }
        }
    }

    fn list(&mut self) -> Result<ValueKind, Diagnostic> {
        let mut values = Vec::new();
        self.items(']', |parser| {
            values.push(parser.value()?);
            Ok(())
        })?;
        Ok(ValueKind::List(values))
    }

    fn map(&mut self) -> Result<ValueKind, Diagnostic> {
        let mut entries = Vec::new();
        self.items('}', |parser| {
            let key = parser.value()?;
            parser.colon()?;
            entries.push((key, parser.value()?));
            Ok(())
        })?;
        Ok(ValueKind::Map(entries))
    }

    fn colon(&mut self) -> Result<(), Diagnostic> {
        self.skip()?;
        if !self.eat(':') {
            return Err(self.error("a colon is missing", "expected `:` and a value"));
        }
        self.skip()
    }

    fn fields(&mut self) -> Result<Fields, Diagnostic> {
        let mut fields: Fields = Vec::new();
        self.items(')', |parser| {
            let name = parser.field_name()?;
            if name.is_some() {
                parser.colon()?;
            }
            let value = parser.value()?;
            if let (None, Some((Some(last), _))) = (&name, fields.last()) {
                let message = "an unnamed argument stands behind a named one";
                return Err(Diagnostic::new(parser.source, value.span, message)
                    .context(last.span, "this one has a name")
                    .help("give it its name, or put it first"));
            }
            fields.push((name, value));
            Ok(())
        })?;
        Ok(fields)
    }

    /// The name before a colon, if that is what comes next.
    fn field_name(&mut self) -> Result<Option<Spanned<String>>, Diagnostic> {
        let start = self.at;
        if !self.peek().is_some_and(is_name_start) {
            return Ok(None);
        }
        let name = self.name();
        let end = self.at;
        self.skip()?;
        if self.peek() == Some(':') {
            self.at = end;
            Ok(Some(name))
        } else {
            self.at = start;
            Ok(None)
        }
    }

    fn number(&mut self) -> Result<ValueKind, Diagnostic> {
        let start = self.at;
        let written = &self.rest()[..number_length(self.rest())];
        let span = Span::new(start, start + written.len().max(1));
        self.at += written.len();
        number(written).map_err(|message| Diagnostic::new(self.source, span, message))
    }

    fn string(&mut self) -> Result<Text, Diagnostic> {
        let open = self.at;
        self.at += 1;
        let mut text = Text { value: String::new(), offsets: Vec::new() };
        loop {
            let start = self.at;
            let Some(c) = self.peek() else {
                let never =
                    Diagnostic::new(self.source, Span::new(open, open + 1), "this string is never closed");
                let never = never.label("expected `\"` before the end of the file");
                let long = |string: &Span| self.text[string.start..string.end].contains('\n');
                return Err(match self.last_string.filter(long) {
                    None => never,
                    Some(string) => never
                        .context(
                            Span::new(string.start, string.start + 1),
                            "a string of several lines begins here",
                        )
                        .help("is its closing quote missing?"),
                });
            };
            self.at += c.len_utf8();
            let c = match c {
                '"' => {
                    text.offsets.push(start);
                    self.last_string = Some(self.span(open));
                    return Ok(text);
                }
                '\\' => self.escape(start)?,
                c => c,
            };
            text.value.push(c);
            // Each byte of a plain character has its own offset; all bytes of an escape have its start.
            let plain = self.at - start == c.len_utf8();
            text.offsets.extend((0..c.len_utf8()).map(|byte| if plain { start + byte } else { start }));
        }
    }

    fn escape(&mut self, start: usize) -> Result<char, Diagnostic> {
        let kind = self.peek();
        self.at += kind.map_or(0, char::len_utf8);
        let bad = |end: usize| {
            Diagnostic::new(self.source, Span::new(start, end), "this escape is not known")
                .help("known are \\\" \\\\ \\' \\n \\r \\t \\0 \\x41 \\u{e9}")
        };
        Ok(match kind {
            Some(c @ ('"' | '\\' | '\'')) => c,
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('0') => '\0',
            Some('x') => {
                let code = self.rest().get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
                let c = code.ok_or_else(|| bad(self.at))?;
                self.at += 2;
                c as char
            }
            Some('u') => {
                let digits = self.rest().strip_prefix('{').and_then(|rest| rest.split_once('}'));
                let c = digits.and_then(|(digits, _)| {
                    u32::from_str_radix(digits, 16).ok().and_then(char::from_u32).map(|c| (c, digits.len()))
                });
                let (c, length) = c.ok_or_else(|| bad(self.at))?;
                self.at += length + 2;
                c
            }
            _ => return Err(bad(self.at)),
        })
    }

    fn raw_string(&mut self) -> Result<Text, Diagnostic> {
        let open = self.at;
        let hashes = self.rest()[1..].bytes().take_while(|&byte| byte == b'#').count();
        let start = open + 1 + hashes + 1;
        let close = format!("\"{}", "#".repeat(hashes));
        let body = self.text.get(start..).filter(|_| self.text.as_bytes()[start - 1] == b'"');
        let Some(length) = body.and_then(|body| body.find(&close)) else {
            return Err(Diagnostic::new(
                self.source,
                Span::new(open, open + 1),
                "this string is never closed",
            )
            .label(format!("expected `{close}` before the end of the file")));
        };
        self.at = start + length + close.len();
        Ok(Text {
            value: self.text[start..start + length].to_owned(),
            offsets: (start..=start + length).collect(),
        })
    }
}

/// How many bytes of a text may be a number: letters for `0x1f`, `1e-5` and `inf`; a sign at the start and behind an `e`.
fn number_length(rest: &str) -> usize {
    let mut end = 0;
    let mut previous = ' ';
    for c in rest.chars() {
        let sign = matches!(c, '+' | '-') && (end == 0 || matches!(previous, 'e' | 'E'));
        if !(c.is_ascii_alphanumeric() || c == '_' || c == '.' || sign) {
            break;
        }
        previous = c;
        end += c.len_utf8();
    }
    end
}

/// The value of a number as it is written; what is wrong with it, if it is none.
fn number(written: &str) -> Result<ValueKind, String> {
    let digits: String = written.chars().filter(|&c| c != '_').collect();
    let unsigned = digits.trim_start_matches(['+', '-']);
    let negative = digits.starts_with('-');
    let radix = match unsigned.get(..2) {
        Some("0x") => 16,
        Some("0o") => 8,
        Some("0b") => 2,
        _ => 10,
    };
    if radix != 10 || unsigned.bytes().all(|byte| byte.is_ascii_digit()) && !unsigned.is_empty() {
        use std::num::IntErrorKind::{NegOverflow, PosOverflow};
        let body = if radix == 10 { unsigned } else { &unsigned[2..] };
        let text = if negative { format!("-{body}") } else { body.to_owned() };
        return i64::from_str_radix(&text, radix).map(ValueKind::Int).map_err(|error| match error.kind() {
            PosOverflow | NegOverflow => format!("the number {digits} does not fit into 64 bits"),
            _ => format!("`{digits}` is not a number"),
        });
    }
    match unsigned {
        "inf" if negative => Ok(ValueKind::Float(f64::NEG_INFINITY)),
        "inf" => Ok(ValueKind::Float(f64::INFINITY)),
        "NaN" => Ok(ValueKind::Float(f64::NAN)),
        _ => match digits.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(ValueKind::Float(value)),
            Ok(_) => Err(format!("the number {digits} is too large")),
            Err(_) => Err(format!("`{written}` is not a number")),
        },
    }
}

fn is_name_start(c: char) -> bool {
    c.is_alphabetic() || c == '_'
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Value {
        parse(&Source::new("t.ron", text)).unwrap_or_else(|error| panic!("{}", error.render(false)))
    }

    fn message(text: &str) -> String {
        parse(&Source::new("t.ron", text)).expect_err("a mistake").message().to_owned()
    }

    #[test]
    fn every_character_of_a_string_has_its_place() {
        let text = r#""a\n\u{e9}é+b""#;
        let ValueKind::Text(string) = read(text).kind else { panic!("not a string") };
        assert_eq!(string.value, "a\néé+b");
        let plus = string.value.find('+').expect("a plus");
        let span = string.place(plus, plus + 1);
        assert_eq!(&text[span.start..span.end], "+");
        let newline = string.place(1, 2);
        assert_eq!(&text[newline.start..newline.end], "\\n");
    }

    #[test]
    fn values() {
        let value = read("/* a /* b */ */ Model(a: [1, 0x10, -2.5e-1, true], // c\n b: {\"k\": Unit,},)");
        let ValueKind::Struct(Some(name), fields) = &value.kind else { panic!("{value:?}") };
        assert_eq!((name.value.as_str(), fields.len()), ("Model", 2));
        let ValueKind::List(items) = &fields[0].1.kind else { panic!("not a list") };
        assert!(matches!(items[1].kind, ValueKind::Int(16)));
        assert!(matches!(items[2].kind, ValueKind::Float(x) if x == -0.25));
    }

    #[test]
    fn mistakes_are_values() {
        assert_eq!(message("A(b: \"x"), "this string is never closed");
        assert_eq!(message("[1 2]"), "a comma is missing");
        assert_eq!(message(&"[".repeat(100_000)), "values are nested more than 64 deep");
        assert_eq!(
            message("99999999999999999999"),
            "the number 99999999999999999999 does not fit into 64 bits"
        );
        assert_eq!(message("1e999"), "the number 1e999 is too large");
        assert_eq!(message("A(b: 2, 1)"), "an unnamed argument stands behind a named one");
        assert_eq!(message("r#\"x\""), "this string is never closed");
        for broken in
            ["", "(", "\"\\u{110000}\"", "\"\\", "\"\\xé\"", "-", "0x", "r", "r#", "é(", "/*", "#![", "'"]
        {
            let _ = parse(&Source::new("t.ron", broken));
        }
    }
}
