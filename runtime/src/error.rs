//! The one error type of the runtime.

use std::fmt;
use std::path::Path;

/// What kind of mistake an [`Error`] reports, for programs that act on it; people read the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A name that is unknown, missing, or given twice.
    Name,
    /// Dimensions other than the expected ones.
    Shape,
    /// An element type other than the expected one.
    DType,
    /// More or fewer tensors than expected.
    Count,
    /// A value outside the range that its use allows (a label, a token).
    Range,
    /// State that does not belong to the executable.
    State,
    /// A file whose content is not what its format asks for.
    Format,
    /// Reading or writing a file failed.
    Io,
    /// The processor lacks what the code was compiled for.
    Cpu,
    /// A size beyond what can be addressed or allocated.
    Memory,
    /// A manifest that contradicts itself or the executable.
    Manifest,
    /// An option that cannot be honoured.
    Option,
    /// A data set that cannot feed the entry point.
    Data,
}

/// An error: its kind, and full sentences that say what was expected, what was found, and a way out.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The result of everything in the runtime that can fail.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of this kind with this message.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into(), source: None }
    }

    /// A failed file operation; `action` continues "cannot", as in "read the weights".
    pub fn io(action: &str, path: &Path, source: std::io::Error) -> Error {
        let message = format!("cannot {action} `{}`: {source}", crate::shown::Shown::shown(path));
        Error { kind: ErrorKind::Io, message, source: Some(Box::new(source)) }
    }

    /// An unknown name, with the nearest one known, or all of them where none is near.
    pub fn unknown<'a>(what: &str, name: &str, known: impl IntoIterator<Item = &'a str>) -> Error {
        let known: Vec<&str> = known.into_iter().collect();
        Error::new(ErrorKind::Name, unknown_name(what, name, nearest(name, known.iter().copied()), &known))
    }

    /// The kind of mistake.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The same error with one thing more to say about it.
    pub fn and(mut self, more: impl fmt::Display) -> Error {
        self.message = format!("{}\n{more}", self.message);
        self
    }

    /// The same error, its message led in by where it happened ("in file `w.safetensors`").
    pub fn within(mut self, place: impl fmt::Display) -> Error {
        self.message = format!("{place}: {}", self.message);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|e| &**e as _)
    }
}

/// What is said of an unknown name: the nearest one known, where any is near, or all of them.
pub fn unknown_name(what: &str, name: &str, nearest: Option<&str>, known: &[&str]) -> String {
    let hint = match nearest {
        Some(nearest) => format!("; did you mean `{nearest}`?"),
        None if known.is_empty() => String::new(),
        None => format!("; there are {}", known.join(", ")),
    };
    format!("there is no {what} `{}`{hint}", crate::shown::Shown::shown(name))
}

/// The candidate nearest to `name` by edit distance, if any is near enough to be meant.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).max(2);
    candidates
        .into_iter()
        .map(|c| (strsim::osa_distance(name, c), c))
        .filter(|(d, _)| *d <= limit)
        .min()
        .map(|(_, c)| c)
}

/// " (nearest: `x`)" or nothing, to append to a message about an unknown name.
pub(crate) fn nearest_hint<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, candidates).map(|n| format!(" (nearest: `{n}`)")).unwrap_or_default()
}

/// Comparisons of names that [`Hints`] makes: a tenth of a second.
const MAX_COMPARISONS: usize = 50_000;

/// Hints of names that may be meant, as long as the comparisons of names that are left (each hint takes one with every
/// candidate) suffice: between the names of two large models each has thousands of candidates.
pub(crate) struct Hints(usize);

impl Hints {
    pub(crate) fn new() -> Hints {
        Hints(MAX_COMPARISONS)
    }

    /// [`nearest_hint`], or nothing.
    pub(crate) fn nearest<'a>(
        &mut self,
        name: &str,
        candidates: impl ExactSizeIterator<Item = &'a str>,
    ) -> String {
        match self.0.checked_sub(candidates.len()) {
            Some(left) => {
                self.0 = left;
                nearest_hint(name, candidates)
            }
            None => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_name_is_found_and_far_ones_are_not() {
        assert_eq!(nearest("fc1.wieght", ["fc1.weight", "fc2.weight", "fc1.bias"]), Some("fc1.weight"));
        assert_eq!(nearest("zebra", ["fc1.weight"]), None);
    }
}
