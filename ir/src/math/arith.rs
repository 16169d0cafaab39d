//! The operations that elementary functions are written in, and what several of them have in common.

/// The operations of which elementary functions are made.
///
/// A value `V` is a float, an integer or a mask, all of one width: f32 goes with 32-bit integers and masks, f64
/// with 64-bit ones. [`Direct32`](super::Direct32) and [`Direct64`](super::Direct64) define the exact result of every operation.
pub trait Arith {
    /// A float, integer or mask value.
    type V: Copy;

    /// The float constant `value`, rounded to the float type (may be infinite or NaN).
    fn float(&mut self, value: f64) -> Self::V;
    /// The integer constant `value`, its low bits.
    fn int(&mut self, value: i64) -> Self::V;

    /// `x + y`.
    fn add(&mut self, x: Self::V, y: Self::V) -> Self::V;
    /// `x - y`.
    fn sub(&mut self, x: Self::V, y: Self::V) -> Self::V;
    /// `x * y`.
    fn mul(&mut self, x: Self::V, y: Self::V) -> Self::V;
    /// `x / y`.
    fn div(&mut self, x: Self::V, y: Self::V) -> Self::V;
    /// `x * y + z` with one rounding.
    fn fma(&mut self, x: Self::V, y: Self::V, z: Self::V) -> Self::V;
    /// `x` with its sign flipped.
    fn neg(&mut self, x: Self::V) -> Self::V;
    /// `x` with its sign cleared.
    fn abs(&mut self, x: Self::V) -> Self::V;
    /// The correctly rounded square root.
    fn sqrt(&mut self, x: Self::V) -> Self::V;
    /// The nearest integer as a float, ties to even.
    fn round_even(&mut self, x: Self::V) -> Self::V;
    /// Exactly `x < y ? x : y`, so `y` if either is NaN.
    fn min(&mut self, x: Self::V, y: Self::V) -> Self::V;
    /// Exactly `x > y ? x : y`, so `y` if either is NaN.
    fn max(&mut self, x: Self::V, y: Self::V) -> Self::V;
    /// Mask of `x < y`, false for NaN.
    fn lt(&mut self, x: Self::V, y: Self::V) -> Self::V;
    /// Mask of `x == y` as floats, false for NaN.
    fn eq(&mut self, x: Self::V, y: Self::V) -> Self::V;
    /// `mask ? x : y`, for floats, integers and masks.
    fn select(&mut self, mask: Self::V, x: Self::V, y: Self::V) -> Self::V;

    /// The bits of a float as an integer.
    fn as_int(&mut self, x: Self::V) -> Self::V;
    /// The float of these bits.
    fn as_float(&mut self, x: Self::V) -> Self::V;
    /// Wrapping integer addition.
    fn int_add(&mut self, x: Self::V, y: Self::V) -> Self::V;
    /// Wrapping integer subtraction.
    fn int_sub(&mut self, x: Self::V, y: Self::V) -> Self::V;
    /// Bitwise and of integers.
    fn int_and(&mut self, x: Self::V, y: Self::V) -> Self::V;
    /// Bitwise or of integers.
    fn int_or(&mut self, x: Self::V, y: Self::V) -> Self::V;
    /// Bitwise exclusive or of integers.
    fn int_xor(&mut self, x: Self::V, y: Self::V) -> Self::V;
    /// Mask of equal integers.
    fn int_eq(&mut self, x: Self::V, y: Self::V) -> Self::V;
    /// Shift left by a constant smaller than the width.
    fn shl(&mut self, x: Self::V, by: u32) -> Self::V;
    /// Logical shift right (zeros enter) by a constant smaller than the width.
    fn shr(&mut self, x: Self::V, by: u32) -> Self::V;
}

/// The float type a function is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Float {
    /// IEEE binary32.
    F32,
    /// IEEE binary64.
    F64,
}

impl Float {
    /// Chooses between what belongs to f32 and to f64.
    #[inline(always)]
    pub(super) fn pick<T>(self, f32: T, f64: T) -> T {
        match self {
            Float::F32 => f32,
            Float::F64 => f64,
        }
    }

    /// Stored bits of the significand.
    #[inline(always)]
    pub(super) fn mantissa(self) -> u32 {
        self.pick(23, 52)
    }

    /// Exponent bias.
    #[inline(always)]
    pub(super) fn bias(self) -> i64 {
        self.pick(127, 1023)
    }

    /// The bits of the float constant `value`.
    #[inline(always)]
    pub(super) fn bits(self, value: f64) -> i64 {
        self.pick(i64::from((value as f32).to_bits()), value.to_bits() as i64)
    }

    /// The sign bit.
    #[inline(always)]
    pub(super) fn sign(self) -> i64 {
        self.pick(1 << 31, i64::MIN)
    }

    /// 1.5 * 2^mantissa: added to a float of at most a quarter of that size, it rounds it to an integer, which
    /// then stands in the low bits of the sum.
    #[inline(always)]
    pub(super) fn magic(self) -> f64 {
        self.pick(12582912.0, 6755399441055744.0)
    }
}

/// c_0 + c_1 x + c_2 x² + ...
#[inline(always)]
pub(super) fn polynomial<A: Arith>(a: &mut A, coefficients: &[f64], x: A::V) -> A::V {
    let (&last, rest) = coefficients.split_last().expect("a polynomial has a coefficient");
    let mut sum = a.float(last);
    for &c in rest.iter().rev() {
        let c = a.float(c);
        sum = a.fma(sum, x, c);
    }
    sum
}

/// `share` x + x p(x²)/q(x²), for x limited to ±`limit`, with p `above` and q `below`: an odd function that is flat from
/// the limit on. Its polynomials do not wait for each other, so there is more to do at once than in an exponential.
///
/// `share` is a power of two, so that this part of x is exact: where the function is near its limit that is nearly all
/// of the result, and what the quotient is rounded by counts for little.
#[inline(always)]
pub(super) fn odd_quotient<A: Arith>(
    a: &mut A,
    x: A::V,
    limit: f64,
    share: f64,
    above: &[f64],
    below: &[f64],
) -> A::V {
    let x = clamp(a, x, -limit, limit);
    let y = a.mul(x, x);
    let (above, below) = (polynomial(a, above, y), polynomial(a, below, y));
    let quotient = a.div(above, below);
    let share = a.float(share);
    let share = a.mul(share, x);
    a.fma(x, quotient, share)
}

/// `x` limited to [low, high]; NaN stays NaN.
#[inline(always)]
pub(super) fn clamp<A: Arith>(a: &mut A, x: A::V, low: f64, high: f64) -> A::V {
    let (low, high) = (a.float(low), a.float(high));
    let x = a.max(low, x);
    a.min(high, x)
}

/// `magnitude`, a non-negative float, with the sign of `sign`.
#[inline(always)]
pub(super) fn with_sign<A: Arith>(a: &mut A, float: Float, magnitude: A::V, sign: A::V) -> A::V {
    let (bits, mask) = (a.as_int(sign), a.int(float.sign()));
    let sign = a.int_and(bits, mask);
    let bits = a.as_int(magnitude);
    let bits = a.int_or(bits, sign);
    a.as_float(bits)
}
