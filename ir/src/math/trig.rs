//! sin, cos and tan.
//!
//! |x| = n pi/2 + r, then a polynomial for the sine or cosine of r, by quadrant.
//!
//! Below 2^20 (f32) or 2^50 (f64), pi/2 is taken off in parts with fused multiply-adds (Cody & Waite, "Software Manual
//! for the Elementary Functions", 1980); the first step is exact. Larger arguments are multiplied with 2/pi, of which
//! whole multiples of 4 are left out: they are whole turns (Payne & Hanek, "Radian reduction for trigonometric
//! functions", 1983). Both ways are computed, and one is chosen.

use super::arith::{Arith, Float, polynomial};
use super::coefficients::*;

pub(super) fn sin<A: Arith>(a: &mut A, float: Float, x: A::V) -> A::V {
    let bits = a.as_int(x);
    sine_of_quadrant(a, float, x, bits, 0)
}

pub(super) fn cos<A: Arith>(a: &mut A, float: Float, x: A::V) -> A::V {
    let zero = a.int(0);
    sine_of_quadrant(a, float, x, zero, 1)
}

/// |x| as n quarters of a turn and a rest of at most about pi/4.
struct Reduced<V> {
    /// n plus a number of which the integer has two low bits 0: the low bits are those of n.
    quarters: V,
    rest: V,
}

/// The last quarter of |x|: sine and cosine of what is left of it, and the quarters before as an integer, of which the low
/// bits count.
struct Quadrant<V> {
    sine: V,
    cosine: V,
    number: V,
}

fn quadrant<A: Arith>(a: &mut A, float: Float, x: A::V) -> Quadrant<A::V> {
    let size = a.abs(x);
    let bound = a.float(float.pick(2f64.powi(20), 2f64.powi(50)));
    let is_small = a.lt(size, bound);
    let small = reduce_small(a, float, size);
    let large = reduce_large(a, float, size);
    let undefined = a.sub(size, size); // NaN for an infinity or NaN, else 0
    let rest = a.add(large.rest, undefined);
    let r = a.select(is_small, small.rest, rest);
    let quarters = a.select(is_small, small.quarters, large.quarters);

    let y = a.mul(r, r);
    let cube = a.mul(r, y);
    let c = polynomial(a, float.pick(&SIN_F32, &SIN_F64), y);
    let sine = a.fma(cube, c, r);
    let c = polynomial(a, float.pick(&COS_F32, &COS_F64), y);
    let (minus_half, one) = (a.float(-0.5), a.float(1.0));
    let c = a.fma(c, y, minus_half);
    let cosine = a.fma(c, y, one);
    Quadrant { sine, cosine, number: a.as_int(quarters) }
}

fn is_odd<A: Arith>(a: &mut A, number: A::V) -> A::V {
    let unit = a.int(1);
    let odd = a.int_and(number, unit);
    a.int_eq(odd, unit)
}

/// `value` with its sign flipped by the sign bit of `flip`.
fn flipped<A: Arith>(a: &mut A, float: Float, value: A::V, flip: A::V) -> A::V {
    let sign = a.int(float.sign());
    let flip = a.int_and(flip, sign);
    let bits = a.as_int(value);
    let bits = a.int_xor(bits, flip);
    a.as_float(bits)
}

/// sin(|x| + ahead pi/2), its sign flipped by the sign bit of `flip`.
fn sine_of_quadrant<A: Arith>(a: &mut A, float: Float, x: A::V, flip: A::V, ahead: i64) -> A::V {
    let Quadrant { sine, cosine, number } = quadrant(a, float, x);
    let ahead = a.int(ahead);
    let number = a.int_add(number, ahead);
    let is_odd = is_odd(a, number);
    let value = a.select(is_odd, cosine, sine);
    // Bit 1 of the quadrant is the sign.
    let turned = a.shl(number, float.pick(30, 62));
    let flip = a.int_xor(turned, flip);
    flipped(a, float, value, flip)
}

/// sine/cosine, or -cosine/sine in odd quadrants, with the sign of x.
pub(super) fn tan<A: Arith>(a: &mut A, float: Float, x: A::V) -> A::V {
    let Quadrant { sine, cosine, number } = quadrant(a, float, x);
    let is_odd = is_odd(a, number);
    let above = a.select(is_odd, cosine, sine);
    let below = a.select(is_odd, sine, cosine);
    let value = a.div(above, below);
    // Bit 0 of the quadrant is the sign.
    let turned = a.shl(number, float.pick(31, 63));
    let bits = a.as_int(x);
    let flip = a.int_xor(turned, bits);
    flipped(a, float, value, flip)
}

