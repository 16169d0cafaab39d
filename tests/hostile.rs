//! Hostile input: sizes at which arithmetic overflows, random models, texts and files a little wrong. Everything is
//! answered, by a result or by a diagnostic, within two seconds of processor time and four gibibytes of memory, and
//! nothing panics.
//!
//! Each test runs in a process of its own, whose memory is limited: what asks for too much would take the others along.
//! `BROLGA_CASES=20000 cargo test --release --test all hostile` runs so many random models, a tenth of them on every
//! target, and so many mutations of the seeds of each fuzz target; without it a small part, of about 32 seconds.

#![cfg(all(feature = "cli", unix))]

mod files;
mod models;
mod pooling;
mod seeds;
mod sizes;
mod texts;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::common::cases;
use crate::common::time::processor_time;

/// Kibibytes of address space that a process may take.
const MEMORY: u64 = 4 << 20;
/// Processor time that a case may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// When a case is taken for endless.
const ENDLESS: Duration = Duration::from_secs(60);
/// Failures that are shown.
const SHOWN: usize = 20;

/// Runs an ignored test of this module in a process of its own; gives what it printed.
fn alone(test: &str) -> String {
    let script = format!("ulimit -v {MEMORY} && exec \"$@\"");
    let output = Command::new("sh")
        .args(["-c", &script, "sh"])
        .arg(std::env::current_exe().expect("this program"))
        .args([&format!("hostile::{test}"), "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .output()
        .expect("this program runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let tail =
        |text: &str| text.chars().skip(text.chars().count().saturating_sub(12_000)).collect::<String>();
    assert!(output.status.success(), "{test}: {}\n{}\n{}", output.status, tail(&out), tail(&err));
    assert!(out.contains("1 passed"), "{test} did not run:\n{out}");
    println!("{out}");
    out.into_owned()
}

/// Runs cases one after the other, and remembers which failed.
struct Cases {
    current: Arc<Mutex<(String, Instant)>>,
    failures: Vec<String>,
    run: usize,
    /// Those that there are, run or not.
    asked: usize,
    slowest: (Duration, String),
}

impl Cases {
    /// None so far. What never ends, ends the process.
    fn new() -> Cases {
        let current = Arc::new(Mutex::new((String::new(), Instant::now())));
        let watched = Arc::downgrade(&current);
        std::thread::spawn(move || {
            while let Some(current) = watched.upgrade() {
                let (name, since) = current.lock().expect("not poisoned").clone();
                if since.elapsed() > ENDLESS && !name.is_empty() {
                    eprintln!("it does not end: {name}");
                    std::process::exit(3);
                }
                drop(current);
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        // The message of a panic is kept with its case.
        std::panic::set_hook(Box::new(|_| {}));
        Cases { current, failures: Vec::new(), run: 0, asked: 0, slowest: (Duration::ZERO, String::new()) }
    }

    /// Runs a case: it may give a failure, and must not panic or take long. `None` if it failed.
    fn case<T>(&mut self, name: &str, run: impl FnOnce() -> Result<T, String>) -> Option<T> {
        *self.current.lock().expect("not poisoned") = (name.to_owned(), Instant::now());
        let start = processor_time();
        let result = catch_unwind(AssertUnwindSafe(run));
        let taken = processor_time().saturating_sub(start);
        *self.current.lock().expect("not poisoned") = (String::new(), Instant::now());
        self.run += 1;
        if taken > self.slowest.0 {
            self.slowest = (taken, name.to_owned());
        }
        let result = result.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
            Err(format!("panic: {}", text.unwrap_or_default()))
        });
        match result {
            Ok(_) if taken > PATIENCE => self.failures.push(format!("{name}\n    it takes {taken:?}")),
            Err(failure) => self.failures.push(format!("{name}\n    {failure}")),
            Ok(value) => return Some(value),
        }
        None
    }

    /// Something that failed without being run.
    fn fail(&mut self, name: &str, failure: &str) {
        self.failures.push(format!("{name}\n    {failure}"));
    }

    /// Fails if a case did.
    fn finish(self, what: &str) {
        println!("{what}: {} cases, the slowest {:?}: {}", self.run, self.slowest.0, self.slowest.1);
        let _ = std::panic::take_hook();
        let shown: Vec<&str> = self.failures.iter().take(SHOWN).map(String::as_str).collect();
        assert!(
            self.failures.is_empty(),
            "{} of {} {what} failed:\n{}",
            self.failures.len(),
            self.run,
            shown.join("\n")
        );
    }
}

#[test]
fn sizes_of_layers() {
    alone("sizes::layers");
}

#[test]
fn sizes_of_functions() {
    alone("sizes::functions");
}

#[test]
fn sizes_elsewhere() {
    alone("sizes::elsewhere");
}

#[test]
fn sizes_of_pooling() {
    alone("pooling::large_sizes");
}

#[test]
fn random_models() {
    alone("models::random");
}

#[test]
fn state_that_no_memory_holds() {
    alone("models::more_weights_than_memory");
}

#[test]
fn integers_of_graphs() {
    alone("texts::graphs");
}

#[test]
fn integers_of_programs() {
    alone("texts::programs");
}

#[test]
fn seeds_of_the_fuzz_targets() {
    alone("seeds::mutated");
}
