//! The names of layers: as given, or made.

use std::sync::Arc;

use crate::diagnostics::Diagnostic;
use crate::expr::{Piece, Template};
use crate::graph::builder::{Builder, Numbering, Seen};
use crate::graph::names::STANDS_IN;
use crate::graph::value::{Fault, Val};
use crate::source::{Source, Span};

impl Builder<'_> {
    /// The name of a layer: as given, or by position or kind; a path used before is a mistake. Where the given one is a
    /// mistake, another stands in for it, so that what the layer holds is checked still.
    pub(super) fn layer_name(&mut self, name: Option<&Template>, label: &str, span: Span) -> Option<String> {
        let Some(template) = name else {
            let name = self.automatic_name(label);
            return self.checked_name(name, false, label, span);
        };
        let filled = self.fill(template);
        let begins = match (&filled, template.pieces.first()) {
            (Some(name), _) | (None, Some(Piece::Text(name))) => name.clone(),
            _ => String::new(),
        };
        let name = filled.and_then(|name| self.checked_name(name, true, label, span));
        name.or_else(|| self.stand_in(&begins, label))
    }

    /// The name of an import, under which its layers stand.
    pub(super) fn import_name(&mut self, name: &Template) -> Option<String> {
        match self.fill(name) {
            Some(filled) if filled.is_empty() => Some(filled),
            _ => self.layer_name(Some(name), IMPORT, name.span),
        }
    }

    /// A name instead of one that is a mistake, of which the beginning is known. No other step of this pass has it, and no
    /// model can give it.
    fn stand_in(&mut self, begins: &str, label: &str) -> Option<String> {
        self.lost.insert(self.full_name(begins));
        let name = format!("{label}{STANDS_IN}{}", self.steps);
        (self.full_name(&name).len() <= LONGEST).then_some(name)
    }

    /// The name, noted as a layer's, if it can be one.
    fn checked_name(&mut self, name: String, given: bool, label: &str, span: Span) -> Option<String> {
        let path = self.full_name(&name);
        if path.len() > LONGEST
            || name.split('.').any(str::is_empty)
            || name.chars().any(|c| c.is_whitespace() || c.is_control() || c == STANDS_IN)
        {
            let message = format!(
                "{:?} cannot name a layer: it is empty, longer than {LONGEST} bytes, or has white space, control \
                 characters or `#`",
                name.chars().take(40).collect::<String>()
            );
            self.fail(Fault::new(message), span);
            return None;
        }
        if !self.reusing {
            self.note_layer(path, given, label, span);
        }
        Some(name)
    }

    /// The next name in this scope that is given to no layer.
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

    /// Notes that a layer of that path is built. If there is another one already, that is a mistake, reported once: not again
    /// for the layers inside of both.
    fn note_layer(&mut self, path: String, given: bool, label: &str, span: Span) {
        self.layer_names.add(&path, given);
        // A layer that may not be run at all clashes with no other.
        if self.in_doubt.is_some() {
            return;
        }
        let seen = Seen { source: self.source.clone(), span, imports: self.importing.clone() };
        let Some(first) = self.seen.insert(path.clone(), seen) else { return };
        let inside = |outer: &String| path.strip_prefix(outer).is_some_and(|rest| rest.starts_with('.'));
        if self.twins.iter().any(inside) {
            self.current = Val::Unknown;
            return;
        }
        if self.twin_imports(&path, &first) {
            return;
        }
        let help = match label {
            IMPORT => "give the import another `name`".to_owned(),
            _ => format!("give it another `name`, or share the weights with `Reuse(\"{path}\")`"),
        };
        let source = self.source.clone();
        let message = format!("two layers are named `{path}`");
        self.report(twins(message, (&first.source, first.span), (&source, span)).help(help));
        self.twins.push(path);
    }

    /// Whether two imports have a layer of that path, which neither of their files can know. It is reported once, at the second
    /// import.
    fn twin_imports(&mut self, path: &str, first: &Seen) -> bool {
        let mut pairs = first.imports.iter().zip(&self.importing);
        let Some((&before, &now)) = pairs.find(|(before, now)| before != now) else { return false };
        self.current = Val::Unknown;
        if std::mem::replace(&mut self.import_sites[now].told, true) {
            return true;
        }
        let [before, now] = [before, now].map(|number| self.import_sites[number].clone());
        let message = format!("two imports have a layer `{path}`");
        let diagnostic = twins(message, (&before.source, before.span), (&now.source, now.span));
        self.report(diagnostic.help("give the import a `name`, under which its layers stand"));
        true
    }
}

/// The longest path of a layer, in bytes.
const LONGEST: usize = 512;

/// The label of imports.
const IMPORT: &str = "import";

/// A mistake of two layers at the place of the second, which names that of the first.
fn twins(message: String, first: (&Arc<Source>, Span), second: (&Arc<Source>, Span)) -> Diagnostic {
    let diagnostic = Diagnostic::new(second.0, second.1, message);
    if first.0.name == second.0.name && first.1 == second.1 {
        return diagnostic
            .note("it is built more than once: in a repetition use the index, as in \"conv{i}\"");
    }
    diagnostic.elsewhere(first.0, first.1, "the first is")
}
