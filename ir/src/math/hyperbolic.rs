//! sinh, cosh and the inverse hyperbolic functions, by expm1, exp and log1p of arguments made without cancellation.

use super::arith::{Arith, Float, with_sign};
use super::exp::{exp, expm1};
use super::log::log1p;

/// From here on a square is left to the end, so that nothing overflows before the result.
fn far(float: Float) -> f64 {
    float.pick(80.0, 700.0)
}

/// From here on 1 counts for nothing beside the argument.
fn huge(float: Float) -> f64 {
    float.pick(2f64.powi(28), 2f64.powi(56))
}

/// Whether a size is far out, and the size itself or half of it then.
fn halved_far<A: Arith>(a: &mut A, size: A::V, far: A::V, half: A::V) -> (A::V, A::V) {
    let is_far = a.lt(far, size);
    let part = a.mul(size, half);
    (is_far, a.select(is_far, part, size))
}

/// With e = e^|x| - 1: (e + e/(e + 1))/2. Far out e^(|x|/2)²/2, where e^(|x|/2) - 1 is e^(|x|/2) to the last bit.
pub(super) fn sinh<A: Arith>(a: &mut A, float: Float, x: A::V) -> A::V {
    let (size, far) = (a.abs(x), a.float(far(float)));
    let (half, one) = (a.float(0.5), a.float(1.0));
    let (is_far, part) = halved_far(a, size, far, half);
    let e = expm1(a, float, part);
    let halved = a.mul(half, e);
    let square = a.mul(halved, e);
    let sum = a.add(e, one);
    let quotient = a.div(e, sum);
    let near = a.fma(half, quotient, halved);
    let value = a.select(is_far, square, near);
    with_sign(a, float, value, x)
}

/// (e + 1/e)/2 with e = e^|x|; far out e^(|x|/2)²/2.
pub(super) fn cosh<A: Arith>(a: &mut A, float: Float, x: A::V) -> A::V {
    let (size, far) = (a.abs(x), a.float(far(float)));
    let half = a.float(0.5);
    let (is_far, part) = halved_far(a, size, far, half);
    let e = exp(a, float, part);
    let halved = a.mul(half, e);
    let square = a.mul(halved, e);
    let inverse = a.div(half, e);
    let near = a.add(halved, inverse);
    a.select(is_far, square, near)
}

/// log(1 + `near`), or where `is_huge` log(2 `size`).
fn log_of<A: Arith>(a: &mut A, float: Float, is_huge: A::V, size: A::V, near: A::V) -> A::V {
    let z = a.select(is_huge, size, near);
    let log = log1p(a, float, z);
    let (ln2, zero) = (a.float(std::f64::consts::LN_2), a.float(0.0));
    let more = a.select(is_huge, ln2, zero);
    a.add(log, more)
}

/// log(1 + |x| + x²/(1 + sqrt(1 + x²)))
pub(super) fn asinh<A: Arith>(a: &mut A, float: Float, x: A::V) -> A::V {
    let (size, one, huge) = (a.abs(x), a.float(1.0), a.float(huge(float)));
    let is_huge = a.lt(huge, size);
    let square = a.mul(size, size);
    let sum = a.add(square, one);
    let root = a.sqrt(sum);
    let below = a.add(root, one);
    let rest = a.div(square, below);
    let near = a.add(size, rest);
    let value = log_of(a, float, is_huge, size, near);
    with_sign(a, float, value, x)
}

/// log(1 + t + sqrt(t (t + 2))) with t = x - 1.
pub(super) fn acosh<A: Arith>(a: &mut A, float: Float, x: A::V) -> A::V {
    let (one, two, huge) = (a.float(1.0), a.float(2.0), a.float(huge(float)));
    let is_huge = a.lt(huge, x);
    let t = a.sub(x, one);
    let sum = a.add(t, two);
    let square = a.mul(t, sum);
    let root = a.sqrt(square);
    let near = a.add(t, root);
    let value = log_of(a, float, is_huge, x, near);
    let (is_outside, nan) = (a.lt(x, one), a.float(f64::NAN));
    a.select(is_outside, nan, value)
}

/// log(1 + 2|x|/(1 - |x|))/2
pub(super) fn atanh<A: Arith>(a: &mut A, float: Float, x: A::V) -> A::V {
    let (size, half, one) = (a.abs(x), a.float(0.5), a.float(1.0));
    let twice = a.add(size, size);
    let rest = a.sub(one, size);
    let quotient = a.div(twice, rest);
    let log = log1p(a, float, quotient);
    let value = a.mul(half, log);
    with_sign(a, float, value, x)
}
