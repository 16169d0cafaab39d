//! x^y = 2^(y log2 |x|), with log2 |x| and the product as unevaluated sums of two floats (Dekker, "A
//! floating-point technique for extending the available precision", 1971; products split with `fma`).

use super::arith::{Arith, Float, clamp, polynomial};
use super::coefficients::*;
use super::exp::{exp_reduced, scale};
use super::log::{Split, special, split};

/// An unevaluated sum, |low| far below |high|.
#[derive(Clone, Copy)]
struct Double<V> {
    high: V,
    low: V,
}

/// x + y exactly, for |x| >= |y| or x = 0.
fn fast_sum<A: Arith>(a: &mut A, x: A::V, y: A::V) -> Double<A::V> {
    let high = a.add(x, y);
    let low = a.sub(x, high);
    let low = a.add(low, y);
    Double { high, low }
}

/// x y up to the product of the low parts.
fn product<A: Arith>(a: &mut A, x: Double<A::V>, y: Double<A::V>) -> Double<A::V> {
    let high = a.mul(x.high, y.high);
    let minus = a.neg(high);
    let low = a.fma(x.high, y.high, minus);
    let low = a.fma(x.high, y.low, low);
    let low = a.fma(x.low, y.high, low);
    Double { high, low }
}

/// log2 of a positive finite x.
fn log2_of<A: Arith>(a: &mut A, float: Float, x: A::V) -> Double<A::V> {
    let Split { e, f, .. } = split(a, float, x);
    // s = f/(2 + f), so that log(1 + f) = 2 atanh(s)
    let two = a.float(2.0);
    let divisor = fast_sum(a, two, f);
    let high = a.div(f, divisor.high);
    let minus = a.neg(high);
    let rest = a.fma(minus, divisor.high, f);
    let rest = a.fma(minus, divisor.low, rest);
    let low = a.div(rest, divisor.high);
    let s = Double { high, low };
    // atanh(s) = s + s z (1/3 + z c(z)), z = s²
    let z = product(a, s, s);
    let c = polynomial(a, float.pick(&ATANH_F32, &ATANH_F64), z.high);
    let c = a.mul(c, z.high);
    let [third, third_low] = float.pick(THIRD_F32, THIRD_F64);
    let (third, third_low) = (a.float(third), a.float(third_low));
    let mut c = fast_sum(a, third, c);
    c.low = a.add(c.low, third_low);
    let c = product(a, z, c);
    let c = product(a, s, c);
    let mut atanh = fast_sum(a, s.high, c.high);
    let low = a.add(s.low, c.low);
    atanh.low = a.add(atanh.low, low);

    let [high, low] = float.pick(TWO_OVER_LN2_F32, TWO_OVER_LN2_F64);
    let factor = Double { high: a.float(high), low: a.float(low) };
    let fraction = product(a, atanh, factor);
    let mut sum = fast_sum(a, e, fraction.high);
    sum.low = a.add(sum.low, fraction.low);
    sum
}

pub(super) fn log2<A: Arith>(a: &mut A, float: Float, x: A::V) -> A::V {
    let log = log2_of(a, float, x);
    let value = a.add(log.high, log.low);
    special(a, x, value)
}

pub(super) fn log10<A: Arith>(a: &mut A, float: Float, x: A::V) -> A::V {
    let log = log2_of(a, float, x);
    let [high, low] = float.pick(LOG10_2_F32, LOG10_2_F64);
    let factor = Double { high: a.float(high), low: a.float(low) };
    let log = product(a, log, factor);
    let value = a.add(log.high, log.low);
    special(a, x, value)
}

/// 2^t for any t; `t.low` counts only where the result is neither 0 nor infinite.
fn exp2<A: Arith>(a: &mut A, float: Float, t: Double<A::V>) -> A::V {
    let beyond = float.pick(160.0, 1100.0);
    let (zero, limit, size) = (a.float(0.0), a.float(beyond), a.abs(t.high));
    let counts = a.lt(size, limit);
    let low = a.select(counts, t.low, zero);
    let high = clamp(a, t.high, -beyond, beyond);

    let offset = a.float(float.magic() + 2.0 * float.bias() as f64);
    let quotient = a.add(high, offset);
    let n = a.sub(quotient, offset);
    let r = a.sub(high, n);
    let [ln2, ln2_low] = float.pick(LN2_F32, LN2_F64);
    let ln2 = Double { high: a.float(ln2), low: a.float(ln2_low) };
    let r = product(a, Double { high: r, low }, ln2);
    let p = exp_reduced(a, float, r.high);
    let p = a.fma(p, r.low, p);
    scale(a, float, p, quotient)
}

pub(super) fn pow<A: Arith>(a: &mut A, float: Float, x: A::V, y: A::V) -> A::V {
    let (zero, one, infinity) = (a.float(0.0), a.float(1.0), a.float(f64::INFINITY));
    let size = a.abs(x);
    let mut l = log2_of(a, float, size);
    // log2 of 0 is -inf, of inf and NaN the argument itself.
    let is_finite = a.lt(size, infinity);
    l.high = a.select(is_finite, l.high, size);
    let (is_zero, minus_infinity) = (a.eq(size, zero), a.float(f64::NEG_INFINITY));
    l.high = a.select(is_zero, minus_infinity, l.high);
    let t = product(a, l, Double { high: y, low: zero });
    let value = exp2(a, float, t);
    // |x| = 1 or y = 0: 1, even where the other argument is infinite or NaN.
    let (is_one, is_power_zero) = (a.eq(size, one), a.eq(y, zero));
    let value = a.select(is_one, one, value);
    let value = a.select(is_power_zero, one, value);

    let rounded = a.round_even(y);
    let is_integer = a.eq(rounded, y);
    let half = a.float(0.5);
    let half_y = a.mul(y, half);
    let rounded = a.round_even(half_y);
    let is_even = a.eq(rounded, half_y);
    // Odd powers take the sign of x (of -0 and -inf too); other powers of a negative finite x are NaN.
    let (bits, sign, none) = (a.as_int(x), a.int(float.sign()), a.int(0));
    let sign = a.int_and(bits, sign);
    let sign = a.select(is_even, none, sign);
    let sign = a.select(is_integer, sign, none);
    let bits = a.as_int(value);
    let bits = a.int_xor(bits, sign);
    let value = a.as_float(bits);
    let nan = a.float(f64::NAN);
    let real = a.select(is_integer, value, nan);
    let real = a.select(is_finite, real, value);
    let is_negative = a.lt(x, zero);
    a.select(is_negative, real, value)
}
