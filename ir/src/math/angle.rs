//! Inverse trigonometric functions.
//!
//! atan(t) is an odd polynomial for |t| <= 1; larger arguments are turned by a quarter: pi/2 - atan(1/t). The others are
//! angles with a tangent that is made without cancellation.

use super::arith::{Arith, Float, polynomial, with_sign};
use super::coefficients::*;

/// atan(t) for 0 <= t <= 1.
fn atan_reduced<A: Arith>(a: &mut A, float: Float, t: A::V) -> A::V {
    let y = a.mul(t, t);
    let cube = a.mul(t, y);
    let c = polynomial(a, float.pick(&ATAN_F32[..], &ATAN_F64[..]), y);
    a.fma(cube, c, t)
}

/// `quarters` pi/2 - angle.
fn turned<A: Arith>(a: &mut A, float: Float, quarters: f64, angle: A::V) -> A::V {
    let [high, low, ..] = float.pick(PI_2_F32, PI_2_F64);
    let (high, low) = (a.float(quarters * high), a.float(quarters * low));
    let rest = a.sub(low, angle);
    a.add(high, rest)
}

pub(super) fn atan<A: Arith>(a: &mut A, float: Float, x: A::V) -> A::V {
    let (size, one) = (a.abs(x), a.float(1.0));
    let is_large = a.lt(one, size);
    let inverse = a.div(one, size);
    let t = a.select(is_large, inverse, size);
    let angle = atan_reduced(a, float, t);
    let rest = turned(a, float, 1.0, angle);
    let angle = a.select(is_large, rest, angle);
    with_sign(a, float, angle, x)
}

/// The angle of the point (x, y), by the quotient of the smaller coordinate and the larger one.
pub(super) fn atan2<A: Arith>(a: &mut A, float: Float, y: A::V, x: A::V) -> A::V {
    let (height, width) = (a.abs(y), a.abs(x));
    let is_steep = a.lt(width, height);
    let low = a.select(is_steep, width, height);
    let high = a.select(is_steep, height, width);
    let (zero, one) = (a.float(0.0), a.float(1.0));
    let t = a.div(low, high);
    // 0/0 is the angle 0, inf/inf half a quarter.
    let is_nothing = a.eq(high, zero);
    let t = a.select(is_nothing, zero, t);
    let infinity = a.float(f64::INFINITY);
    let is_endless = a.eq(low, infinity);
    let t = a.select(is_endless, one, t);

    let angle = atan_reduced(a, float, t);
    let steep = turned(a, float, 1.0, angle);
    let angle = a.select(is_steep, steep, angle);
    let back = turned(a, float, 2.0, angle);
    // The sign bit, so that -0 counts as negative.
    let (bits, sign, none) = (a.as_int(x), a.int(float.sign()), a.int(0));
    let sign = a.int_and(bits, sign);
    let is_right = a.int_eq(sign, none);
    let angle = a.select(is_right, angle, back);
    let angle = with_sign(a, float, angle, y);
    let (x_is_number, y_is_number) = (a.eq(x, x), a.eq(y, y));
    let angle = a.select(x_is_number, angle, x);
    a.select(y_is_number, angle, y)
}

/// x / sqrt(1 - x²) is the tangent.
pub(super) fn asin<A: Arith>(a: &mut A, float: Float, x: A::V) -> A::V {
    let one = a.float(1.0);
    let (less, more) = (a.sub(one, x), a.add(one, x));
    let square = a.mul(less, more);
    let cosine = a.sqrt(square);
    let tangent = a.div(x, cosine);
    atan(a, float, tangent)
}

/// sqrt((1 - x) / (1 + x)) is the tangent of half the angle.
pub(super) fn acos<A: Arith>(a: &mut A, float: Float, x: A::V) -> A::V {
    let one = a.float(1.0);
    let (less, more) = (a.sub(one, x), a.add(one, x));
    let square = a.div(less, more);
    let tangent = a.sqrt(square);
    let half = atan(a, float, tangent);
    a.add(half, half)
}
