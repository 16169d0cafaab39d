//! What an entry does behind the body: the steps of training, updates of state.

use brolga_ir::DType;
use brolga_ir::ops::{Op, Role, StopGradient};

use super::memory::OptimizerMemory;
use super::opening::Base;
use crate::graph::builder::Builder;
use crate::graph::uses::EntryUse;
use crate::graph::value::{Built, Tensor};
use crate::model::tree::{Action, Minimize, Outputs};
use crate::source::Span;

impl Builder<'_> {
    /// What a `Train` does behind the body: the loss and the metrics, then one step of gradient descent.
    pub(super) fn train_step(
        &mut self,
        entry: &EntryUse,
        minimize: &Minimize,
        metrics: &Outputs,
        span: Span,
    ) {
        let loss = self.loss(&minimize.loss);
        self.add_loss(loss);
        self.metrics(metrics);
        let memory = self.memory(&entry.name, 1);
        self.minimize(minimize, loss, &memory, span);
        self.count(&memory, span);
        self.count_step(span);
    }

    /// The output `loss`, if there is one.
    pub(super) fn add_loss(&mut self, loss: Option<Tensor>) {
        if let Some(loss) = loss {
            self.graph.graph.add_output("loss", Role::Data, loss);
        }
    }

    /// The steps of an entry. Each sees the state that the ones before it left, as mere values.
    pub(super) fn steps(&mut self, used: &EntryUse, base: &Base, steps: &[Action], keeps: bool) {
        let tree = self.tree.clone();
        let entry = used.entry(&tree);
        let mut minimized = 0;
        for (position, step) in steps.iter().enumerate() {
            if position > 0 {
                self.settle(entry.span);
                self.freeze(used, governing(steps, position));
                self.forward(base, Some(entry), keeps);
            }
            minimized += usize::from(matches!(step, Action::Minimize(_)));
            self.action(step, &used.name, minimized);
        }
    }

    /// Cuts what the steps so far have left of the state from how it was computed, so that no gradient of a later step goes
    /// through an earlier update. The values still say which state they are.
    fn settle(&mut self, span: Span) {
        for (name, value) in self.slots.updates() {
            // Values of earlier steps have been cut off already.
            let op = &self.graph.graph.node(value.node).op;
            if matches!(op, Op::StopGradient(StopGradient { state: Some(state) }) if *state == name) {
                continue;
            }
            self.graph.enter(&format!("settled.{name}"), &self.source.clone(), span);
            match self.ops().settled(&name, value) {
                Ok(value) => self.slots.set(&name, value),
                Err(fault) => {
                    self.fail(fault, span);
                }
            }
        }
    }

    /// One step of an entry; `minimized` counts its gradient steps up to this one.
    fn action(&mut self, action: &Action, entry: &str, minimized: usize) {
        match action {
            Action::Minimize(minimize) => {
                let loss = self.loss(&minimize.loss);
                let memory = self.memory(entry, minimized);
                self.minimize(minimize, loss, &memory, minimize.loss.span);
            }
            Action::Update(new) => self.update(new),
        }
    }

    /// The counts behind the steps of an entry: its own where it has gradient steps, and `step` where it is in training mode.
    pub(super) fn count_steps(&mut self, entry: &EntryUse, steps: &[Action], train: bool, span: Span) {
        if steps.iter().any(|step| matches!(step, Action::Minimize(_))) {
            let memory = self.memory(&entry.name, 1);
            self.count(&memory, span);
        }
        if train {
            self.count_step(span);
        }
    }

    /// The entry's own count of its runs becomes one more, where an output needs what is drawn by it; whether one does.
    pub(super) fn count_calls(&mut self, span: Span) -> bool {
        let name = self.calls_name();
        let Some((_, calls)) = self.slots.get(&name) else { return false };
        if !self.graph.graph.is_used(calls.node) {
            return false;
        }
        self.graph.enter("calls", &self.source.clone(), span);
        self.one_more(&name, Ok(calls), span);
        if let Some((_, next)) = self.slots.get(&name) {
            self.graph.graph.add_output(&name, Role::State, next);
        }
        true
    }

    /// `step` becomes one more.
    fn count_step(&mut self, span: Span) {
        self.graph.enter("step", &self.source.clone(), span);
        let step = self.step_count();
        self.one_more("step", step, span);
    }

    /// An entry's own count of updates, where it has one, becomes one more.
    fn count(&mut self, memory: &OptimizerMemory, span: Span) {
        if let Some(name) = &memory.count {
            self.graph.enter("step", &self.source.clone(), span);
            let count = self.updates_done(memory);
            self.one_more(name, count, span);
        }
    }

    fn one_more(&mut self, name: &str, count: Built, span: Span) {
        let next = count.and_then(|count| {
            let mut ops = self.ops();
            let one = ops.int_scalar(1, DType::I64)?;
            ops.add(count, one)
        });
        match next {
            Ok(next) => self.slots.set(name, next),
            Err(fault) => {
                self.fail(fault, span);
            }
        }
    }
}

/// The gradient step whose frozen groups hold where the step of that number is taken: itself, or for others the next one, else the
/// last before.
pub(super) fn governing(steps: &[Action], position: usize) -> Option<&Minimize> {
    let (before, from) = steps.split_at(position.min(steps.len()));
    from.iter().chain(before.iter().rev()).find_map(Action::minimize)
}
