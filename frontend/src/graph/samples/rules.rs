//! The rule of each operator: where the samples are in its result, if it keeps them apart.
//!
//! An operator mixes samples where an element of its result reads several positions of their axis, or two operands whose
//! samples are not the same: scans, sorts, reversals and selections along that axis, products that contract it or pair every
//! sample with every other, reductions over it, windows across it, reshapes that cut it in another way. A sum over the axis
//! is linear; everything else of that kind is mixed. What no rule is sure of is mixed.

use brolga_ir::ops::{
    Concat, Conv, ConvForm, Dot, Gather, GatherAlong, Op, Reduce, ReduceWindow, Reshape, Scatter,
    ScatterAlong, Slice,
};
use brolga_ir::program::Combine;
use brolga_ir::scalar::Scalar;
use brolga_ir::{Tensor, Type};

use super::share::Share::{Fixed, Linear, Mixed, Samples};
use super::share::{Along, SUM, Share, aggregated, all_stay, elementwise_ratio, ratio};

/// A result of a node in both graphs: that for one batch, and that for two.
pub(super) struct NodePair<'a> {
    pub ops: [&'a Op; 2],
    pub operands: &'a [Share],
    /// Of a loop the shares of its results, if its steps keep what they begin with.
    pub looped: &'a [Share],
    pub types: &'a [[&'a Type; 2]],
    pub result: [&'a Type; 2],
    /// Which of the node's results it is.
    pub index: usize,
    /// The samples of the first graph.
    pub batch: usize,
}

