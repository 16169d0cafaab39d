//! The training loop.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::checkpoint::{Checkpoints, Cursor, DataKey};
use crate::data::{Batches, Request, Split};
use crate::error::{Error, ErrorKind, Result};
use crate::executable::Executable;
use crate::feed::{Evaluation, Evaluator, Feed, Metrics};
use crate::log::{Log, Position};
use crate::random::permutation;
use crate::state::State;
use crate::threads::Threads;

/// The executables of a training run.
#[derive(Clone, Debug)]
pub struct Programs {
    /// One update on one batch; its scalar outputs are the metrics.
    pub train: Arc<Executable>,
    /// The same loss and metrics in inference mode, for validation after each epoch.
    pub evaluation: Option<Evaluation>,
}

/// How to train.
#[derive(Clone, Debug)]
pub struct Options {
    /// Epochs in all, those before a resumption included.
    pub epochs: u64,
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
}

impl CheckpointOptions {
    /// At the end of each epoch, keeping two.
    pub fn new(directory: impl Into<PathBuf>) -> CheckpointOptions {
        let directory = directory.into();
        CheckpointOptions { directory, every_steps: None, every: None, keep: 2, resume: false }
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
    fn start(&mut self, _plan: &Plan<'_>) {}

    /// After each step; it should be quick.
    fn step(&mut self, _step: &Step<'_>) -> Flow {
        Flow::Continue
    }

    /// After each batch of validation: how many are done, and how many there are.
    fn validation(&mut self, _done: usize, _batches: usize) -> Flow {
        Flow::Continue
    }

    /// After each epoch and its validation, before its checkpoint is written.
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
pub struct Plan<'a> {
    /// Epochs in all.
    pub epochs: u64,
    /// Steps per epoch.
    pub batches: u64,
    /// Samples per step.
    pub batch: usize,
    /// Batches of a validation; 0 without one.
    pub validation_batches: usize,
    /// Names of the metrics.
    pub metrics: &'a [String],
    /// The checkpoint that the run goes on from.
    pub resumed: Option<&'a Path>,
    /// Steps done before.
    pub step: u64,
}

/// A step that is done.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// The epoch, from 1.
    pub epoch: u64,
    /// Steps done in this epoch, this one included.
    pub position: u64,
    /// Steps done in all, this one included.
    pub step: u64,
    /// Names of the metrics.
    pub names: &'a [String],
    /// Their values for this batch.
    pub metrics: &'a [f64],
}

/// An epoch that is done.
#[derive(Clone, Copy, Debug)]
pub struct Epoch<'a> {
    /// The epoch, from 1.
    pub epoch: u64,
    /// Steps done in all.
    pub step: u64,
    /// Means of the metrics over the epoch's batches, taken before each update.
    pub train: &'a [(String, f64)],
    /// Means over the validation samples, after the epoch; empty without validation.
    pub validation: &'a [(String, f64)],
    /// Seconds since training began, those before a resumption included.
    pub seconds: f64,
}

/// What came out.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Epochs completed, those before a resumption included.
    pub epochs: u64,
    /// Steps done, those before a resumption included.
    pub steps: u64,
    /// Training metrics of the last completed epoch.
    pub train: Metrics,
    /// Validation metrics of the last completed epoch.
    pub validation: Metrics,
    /// Seconds spent, those before a resumption included.
    pub seconds: f64,
    /// Whether [`Progress`] stopped it before the last epoch was complete.
    pub stopped: bool,
}

/// Trains: for each epoch, every training sample once in an order drawn from (seed, epoch), without the last
/// partial batch; then validation; then a checkpoint.
///
/// A run that is stopped or killed at any moment, and resumed from its checkpoints as often as needed, ends with the
/// same bits as one that was left alone. After an error the state is that of the last step that was done.
pub fn train(
    programs: &Programs,
    state: &mut State,
    threads: &Threads,
    data: &mut dyn Batches,
    options: &Options,
    progress: &mut dyn Progress,
) -> Result<Outcome> {
    let mut run = Run::begin(programs, state, threads, data, options, progress)?;
    let mut stopped = false;
    while !stopped && run.cursor.epoch < options.epochs {
        stopped = run.epoch(state, data, progress)? == Flow::Stop;
    }
    let stopped = stopped && run.cursor.epoch < options.epochs;
    let seconds = run.seconds();
    let Cursor { epoch, step, train, validation, .. } = run.cursor;
    let (train, validation) = (from_bits(train), from_bits(validation));
    Ok(Outcome { epochs: epoch, steps: step, train, validation, seconds, stopped })
}

