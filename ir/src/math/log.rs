//! log and log1p.
//!
//! x = 2^e m with sqrt(1/2) <= m < sqrt(2), taken from the bits; log(m) is a polynomial in f = m - 1.

use super::arith::{Arith, Float, polynomial};
use super::coefficients::*;

/// x = 2^e (1 + f).
pub(super) struct Split<V> {
    /// The exponent as a float.
    pub e: V,
    /// sqrt(1/2) - 1 <= f < sqrt(2) - 1; exact.
    pub f: V,
    /// The exponent plus the bias, as an integer (of a denormal: of its multiple).
    biased: V,
}

/// Splits a positive finite x; others give finite nonsense.
pub(super) fn split<A: Arith>(a: &mut A, float: Float, x: A::V) -> Split<A::V> {
    let mantissa = float.mantissa();
    let unit = 2f64.powi(mantissa as i32);
    let bias = float.bias() as f64;
    // Denormals are multiplied into the normal range.
    let least = a.float(2f64.powi(1 - float.bias() as i32));
    let is_denormal = a.lt(x, least);
    let factor = a.float(2.0 * unit);
    let multiple = a.mul(x, factor);
    let normal = a.select(is_denormal, multiple, x);
    let (plain, shifted) = (a.float(unit + bias), a.float(unit + bias + f64::from(mantissa + 1)));
    let offset = a.select(is_denormal, shifted, plain);

    let low = float.bits(std::f64::consts::FRAC_1_SQRT_2);
    let bits = a.as_int(normal);
    let move_up = a.int(float.bits(1.0) - low);
    let bits = a.int_add(bits, move_up);
    let biased = a.shr(bits, mantissa);
    let mask = a.int((1 << mantissa) - 1);
    let bits = a.int_and(bits, mask);
    let low = a.int(low);
    let bits = a.int_add(bits, low);
    let m = a.as_float(bits);
    let one = a.float(1.0);
    let f = a.sub(m, one);
    // The exponent becomes a float by way of the bits of 2^mantissa + exponent.
    let unit_bits = a.int(float.bits(unit));
    let bits = a.int_or(biased, unit_bits);
    let e = a.as_float(bits);
    let e = a.sub(e, offset);
    Split { e, f, biased }
}

/// e ln 2 + log(1 + f).
fn join<A: Arith>(a: &mut A, float: Float, e: A::V, f: A::V) -> A::V {
    let [ln2, ln2_low] = float.pick(LN2_F32, LN2_F64);
    let (ln2, ln2_low) = (a.float(ln2), a.float(ln2_low));
    let c = polynomial(a, float.pick(&LOG_F32, &LOG_F64), f);
    let square = a.mul(f, f);
    let rest = a.mul(square, c);
    let rest = a.fma(e, ln2_low, rest);
    let sum = a.add(f, rest);
    a.fma(e, ln2, sum)
}

/// `value` for 0 < x < inf; -inf for ±0; x for inf and NaN; NaN for x < 0.
pub(super) fn special<A: Arith>(a: &mut A, x: A::V, value: A::V) -> A::V {
    let (zero, infinity) = (a.float(0.0), a.float(f64::INFINITY));
    let (minus_infinity, nan) = (a.float(f64::NEG_INFINITY), a.float(f64::NAN));
    let is_finite = a.lt(x, infinity);
    let value = a.select(is_finite, value, x);
    let is_zero = a.eq(x, zero);
    let otherwise = a.select(is_zero, minus_infinity, nan);
    let is_positive = a.lt(zero, x);
    a.select(is_positive, value, otherwise)
}

pub(super) fn log<A: Arith>(a: &mut A, float: Float, x: A::V) -> A::V {
    let Split { e, f, .. } = split(a, float, x);
    let value = join(a, float, e, f);
    special(a, x, value)
}

/// log of u = 1 + x, with what the sum lost put back into f.
pub(super) fn log1p<A: Arith>(a: &mut A, float: Float, x: A::V) -> A::V {
    let one = a.float(1.0);
    let u = a.add(one, x);
    let back = a.sub(u, one);
    let lost = a.sub(x, back);
    let Split { e, f, biased } = split(a, float, u);
    // lost 2^-e; nothing worth it is lost for large x, where 2^-e could leave the range.
    let twice = a.int(2 * float.bias());
    let power = a.int_sub(twice, biased);
    let power = a.shl(power, float.mantissa());
    let power = a.as_float(power);
    let lost = a.mul(lost, power);
    let corrected = a.add(f, lost);
    let large = a.float(2f64.powi(64));
    let matters = a.lt(x, large);
    let f = a.select(matters, corrected, f);
    let value = join(a, float, e, f);
    let value = special(a, u, value);
    // Near 0 it is x to the last bit; this keeps denormals and the sign of zero.
    let (size, tiny) = (a.abs(x), a.float(float.pick(2f64.powi(-25), 2f64.powi(-54))));
    let near = a.lt(size, tiny);
    a.select(near, x, value)
}