impl NodePair<'_> {
    pub fn share(&self) -> Share {
        let share = match self.operands.contains(&Mixed) {
            true => Mixed,
            false if self.may_differ() || self.ops[0] == self.ops[1] => self.rule(),
            // The operator has other attributes for another batch, so it is another function of its operands.
            false => {
                if self.all_fixed() {
                    Fixed(None)
                } else {
                    Mixed
                }
            }
        };
        let grown = self.grown();
        let holds = match share {
            Fixed(_) | Linear(_) => grown.is_empty(),
            Samples { along, .. } => grown == [along.axis] && self.fits(along),
            Mixed => true,
        };
        if holds { share } else { Mixed }
    }

    /// Whether the operator says how large its result is, or what its elements are; or has a body that does.
    fn may_differ(&self) -> bool {
        let op = self.ops[0];
        matches!(op, Op::Parameter(_) | Op::Random(_) | Op::Constant(_) | Op::Iota(_))
            || matches!(op, Op::Broadcast(_) | Op::Reshape(_) | Op::Slice(_) | Op::Scan(_))
    }

    /// The rule of the operator. A new one needs a line here.
    fn rule(&self) -> Share {
        let first = self.operands.first().copied().unwrap_or(Mixed);
        match self.ops[0] {
            // An input has its samples along the axis that grows. Draws are of a sample if there is one for each.
            Op::Parameter(_) | Op::Random(_) => self.grows(Some(1.0), false),
            Op::Constant(one) => match self.ops[1] {
                Op::Constant(two) => self.constant(&one.value, &two.value),
                _ => Mixed,
            },
            // Counting along the samples gives each its number, which depends on the order in which they come.
            Op::Iota(iota) if self.grown().contains(&iota.axis) => Mixed,
            Op::Iota(_) => self.grows(Some(1.0), true),
            Op::Elementwise(op) => match self.along() {
                Tracks::None => aggregated(op.op, self.operands),
                Tracks::One(along) => Samples { along, ratio: elementwise_ratio(op.op, self.operands) },
                Tracks::Several => Mixed,
            },
            Op::StopGradient(_) => first,
            Op::Broadcast(op) => match first {
                Fixed(ratio) => self.grows(ratio, true),
                other => moved(other, |axis| Some(op.axes[axis])),
            },
            Op::Reshape(one) => match self.ops[1] {
                Op::Reshape(two) => self.reshape(one, two, first),
                _ => Mixed,
            },
            Op::Transpose(op) => moved(first, |axis| op.axes.iter().position(|&from| from == axis)),
            Op::Slice(one) => match self.ops[1] {
                Op::Slice(two) => self.slice(one, two, first),
                _ => Mixed,
            },
            Op::Reverse(op) => moved(first, |axis| (!op.axes.contains(&axis)).then_some(axis)),
            Op::Pad(op) => {
                let stays = |axis: usize| [op.low[axis], op.high[axis], op.interior[axis]] == [0; 3];
                self.apart(stays)
            }
            Op::Concat(op) => self.concat(op),
            Op::Gather(op) => self.gather(op),
            Op::GatherAlong(op) => self.gather_along(op),
            Op::Scatter(op) => self.scatter(op),
            Op::ScatterAlong(op) => self.scatter_along(op),
            Op::Reduce(op) => self.reduce(op, first),
            Op::ReduceWindow(op) => self.apart(|axis| sees_one(op, axis)),
            Op::WindowSelect(op) => self.apart(|axis| sees_one(&op.window, axis)),
            Op::Dot(op) => self.dot(op),
            Op::Conv(op) => self.conv(op),
            Op::Cumulative(op) => self.apart(|axis| axis != op.axis),
            Op::Sort(op) => self.apart(|axis| axis != op.axis),
            Op::Differentiate(_) => self.gradient(first),
            Op::Jvp(op) => self.tangent(op.outputs),
            Op::Scan(_) => self.looped.get(self.index).copied().unwrap_or_else(|| self.fixed()),
            Op::Fused(_) | Op::While(_) | Op::Cond(_) => self.fixed(),
        }
    }

    /// The axes of the result that depend on the batch.
    fn grown(&self) -> Vec<usize> {
        let [one, two] = self.result;
        if one.rank() != two.rank() {
            return (0..one.rank()).collect();
        }
        (0..one.rank()).filter(|&axis| one.dims[axis] != two.dims[axis]).collect()
    }

    /// Whether the result holds its samples like this.
    fn fits(&self, along: Along) -> bool {
        let extent = |samples| along.outer * samples * along.inner;
        let [one, two] = self.result;
        one.dims[along.axis] == extent(self.batch) && two.dims[along.axis] == extent(2 * self.batch)
    }

    /// A result that has its samples along the axis that grows, if one does: an input, or what is the same along it.
    fn grows(&self, ratio: Option<f64>, uniform: bool) -> Share {
        match self.grown()[..] {
            [] => Fixed(ratio),
            [axis] => {
                let inner = self.result[0].dims[axis] / self.batch;
                Samples { along: Along { axis, outer: 1, inner, uniform }, ratio }
            }
            _ => Mixed,
        }
    }

    fn constant(&self, one: &Tensor, two: &Tensor) -> Share {
        let number = |tensor: &Tensor| {
            let first = (tensor.elements() > 0).then(|| tensor.get(0))?;
            let same = |other: Scalar| other == first || other.to_f64().is_nan() && first.to_f64().is_nan();
            (0..tensor.elements()).all(|at| same(tensor.get(at))).then(|| first.to_f64())
        };
        match (number(one), number(two)) {
            (Some(one), Some(two)) => self.grows(ratio(one, two), true),
            _ => Fixed((one == two).then_some(1.0)),
        }
    }

    /// Where all operands that have samples have them; those that have none are the same for all.
    fn along(&self) -> Tracks {
        let mut found: Option<Along> = None;
        let mut aggregated = false;
        for share in self.operands {
            match *share {
                Fixed(_) => {}
                Samples { along, .. } => match found.map_or(Some(along), |found| found.with(along)) {
                    None => return Tracks::Several,
                    both => found = both,
                },
                Linear(_) | Mixed => aggregated = true,
            }
        }
        match found {
            None => Tracks::None,
            Some(_) if aggregated => Tracks::Several,
            Some(along) => Tracks::One(along),
        }
    }

    fn all_fixed(&self) -> bool {
        self.operands.iter().all(|share| matches!(share, Fixed(_)))
    }

    /// A function of operands without samples.
    fn fixed(&self) -> Share {
        if self.all_fixed() { Fixed(all_stay(self.operands)) } else { Mixed }
    }

    /// A function that leaves the axes in their places, and keeps apart what lies along some of them.
    fn apart(&self, keeps: impl Fn(usize) -> bool) -> Share {
        match self.along() {
            Tracks::One(along) if keeps(along.axis) => Samples { along, ratio: all_stay(self.operands) },
            Tracks::None => self.fixed(),
            _ => Mixed,
        }
    }

    /// A reshape leaves elements at their positions in memory. The samples must lie along one axis of the result, in the same
    /// order.
    fn reshape(&self, one: &Reshape, two: &Reshape, of: Share) -> Share {
        let Samples { along, ratio } = of else { return of };
        let grown = self.grown();
        let [axis] = grown[..] else { return Mixed };
        let behind = |dims: &[usize], axis: usize| dims[axis + 1..].iter().product::<usize>();
        let found = [one, two].into_iter().enumerate().map(|(at, op)| {
            // How far two neighbouring samples are apart.
            let apart = along.inner * behind(&self.types[0][at].dims, along.axis);
            let inner =
                apart.checked_div(behind(&op.dims, axis)).filter(|n| n * behind(&op.dims, axis) == apart)?;
            let round = inner * self.batch * (at + 1);
            (round > 0 && op.dims[axis].is_multiple_of(round)).then(|| (op.dims[axis] / round, inner))
        });
        match found.collect::<Vec<_>>()[..] {
            [Some((outer, inner)), twice] if twice == Some((outer, inner)) => {
                let same = one.dims[axis] == self.types[0][0].dims[along.axis];
                Samples { along: Along { axis, outer, inner, uniform: along.uniform && same }, ratio }
            }
            _ => Mixed,
        }
    }

    /// A slice of the axis of samples keeps them apart if it takes whole batches of those that lie along it.
    fn slice(&self, one: &Slice, two: &Slice, of: Share) -> Share {
        let Samples { along, ratio } = of else {
            return match of {
                _ if one == two => of,
                Fixed(_) => Fixed(None),
                _ => Mixed,
            };
        };
        let axis = along.axis;
        let other = |at: usize| {
            at == axis
                || [one.start[at], one.limit[at], one.stride[at]]
                    == [two.start[at], two.limit[at], two.stride[at]]
        };
        let rounds = |op: &Slice, times: usize| {
            let round = self.batch * times * along.inner;
            let whole = op.stride[axis] == 1
                && op.start[axis].is_multiple_of(round)
                && op.limit[axis].is_multiple_of(round);
            whole.then(|| (op.start[axis] / round, op.limit[axis] / round))
        };
        match (rounds(one, 1), rounds(two, 2)) {
            (Some(from), Some(twice)) if from == twice && (0..one.start.len()).all(other) => {
                Samples { along: Along { outer: from.1 - from.0, ..along }, ratio }
            }
            _ => Mixed,
        }
    }

    fn concat(&self, op: &Concat) -> Share {
        let first = self.operands[0];
        let Samples { along, .. } = first else {
            let same = self.operands.iter().all(|share| *share == first);
            return if same { first } else { self.fixed() };
        };
        if along.axis != op.axis {
            return self.apart(|_| true);
        }
        let mut outer = 0;
        for share in self.operands {
            match *share {
                Samples { along: other, .. } if other.axis == op.axis && other.inner == along.inner => {
                    outer += other.outer;
                }
                _ => return Mixed,
            }
        }
        Samples { along: Along { outer, uniform: false, ..along }, ratio: all_stay(self.operands) }
    }

    /// `x[..., indices, ...]`
    fn gather(&self, op: &Gather) -> Share {
        let ratio = all_stay(self.operands);
        let places = self.types[1][0].rank();
        match (self.operands[0], self.operands[1]) {
            (Fixed(_), Samples { along, .. }) => Samples { along: along.at(op.axis + along.axis), ratio },
            (Samples { along, .. }, Fixed(_)) if along.axis < op.axis => Samples { along, ratio },
            (Samples { along, .. }, Fixed(_)) if along.axis > op.axis => {
                Samples { along: along.at(along.axis - 1 + places), ratio }
            }
            (Linear(of), Fixed(Some(1.0))) => Linear(of),
            _ => self.fixed(),
        }
    }

    /// `take_along`: each sample's indices into its own row; or into an x that has no samples.
    fn gather_along(&self, op: &GatherAlong) -> Share {
        let ratio = all_stay(self.operands);
        match (self.operands[0], self.operands[1]) {
            (Fixed(_), Samples { along, .. }) if along.axis == op.axis => Samples { along, ratio },
            (Samples { along, .. }, Samples { along: other, .. }) if along.axis != op.axis => {
                let short = self.types[1][0].rank() < self.types[0][0].rank();
                let axis = along.axis - usize::from(short && along.axis > op.axis);
                along.at(axis).with(other).map_or(Mixed, |along| Samples { along, ratio })
            }
            _ => self.fixed(),
        }
    }

    /// Updates of a base that holds samples, at positions that are the same in each sample.
    fn scatter(&self, op: &Scatter) -> Share {
        match *self.operands {
            [Samples { along, .. }, Fixed(_), Samples { along: other, .. }] if along.axis != op.axis => {
                let behind = usize::from(along.axis > op.axis);
                let axis = along.axis - behind + behind * self.types[1][0].rank();
                let ratio = all_stay(self.operands);
                let both = along.at(axis).with(other);
                both.map_or(Mixed, |both| Samples { along: both.at(along.axis), ratio })
            }
            _ => self.fixed(),
        }
    }

    /// Updates of a base that holds samples, at positions of each sample's own.
    fn scatter_along(&self, op: &ScatterAlong) -> Share {
        let all = self.operands.iter().all(|share| matches!(share, Samples { .. }));
        let rank = self.types[0][0].rank();
        if !all || self.types.iter().any(|types| types[0].rank() != rank) {
            return self.fixed();
        }
        self.apart(|axis| axis != op.axis)
    }

    fn reduce(&self, op: &Reduce, of: Share) -> Share {
        let adds = op.combine == Combine::Add;
        match of {
            Fixed(_) | Linear(_) if adds => of,
            Samples { along, ratio } if op.axes.contains(&along.axis) => {
                if adds {
                    Linear(ratio.map(|ratio| ratio * SUM))
                } else {
                    Mixed
                }
            }
            Samples { along, ratio } => {
                let before = op.axes.iter().filter(|&&axis| axis < along.axis).count();
                let ratio = if adds { ratio } else { all_stay(self.operands) };
                Samples { along: along.at(along.axis - before), ratio }
            }
            _ => self.fixed(),
        }
    }

    fn dot(&self, op: &Dot) -> Share {
        let ratio = self.operands[0].ratio().zip(self.operands[1].ratio()).map(|(a, b)| a * b);
        match (self.operands[0], self.operands[1]) {
            (Samples { along, .. }, Samples { along: other, .. }) => {
                let paired = |lists: &[Vec<usize>; 2]| {
                    let place = lists[0].iter().position(|&axis| axis == along.axis)?;
                    along.at(lists[1][place]).with(other).map(|both| both.at(place))
                };
                match (paired(&op.batch), paired(&op.contract)) {
                    (Some(along), _) => Samples { along, ratio },
                    (_, Some(_)) => Linear(ratio.map(|ratio| ratio * SUM)),
                    _ => Mixed,
                }
            }
            (Samples { along, .. }, Fixed(_)) => self.free(op, 0, along, ratio),
            (Fixed(_), Samples { along, .. }) => self.free(op, 1, along, ratio),
            (Fixed(_), Fixed(_)) => Fixed(ratio),
            (Linear(_), Fixed(_)) | (Fixed(_), Linear(_)) => Linear(ratio),
            _ => Mixed,
        }
    }

    /// A product of an operand with samples and one without, such as weights: where the samples are among the axes of the
    /// result, which are the batch axes of both, then the free ones of either.
    fn free(&self, op: &Dot, side: usize, along: Along, ratio: Option<f64>) -> Share {
        let is_free =
            |side: usize, axis: usize| !op.batch[side].contains(&axis) && !op.contract[side].contains(&axis);
        let count = |side: usize, end: usize| (0..end).filter(|&axis| is_free(side, axis)).count();
        if !is_free(side, along.axis) {
            return Mixed;
        }
        let left = if side == 1 { count(0, self.types[0][0].rank()) } else { 0 };
        let axis = op.batch[0].len() + left + count(side, along.axis);
        Samples { along: along.at(axis), ratio }
    }

    /// Samples are the first axis, and kernels the same for all.
    fn conv(&self, op: &Conv) -> Share {
        match (&op.form, self.operands) {
            (ConvForm::Forward | ConvForm::InputGradient { .. }, [Samples { .. }, Fixed(_)]) => {
                self.apart(|axis| axis == 0)
            }
            _ => self.fixed(),
        }
    }

    /// The gradient of a sum over samples: by a value of each sample it is one of each sample, by a value that all share
    /// (weights) a sum over samples.
    fn gradient(&self, loss: Share) -> Share {
        match (loss, self.operands.get(self.index + 1)) {
            (Fixed(_), Some(Fixed(_))) => self.fixed(),
            (Linear(of), Some(Samples { along, ratio })) => {
                let stays = ratio.filter(|ratio| *ratio == 1.0);
                let along = Along { uniform: false, ..*along };
                Samples { along, ratio: of.zip(stays).map(|(of, _)| of / SUM) }
            }
            (Linear(of), Some(Fixed(Some(1.0)))) => Linear(of),
            _ => Mixed,
        }
    }

    /// The derivative of an output along tangents; mixed unless all operands with samples have them in the same order. The
    /// outputs stand first among the operands.
    fn tangent(&self, outputs: usize) -> Share {
        let (outputs, rest) = self.operands.split_at(outputs);
        let mut tracks = rest.iter().filter_map(|share| match share {
            Fixed(_) => None,
            Samples { along, .. } => Some(Some((along.outer, along.inner))),
            Linear(_) | Mixed => Some(None),
        });
        let first = tracks.next();
        let apart = first.is_none_or(|first| first.is_some() && tracks.all(|other| other == first));
        match outputs.get(self.index) {
            _ if !apart => Mixed,
            Some(Fixed(_)) => self.fixed(),
            Some(Samples { along, .. }) => {
                Samples { along: Along { uniform: false, ..*along }, ratio: all_stay(self.operands) }
            }
            Some(Linear(of)) => Linear(of.filter(|_| all_stay(rest).is_some())),
            _ => Mixed,
        }
    }
}

/// Where the operands of a node have their samples.
#[derive(Clone, Copy)]
enum Tracks {
    None,
    One(Along),
    Several,
}

/// Samples that an operator takes to another axis; `None` where it does not keep them apart.
fn moved(of: Share, to: impl Fn(usize) -> Option<usize>) -> Share {
    match of {
        Samples { along, ratio } => match to(along.axis) {
            Some(axis) => Samples { along: along.at(axis), ratio },
            None => Mixed,
        },
        other => other,
    }
}

/// Whether a window covers one position of an axis, each in its turn.
fn sees_one(op: &ReduceWindow, axis: usize) -> bool {
    let steps = [&op.window, &op.stride, &op.window_dilation, &op.base_dilation];
    steps.iter().all(|list| list[axis] == 1) && op.padding[axis] == (0, 0)
}
