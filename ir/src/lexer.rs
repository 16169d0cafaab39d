//! The lexer that the text forms of graphs and kernel programs share.
//!
//! Tokens are slices of the source. White space and line ends only separate; a comment runs from `//` to the end of
//! its line and is skipped, but [`Lexer::trailing_comment`] gives the one behind the last token (origins are
//! written there). Nothing here fails until a token is asked for that is not there, and then with its place.

use std::borrow::Cow;
use std::fmt;

/// Why a text could not be read, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParseError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What was expected and what was found.
    pub message: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)
    }
}

impl std::error::Error for ParseError {}

/// A token, with the text it was made from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Token<'a> {
    /// `load`, `p0`, `fc1.weight`: letters, digits, `_`, and dots inside.
    Ident(&'a str),
    /// `%0`, `%fc1.weight`, `%mlp-256`, `%"any text"`: what follows `%`, quotes included.
    Percent(&'a str),
    /// `@train.eval`, `@"any text"`: what follows `@`, quotes included.
    At(&'a str),
    /// `12`, `0x7fc00000`, `1.5`, `1e-7`: never with a sign.
    Number(&'a str),
    /// `"any text"`, quotes and escapes included; [`unquote`] reads it.
    String(&'a str),
    /// One of `..=`, `..`, `->`, `=>`, `+=`, `==`, or any other single character.
    Punct(&'a str),
    /// Something that is no token, and why.
    Invalid(&'static str),
    /// The end of the text.
    End,
}

impl fmt::Display for Token<'_> {
    /// As error messages name it, shortened where it is long.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sigil, text) = match self {
            Token::Ident(s) | Token::Number(s) | Token::Punct(s) | Token::String(s) => ("", *s),
            Token::Percent(s) => ("%", *s),
            Token::At(s) => ("@", *s),
            Token::Invalid(why) => return f.write_str(why),
            Token::End => return f.write_str("the end of the text"),
        };
        let short: String = text.chars().take(40).collect();
        let dots = if short.len() < text.len() { "…" } else { "" };
        write!(f, "`{sigil}{}{dots}`", short.escape_debug())
    }
}

/// Characters of names after a sigil.
fn is_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.')
}

fn is_ident(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// A name as it stands behind `%` or `@`: bare where that can be read back, else quoted.
pub fn name(text: &str) -> Cow<'_, str> {
    let bare = text.chars().all(is_name) && !text.is_empty() && !text.ends_with('.') && !text.contains("..");
    if bare { Cow::Borrowed(text) } else { Cow::Owned(quote(text)) }
}

/// A string in quotes, with escapes for `"`, `\` and control characters.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            c if c.is_control() => quoted.extend(c.escape_unicode()),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// What a quoted string says; bare names are returned as they are. `None` if an escape is not known.
pub fn unquote(text: &str) -> Option<String> {
    let Some(inner) = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) else {
        return Some(text.to_string());
    };
    let mut result = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            result.push(c);
            continue;
        }
        match chars.next()? {
            'n' => result.push('\n'),
            't' => result.push('\t'),
            c @ ('"' | '\\') => result.push(c),
            'u' => {
                let (code, rest) = chars.as_str().strip_prefix('{')?.split_once('}')?;
                result.push(char::from_u32(u32::from_str_radix(code, 16).ok()?)?);
                chars = rest.chars();
            }
            _ => return None,
        }
    }
    Some(result)
}

/// Splits a text into tokens, one ahead.
#[derive(Clone)]
pub struct Lexer<'a> {
    source: &'a str,
    /// Behind the last token taken.
    taken: usize,
    next: Token<'a>,
    /// Bytes of `next`.
    start: usize,
    end: usize,
}

impl<'a> Lexer<'a> {
    /// At the start of a text.
    pub fn new(source: &'a str) -> Lexer<'a> {
        let mut lexer = Lexer { source, taken: 0, next: Token::End, start: 0, end: 0 };
        lexer.scan();
        lexer
    }

    /// The next token, which stays the next.
    pub fn peek(&self) -> Token<'a> {
        self.next
    }

