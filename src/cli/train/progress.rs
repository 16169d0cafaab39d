//! The progress of training: a bar on a terminal, a line for each epoch otherwise; both on standard error.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use brolga::runtime::{Epoch, Flow, Plan, Progress, Shown, Step, counted};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::report::{metric, metrics};

/// Shows how training goes, and stops it on Ctrl-C.
pub struct Display {
    bar: ProgressBar,
    terminal: bool,
    epochs: u64,
    interrupted: Arc<AtomicBool>,
    newest: Option<PathBuf>,
    steps: u64,
}

impl Display {
    /// A display; from now on the first Ctrl-C (or SIGTERM, or SIGHUP) asks training to stop, the second ends the process.
    pub fn new() -> Display {
        let terminal = crate::cli::output::moves();
        let interrupted = Arc::new(AtomicBool::new(false));
        let flag = interrupted.clone();
        let handler = move || {
            if flag.swap(true, Ordering::SeqCst) {
                std::process::exit(stopped_by().into());
            }
        };
        // What a user has told to survive the terminal (`nohup`) does.
        let survives = hangup_is_ignored();
        if let Err(error) = ctrlc::set_handler(handler) {
            errln!("note: Ctrl-C will end training at once: {error}");
        } else {
            note_signals();
        }
        if survives {
            ignore_hangup();
        }
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden());
        Display { bar, terminal, epochs: 0, interrupted, newest: None, steps: 0 }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// The newest checkpoint that was written.
    pub fn newest(&self) -> Option<&Path> {
        self.newest.as_deref()
    }

    /// Updates made in this run.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    fn flow(&self) -> Flow {
        if self.interrupted.load(Ordering::SeqCst) { Flow::Stop } else { Flow::Continue }
    }

    /// A line that stays.
    fn line(&self, text: &str) {
        if self.terminal { self.bar.suspend(|| errln!("{text}")) } else { errln!("{text}") }
    }
}

impl Progress for Display {
    fn start(&mut self, plan: &Plan<'_>) {
        self.epochs = plan.epochs;
        if let Some(path) = plan.resumed {
            self.line(&format!("resumed from {}, after {}", path.shown(), counted(plan.step, "update")));
        }
        if self.terminal {
            let template = "epoch {prefix} {bar:30} {pos}/{len} {msg} {eta}";
            // The template is fixed, and right.
            let style =
                ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            self.bar =
                ProgressBar::with_draw_target(Some(plan.batches), ProgressDrawTarget::stderr_with_hz(10));
            self.bar.set_style(style);
        }
    }

    fn step(&mut self, step: &Step<'_>) -> Flow {
        self.steps += 1;
        if self.terminal {
            self.bar.set_position(step.position);
            if step.position == 1 {
                self.bar.set_prefix(format!("{}/{}", step.epoch, self.epochs));
                self.bar.reset_eta();
            }
            if let (Some(name), Some(value)) = (step.names.first(), step.metrics.first()) {
                self.bar.set_message(format!("{name} {}", metric(*value)));
            }
        }
        self.flow()
    }

    fn validation(&mut self, _done: usize, _batches: usize) -> Flow {
        self.flow()
    }

    fn epoch(&mut self, epoch: &Epoch<'_>) -> Flow {
        let named =
            |list: &[(String, f64)]| metrics(list.iter().map(|(name, value)| (name.as_str(), *value)));
        let mut text = format!("epoch {:>3}/{}  train {}", epoch.epoch, self.epochs, named(epoch.train));
        if !epoch.validation.is_empty() {
            text.push_str(&format!("  validation {}", named(epoch.validation)));
        }
        self.line(&format!("{text}  {:.1} s", epoch.seconds));
        self.flow()
    }

    fn checkpoint(&mut self, path: &Path) {
        self.newest = Some(path.to_path_buf());
        if self.interrupted.load(Ordering::SeqCst) {
            self.line(&format!("checkpoint: {}", path.shown()));
        }
    }

    fn notice(&mut self, text: &str) {
        self.line(&format!("note: {text}"));
    }
}

/// The signal that asked for an end, if it was not that of Ctrl-C.
static SIGNAL: AtomicI32 = AtomicI32::new(0);

/// The exit code of a run that was stopped, as shells report an end by a signal: 130 by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP.
pub fn stopped_by() -> u8 {
    const INTERRUPT: u8 = 2;
    match u8::try_from(SIGNAL.load(Ordering::SeqCst)) {
        Ok(signal @ 1..=127) => 128 + signal,
        _ => 128 + INTERRUPT,
    }
}

/// Notes which signal it is, and goes on as at Ctrl-C.
#[cfg(unix)]
extern "C" fn noted(signal: libc::c_int) {
    SIGNAL.store(signal, Ordering::SeqCst);
    // SAFETY: a handler may raise a signal; that of Ctrl-C wakes the thread that answers it, and does nothing else.
    unsafe { libc::raise(libc::SIGINT) };
}

/// The handler of Ctrl-C is told nothing of which signal it was called for.
#[cfg(unix)]
fn note_signals() {
    let handler: extern "C" fn(libc::c_int) = noted;
    for signal in [libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler stores a number and raises a signal, which may be done at any time.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
}

#[cfg(not(unix))]
fn note_signals() {}

#[cfg(unix)]
fn hangup_is_ignored() -> bool {
    // SAFETY: an all-zero `sigaction` is a valid value, and the call only fills it in.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGHUP, std::ptr::null(), &mut action) == 0
            && action.sa_sigaction == libc::SIG_IGN
    }
}

#[cfg(unix)]
fn ignore_hangup() {
    // SAFETY: no handler is installed that could run, the signal is ignored.
    unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
}

#[cfg(not(unix))]
fn hangup_is_ignored() -> bool {
    false
}

#[cfg(not(unix))]
fn ignore_hangup() {}
