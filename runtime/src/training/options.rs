//! What a training run is made of, and how it is to go.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::run::executable::Executable;
use crate::training::evaluate::Evaluation;
use crate::training::fingerprint::Fingerprint;

/// The executables of a training run.
#[derive(Clone, Debug)]
pub struct Executables {
    /// One update on one batch; its outputs say of the batch what [`MetricSums`](crate::MetricSums) makes metrics of.
    pub train: Arc<Executable>,
    /// What makes metrics of its totals; needed if it has any.
    pub formulas: Option<Arc<Executable>>,
    /// The same loss and metrics in inference mode, for validation after each epoch.
    pub evaluation: Option<Evaluation>,
}

/// How to train.
#[derive(Clone, Debug)]
pub struct Options {
    /// Seed of the order of the data and of its augmentation. (Random numbers of the model itself depend on
    /// the state's `seed`.)
    pub seed: u64,
    /// Where and when to write checkpoints.
    pub checkpoints: Option<CheckpointOptions>,
    /// The CSV file to log metrics to.
    pub log: Option<LogOptions>,
}

/// Where and when to write checkpoints. One is always written at the end of an epoch, and on stopping.
#[derive(Clone, Debug)]
pub struct CheckpointOptions {
    /// The directory; made where it is missing.
    pub directory: PathBuf,
    /// Also every so many steps.
    pub every_steps: Option<u64>,
    /// Also when so much time has passed since the last one.
    pub every: Option<Duration>,
    /// How many to keep.
    pub keep: usize,
    /// Go on from the newest one. Without it the directory must hold none.
    pub resume: bool,
    /// Go on although the run differs from the one that wrote it, with what fits of the state; what differs is told.
    pub anyway: bool,
    /// What the run depends on besides its seed, its batch and its data: what a run that goes on must have in common
    /// with the one before.
    pub fingerprint: Fingerprint,
    /// Whether somebody has named the weights that the run begins from: one that goes on must have begun from the same then.
    pub weights_named: bool,
}

impl CheckpointOptions {
    /// At the end of each epoch, keeping two.
    pub fn new(directory: impl Into<PathBuf>) -> CheckpointOptions {
        CheckpointOptions {
            directory: directory.into(),
            every_steps: None,
            every: None,
            keep: 2,
            resume: false,
            anyway: false,
            fingerprint: Fingerprint::default(),
            weights_named: false,
        }
    }
}

/// What to log. A run that goes on appends, without writing any row twice.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The CSV file.
    pub path: PathBuf,
    /// A row for each step, besides those of the epochs.
    pub steps: bool,
}
