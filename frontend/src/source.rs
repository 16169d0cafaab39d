//! Source texts and places in them.

use std::ops::Range;
use std::sync::Arc;

/// A text with the name it is reported under.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// File name or other name shown in diagnostics.
    pub name: String,
    /// The whole text.
    pub text: String,
}

impl Source {
    /// A source shared by everything that points into it.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { name: name.into(), text: text.into() })
    }

    /// Line and column, both from 1, of a byte offset.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
        let start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        (line, String::from_utf8_lossy(&before[start..]).chars().count() + 1)
    }
}

/// A byte range of a [`Source`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// The range `start..end`.
    pub fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// The smallest span that covers both.
    pub fn to(self, other: Span) -> Span {
        Span { start: self.start.min(other.start), end: self.end.max(other.end) }
    }
}

impl From<Span> for Range<usize> {
    fn from(span: Span) -> Self {
        span.start..span.end
    }
}

/// A value with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Span,
}

impl<T> Spanned<T> {
    /// `value` standing at `span`.
    pub fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}

/// A place in a file.
pub(crate) type FilePlace = (Arc<Source>, Span);

/// A string, with the place of each of its bytes in the source.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Text {
    pub value: String,
    /// Source offset of each byte of `value`, and of the closing quote.
    pub offsets: Vec<usize>,
}

impl Text {
    /// The place in the source of a byte range of the string's value.
    pub fn place(&self, start: usize, end: usize) -> Span {
        let last = self.offsets.len() - 1;
        let start = self.offsets[start.min(last)];
        let end = if end > 0 { self.offsets[end.min(last)] } else { start };
        Span::new(start, end.max(start))
    }

    /// The place of the whole content, quotes not included.
    pub fn span(&self) -> Span {
        self.place(0, self.value.len())
    }
}
