//! Errors of code generation.

use std::fmt;

/// Why no code could be made: what was expected, what was found, and a way out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error {
    message: String,
}

impl Error {
    pub(crate) fn new(message: impl Into<String>) -> Error {
        Error { message: message.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<brolga_runtime::Error> for Error {
    fn from(error: brolga_runtime::Error) -> Error {
        Error::new(error.to_string())
    }
}

/// Result of code generation.
pub(crate) type Result<T> = std::result::Result<T, Error>;
