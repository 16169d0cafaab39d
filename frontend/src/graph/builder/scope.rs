//! Names: what they stand for at this place of the model, and the paths of layers.

use std::sync::Arc;

use super::{Builder, Numbering};
use crate::diagnostics::Diagnostic;
use crate::graph::frames::Frame;
use crate::graph::loops::{Ended, Next};
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
        Some(match self.named_value(name)? {
            Val::Tensor(value) if name != "it" => Val::Tensor(self.made_of(value)),
            other => other,
        })
    }

    /// What a name stands for, whatever a `With` makes of it.
    fn named_value(&self, name: &str) -> Option<Val> {
        let in_call = self.is_in_call();
        match name {
            "it" => return (!in_call).then(|| self.current.clone()),
            "training" => return Some(Val::Bool(self.scope_trains())),
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
            // Of a carry, this step's value: it has none yet, whatever has that name around.
            if self.frames[at].carried.contains_key(name) {
                return None;
            }
            frame = self.frames[at].parent;
        }
        let known = |path: String| match in_call {
            true => self.values.outermost(&path),
            false => self.values.get(&path),
        };
        if let Some(value) = self.paths_of(name).find_map(known) {
            return Some(value.clone());
        }
        // State that is fitted to data, such as `data.image.mean`, with its present value.
        let (slot, value) = self.slots.get(name)?;
        (slot.kind == SlotKind::Fitted).then_some(Val::Tensor(value))
    }

    /// The paths that a name may stand for, from the innermost scope outwards. In a call of a function of the model's own that is
    /// the scope of the file's body.
    pub(in crate::graph) fn paths_of(&self, name: &str) -> impl Iterator<Item = String> {
        let innermost = match self.is_in_call() {
            true => self.frames[self.root_frame()].depth,
            false => self.path.len(),
        };
        (0..=innermost).rev().map(move |depth| match depth {
            0 => name.to_owned(),
            _ => format!("{}.{name}", self.path[..depth].join(".")),
        })
    }

    /// The outermost frame around this place: that of its file.
    pub(in crate::graph) fn root_frame(&self) -> usize {
        let mut root = self.frame;
        while let Some(parent) = self.frames[root].parent {
            root = parent;
        }
        root
    }

    /// Whether what is evaluated is a function of the model's own.
    pub fn is_in_call(&self) -> bool {
        let mut frame = Some(self.frame);
        while let Some(at) = frame {
            if self.frames[at].is_call {
                return true;
            }
            frame = self.frames[at].parent;
        }
        false
    }

    /// Why a name that [`Self::lookup`] does not know stands for nothing here, if it is one of a step of a loop.
    pub fn unknown_of_step(&self, name: &str, span: Span) -> Option<Diagnostic> {
        let mut frame = Some(self.frame);
        while let Some(at) = frame {
            if self.frames[at].carried.contains_key(name) {
                let message = format!("`{name}` of this step has no value yet");
                let help = format!("that of the step before is `prev.{name}`");
                return Some(Diagnostic::new(&self.source, span, message).help(help));
            }
            frame = self.frames[at].parent;
        }
        let ended = self.paths_of(name).find_map(|path| self.loops.ended.get(&path))?;
        let message = format!("`{name}` is a value of one step of a loop, which has ended");
        let diagnostic = Diagnostic::new(&self.source, span, message);
        Some(match ended {
            Ended::Unnamed => diagnostic.help(format!(
                "give the loop a name: of `Scan(name: \"loop\", ...)` this is `loop.{name}` for all steps, and \
                 `loop.last.{name}` for the last"
            )),
            Ended::Under(of) => diagnostic
                .help(format!("`{of}.{name}` is that of all steps, `{of}.last.{name}` that of the last")),
            Ended::List => diagnostic.help("it is a list: name its parts, `Let([\"a\", \"b\"], ...)`"),
            Ended::TooLarge(reason) => diagnostic.note(format!("for all steps {reason}")),
            Ended::NoRows(ty) => diagnostic.note(format!(
                "its rows end at different steps, so what is seen behind it has rows along axis 0; `{name}` is {ty}"
            )),
        })
    }

    /// Whether a value belongs to one step of a loop that has ended: a layer that stands in that loop is reused outside.
    pub fn is_of_ended_step(&mut self, value: &Val) -> bool {
        match value {
            Val::Tensor(tensor) => self.loops.has_ended(&self.graph.graph, *tensor),
            Val::List(items) => items.iter().any(|item| self.is_of_ended_step(item)),
            _ => false,
        }
    }

    /// All names that [`Self::lookup`] knows.
    pub fn visible_names(&self) -> Vec<String> {
        let mut names: Vec<String> = if self.is_in_call() { Vec::new() } else { vec!["it".to_owned()] };
        let mut frame = Some(self.frame);
        while let Some(at) = frame {
            names.extend(self.frames[at].names.list().cloned());
            frame = self.frames[at].parent;
        }
        let in_call = self.is_in_call();
        let seen = |name: &&String| !in_call || self.values.outermost(name).is_some();
        names.extend(self.values.paths().filter(seen).filter(|name| !name.contains(STANDS_IN)).cloned());
        let fitted = self.slots.list().iter().filter(|slot| slot.kind == SlotKind::Fitted);
        names.extend(fitted.map(|slot| slot.name.clone()));
        names.sort();
        names.dedup();
        names
    }

    /// The frame of the body around the current repetitions: that of the names that are given here.
    pub(in crate::graph) fn body_frame(&self) -> usize {
        let mut frame = self.frame;
        while let (true, Some(parent)) = (self.frames[frame].is_loop, self.frames[frame].parent) {
            frame = parent;
        }
        frame
    }

    /// Binds a name in the body around the current repetitions; a second definition elsewhere is a mistake. The name of a carry
    /// that is declared in that body says what it is behind this step.
    pub fn bind(&mut self, name: &str, value: Val, span: Span) {
        let frame = self.body_frame();
        if let Some(&carry) = self.frames[frame].carried.get(name) {
            if !self.name_carry(carry, name, &value, span) {
                return;
            }
        } else if let Some((_, first)) = self.frames[frame].names.get(name)
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

    /// Names a value of the layer that is being built: `h` of the layer `lstm` is `lstm.h`.
    pub fn name_inside(&mut self, name: &str, value: Val) {
        self.values.insert(self.full_name(name), value);
    }

    /// Notes what a carry is behind this step; false if it has been named, which is reported.
    fn name_carry(&mut self, carry: (u32, usize), name: &str, value: &Val, span: Span) -> bool {
        let place = (self.source.clone(), span);
        let Some(known) = self.loops.named(carry) else { return true };
        if let Next::Named(_, (source, first)) = &known.next {
            let message = format!("the carry `{name}` is named twice in one step");
            let diagnostic = Diagnostic::new(&self.source, span, message);
            let diagnostic = match *first == span && source.name == self.source.name {
                true => diagnostic.note("it is named in a repetition"),
                false => diagnostic.elsewhere(source, *first, "it is named"),
            };
            let help = "give the earlier value another name; the last one is the carry's";
            self.report(diagnostic.help(help));
            return false;
        }
        known.next = Next::Named(value.clone(), place);
        true
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
