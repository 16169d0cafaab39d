//! Standard output and standard error.
//!
//! Neither of them ends the work: what a command computes and writes to files is worth more than what it says. Messages that
//! cannot be written are dropped; results that cannot be are told at the end, by the exit code too, unless the reader has
//! just gone away (`brolga dump … | head`).

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

/// Prints to standard output.
macro_rules! out {
    ($($argument:tt)*) => { $crate::cli::output::write_out(format_args!($($argument)*)) };
}

/// The same with a line break behind it.
macro_rules! outln {
    ($($argument:tt)*) => { $crate::cli::output::write_out(format_args!("{}\n", format_args!($($argument)*))) };
}

/// Prints a line to standard error.
macro_rules! errln {
    ($($argument:tt)*) => { $crate::cli::output::write_err(format_args!($($argument)*)) };
}

/// The first error of standard output; nothing is written after it.
static FAILED: Mutex<Option<io::Error>> = Mutex::new(None);

/// See [`out`].
pub fn write_out(text: Arguments<'_>) {
    attempt(|| io::stdout().lock().write_fmt(text));
}

/// See [`errln`].
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
