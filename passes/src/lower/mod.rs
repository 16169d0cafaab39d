//! `lower`: from a fused graph to a kernel program.
//!
//! In comes a graph whose regions are fused, with choices beside its nodes; out comes a program whose loops are serial. `driver`
//! goes through the nodes in canonical order, `lowering` is the state meanwhile: the program so far, and where values lie. A
//! fused region becomes one kernel (`regions`); so does any other node with a definition by elements. Products and convolutions
//! (`products`) and operators whose places are computed (`indexed`) bring their own kernels, loops and conditions become those
//! of the schedule (`control`). All kernels are built by `kernel`. A node that only maps indices (a reshape, a transpose, a broadcast) is
//! not run at all: whoever reads it composes its index map, or has it copied where rows must lie contiguously.
//!
//! What changes rounding is decided here and nowhere later: the order of every sum (see
//! `regions::sums`, `products`). Loops stay serial; the passes `vectorise`
//! and `parallelise` choose strips and grids.

mod carried;
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

pub use crate::facts::blocking::plan::{BLOCK, LANES};
pub use driver::{lower, lower_with};
use location::{DEEPEST, Location};
use lowering::Lowering;
pub use prepared::lower_prepared;
