//! Why a program is refused.

use std::fmt;

/// A rule of the kernel program that does not hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error {
    /// The buffer, the statement of a kernel, or the call.
    pub place: String,
    /// What was expected and what was found.
    pub message: String,
}

impl Error {
    pub(super) fn new(place: impl Into<String>, message: impl Into<String>) -> Error {
        Error { place: place.into(), message: message.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

impl std::error::Error for Error {}
