//! The container: a compiled model in one file (`.brolga`), which runs without a compiler.
//!
//! It holds a manifest ([`Contents`]), machine code for one or several processors, constants, and by choice weights and
//! prepared values, all of which are used where they lie in the file once it is mapped. `docs/container.md` has the format
//! in full.
//!
//! The way through: a compiler hands over [`Code`]; [`Parts`] puts a state to it and writes the file; [`Container::read`]
//! reads and checks any file, and runs nothing; [`open`] maps one (or [`open_in_place`] finds it in memory), and gives its entries as
//! [`Executable`](crate::Executable)s.
//!
//! Checksums show damage, not malice: who runs the code of a file trusts whoever wrote it. Hence `open` is `unsafe`.

mod about;
mod binary;
mod contents;
mod entries;
pub mod format;
mod open;
mod read;
mod write;

pub use about::{About, DataRules, Training};
pub use binary::{Record, records};
pub use contents::{Contents, Functions, Piece, Processor, StoredSlot};
pub use format::{Kind, Section};
pub use open::{Loaded, open, open_in_place, open_with};
pub use read::{Check, Container};
pub use write::{Code, MachineCode, Parts, Values};
