//! Elementary functions, written once over [`Arith`].
//!
//! A function is straight-line code over a handful of operations that every SIMD instruction set has: no
//! branches, no tables, no integer wider than the float. The same Rust function evaluates plain numbers
//! ([`Direct32`], [`Direct64`]: interpreters, constant folding, tests) and, with another implementation of
//! [`Arith`], writes lane code into a kernel program, so every user of a function gets the same bits.
//!
//! # Errors
//!
//! Largest errors found, in units in the last place; `tests/math.rs` asserts bounds a little above. f32: over all
//! 2^32 arguments (lgamma, erf_inv: every 7th, digamma: every 61st, those from tan on: every 8209th; pow, atan2: two
//! million pairs). f64: over some hundred arguments.
//!
//! | function | f32 | f64 | operations in f32 | remarks |
//! |---|---|---|---|---|
//! | exp | 0.91 | 0.65 | 18 | |
//! | expm1 | 1.53 | 1.38 | 19 | |
//! | log | 0.91 | 0.65 | 30 | |
//! | log1p | 1.51 | 0.65 | 42 | |
//! | tanh | 2.89 | 1.17 | 16, one a division | |
//! | sigmoid | 1.97 | 1.11 | 26, one a division | |
//! | erf | 2.97 | 1.03 | 16, one a division | |
//! | sin, cos | 1.67, 1.81 | 0.81, 0.99 | 150, of these 30 selections | of large arguments as exact as of small ones |
//! | rsqrt | 1.50 | 1.10 | 2, one a division | |
//! | pow | 1.20 | 0.98 | 108, two divisions | |
//! | lgamma | 5.18 | 1.55 | 143, one a division | for x < 0 see below |
//! | digamma | 5.64 | 1.85 | 131, seven divisions | for x < 0 see below |
//! | erf_inv | 2.26 | 2.54 | 63 | |
//! | tan | 2.63 | 1.74 | as sin, and a division | of large arguments as exact as of small ones |
//! | asin, acos | 1.99, 1.83 | 1.26, 1.00 | an atan, a division and a root | |
//! | atan, atan2 | 1.23, 1.43 | 0.66, 1.07 | a polynomial and a division | |
//! | sinh, cosh | 2.24, 2.19 | 2.08, 1.14 | an expm1 or exp, and a division | |
//! | asinh, acosh, atanh | 1.61, 1.75, 1.80 | 0.98, 0.98, 0.70 | a log1p, a division or a root | |
//! | log2, log10 | 0.50 | 0.51 | half a pow | exact of powers of the base |
//!
//! lgamma and digamma of a negative x come by reflection; there the unit is that of the largest of 1, the result, and
//! the function of 1 - x, so near their zeros below 0 the error is small absolutely only.
//!
//! Special values are those of IEEE 754 and C: NaN gives NaN (but `pow(x, 0)` and `pow(1, y)` are 1), odd functions
//! keep the sign of zero, results overflow to infinity and underflow gradually. Polynomials are fitted by
//! `scripts/elementary.py`.

mod angle;
mod coefficients;
mod direct;
mod erf;
mod exp;
mod gamma;
mod hyperbolic;
mod log;
mod pow;
mod trig;

pub use direct::{Direct32, Direct64};
pub(crate) use gamma::BERNOULLI;

use crate::scalar::Function;

/// The operations of which elementary functions are made.
///
/// A value `V` is a float, an integer or a mask, all of one width: f32 goes with 32-bit integers and masks, f64
/// with 64-bit ones. [`Direct32`] and [`Direct64`] define the exact result of every operation.
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