/// For a `size` below the bound; others give nonsense.
fn reduce_small<A: Arith>(a: &mut A, float: Float, size: A::V) -> Reduced<A::V> {
    let two_over_pi = a.float(std::f64::consts::FRAC_2_PI);
    let magic = a.float(float.magic());
    let quarters = a.fma(size, two_over_pi, magic);
    let n = a.sub(quarters, magic);
    let mut rest = size;
    for part in float.pick(PI_2_F32, PI_2_F64) {
        let part = a.float(-part);
        rest = a.fma(n, part, rest);
    }
    Reduced { quarters, rest }
}

/// For a finite `size` from the bound on; others give nonsense.
///
/// The biased exponent is 16 g + s (f64: 32 g + s). With the integer m of the significand, size is m 2^s times a power
/// of two that only g decides, and m 2^s is an integer. So of that power times 2/pi whole multiples of 4 can be left
/// out, and the table has the rest for every g, in four parts `c`, which together are exact to 2^-97 (f64: 2^-214).
fn reduce_large<A: Arith>(a: &mut A, float: Float, size: A::V) -> Reduced<A::V> {
    let (low, high) = float.pick((4, 3), (5, 5)); // bits of the exponent: those of s, and those that tell g
    let bits = a.as_int(size);
    let mask = a.int((1 << (float.mantissa() + low)) - 1);
    let kept = a.int_and(bits, mask);
    let unit = a.int((float.bias() + i64::from(float.mantissa())) << float.mantissa());
    let integer = a.int_add(kept, unit);
    let integer = a.as_float(integer); // m 2^s
    let mut zeros = [bits; 5];
    for (bit, zero) in (float.mantissa() + low..).zip(&mut zeros[..high]) {
        let (mask, none) = (a.int(1 << bit), a.int(0));
        let bit = a.int_and(bits, mask);
        *zero = a.int_eq(bit, none);
    }
    let c = [0, 1, 2, 3].map(|part| match float {
        Float::F32 => row(a, &zeros[..high], TWO_OVER_PI_F32.map(|row| row[part])),
        Float::F64 => row(a, &zeros[..high], TWO_OVER_PI_F64.map(|row| row[part])),
    });

    // The products in two parts each; of the large parts whole turns are left out, which is exact.
    let mut high = [integer; 3];
    let mut low = [integer; 3];
    for part in 0..3 {
        high[part] = a.mul(integer, c[part]);
        let minus = a.neg(high[part]);
        low[part] = a.fma(integer, c[part], minus);
    }
    let last = a.mul(integer, c[3]);
    let large = [high[0], low[0], high[1]].map(|v| without_turns(a, v));

    // Their sum, in decreasing size; n quarters are taken off, then what was rounded away comes back.
    let (mut sum, mut lost) = (large[0], [last; 4]);
    for (next, lost) in [large[1], large[2], low[1], high[2]].into_iter().zip(&mut lost) {
        (sum, *lost) = exact_sum(a, sum, next);
    }
    let magic = a.float(float.magic());
    let quarters = a.add(sum, magic);
    let n = a.sub(quarters, magic);
    let mut rest = a.sub(sum, n);
    let mut tail = a.add(low[2], last);
    for part in lost {
        let below;
        (rest, below) = exact_sum(a, rest, part);
        tail = a.add(tail, below);
    }
    let high = a.add(rest, tail);
    let back = a.sub(high, rest);
    let low = a.sub(tail, back);

    // From quarters to radians.
    let [first, second, ..] = float.pick(PI_2_F32, PI_2_F64).map(|part| a.float(part));
    let product = a.mul(high, first);
    let minus = a.neg(product);
    let fraction = a.fma(high, first, minus);
    let fraction = a.fma(high, second, fraction);
    let fraction = a.fma(low, first, fraction);
    let rest = a.add(product, fraction);
    Reduced { quarters, rest }
}

/// The entry of a table whose number has a bit 0 where the mask is true, the lowest bit first.
#[inline(always)]
fn row<A: Arith, const N: usize>(a: &mut A, zeros: &[A::V], table: [f64; N]) -> A::V {
    let mut values = table.map(|value| a.float(value));
    let mut count = N;
    for &zero in zeros.iter().rev() {
        count /= 2;
        for i in 0..count {
            values[i] = a.select(zero, values[i], values[i + count]);
        }
    }
    values[0]
}

/// `v` less the nearest multiple of 4.
fn without_turns<A: Arith>(a: &mut A, v: A::V) -> A::V {
    let (quarter, minus_four) = (a.float(0.25), a.float(-4.0));
    let turns = a.mul(v, quarter);
    let turns = a.round_even(turns);
    a.fma(turns, minus_four, v)
}

/// x + y rounded, and what is lost by that (Knuth's two-sum).
#[inline(always)]
fn exact_sum<A: Arith>(a: &mut A, x: A::V, y: A::V) -> (A::V, A::V) {
    let sum = a.add(x, y);
    let of_y = a.sub(sum, x);
    let of_x = a.sub(sum, of_y);
    let (x, y) = (a.sub(x, of_x), a.sub(y, of_y));
    (sum, a.add(x, y))
}
