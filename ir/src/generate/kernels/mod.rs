//! Random kernels, and what tests make kernels by hand with. All are valid, stay inside of their parameters, and give the same in
//! whatever order grid points run.

mod by_hand;
mod nest;
mod strip;

pub use self::by_hand::{Body, Values, kernel, param, program};
use crate::program::Kernel;

/// The tree of loops, strips and tiles of a seed, with values, accumulators and stores at every level.
pub fn nests(seed: u64) -> Kernel {
    nest::Generator::new(seed).kernel()
}

/// The strips of a seed: lane code with accesses and accumulators of all kinds, in rows.
pub fn strips(seed: u64) -> Kernel {
    strip::Generator::new(seed).kernel()
}
