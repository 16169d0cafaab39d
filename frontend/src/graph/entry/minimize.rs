//! One step of gradient descent: gradients, clipping, decay, the optimiser, for each group of parameters.

use std::collections::HashSet;

use brolga_ir::DType;

use super::memory::OptimizerMemory;
use crate::diagnostics::Diagnostic;
use crate::expr::Expr;
use crate::graph::builder::Builder;
use crate::graph::names::matches;
use crate::graph::optimizers::{self, Optimizer, ParameterUpdate, schedule};
use crate::graph::value::{Args, Built, Fault, Tensor, Val};
use crate::model::structure::Clip;
use crate::model::tree::{ChosenOptimizer, Group, Minimize};
use crate::signature::Bounds;
use crate::source::{Span, Spanned};

/// What a gradient step is taken with, once all of it is known.
#[derive(Clone, Copy)]
struct Descent<'m> {
    optimizer: &'static Optimizer,
    args: &'m Args,
    clip: Option<(Clip, f64)>,
    memory: &'m OptimizerMemory,
    /// Where the optimiser is written.
    span: Span,
}

/// A parameter that is chosen for a gradient step, and how it is treated there.
struct Chosen {
    name: String,
    value: Tensor,
    treatment: ParameterTreatment,
}

/// How parameters are treated in a gradient step: what their group says, or nothing special.
#[derive(Clone, Copy, Default)]
struct ParameterTreatment {
    /// Factor of the learning rate; 1 if there is none.
    lr: Option<f64>,
    /// Instead of the optimiser's.
    weight_decay: Option<f64>,
    frozen: bool,
}

