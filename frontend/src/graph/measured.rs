//! What an entry has measured so far: the record that `graph/metrics` writes and reads.

use brolga_ir::graph::Value;

use super::value::Tensor;
use crate::source::Span;

/// The metrics of the entry being built.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    /// Whether a metric is being built.
    pub inside: bool,
    /// Nodes from this number on are those of metrics.
    pub own: usize,
    pub totals: Vec<Total>,
    pub list: Vec<Metric>,
    pub loss: Option<Loss>,
    /// Why the loss is left out, if it is.
    pub note: Option<String>,
}

#[derive(Debug)]
pub(super) struct Total {
    /// What stands for it in formulas.
    pub parameter: Tensor,
    /// What is summed up.
    pub parts: Tensor,
    pub span: Span,
}

#[derive(Debug)]
pub(super) struct Metric {
    pub name: String,
    pub value: Tensor,
    pub span: Span,
    /// Whether it is asked for; other outputs are metrics only if they are means.
    pub asked: bool,
}

/// The loss of an evaluation.
#[derive(Clone, Debug)]
pub(super) struct Loss {
    pub value: Tensor,
    /// The sums of all elements of something that it is made of, in the order in which they were built.
    pub sums: Vec<Tensor>,
    pub span: Span,
}

impl Metrics {
    /// Whether somebody has to look whether they are means and sums over the samples.
    pub fn need_check(&self) -> bool {
        !self.totals.is_empty() || !self.list.is_empty() || self.loss.is_some()
    }

    /// What is looked at.
    pub fn roots(&self) -> Vec<Value> {
        let losses = self.loss.iter().flat_map(|loss| std::iter::once(&loss.value).chain(&loss.sums));
        let metrics = self.list.iter().map(|metric| metric.value);
        metrics.chain(self.totals.iter().map(|total| total.parts)).chain(losses.copied()).collect()
    }
}
