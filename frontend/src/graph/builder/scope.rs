//! Names: what they stand for at this place of the model, and the paths of layers.

use std::sync::Arc;

use super::{Builder, Numbering};
use crate::diagnostics::Diagnostic;
use crate::graph::frames::Frame;
use crate::graph::names::STANDS_IN;
use crate::graph::state::SlotKind;
use crate::graph::value::Val;
use crate::model::tree::ModelTree;
use crate::source::Span;

impl Builder<'_> {
    /// The path of the layer or scope being built, with `name` appended.
    pub fn full_name(&self, name: &str) -> String {
        match (self.path.is_empty(), name.is_empty()) {
            (true, _) => name.to_owned(),
            (_, true) => self.path.join("."),
            _ => format!("{}.{name}", self.path.join(".")),
        }
    }

    /// The value of a name: the current value, then the names of block, loops and model, then layers.
    pub fn lookup(&mut self, name: &str) -> Option<Val> {
        match name {
            "it" => return Some(self.current.clone()),
            "training" => return Some(Val::Bool(self.train)),
            "pi" => return Some(Val::Float(std::f64::consts::PI)),
            "inf" => return Some(Val::Float(f64::INFINITY)),
            "nan" => return Some(Val::Float(f64::NAN)),
            _ => {}
        }
        let mut frame = Some(self.frame);
        while let Some(at) = frame {
            if let Some((value, _)) = self.frames[at].names.get(name) {
                return Some(value.clone());
            }
            frame = self.frames[at].parent;
        }
        // From the innermost scope outwards.
        for depth in (0..=self.path.len()).rev() {
            let path = match depth {
                0 => name.to_owned(),
                _ => format!("{}.{name}", self.path[..depth].join(".")),
            };
            if let Some(value) = self.values.get(&path) {
                return Some(value.clone());
            }
        }
        // State that is fitted to data, such as `data.image.mean`, with its present value.
        let (slot, value) = self.slots.get(name)?;
        (slot.kind == SlotKind::Fitted).then_some(Val::Tensor(value))
    }

    /// All names that [`Self::lookup`] knows.
    pub fn visible_names(&self) -> Vec<String> {
        let mut names = vec!["it".to_owned()];
        let mut frame = Some(self.frame);
        while let Some(at) = frame {
            names.extend(self.frames[at].names.list().cloned());
            frame = self.frames[at].parent;
        }
        names.extend(self.values.keys().filter(|name| !name.contains(STANDS_IN)).cloned());
        let fitted = self.slots.list().iter().filter(|slot| slot.kind == SlotKind::Fitted);
        names.extend(fitted.map(|slot| slot.name.clone()));
        names.sort();
        names.dedup();
        names
    }

    /// Binds a name in the body around the current loops; a second definition elsewhere is a mistake.
    pub fn bind(&mut self, name: &str, value: Val, span: Span) {
        let mut frame = self.frame;
        while let (true, Some(parent)) = (self.frames[frame].is_loop, self.frames[frame].parent) {
            frame = parent;
        }
        if let Some((_, first)) = self.frames[frame].names.get(name)
            && *first != span
        {
            let diagnostic = Diagnostic::new(&self.source, span, format!("`{name}` is defined twice"))
                .context(*first, "first defined here")
                .help("give it another name");
            self.report(diagnostic);
            return;
        }
        self.values.insert(self.full_name(name), value.clone());
        self.frames[frame].names.insert(name.to_owned(), (value, span));
    }

    /// Runs `inside` with places and blocks of another file.
    pub(in crate::graph) fn in_file<T>(
        &mut self,
        tree: &Arc<ModelTree>,
        inside: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let outer_tree = std::mem::replace(&mut self.tree, tree.clone());
        let outer_source = std::mem::replace(&mut self.source, tree.source.clone());
        let result = inside(self);
        self.tree = outer_tree;
        self.source = outer_source;
        result
    }

    /// Runs `inside` in a frame of its own.
    pub(in crate::graph) fn in_frame<T>(&mut self, frame: Frame, inside: impl FnOnce(&mut Self) -> T) -> T {
        let (outer, length) = (self.frame, self.frames.len());
        self.frames.push(frame);
        self.frame = length;
        let result = inside(self);
        self.frames.truncate(length);
        self.frame = outer;
        result
    }

    /// Runs `inside` with `name` appended to the path.
    pub(in crate::graph) fn in_scope<T>(
        &mut self,
        name: &str,
        numbering: Numbering,
        inside: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let parts = name.split('.').filter(|part| !part.is_empty());
        let depth = self.path.len();
        self.path.extend(parts.map(str::to_owned));
        self.numbering.push(numbering);
        let result = inside(self);
        self.numbering.pop();
        self.path.truncate(depth);
        result
    }

    /// The name of the random numbers that this call of the current layer draws: its path; from its second call in a
    /// pass on with the number of the call, so that a layer that is used again draws anew.
    pub fn draw(&mut self) -> String {
        let path = self.full_name("");
        let calls = self.draws.entry(path.clone()).or_default();
        *calls += 1;
        match *calls {
            1 => path,
            call => format!("{path}#{call}"),
        }
    }
}
