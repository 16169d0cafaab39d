//! Numbers for tests, and for the values that passes are tested on. The random numbers of models are those of
//! [`Random`](crate::ops::Random).

use crate::scalar::Scalar;
use crate::tensor::Tensor;
use crate::types::{DType, Type};

/// SplitMix64 (Steele, Lea & Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014): the next 64 bits of a
/// sequence that may begin at any state.
pub fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A sequence of numbers, the same everywhere.
#[derive(Clone, Debug)]
pub struct Rng(pub u64);

impl Rng {
    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        splitmix64(&mut self.0)
    }

    /// In `0..n`; 0 where n is 0.
    pub fn below(&mut self, n: usize) -> usize {
        (self.bits() % n.max(1) as u64) as usize
    }

    /// In `low..high`.
    pub fn float(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True in so many of a hundred cases.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// True once in `n` times.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of several.
    pub fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }
}

/// Floats in (-2, 2), integers in -2..6; with NaN, infinities, zeros of either sign and extremes if asked for.
pub fn tensor(random: &mut Rng, ty: &Type, special: bool) -> Tensor {
    Tensor::generate(ty, |_| {
        let word = random.bits();
        let choice = if special { word % 16 } else { 15 };
        match ty.dtype {
            DType::F32 | DType::F64 => Scalar::from_f64(
                ty.dtype,
                match choice {
                    0 => f64::NAN,
                    1 => f64::INFINITY,
                    2 => f64::NEG_INFINITY,
                    3 | 4 => 0.0,
                    5 | 6 => -0.0,
                    _ => (word >> 11) as f64 / (1u64 << 51) as f64 - 2.0,
                },
            ),
            DType::Bool => Scalar::Bool(word >> 63 == 1),
            dtype => Scalar::from_i64(
                dtype,
                match choice {
                    0 => i64::MIN,
                    1 => i64::from(i32::MIN),
                    2 => i64::from(i32::MAX),
                    _ => (word >> 61) as i64 - 2,
                },
            ),
        }
    })
}
