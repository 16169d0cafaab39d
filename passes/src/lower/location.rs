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

/// What kernels have made of one place by itself, by that place.
pub(super) type Copies = FxHashMap<Location, Vec<Made>>;

/// What a kernel has made of one place.
pub(super) struct Made {
    pub kernel: Kernel,
    /// Where it is.
    pub to: Location,
    /// Blocks of the schedule around the call that makes it; 0 if `prepare` does. Behind the innermost of them it is not made, or
    /// is of another iteration.
    pub block: usize,
}
