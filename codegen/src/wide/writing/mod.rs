//! From statements to lane code.
//!
//! | file | what |
//! |---|---|
//! | `writer.rs` | what is known while lane code is written |
//! | `statements.rs` | statements and loops |
//! | `strips.rs`, `sums.rs` | strips and what runs before them; accumulators |
//! | `values.rs`, `operations.rs` | expressions, and operations of programs as those of the machine |
//! | `index.rs` | indices and addresses, and the values that they are made of |
//! | `columns.rs` | strips that run several iterations of a loop around them |
//! | `neighbouring_columns.rs` | neighbouring columns of a matrix, loaded or stored together |
//! | `epilogue.rs` | what follows a tile, done to its sums |
//! | `uses.rs` | which statements need what others define |

mod columns;
mod epilogue;
mod index;
mod neighbouring_columns;
mod operations;
mod statements;
mod strips;
mod sums;
mod uses;
mod values;
mod writer;

pub(crate) use neighbouring_columns::join;
pub(crate) use uses::{escapes, has_vectors};
pub(crate) use writer::Writer;
