//! What a run tells of itself while it goes on, and whether it is to go on.

use std::path::Path;

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Flow {
    /// Go on.
    Continue,
    /// Write a checkpoint, if there is a directory for them, and return.
    Stop,
}

/// Hears how training goes, and may stop it. All methods have defaults that do nothing.
pub trait Progress {
    /// Training begins, or goes on.
    fn start(&mut self, _outlook: &Outlook<'_>) {}

    /// After each update; it should be quick.
    fn update(&mut self, _update: &Update<'_>) -> Flow {
        Flow::Continue
    }

    /// After each run of validation, over a batch or a single sample: how many are done, and how many there are.
    fn validation(&mut self, _done: usize, _runs: usize) -> Flow {
        Flow::Continue
    }

    /// After each epoch and its validation, before its checkpoint is written. Of what is counted in updates there is one, at the
    /// end of the plan.
    fn epoch(&mut self, _epoch: &Epoch<'_>) -> Flow {
        Flow::Continue
    }

    /// A checkpoint has been written, and is durable.
    fn checkpoint(&mut self, _path: &Path) {}

    /// Something that the user should know, but that stops nothing.
    fn notice(&mut self, _text: &str) {}
}

/// Trains silently.
impl Progress for () {}

/// What is going to happen.
#[derive(Clone, Copy, Debug)]
pub struct Outlook<'a> {
    /// Epochs in all, where the plan is one phase that counts them.
    pub epochs: Option<u64>,
    /// Updates in all.
    pub updates: u64,
    /// Updates per epoch; 0 where there are several phases.
    pub batches: u64,
    /// Samples per update; 0 where there are several phases.
    pub batch: usize,
    /// Runs of a validation, over batches and single samples, of all trainees; 0 without one.
    pub validation_runs: usize,
    /// Names of the metrics.
    pub metrics: &'a [String],
    /// The checkpoint that the run goes on from.
    pub resumed: Option<&'a Path>,
    /// Updates done before.
    pub step: u64,
}

/// An update that is done.
#[derive(Clone, Copy, Debug)]
pub struct Update<'a> {
    /// What is trained.
    pub trainee: &'a str,
    /// Its epoch, from 1.
    pub epoch: u64,
    /// Updates done in this epoch, this one included.
    pub position: u64,
    /// Updates done in all, this one included.
    pub step: u64,
    /// Names of the metrics.
    pub names: &'a [String],
    /// Their values for this batch.
    pub metrics: &'a [f64],
}

/// An epoch that is done.
#[derive(Clone, Copy, Debug)]
pub struct Epoch<'a> {
    /// What is trained.
    pub trainee: &'a str,
    /// Its epoch, from 1.
    pub epoch: u64,
    /// Updates done in all.
    pub step: u64,
    /// The metrics of the epoch's samples, each taken before the update by its batch.
    pub train: &'a [(String, f64)],
    /// The metrics of the validation samples, after the epoch; empty without validation.
    pub validation: &'a [(String, f64)],
    /// Seconds since training began, those before a resumption included.
    pub seconds: f64,
}
