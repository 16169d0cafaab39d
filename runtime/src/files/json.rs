//! JSON (RFC 8259), as headers of safetensors and what stands in their metadata are: a reader that goes through a text once and
//! makes nothing of what nobody asks for, and the few forms that are written.
//!
//! This is here and no crate is used because it is in every executable that carries a model: reading by derived code would be a
//! tenth of it.

use std::str::FromStr;

/// What is wrong with a text, and where.
pub(crate) type Result<T> = std::result::Result<T, String>;

/// How deep objects and lists may lie in each other: deeper ones may be there to exhaust the stack.
const DEEPEST: usize = 100;

/// Reads a text from its beginning to its end.
pub(crate) struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

/// What is done with each field of an object; its value must be read.
type Field<'f, 'a> = &'f mut dyn FnMut(&mut Reader<'a>, String) -> Result<()>;

/// What is done with each element of a list; it must be read.
type Item<'f, 'a> = &'f mut dyn FnMut(&mut Reader<'a>) -> Result<()>;

/// Reads a text that is one value.
///
/// # Errors
/// Another text, or what `value` says.
pub(crate) fn read<'a, T>(text: &'a [u8], value: impl FnOnce(&mut Reader<'a>) -> Result<T>) -> Result<T> {
    let text = str::from_utf8(text).map_err(|e| format!("byte {} is not UTF-8", e.valid_up_to()))?;
    let mut reader = Reader { text, at: 0, depth: 0 };
    let value = value(&mut reader)?;
    match reader.next() {
        None => Ok(value),
        Some(_) => Err(reader.expected("the end")),
    }
}

impl<'a> Reader<'a> {
    /// What is wrong here.
    pub(crate) fn wrong(&self, message: impl std::fmt::Display) -> String {
        format!("{message} at byte {}", self.at)
    }

    fn expected(&self, what: &str) -> String {
        match self.text.as_bytes().get(self.at) {
            Some(_) => self.wrong(format_args!("expected {what}")),
            None => self.wrong(format_args!("expected {what}, found the end,")),
        }
    }

    /// The next byte that is no space.
    fn next(&mut self) -> Option<u8> {
        let rest = &self.text.as_bytes()[self.at..];
        let spaces = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t')).count();
        self.at += spaces;
        rest.get(spaces).copied()
    }

    /// Passes over a byte, if it is next.
    fn passes(&mut self, byte: u8) -> bool {
        let is = self.next() == Some(byte);
        self.at += usize::from(is);
        is
    }

    fn pass(&mut self, byte: u8) -> Result<()> {
        match self.passes(byte) {
            true => Ok(()),
            false => Err(self.expected(&format!("`{}`", char::from(byte)))),
        }
    }

