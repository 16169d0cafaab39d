//! Data sets through compiled entries: training with its checkpoints, evaluation, metrics, and what preparation fits.

mod checkpoint;
pub(crate) mod data;
pub(crate) mod diverged;
pub(crate) mod evaluate;
mod feed;
pub(crate) mod fingerprint;
pub(crate) mod fit;
mod log;
pub(crate) mod metrics;
pub(crate) mod options;
pub(crate) mod plan;
pub(crate) mod progress;
mod ranges;
mod resume;
pub(crate) mod tables;
pub(crate) mod train;
mod trainee;
