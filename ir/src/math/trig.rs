//! sin and cos.
//!
//! |x| = n pi/2 + r, pi/2 in parts with fused multiply-adds (Cody & Waite, "Software Manual for the Elementary
//! Functions", 1980); the first step is exact. Then a polynomial for the sine or cosine of r, by quadrant.
//!
//! From 2^20 (f32) or 2^50 (f64) on the angle counts as 0, so that results stay finite and in [-1, 1]. There,
//! neighbouring arguments are an eighth (f32) or a quarter (f64) apart, and an angle says little.

use super::coefficients::*;
use super::{Arith, Float, polynomial};

pub(super) fn sin<A: Arith>(a: &mut A, float: Float, x: A::V) -> A::V {
    let bits = a.as_int(x);
    sine_of_quadrant(a, float, x, bits, 0)
}

pub(super) fn cos<A: Arith>(a: &mut A, float: Float, x: A::V) -> A::V {
    let zero = a.int(0);
    sine_of_quadrant(a, float, x, zero, 1)
}

/// sin(|x| + ahead pi/2), its sign flipped by the sign bit of `flip`.
fn sine_of_quadrant<A: Arith>(a: &mut A, float: Float, x: A::V, flip: A::V, ahead: i64) -> A::V {
    let size = a.abs(x);
    let bound = a.float(float.pick(2f64.powi(20), 2f64.powi(50)));
    let is_angle = a.lt(size, bound);
    let zero = a.sub(size, size); // NaN for an infinity or NaN
    let angle = a.select(is_angle, size, zero);

    let two_over_pi = a.float(std::f64::consts::FRAC_2_PI);
    let magic = a.float(float.magic());
    let quotient = a.fma(angle, two_over_pi, magic);
    let n = a.sub(quotient, magic);
    let mut r = angle;
    for part in float.pick(PI_2_F32, PI_2_F64) {
        let part = a.float(-part);
        r = a.fma(n, part, r);
    }

    let y = a.mul(r, r);
    let cube = a.mul(r, y);
    let c = polynomial(a, float.pick(&SIN_F32, &SIN_F64), y);
    let sine = a.fma(cube, c, r);
    let c = polynomial(a, float.pick(&COS_F32, &COS_F64), y);
    let (minus_half, one) = (a.float(-0.5), a.float(1.0));
    let c = a.fma(c, y, minus_half);
    let cosine = a.fma(c, y, one);

    let quadrant = a.as_int(quotient);
    let ahead = a.int(ahead);
    let quadrant = a.int_add(quadrant, ahead);
    let unit = a.int(1);
    let odd = a.int_and(quadrant, unit);
    let is_odd = a.int_eq(odd, unit);
    let value = a.select(is_odd, cosine, sine);
    // Bit 1 of the quadrant is the sign.
    let turned = a.shl(quadrant, float.pick(30, 62));
    let flip = a.int_xor(turned, flip);
    let sign = a.int(float.sign());
    let flip = a.int_and(flip, sign);
    let bits = a.as_int(value);
    let bits = a.int_xor(bits, flip);
    a.as_float(bits)
}