    /// The next token, taken. The end of the text can be taken again and again.
    pub fn take(&mut self) -> Token<'a> {
        let token = self.next;
        self.taken = self.end;
        self.scan();
        token
    }

    /// Byte offset of the next token.
    pub fn offset(&self) -> usize {
        self.start
    }

    /// The comment on the rest of the line behind the last token, without `//` and white space around it.
    pub fn trailing_comment(&mut self) -> Option<&'a str> {
        let rest = self.source[self.taken..].trim_start_matches([' ', '\t']);
        let comment = rest.strip_prefix("//")?;
        Some(comment.lines().next().unwrap_or("").trim())
    }

    /// An error at the next token.
    pub fn error(&self, message: impl Into<String>) -> ParseError {
        self.error_at(self.start, message)
    }

    /// An error at a byte offset.
    pub fn error_at(&self, offset: usize, message: impl Into<String>) -> ParseError {
        let before = &self.source[..offset.min(self.source.len())];
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        ParseError {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: message.into(),
        }
    }

    /// An error that says what was expected instead of the next token.
    pub fn unexpected(&self, expected: impl fmt::Display) -> ParseError {
        self.error(format!("expected {expected}, found {}", self.next))
    }

    /// Takes the next token if it is that punctuation.
    pub fn accept(&mut self, punct: &str) -> bool {
        let found = self.next == Token::Punct(punct);
        if found {
            self.take();
        }
        found
    }

    /// Takes that punctuation.
    pub fn expect(&mut self, punct: &str) -> Result<(), ParseError> {
        if self.accept(punct) { Ok(()) } else { Err(self.unexpected(format_args!("`{punct}`"))) }
    }

    /// Takes the next token if it is that word.
    pub fn accept_word(&mut self, word: &str) -> bool {
        let found = self.next == Token::Ident(word);
        if found {
            self.take();
        }
        found
    }

    /// Takes that word.
    pub fn expect_word(&mut self, word: &str) -> Result<(), ParseError> {
        if self.accept_word(word) { Ok(()) } else { Err(self.unexpected(format_args!("`{word}`"))) }
    }

    /// Takes an identifier, which error messages call `what`.
    pub fn ident(&mut self, what: &str) -> Result<&'a str, ParseError> {
        match self.next {
            Token::Ident(text) => {
                self.take();
                Ok(text)
            }
            _ => Err(self.unexpected(what)),
        }
    }

    /// Takes an identifier that is `prefix` and a number: `p0`, `v12`.
    pub fn numbered(&mut self, prefix: &str, what: &str) -> Result<u32, ParseError> {
        match self.next {
            Token::Ident(text) => match numbered(text, prefix) {
                Some(number) => {
                    self.take();
                    Ok(number)
                }
                None => Err(self.unexpected(format_args!("{what} (`{prefix}0`)"))),
            },
            _ => Err(self.unexpected(format_args!("{what} (`{prefix}0`)"))),
        }
    }

    /// Takes a name behind `@`.
    pub fn at_name(&mut self, what: &str) -> Result<String, ParseError> {
        match self.next {
            Token::At(text) => self.unquoted(text),
            _ => Err(self.unexpected(format_args!("{what} (`@name`)"))),
        }
    }

    /// Takes a quoted string.
    pub fn string(&mut self, what: &str) -> Result<String, ParseError> {
        match self.next {
            Token::String(text) => self.unquoted(text),
            _ => Err(self.unexpected(format_args!("{what} (a string)"))),
        }
    }

    fn unquoted(&mut self, text: &str) -> Result<String, ParseError> {
        let text = unquote(text).ok_or_else(|| self.error("unknown escape in a string"))?;
        self.take();
        Ok(text)
    }

    /// Takes an integer with an optional `-`, in `low..=high`.
    pub fn integer(&mut self, what: &str, low: i64, high: i64) -> Result<i64, ParseError> {
        let start = self.start;
        let sign = if self.accept("-") { -1 } else { 1 };
        let Token::Number(text) = self.next else {
            return Err(self.unexpected(format_args!("{what} (an integer)")));
        };
        // One digit more than i64 has, so that its least value can be written.
        match text.parse::<i128>().ok().map(|v| v * sign).filter(|v| (low as i128..=high as i128).contains(v))
        {
            Some(value) => {
                self.take();
                Ok(value as i64)
            }
            None => {
                let sign = if sign < 0 { "-" } else { "" };
                let found = Token::Number(text);
                let message = format!("expected {what} in {low}..={high}, found {sign}{found}");
                Err(self.error_at(start, message))
            }
        }
    }

    /// Takes an extent, a length, a number of bytes: an integer from 0 to 2^40.
    pub fn size(&mut self, what: &str) -> Result<usize, ParseError> {
        Ok(self.integer(what, 0, crate::types::MAX_BYTES as i64)? as usize)
    }

    fn scan(&mut self) {
        let bytes = self.source.as_bytes();
        let mut start = self.taken;
        loop {
            start = self.source.len() - self.source[start..].trim_start().len();
            if !self.source[start..].starts_with("//") {
                break;
            }
            start += self.source[start..].find('\n').unwrap_or(self.source.len() - start);
        }
        let rest = &self.source[start..];
        let run = |from: usize, f: fn(char) -> bool| rest.len() - rest[from..].trim_start_matches(f).len();
        let (token, len) = match rest.chars().next() {
            None => (Token::End, 0),
            Some('"') => match string_len(rest) {
                Some(len) => (Token::String(&rest[..len]), len),
                None => (Token::Invalid("a string without its closing quote"), 1),
            },
            Some(sigil @ ('%' | '@')) => {
                let len = match rest[1..].chars().next() {
                    Some('"') => string_len(&rest[1..]).map(|len| len + 1),
                    _ => Some(run(1, is_name)),
                };
                match len {
                    None => (Token::Invalid("a string without its closing quote"), 1),
                    // `%` alone is the remainder.
                    Some(1) => (Token::Punct(&rest[..1]), 1),
                    Some(len) if sigil == '%' => (Token::Percent(&rest[1..len]), len),
                    Some(len) => (Token::At(&rest[1..len]), len),
                }
            }
            Some(c) if c.is_ascii_digit() => {
                let len = number_len(&bytes[start..]);
                (Token::Number(&rest[..len]), len)
            }
            Some(c) if is_ident(c) => {
                let mut len = run(0, is_ident);
                while rest[len..].starts_with('.') && rest[len + 1..].starts_with(is_ident) {
                    len = run(len + 1, is_ident);
                }
                (Token::Ident(&rest[..len]), len)
            }
            Some(c) => {
                let pair = ["..=", "..", "->", "=>", "+=", "=="].into_iter().find(|p| rest.starts_with(p));
                let len = pair.map_or(c.len_utf8(), str::len);
                (Token::Punct(&rest[..len]), len)
            }
        };
        (self.next, self.start, self.end) = (token, start, start + len);
    }
}

