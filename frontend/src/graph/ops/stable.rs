//! Formulas whose values and gradients stay finite at the edge of their domain, where the plain ones give 0/0, 0 · inf
//! or inf - inf.
//!
//! A gradient flows into both branches of a choice, as 0 into the one that was not taken; if a derivative there is
//! infinite, 0 · inf is NaN. So the branch that is not taken is given an argument of which it has a derivative.

use brolga_ir::program::Combine;
use brolga_ir::scalar::{Comparison, Function, ScalarOp};
use brolga_ir::{DType, Type};

use super::Ops;
use crate::expr::Binary;
use crate::graph::value::{Built, Tensor};

/// The smallest `x (1 - x)` by which the gradient of the binary cross entropy is divided, as in PyTorch.
const LEAST_SPREAD: f64 = 1e-12;

impl Ops<'_> {
    /// The value of `value` with the derivatives of `slope`, which must be finite.
    fn with_slope_of(&mut self, value: Tensor, slope: Tensor) -> Built {
        let fixed = self.stop_gradient(slope)?;
        let nothing = self.sub(slope, fixed)?;
        self.add(value, nothing)
    }

    /// `a // b` and `a % b` of floats, as in Python and numpy: the remainder has the sign of the divisor. Both come from
    /// the remainder of the truncating division, which is exact.
    pub fn divided(&mut self, operator: Binary, a: Tensor, b: Tensor) -> Built {
        let (a, b) = self.align(a, b)?;
        let rest = self.elementwise2(ScalarOp::Rem, a, b)?;
        let zero = self.b.zeros_like(rest)?;
        let inexact = self.compare(Comparison::Ne, rest, zero)?;
        let (below, turned) =
            (self.compare(Comparison::Lt, rest, zero)?, self.compare(Comparison::Lt, b, zero)?);
        let opposed = self.compare(Comparison::Ne, below, turned)?;
        let opposed = self.elementwise2(ScalarOp::And, inexact, opposed)?;
        if operator == Binary::Rem {
            let moved = self.add(rest, b)?;
            return self.select(opposed, moved, rest);
        }
        // (a - rest) / b is an integer but for the rounding of the division.
        let whole = self.sub(a, rest)?;
        let whole = self.div(whole, b)?;
        let lower = self.sub_num(whole, 1.0)?;
        let whole = self.select(opposed, lower, whole)?;
        let whole = self.elementwise(ScalarOp::Round, whole)?;
        // A quotient below 1 rounds down to the zero of its sign: `a - rest` has lost that of `-0.0 // 3`.
        let by_zero = self.compare(Comparison::Eq, b, zero)?;
        let small = self.compare(Comparison::Eq, whole, zero)?;
        let direct = self.elementwise2(ScalarOp::Or, by_zero, small)?;
        let quotient = self.div(a, b)?;
        let quotient = self.elementwise(ScalarOp::Floor, quotient)?;
        self.select(direct, quotient, whole)
    }

    /// `x²` with the gradient 0 where it is 0, even if what comes from behind is infinite: the root of a sum of such squares
    /// has a gradient where all are 0.
    fn square_from_zero(&mut self, x: Tensor) -> Built {
        let square = self.square(x)?;
        let zero = self.b.zeros_like(square)?;
        let is_zero = self.compare(Comparison::Eq, square, zero)?;
        self.select(is_zero, zero, square)
    }

    /// `x` without its mean. The mean is rounded, and so may be off by more than what elements around 1e6 differ by; what is
    /// left of it is taken off too. That is 0 but for rounding, so it has no gradient; where it is infinite or NaN, it stays.
    fn centred(&mut self, x: Tensor, axes: &[usize]) -> Built {
        let mean = self.mean(x, axes, true)?;
        let centred = self.sub(x, mean)?;
        let fixed = self.stop_gradient(centred)?;
        let rest = self.mean(fixed, axes, true)?;
        let size = self.elementwise(ScalarOp::Abs, rest)?;
        let finite = self.compare_num(Comparison::Lt, size, f64::INFINITY)?;
        let zero = self.b.zeros_like(rest)?;
        let rest = self.select(finite, rest, zero)?;
        self.sub(centred, rest)
    }

    /// The mean squared distance from the mean, the sum divided by the number of elements less `correction`. `sqrt` of it
    /// has the gradient 0 where all elements are equal.
    pub fn variance(&mut self, x: Tensor, axes: &[usize], keep: bool, correction: f64) -> Built {
        let centred = self.centred(x, axes)?;
        let square = self.square_from_zero(centred)?;
        if correction == 0.0 {
            return self.mean(square, axes, keep);
        }
        let dims = self.dims(x);
        let count: f64 = axes.iter().map(|&axis| dims[axis] as f64).product();
        let sum = self.sum(square, axes, keep)?;
        self.div_num(sum, (count - correction).max(0.0))
    }

    /// The root of the variance, in units of about the largest element, as [`Self::norm`]: a power of two, so that dividing by it
    /// is exact, and elements that differ by little still do.
    pub fn deviation(&mut self, x: Tensor, axes: &[usize], keep: bool, correction: f64) -> Built {
        let size = self.elementwise(ScalarOp::Abs, x)?;
        let unit = self.unit_along(size, axes)?;
        let unit = self.power_of_two_below(unit)?;
        let share = self.div(x, unit)?;
        let variance = self.variance(share, axes, true, correction)?;
        let root = self.sqrt(variance)?;
        let deviation = self.mul(root, unit)?;
        self.kept(deviation, x, axes, keep)
    }

    /// The largest along axes (which stay with extent 1), or `otherwise` where it is `least` or infinite; without gradient.
    fn scale_along(&mut self, x: Tensor, axes: &[usize], least: f64, otherwise: f64) -> Built {
        let largest = self.reduce(Combine::Max, x, axes, true)?;
        let largest = self.stop_gradient(largest)?;
        let empty = self.compare_num(Comparison::Le, largest, least)?;
        let infinite = self.compare_num(Comparison::Eq, largest, f64::INFINITY)?;
        let unusable = self.elementwise2(ScalarOp::Or, empty, infinite)?;
        let otherwise = self.full(otherwise, &self.ty(largest))?;
        self.select(unusable, otherwise, largest)
    }

    /// What elements of these sizes are measured in: the largest, 1 where that is 0 or infinite, and nothing so small that
    /// a gradient times it is lost.
    fn unit_along(&mut self, size: Tensor, axes: &[usize]) -> Built {
        let least = if self.dtype(size) == DType::F64 { 2f64.powi(-960) } else { 2f64.powi(-100) };
        let unit = self.scale_along(size, axes, 0.0, 1.0)?;
        self.max_num(unit, least)
    }

    /// The power of two at or below each positive number that is not denormal; without gradient. Of NaN it is infinite.
    fn power_of_two_below(&mut self, x: Tensor) -> Built {
        let dtype = self.dtype(x);
        let (bits, exponent) = match dtype {
            DType::F64 => (DType::I64, 0x7ff0_0000_0000_0000),
            _ => (DType::I32, 0x7f80_0000),
        };
        let x = self.elementwise(ScalarOp::Bitcast(bits), x)?;
        let exponent = self.int_scalar(exponent, bits)?;
        let exponent = self.elementwise2(ScalarOp::And, x, exponent)?;
        let power = self.elementwise(ScalarOp::Bitcast(dtype), exponent)?;
        self.stop_gradient(power)
    }

    /// The Euclidean norm, in units of the largest element, so that no square overflows or underflows. Its gradient at
    /// 0 is 0.
    pub fn norm(&mut self, x: Tensor, axes: &[usize], keep: bool) -> Built {
        let size = self.elementwise(ScalarOp::Abs, x)?;
        let unit = self.unit_along(size, axes)?;
        let share = self.div(x, unit)?;
        let square = self.square_from_zero(share)?;
        let sum = self.sum(square, axes, true)?;
        let root = self.sqrt(sum)?;
        let norm = self.mul(root, unit)?;
        self.kept(norm, x, axes, keep)
    }

    /// `ln sum e^x`, as `max + ln sum e^(x - max)`; an infinite maximum is not subtracted.
    pub fn logsumexp(&mut self, x: Tensor, axes: &[usize], keep: bool) -> Built {
        let max = self.scale_along(x, axes, f64::NEG_INFINITY, 0.0)?;
        let shifted = self.sub(x, max)?;
        let exp = self.function(Function::Exp, shifted)?;
        let sum = self.sum(exp, axes, true)?;
        let log = self.function(Function::Log, sum)?;
        let result = self.add(log, max)?;
        self.kept(result, x, axes, keep)
    }

    /// Drops the axes of extent 1 that a reduction of `x` has left, unless they shall stay.
    fn kept(&mut self, reduced: Tensor, x: Tensor, axes: &[usize], keep: bool) -> Built {
        if keep {
            return Ok(reduced);
        }
        let dims = self.dims(x);
        let dims: Vec<usize> =
            (0..dims.len()).filter(|axis| !axes.contains(axis)).map(|axis| dims[axis]).collect();
        self.reshape(reduced, &dims)
    }

    /// [`Self::softmax`] of scores of which those that do not count are minus infinity: zeros where none counts, and
    /// then no gradient.
    pub fn softmax_of_visible(&mut self, x: Tensor, axis: usize) -> Built {
        let max = self.reduce(Combine::Max, x, &[axis], true)?;
        let max = self.stop_gradient(max)?;
        let (zero, one) = (self.b.zeros_like(max)?, self.full(1.0, &self.ty(max))?);
        let nothing = self.compare_num(Comparison::Eq, max, f64::NEG_INFINITY)?;
        let max = self.select(nothing, zero, max)?;
        let shifted = self.sub(x, max)?;
        let exp = self.function(Function::Exp, shifted)?;
        let sum = self.sum(exp, &[axis], true)?;
        let sum = self.select(nothing, one, sum)?;
        self.div(exp, sum)
    }

    /// `-(w t ln x + (1 - t) ln(1 - x))`, the logarithms not below -100, with the gradient
    /// `((1 - t) x - w t (1 - x)) / max(x (1 - x), 1e-12)`: PyTorch's `binary_cross_entropy`, where w, the factor of
    /// positive targets, is 1.
    pub fn binary_cross_entropy(&mut self, x: Tensor, target: Tensor, positive: Option<Tensor>) -> Built {
        let fixed = self.stop_gradient(x)?;
        let minus = self.neg(fixed)?;
        let (log, rest) = (self.function(Function::Log, fixed)?, self.function(Function::Log1p, minus)?);
        let (log, rest) = (self.max_num(log, -100.0)?, self.max_num(rest, -100.0)?);
        let share = |ops: &mut Self, target: Tensor| -> Built<[Tensor; 2]> {
            let other = ops.num_sub(1.0, target)?;
            Ok([positive.map_or(Ok(target), |positive| ops.mul(positive, target))?, other])
        };
        let shares = share(self, target)?;
        let value = self.mixed(shares, log, rest)?;

        // What has that gradient: the same without bounds, and a parabola where the divisor is constant.
        let target = self.stop_gradient(target)?;
        let shares = share(self, target)?;
        let other = self.num_sub(1.0, x)?;
        let spread = self.mul(x, other)?;
        let inside = self.compare_num(Comparison::Ge, spread, LEAST_SPREAD)?;
        let half = self.full(0.5, &self.ty(x))?;
        let safe = self.select(inside, x, half)?;
        let minus = self.neg(safe)?;
        let (log, rest) = (self.function(Function::Log, safe)?, self.function(Function::Log1p, minus)?);
        let within = self.mixed(shares, log, rest)?;
        // x (x (w t + 1 - t) / 2 - w t)
        let whole = self.add(shares[0], shares[1])?;
        let half = self.mul_num(whole, 0.5)?;
        let half = self.mul(x, half)?;
        let line = self.sub(half, shares[0])?;
        let parabola = self.mul(x, line)?;
        let parabola = self.mul_num(parabola, 1.0 / LEAST_SPREAD)?;
        let slope = self.select(inside, within, parabola)?;
        self.with_slope_of(value, slope)
    }

    /// `-(yes a + no b)`
    fn mixed(&mut self, [yes, no]: [Tensor; 2], a: Tensor, b: Tensor) -> Built {
        let (yes, no) = (self.mul(yes, a)?, self.mul(no, b)?);
        let sum = self.add(yes, no)?;
        self.neg(sum)
    }

    /// `x`, or `least` where x is smaller, with the gradient of x.
    pub fn at_least(&mut self, x: Tensor, least: f64) -> Built {
        let fixed = self.stop_gradient(x)?;
        let nothing = self.sub(x, fixed)?;
        let raised = self.add_num(nothing, least)?;
        let enough = self.compare_num(Comparison::Ge, x, least)?;
        self.select(enough, x, raised)
    }

    /// `d²/2` where `d = |x - t|` is below the corner, else `corner (d - corner/2)`: Huber's loss. As
    /// `m (d - m/2)` with `m = min(d, corner)`, nothing overflows.
    pub fn rounded_corner(&mut self, x: Tensor, target: Tensor, corner: f64) -> Built {
        let difference = self.sub(x, target)?;
        let size = self.elementwise(ScalarOp::Abs, difference)?;
        let inner = self.min_num(size, corner)?;
        let half = self.mul_num(inner, 0.5)?;
        let rest = self.sub(size, half)?;
        self.mul(inner, rest)
    }

    /// `-(1 - p)^gamma ln p` of `ln p` (Lin et al. 2017), also for p = 0 and p = 1.
    pub fn focal(&mut self, log: Tensor, gamma: f64) -> Built {
        // Where e^log is 0 anyway, the factor takes no gradient.
        let bounded = self.max_num(log, -104.0)?;
        let minus = self.function(Function::Expm1, bounded)?;
        let rest = self.neg(minus)?; // 1 - p
        let zero = self.b.zeros_like(rest)?;
        let certain = self.compare(Comparison::Eq, rest, zero)?;
        let one = self.full(1.0, &self.ty(rest))?;
        let safe = self.select(certain, one, rest)?;
        let factor = self.pow_num(safe, gamma)?;
        let factor = if gamma == 0.0 { factor } else { self.select(certain, zero, factor)? };
        let loss = self.mul(factor, log)?;
        self.neg(loss)
    }

    /// The positions along an axis that hold its extreme; where there are NaNs, those.
    pub fn holds_extreme(&mut self, x: Tensor, axis: usize, combine: Combine) -> Built {
        let extreme = self.reduce(combine, x, &[axis], true)?;
        let found = self.compare(Comparison::Eq, x, extreme)?;
        if !self.dtype(x).is_float() {
            return Ok(found);
        }
        let undefined = self.compare(Comparison::Ne, x, x)?;
        self.elementwise2(ScalarOp::Or, found, undefined)
    }

    /// The position of the first largest (or smallest) element along an axis, as `i32`; of the first NaN where there
    /// is one.
    pub fn arg_extreme(&mut self, x: Tensor, axis: usize, largest: bool) -> Built {
        let dims = self.dims(x);
        let combine = if largest { Combine::Max } else { Combine::Min };
        let found = self.holds_extreme(x, axis, combine)?;
        let position = self.b.iota(DType::I32, &dims, axis)?;
        let last = self.full(dims[axis].saturating_sub(1) as f64, &Type::new(DType::I32, dims))?;
        let candidates = self.select(found, position, last)?;
        self.reduce(Combine::Min, candidates, &[axis], false)
    }
}

#[cfg(test)]
mod tests {
    use crate::graph::operators;

    #[test]
    fn python_divides() {
        for (a, b, quotient, rest) in [
            (1.0, 0.1, 9.0, 0.09999999999999995),
            (-7.0, 3.0, -3.0, 2.0),
            (0.0, 3.0, 0.0, 0.0),
            (-0.0, 3.0, -0.0, -0.0),
            (0.0, -3.0, -0.0, 0.0),
            (-0.0, -3.0, 0.0, -0.0),
            (1.0, 3.0, 0.0, 1.0),
            (-1.0, -3.0, 0.0, -1.0),
            (-1.0, 3.0, -1.0, 2.0),
        ] {
            let bits = |(quotient, rest): (f64, f64)| (quotient.to_bits(), rest.to_bits());
            assert_eq!(bits(operators::floor_divided(a, b)), bits((quotient, rest)), "{a} and {b}");
        }
    }
}
