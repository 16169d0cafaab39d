//! Operators with loops of their own, whose places are computed: scatters, winners of windows, running sums, sorts.

pub(super) mod loops;
pub(super) mod running;
pub(super) mod sort;
pub(super) mod winners;
