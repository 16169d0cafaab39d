//! One step of gradient descent: gradients, clipping, decay, the optimiser, for each group of parameters.

use std::collections::HashSet;

use brolga_ir::DType;

use super::memory::Memory;
use crate::arguments::Bounds;
use crate::diagnostics::Diagnostic;
use crate::expr::Expr;
use crate::graph::Builder;
use crate::graph::ops::Tensor;
use crate::graph::optimizers::clip::Clip;
use crate::graph::optimizers::{self, Update, schedule};
use crate::graph::value::{Args, Built, Fault, Val};
use crate::model::{ChosenOptimizer, Group, Minimize};
use crate::source::Span;

impl Builder<'_> {
    /// One step of gradient descent. Where the loss is a mistake, which has been reported, the rest is still checked.
    pub fn minimize(&mut self, minimize: &Minimize, loss: Option<Tensor>, memory: &Memory, span: Span) {
        let optimizer = minimize.optimizer.as_ref();
        let args = optimizer.and_then(|of| Some((of, self.evaluate(&of.kind.signature, &of.arguments)?)));
        let plans = self.plans(minimize);
        let clip = match &minimize.clip {
            Some((kind, limit)) => self.clip_limit(limit).map(|limit| Some((*kind, limit))),
            None => Some(None),
        };
        let Some((optimizer, args)) = args else { return };
        let (Some(loss), Some(plans), Some(clip)) = (loss, plans, clip) else {
            return self.rehearse(optimizer, &args, memory);
        };
        let mut trained: Vec<&Plan> = plans.iter().filter(|plan| !plan.frozen).collect();
        if trained.is_empty() {
            let place = minimize.of.first().map_or(span, |pattern| pattern.span);
            if !self.has_mistakes() {
                let help = match plans.is_empty() {
                    true => "give the model a layer with weights, such as `Linear`, or a `Parameter`",
                    false => "all of them are frozen: leave `frozen: true` out of a group",
                };
                self.fail(Fault::new("there is no parameter to train").help(help), place);
            }
            return self.rehearse(optimizer, &args, memory);
        }
        let read = self.read_by(loss);
        trained.retain(|plan| read.contains(&plan.value));
        if trained.is_empty() {
            let message = "the loss does not depend on any parameter that is trained";
            self.fail(Fault::new(message), minimize.loss.span);
            return self.rehearse(optimizer, &args, memory);
        }
        let result = self.descend(optimizer, loss, &trained, &args, clip, memory);
        self.descended(result, optimizer, &args);
    }

    /// Reports what is wrong with an optimiser.
    fn descended(&mut self, result: Built<()>, optimizer: &ChosenOptimizer, args: &Args) {
        match result {
            Ok(()) => self.report_unused(args, optimizer.kind.signature.name, optimizer.span),
            Err(fault) => {
                self.fail(fault, optimizer.span);
            }
        }
    }

    /// Finds the mistakes of an optimiser where there are others in what it works on: it takes a step with one number in the
    /// place of loss and parameters.
    fn rehearse(&mut self, optimizer: &ChosenOptimizer, args: &Args, memory: &Memory) {
        let float = self.float();
        let value = self.ops().scalar(1.0, float);
        let result = value.and_then(|value| {
            // No layer can be named so.
            let name = "a number".to_owned();
            let plan = Plan { name, value, lr: 1.0, weight_decay: None, frozen: false };
            self.descend(optimizer, value, &[&plan], args, None, memory)
        });
        self.descended(result, optimizer, args);
    }

    /// The values by which a loss has a gradient: as in PyTorch, an optimiser leaves alone what the loss does not depend
    /// on, decay included. Behind `stop_gradient` (so is what earlier steps have left), comparisons and whole numbers there
    /// is none.
    fn read_by(&self, loss: Tensor) -> HashSet<Tensor> {
        let graph = &self.graph.graph;
        let (mut read, mut stack) = (HashSet::from([loss]), vec![loss]);
        while let Some(value) = stack.pop() {
            let node = graph.node(value.node);
            if node.op.stops_gradient() {
                continue;
            }
            let floats = node.operands.iter().copied().filter(|&operand| graph.ty(operand).dtype.is_float());
            stack.extend(floats.filter(|&operand| read.insert(operand)));
        }
        read
    }

    fn descend(
        &mut self,
        chosen: &ChosenOptimizer,
        loss: Tensor,
        plans: &[&Plan],
        args: &Args,
        clip: Option<(Clip, f64)>,
        memory: &Memory,
    ) -> Built<()> {
        let (optimizer, place) = (chosen.kind, chosen.span);
        let source = self.source.clone();
        self.graph.enter("gradient", &source, place);
        let parameters: Vec<Tensor> = plans.iter().map(|plan| plan.value).collect();
        let mut gradients = self.ops().gradient(loss, &parameters)?;
        match clip {
            Some((Clip::Norm, max)) => optimizers::clip::by_norm(&mut self.ops(), &mut gradients, max)?,
            Some((Clip::Value, max)) => optimizers::clip::by_value(&mut self.ops(), &mut gradients, max)?,
            None => {}
        }
        self.graph.enter("optimizer", &source, place);
        let updates = self.updates_done(memory)?;
        let mut ops = self.ops();
        let done = ops.convert(updates, DType::F64)?;
        let time = ops.add_num(done, 1.0)?;
        let lr = schedule::rate(&mut ops, args, "lr", optimizer.lr, done)?;
        let decay = args.float_or("weight_decay", 0.0)?;
        let l1 = args.float_or("l1", 0.0)?;
        let mut updated = Vec::new();
        for (plan, &gradient) in plans.iter().zip(&gradients) {
            if self.is_full(place) {
                return Ok(());
            }
            self.graph.enter(&format!("optimizer.{}", plan.name), &source, place);
            let decay = plan.weight_decay.unwrap_or(decay);
            let mut ops = self.ops();
            let lr = ops.mul_num(lr, plan.lr)?;
            let coupled = if optimizer.decoupled { 0.0 } else { decay };
            let gradient = optimizers::add_decay(&mut ops, gradient, plan.value, coupled, l1)?;
            let mut update = Update {
                builder: self,
                name: &plan.name,
                scope: memory.scope(&plan.name),
                parameter: plan.value,
                gradient,
                lr,
                time,
                decay: if optimizer.decoupled { decay } else { 0.0 },
            };
            updated.push((plan.name.clone(), (optimizer.update)(&mut update, args)?));
        }
        for (name, value) in updated {
            self.slots.set(&name, value);
        }
        Ok(())
    }

    /// How each chosen parameter is treated; the first group that names it decides.
    fn plans(&mut self, minimize: &Minimize) -> Option<Vec<Plan>> {
        let mut good = true;
        let mut treatments = Vec::new();
        for group in &minimize.groups {
            treatments.push(self.treatment(group, &mut good));
        }
        let parameters = self.slots.parameters();
        for pattern in minimize.of.iter().chain(minimize.groups.iter().map(|group| &group.pattern)) {
            if !parameters.iter().any(|(name, _)| matches(&pattern.value, name)) {
                good = false;
                if !self.misses(&pattern.value) {
                    let message = format!("no parameter is named `{}`", pattern.value);
                    let diagnostic = Diagnostic::new(&self.source, pattern.span, message)
                        .suggest(&pattern.value, parameters.iter().map(|(name, _)| name.as_str()))
                        .help("`*` stands for any text, as in \"layer1.*\"");
                    self.report(diagnostic);
                }
            }
        }
        let chosen =
            |name: &str| minimize.of.is_empty() || minimize.of.iter().any(|of| matches(&of.value, name));
        let mut plans = Vec::new();
        let mut used = vec![false; treatments.len()];
        for (name, value) in parameters {
            if !chosen(&name) {
                continue;
            }
            let group = minimize.groups.iter().position(|group| matches(&group.pattern.value, &name));
            let treatment = group.map(|at| {
                used[at] = true;
                treatments[at]
            });
            let treatment = treatment.unwrap_or_default();
            plans.push(Plan {
                value,
                lr: treatment.lr.unwrap_or(1.0),
                weight_decay: treatment.weight_decay,
                frozen: treatment.frozen,
                name,
            });
        }
        if good && !self.has_mistakes() {
            for (group, _) in minimize.groups.iter().zip(used).filter(|(_, used)| !used) {
                good = false;
                let fault = Fault::new("this group has no effect")
                    .note("its parameters belong to earlier groups, or are not trained by this step");
                self.fail(fault, group.pattern.span);
            }
        }
        good.then_some(plans)
    }

    /// What a group says of its parameters. `good` becomes false where that is a mistake, or not known because of one.
    fn treatment(&mut self, group: &Group, good: &mut bool) -> Treatment {
        let mut number = |expr: &Option<Expr>, what: &str| {
            let expr = expr.as_ref()?;
            let value = self.eval(expr);
            match value.as_float() {
                Some(number) if Bounds::NOT_NEGATIVE.hold(number) => Some(number),
                found => {
                    *good = false;
                    if !value.is_unknown() {
                        let expected = Bounds::NOT_NEGATIVE.expected(found.unwrap_or(-1.0));
                        let message = format!("`{what}` must be {expected}, found {}", value.describe());
                        self.fail(Fault::new(message), expr.span);
                    }
                    None
                }
            }
        };
        let lr = number(&group.lr, "lr");
        let weight_decay = number(&group.weight_decay, "weight_decay");
        let frozen = match group.frozen.as_ref().map(|expr| (self.eval(expr), expr.span)) {
            None => false,
            Some((Val::Bool(frozen), _)) => frozen,
            Some((other, span)) => {
                *good = false;
                if !other.is_unknown() {
                    let message = format!("`frozen` must be true or false, found {}", other.describe());
                    self.fail(Fault::new(message), span);
                }
                false
            }
        };
        for (given, name) in [(&group.lr, "lr"), (&group.weight_decay, "weight_decay")] {
            if let (true, Some(expr)) = (frozen, given) {
                *good = false;
                let fault = Fault::new(format!("`{name}` has no effect here")).note("the group is frozen");
                self.fail(fault, expr.span);
            }
        }
        Treatment { lr, weight_decay, frozen }
    }

    /// The limit of clipping.
    fn clip_limit(&mut self, limit: &Expr) -> Option<f64> {
        let value = self.eval(limit);
        match value.as_float() {
            Some(max) if Bounds::POSITIVE.hold(max) => Some(max),
            found => {
                if !value.is_unknown() {
                    let expected = Bounds::POSITIVE.expected(found.unwrap_or(0.0));
                    let message = format!("a limit must be {expected}, found {}", value.describe());
                    self.fail(Fault::new(message), limit.span);
                }
                None
            }
        }
    }
}

/// What a group says of its parameters.
#[derive(Clone, Copy, Default)]
struct Treatment {
    /// Factor of the learning rate.
    lr: Option<f64>,
    weight_decay: Option<f64>,
    frozen: bool,
}

/// The treatment of one parameter in a gradient step.
struct Plan {
    name: String,
    value: Tensor,
    /// Factor of the learning rate.
    lr: f64,
    weight_decay: Option<f64>,
    frozen: bool,
}

/// Whether `name` fits a pattern, in which `*` stands for any text.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let pieces: Vec<&str> = pieces.collect();
    let Some((last, middle)) = pieces.split_last() else { return rest.is_empty() };
    for piece in middle {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns() {
        assert!(matches("fc.*", "fc.weight") && matches("*", "x") && matches("a*b*c", "aXbYc"));
        assert!(matches("fc.weight", "fc.weight") && matches("*.bias", "layer1.0.bias"));
        assert!(!matches("fc.*", "conv.weight") && !matches("a*b", "aXc") && !matches("fc", "fc.weight"));
    }
}
