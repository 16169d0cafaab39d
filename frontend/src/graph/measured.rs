//! What an entry has measured so far: the record that `graph/metrics` writes and reads.

use brolga_ir::graph::Value;

use super::value::Tensor;
use crate::source::Span;

/// The metrics of the entry being built.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    /// Whether a metric is being built.
    pub inside: bool,
    /// Nodes from this number on were added by metrics: these alone are formed in f64.
    pub own: usize,
    pub totals: Vec<Total>,
    pub list: Vec<Metric>,
    pub loss: Option<Loss>,
    /// Why the loss is left out, if it is.
    pub note: Option<String>,
}

/// A call of `total` in a metric.
#[derive(Debug)]
pub(super) struct Total {
    /// The parameter that stands for it in formulas.
    pub parameter: Tensor,
    /// The sums of one batch, in parts along the first axis: `f64[parts, ...]`.
    pub parts: Tensor,
    pub span: Span,
}

/// A metric, or an output that may be one.
#[derive(Debug)]
pub(super) struct Metric {
    pub name: String,
    pub value: Tensor,
    pub span: Span,
    /// Whether it stands in `metrics`. If not, it is an output that is a metric too, if it is a mean.
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
    /// Whether there is something that must be a mean or a sum over samples, so that the entry is built for two batches to find
    /// out.
    pub fn need_check(&self) -> bool {
        !self.totals.is_empty() || !self.list.is_empty() || self.loss.is_some()
    }

    /// The values that have to be looked at for that, always in the same order.
    pub fn roots(&self) -> Vec<Value> {
        let losses = self.loss.iter().flat_map(|loss| std::iter::once(&loss.value).chain(&loss.sums));
        let metrics = self.list.iter().map(|metric| metric.value);
        metrics.chain(self.totals.iter().map(|total| total.parts)).chain(losses.copied()).collect()
    }
}
