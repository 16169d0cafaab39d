//! lgamma and digamma: Stirling's series from 8 on, the recurrence down to [1, 3) and a polynomial there,
//! reflection for negative arguments (Abramowitz & Stegun, 6.1.15, 6.1.17, 6.1.41, 6.3.5, 6.3.7, 6.3.18).
//!
//! Relative accuracy holds at the zeros for x > 0; at those for x < 0 the error is small absolutely only.

use super::arith::{Arith, Float, polynomial};
use super::coefficients::*;
use super::log::log;

/// Bernoulli numbers B2, B4, ... B20.
pub(crate) const BERNOULLI: [f64; 10] = [
    1.0 / 6.0,
    -1.0 / 30.0,
    1.0 / 42.0,
    -1.0 / 30.0,
    5.0 / 66.0,
    -691.0 / 2730.0,
    7.0 / 6.0,
    -3617.0 / 510.0,
    43867.0 / 798.0,
    -174611.0 / 330.0,
];

/// Terms of Stirling's series that matter at 8.
fn terms(float: Float) -> usize {
    float.pick(4, 10)
}

/// A positive argument z, brought to [1, 3).
struct Shifted<V> {
    /// z in [1, 3) or brought there by the recurrence; meaningless from 8 on.
    u: V,
    /// u - 2, from z without rounding.
    w: V,
    /// z < 1, so u = z + 1.
    is_below: V,
    /// z < 8.
    is_small: V,
}

/// Brings z to [1, 3), calling `step` with the running u - 1 and its mask wherever 1 is subtracted.
fn shift<A: Arith>(a: &mut A, z: A::V, mut step: impl FnMut(&mut A, A::V, A::V)) -> Shifted<A::V> {
    let (one, two, three, eight) = (a.float(1.0), a.float(2.0), a.float(3.0), a.float(8.0));
    let is_small = a.lt(z, eight);
    let is_below = a.lt(z, one);
    let above = a.add(z, one);
    let mut u = a.select(is_small, z, two);
    for _ in 0..5 {
        let less = a.sub(u, one);
        let done = a.lt(u, three);
        step(a, done, less);
        u = a.select(done, u, less);
    }
    let (w, w_below) = (a.sub(u, two), a.sub(z, one));
    let w = a.select(is_below, w_below, w);
    let u = a.select(is_below, above, u);
    Shifted { u, w, is_below, is_small }
}

/// lgamma(z) for z >= 0.
fn lgamma_positive<A: Arith>(a: &mut A, float: Float, z: A::V) -> A::V {
    let one = a.float(1.0);
    let mut product = one;
    let Shifted { u, w, is_below, is_small } = shift(a, z, |a, done, less| {
        let next = a.mul(product, less);
        product = a.select(done, product, next);
    });
    // Near: w (1 + w) c(w), plus the log of the product, or minus log z below 1.
    let c = polynomial(a, float.pick(&LGAMMA_F32, &LGAMMA_F64), w);
    let above_one = a.sub(u, one);
    let above_one = a.select(is_below, z, above_one);
    let core = a.mul(w, above_one);
    let core = a.mul(core, c);
    let argument = a.select(is_below, z, product);
    let argument = a.select(is_small, argument, z);
    let log = log(a, float, argument);
    let minus_log = a.neg(log);
    let signed_log = a.select(is_below, minus_log, log);
    let near = a.add(core, signed_log);
    // Far: (z - 1/2) (log z - 1) + (log(2 pi) - 1)/2 + sum of B_2k / (2k (2k - 1) z^(2k - 1));
    // the constant is 0.4189...
    let mut series = [0.0; BERNOULLI.len()];
    for (i, (term, b)) in series.iter_mut().zip(BERNOULLI).enumerate() {
        let k2 = 2.0 * (i as f64 + 1.0);
        *term = b / (k2 * (k2 - 1.0));
    }
    let inverse = a.div(one, z);
    let square = a.mul(inverse, inverse);
    let series = polynomial(a, &series[..terms(float)], square);
    let constant = a.float(0.4189385332046727);
    let rest = a.fma(series, inverse, constant);
    let (half, slope) = (a.float(0.5), a.sub(log, one));
    let z_half = a.sub(z, half);
    let far = a.fma(z_half, slope, rest);
    a.select(is_small, near, far)
}

/// |x| minus the nearest integer, and whether it is no pole: |f| > 0 (from 2^mantissa on all are integers).
fn distance_to_pole<A: Arith>(a: &mut A, x: A::V) -> (A::V, A::V) {
    let rounded = a.round_even(x);
    let distance = a.sub(x, rounded);
    let distance = a.abs(distance);
    let zero = a.float(0.0);
    let is_regular = a.lt(zero, distance);
    (distance, is_regular)
}

