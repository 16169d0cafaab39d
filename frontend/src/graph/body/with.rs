//! `With`: inside of its body, parameters are what its steps make of them.
//!
//! ```text
//! With(of: "d.*.weight", by: [SpectralNorm(name: "norm")], body: [...])
//! ```
//!
//! The steps are run once for each parameter whose name fits, where the body reads it first: from the parameter as the current
//! value, under its path (`d.0.weight.norm`), with the names that are seen where the `With` stands, and outside of the loops that
//! stand in its body. So what they make, draw and update is the same wherever the body reads the parameter. What is trained, and
//! what an `Update` sets, is the parameter itself.

use std::collections::HashMap;

use brolga_ir::ops::{Op, StopGradient};

use crate::diagnostics::Diagnostic;
use crate::expr::Template;
use crate::graph::builder::{Builder, Numbering, Within};
use crate::graph::frames::Frame;
use crate::graph::names::{matches, starred};
use crate::graph::state::SlotKind;
use crate::graph::value::{Fault, Tensor, Val};
use crate::model::tree::Body;
use crate::source::{Span, Spanned};

impl Builder<'_> {
    /// Runs the body of a `With`.
    pub(super) fn with(&mut self, of: &[Template], by: &Body, body: &Body, span: Span) {
        let filled = of.iter().filter_map(|of| Some(Spanned::new(self.fill(of)?, of.span)));
        let of: Vec<Spanned<String>> = filled.collect();
        self.withs.push(Within {
            used: vec![false; of.len()],
            of,
            by: by.clone(),
            span,
            frames: self.frames.iter_mut().map(Frame::kept).collect(),
            frame: self.frame,
            tree: self.tree.clone(),
            reusing: self.reusing,
            loops: self.loops.open.len(),
            made: HashMap::new(),
        });
        self.run(body);
        let Some(within) = self.withs.pop().filter(|_| !self.stopped) else { return };
        for (of, _) in within.of.iter().zip(within.used).filter(|(_, used)| !used) {
            self.reads_none(of);
        }
    }

    /// Reports a pattern that fits no parameter that the body reads, unless a layer that would have it is missing.
    fn reads_none(&mut self, of: &Spanned<String>) {
        if self.in_doubt.is_some() || self.misses(&of.value) {
            return;
        }
        let message = format!("the body of this `With` reads no parameter named `{}`", of.value);
        let parameters = self.slots.parameters();
        let known = parameters.iter().map(|(name, _)| name.as_str());
        let diagnostic = Diagnostic::new(&self.source, of.span, message).suggest(&of.value, known);
        self.report(diagnostic.help("`*` stands for any text, as in \"layer1.*\""));
    }

    /// What a parameter is at this place: itself, or what each `With` around makes of it, the outermost first.
    pub(in crate::graph) fn made(&mut self, name: &str, parameter: Tensor) -> Tensor {
        let mut value = parameter;
        for at in 0..self.withs.len() {
            value = self.made_by(at, name, value);
        }
        value
    }

    /// What a value is at this place, which may be a parameter; see [`Self::made`].
    pub(in crate::graph) fn made_of(&mut self, value: Tensor) -> Tensor {
        if self.withs.is_empty() {
            return value;
        }
        let graph = &self.graph.graph;
        let name = match &graph.node(value.node).op {
            Op::StopGradient(StopGradient { state: Some(name) }) => Some(name.clone()),
            _ => graph.parameter(value.node).map(|parameter| parameter.name.clone()),
        };
        let is_now = |name: &String| {
            let slot = self.slots.get(name);
            slot.is_some_and(|(slot, now)| slot.kind == SlotKind::Parameter && now == value)
        };
        match name.filter(is_now) {
            Some(name) => self.made(&name, value),
            None => value,
        }
    }

    /// What the `With` of that number makes of a parameter, from what those around it have made.
    fn made_by(&mut self, at: usize, name: &str, value: Tensor) -> Tensor {
        let within = &mut self.withs[at];
        let mut pattern = None;
        for (of, used) in within.of.iter().zip(&mut within.used) {
            if matches(&of.value, name) {
                *used = true;
                pattern = pattern.or(Some(&of.value));
            }
        }
        let Some(pattern) = pattern else { return value };
        if let Some(made) = within.made.get(name) {
            return *made;
        }
        let star = starred(pattern, name).map(str::to_owned);
        let made = self.make(at, name, value, star);
        self.withs[at].made.insert(name.to_owned(), made);
        made
    }

    /// Runs the steps of a `With` on a parameter; after a mistake, which is reported, the parameter stays what it is.
    fn make(&mut self, at: usize, name: &str, value: Tensor, star: Option<String>) -> Tensor {
        let inner = self.withs.split_off(at);
        let within = &inner[0];
        let (loops, changes) = (self.loops.leave(within.loops), self.slots.changes());
        let origin = self.graph.origin();
        let outer_path = std::mem::take(&mut self.path);
        let outer_frames = std::mem::replace(&mut self.frames, within.frames.clone());
        let outer_frame = std::mem::replace(&mut self.frame, within.frame);
        let outer_reusing = std::mem::replace(&mut self.reusing, within.reusing);
        let outer_current = std::mem::replace(&mut self.current, Val::Tensor(value));
        let outer_star = std::mem::replace(&mut self.star, star);
        let outer_until = self.until.take();
        let made = self.in_file(&within.tree, |builder| {
            let frame = Frame { parent: Some(builder.frame), ..Frame::default() };
            builder.in_frame(frame, |builder| {
                let numbering = Numbering::Kind(HashMap::new());
                builder.in_scope(name, numbering, |builder| builder.run(&within.by));
            });
            builder.result_for(name, value, within.span)
        });
        self.path = outer_path;
        self.frames = outer_frames;
        self.frame = outer_frame;
        self.reusing = outer_reusing;
        self.current = outer_current;
        self.star = outer_star;
        self.until = outer_until;
        self.graph.go_back(origin);
        // What the steps have updated, they have updated before the loops in the body.
        let moved = loops.first().map_or(0, |first| self.slots.move_changes(changes, first));
        self.loops.enter_again(loops, moved);
        self.withs.extend(inner);
        made.unwrap_or(value)
    }

    /// What the steps of a `With` end with, which must be of the parameter's type; nothing after a mistake, which is reported.
    fn result_for(&mut self, name: &str, value: Tensor, span: Span) -> Option<Tensor> {
        let ty = self.ops().ty(value);
        let made = self.as_tensor_of(self.current.clone(), ty.dtype, span)?;
        let found = self.ops().ty(made);
        if found == ty {
            return Some(made);
        }
        let fault = Fault::new(format!("`{name}` is {ty}, but the steps of `With` make {found} of it"));
        self.fail(fault.help("they go from the parameter, `it`, to one of its type"), span);
        None
    }
}
