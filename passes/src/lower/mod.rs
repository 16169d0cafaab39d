//! `lower`: from a fused graph to a kernel program.
//!
//! Nodes are visited in canonical order. A fused region becomes one kernel (`region`); so does any other node
//! with a definition by elements. Contractions (`dot`, `conv` and its neighbours) and operators with loops of their
//! own (`loops`) bring their own kernels. A node that only maps indices (a reshape, a transpose, a broadcast) is
//! not run at all: whoever reads it composes its index map, or has it copied where rows must lie contiguously.
//!
//! What changes rounding is decided here and nowhere later: the order of every sum (see
//! `regions::sums`, `products`). Loops stay serial; the passes `vectorise`
//! and `parallelise` choose strips and grids.

mod blocking;
mod control;
mod driver;
mod flatten;
mod indexed;
mod kernel;
mod location;
mod lowering;
mod memory;
mod prepared;
mod products;
mod regions;

pub use blocking::plan::{BLOCK, LANES};
pub use driver::{lower, lower_with};
use location::{DEEPEST, Location};
use lowering::Lowering;
pub use prepared::lower_prepared;
use products::access::StridedAccess;
pub(crate) use products::epilogue::takes_epilogue;
pub(crate) use products::expand::expansion_pays;
