//! The error function and its inverse.

use super::arith::{Arith, Float, odd_quotient, polynomial, with_sign};
use super::coefficients::*;
use super::exp::exp;
use super::log::log;

pub(super) fn erf<A: Arith>(a: &mut A, float: Float, x: A::V) -> A::V {
    match float {
        Float::F32 => odd_quotient(a, x, 3.94, 0.25, &ERF_ABOVE_F32, &ERF_BELOW_F32),
        Float::F64 => erf64(a, x),
    }
}

/// An odd polynomial for |x| < 1, else 1 - e^(-x²) erfcx(x), with the scaled complement as a polynomial in
/// (x - 2)/(x + 2).
fn erf64<A: Arith>(a: &mut A, x: A::V) -> A::V {
    let size = a.abs(x);
    let y = a.mul(x, x);
    let c = polynomial(a, &ERF_F64, y);
    let near = a.mul(x, c);

    let (one, two, six) = (a.float(1.0), a.float(2.0), a.float(6.0));
    let limited = a.min(six, size);
    let (above, below) = (a.sub(limited, two), a.add(limited, two));
    let t = a.div(above, below);
    let erfcx = polynomial(a, &ERFCX_F64, t);
    let square = a.mul(limited, limited);
    let square = a.neg(square);
    let e = exp(a, Float::F64, square);
    let far = a.mul(e, erfcx);
    let far = a.sub(one, far);
    let far = with_sign(a, Float::F64, far, x);

    let is_near = a.lt(size, one);
    a.select(is_near, near, far)
}

/// x with erf(x) = y, after Giles, "Approximating the erfinv function" (2010): with w = -log(1 - y²), y c(w) near
/// 0 and c(sqrt(w)) in the tails. ±inf at ±1, NaN beyond.
pub(super) fn erf_inv<A: Arith>(a: &mut A, float: Float, y: A::V) -> A::V {
    let (one, three, size) = (a.float(1.0), a.float(3.0), a.abs(y));
    let (below, above) = (a.sub(one, size), a.add(one, size));
    let product = a.mul(below, above);
    let w = log(a, float, product);
    let w = a.neg(w);

    let shifted = a.sub(w, three);
    let c = polynomial(a, float.pick(&ERF_INV_F32, &ERF_INV_F64), shifted);
    let middle = a.mul(size, c);

    let s = a.sqrt(w);
    let far = match float {
        Float::F32 => polynomial_around(a, 3.3, &ERF_INV_TAIL0_F32, s),
        Float::F64 => {
            let far = polynomial_around(a, 3.4, &ERF_INV_TAIL0_F64, s);
            let farther = polynomial_around(a, 5.2, &ERF_INV_TAIL1_F64, s);
            let boundary = a.float(4.3);
            let is_first = a.lt(s, boundary);
            a.select(is_first, far, farther)
        }
    };
    let infinity = a.float(f64::INFINITY);
    let at_end = a.eq(size, one);
    let far = a.select(at_end, infinity, far);

    let boundary = a.float(6.25);
    let is_middle = a.lt(w, boundary);
    let value = a.select(is_middle, middle, far);
    with_sign(a, float, value, y)
}

fn polynomial_around<A: Arith>(a: &mut A, centre: f64, coefficients: &[f64], x: A::V) -> A::V {
    let centre = a.float(centre);
    let x = a.sub(x, centre);
    polynomial(a, coefficients, x)
}
