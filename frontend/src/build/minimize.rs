//! One step of gradient descent: gradients, clipping, decay, the optimiser, for each group of parameters.

use brolga_ir::DType;

use super::Builder;
use super::ops::Tensor;
use super::value::{Args, Built, Fault, Val};
use crate::diagnostics::Diagnostic;
use crate::expr::{Expr, ExprKind};
use crate::model::Minimize;
use crate::optimizers::{self, Update, schedule};
use crate::source::Span;

impl Builder<'_> {
    /// One step of gradient descent.
    pub fn minimize(&mut self, minimize: &Minimize, loss: Tensor, span: Span) {
        let optimizer = minimize.kind;
        let args = self.evaluate(optimizer.signature.parameters, &minimize.optimizer.value);
        let plans = self.plans(minimize);
        let clip = minimize.clip.as_ref().map(|clip| self.clip_limit(clip));
        let (Some(args), Some(plans)) = (args, plans) else { return };
        let clip = match clip {
            Some(None) => return,
            Some(Some(clip)) => Some(clip),
            None => None,
        };
        let trained: Vec<&Plan> = plans.iter().filter(|plan| !plan.frozen).collect();
        if trained.is_empty() {
            let place = minimize.of.first().map_or(span, |pattern| pattern.span);
            self.fail(Fault::new("there is no parameter to train"), place);
            return;
        }
        if !self.depends(loss, &trained) {
            let message = "the loss does not depend on any parameter that is trained";
            self.fail(Fault::new(message), minimize.loss.span);
            return;
        }
        if let Err(fault) = self.descend(minimize, loss, &trained, &args, clip) {
            self.fail(fault, minimize.optimizer.span);
        }
    }

    /// Whether any of these parameters is an operand of what the loss is computed from.
    fn depends(&self, loss: Tensor, plans: &[&Plan]) -> bool {
        let graph = &self.graph.graph;
        let reads = |value: &Tensor| plans.iter().any(|plan| plan.value == *value);
        reads(&loss)
            || graph.order_from([loss]).into_iter().any(|id| graph.node(id).operands.iter().any(reads))
    }

    fn descend(
        &mut self,
        minimize: &Minimize,
        loss: Tensor,
        plans: &[&Plan],
        args: &Args,
        clip: Option<(bool, f64)>,
    ) -> Built<()> {
        let optimizer = minimize.kind;
        let source = self.source.clone();
        let place = minimize.optimizer.span;
        self.graph.enter("gradient", &source, place);
        let parameters: Vec<Tensor> = plans.iter().map(|plan| plan.value).collect();
        let mut gradients = self.ops().gradient(loss, &parameters)?;
        match clip {
            Some((true, max)) => optimizers::clip::by_norm(&mut self.ops(), &mut gradients, max)?,
            Some((false, max)) => optimizers::clip::by_value(&mut self.ops(), &mut gradients, max)?,
            None => {}
        }
        self.graph.enter("optimizer", &source, place);
        let step = self.step_count()?;
        let mut ops = self.ops();
        let done = ops.convert(step, DType::F64)?;
        let time = ops.add_num(done, 1.0)?;
        let lr = schedule::rate(&mut ops, args, "lr", optimizer.lr, done)?;
        let decay = args.float_in("weight_decay", 0.0, 0.0, f64::MAX)?;
        let l1 = args.float_in("l1", 0.0, 0.0, f64::MAX)?;
        let mut updated = Vec::new();
        for (plan, &gradient) in plans.iter().zip(&gradients) {
            self.graph.enter(&format!("optimizer.{}", plan.name), &source, place);
            let decay = plan.weight_decay.unwrap_or(decay);
            let mut ops = self.ops();
            let lr = ops.mul_num(lr, plan.lr)?;
            let coupled = if optimizer.decoupled { 0.0 } else { decay };
            let gradient = optimizers::add_decay(&mut ops, gradient, plan.value, coupled, l1)?;
            let mut update = Update {
                builder: self,
                name: &plan.name,
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
        let mut groups = Vec::new();
        for group in &minimize.groups {
            let mut number = |expr: &Option<Expr>, what: &str| {
                let expr = expr.as_ref()?;
                let value = self.eval(expr);
                match value.as_float() {
                    Some(number) if number.is_finite() && number >= 0.0 => Some(number),
                    _ => {
                        good = false;
                        if !value.is_unknown() {
                            let message =
                                format!("`{what}` must be a number from 0 on, found {}", value.describe());
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
                    good = false;
                    if !other.is_unknown() {
                        let message = format!("`frozen` must be true or false, found {}", other.describe());
                        self.fail(Fault::new(message), span);
                    }
                    false
                }
            };
            groups.push((&group.pattern, lr, weight_decay, frozen));
        }
        let parameters = self.slots.parameters();
        for pattern in minimize.of.iter().chain(minimize.groups.iter().map(|group| &group.pattern)) {
            if !parameters.iter().any(|(name, _)| matches(&pattern.value, name)) {
                good = false;
                if !self.has_mistakes() {
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
        for (name, value) in parameters {
            if !chosen(&name) {
                continue;
            }
            let group = groups.iter().find(|(pattern, ..)| matches(&pattern.value, &name));
            plans.push(Plan {
                value,
                lr: group.and_then(|group| group.1).unwrap_or(1.0),
                weight_decay: group.and_then(|group| group.2),
                frozen: group.is_some_and(|group| group.3),
                name,
            });
        }
        good.then_some(plans)
    }

    /// Whether to clip by norm, and the limit.
    fn clip_limit(&mut self, clip: &Expr) -> Option<(bool, f64)> {
        let ExprKind::Call { function, positional, .. } = &clip.kind else { return None };
        let limit = positional.first()?;
        let value = self.eval(limit);
        match value.as_float() {
            Some(max) if max.is_finite() && max > 0.0 => Some((function.value == "ClipNorm", max)),
            _ => {
                if !value.is_unknown() {
                    let message = format!("a limit must be a number above 0, found {}", value.describe());
                    self.fail(Fault::new(message), limit.span);
                }
                None
            }
        }
    }
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
fn matches(pattern: &str, name: &str) -> bool {
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
