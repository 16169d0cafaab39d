//! What a value is of the samples of a batch, and how shares go through elementwise operators.

use brolga_ir::scalar::ScalarOp;

/// What a value is of the samples of a batch. The numbers are ratios: the factor by which the value grows where the batch is
/// twice as large and all samples are equal, if it is known. A mean has ratio 1, a sum 2, one over a sum 0.5.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Share {
    /// It does not depend on the samples.
    Fixed(Option<f64>),
    /// Each element belongs to one sample, and is made of that sample alone.
    Samples { along: Along, ratio: Option<f64> },
    /// It is linear in the samples: a sum (2) or a mean (1).
    Linear(Option<f64>),
    /// Something else made of several samples.
    Mixed,
}

/// Where the samples are: along an axis, which holds all of them `outer` times, `inner` neighbours for each. Of
/// `[batch, 3]` reshaped to `[3 * batch]` `inner` is 3; where two batches are joined, `outer` is 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Along {
    pub axis: usize,
    pub outer: usize,
    pub inner: usize,
    /// Whether all along the axis is the same, such as a bias that is repeated for each sample.
    pub uniform: bool,
}

impl Along {
    /// The same samples, along another axis.
    pub fn at(self, axis: usize) -> Along {
        Along { axis, ..self }
    }

    /// Where the samples of two operands are, if their positions are the same samples. An operand that is uniform along the
    /// axis goes with any other.
    pub fn with(self, other: Along) -> Option<Along> {
        match (self.uniform, other.uniform) {
            _ if self.axis != other.axis => None,
            (true, _) => Some(other),
            (_, true) => Some(self),
            _ => (self == other).then_some(self),
        }
    }
}

/// The ratio of a sum over samples.
pub(crate) const SUM: f64 = 2.0;
/// The ratio of a mean over samples.
pub(crate) const MEAN: f64 = 1.0;

use Share::{Fixed, Linear, Mixed, Samples};

impl Share {
    /// Whether it is the same for any batches that a set comes in.
    pub fn is_mean(self) -> bool {
        matches!(self, Fixed(Some(MEAN)) | Linear(Some(MEAN)))
    }

    /// What is one of the two, it is not known which. A number that a mean is added to is one, as in [`aggregated`].
    pub fn or(self, other: Share) -> Share {
        let ratio = self.ratio().filter(|ratio| other.ratio() == Some(*ratio));
        match (self, other) {
            (Fixed(_), Fixed(_)) => Fixed(ratio),
            (Linear(_), Linear(_)) => Linear(ratio),
            (Fixed(a), Linear(b)) | (Linear(a), Fixed(b)) if a.is_none() || b.is_none() || a == b => {
                Linear(ratio)
            }
            (Samples { along: a, .. }, Samples { along: b, .. }) => {
                a.with(b).map_or(Mixed, |along| Samples { along, ratio })
            }
            _ => Mixed,
        }
    }

    /// A step of something that has a step for each position of the first axis.
    pub fn without_first_axis(self) -> Share {
        match self {
            Samples { along, .. } if along.axis == 0 => Mixed,
            Samples { along, ratio } => Samples { along: along.at(along.axis - 1), ratio },
            other => other,
        }
    }

    /// What has such a step for each position of a new first axis.
    pub fn with_first_axis(self) -> Share {
        match self {
            Samples { along, ratio } => Samples { along: along.at(along.axis + 1), ratio },
            other => other,
        }
    }

    pub fn ratio(self) -> Option<f64> {
        match self {
            Fixed(ratio) | Linear(ratio) | Samples { ratio, .. } => ratio,
            Mixed => None,
        }
    }
}

/// 1 if all are the same for any batch.
pub(super) fn all_stay(operands: &[Share]) -> Option<f64> {
    operands.iter().all(|share| share.ratio() == Some(1.0)).then_some(1.0)
}

pub(super) fn ratio(one: f64, two: f64) -> Option<f64> {
    let same = one == two || one.is_nan() && two.is_nan();
    let ratio = if same { 1.0 } else { two / one };
    ratio.is_finite().then_some(ratio)
}

/// The ratio of an elementwise operator's result.
pub(super) fn elementwise_ratio(op: ScalarOp, operands: &[Share]) -> Option<f64> {
    match (op, operands) {
        (ScalarOp::Neg, [of]) => of.ratio(),
        (ScalarOp::Convert(to), [of]) if to.is_float() => of.ratio(),
        (ScalarOp::Mul, [a, b]) => a.ratio().zip(b.ratio()).map(|(a, b)| a * b),
        (ScalarOp::Div, [a, b]) => a.ratio().zip(b.ratio()).map(|(a, b)| a / b),
        (ScalarOp::Add | ScalarOp::Sub, [a, b]) => a.ratio().filter(|a| b.ratio() == Some(*a)),
        _ => all_stay(operands),
    }
}

/// An elementwise operator on values that are not of single samples.
pub(super) fn aggregated(op: ScalarOp, operands: &[Share]) -> Share {
    let ratio = elementwise_ratio(op, operands);
    if operands.iter().all(|share| matches!(share, Fixed(_))) {
        return Fixed(ratio);
    }
    match (op, operands) {
        // Rounding is not linear.
        (ScalarOp::Convert(to), [of]) if to.is_float() => *of,
        (ScalarOp::Neg, [of]) => *of,
        (ScalarOp::Add | ScalarOp::Sub, [a, b]) => match (a.ratio(), b.ratio()) {
            (Some(x), Some(y)) if x != y => Mixed,
            _ => Linear(ratio),
        },
        (ScalarOp::Mul, [Linear(_), Fixed(_)] | [Fixed(_), Linear(_)])
        | (ScalarOp::Div, [Linear(_), Fixed(_)]) => Linear(ratio),
        _ => Mixed,
    }
}
