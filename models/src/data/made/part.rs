//! What the makers of data sets share: the samples of a part as arrays, and chance.

use brolga_runtime::{Purpose, Random, Result, Tensor};

use super::call::{Arguments, Otherwise, Parameter};
use crate::data::reading::zeros;

/// Samples of one part, by the names of inputs: `[samples, ...]`.
pub(super) type Arrays = Vec<(&'static str, Tensor)>;

/// The part of a data set that is made, and what of the set does not depend on it.
pub(super) struct Part<'a> {
    pub arguments: &'a Arguments<'a>,
    /// How many samples it has.
    pub samples: usize,
    /// Draws them.
    pub random: Random,
}

/// What random numbers of a data set are for.
#[derive(Clone, Copy)]
pub(super) enum Stream {
    /// What all samples have in common.
    Common = 0,
    Train = 1,
    HeldOut = 2,
}

/// Draws what a data set is made of.
pub(super) const SEED: Parameter =
    Parameter { name: "seed", otherwise: Otherwise::Number(0), range: [0, u64::MAX] };

/// The parameter that says how many samples there are to train on.
pub(super) const fn count(samples: u64) -> Parameter {
    Parameter { name: "count", otherwise: Otherwise::Number(samples), range: [1, 10_000_000] }
}

/// The random numbers of one stream of a data set.
pub(super) fn stream(arguments: &Arguments<'_>, stream: Stream) -> Random {
    Random::new(arguments.get("seed") as u64, Purpose::Generate, stream as u32, 0)
}

/// Whole numbers, `[samples, extents...]`, all `value` at first.
pub(super) fn whole(samples: usize, extent: usize, value: i32) -> Result<Vec<i32>> {
    let mut numbers = zeros::<i32>(samples.saturating_mul(extent), "the samples of a data set")?;
    numbers.fill(value);
    Ok(numbers)
}

/// So many zeros.
pub(super) fn floats(samples: usize, extent: usize) -> Result<Vec<f32>> {
    zeros(samples.saturating_mul(extent), "the samples of a data set")
}

/// So many times no, a byte each.
pub(super) fn flags(samples: usize, extent: usize) -> Result<Vec<u8>> {
    zeros(samples.saturating_mul(extent), "the samples of a data set")
}
