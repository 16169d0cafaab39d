//! Regions of elements and reductions as kernels.

pub(super) mod compose;
pub(super) mod cuts;
pub(super) mod region;
pub(super) mod space;
pub(super) mod split;
pub(super) mod sums;
pub(super) mod values;
