//! The one error type of the facade.

use std::fmt;

use brolga_frontend::Diagnostics;
use brolga_ir::names::nearest;
use brolga_runtime::unknown_name;

/// What can go wrong between a model file and a result. Its text says what was expected, what was found, and a way
/// out.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// Mistakes in a model or in the settings asked for, each at its place.
    Model(Diagnostics),
    /// A compiler stage refused a graph or program.
    Compile(String),
    /// A name that is unknown: a model, an entry point, a stage.
    Name(String),
    /// A file could not be read or written.
    Io(String),
    /// State, weights, data or a call do not fit.
    Runtime(brolga_runtime::Error),
}

/// The result of everything in the facade that can fail.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A failed file operation; `action` continues "cannot", as in "read the model".
    pub fn io(action: &str, path: &std::path::Path, error: &std::io::Error) -> Error {
        Error::Io(format!("cannot {action} `{}`: {error}", crate::runtime::Shown::shown(path)))
    }

    /// An unknown name, with the nearest one known, or all of them where they are few.
    pub fn unknown<'a>(what: &str, name: &str, known: impl IntoIterator<Item = &'a str>) -> Error {
        let known: Vec<&str> = known.into_iter().collect();
        Error::Name(unknown_name(what, name, nearest(name, known.iter().copied()), &known))
    }

    /// The error as text; diagnostics with colours for a terminal if asked.
    pub fn render(&self, color: bool) -> String {
        match self {
            Error::Model(diagnostics) => diagnostics.render(color),
            Error::Compile(message) | Error::Name(message) | Error::Io(message) => {
                format!("error: {message}")
            }
            Error::Runtime(error) => format!("error: {error}"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Model(diagnostics) => f.write_str(&diagnostics.render(false)),
            Error::Compile(message) | Error::Name(message) | Error::Io(message) => f.write_str(message),
            Error::Runtime(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl From<Diagnostics> for Error {
    fn from(diagnostics: Diagnostics) -> Error {
        Error::Model(diagnostics)
    }
}

impl From<brolga_runtime::Error> for Error {
    fn from(error: brolga_runtime::Error) -> Error {
        Error::Runtime(error)
    }
}

impl From<brolga_codegen::Error> for Error {
    fn from(error: brolga_codegen::Error) -> Error {
        Error::Compile(error.to_string())
    }
}

impl From<brolga_passes::PassError> for Error {
    fn from(error: brolga_passes::PassError) -> Error {
        Error::Compile(error.to_string())
    }
}

impl From<brolga_ir::GraphError> for Error {
    fn from(error: brolga_ir::GraphError) -> Error {
        Error::Compile(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_get_the_nearest_or_all() {
        let known = ["train", "infer"];
        assert_eq!(
            Error::unknown("entry point", "trian", known).to_string(),
            "there is no entry point `trian`; did you mean `train`?"
        );
        assert_eq!(
            Error::unknown("entry point", "sample", known).to_string(),
            "there is no entry point `sample`; there are train, infer"
        );
    }
}
