//! Why a program could not be run.

use std::fmt;

/// Why a program could not be run: what was expected, and what was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error {
    /// The reason.
    pub message: String,
}

impl Error {
    pub(super) fn new(message: impl Into<String>) -> Error {
        Error { message: message.into() }
    }

    pub(super) fn within(self, place: impl fmt::Display) -> Error {
        Error { message: format!("{place}: {}", self.message) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
