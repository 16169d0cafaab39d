//! The step `Update` of entries and bodies: state becomes what expressions say.
//!
//! ```text
//! Update({ "w": "0.9 * it + g", "fine.*": "parameter('pre.*')" })
//! ```
//!
//! `it` is the old value. All values are computed from what was before the step. Of a pattern with a `*` each state whose name fits
//! is one, and a `*` in `parameter('...')` is what the first one stands for.

use brolga_ir::Type;

use crate::diagnostics::Diagnostic;
use crate::expr::{Expr, Template};
use crate::graph::builder::Builder;
use crate::graph::names::starred;
use crate::graph::state::{Slot, SlotKind};
use crate::graph::value::{Fault, Tensor, Val};
use crate::model::tree::NewState;
use crate::source::Span;

/// A piece of state that becomes another value.
struct Target {
    name: String,
    ty: Type,
    now: Tensor,
    /// What the `*` of the pattern stands for, if it has one.
    star: Option<String>,
}

impl Builder<'_> {
    /// An `Update` among the steps of a body: like running statistics it acts in training. The current value stays what it is.
    pub(in crate::graph) fn update_in_body(&mut self, all: &[NewState], span: Span) {
        if self.loops.innermost().is_some() {
            let fault = Fault::new("an `Update` does not stand in a loop");
            self.fail(fault.help("what changes from step to step is a `Carry`; behind the loop its last value is `loop.last.x`"), span);
            return;
        }
        // Elsewhere it is looked at all the same.
        let new = self.new_states(all);
        if self.scope_trains() {
            self.set_states(new);
        }
    }

    /// Sets all states of an `Update`.
    pub(in crate::graph) fn update(&mut self, all: &[NewState]) {
        let new = self.new_states(all);
        self.set_states(new);
    }

    fn set_states(&mut self, new: Vec<(String, Tensor)>) {
        for (name, value) in new {
            self.slots.set(&name, value);
        }
    }

    /// What the states of an `Update` become, each of them once.
    fn new_states(&mut self, all: &[NewState]) -> Vec<(String, Tensor)> {
        let mut new: Vec<(String, Tensor)> = Vec::new();
        for NewState { state, value } in all {
            let targets = self.targets(state);
            if targets.is_empty() {
                // Both are looked at, whatever is wrong with the other.
                self.eval_with(Val::Unknown, None, value);
            }
            for target in targets {
                if new.iter().any(|(name, _)| *name == target.name) {
                    self.fail(
                        Fault::new(format!("`{}` is updated twice in one step", target.name)),
                        state.span,
                    );
                    continue;
                }
                new.extend(self.new_value(&target, value).map(|value| (target.name, value)));
            }
        }
        new
    }

    /// What an expression makes of a state; nothing after a mistake, which is reported.
    fn new_value(&mut self, target: &Target, value: &Expr) -> Option<Tensor> {
        let evaluated = self.eval_with(Val::Tensor(target.now), target.star.clone(), value);
        let tensor = self.as_tensor_of(evaluated, target.ty.dtype, value.span)?;
        let found = self.ops().ty(tensor);
        if found != target.ty {
            let message = format!("`{}` is {}, but its new value is {found}", target.name, target.ty);
            self.fail(Fault::new(message), value.span);
            return None;
        }
        Some(tensor)
    }

    /// An expression where the current value is this, and a `*` in names of state stands for that.
    fn eval_with(&mut self, current: Val, star: Option<String>, expr: &Expr) -> Val {
        let current = std::mem::replace(&mut self.current, current);
        let star = std::mem::replace(&mut self.star, star);
        let value = self.eval(expr);
        (self.current, self.star) = (current, star);
        value
    }

    /// The states that a path or a pattern of paths fits.
    fn fitting(&self, path: &str) -> Vec<Target> {
        let fits = |name: &str, kind: SlotKind| {
            let own = matches!(kind, SlotKind::Parameter | SlotKind::Buffer);
            name == path || own && starred(path, name).is_some()
        };
        let list = self.slots.list().iter().filter(|slot| fits(&slot.name, slot.kind));
        let target = |slot: &Slot| {
            let now = self.slots.get(&slot.name)?.1;
            let star = starred(path, &slot.name).map(str::to_owned);
            Some(Target { name: slot.name.clone(), ty: slot.ty.clone(), now, star })
        };
        list.filter_map(target).collect()
    }

    /// The states that a name or a pattern means, in the innermost scope that has any; none after a mistake, which is reported.
    fn targets(&mut self, state: &Template) -> Vec<Target> {
        let Some(name) = self.fill(state) else { return Vec::new() };
        if name.matches('*').count() > 1 {
            self.fail(Fault::new(format!("`{name}` has more than one `*`")), state.span);
            return Vec::new();
        }
        let pattern = name.contains('*');
        let targets =
            self.paths_of(&name).map(|path| self.fitting(&path)).find(|targets| !targets.is_empty());
        let targets = targets.unwrap_or_default();
        if targets.is_empty() && !self.misses(&name) {
            let names: Vec<String> = self.slots.list().iter().map(|slot| slot.name.clone()).collect();
            let what = if pattern { "no state has a name like" } else { "there is no state" };
            let diagnostic = Diagnostic::new(&self.source, state.span, format!("{what} `{name}`"))
                .suggest(&name, names.iter().map(String::as_str));
            self.report(diagnostic);
        }
        targets
    }
}
