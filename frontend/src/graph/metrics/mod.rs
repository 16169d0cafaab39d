//! Metrics of an entry: means over the samples, and formulas of totals.
//!
//! A batch's run gives the mean of a metric over its samples, or the sums that it is a formula of; whoever runs the entry over
//! a set puts these together. So `total(x)` stands in a metric as a parameter `total.<n>`, and what it sums up becomes an
//! output of that name, in parts along its first axis (`f64[parts, ...]`). Metrics made of totals move into a graph of
//! their own, `<entry>.metrics`: from totals, and means by their names, to all metrics of the entry.
//!
//! The loss of an evaluation is that of the whole set as one batch. A mean stays; another formula of sums becomes one of
//! totals, as the mean over weights of labels does; a loss that is none of both is left out ([`whole`]).

mod whole;

use std::collections::{HashMap, HashSet};

use brolga_ir::graph::{Graph, NodeId, Value};
use brolga_ir::ops::Role;
use brolga_ir::{DType, Type};

use super::builder::Builder;
use super::measured::{Loss, Metric, Total};
use super::names::is_total;
use super::samples::{MEAN, SUM, Share, shares};
use super::value::{Fault, Tensor};
use crate::expr::Expr;
use crate::model::tree::Outputs;
use crate::source::Span;

impl Builder<'_> {
    /// The metrics that an entry asks for, each one number.
    pub(super) fn metrics(&mut self, metrics: &Outputs) {
        self.measure(metrics, true);
        for (name, expr) in metrics {
            let graph = &self.graph.graph;
            let output = graph.outputs().iter().find(|output| output.name == name.value);
            let Some(ty) = output.map(|output| graph.ty(output.value).clone()) else { continue };
            if ty.rank() > 0 {
                let fault = Fault::new(format!("a metric is one number, found {ty}"))
                    .help("reduce it with `mean(...)`, or over the whole set with `total(...)`");
                self.fail(fault, expr.span);
            }
        }
    }

    /// The outputs of an entry that are one number, which become metrics of its evaluation if they are means. The others are
    /// dropped there.
    pub(super) fn scalar_outputs(&mut self, outputs: &Outputs) {
        self.quiet(|builder| builder.measure(outputs, false));
        let graph = &mut self.graph.graph;
        let many: HashSet<Value> =
            graph.outputs().iter().map(|o| o.value).filter(|value| graph.ty(*value).rank() > 0).collect();
        graph.outputs_mut().retain(|output| !many.contains(&output.value));
        self.measured.list.retain(|metric| !many.contains(&metric.value));
    }

    /// The loss of an evaluation, with sums in f64: no gradient is wanted of it.
    pub(super) fn measured_loss(&mut self, expr: &Expr) -> Option<Tensor> {
        self.graph.precise = true;
        let before = self.graph.sums.len();
        let value = self.loss(expr);
        self.graph.precise = false;
        let sums = self.graph.sums[before..].to_vec();
        self.measured.loss = value.map(|value| Loss { value, sums, span: expr.span });
        value
    }

    /// Evaluates metrics with sums in f64.
    fn measure(&mut self, metrics: &Outputs, asked: bool) {
        self.measured.inside = asked;
        self.measured.own = self.graph.graph.len();
        self.graph.precise = true;
        self.outputs(metrics);
        self.graph.precise = false;
        self.measured.inside = false;
        for (name, expr) in metrics {
            let outputs = self.graph.graph.outputs();
            let Some(output) = outputs.iter().find(|output| output.name == name.value) else { continue };
            let (name, value, span) = (name.value.clone(), output.value, expr.span);
            self.measured.list.push(Metric { name, value, span, asked });
        }
    }

    /// Reports metrics that are no means over the samples, and totals that are no sums of them; drops outputs that are
    /// none; makes the loss one of the whole set. `one` has built the same entry for so many samples, `twice` for twice as
    /// many; this one for `own`.
    pub(super) fn check_metrics(&mut self, one: &Builder, twice: &Builder, batch: usize, own: usize) {
        let (roots, roots_twice) = (one.measured.roots(), twice.measured.roots());
        let of = (&one.graph.graph, roots.as_slice());
        let shares = match roots.len() == roots_twice.len() {
            true => shares(of, (&twice.graph.graph, &roots_twice), batch),
            false => None,
        };
        // Where the graph has another structure for another batch, nothing is known of any value.
        let shares = shares.unwrap_or_else(|| roots.iter().map(|root| (*root, Share::Mixed)).collect());
        let mut faults = Vec::new();
        let mut dropped = HashSet::new();
        for metric in &one.measured.list {
            match not_a_mean(&metric.name, shares[&metric.value]) {
                Some(fault) if metric.asked => faults.push((fault, metric.span)),
                Some(_) => {
                    dropped.insert(metric.name.clone());
                }
                None => {}
            }
        }
        for total in &one.measured.totals {
            faults.extend(not_a_sum(shares[&total.parts]).map(|fault| (fault, total.span)));
        }
        for (fault, span) in faults {
            self.fail(fault, span);
        }
        self.graph.graph.outputs_mut().retain(|output| !dropped.contains(&output.name));
        self.whole_loss(one, &shares, batch, own);
    }

    /// Takes the metrics that are made of totals out of the graph, and gives the graph of formulas, if there are any.
    pub(super) fn formulas(&mut self) -> Option<Graph> {
        let totals = std::mem::take(&mut self.measured.totals);
        if totals.is_empty() {
            return None;
        }
        let made = made_of(&self.graph.graph, &totals);
        let (formulas, mixed) = formulas_of(&self.graph.graph, &made);
        for name in mixed {
            let span = self.measured.list.iter().find(|metric| metric.name == name).map(|metric| metric.span);
            let fault = Fault::new(format!("`{name}` mixes totals with values of a single batch"))
                .help("put `total(...)` around each of them");
            self.fail(fault, span.unwrap_or(Span::new(0, 0)));
        }
        let graph = &mut self.graph.graph;
        graph.outputs_mut().retain(|output| !made.contains(&output.value.node));
        for total in totals {
            let name = graph.parameter(total.parameter.node).map(|parameter| parameter.name.clone());
            graph.add_output(&name.unwrap_or_default(), Role::Data, total.parts);
        }
        Some(formulas)
    }
}

