//! `Reuse`: a named step is run once more on the current value, with the same parameters. What it is given besides may be set anew.

use crate::diagnostics::Diagnostic;
use crate::expr::{Expr, Template};
use crate::graph::builder::{Builder, Reusable};
use crate::graph::frames::Named;
use crate::graph::names::STANDS_IN;
use crate::graph::value::Val;
use crate::model::tree::BodyStepKind;
use crate::source::{Span, Spanned};

impl Builder<'_> {
    pub(super) fn reuse(&mut self, name: &Template, set: &[(Spanned<String>, Expr)], span: Span) {
        let values = set.iter().map(|(_, value)| (self.eval(value), value.span)).collect::<Vec<Named>>();
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
        let keys = set.iter().map(|(key, _)| key);
        if !self.can_set(&filled, &step, keys.clone(), span) {
            self.current = Val::Unknown;
            return;
        }
        self.reuse_set = keys.map(|key| key.value.clone()).zip(values).collect();
        self.run_again(&path, step, span);
        self.reuse_set.clear();
    }

    /// Whether a step that is reused has all these arguments; one that it does not have is reported.
    fn can_set<'k>(
        &mut self,
        name: &str,
        step: &Reusable,
        keys: impl Iterator<Item = &'k Spanned<String>>,
        span: Span,
    ) -> bool {
        let known: Vec<&str> = match &step.body[step.position].kind {
            BodyStepKind::Layer { layer, .. } => {
                layer.parameters.iter().map(|parameter| parameter.name).collect()
            }
            BodyStepKind::Block { block, .. } => {
                let blocks = step.tree.blocks.iter();
                let parameters = blocks.filter(|known| known.name.value == block.value);
                parameters.flat_map(|block| &block.parameters).map(|(name, _)| name.value.as_str()).collect()
            }
            _ => Vec::new(),
        };
        let mut good = true;
        for key in keys {
            if known.contains(&key.value.as_str()) {
                continue;
            }
            good = false;
            let diagnostic = match known.is_empty() {
                true => Diagnostic::new(&self.source, span, format!("`{name}` has no arguments to be set"))
                    .help("`set` gives a block or a layer other arguments than where it stands"),
                false => Diagnostic::new(
                    &self.source,
                    key.span,
                    format!("`{name}` has no argument `{}`", key.value),
                )
                .suggest(&key.value, known.iter().copied()),
            };
            self.report(diagnostic);
        }
        good
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
