//! Regions of elements and reductions as kernels, by composing definitions.
//!
//! In comes a region, and where its parameters lie; out comes one kernel, or several where a reduction is shared among threads.
//! Sees the state of lowering and facts, neither products nor indexed operators.

pub(super) mod compose;
pub(super) mod cuts;
pub(super) mod region;
pub(super) mod space;
pub(super) mod split;
pub(super) mod sums;
pub(super) mod values;
