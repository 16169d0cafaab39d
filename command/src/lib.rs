//! What the command does with a model once it is compiled, without a compiler: answers about pictures and tables, calls with
//! files of tensors, evaluation and training, and all that is printed and checked on the way.
//!
//! `brolga` has it done with models that it compiles as they are asked for; a container or a standalone executable with what
//! was compiled before. What both are is the trait [`Compiled`]. This crate prints and sets signal handlers: it is the inside
//! of a program, and no library for others.

#[macro_use]
mod json;
#[macro_use]
pub mod output;

mod answers;
mod bench;
mod call;
mod compiled;
mod container;
mod csv;
mod data_set;
mod destination;
mod evaluate;
mod files;
mod launch;
mod number;
mod options;
mod planned;
pub mod report;
mod signals;
mod train;
mod watch;

pub use answers::{Asked, answer};
pub use bench::{peak_rss_mb, times};
pub use brolga_models::data::{FORMATS, PNG};
pub use call::{Call, call, called};
pub use compiled::{Compiled, Of};
pub use container::Ready;
pub use destination::{Destinations, Written, beside, weight_bytes};
pub use evaluate::{Evaluated, evaluate};
pub use files::{InputFile, Prefix, Start, read_inputs, started};
pub use json::Json;
pub use launch::{Extent, LEARNING, launch};
pub use planned::updating;
pub use train::{Training, train};
pub use watch::Bar;

use brolga_runtime::{Error, ErrorKind};

/// What is asked for cannot be done.
pub(crate) fn refused(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Option, message)
}
