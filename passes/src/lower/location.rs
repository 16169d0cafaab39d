//! Where values lie.

use brolga_ir::program::{Arg, BufferId, Kernel};
use rustc_hash::FxHashMap;

/// Where a value lies: row-major from an element of a buffer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Location {
    pub buffer: BufferId,
    pub offset: usize,
    /// Elements it moves by with each iteration of the schedule loops around, outermost first.
    pub strides: [i64; DEEPEST],
}

/// Schedule loops, at most, inside each other.
pub(super) const DEEPEST: usize = 4;

impl From<BufferId> for Location {
    /// The start of a buffer.
    fn from(buffer: BufferId) -> Location {
        Location { buffer, offset: 0, strides: [0; DEEPEST] }
    }
}

impl From<Location> for Arg {
    fn from(Location { buffer, offset, strides }: Location) -> Arg {
        let moving = strides.iter().rposition(|&stride| stride != 0).map_or(0, |last| last + 1);
        Arg { buffer, offset, strides: strides[..moving].to_vec() }
    }
}

/// Kernels, and where they have put what they made.
pub(super) type Copies = FxHashMap<Location, Vec<(Kernel, Location)>>;
