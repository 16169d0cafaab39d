//! Characters of an expression to tokens.

use std::sync::Arc;

use crate::diagnostics::Diagnostic;
use crate::source::{Source, Span, Text};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Int(i64),
    /// 2^63, the one whole number whose negative fits and which itself does not.
    Edge,
    Float(f64),
    Text(String),
    Name(String),
    /// A name with expressions in braces.
    Filled(Vec<Part>),
    /// An operator, a bracket, or a word of the grammar.
    Symbol(&'static str),
    End,
}

/// A part of a name with expressions.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    Text(String),
    /// What stands in braces, its end last.
    Tokens(Vec<(Token, Span)>),
}

/// Longer ones first, so that `**` is not read as two `*`.
const SYMBOLS: [&str; 27] = [
    "...", "**", "//", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "@", "<", ">", "(", ")", "[", "]",
    ",", "=", ":", "{", "}", "?", "!", ".",
];

const WORDS: [&str; 8] = ["if", "else", "and", "or", "not", "true", "false", "none"];

/// The tokens of `text.value[start..end]` with their places, an [`Token::End`] last.
pub(super) fn lex(
    source: &Arc<Source>,
    text: &Text,
    start: usize,
    end: usize,
) -> Result<Vec<(Token, Span)>, Diagnostic> {
    let whole = &text.value[..end];
    let mut tokens = Vec::new();
    let mut at = start;
    while let Some(first) = whole[at..].chars().next() {
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        if let Some(size) = filled_length(&whole[at..]) {
            tokens.push((filled(source, text, at, at + size)?, text.place(at, at + size)));
            at += size;
            continue;
        }
        let (token, size) = token(&whole[at..], first).map_err(|wrong| {
            let diagnostic = Diagnostic::new(source, text.place(at, at + wrong.size), wrong.message);
            match wrong.label {
                Some(label) => diagnostic.label(label),
                None => diagnostic,
            }
        })?;
        if matches!(token, Token::Name(_)) && whole[at + size..].starts_with('{') {
            let place = text.place(at + size, at + size + 1);
            let diagnostic = Diagnostic::new(source, place, "this brace is never closed");
            return Err(diagnostic.help("in names `{expression}` is replaced by its value"));
        }
        tokens.push((token, text.place(at, at + size)));
        at += size;
    }
    tokens.push((Token::End, text.place(end, end)));
    Ok(tokens)
}

/// The size of a name with braces at the beginning of a text, if there is one there: `dae{layer}.loss`.
fn filled_length(rest: &str) -> Option<usize> {
    if !rest.starts_with(|c: char| c.is_alphabetic() || c == '_' || c == '{') {
        return None;
    }
    let (mut size, mut braces) = (0, 0);
    loop {
        let left = &rest[size..];
        let part = left.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(left.len());
        if part > 0 {
            size += part;
        } else if left.starts_with('{') {
            size += left.find('}')? + 1;
            braces += 1;
        } else if size > 0
            && left.starts_with('.')
            && left[1..].starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '{')
        {
            size += 1;
        } else {
            return (braces > 0).then_some(size);
        }
    }
}

/// The name with braces at this place.
fn filled(source: &Arc<Source>, text: &Text, start: usize, end: usize) -> Result<Token, Diagnostic> {
    let (mut parts, mut at) = (Vec::new(), start);
    while at < end {
        let left = &text.value[at..end];
        let size = match left.strip_prefix('{') {
            Some(inside) => {
                let length = inside.find('}').unwrap_or(inside.len());
                parts.push(Part::Tokens(lex(source, text, at + 1, at + 1 + length)?));
                length + 2
            }
            None => {
                let length = left.find('{').unwrap_or(left.len());
                parts.push(Part::Text(left[..length].to_owned()));
                length
            }
        };
        at += size;
    }
    Ok(Token::Filled(parts))
}

/// A mistake of so many bytes at the beginning of a text.
struct Wrong {
    size: usize,
    message: String,
    label: Option<&'static str>,
}

/// The token that a text begins with, and its size in bytes. `first` is the text's first character.
fn token(rest: &str, first: char) -> Result<(Token, usize), Wrong> {
    if first.is_ascii_digit() || first == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit()) {
        return number(rest);
    }
    if first.is_alphabetic() || first == '_' {
        return Ok(name(rest));
    }
    if first == '\'' {
        let Some(size) = rest[1..].find('\'') else {
            let message = "this text is never closed".to_owned();
            return Err(Wrong { size: 1, message, label: Some("expected another `'`") });
        };
        return Ok((Token::Text(rest[1..1 + size].to_owned()), size + 2));
    }
    match SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
        Some(symbol) => Ok((Token::Symbol(symbol), symbol.len())),
        None => {
            let message = format!("`{first}` has no meaning in an expression");
            Err(Wrong { size: first.len_utf8(), message, label: None })
        }
    }
}

fn number(rest: &str) -> Result<(Token, usize), Wrong> {
    let size = number_length(rest);
    let digits: String = rest[..size].chars().filter(|&c| c != '_').collect();
    let token = if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        match digits.parse() {
            Ok(value) => Some(Token::Int(value)),
            Err(_) if digits.parse() == Ok(i64::MIN.unsigned_abs()) => Some(Token::Edge),
            Err(_) => None,
        }
    } else {
        digits.parse().ok().filter(|value: &f64| value.is_finite()).map(Token::Float)
    };
    match token {
        Some(token) => Ok((token, size)),
        None => {
            Err(Wrong { size, message: format!("the number {} does not fit", &rest[..size]), label: None })
        }
    }
}

/// A name, or a word of the grammar.
fn name(rest: &str) -> (Token, usize) {
    let part = |text: &str| text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    let mut size = part(rest);
    // A dot glues: `layer1.0.conv1` is one name.
    while rest[size..].starts_with('.')
        && rest[size + 1..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
    {
        size += 1 + part(&rest[size + 1..]);
    }
    let name = &rest[..size];
    match WORDS.iter().find(|word| **word == name.to_ascii_lowercase()) {
        Some(word) if name.chars().skip(1).all(|c| c.is_ascii_lowercase()) => (Token::Symbol(word), size),
        _ => (Token::Name(name.to_owned()), size),
    }
}

fn number_length(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let digits = |mut at: usize| {
        while bytes.get(at).is_some_and(|byte| byte.is_ascii_digit() || *byte == b'_') {
            at += 1;
        }
        at
    };
    let mut at = digits(0);
    if bytes.get(at) == Some(&b'.') {
        at = digits(at + 1);
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        if bytes.get(at + 1 + sign).is_some_and(u8::is_ascii_digit) {
            at = digits(at + 1 + sign);
        }
    }
    at
}