    /// What stands between two brackets, separated by commas.
    fn between(&mut self, [open, close]: [u8; 2], item: Item<'_, 'a>) -> Result<()> {
        self.pass(open)?;
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.wrong("too many brackets in each other"));
        }
        if !self.passes(close) {
            item(self)?;
            while self.passes(b',') {
                item(self)?;
            }
            self.pass(close)?;
        }
        self.depth -= 1;
        Ok(())
    }

    /// An object.
    pub(crate) fn object(&mut self, field: Field<'_, 'a>) -> Result<()> {
        self.between(*b"{}", &mut |reader| {
            let name = reader.text()?;
            reader.pass(b':')?;
            field(reader, name)
        })
    }

    /// A list.
    pub(crate) fn list(&mut self, item: Item<'_, 'a>) -> Result<()> {
        self.between(*b"[]", item)
    }

    /// A list of values of one kind.
    pub(crate) fn all<T>(&mut self, mut value: impl FnMut(&mut Reader<'a>) -> Result<T>) -> Result<Vec<T>> {
        let mut all = Vec::new();
        self.list(&mut |reader| {
            all.push(value(reader)?);
            Ok(())
        })?;
        Ok(all)
    }

    /// A list of two.
    pub(crate) fn pair<A, B>(
        &mut self,
        first: impl FnOnce(&mut Reader<'a>) -> Result<A>,
        second: impl FnOnce(&mut Reader<'a>) -> Result<B>,
    ) -> Result<(A, B)> {
        self.pass(b'[')?;
        let first = first(self)?;
        self.pass(b',')?;
        let second = second(self)?;
        self.pass(b']')?;
        Ok((first, second))
    }

    /// A value, or null.
    pub(crate) fn option<T>(
        &mut self,
        value: impl FnOnce(&mut Reader<'a>) -> Result<T>,
    ) -> Result<Option<T>> {
        if self.next() == Some(b'n') { self.word("null").map(|()| None) } else { value(self).map(Some) }
    }

    fn word(&mut self, word: &str) -> Result<()> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.expected("a value"));
        }
        self.at += word.len();
        Ok(())
    }

    /// A number that this type has.
    pub(crate) fn number<T: FromStr>(&mut self) -> Result<T> {
        let number = self.digits()?;
        number.parse().map_err(|_| format!("`{number}` is not a number that is expected here"))
    }

    /// The text of a number: `-1.5e3`.
    fn digits(&mut self) -> Result<&str> {
        self.next();
        let begin = self.at;
        let bytes = self.text.as_bytes();
        let mut at = begin + usize::from(bytes.get(begin) == Some(&b'-'));
        let count = |at: usize| bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let mut is_number = count(at) > 0 && (count(at) == 1 || bytes[at] != b'0');
        at += count(at);
        if bytes.get(at) == Some(&b'.') {
            is_number &= count(at + 1) > 0;
            at += 1 + count(at + 1);
        }
        if matches!(bytes.get(at), Some(b'e' | b'E')) {
            at += 1 + usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
            is_number &= count(at) > 0;
            at += count(at);
        }
        if !is_number {
            return Err(self.expected("a number"));
        }
        self.at = at;
        Ok(&self.text[begin..at])
    }

    /// A text.
    pub(crate) fn text(&mut self) -> Result<String> {
        if !self.passes(b'"') {
            return Err(self.expected("a text"));
        }
        let mut text = String::new();
        loop {
            let rest = &self.text[self.at..];
            let plain =
                rest.bytes().take_while(|&byte| byte >= b' ' && byte != b'"' && byte != b'\\').count();
            text.push_str(&rest[..plain]);
            self.at += plain + 1;
            match rest.as_bytes().get(plain) {
                Some(b'"') => return Ok(text),
                Some(b'\\') => text.push(self.escaped()?),
                _ => {
                    self.at -= 1;
                    return Err(self.expected("the end of a text"));
                }
            }
        }
    }

    /// A character, behind the backslash that escapes it.
    fn escaped(&mut self) -> Result<char> {
        let kind = self.text.as_bytes().get(self.at).copied();
        self.at += usize::from(kind.is_some_and(|kind| kind.is_ascii()));
        Ok(match kind {
            Some(plain @ (b'"' | b'\\' | b'/')) => char::from(plain),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let first = self.hexadecimal()?;
                // Characters of more than 16 bits are two such numbers.
                let second = match first {
                    0xD800..0xDC00 if self.text[self.at..].starts_with("\\u") => {
                        self.at += 2;
                        Some(self.hexadecimal()?)
                    }
                    _ => None,
                };
                char::decode_utf16([Some(first), second].into_iter().flatten())
                    .next()
                    .and_then(std::result::Result::ok)
                    .ok_or_else(|| self.wrong("a character that is none"))?
            }
            _ => return Err(self.wrong("an escape that is not known")),
        })
    }

    fn hexadecimal(&mut self) -> Result<u16> {
        let digits = self.text.get(self.at..self.at + 4);
        let digits = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let number = digits.and_then(|digits| u16::from_str_radix(digits, 16).ok());
        let number = number.ok_or_else(|| self.expected("four hexadecimal digits"))?;
        self.at += 4;
        Ok(number)
    }

    /// Passes over a value.
    pub(crate) fn skip(&mut self) -> Result<()> {
        match self.next() {
            Some(b'{') => self.object(&mut |reader, _| reader.skip()),
            Some(b'[') => self.list(&mut Reader::skip),
            Some(b'"') => self.text().map(|_| ()),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            _ => self.digits().map(|_| ()),
        }
    }
}

/// A place for a value that is found once.
pub(crate) fn once<T>(place: &mut Option<T>, name: &str, value: T) -> Result<()> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("`{name}` is there twice")),
    }
}

