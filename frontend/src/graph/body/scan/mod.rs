//! `Scan` and `Carry`: a body is run once, for one step of a loop, which sees a step of each sequence and what carries were before.
//! What the loop is behind it, `behind` says; which rows have ended, `ending`.

mod behind;
mod ending;
mod kept;
mod walk;
mod way;

use std::collections::HashMap;

use brolga_ir::DType;

use self::walk::Walk;
use crate::diagnostics::Diagnostic;
use crate::expr::Expr;
use crate::graph::builder::{Builder, Numbering};
use crate::graph::frames::Frame;
use crate::graph::loops::{NamedCarry, Next};
use crate::graph::value::{Fault, Tensor, Val};
use crate::model::tree::ScanStep;
use crate::source::{Span, Spanned};

impl Builder<'_> {
    /// Runs a loop under its name, which is empty if it has none: its layers stand among those around then.
    pub(in crate::graph) fn scan(&mut self, step: &ScanStep, name: &str, span: Span) {
        let path = self.full_name(name);
        let way = self.way(step, span);
        self.graph.enter(&path, &self.source, span);
        // What it offered when the body was run before: each step of an entry runs it.
        self.loops.forget(&path);
        let (length, reverse) = way.as_ref().map_or((1, false), |way| (way.length, way.reverse));
        let number = self.open_loop(length, reverse);
        let level = self.values.enter();
        let mut walk = Walk { step, way, name, path, position: None, number, level, span };
        let frame = self.step_frame(&mut walk);
        // An import ends behind a loop, or before it, not in a step.
        let outer_until = self.until.take();
        self.in_frame(frame, |builder| {
            let inside = |builder: &mut Builder| {
                builder.run(&step.body);
                step.until.as_ref().map(|until| (builder.eval(until), until.span))
            };
            let until = match name {
                "" => inside(builder),
                _ => builder.in_scope(name, Numbering::Kind(HashMap::new()), inside),
            };
            builder.graph.enter(&walk.path, &builder.source, span);
            if builder.leave(&walk, until).is_none() {
                builder.abandon(&walk);
            }
        });
        self.until = outer_until;
    }

    /// The names that one step sees: its part of each sequence, and its position. The first part is the current value.
    fn step_frame(&mut self, walk: &mut Walk) -> Frame {
        let mut frame = Frame { parent: Some(self.frame), ..Frame::default() };
        let over = walk.step.over.iter().flatten();
        match &walk.way {
            Some(way) => {
                for (number, (name, sequence)) in way.sequences.iter().enumerate() {
                    let label = name.as_ref().map_or("x", |name| name.value.as_str());
                    let part = Val::Tensor(self.step_of(label, *sequence));
                    if number == 0 {
                        self.current = part.clone();
                    }
                    if let Some(name) = name {
                        frame.names.insert(name.value.clone(), (part, name.span));
                    }
                }
                if walk.step.index.is_some() || way.lengths.is_some() {
                    walk.position = self.position_of_step(way.length);
                }
            }
            None => {
                over.filter_map(|(name, _)| name.as_ref())
                    .for_each(|name| frame.names.insert(name.value.clone(), (Val::Unknown, name.span)));
                self.current = Val::Unknown;
            }
        }
        if let Some(index) = &walk.step.index {
            let value = walk.position.map_or(Val::Unknown, Val::Tensor);
            if frame.names.get(&index.value).is_some() {
                let message = format!("`{}` names a sequence and the position", index.value);
                self.fail(Fault::new(message).help("give the position another name"), index.span);
            }
            frame.names.insert(index.value.clone(), (value, index.span));
        }
        frame
    }

    /// The position of this step among so many, `i32[]`.
    fn position_of_step(&mut self, length: usize) -> Option<Tensor> {
        let positions = self.ops().b.iota(DType::I32, &[length], 0).ok()?;
        Some(self.step_of("position", positions))
    }

    /// Leaves a loop in which there is a mistake: what has been named in it is unknown.
    fn abandon(&mut self, walk: &Walk) {
        self.drop_loop(walk.number);
        let named = self.values.leave(walk.level);
        if !walk.name.is_empty() {
            let inside = format!("{}.", walk.path);
            let names = named.iter().filter_map(|(path, _)| path.strip_prefix(&inside));
            let paths = names.flat_map(|name| [format!("{inside}{name}"), format!("{inside}last.{name}")]);
            let paths: Vec<String> = paths.chain([format!("{inside}steps")]).collect();
            self.values.extend(paths.into_iter().map(|path| (path, Val::Unknown)));
        }
        self.current = Val::Unknown;
    }

    /// Declares a carry of the innermost loop. From here on `prev.<name>` is what it was before this step, and the name itself
    /// stands for nothing until it is given.
    pub(super) fn declare_carry(
        &mut self,
        name: &Spanned<String>,
        start: &Expr,
        kept: Option<&Expr>,
        span: Span,
    ) {
        self.loops.starting = true;
        let value = self.eval(start);
        let kept_rows = kept.map(|kept| (self.eval(kept), kept.span));
        self.loops.starting = false;
        let frame = self.body_frame();
        let Some(number) = self.loops.innermost().map(|open| open.number) else {
            let fault = Fault::new(format!("there is no loop around the carry `{}`", name.value));
            self.fail(
                fault.help("a `Carry` stands in the body of a `Scan`, or in a block that is used there"),
                span,
            );
            return;
        };
        if let Some(first) = self.first_of(frame, &name.value) {
            let message = format!("`{}` is defined twice", name.value);
            let diagnostic = Diagnostic::new(&self.source, name.span, message);
            let help =
                "give it another name; a block that is used several times keeps carries of its own each time";
            self.report(diagnostic.elsewhere(&self.source, first, "it is first defined").help(help));
            return;
        }
        let start = self.start_of(&name.value, value, start.span, number);
        let (start, kept) = match (start, kept_rows) {
            (Some(start), Some((rows, span))) => self.kept_start(&name.value, start, rows, span).unzip(),
            (start, _) => (start, None),
        };
        let kept = kept.flatten();
        let before = start.map(|start| self.carry(&name.value, start));
        let (place, path) = ((self.source.clone(), name.span), self.full_name(&name.value));
        let Some(open) = self.loops.innermost() else { return };
        let carry = before.map(|_| open.carries.len() - 1);
        open.named.push(NamedCarry {
            name: name.value.clone(),
            path,
            place,
            carry,
            kept,
            next: Next::Missing,
        });
        let carry = (number, open.named.len() - 1);
        let value = before.map_or(Val::Unknown, Val::Tensor);
        self.frames[frame].names.insert(format!("prev.{}", name.value), (value, name.span));
        self.frames[frame].carried.insert(name.value.clone(), carry);
    }

    /// Where a name of the frame is defined, be it a carry.
    fn first_of(&self, frame: usize, name: &str) -> Option<Span> {
        let names = &self.frames[frame].names;
        let known = names.get(&format!("prev.{name}")).or_else(|| names.get(name));
        known.map(|(_, first)| *first)
    }

    /// The start of a carry as a tensor: a number is an `f32[]` or `i32[]`.
    fn start_of(&mut self, name: &str, value: Val, span: Span, number: u32) -> Option<Tensor> {
        let float = self.float();
        let given = Spanned::new(value, span);
        let result = match &given.value {
            Val::Unknown => return None,
            Val::Tensor(tensor) => Ok(*tensor),
            Val::Int(_) => self.ops().literal(&given, DType::I32),
            Val::Float(_) => self.ops().literal(&given, float),
            Val::Bool(_) | Val::List(_) => self.ops().tensor(&given),
            other => {
                let message =
                    format!("the start of `{name}` must be a tensor or a number, found {}", other.describe());
                Err(Fault::new(message))
            }
        };
        let start = result.map_err(|fault| self.fail(fault, span)).ok()?;
        if self.loops.owner(&self.graph.graph, start) == number {
            let fault = Fault::new(format!("the start of `{name}` depends on a step"));
            let fault =
                fault.note("it is what the carry is before the first step, so it is known before the loop");
            self.fail(
                fault.help(format!("what a step makes of it is named behind: `Let(\"{name}\", ...)`")),
                span,
            );
            return None;
        }
        Some(start)
    }
}