/// sin(pi f)/pi for 0 <= f <= 1/2.
fn sin_pi_over_pi<A: Arith>(a: &mut A, float: Float, f: A::V) -> A::V {
    let square = a.mul(f, f);
    let c = polynomial(a, float.pick(&SINPI_F32, &SINPI_F64), square);
    a.mul(f, c)
}

/// x, or 1 - x below 0, and the mask of x < 0.
fn reflect<A: Arith>(a: &mut A, x: A::V) -> (A::V, A::V) {
    let (zero, one) = (a.float(0.0), a.float(1.0));
    let is_negative = a.lt(x, zero);
    let reflected = a.sub(one, x);
    (a.select(is_negative, reflected, x), is_negative)
}

/// lgamma(x) = -log(|sin(pi x)|/pi) - lgamma(1 - x) for x < 0; inf at the poles and at ±inf.
pub(super) fn lgamma<A: Arith>(a: &mut A, float: Float, x: A::V) -> A::V {
    let (z, is_negative) = reflect(a, x);
    let positive = lgamma_positive(a, float, z);
    let (f, is_regular) = distance_to_pole(a, x);
    let sine = sin_pi_over_pi(a, float, f);
    let log = log(a, float, sine);
    let sum = a.add(log, positive);
    let negative = a.neg(sum);
    let infinity = a.float(f64::INFINITY);
    let negative = a.select(is_regular, negative, infinity);
    a.select(is_negative, negative, positive)
}

/// digamma(z) for z >= 0.
fn digamma_positive<A: Arith>(a: &mut A, float: Float, z: A::V) -> A::V {
    let (zero, one) = (a.float(0.0), a.float(1.0));
    let mut sum = zero;
    let Shifted { u, w, is_below, is_small } = shift(a, z, |a, done, less| {
        let term = a.div(one, less);
        let next = a.add(sum, term);
        sum = a.select(done, sum, next);
    });
    // Near: (u - root) c(w), plus the sum of 1/(u + k), or minus 1/z below 1.
    let c = polynomial(a, float.pick(&DIGAMMA_F32, &DIGAMMA_F64), w);
    let [root, root_low] = float.pick(DIGAMMA_ROOT_F32, DIGAMMA_ROOT_F64);
    let (whole, less) = (a.float(root), a.float(root - 1.0));
    let root = a.select(is_below, less, whole);
    let base = a.select(is_below, z, u);
    let difference = a.sub(base, root);
    let low = a.float(root_low);
    let difference = a.sub(difference, low);
    let inverse = a.div(one, z);
    let minus_inverse = a.neg(inverse);
    let rest = a.select(is_below, minus_inverse, sum);
    let near = a.fma(difference, c, rest);
    // Far: log z - 1/(2z) - sum of B_2k / (2k z^2k)
    let mut series = [0.0; BERNOULLI.len()];
    for (i, (term, b)) in series.iter_mut().zip(BERNOULLI).enumerate() {
        *term = -b / (2.0 * (i as f64 + 1.0));
    }
    let square = a.mul(inverse, inverse);
    let series = polynomial(a, &series[..terms(float)], square);
    let minus_half = a.float(-0.5);
    let series = a.mul(series, square);
    let series = a.fma(inverse, minus_half, series);
    let log = log(a, float, z);
    let far = a.add(log, series);
    a.select(is_small, near, far)
}

/// digamma(x) = digamma(1 - x) - pi cot(pi x) for x < 0; NaN at the poles, -inf at +0, inf at -0.
pub(super) fn digamma<A: Arith>(a: &mut A, float: Float, x: A::V) -> A::V {
    let (z, is_negative) = reflect(a, x);
    let positive = digamma_positive(a, float, z);
    // cos(pi f) = (1 - 2f)(1 + 2f) c(f²), so that the zero at 1/2 stays exact.
    let rounded = a.round_even(x);
    let signed = a.sub(x, rounded);
    let (f, is_regular) = distance_to_pole(a, x);
    let sine = sin_pi_over_pi(a, float, f);
    let square = a.mul(f, f);
    let c = polynomial(a, float.pick(&COSPI_F32, &COSPI_F64), square);
    let (one, two) = (a.float(1.0), a.float(2.0));
    let minus_two = a.float(-2.0);
    let left = a.fma(f, minus_two, one);
    let right = a.fma(f, two, one);
    let cosine = a.mul(left, right);
    let cosine = a.mul(cosine, c);
    let cotangent = a.div(cosine, sine);
    let (zero, minus) = (a.float(0.0), a.neg(cotangent));
    let is_left = a.lt(signed, zero);
    let cotangent = a.select(is_left, minus, cotangent);
    let negative = a.sub(positive, cotangent);
    let nan = a.float(f64::NAN);
    let negative = a.select(is_regular, negative, nan);
    a.select(is_negative, negative, positive)
}
