//! Batch invariance: what choices that change rounding may know of the batch.
//!
//! In entries that do not train, a sample has the same bits alone, in a batch of any size, and beside any neighbours. So
//! the numeric plan sees as many images in every batch, and an algorithm that computes several elements together takes
//! them from one image. Entries that train always run with the batch that they were compiled for, and choose by it.

use brolga_ir::Graph;
use brolga_ir::names::is_of_calls;
use brolga_ir::ops::Role;

/// Images that a batch counts as: for Winograd's tiles one image counts as much (`winograd.rs`).
pub(crate) const COUNTED: usize = 4;

/// Whether an entry trains: it gives state a new value that is not its own from call to call.
pub fn trains(graph: &Graph) -> bool {
    graph.outputs().iter().any(|output| output.role == Role::State && !is_of_calls(&output.name))
}

/// The images of a convolution, for choosing its algorithm: those that there are, if the entry trains.
pub(crate) fn counted(images: usize, trains: bool) -> usize {
    if trains || images == 0 { images } else { COUNTED }
}
