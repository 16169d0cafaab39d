//! Executables of compiled models: a container in a launcher, which is a small program without a compiler
//! (`brolga-launchers-link` links it).

mod elf;

pub use elf::{MAGIC, carries_container, embed};
