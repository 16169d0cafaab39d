//! Mistakes in a model, each at its place in the file, with a way out.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use brolga_ir::names::nearest;

use crate::source::{Source, Span};

/// One mistake: what is wrong, where, what was expected, and how to mend it.
#[derive(Clone, Debug)]
pub struct Diagnostic(Box<Parts>);

#[derive(Clone, Debug)]
struct Parts {
    source: Arc<Source>,
    message: String,
    span: Span,
    label: String,
    context: Vec<(Span, String)>,
    notes: Vec<String>,
    helps: Vec<String>,
    /// About the whole file or what was asked of it: shown without an excerpt.
    general: bool,
}

impl Diagnostic {
    /// A mistake at `span`; `message` is a complete sentence without full stop.
    pub fn new(source: &Arc<Source>, span: Span, message: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            source: source.clone(),
            message: message.into(),
            span,
            label: String::new(),
            context: Vec::new(),
            notes: Vec::new(),
            helps: Vec::new(),
            general: false,
        }))
    }

    /// A mistake in what is asked of a model, not at a place in its file.
    pub fn general(source: &Arc<Source>, message: impl Into<String>) -> Self {
        let mut diagnostic = Self::new(source, Span::default(), message);
        diagnostic.0.general = true;
        diagnostic
    }

    /// Text beside the underlined place.
    pub fn label(mut self, text: impl Into<String>) -> Self {
        self.0.label = text.into();
        self
    }

    /// Another place of the same file that matters.
    pub fn context(mut self, span: Span, text: impl Into<String>) -> Self {
        self.0.context.push((span, text.into()));
        self
    }

    /// Another place that matters, in whatever file: `what` is so "here", or "at model.ron:3:1". Nothing if it is this one.
    pub(crate) fn elsewhere(self, source: &Source, span: Span, what: &str) -> Self {
        if source.name != self.0.source.name {
            let (line, column) = source.position(span.start);
            self.note(format!("{what} at {}:{line}:{column}", source.name))
        } else if span != self.0.span {
            self.context(span, format!("{what} here"))
        } else {
            self
        }
    }

    /// A fact worth knowing.
    pub fn note(mut self, text: impl Into<String>) -> Self {
        self.0.notes.push(text.into());
        self
    }

    /// A way out.
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.0.helps.push(text.into());
        self
    }

    /// Helps with the valid name nearest to `found`, or with all of them where none is near and they are few.
    pub fn suggest<'a>(self, found: &str, valid: impl IntoIterator<Item = &'a str>) -> Self {
        let valid: Vec<&str> = valid.into_iter().collect();
        match (nearest(found, valid.iter().copied()), valid.len()) {
            (Some(name), _) => self.help(format!("did you mean `{name}`?")),
            (None, 1..=16) => self.help(format!("valid here: {}", valid.join(", "))),
            _ => self,
        }
    }

    /// What is wrong, in one line.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The source and the place in it.
    pub fn place(&self) -> (&Source, Span) {
        (&self.0.source, self.0.span)
    }

    /// The diagnostic with its source excerpt.
    pub fn render(&self, color: bool) -> String {
        let text = &self.0.source.text;
        let clamp = |span: Span| floor_boundary(text, span.start)..ceil_boundary(text, span.end);
        let mut snippet = Snippet::source(text.as_str()).path(self.0.source.name.as_str());
        let primary = AnnotationKind::Primary.span(clamp(self.0.span));
        snippet = snippet.annotation(if self.0.label.is_empty() {
            primary
        } else {
            primary.label(self.0.label.as_str())
        });
        for (span, label) in &self.0.context {
            snippet = snippet.annotation(AnnotationKind::Context.span(clamp(*span)).label(label.as_str()));
        }
        let title = Level::ERROR.primary_title(self.0.message.as_str());
        let mut group = if self.0.general {
            title.element(Level::NOTE.message(format!("in {}", self.0.source.name)))
        } else {
            title.element(snippet)
        };
        for note in &self.0.notes {
            group = group.element(Level::NOTE.message(note.as_str()));
        }
        for help in &self.0.helps {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        renderer.render(&[group])
    }
}

/// All mistakes found in one run, in the order of their places. Never empty when it is an error value.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
    /// Place, file and message of each.
    known: HashSet<(Span, String, String)>,
}

/// More than this many mistakes are counted, not shown.
const SHOWN: usize = 20;

impl Diagnostics {
    /// Adds a mistake; the same message at the same place is kept once.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        let parts = &diagnostic.0;
        if self.known.insert((parts.span, parts.source.name.clone(), parts.message.clone())) {
            self.list.push(diagnostic);
        }
    }

    /// Adds all of `other`.
    pub fn extend(&mut self, other: Diagnostics) {
        other.list.into_iter().for_each(|diagnostic| self.push(diagnostic));
    }

    /// Whether there are more than anybody reads: a further one needs no way out.
    pub(crate) fn are_many(&self) -> bool {
        self.list.len() > 10 * SHOWN
    }

    /// No mistake was found.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The mistakes.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.list.iter()
    }

    /// `Ok(value)` if nothing was found, else the mistakes sorted by place.
    pub fn into_result<T>(self, value: T) -> Result<T, Diagnostics> {
        if self.list.is_empty() { Ok(value) } else { Err(self.sorted()) }
    }

    /// The mistakes sorted by place.
    pub(crate) fn sorted(mut self) -> Diagnostics {
        self.list.sort_by_key(|diagnostic| (diagnostic.0.span.start, diagnostic.0.span.end));
        self
    }

    /// All mistakes with source excerpts; `color` for a terminal.
    pub fn render(&self, color: bool) -> String {
        let shown: Vec<String> =
            self.list.iter().take(SHOWN).map(|diagnostic| diagnostic.render(color)).collect();
        let mut text = shown.join("\n\n");
        if self.list.len() > SHOWN {
            text.push_str(&format!("\n\n... and {} more mistakes", self.list.len() - SHOWN));
        }
        text
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        let mut diagnostics = Self::default();
        diagnostics.push(diagnostic);
        diagnostics
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}

fn floor_boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

fn ceil_boundary(text: &str, at: usize) -> usize {
    (at.min(text.len())..=text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_clamped_to_characters() {
        let source = Source::new("x.ron", "añb");
        let text = Diagnostic::new(&source, Span::new(2, 99), "strange").render(false);
        assert!(text.contains("añb"), "{text}");
    }
}
