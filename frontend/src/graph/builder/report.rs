//! Mistakes: how they are reported, and what follows from those there have been.

use super::Builder;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::graph::value::{Args, Fault, Val};
use crate::source::Span;

/// Most operators of one entry's graph, before it is differentiated: these are what building takes its time for. Training the
/// deepest residual network that has been trained, of 1202 layers, takes 113,600.
const MOST_OPERATORS: usize = 120_000;

impl Builder<'_> {
    /// The value of a result; a fault is reported.
    pub fn resolve(&mut self, result: Result<Val, Fault>, span: Span) -> Val {
        match result {
            Ok(value) => value,
            Err(fault) => self.fail(fault, span),
        }
    }

    /// Reports a fault.
    pub fn fail(&mut self, fault: Fault, span: Span) -> Val {
        let diagnostic = fault.diagnostic(&self.source, span);
        self.report(diagnostic);
        Val::Unknown
    }

    pub fn report(&mut self, diagnostic: Diagnostic) {
        if self.given_up {
            return;
        }
        let diagnostic = self.imported(diagnostic);
        self.diagnostics.push(diagnostic);
    }

    /// Adds to a mistake the imports that lead to its file, the innermost first, as far as one of them sets parameters: what is
    /// wrong in the file may come from these.
    pub(in crate::graph) fn imported(&self, mut diagnostic: Diagnostic) -> Diagnostic {
        let mut file = diagnostic.place().0.name.clone();
        let mut notes = Vec::new();
        for site in self.importing.iter().rev().map(|&number| &self.import_sites[number]) {
            // A wrong value that an import sets is a mistake of the file that imports, and shown there.
            if site.source.name == file {
                continue;
            }
            let (line, column) = site.source.position(site.span.start);
            let with = if site.set.is_empty() { String::new() } else { format!(" with {}", site.set) };
            let what = if notes.is_empty() { "it" } else { file.as_str() };
            notes.push((format!("{}:{line}:{column} imports {what}{with}", site.source.name), with));
            file.clone_from(&site.source.name);
        }
        let last = notes.iter().rposition(|(_, with)| !with.is_empty());
        for (note, _) in notes.into_iter().take(last.map_or(0, |last| last + 1)) {
            diagnostic = diagnostic.note(note);
        }
        diagnostic
    }

    /// A mistake of the layer that is being built, which it has for a batch of one sample only. For that batch the entry is
    /// built all the same, and refused when somebody runs it. So a model with batch normalisation has the size 1 for inference,
    /// though it cannot be trained with it.
    pub fn refuse_single(&mut self, fault: Fault) -> Result<(), Fault> {
        let batch = self.frames[0].names.get("batch").map(|(value, _)| value);
        if !matches!(batch, Some(Val::Int(1))) {
            return Err(fault);
        }
        self.refusing = Some(fault);
        Ok(())
    }

    /// Runs `inside` without reporting anything, for what is built a second time or checked elsewhere.
    pub fn quiet<T>(&mut self, inside: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::take(&mut self.diagnostics);
        let result = inside(self);
        self.diagnostics = before;
        result
    }

    /// Whether there has been a mistake, in this build or in the form of the file. What may only follow from one is not reported.
    pub fn has_mistakes(&self) -> bool {
        self.tree.broken || !self.diagnostics.is_empty()
    }

    /// Whether state of that name, in which `*` stands for any text, may only be missing for an earlier mistake: the layer that
    /// would have it is in the model, but was not built.
    pub fn misses(&self, name: &str) -> bool {
        let known = name.split('*').next().unwrap_or(name);
        let of = |path: &String| match known.strip_prefix(path.as_str()) {
            Some(rest) => rest.is_empty() || rest.starts_with('.'),
            None => known.len() < name.len() && path.starts_with(known),
        };
        let lost = |begins: &String| {
            known.starts_with(begins.as_str()) || known.len() < name.len() && begins.starts_with(known)
        };
        self.has_mistakes() && (self.reusable.keys().any(of) || self.lost.iter().any(lost))
    }

    /// Whether there are more mistakes than anybody reads.
    pub fn has_many_mistakes(&self) -> bool {
        self.diagnostics.are_many()
    }

    /// Reports every argument that was given to `of` and had no effect.
    pub fn report_unused(&mut self, args: &Args, of: &str, span: Span) {
        for fault in args.unused(of) {
            self.fail(fault, span);
        }
    }

    /// Whether the graph has too many operators, which is reported once. What goes wrong afterwards is not: it follows from that.
    pub fn is_full(&mut self, span: Span) -> bool {
        if self.graph.graph.len() <= MOST_OPERATORS {
            return false;
        }
        let fault = Fault::new(format!("the model has more than {MOST_OPERATORS} operators")).help(
            "each operation of a layer, an expression or an optimiser is one, repeated as often as they are",
        );
        self.current = self.fail(fault, span);
        self.given_up = true;
        true
    }

    pub fn take_diagnostics(&mut self) -> Diagnostics {
        std::mem::take(&mut self.diagnostics)
    }
}
