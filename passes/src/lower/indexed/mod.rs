//! Operators with loops of their own, whose places are computed: scatters, winners of windows, running combinations, sorts.
//!
//! In comes a node, out comes a kernel and its call. Sees regions, for windows that are cut where they repeat.

pub(super) mod loops;
pub(super) mod running;
pub(super) mod sort;
pub(super) mod winners;
