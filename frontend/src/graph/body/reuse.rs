//! `Reuse`: a named step is run once more on the current value, with the same parameters.

use crate::diagnostics::Diagnostic;
use crate::expr::Template;
use crate::graph::builder::{Builder, Reusable};
use crate::graph::names::STANDS_IN;
use crate::graph::value::Val;
use crate::source::Span;

impl Builder<'_> {
    pub(super) fn reuse(&mut self, name: &Template, span: Span) {
        let filled = self.fill(name).filter(|_| !self.is_deep_in_doubt());
        let Some(filled) = filled else {
            self.skip();
            return;
        };
        let found = [self.full_name(&filled), filled.clone()]
            .iter()
            .find_map(|path| self.reusable.get(path).map(|step| (path.clone(), step.clone())));
        let Some((path, step)) = found else {
            self.nothing_to_reuse(&filled, name.span);
            self.current = Val::Unknown;
            return;
        };
        if self.is_too_deep(&filled, span) {
            self.current = Val::Unknown;
            return;
        }
        self.run_again(&path, step, span);
    }

    fn nothing_to_reuse(&mut self, name: &str, span: Span) {
        let known = self.reusable.keys().filter(|name| !name.contains(STANDS_IN));
        let mut known: Vec<String> = known.cloned().collect();
        known.sort();
        let message = format!("there is no layer `{name}` to reuse");
        let mut diagnostic =
            Diagnostic::new(&self.source, span, message).suggest(name, known.iter().map(String::as_str));
        if !(1..=16).contains(&known.len()) {
            diagnostic = diagnostic.help(format!(
                "a layer is reused behind where it stands, by the name that it was given: `Linear(name: \"{name}\", ...)`"
            ));
        }
        self.report(diagnostic);
    }

    /// Runs a step where it stands: in its file, with the names that it saw there, under the path that it got.
    fn run_again(&mut self, path: &str, step: Reusable, span: Span) {
        self.depth += 1;
        let (line, column) = self.source.position(span.start);
        let place = format!("{}:{line}:{column}", self.source.name);
        let outer_place = self.reused_at.replace(place);
        let outer_path = std::mem::take(&mut self.path);
        let outer_frames = std::mem::replace(&mut self.frames, step.frames);
        let outer_frame = std::mem::replace(&mut self.frame, step.frame);
        let outer_reusing = std::mem::replace(&mut self.reusing, true);
        self.in_file(&step.tree, |builder| builder.call(path, &step.body, step.position));
        self.reused_at = outer_place;
        self.path = outer_path;
        self.frames = outer_frames;
        self.frame = outer_frame;
        self.reusing = outer_reusing;
        self.depth -= 1;
    }
}
