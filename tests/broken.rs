//! Wrong files and wrong words, each with its exact diagnostic: nothing that a user can write makes the command
//! panic, hang, or take memory that the file does not explain. `BROLGA_BLESS=1 cargo test --test all broken` rewrites
//! `tests/broken/`.

#![cfg(all(feature = "cli", unix))]

mod data;
mod ir;
mod models;
mod tensors;

use crate::common::snapshot;
use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Kibibytes of address space that a run may take.
const MEMORY: u64 = 16 << 20;
/// How long a run may take: a wrong file is refused at once.
const PATIENCE: Duration = Duration::from_secs(60);
/// Diagnostics are shown up to here.
const SHOWN: usize = 3000;

/// One wrong thing.
pub struct Row {
    /// What is wrong.
    pub name: &'static str,
    /// What the command is asked to do with it.
    pub arguments: String,
    /// Files by their path, below the folder in which the command runs.
    pub files: Vec<(&'static str, Vec<u8>)>,
}

/// A row of a table.
pub fn row(name: &'static str, arguments: &str, files: Vec<(&'static str, Vec<u8>)>) -> Row {
    Row { name, arguments: arguments.to_owned(), files }
}

/// What a run says, and what it prints, if it ends in time, and with an exit code of its own.
fn run(folder: &Path, arguments: &str) -> Result<(i32, String, String), String> {
    let script = format!("ulimit -v {MEMORY} && exec \"$@\"");
    let mut child = Command::new("sh")
        .args(["-c", &script, "sh", env!("CARGO_BIN_EXE_brolga")])
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(folder.join(".out")).expect("a file"))
        .stderr(std::fs::File::create(folder.join(".err")).expect("a file"))
        .spawn()
        .expect("the command runs");
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break status;
        }
        if start.elapsed() > PATIENCE {
            child.kill().expect("a child");
            child.wait().expect("a child");
            return Err(format!("it still runs after {PATIENCE:?}"));
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let read =
        |name: &str| String::from_utf8_lossy(&std::fs::read(folder.join(name)).expect("a file")).into_owned();
    let (out, err) = (read(".out"), read(".err"));
    let code = status.code().ok_or_else(|| format!("{status}: {err}"))?;
    Ok((code, out, err))
}

/// Without the bytes left of a file that was cut in two: the header of a checkpoint has the time in it.
fn without_sizes(text: &str) -> String {
    match text.split_once(" bytes of data, but ") {
        Some((before, after)) if text.contains("step-") => {
            let rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
            format!("{before} bytes of data, but …{}", without_sizes(rest))
        }
        _ => text.to_owned(),
    }
}

/// Runs a row by itself; its diagnostic, or why it is none.
fn diagnostic(row: &Row) -> Result<String, String> {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, bytes) in &row.files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, bytes).expect("a file");
    }
    let (code, out, err) = run(folder.path(), &row.arguments)?;
    if !matches!(code, 1 | 2) || err.contains("panicked") {
        return Err(format!("exit code {code}\n{err}"));
    }
    if !out.is_empty() {
        return Err(format!("it failed, but printed results:\n{out}"));
    }
    if !err.contains("error") {
        return Err(format!("it does not say `error`:\n{err}"));
    }
    let shown: String = err.trim_end().chars().take(SHOWN).collect();
    Ok(without_sizes(&shown))
}

/// The diagnostics of a table of at least `least` rows.
fn table(name: &str, rows: &[Row], least: usize) {
    let (mut text, mut failures) = (String::new(), String::new());
    for row in rows {
        match diagnostic(row) {
            Ok(diagnostic) => {
                let _ = write!(text, "==== {}\n$ brolga {}\n{diagnostic}\n\n", row.name, row.arguments);
            }
            Err(failure) => {
                let _ = write!(failures, "\n{}: brolga {}\n{failure}\n", row.name, row.arguments);
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
    assert!(rows.len() >= least, "{} rows", rows.len());
    snapshot::check(&format!("tests/broken/{name}.txt"), &text);
}

#[test]
fn models() {
    table("models", &models::rows(), 20);
}

#[test]
fn texts_of_graphs() {
    table("graphs", &ir::graphs(), 16);
}

#[test]
fn texts_of_programs() {
    table("programs", &ir::programs(), 12);
}

#[test]
fn weights() {
    table("weights", &tensors::weights(), 14);
}

#[test]
fn inputs() {
    table("inputs", &tensors::inputs(), 12);
}

#[test]
fn checkpoints() {
    table("checkpoints", &tensors::checkpoints(), 8);
}

#[test]
fn data_sets() {
    table("data", &data::rows(), 20);
}