/// The graph from totals and means to all metrics of an entry, where `made` are the nodes that depend on totals; and the names of
/// those that cannot be made of these.
fn formulas_of(graph: &Graph, made: &HashSet<NodeId>) -> (Graph, Vec<String>) {
    let mut formulas = Graph::new(&format!("{}.metrics", graph.name));
    let mut map = HashMap::new();
    for &id in graph.parameters() {
        let Some(parameter) = graph.parameter(id) else { continue };
        if parameter.role == Role::State || is_total(&parameter.name) {
            let copy = formulas.add_parameter(&parameter.name, parameter.role, parameter.ty.clone());
            map.insert(graph.result(id), copy);
        }
    }
    let mut mixed = Vec::new();
    let numbers = graph.outputs().iter().filter(|o| o.role == Role::Data && graph.ty(o.value).rank() == 0);
    for output in numbers {
        let value = if made.contains(&output.value.node) {
            match formulas.import(graph, &[output.value], &mut map) {
                Ok(values) => values[0],
                Err(_) => {
                    mixed.push(output.name.clone());
                    continue;
                }
            }
        } else {
            formulas.add_parameter(&output.name, Role::Data, Type::scalar(DType::F64))
        };
        formulas.add_output(&output.name, Role::Data, value);
    }
    (formulas, mixed)
}

/// The nodes that depend on totals.
fn made_of(graph: &Graph, totals: &[Total]) -> HashSet<NodeId> {
    let mut made: HashSet<NodeId> = totals.iter().map(|total| total.parameter.node).collect();
    for id in graph.order() {
        if graph.node(id).operands.iter().any(|operand| made.contains(&operand.node)) {
            made.insert(id);
        }
    }
    made
}

/// Why a metric is wrong, if it is.
fn not_a_mean(name: &str, share: Share) -> Option<Fault> {
    match share {
        _ if share.is_mean() => None,
        Share::Linear(Some(SUM)) => Some(
            Fault::new(format!("`{name}` is a sum over one batch, not a mean over samples"))
                .help("`mean(...)` is the mean over all samples of a set, `total(...)` their sum"),
        ),
        Share::Fixed(_) => Some(
            Fault::new(format!("`{name}` depends on the batch, but not on its samples"))
                .help("`total(batch)` counts the samples of the whole set"),
        ),
        Share::Linear(_) | Share::Samples { .. } | Share::Mixed => Some(
            Fault::new(format!("`{name}` is not a mean over samples"))
                .note("so that of several batches together would be another number than theirs")
                .help(
                    "make it of sums over the whole set: `total(a) / total(b)` instead of `sum(a) / sum(b)`",
                ),
        ),
    }
}

/// Why a total is wrong, if it is.
fn not_a_sum(share: Share) -> Option<Fault> {
    let fault = match share {
        // Parts lie along the first axis, and are added up.
        Share::Samples { along, ratio: Some(MEAN) } if along.axis == 0 => return None,
        Share::Linear(Some(SUM)) | Share::Fixed(Some(SUM)) => return None,
        Share::Samples { along, .. } if along.axis > 0 => {
            return Some(Fault::new("`total` does not add up along the axis of samples"));
        }
        Share::Linear(Some(MEAN)) => Fault::new("`total` adds up means, so it depends on how many batches there are"),
        Share::Fixed(_) => {
            Fault::new("`total` adds up what does not depend on the samples, so it depends on how many batches there are")
                .help("`total(batch)` counts the samples")
        }
        Share::Samples { .. } | Share::Linear(_) | Share::Mixed => {
            Fault::new("`total` adds up what is made of a whole batch, such as a difference from its mean")
        }
    };
    Some(fault.help("give it a value of each sample, or a sum of them"))
}
