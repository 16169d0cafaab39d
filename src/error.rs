//! The one error type of the facade.

use std::fmt;

use brolga_frontend::Diagnostics;

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
        Error::Io(format!("cannot {action} `{}`: {error}", path.display()))
    }

    /// An unknown name, with the nearest one known, or all of them where they are few.
    pub fn unknown<'a>(what: &str, name: &str, known: impl IntoIterator<Item = &'a str>) -> Error {
        let known: Vec<&str> = known.into_iter().collect();
        let hint = match nearest(name, known.iter().copied()) {
            Some(nearest) => format!("; did you mean `{nearest}`?"),
            None if known.is_empty() => String::new(),
            None => format!("; there are {}", known.join(", ")),
        };
        Error::Name(format!("there is no {what} `{name}`{hint}"))
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

/// The name nearest to `found` by edit distance, if near enough to be a slip of the pen.
fn nearest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (found.chars().count() / 3).max(1);
    let distances = known.into_iter().map(|name| (distance(found, name), name));
    distances.filter(|(d, _)| *d <= limit).min().map(|(_, name)| name)
}

/// Levenshtein's distance (1966), in characters; names too long to be slips of one another are far apart.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().max(b.len()) > 64 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_get_the_nearest_or_all() {
        let known = ["train", "infer"];
        assert_eq!(
            Error::unknown("entry point", "trian", known).to_string(),
            "there is no entry point `trian`; there are train, infer"
        );
        assert_eq!(
            Error::unknown("entry point", "trai", known).to_string(),
            "there is no entry point `trai`; did you mean `train`?"
        );
    }
}
