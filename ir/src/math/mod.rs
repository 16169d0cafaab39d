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
mod arith;
mod coefficients;
mod direct;
mod erf;
mod exp;
mod gamma;
mod hyperbolic;
mod log;
mod pow;
mod trig;

pub use arith::{Arith, Float};
pub use direct::{Direct32, Direct64};
pub(crate) use gamma::BERNOULLI;

use crate::scalar::Function;

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