/// A run under way.
struct Run<'a> {
    options: &'a Options,
    feed: Feed,
    evaluator: Option<Evaluator>,
    checkpoints: Option<Checkpoints>,
    log: Option<Log>,
    cursor: Cursor,
    names: Vec<String>,
    /// Values of the metrics of the last step.
    metrics: Vec<f64>,
    /// Their sums over this epoch.
    sums: Vec<f64>,
    /// Whether the user has heard that a metric is not finite.
    warned: bool,
    order: Vec<usize>,
    /// Batches per epoch.
    batches: u64,
    started: Instant,
    seconds_before: f64,
    last_checkpoint: Instant,
}

impl<'a> Run<'a> {
    fn begin(
        programs: &Programs,
        state: &mut State,
        threads: &Threads,
        data: &mut dyn Batches,
        options: &'a Options,
        progress: &mut dyn Progress,
    ) -> Result<Run<'a>> {
        let feed = Feed::bind(&programs.train, state, threads, data)?;
        let samples = data.len(Split::Train);
        let batches = (samples / feed.batch()) as u64;
        if batches == 0 {
            let message = format!(
                "the data set has {samples} training samples, fewer than one batch of {}; choose a smaller batch",
                feed.batch()
            );
            return Err(Error::new(ErrorKind::Data, message));
        }
        let evaluator = match &programs.evaluation {
            Some(e) if !data.is_empty(Split::Validation) => Some(Evaluator::bind(e, state, threads, data)?),
            _ => None,
        };

        let key = DataKey { seed: options.seed, batch: feed.batch() as u64, samples: samples as u64 };
        let numerics = programs.train.manifest().numerics;
        let names = feed.metric_names();
        let mut cursor =
            Cursor { data: key, numerics, sums: vec![0f64.to_bits(); names.len()], ..Cursor::default() };
        let mut resumed = None;
        let mut checkpoints = None;
        if let Some(c) = &options.checkpoints {
            let directory = checkpoints.insert(Checkpoints::open(&c.directory, c.keep)?);
            if !c.resume {
                directory.require_empty()?;
            } else if let Some((found, path)) = directory.resume(state, &mut |text| progress.notice(text))? {
                check_cursor(&found, &cursor, &path)?;
                if found.numerics != numerics {
                    progress.notice(&format!(
                        "`{}` was written under numerics version {}, this is {numerics}: results may differ in \
                         the last bits",
                        path.display(),
                        found.numerics
                    ));
                }
                cursor = Cursor { numerics, ..found };
                resumed = Some(path);
            } else {
                progress.notice("there is no checkpoint yet; training starts from the beginning");
            }
        }
        let position = resumed.as_ref().map(|_| Position { epoch: cursor.epoch, step: cursor.step });
        let validation = evaluator.as_ref().map(Evaluator::metric_names).unwrap_or_default();
        let log =
            options.log.as_ref().map(|l| Log::open(&l.path, &names, &validation, position)).transpose()?;

