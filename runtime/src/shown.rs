//! How messages show names, lists and numbers: nothing that comes from outside reaches a terminal as it is.

use std::path::Path;

/// Names as messages have them: a name of a file, a class or a column may have line breaks and other control characters in it,
/// which are escaped.
pub trait Shown {
    /// `two\nlines` for a name of two lines.
    fn shown(&self) -> String;
}

impl Shown for str {
    fn shown(&self) -> String {
        let mut shown = String::with_capacity(self.len());
        for c in self.chars() {
            match c.is_control() {
                true => shown.extend(c.escape_default()),
                false => shown.push(c),
            }
        }
        shown
    }
}

impl Shown for Path {
    fn shown(&self) -> String {
        self.to_string_lossy().shown()
    }
}

/// A number of things: `1 sample`, `1797 samples`.
pub fn counted(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

/// How many names of a list are told, and how many letters of each.
const LISTED: (usize, usize) = (16, 60);

/// A text of a file or of data, as messages have it: control characters are escaped, and what is long is cut.
pub fn cut(text: &str) -> String {
    let more = if text.chars().nth(LISTED.1).is_some() { "…" } else { "" };
    text.chars().take(LISTED.1).collect::<String>().shown() + more
}

/// The first of many names: `a, b, … (40 in all)`.
pub fn listed<T: AsRef<str>>(names: &[T]) -> String {
    first_of(names, LISTED.0, cut)
}

/// The same, each in quotes: for texts that may be empty, or have commas.
pub fn listed_in_quotes<T: AsRef<str>>(names: &[T]) -> String {
    format!("[{}]", first_of(names, LISTED.0, |name| format!("\"{}\"", cut(name))))
}

/// The first few of many names.
pub fn first_of<T: AsRef<str>>(names: &[T], few: usize, text: impl Fn(&str) -> String) -> String {
    let first: Vec<String> = names.iter().take(few).map(|name| text(name.as_ref())).collect();
    let more = if names.len() > few { format!(", … ({} in all)", names.len()) } else { String::new() };
    first.join(", ") + &more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_escaped() {
        assert_eq!("a b, Größe ✓".shown(), "a b, Größe ✓");
        assert_eq!("a\nb\r\t\u{1b}[31m\u{0}".shown(), "a\\nb\\r\\t\\u{1b}[31m\\u{0}");
        assert_eq!(Path::new("x\ny.png").shown(), "x\\ny.png");
    }
}
