//! exp, expm1, tanh and the logistic function.
//!
//! exp: x = n ln 2 + r with |r| <= ln(2)/2; e^r is a polynomial; 2^n is put together from exponent bits
//! (Tang, "Table-driven implementation of the exponential function in IEEE floating-point arithmetic", 1989,
//! without the table).

use super::arith::{Arith, Float, clamp, odd_quotient, polynomial, with_sign};
use super::coefficients::*;

/// x = n part ln 2 + r, |r| <= part ln(2)/2.
struct Reduced<V> {
    /// A float whose low bits hold n plus an offset.
    quotient: V,
    r: V,
}

/// Reduces x by multiples of `part` ln 2, `part` a power of two. `offset`: see who reads the quotient.
fn reduce<A: Arith>(a: &mut A, float: Float, x: A::V, part: f64, offset: i64) -> Reduced<A::V> {
    let [ln2, ln2_low] = float.pick(LN2_F32, LN2_F64);
    let inverse = a.float(std::f64::consts::LOG2_E / part);
    let offset = a.float(float.magic() + offset as f64);
    let quotient = a.fma(x, inverse, offset);
    let n = a.sub(quotient, offset);
    let (high, low) = (a.float(-ln2 * part), a.float(-ln2_low * part));
    let r = a.fma(n, high, x);
    let r = a.fma(n, low, r);
    Reduced { quotient, r }
}

/// e^r for |r| <= ln(2)/2, or a little more.
pub(super) fn exp_reduced<A: Arith>(a: &mut A, float: Float, r: A::V) -> A::V {
    let one = a.float(1.0);
    let c = polynomial(a, float.pick(&EXP_F32, &EXP_F64), r);
    let c = a.fma(c, r, one);
    a.fma(c, r, one)
}

/// e^r - 1 for such r.
fn expm1_reduced<A: Arith>(a: &mut A, float: Float, r: A::V) -> A::V {
    let c = polynomial(a, float.pick(&EXP_F32, &EXP_F64), r);
    let square = a.mul(r, r);
    a.fma(square, c, r)
}

/// 2^n for normal results, where the low bits of `quotient` hold n plus the bias.
pub(super) fn power_of_two<A: Arith>(a: &mut A, float: Float, quotient: A::V) -> A::V {
    let bits = a.as_int(quotient);
    let bits = a.shl(bits, float.mantissa());
    a.as_float(bits)
}

/// p 2^n, where the low bits of `quotient` hold n plus twice the bias. 2^n in two factors, so that results
/// overflow to infinity and underflow through the denormals with one rounding.
pub(super) fn scale<A: Arith>(a: &mut A, float: Float, p: A::V, quotient: A::V) -> A::V {
    let bits = a.as_int(quotient);
    let half = a.shr(bits, 1);
    let rest = a.int_sub(bits, half);
    let half = a.shl(half, float.mantissa());
    let rest = a.shl(rest, float.mantissa());
    let (half, rest) = (a.as_float(half), a.as_float(rest));
    let p = a.mul(p, half);
    a.mul(p, rest)
}

/// e^x for x limited to [low, high].
fn exp_between<A: Arith>(a: &mut A, float: Float, x: A::V, low: f64, high: f64) -> A::V {
    let x = clamp(a, x, low, high);
    let Reduced { quotient, r } = reduce(a, float, x, 1.0, 2 * float.bias());
    let p = exp_reduced(a, float, r);
    scale(a, float, p, quotient)
}

/// Below, e^x rounds to 0.
fn lowest(float: Float) -> f64 {
    float.pick(-104.0, -746.0)
}

pub(super) fn exp<A: Arith>(a: &mut A, float: Float, x: A::V) -> A::V {
    exp_between(a, float, x, lowest(float), float.pick(89.0, 710.0))
}

/// e^x / (1 + e^x), with x limited where it is 1 long since and e^x still finite.
///
/// For negative x, what the rounding of the sum lost, l, is put right in the quotient q to first order:
/// q - q l / (1 + e^x), where 1 / (1 + e^x) = 1 - q. A second factor 1 - q ends this for positive x, where it is not
/// needed and l is not exact.
pub(super) fn sigmoid<A: Arith>(a: &mut A, float: Float, x: A::V) -> A::V {
    let e = exp_between(a, float, x, lowest(float), float.pick(88.0, 709.0));
    let one = a.float(1.0);
    let sum = a.add(e, one);
    let q = a.div(e, sum);
    let back = a.sub(sum, one);
    let gained = a.sub(back, e);
    let rest = a.sub(one, q);
    let (left, right) = (a.mul(gained, rest), a.mul(q, rest));
    a.fma(left, right, q)
}

/// 2^n (e^r - 1) + (2^n - 1), halved until the last step because 2^n may overflow.
pub(super) fn expm1<A: Arith>(a: &mut A, float: Float, x: A::V) -> A::V {
    let limited = clamp(a, x, float.pick(-18.0, -40.0), float.pick(89.0, 710.0));
    let Reduced { quotient, r } = reduce(a, float, limited, 1.0, float.bias() - 1);
    let p = expm1_reduced(a, float, r);
    let power = power_of_two(a, float, quotient);
    let (half, two) = (a.float(0.5), a.float(2.0));
    let rest = a.sub(power, half);
    let sum = a.fma(power, p, rest);
    let result = a.mul(sum, two);

    // Near 0 it is x to the last bit; this keeps denormals and the sign of zero.
    let (size, tiny) = (a.abs(x), a.float(float.pick(2f64.powi(-25), 2f64.powi(-54))));
    let near = a.lt(size, tiny);
    a.select(near, x, result)
}

pub(super) fn tanh<A: Arith>(a: &mut A, float: Float, x: A::V) -> A::V {
    match float {
        Float::F32 => odd_quotient(a, x, 9.02, 0.125, &TANH_ABOVE_F32, &TANH_BELOW_F32),
        Float::F64 => tanh64(a, x),
    }
}

/// e / (e + 2) with e = e^(2|x|) - 1, as in Sun's fdlibm.
fn tanh64<A: Arith>(a: &mut A, x: A::V) -> A::V {
    let float = Float::F64;
    let size = a.abs(x);
    // From the limit on it is 1; 2^n is a normal number up to there.
    let limit = a.float(20.0);
    let limited = a.min(limit, size);
    let Reduced { quotient, r } = reduce(a, float, limited, 0.5, float.bias());
    let double = a.add(r, r);
    let p = expm1_reduced(a, float, double);
    let power = power_of_two(a, float, quotient);
    let (one, two) = (a.float(1.0), a.float(2.0));
    let rest = a.sub(power, one);
    let e = a.fma(power, p, rest);
    let sum = a.add(e, two);
    let value = a.div(e, sum);
    with_sign(a, float, value, x)
}
