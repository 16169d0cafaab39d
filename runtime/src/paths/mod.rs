//! Paths that a user gives: opened only where they are ordinary files, which are told by how they begin.

pub(crate) mod content;
pub(crate) mod regular;
