//! What a value is of the samples of a batch: a mean over them, a sum, or something else.
//!
//! A metric is taken batch by batch, so it is right for a whole set only if it is a mean over samples; and what `total` adds
//! up must be a sum over them. Graphs are concrete and do not say which axis holds the samples. So the entry is built twice,
//! for a batch and for one of twice its size: extents that differ are samples, and constants that differ say by what sums
//! are divided. What cannot be told (the two graphs have another structure, say) is allowed.

use std::collections::HashMap;

use brolga_ir::graph::{Graph, NodeId, Value};
use brolga_ir::ops::Op;
use brolga_ir::program::Combine;
use brolga_ir::scalar::ScalarOp;

/// What a value is of the samples. Numbers are ratios: by what doubling the batch multiplies the value, if it is known and
/// if all samples are equal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Share {
    /// It does not depend on the samples.
    Fixed(Option<f64>),
    /// It has an axis of samples; `mixed` if a metric has put what depends on the whole batch into each.
    Samples { mixed: bool, ratio: Option<f64> },
    /// It is linear in the samples: a sum (2) or a mean (1).
    Linear(Option<f64>),
    /// Something else made of the whole batch.
    Mixed,
}

/// The ratio of a sum over samples.
pub(crate) const SUM: f64 = 2.0;
/// The ratio of a mean over samples.
pub(crate) const MEAN: f64 = 1.0;

use Share::{Fixed, Linear, Mixed, Samples};

/// The shares of the values that `roots` of `one` are made of; `two` is the same for twice the batch. Nodes from `own` on
/// are those of metrics. `None` if the two are of another structure.
pub(crate) fn shares(
    (one, roots_one): (&Graph, &[Value]),
    (two, roots_two): (&Graph, &[Value]),
    own: usize,
) -> Option<HashMap<Value, Share>> {
    let order_one = one.order_from(roots_one.iter().copied());
    let order_two = two.order_from(roots_two.iter().copied());
    let place = |order: &[NodeId]| -> HashMap<NodeId, usize> {
        order.iter().enumerate().map(|(at, id)| (*id, at)).collect()
    };
    let (places_one, places_two) = (place(&order_one), place(&order_two));
    let same = |a: &Value, b: &Value| a.index == b.index && places_one[&a.node] == places_two[&b.node];
    if order_one.len() != order_two.len() || !roots_one.iter().zip(roots_two).all(|(a, b)| same(a, b)) {
        return None;
    }
    let mut shares = HashMap::new();
    for (&a, &b) in order_one.iter().zip(&order_two) {
        let (x, y) = (one.node(a), two.node(b));
        let alike = x.op.get().name() == y.op.get().name()
            && x.operands.len() == y.operands.len()
            && x.types.len() == y.types.len()
            && x.operands.iter().zip(&y.operands).all(|(a, b)| same(a, b));
        if !alike {
            return None;
        }
        let operands: Vec<Share> = x.operands.iter().map(|operand| shares[operand]).collect();
        for (value, twice) in one.results(a).into_iter().zip(two.results(b)) {
            let node = Node {
                one: &x.op,
                two: &y.op,
                operands: &operands,
                grows: one.ty(value).dims != two.ty(twice).dims,
                own: a.index() >= own,
                combined: ratio(combined(one, a), combined(two, b)).unwrap_or(1.0),
            };
            shares.insert(value, node.share());
        }
    }
    Some(shares)
}

/// How many elements of the first operand an element of the first result has.
fn combined(graph: &Graph, id: NodeId) -> f64 {
    let of = |value: &Value| graph.ty(*value).elements() as f64;
    graph.node(id).operands.first().map_or(1.0, of) / of(&graph.result(id))
}

/// A node in both graphs.
struct Node<'a> {
    one: &'a Op,
    two: &'a Op,
    operands: &'a [Share],
    /// Whether its result has an axis of samples.
    grows: bool,
    /// Whether it belongs to a metric.
    own: bool,
    /// By what doubling the batch multiplies the number of elements that are combined to one.
    combined: f64,
}

