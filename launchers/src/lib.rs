//! Executables of compiled models: a launcher, which is built with this crate, and a container in it.
//!
//! The launcher is a small program of its own (`program/`), without a compiler. `build.rs` builds it by a cargo inside of the
//! one that builds this crate; its bytes are [`LAUNCHER`]. [`embed`] puts a container into it.

mod elf;

pub use elf::{MAGIC, carries_container, embed};

/// The launcher for the machine that this crate was built for; empty where there is none: on systems without ELF, and where
/// whoever built it wanted none (`BROLGA_LAUNCHER=`).
pub static LAUNCHER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/brolga-launcher"));
