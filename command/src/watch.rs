//! The progress of training on standard error: a line for each epoch, and a bar above it where the caller draws one.

use std::path::{Path, PathBuf};

use brolga_runtime::{Epoch, Flow, Outlook, Progress, Shown, Update, counted};

use crate::report::{metric, metrics, pairs};
use crate::signals::{asked, listen};

/// A bar on a terminal.
pub trait Bar {
    /// Training begins: with so many updates in what it draws, an epoch or a whole plan.
    fn start(&mut self, updates: u64);

    /// So many updates of that are done. `what` is the epoch (`epoch 3/20`), or the entry point that is trained; `message` is the newest
    /// metric.
    fn step(&mut self, position: u64, what: &str, message: Option<String>);

    /// Prints a line above it.
    fn line(&self, text: &str);

    /// Takes it away.
    fn finish(&self);
}

/// Shows how training goes, and stops it when it is asked to.
pub(crate) struct Watch {
    bar: Option<Box<dyn Bar>>,
    /// Epochs in all, where the run is one phase that counts them.
    epochs: Option<u64>,
    /// Updates in all.
    updates: u64,
    newest: Option<PathBuf>,
    steps: u64,
}

impl Watch {
    /// From now on the first Ctrl-C (or SIGTERM, or SIGHUP) asks training to stop, the second ends the process.
    pub fn new(bar: Option<Box<dyn Bar>>) -> Watch {
        listen();
        Watch { bar, epochs: None, updates: 0, newest: None, steps: 0 }
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

/// Whether another tenth of all updates is done with this one.
fn is_tenth(step: u64, all: u64) -> bool {
    let tenths = |step: u64| u128::from(step) * 10 / u128::from(all.max(1));
    step > 0 && tenths(step) > tenths(step - 1)
}

fn flow() -> Flow {
    if asked() { Flow::Stop } else { Flow::Continue }
}

impl Progress for Watch {
    fn start(&mut self, outlook: &Outlook<'_>) {
        (self.epochs, self.updates) = (outlook.epochs, outlook.updates);
        if let Some(path) = outlook.resumed {
            self.line(&format!("resumed from {}, after {}", path.shown(), counted(outlook.step, "update")));
        }
        if let Some(bar) = &mut self.bar {
            bar.start(if outlook.epochs.is_some() { outlook.batches } else { outlook.updates });
        }
    }

    fn update(&mut self, update: &Update<'_>) -> Flow {
        self.steps += 1;
        if let Some(bar) = &mut self.bar {
            let newest = update.names.first().zip(update.metrics.first());
            let message = newest.map(|(name, value)| format!("{name} {}", metric(*value)));
            match self.epochs {
                Some(epochs) => {
                    bar.step(update.position, &format!("epoch {}/{epochs}", update.epoch), message)
                }
                None => bar.step(update.step, update.trainee, message),
            }
        } else if self.epochs.is_none() && is_tenth(update.step, self.updates) {
            let named = update.names.iter().cloned().zip(update.metrics.iter().copied());
            let named: Vec<(String, f64)> = named.collect();
            errln!("update {}/{}  {} {}", update.step, self.updates, update.trainee, metrics(pairs(&named)));
        }
        flow()
    }

    fn validation(&mut self, _done: usize, _batches: usize) -> Flow {
        flow()
    }

    fn epoch(&mut self, epoch: &Epoch<'_>) -> Flow {
        let named = |list: &[(String, f64)]| metrics(pairs(list));
        let mut text = match self.epochs {
            Some(epochs) => format!("epoch {:>3}/{epochs}", epoch.epoch),
            None => format!("{} epoch {:>3}", epoch.trainee, epoch.epoch),
        };
        text.push_str(&format!("  train {}", named(epoch.train)));
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