impl Node<'_> {
    fn share(&self) -> Share {
        if self.grows { self.of_samples() } else { self.of_all() }
    }

    /// The share of a result with an axis of samples.
    fn of_samples(&self) -> Share {
        let mixes = |share: &Share| matches!(share, Linear(_) | Mixed | Samples { mixed: true, .. });
        let mixed = self.own && self.operands.iter().any(mixes);
        let ratio = match (self.one, self.operands) {
            (Op::Reduce(reduce), [of]) if reduce.combine == Combine::Add => {
                of.ratio().map(|r| r * self.combined)
            }
            (Op::Broadcast(_) | Op::Reshape(_) | Op::Transpose(_), [of]) => of.ratio(),
            (Op::Elementwise(op), [of]) if matches!(op.op, ScalarOp::Neg | ScalarOp::Convert(_)) => {
                of.ratio()
            }
            _ => all_stay(self.operands),
        };
        Samples { mixed, ratio }
    }

    /// The share of a result without one.
    fn of_all(&self) -> Share {
        let fixed = self.operands.iter().all(|share| matches!(share, Fixed(_)));
        match (self.one, self.two, self.operands) {
            (Op::Constant(one), Op::Constant(two), _) if one.value.elements() == 1 => {
                Fixed(ratio(one.value.get(0).to_f64(), two.value.get(0).to_f64()))
            }
            (Op::Constant(one), Op::Constant(two), _) => Fixed((one == two).then_some(1.0)),
            (Op::Elementwise(op), _, operands) => elementwise(op.op, operands),
            (Op::Broadcast(_) | Op::Reshape(_) | Op::Transpose(_) | Op::StopGradient(_), _, [of]) => {
                kept(*of)
            }
            _ if fixed => Fixed(all_stay(self.operands)),
            (Op::Slice(_) | Op::Reverse(_), _, [of]) => kept(*of),
            (Op::Concat(_), _, [first, rest @ ..]) if rest.iter().all(|share| share == first) => kept(*first),
            (Op::Reduce(reduce), _, [of]) if reduce.combine == Combine::Add => match of {
                Samples { mixed: false, ratio } => Linear(ratio.map(|ratio| ratio * self.combined)),
                Linear(ratio) => Linear(*ratio),
                _ => Mixed,
            },
            (Op::Dot(_), _, [a, b]) => match (a, b) {
                (Samples { mixed: false, .. }, Samples { mixed: false, .. })
                | (Samples { mixed: false, .. }, Fixed(_))
                | (Fixed(_), Samples { mixed: false, .. }) => Linear(all_stay(self.operands).map(|_| SUM)),
                (Linear(ratio), Fixed(Some(1.0))) | (Fixed(Some(1.0)), Linear(ratio)) => Linear(*ratio),
                _ => Mixed,
            },
            _ => Mixed,
        }
    }
}

impl Share {
    fn ratio(self) -> Option<f64> {
        match self {
            Fixed(ratio) | Linear(ratio) | Samples { ratio, .. } => ratio,
            Mixed => None,
        }
    }
}

/// What one element moved, or standing for many, is; one sample taken out of a batch is something else.
fn kept(of: Share) -> Share {
    if matches!(of, Samples { .. }) { Mixed } else { of }
}

/// 1 if all are the same for any batch.
fn all_stay(operands: &[Share]) -> Option<f64> {
    operands.iter().all(|share| share.ratio() == Some(1.0)).then_some(1.0)
}

fn ratio(one: f64, two: f64) -> Option<f64> {
    let ratio = if one == two { 1.0 } else { two / one };
    ratio.is_finite().then_some(ratio)
}

fn elementwise(op: ScalarOp, operands: &[Share]) -> Share {
    match (op, operands) {
        // Rounding is not linear.
        (ScalarOp::Convert(to), [of]) if to.is_float() || matches!(of, Fixed(_)) => *of,
        (ScalarOp::Neg, [of]) => *of,
        (ScalarOp::Add | ScalarOp::Sub, [a, b]) => match (a, b) {
            (Fixed(x), Fixed(y)) => Fixed(x.filter(|_| x == y)),
            (Linear(x) | Fixed(x), Linear(y) | Fixed(y)) => match (x, y) {
                (Some(x), Some(y)) if x != y => Mixed,
                _ => Linear(x.and(*y)),
            },
            _ => Mixed,
        },
        (ScalarOp::Mul, [a, b]) => match (a, b) {
            (Fixed(x), Fixed(y)) => Fixed(x.zip(*y).map(|(x, y)| x * y)),
            (Linear(x), Fixed(y)) | (Fixed(x), Linear(y)) => Linear(x.zip(*y).map(|(x, y)| x * y)),
            _ => Mixed,
        },
        (ScalarOp::Div, [a, b]) => match (a, b) {
            (Fixed(x), Fixed(y)) => Fixed(x.zip(*y).map(|(x, y)| x / y)),
            (Linear(x), Fixed(y)) => Linear(x.zip(*y).map(|(x, y)| x / y)),
            _ => Mixed,
        },
        _ if operands.iter().all(|share| matches!(share, Fixed(_))) => Fixed(all_stay(operands)),
        _ => Mixed,
    }
}