impl Builder<'_> {
    /// One step of gradient descent. Where the loss is a mistake, which has been reported, the rest is still checked.
    pub fn minimize(
        &mut self,
        minimize: &Minimize,
        loss: Option<Tensor>,
        memory: &OptimizerMemory,
        span: Span,
    ) {
        let written = minimize.optimizer.as_ref();
        let given = written.and_then(|of| Some((of, self.evaluate(of.signature, &of.arguments)?)));
        let of = self.patterns(minimize);
        let chosen = of.and_then(|of| self.chosen(minimize, &of));
        let clip = match &minimize.clip {
            Some((kind, limit)) => self.clip_limit(limit).map(|limit| Some((*kind, limit))),
            None => Some(None),
        };
        let Some((written, args)) = &given else { return };
        let Some(descent) = descent(written, args, memory) else { return };
        let (Some(loss), Some(chosen), Some(clip)) = (loss, chosen, clip) else {
            return self.rehearse(descent);
        };
        match self.trained(minimize, loss, &chosen, span) {
            Some(trained) => {
                let result = self.descend(Descent { clip, ..descent }, loss, &trained);
                self.descended(result, descent);
            }
            None => self.rehearse(descent),
        }
    }

    /// Of the chosen parameters those that are trained; a mistake, which is reported, if there are none.
    fn trained<'c>(
        &mut self,
        minimize: &Minimize,
        loss: Tensor,
        chosen: &'c [Chosen],
        span: Span,
    ) -> Option<Vec<&'c Chosen>> {
        let mut trained: Vec<&Chosen> =
            chosen.iter().filter(|parameter| !parameter.treatment.frozen).collect();
        if trained.is_empty() {
            let place = minimize.of.first().map_or(span, |pattern| pattern.span);
            if !self.has_mistakes() {
                let help = match chosen.is_empty() {
                    true => "give the model a layer with weights, such as `Linear`, or a `Parameter`",
                    false => "all of them are frozen: leave `frozen: true` out of a group",
                };
                self.fail(Fault::new("there is no parameter to train").help(help), place);
            }
            return None;
        }
        self.expect_not_updated(&trained, loss, minimize.loss.span)?;
        let read = self.read_by(loss, &HashSet::new());
        trained.retain(|parameter| read.contains(&parameter.value));
        if trained.is_empty() {
            let message = "the loss does not depend on any parameter that is trained";
            self.fail(Fault::new(message), minimize.loss.span);
            return None;
        }
        Some(trained)
    }

    /// Reports a parameter that is trained, whose value the loss reads, and which an `Update` of the body has given another one
    /// since: the gradient would be by that one, which the loss does not see. Nothing if there is one.
    fn expect_not_updated(&mut self, trained: &[&Chosen], loss: Tensor, span: Span) -> Option<()> {
        let now: HashSet<Tensor> = trained.iter().map(|parameter| parameter.value).collect();
        let read = self.read_by(loss, &now);
        let began = self.pass_began;
        let is_updated = |parameter: &&&Chosen| {
            let earlier = self.slots.earlier(&parameter.name, began);
            earlier.into_iter().any(|value| value != parameter.value && read.contains(&value))
        };
        let Some(updated) = trained.iter().find(is_updated) else { return Some(()) };
        let name = updated.name.clone();
        let fault = Fault::new(format!("the loss reads `{name}` as it was before an `Update` of the body"));
        let fault = fault
            .note("a step of training sets out from what the update has left, of which it has no gradient");
        self.fail(fault.help("put the `Update` among the steps of an `Entry`, behind its `Minimize`"), span);
        None
    }

    /// Reports what is wrong with an optimiser.
    fn descended(&mut self, result: Built<()>, descent: Descent) {
        match result {
            Ok(()) => self.report_unused(descent.args, descent.optimizer.signature.name, descent.span),
            Err(fault) => {
                self.fail(fault, descent.span);
            }
        }
    }

    /// Finds the mistakes of an optimiser where there are others in what it works on: it takes a step with one number in the
    /// place of loss and parameters.
    fn rehearse(&mut self, descent: Descent) {
        let float = self.float();
        let value = self.ops().scalar(1.0, float);
        let result = value.and_then(|value| {
            // No layer can be named so.
            let name = "a number".to_owned();
            let number = Chosen { name, value, treatment: ParameterTreatment::default() };
            self.descend(descent, value, &[&number])
        });
        self.descended(result, descent);
    }

    /// The values by which a loss has a gradient: as in PyTorch, an optimiser leaves alone what the loss does not depend
    /// on, decay included. Behind `stop_gradient` (so is what earlier steps have left), comparisons and whole numbers there
    /// is none. What lies behind the values of `ends` is not looked at.
    fn read_by(&self, loss: Tensor, ends: &HashSet<Tensor>) -> HashSet<Tensor> {
        let graph = &self.graph.graph;
        let (mut read, mut stack) = (HashSet::from([loss]), vec![loss]);
        while let Some(value) = stack.pop() {
            let node = graph.node(value.node);
            if node.op.stops_gradient() || ends.contains(&value) {
                continue;
            }
            let floats = node.operands.iter().copied().filter(|&operand| graph.ty(operand).dtype.is_float());
            stack.extend(floats.filter(|&operand| read.insert(operand)));
        }
        read
    }

    /// Every trained parameter becomes what the optimiser makes of it and its gradient.
    fn descend(&mut self, descent: Descent, loss: Tensor, trained: &[&Chosen]) -> Built<()> {
        let Descent { optimizer, args, .. } = descent;
        let source = self.source.clone();
        let gradients = self.gradients(descent, loss, trained)?;
        self.graph.enter("optimizer", &source, descent.span);
        let updates = self.updates_done(descent.memory)?;
        let mut ops = self.ops();
        let done = ops.convert(updates, DType::F64)?;
        let time = ops.add_num(done, 1.0)?;
        let lr = schedule::rate(&mut ops, args, "lr", optimizer.lr, done)?;
        let decay = args.float_or("weight_decay", 0.0)?;
        let l1 = args.float_or("l1", 0.0)?;
        let mut updated = Vec::new();
        for (parameter, &gradient) in trained.iter().zip(&gradients) {
            if self.is_full(descent.span) {
                return Ok(());
            }
            self.graph.enter(&format!("optimizer.{}", parameter.name), &source, descent.span);
            let decay = parameter.treatment.weight_decay.unwrap_or(decay);
            let (coupled, decoupled) = if optimizer.decoupled { (0.0, decay) } else { (decay, 0.0) };
            let mut ops = self.ops();
            let lr = ops.mul_num(lr, parameter.treatment.lr.unwrap_or(1.0))?;
            let gradient = optimizers::add_decay(&mut ops, gradient, parameter.value, coupled, l1)?;
            let mut update = ParameterUpdate {
                builder: self,
                name: &parameter.name,
                scope: descent.memory.scope(&parameter.name),
                parameter: parameter.value,
                gradient,
                lr,
                time,
                decay: decoupled,
            };
            updated.push((parameter.name.clone(), (optimizer.update)(&mut update, args)?));
        }
        for (name, value) in updated {
            self.slots.set(&name, value);
        }
        Ok(())
    }

    /// The gradients of the loss by the trained parameters, clipped.
    fn gradients(&mut self, descent: Descent, loss: Tensor, trained: &[&Chosen]) -> Built<Vec<Tensor>> {
        self.graph.enter("gradient", &self.source.clone(), descent.span);
        let parameters: Vec<Tensor> = trained.iter().map(|parameter| parameter.value).collect();
        let mut ops = self.ops();
        let mut gradients = ops.gradient(loss, &parameters)?;
        match descent.clip {
            Some((Clip::Norm, max)) => optimizers::clip::by_norm(&mut ops, &mut gradients, max)?,
            Some((Clip::Value, max)) => optimizers::clip::by_value(&mut ops, &mut gradients, max)?,
            None => {}
        }
        Ok(gradients)
    }

    /// The parameters that are chosen, each with its treatment; the first group that names it decides. Nothing where there is a
    /// mistake, which is reported, or one is known to be the reason.
    fn chosen(&mut self, minimize: &Minimize, of: &[Spanned<String>]) -> Option<Vec<Chosen>> {
        let mut good = true;
        let mut treatments = Vec::new();
        for group in &minimize.groups {
            treatments.push(self.treatment(group, &mut good));
        }
        let parameters = self.slots.parameters();
        good &= self.patterns_fit(minimize, of, &parameters);
        let mut chosen = Vec::new();
        let mut used = vec![false; treatments.len()];
        for (name, value) in parameters {
            if !of.is_empty() && !of.iter().any(|of| matches(&of.value, &name)) {
                continue;
            }
            let group = minimize.groups.iter().position(|group| matches(&group.pattern.value, &name));
            let treatment = group.map_or_else(ParameterTreatment::default, |at| {
                used[at] = true;
                treatments[at]
            });
            chosen.push(Chosen { name, value, treatment });
        }
        if good && !self.has_mistakes() {
            for (group, _) in minimize.groups.iter().zip(used).filter(|(_, used)| !used) {
                good = false;
                let fault = Fault::new("this group has no effect")
                    .note("its parameters belong to earlier groups, or are not trained by this step");
                self.fail(fault, group.pattern.span);
            }
        }
        good.then_some(chosen)
    }

    /// The patterns of parameters, with their expressions filled in; nothing if one is a mistake, which is reported.
    fn patterns(&mut self, minimize: &Minimize) -> Option<Vec<Spanned<String>>> {
        let filled: Vec<_> =
            minimize.of.iter().map(|of| Some(Spanned::new(self.fill(of)?, of.span))).collect();
        filled.into_iter().collect()
    }

    /// Whether each pattern names a parameter. One that does not is reported, unless a layer that would have it is missing.
    fn patterns_fit(
        &mut self,
        minimize: &Minimize,
        of: &[Spanned<String>],
        parameters: &[(String, Tensor)],
    ) -> bool {
        let mut fit = true;
        for pattern in of.iter().chain(minimize.groups.iter().map(|group| &group.pattern)) {
            if parameters.iter().any(|(name, _)| matches(&pattern.value, name)) {
                continue;
            }
            fit = false;
            if !self.misses(&pattern.value) {
                let message = format!("no parameter is named `{}`", pattern.value);
                let diagnostic = Diagnostic::new(&self.source, pattern.span, message)
                    .suggest(&pattern.value, parameters.iter().map(|(name, _)| name.as_str()))
                    .help("`*` stands for any text, as in \"layer1.*\"");
                self.report(diagnostic);
            }
        }
        fit
    }

    /// What a group says of its parameters. `good` becomes false where that is a mistake, or not known because of one.
    fn treatment(&mut self, group: &Group, good: &mut bool) -> ParameterTreatment {
        let lr = self.factor(group.lr.as_ref(), "lr", good);
        let weight_decay = self.factor(group.weight_decay.as_ref(), "weight_decay", good);
        let frozen = self.is_frozen(group, good);
        for (given, name) in [(&group.lr, "lr"), (&group.weight_decay, "weight_decay")] {
            if let (true, Some(expr)) = (frozen, given) {
                *good = false;
                let fault = Fault::new(format!("`{name}` has no effect here")).note("the group is frozen");
                self.fail(fault, expr.span);
            }
        }
        ParameterTreatment { lr, weight_decay, frozen }
    }

    /// A number of a group, from 0 on.
    fn factor(&mut self, expr: Option<&Expr>, what: &str, good: &mut bool) -> Option<f64> {
        let expr = expr?;
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
    }

    /// Whether a group is frozen.
    fn is_frozen(&mut self, group: &Group, good: &mut bool) -> bool {
        let Some(expr) = &group.frozen else { return false };
        match self.eval(expr) {
            Val::Bool(frozen) => frozen,
            other => {
                *good = false;
                if !other.is_unknown() {
                    let message = format!("`frozen` must be true or false, found {}", other.describe());
                    self.fail(Fault::new(message), expr.span);
                }
                false
            }
        }
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

/// What a gradient step is taken with, without clipping.
fn descent<'m>(
    written: &ChosenOptimizer,
    args: &'m Args,
    memory: &'m OptimizerMemory,
) -> Option<Descent<'m>> {
    let optimizer = optimizers::find(written.signature.name)?;
    Some(Descent { optimizer, args, clip: None, memory, span: written.span })
}
