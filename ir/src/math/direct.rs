//! Plain evaluation: the meaning of every operation of [`Arith`](super::Arith), lane by lane.
//!
//! A value is its bit pattern; a mask is all ones or zero. Whatever emits code for these operations must give
//! the same bits (up to the payload of NaNs): IEEE 754 binary arithmetic, rounding to nearest even, `fma` with
//! one rounding, denormals kept.

use super::arith::{Arith, Float};
use crate::scalar::Function;

/// Evaluates in f32, with i32 and masks beside it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Direct32;

/// Evaluates in f64, with i64 and masks beside it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Direct64;

macro_rules! direct {
    ($name:ident, $float:ident, $bits:ident) => {
        impl Arith for $name {
            type V = $bits;

            #[inline(always)]
            fn float(&mut self, value: f64) -> $bits {
                (value as $float).to_bits()
            }
            #[inline(always)]
            fn int(&mut self, value: i64) -> $bits {
                value as $bits
            }
            #[inline(always)]
            fn add(&mut self, x: $bits, y: $bits) -> $bits {
                ($float::from_bits(x) + $float::from_bits(y)).to_bits()
            }
            #[inline(always)]
            fn sub(&mut self, x: $bits, y: $bits) -> $bits {
                ($float::from_bits(x) - $float::from_bits(y)).to_bits()
            }
            #[inline(always)]
            fn mul(&mut self, x: $bits, y: $bits) -> $bits {
                ($float::from_bits(x) * $float::from_bits(y)).to_bits()
            }
            #[inline(always)]
            fn div(&mut self, x: $bits, y: $bits) -> $bits {
                ($float::from_bits(x) / $float::from_bits(y)).to_bits()
            }
            #[inline(always)]
            fn fma(&mut self, x: $bits, y: $bits, z: $bits) -> $bits {
                $float::from_bits(x).mul_add($float::from_bits(y), $float::from_bits(z)).to_bits()
            }
            #[inline(always)]
            fn neg(&mut self, x: $bits) -> $bits {
                (-$float::from_bits(x)).to_bits()
            }
            #[inline(always)]
            fn abs(&mut self, x: $bits) -> $bits {
                $float::from_bits(x).abs().to_bits()
            }
            #[inline(always)]
            fn sqrt(&mut self, x: $bits) -> $bits {
                $float::from_bits(x).sqrt().to_bits()
            }
            #[inline(always)]
            fn round_even(&mut self, x: $bits) -> $bits {
                $float::from_bits(x).round_ties_even().to_bits()
            }
            #[inline(always)]
            fn min(&mut self, x: $bits, y: $bits) -> $bits {
                if $float::from_bits(x) < $float::from_bits(y) { x } else { y }
            }
            #[inline(always)]
            fn max(&mut self, x: $bits, y: $bits) -> $bits {
                if $float::from_bits(x) > $float::from_bits(y) { x } else { y }
            }
            #[inline(always)]
            fn lt(&mut self, x: $bits, y: $bits) -> $bits {
                if $float::from_bits(x) < $float::from_bits(y) { $bits::MAX } else { 0 }
            }
            #[inline(always)]
            fn eq(&mut self, x: $bits, y: $bits) -> $bits {
                if $float::from_bits(x) == $float::from_bits(y) { $bits::MAX } else { 0 }
            }
            #[inline(always)]
            fn select(&mut self, mask: $bits, x: $bits, y: $bits) -> $bits {
                if mask != 0 { x } else { y }
            }
            #[inline(always)]
            fn as_int(&mut self, x: $bits) -> $bits {
                x
            }
            #[inline(always)]
            fn as_float(&mut self, x: $bits) -> $bits {
                x
            }
            #[inline(always)]
            fn int_add(&mut self, x: $bits, y: $bits) -> $bits {
                x.wrapping_add(y)
            }
            #[inline(always)]
            fn int_sub(&mut self, x: $bits, y: $bits) -> $bits {
                x.wrapping_sub(y)
            }
            #[inline(always)]
            fn int_and(&mut self, x: $bits, y: $bits) -> $bits {
                x & y
            }
            #[inline(always)]
            fn int_or(&mut self, x: $bits, y: $bits) -> $bits {
                x | y
            }
            #[inline(always)]
            fn int_xor(&mut self, x: $bits, y: $bits) -> $bits {
                x ^ y
            }
            #[inline(always)]
            fn int_eq(&mut self, x: $bits, y: $bits) -> $bits {
                if x == y { $bits::MAX } else { 0 }
            }
            #[inline(always)]
            fn shl(&mut self, x: $bits, by: u32) -> $bits {
                x << by
            }
            #[inline(always)]
            fn shr(&mut self, x: $bits, by: u32) -> $bits {
                x >> by
            }
        }
    };
}

direct!(Direct32, f32, u32);
direct!(Direct64, f64, u64);

impl Function {
    /// The function's value in f32; `y` is the second argument of a binary function, and ignored by others.
    #[inline]
    pub fn eval32(self, x: f32, y: f32) -> f32 {
        f32::from_bits(self.build(Float::F32, &mut Direct32, x.to_bits(), y.to_bits()))
    }

    /// The function's value in f64; `y` is the second argument of a binary function, and ignored by others.
    #[inline]
    pub fn eval64(self, x: f64, y: f64) -> f64 {
        f64::from_bits(self.build(Float::F64, &mut Direct64, x.to_bits(), y.to_bits()))
    }
}