        progress.start(&Plan {
            epochs: options.epochs,
            batches,
            batch: feed.batch(),
            validation_batches: evaluator.as_ref().map_or(0, Evaluator::batches),
            metrics: &names,
            resumed: resumed.as_deref(),
            step: cursor.step,
        });
        Ok(Run {
            options,
            evaluator,
            checkpoints,
            log,
            metrics: vec![0.0; names.len()],
            sums: cursor.sums.iter().map(|s| f64::from_bits(*s)).collect(),
            names,
            warned: false,
            order: vec![0; samples],
            batches,
            started: Instant::now(),
            seconds_before: cursor.seconds,
            last_checkpoint: Instant::now(),
            feed,
            cursor,
        })
    }

    /// One epoch, or what is left of it.
    fn epoch(
        &mut self,
        state: &mut State,
        data: &mut dyn Batches,
        progress: &mut dyn Progress,
    ) -> Result<Flow> {
        permutation(self.options.seed, self.cursor.epoch, &mut self.order);
        while self.cursor.position < self.batches {
            self.step(state, data)?;
            self.warn(progress);
            let flow = progress.step(&Step {
                epoch: self.cursor.epoch + 1,
                position: self.cursor.position,
                step: self.cursor.step,
                names: &self.names,
                metrics: &self.metrics,
            });
            if flow == Flow::Stop {
                self.checkpoint(state, progress)?;
                return Ok(Flow::Stop);
            }
            // The last step's is left to the end of the epoch.
            if self.cursor.position < self.batches && self.checkpoint_is_due() {
                self.checkpoint(state, progress)?;
            }
        }

        let mut validation = Metrics::new();
        if let Some(evaluator) = &mut self.evaluator {
            let go_on = |done, batches| progress.validation(done, batches) == Flow::Continue;
            match evaluator.run(state, data, self.options.seed, go_on)? {
                Some(metrics) => validation = metrics,
                None => {
                    self.checkpoint(state, progress)?;
                    return Ok(Flow::Stop);
                }
            }
        }
        let means = self.sums.iter().map(|s| s / self.batches as f64);
        let train: Metrics = self.names.iter().cloned().zip(means).collect();
        let seconds = self.seconds();
        self.cursor.epoch += 1;
        self.cursor.position = 0;
        self.sums.fill(0.0);
        let (epoch, step) = (self.cursor.epoch, self.cursor.step);
        if let Some(log) = &mut self.log {
            let values = |m: &Metrics| m.iter().map(|(_, v)| *v).collect::<Vec<_>>();
            log.epoch(epoch, step, &values(&train), &values(&validation), seconds)?;
        }
        let flow = progress.epoch(&Epoch { epoch, step, train: &train, validation: &validation, seconds });
        self.cursor.train = to_bits(&train);
        self.cursor.validation = to_bits(&validation);
        self.checkpoint(state, progress)?;
        Ok(flow)
    }

    /// One batch: fill, run, sum up.
    fn step(&mut self, state: &mut State, data: &mut dyn Batches) -> Result<()> {
        let batch = self.feed.batch();
        let from = self.cursor.position as usize * batch;
        let request = Request {
            split: Split::Train,
            indices: &self.order[from..from + batch],
            seed: self.options.seed,
            epoch: self.cursor.epoch,
        };
        self.feed.run(state, data, &request, &mut self.metrics)?;
        self.sums.iter_mut().zip(&self.metrics).for_each(|(sum, value)| *sum += value);
        self.cursor.position += 1;
        self.cursor.step += 1;
        if let (Some(log), Some(LogOptions { steps: true, .. })) = (&mut self.log, &self.options.log) {
            let seconds = self.seconds_before + self.started.elapsed().as_secs_f64();
            log.step(self.cursor.epoch + 1, self.cursor.step, &self.metrics, seconds)?;
        }
        Ok(())
    }

    /// Tells once that training has diverged: nothing after it will be worth its time.
    fn warn(&mut self, progress: &mut dyn Progress) {
        if let (false, Some(at)) = (self.warned, self.metrics.iter().position(|m| !m.is_finite())) {
            self.warned = true;
            progress.notice(&format!(
                "`{}` is {} after step {}; a smaller learning rate, or clipping the gradient, may help",
                self.names[at], self.metrics[at], self.cursor.step
            ));
        }
    }

    fn checkpoint_is_due(&self) -> bool {
        let Some(c) = &self.options.checkpoints else { return false };
        c.every_steps.is_some_and(|n| n > 0 && self.cursor.step.is_multiple_of(n))
            || c.every.is_some_and(|t| self.last_checkpoint.elapsed() >= t)
    }

    fn checkpoint(&mut self, state: &State, progress: &mut dyn Progress) -> Result<()> {
        let Some(checkpoints) = &self.checkpoints else { return Ok(()) };
        if let Some(log) = &self.log {
            log.sync()?;
        }
        let sums = self.sums.iter().map(|s| s.to_bits()).collect();
        let path =
            checkpoints.save(state, Cursor { sums, seconds: self.seconds(), ..self.cursor.clone() })?;
        progress.checkpoint(&path);
        self.last_checkpoint = Instant::now();
        Ok(())
    }

    fn seconds(&self) -> f64 {
        self.seconds_before + self.started.elapsed().as_secs_f64()
    }
}

/// A run may only go on with the data in the same order, and with the same metrics.
fn check_cursor(found: &Cursor, expected: &Cursor, path: &Path) -> Result<()> {
    if found.data != expected.data {
        let message = format!(
            "`{}` was written with {}, but this run has {}; resume with the same, or load it as weights",
            path.display(),
            found.data,
            expected.data
        );
        return Err(Error::new(ErrorKind::Option, message));
    }
    let batches = found.data.samples / found.data.batch.max(1);
    if found.sums.len() != expected.sums.len() || found.position > batches {
        let (found, expected) = (found.sums.len(), expected.sums.len());
        let message = format!(
            "`{}` was written by another model: it has {found} metrics, this one has {expected}",
            path.display()
        );
        return Err(Error::new(ErrorKind::State, message));
    }
    Ok(())
}

fn to_bits(metrics: &Metrics) -> Vec<(String, u64)> {
    metrics.iter().map(|(name, value)| (name.clone(), value.to_bits())).collect()
}

fn from_bits(metrics: Vec<(String, u64)>) -> Metrics {
    metrics.into_iter().map(|(name, bits)| (name, f64::from_bits(bits))).collect()
}
