//! The names of layers: as given, or made.

use crate::build::value::{Fault, Val};
use crate::build::{Builder, Numbering, Seen};
use crate::diagnostics::Diagnostic;
use crate::expr::Template;
use crate::source::Span;

impl Builder<'_> {
    /// The path of a layer: as given, or by position or kind; a path used before is a mistake.
    pub(super) fn layer_name(&mut self, name: Option<&Template>, label: &str, span: Span) -> Option<String> {
        let given = name.is_some();
        let name = match name {
            Some(template) => {
                let filled = self.fill(template);
                if filled.is_none() {
                    self.current = Val::Unknown;
                }
                filled?
            }
            None => self.automatic_name(label),
        };
        let path = self.full_name(&name);
        if path.len() > 512
            || path.split('.').any(str::is_empty)
            || path.chars().any(|c| c.is_whitespace() || c.is_control() || c == '#')
        {
            self.current = self.fail(
                Fault::new(format!(
                    "{:?} cannot name a layer: it is empty, longer than 512 bytes, or has white space, control \
                     characters or `#`",
                    name.chars().take(40).collect::<String>()
                )),
                span,
            );
            return None;
        }
        if !self.reusing {
            self.note_layer(path, given, span);
        }
        Some(name)
    }

    /// The next name that no layer is given.
    fn automatic_name(&mut self, label: &str) -> String {
        loop {
            let name = match self.numbering.last_mut() {
                Some(Numbering::Kind(counts)) => {
                    let count = counts.entry(label.to_owned()).or_default();
                    *count += 1;
                    format!("{label}{count}")
                }
                Some(Numbering::Bare(counts)) => {
                    let count = counts.entry(label.to_owned()).or_default();
                    *count += 1;
                    if *count == 1 { label.to_owned() } else { format!("{label}{count}") }
                }
                Some(Numbering::Position(next)) => {
                    *next += 1;
                    (*next - 1).to_string()
                }
                None => return label.to_owned(),
            };
            if !self.layer_names.is_given(&self.full_name(&name)) {
                return name;
            }
        }
    }

    /// A layer of that path is built; another one before is a mistake.
    fn note_layer(&mut self, path: String, given: bool, span: Span) {
        self.layer_names.add(&path, given);
        let seen = Seen { source: self.source.clone(), span };
        let Some(first) = self.seen.insert(path.clone(), seen) else { return };
        let diagnostic = Diagnostic::new(&self.source, span, format!("two layers are named `{path}`"))
            .help(format!("give it another `name`, or share the weights with `Reuse(\"{path}\")`"));
        let diagnostic = if first.source.name != self.source.name {
            let (line, column) = first.source.position(first.span.start);
            diagnostic.note(format!("the first is at {}:{line}:{column}", first.source.name))
        } else if first.span != span {
            diagnostic.context(first.span, "the first is here")
        } else {
            diagnostic.note("it is built more than once: in a repetition use the index, as in \"conv{i}\"")
        };
        self.report(diagnostic);
    }
}