/// The number of an identifier like `v12`, written without leading zeros.
pub fn numbered(text: &str, prefix: &str) -> Option<u32> {
    let digits = text.strip_prefix(prefix)?;
    let canonical = digits.bytes().all(|b| b.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    if canonical { digits.parse().ok() } else { None }
}

/// Bytes of the string that `text` starts with; it ends on its line.
fn string_len(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (i, c) in text.char_indices().skip(1) {
        match c {
            '\n' => return None,
            '"' if !escaped => return Some(i + 1),
            _ => escaped = c == '\\' && !escaped,
        }
    }
    None
}

/// Bytes of the number that `text` starts with.
fn number_len(text: &[u8]) -> usize {
    let digits = |from: usize, f: fn(&u8) -> bool| from + text[from..].iter().take_while(|b| f(b)).count();
    if text.starts_with(b"0x") {
        return digits(2, u8::is_ascii_hexdigit);
    }
    let mut len = digits(0, u8::is_ascii_digit);
    if text.get(len) == Some(&b'.') && text.get(len + 1).is_some_and(u8::is_ascii_digit) {
        len = digits(len + 1, u8::is_ascii_digit);
    }
    if matches!(text.get(len), Some(b'e' | b'E')) {
        let sign = matches!(text.get(len + 1), Some(b'+' | b'-')) as usize;
        if text.get(len + 1 + sign).is_some_and(u8::is_ascii_digit) {
            len = digits(len + 1 + sign, u8::is_ascii_digit);
        }
    }
    len
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(source: &str) -> Vec<String> {
        let mut lexer = Lexer::new(source);
        std::iter::from_fn(|| (lexer.peek() != Token::End).then(|| format!("{:?}", lexer.take()))).collect()
    }

    #[test]
    fn tokens_are_told_apart() {
        assert_eq!(
            tokens("a.b_1 %fc1.weight @mlp-256 %\"x y\" 0..4 1.5e-3 (v0 % 4) -1 += \"q\\\"\" // end"),
            [
                "Ident(\"a.b_1\")",
                "Percent(\"fc1.weight\")",
                "At(\"mlp-256\")",
                "Percent(\"\\\"x y\\\"\")",
                "Number(\"0\")",
                "Punct(\"..\")",
                "Number(\"4\")",
                "Number(\"1.5e-3\")",
                "Punct(\"(\")",
                "Ident(\"v0\")",
                "Punct(\"%\")",
                "Number(\"4\")",
                "Punct(\")\")",
                "Punct(\"-\")",
                "Number(\"1\")",
                "Punct(\"+=\")",
                "String(\"\\\"q\\\\\\\"\\\"\")",
            ]
        );
    }

    #[test]
    fn names_and_strings_read_back() {
        for text in ["", "a", "fc1.weight", "a b", "a..b", "é\"\\\n\t\u{7}", "mlp-256", "x."] {
            assert_eq!(unquote(&quote(text)).as_deref(), Some(text));
            assert_eq!(Lexer::new(&format!("@{} rest", name(text))).at_name("a name").as_deref(), Ok(text));
        }
    }

    #[test]
    fn errors_have_line_and_column() {
        let mut lexer = Lexer::new("a\n  é \"open");
        lexer.take();
        lexer.take();
        let error = lexer.string("a name").unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 2, column 5: expected a name (a string), found a string without its closing quote"
        );
    }

    #[test]
    fn a_trailing_comment_belongs_to_its_line() {
        let mut lexer = Lexer::new("a // one\nb\n// two\nc");
        lexer.take();
        assert_eq!(lexer.trailing_comment(), Some("one"));
        lexer.take();
        assert_eq!(lexer.trailing_comment(), None);
        assert_eq!(lexer.take(), Token::Ident("c"));
    }
}
