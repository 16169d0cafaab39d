//! Standard output and standard error.
//!
//! Neither of them ends the work: what a command computes and writes to files is worth more than what it says. Messages that
//! cannot be written are dropped; results that cannot be are told at the end, by the exit code too, unless the reader has
//! just gone away (`brolga dump … | head`).

use std::ffi::OsStr;
use std::fmt::Arguments;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

/// Prints to standard output.
#[macro_export]
macro_rules! out {
    ($($argument:tt)*) => { $crate::output::write_out(format_args!($($argument)*)) };
}

/// The same with a line break behind it.
#[macro_export]
macro_rules! outln {
    ($($argument:tt)*) => { $crate::output::write_out(format_args!("{}\n", format_args!($($argument)*))) };
}

/// Prints a line to standard error.
#[macro_export]
macro_rules! errln {
    ($($argument:tt)*) => { $crate::output::write_err(format_args!($($argument)*)) };
}

/// The first error of standard output; nothing is written after it.
static FAILED: Mutex<Option<io::Error>> = Mutex::new(None);

/// See [`out!`](crate::out).
pub fn write_out(text: Arguments<'_>) {
    attempt(|| io::stdout().lock().write_fmt(text));
}

/// See [`errln!`](crate::errln).
pub fn write_err(text: Arguments<'_>) {
    // One write for the line, so that those of several threads do not mix.
    let _ = io::stderr().lock().write_all(format!("{text}\n").as_bytes());
}

/// Writes to standard output, unless that has failed before.
pub fn attempt(write: impl FnOnce() -> io::Result<()>) {
    let mut failed = FAILED.lock().unwrap_or_else(PoisonError::into_inner);
    if failed.is_none() {
        *failed = write().err();
    }
}

/// Whether standard error shows colours.
pub fn colours() -> bool {
    moves() && coloured(std::env::var_os("NO_COLOR").as_deref())
}

/// Whether standard error is a terminal on which a line can be drawn over again.
pub fn moves() -> bool {
    io::stderr().is_terminal() && clever(std::env::var_os("TERM").as_deref())
}

/// `NO_COLOR` that is not empty asks for none (no-color.org).
fn coloured(no_color: Option<&OsStr>) -> bool {
    no_color.is_none_or(OsStr::is_empty)
}

/// A dumb terminal knows no escape sequences.
fn clever(term: Option<&OsStr>) -> bool {
    term != Some(OsStr::new("dumb"))
}

/// Writes what is left to write, and gives the exit code of a command that ends with `code`.
pub fn finish(code: ExitCode) -> ExitCode {
    attempt(|| io::stdout().lock().flush());
    match FAILED.lock().unwrap_or_else(PoisonError::into_inner).take() {
        Some(error) if error.kind() != ErrorKind::BrokenPipe => {
            errln!("error: cannot write to standard output: {error}");
            ExitCode::FAILURE
        }
        _ => code,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_left_out_where_they_are_not_wanted() {
        assert!(coloured(None) && coloured(Some(OsStr::new(""))));
        assert!(!coloured(Some(OsStr::new("1"))) && !coloured(Some(OsStr::new("0"))));
        assert!(clever(None) && clever(Some(OsStr::new("xterm-256color"))));
        assert!(!clever(Some(OsStr::new("dumb"))));
    }
}