/// A value that must have been found.
pub(crate) fn needed<T>(place: Option<T>, name: &str) -> Result<T> {
    place.ok_or_else(|| format!("`{name}` is missing"))
}

/// A text as it is written.
pub(crate) fn quoted(text: &str) -> String {
    let mut all = String::with_capacity(text.len() + 2);
    all.push('"');
    for character in text.chars() {
        match character {
            '"' => all.push_str("\\\""),
            '\\' => all.push_str("\\\\"),
            '\u{8}' => all.push_str("\\b"),
            '\u{c}' => all.push_str("\\f"),
            '\n' => all.push_str("\\n"),
            '\r' => all.push_str("\\r"),
            '\t' => all.push_str("\\t"),
            '\0'..' ' => all.push_str(&format!("\\u{:04x}", u32::from(character))),
            other => all.push(other),
        }
    }
    all.push('"');
    all
}

/// A list as it is written.
pub(crate) fn listed<T>(values: &[T], value: impl Fn(&T) -> String) -> String {
    let values: Vec<String> = values.iter().map(value).collect();
    format!("[{}]", values.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A text, of which only the form is of interest.
    fn form(text: &str) -> Result<()> {
        read(text.as_bytes(), Reader::skip)
    }

    #[test]
    fn texts_are_read_as_they_are_written() {
        let all: String = (0..0x300u32).filter_map(char::from_u32).chain("€𝄞\u{10FFFF}".chars()).collect();
        let written = quoted(&all);
        assert_eq!(read(written.as_bytes(), Reader::text).unwrap(), all);
        assert_eq!(written, serde_json::to_string(&all).unwrap());
        let escaped = r#" "\u0041\ud834\udd1e\/\b\f\u00e9" "#;
        assert_eq!(read(escaped.as_bytes(), Reader::text).unwrap(), "A𝄞/\u{8}\u{c}é");
        for broken in [
            r#""\ud834""#,
            r#""\udd1e""#,
            r#""\ud834A""#,
            r#""\x""#,
            r#""\u12g4""#,
            "\"\n\"",
            "\"a",
            "\"\\",
            "\"\\é\"",
        ] {
            assert!(read(broken.as_bytes(), Reader::text).is_err(), "{broken}");
        }
    }

    #[test]
    fn values_are_read() {
        let text = br#" {"one": [1, 2.5e1, -3], "two": [["a", 1]], "none": null, "other": {"x": [true, false, {}]}} "#;
        let (mut numbers, mut pairs, mut none) = (Vec::new(), Vec::new(), Some(1));
        read(text, |reader| {
            reader.object(&mut |reader, name| {
                match &*name {
                    "one" => numbers = reader.all(Reader::number::<f64>)?,
                    "two" => pairs = reader.all(|reader| reader.pair(Reader::text, Reader::number::<u64>))?,
                    "none" => none = reader.option(Reader::number)?,
                    _ => reader.skip()?,
                }
                Ok(())
            })
        })
        .unwrap();
        assert_eq!((numbers, pairs, none), (vec![1.0, 25.0, -3.0], vec![("a".to_owned(), 1)], None));
        for wrong in ["1.5", "-1", "18446744073709551616", "true", "\"1\""] {
            assert!(read(wrong.as_bytes(), Reader::number::<u64>).is_err(), "{wrong}");
        }
    }

    /// Texts have a form here where they have one for everybody else.
    #[test]
    fn forms_are_those_of_others() {
        let pieces = [
            "{", "}", "[", "]", ",", ":", "\"a\"", "1", "-", "0", ".5", "e-3", "null", "true", " ", "tru",
            "\"", "é",
        ];
        let mut seed = 1u64;
        for length in 1..12 {
            for _ in 0..3000 {
                let mut text = String::new();
                for _ in 0..length {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    text.push_str(pieces[(seed >> 33) as usize % pieces.len()]);
                }
                let expected = serde_json::from_str::<serde_json::Value>(&text).is_ok();
                assert_eq!(form(&text).is_ok(), expected, "{text}");
            }
        }
        assert!(form(&"[".repeat(100_000)).unwrap_err().contains("in each other"));
        assert!(read(b"\"\xff\"", Reader::text).unwrap_err().contains("UTF-8"));
    }
}