impl Function {
    /// Builds the function of `x` (and of `y`, which only binary functions look at).
    #[inline(always)]
    pub fn build<A: Arith>(self, float: Float, a: &mut A, x: A::V, y: A::V) -> A::V {
        match self {
            Function::Exp => exp::exp(a, float, x),
            Function::Expm1 => exp::expm1(a, float, x),
            Function::Log => log::log(a, float, x),
            Function::Log1p => log::log1p(a, float, x),
            Function::Tanh => exp::tanh(a, float, x),
            Function::Sigmoid => exp::sigmoid(a, float, x),
            Function::Erf => erf::erf(a, float, x),
            Function::Sin => trig::sin(a, float, x),
            Function::Cos => trig::cos(a, float, x),
            Function::Rsqrt => rsqrt(a, x),
            Function::Pow => pow::pow(a, float, x, y),
            Function::Lgamma => gamma::lgamma(a, float, x),
            Function::Digamma => gamma::digamma(a, float, x),
            Function::ErfInv => erf::erf_inv(a, float, x),
            Function::Tan => trig::tan(a, float, x),
            Function::Asin => angle::asin(a, float, x),
            Function::Acos => angle::acos(a, float, x),
            Function::Atan => angle::atan(a, float, x),
            Function::Atan2 => angle::atan2(a, float, x, y),
            Function::Sinh => hyperbolic::sinh(a, float, x),
            Function::Cosh => hyperbolic::cosh(a, float, x),
            Function::Asinh => hyperbolic::asinh(a, float, x),
            Function::Acosh => hyperbolic::acosh(a, float, x),
            Function::Atanh => hyperbolic::atanh(a, float, x),
            Function::Log2 => pow::log2(a, float, x),
            Function::Log10 => pow::log10(a, float, x),
        }
    }
}

/// 1/sqrt(x), two roundings. 1/±0 = ±inf as in IEEE 754 `rSqrt`.
fn rsqrt<A: Arith>(a: &mut A, x: A::V) -> A::V {
    let one = a.float(1.0);
    let root = a.sqrt(x);
    a.div(one, root)
}

impl Float {
    /// Chooses between what belongs to f32 and to f64.
    #[inline(always)]
    fn pick<T>(self, f32: T, f64: T) -> T {
        match self {
            Float::F32 => f32,
            Float::F64 => f64,
        }
    }

    /// Stored bits of the significand.
    #[inline(always)]
    fn mantissa(self) -> u32 {
        self.pick(23, 52)
    }

    /// Exponent bias.
    #[inline(always)]
    fn bias(self) -> i64 {
        self.pick(127, 1023)
    }

    /// The bits of the float constant `value`.
    #[inline(always)]
    fn bits(self, value: f64) -> i64 {
        self.pick(i64::from((value as f32).to_bits()), value.to_bits() as i64)
    }

    /// The sign bit.
    #[inline(always)]
    fn sign(self) -> i64 {
        self.pick(1 << 31, i64::MIN)
    }

    /// 1.5 * 2^mantissa: added to a float of at most a quarter of that size, it rounds it to an integer, which
    /// then stands in the low bits of the sum.
    #[inline(always)]
    fn magic(self) -> f64 {
        self.pick(12582912.0, 6755399441055744.0)
    }
}

/// c_0 + c_1 x + c_2 x² + ...
#[inline(always)]
fn polynomial<A: Arith>(a: &mut A, coefficients: &[f64], x: A::V) -> A::V {
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
fn odd_quotient<A: Arith>(a: &mut A, x: A::V, limit: f64, share: f64, above: &[f64], below: &[f64]) -> A::V {
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
fn clamp<A: Arith>(a: &mut A, x: A::V, low: f64, high: f64) -> A::V {
    let (low, high) = (a.float(low), a.float(high));
    let x = a.max(low, x);
    a.min(high, x)
}

/// `magnitude`, a non-negative float, with the sign of `sign`.
#[inline(always)]
fn with_sign<A: Arith>(a: &mut A, float: Float, magnitude: A::V, sign: A::V) -> A::V {
    let (bits, mask) = (a.as_int(sign), a.int(float.sign()));
    let sign = a.int_and(bits, mask);
    let bits = a.as_int(magnitude);
    let bits = a.int_or(bits, sign);
    a.as_float(bits)
}
