//! Opens and closes loops. The steps of the language, and layers that are loops, say between both what one step computes.

use brolga_ir::graph::NodeId;
use brolga_ir::ops::{Role, Scan};
use brolga_ir::{DType, Type};

use super::PLACEHOLDER;
use super::open::{Carried, OpenLoop, Slice};
use super::outline::{Port, outline};
use crate::diagnostics::Diagnostic;
use crate::graph::builder::Builder;
use crate::graph::value::{Built, Fault, Tensor};

/// What a loop gives.
pub(crate) struct Behind {
    /// What each carry is behind the last step, in the order in which they were made.
    pub carries: Vec<Tensor>,
    /// The values that were asked for, of all steps, which lie along axis 0.
    pub stacked: Vec<Tensor>,
}

impl Builder<'_> {
    /// Opens a loop of so many steps; what is built until [`Self::close_loop`] is one of them. Its number.
    pub(in crate::graph) fn open_loop(&mut self, length: usize, reverse: bool) -> u32 {
        let (first, changes) = (self.graph.graph.len(), self.slots.changes());
        self.loops.open(first, length, reverse, changes)
    }

    /// Leaves a loop that cannot be built for a mistake, if it is open still.
    pub(in crate::graph) fn drop_loop(&mut self, number: u32) {
        let Some(open) = self.loops.open.pop_if(|open| open.number == number) else { return };
        for (name, before, _) in self.slots.changed_since(open.changes) {
            self.slots.set(&name, before);
        }
    }

    /// This step of a sequence, whose steps lie along axis 0.
    pub(in crate::graph) fn step_of(&mut self, name: &str, sequence: Tensor) -> Tensor {
        match self.loops.open.len() {
            0 => sequence,
            depth => self.step_of_loop(depth - 1, name, sequence),
        }
    }

    fn step_of_loop(&mut self, at: usize, name: &str, sequence: Tensor) -> Tensor {
        let ty = self.graph.graph.ty(sequence);
        let ty = ty.with_dims(&ty.dims[1..]);
        let step = self.placeholder(at, name, ty);
        self.loops.open[at].slices.push(Slice { name: name.to_owned(), sequence, step });
        step
    }

    fn placeholder(&mut self, at: usize, name: &str, ty: Type) -> Tensor {
        let placeholder = self.graph.graph.add_parameter(&format!("{PLACEHOLDER}{name}"), Role::Data, ty);
        self.loops.own(at, placeholder);
        placeholder
    }

    /// The type of a value that each step of the loops around has for itself, for all steps at once: theirs come first.
    pub(in crate::graph) fn for_all_steps(&self, ty: &Type) -> Type {
        let steps = self.loops.open[..self.loops.around()].iter().map(|open| open.length);
        ty.with_dims(steps.chain(ty.dims.iter().copied()).collect::<Vec<_>>())
    }

    /// This step's part of a value of all steps of the loops around.
    pub(in crate::graph) fn of_this_step(&mut self, name: &str, all: Tensor) -> Tensor {
        (0..self.loops.around()).fold(all, |rest, at| self.step_of_loop(at, name, rest))
    }

    /// Whether a value differs from step to step of the innermost loop.
    pub(in crate::graph) fn is_of_step(&mut self, value: Tensor) -> bool {
        let owner = self.loops.owner(&self.graph.graph, value);
        self.loops.innermost().is_some_and(|open| open.number == owner)
    }

    /// A value that is handed on from `start`: what stands for it before a step. [`Self::carry_on`] says what it is behind.
    pub(in crate::graph) fn carry(&mut self, name: &str, start: Tensor) -> Tensor {
        let ty = self.graph.graph.ty(start).clone();
        let Some(at) = self.loops.open.len().checked_sub(1) else { return start };
        let before = self.placeholder(at, name, ty);
        self.loops.open[at].carries.push(Carried { name: name.to_owned(), start, before, next: None });
        before
    }

    /// Says what a carry, by what stands for it before a step, is behind the step.
    pub(in crate::graph) fn carry_on(&mut self, before: Tensor, next: Tensor) {
        let carries = self.loops.open.last_mut().map(|open| &mut open.carries);
        if let Some(carried) = carries.into_iter().flatten().rfind(|carried| carried.before == before) {
            carried.next = Some(next);
        }
    }

    /// Says whether the innermost loop goes on behind this step, a `bool[]`. Without it, to its last step.
    pub(in crate::graph) fn go_on_while(&mut self, running: Tensor) -> Built<()> {
        let Some(at) = self.loops.open.len().checked_sub(1) else { return Ok(()) };
        let (name, ty) = ("running".to_owned(), Type::scalar(DType::Bool));
        let start = self.ops().full(1.0, &ty)?;
        let before = self.placeholder(at, &name, ty);
        self.loops.open[at].guard = Some(Carried { name, start, before, next: Some(running) });
        Ok(())
    }

    /// Makes a `scan` of what was built since [`Self::open_loop`]. It gives these values of each step.
    pub(in crate::graph) fn close_loop(&mut self, outputs: &[(String, Tensor)]) -> Built<Behind> {
        let Some(mut open) = self.loops.open.pop() else { return Err(Fault::new("no loop is open")) };
        let own = open.carries.len();
        let updated = self.updated_in(&mut open);
        // What says if the loop goes on is its first carry.
        let guarded = open.guard.is_some();
        if let Some(guard) = open.guard.take() {
            open.carries.insert(0, guard);
        }
        let mut ports: Vec<Port> =
            open.carries.iter().map(|carry| (carry.name.clone(), carry.before)).collect();
        ports.extend(open.slices.iter().map(|slice| (slice.name.clone(), slice.step)));
        let carried =
            open.carries.iter().map(|carry| (carry.name.clone(), carry.next.unwrap_or(carry.before)));
        let all: Vec<Port> = carried.chain(outputs.iter().cloned()).collect();
        let region = outline(&self.graph.graph, open.first, &ports, &all)?;
        let starts = open.carries.iter().map(|carry| carry.start);
        let sequences = open.slices.iter().map(|slice| slice.sequence);
        let operands: Vec<Tensor> = starts.chain(sequences).chain(region.captures).collect();
        let scan = Scan {
            body: region.body,
            length: open.length,
            carries: open.carries.len(),
            slices: open.slices.len(),
            reverse: open.reverse,
            guarded,
            segments: Default::default(),
        };
        let mut results = self.ops().b.add_nodes(scan, &operands)?;
        let stacked = results.split_off(open.carries.len());
        results.drain(..usize::from(guarded));
        for (name, value) in updated.into_iter().zip(results.split_off(own)) {
            self.slots.set(&name, value);
        }
        Ok(Behind { carries: results, stacked })
    }

    /// Reports values of one step that are used outside of their loop, if nothing else is wrong: names are checked where they are
    /// read, so this finds what no check there has seen.
    pub(in crate::graph) fn expect_no_escapes(&mut self) {
        if !self.loops.any() || self.has_mistakes() {
            return;
        }
        let order = self.graph.graph.order();
        let uses_step = |id: &NodeId| {
            let graph = &self.graph.graph;
            graph.node(*id).operands.iter().any(|operand| self.loops.is_placeholder(graph, *operand))
        };
        let Some(id) = order.into_iter().find(uses_step) else { return };
        let path = self.graph.graph.node(id).origin.path.to_string();
        let message = "a value of one step of a loop is used outside of it";
        let diagnostic = match self.graph.places.get(&path) {
            Some((source, span)) => Diagnostic::new(source, *span, message),
            None => Diagnostic::general(&self.source, message),
        };
        self.report(diagnostic);
    }

    /// Makes carries of the state that a step gives another value, such as running statistics: the next step sees it. Their names,
    /// in the order of these carries.
    fn updated_in(&self, open: &mut OpenLoop) -> Vec<String> {
        let mut names = Vec::new();
        for (name, before, now) in self.slots.changed_since(open.changes) {
            open.carries.push(Carried { name: name.clone(), start: before, before, next: Some(now) });
            names.push(name);
        }
        names
    }
}
