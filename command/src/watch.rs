//! The progress of training on standard error: a line for each epoch, and a bar above it where the caller draws one.

use std::path::{Path, PathBuf};

use brolga_runtime::{Epoch, Flow, Outlook, Progress, Shown, Update, counted};

use crate::report::{metric, metrics, pairs};
use crate::signals::{asked, listen};

/// A bar on a terminal.
pub trait Bar {
    /// Training begins, with so many updates in an epoch.
    fn start(&mut self, batches: u64);

    /// So many updates of an epoch (`3/20`) are done; `message` is the newest metric.
    fn step(&mut self, position: u64, epoch: &str, message: Option<String>);

    /// Prints a line above it.
    fn line(&self, text: &str);

    /// Takes it away.
    fn finish(&self);
}

/// Shows how training goes, and stops it when it is asked to.
pub(crate) struct Watch {
    bar: Option<Box<dyn Bar>>,
    epochs: u64,
    newest: Option<PathBuf>,
    steps: u64,
}

impl Watch {
    /// From now on the first Ctrl-C (or SIGTERM, or SIGHUP) asks training to stop, the second ends the process.
    pub fn new(bar: Option<Box<dyn Bar>>) -> Watch {
        listen();
        Watch { bar, epochs: 0, newest: None, steps: 0 }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish();
        }
    }

    /// The newest checkpoint that was written.
    pub fn newest(&self) -> Option<&Path> {
        self.newest.as_deref()
    }

    /// Updates made in this run.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// A line that stays.
    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.line(text),
            None => errln!("{text}"),
        }
    }
}

fn flow() -> Flow {
    if asked() { Flow::Stop } else { Flow::Continue }
}

impl Progress for Watch {
    fn start(&mut self, outlook: &Outlook<'_>) {
        self.epochs = outlook.epochs;
        if let Some(path) = outlook.resumed {
            self.line(&format!("resumed from {}, after {}", path.shown(), counted(outlook.step, "update")));
        }
        if let Some(bar) = &mut self.bar {
            bar.start(outlook.batches);
        }
    }

    fn update(&mut self, update: &Update<'_>) -> Flow {
        self.steps += 1;
        if let Some(bar) = &mut self.bar {
            let newest = update.names.first().zip(update.metrics.first());
            let message = newest.map(|(name, value)| format!("{name} {}", metric(*value)));
            bar.step(update.position, &format!("{}/{}", update.epoch, self.epochs), message);
        }
        flow()
    }

    fn validation(&mut self, _done: usize, _batches: usize) -> Flow {
        flow()
    }

    fn epoch(&mut self, epoch: &Epoch<'_>) -> Flow {
        let named = |list: &[(String, f64)]| metrics(pairs(list));
        let mut text = format!("epoch {:>3}/{}  train {}", epoch.epoch, self.epochs, named(epoch.train));
        if !epoch.validation.is_empty() {
            text.push_str(&format!("  validation {}", named(epoch.validation)));
        }
        self.line(&format!("{text}  {:.1} s", epoch.seconds));
        flow()
    }

    fn checkpoint(&mut self, path: &Path) {
        self.newest = Some(path.to_path_buf());
        if asked() {
            self.line(&format!("checkpoint: {}", path.shown()));
        }
    }

    fn notice(&mut self, text: &str) {
        self.line(&format!("note: {text}"));
    }
}
