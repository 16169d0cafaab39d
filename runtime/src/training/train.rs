//! The training loop.

use std::time::Instant;

use crate::error::{Error, ErrorKind, Result};
use crate::random::permutation;
use crate::run::state::State;
use crate::run::threads::Threads;
use crate::shown::{Shown, counted};
use crate::training::checkpoint::{Checkpoints, Cursor};
use crate::training::data::{Batches, Request, Split, indices};
use crate::training::diverged::{Diverged, watched};
use crate::training::evaluate::{Evaluator, Ran};
use crate::training::feed::{Feed, NotFinite};
use crate::training::log::{Log, Position};
use crate::training::metrics::{MetricSums, Metrics};
use crate::training::options::{CheckpointOptions, Executables, LogOptions, Options};
use crate::training::progress::{Epoch, Flow, Outlook, Progress, Update};
use crate::training::ranges;
use crate::training::resume::{beginning, fingerprint, resume};

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
    /// What went wrong beside it.
    pub failures: Failures,
    /// What is no number in the end: training has failed then, whatever else it has come to.
    pub diverged: Option<Diverged>,
}

/// What could not be written. It never ends a run: the state is worth more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// Checkpoints that could not be written, those that a later one made up for included.
    pub checkpoints: u64,
    /// Why the last checkpoint could not be written, if it could not.
    pub checkpoint: Option<String>,
    /// Why the log lacks rows, if it does.
    pub log: Option<String>,
}

/// Trains: for each epoch, every training sample once in an order drawn from (seed, epoch), without the last
/// partial batch; then validation; then a checkpoint.
///
/// A run that is stopped or killed at any moment, and resumed from its checkpoints as often as needed, ends with the
/// same bits as one that was left alone. After an error the state is that of the last step that was done. Checkpoints and
/// rows of the log that cannot be written, once training has begun, are no errors: [`Progress::notice`] hears of the first,
/// they are tried again, and [`Outcome::failures`] tells what is missing in the end. An index of the data that is outside of its
/// range is an error before the first step.
pub fn train(
    executables: &Executables,
    state: &mut State,
    threads: &Threads,
    data: &mut dyn Batches,
    options: &Options,
    progress: &mut dyn Progress,
) -> Result<Outcome> {
    let mut run = Run::begin(executables, state, threads, data, options, progress)?;
    let mut stopped = false;
    while !stopped && run.cursor.epoch < options.epochs {
        stopped = run.epoch(state, data, progress)? == Flow::Stop;
    }
    let stopped = stopped && run.cursor.epoch < options.epochs;
    let seconds = run.seconds();
    run.sync_log(progress);
    let diverged = run.diverged(state);
    let failures = run.failures;
    let Cursor { epoch, step, train, validation, .. } = run.cursor;
    let (train, validation) = (from_bits(train), from_bits(validation));
    Ok(Outcome { epochs: epoch, steps: step, train, validation, seconds, stopped, failures, diverged })
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
    /// What this epoch's metrics are made of.
    sums: MetricSums,
    /// Metrics that are numbers as long as training goes well.
    watched: Vec<usize>,
    /// Whether the user has heard that one is not.
    warned: bool,
    /// What was found in the training data that is no number.
    not_finite: Option<NotFinite>,
    /// Whether the user has heard of what was found in the validation data.
    told: bool,
    /// The epoch in which the training data is looked at: the first one of this process.
    looks: u64,
    order: Vec<usize>,
    /// Batches per epoch.
    batches: u64,
    started: Instant,
    seconds_before: f64,
    last_checkpoint: Instant,
    failures: Failures,
}

/// What goes over the data, epoch by epoch.
struct Bound {
    feed: Feed,
    /// If there is anything to validate with, and on.
    evaluator: Option<Evaluator>,
    /// The training samples, not yet in the order of an epoch.
    order: Vec<usize>,
    /// Batches per epoch.
    batches: u64,
}

impl Bound {
    /// The executables, bound to data whose indices are in their ranges.
    fn bind(
        executables: &Executables,
        state: &State,
        threads: &Threads,
        data: &mut dyn Batches,
        seed: u64,
    ) -> Result<Bound> {
        let feed = Feed::bind(&executables.train, state, threads, data)?;
        let samples = data.len(Split::Train);
        let batches = whole_batches(samples, feed.batch())?;
        let order = indices(samples)?;
        let evaluator = match &executables.evaluation {
            Some(e) if !data.is_empty(Split::Validation) => {
                Some(Evaluator::bind(e, state, threads, data, Split::Validation)?)
            }
            _ => None,
        };
        ranges::check(data, Split::Train, seed, executables.train.manifest())?;
        if let Some(evaluator) = &evaluator {
            ranges::check(data, Split::Validation, seed, evaluator.manifest())?;
        }
        Ok(Bound { feed, evaluator, order, batches })
    }
}

impl<'a> Run<'a> {
    fn begin(
        executables: &Executables,
        state: &mut State,
        threads: &Threads,
        data: &mut dyn Batches,
        options: &'a Options,
        progress: &mut dyn Progress,
    ) -> Result<Run<'a>> {
        let bound = Bound::bind(executables, state, threads, data, options.seed)?;
        let Bound { feed, evaluator, order, batches } = bound;
        let manifest = executables.train.manifest();
        let mut sums = MetricSums::bind(manifest, executables.formulas.as_ref(), state, threads)?;
        let names = sums.names().to_vec();
        let mut cursor = Cursor {
            numerics: manifest.numerics,
            sums: vec![0f64.to_bits(); sums.sums().len()],
            ..Cursor::default()
        };
        let (mut resumed, mut checkpoints) = (None, None);
        if let Some(c) = &options.checkpoints {
            cursor.fingerprint = fingerprint(c, options.seed, feed.batch(), data);
            cursor.begun = Some(beginning(state));
            let directory = checkpoints.insert(opened(c, progress)?);
            resumed = resume(directory, c, &mut cursor, batches, state, progress)?;
        }
        let position = resumed.as_ref().map(|_| Position { epoch: cursor.epoch, step: cursor.step });
        let log = log(options, &names, evaluator.as_ref(), position)?;
        sums.restore(&cursor.sums);
        progress.start(&Outlook {
            epochs: options.epochs,
            batches,
            batch: feed.batch(),
            validation_runs: evaluator.as_ref().map_or(0, Evaluator::runs),
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
            watched: watched(&names, sums.is_mean()),
            sums,
            names,
            warned: false,
            not_finite: None,
            told: false,
            looks: cursor.epoch,
            order,
            batches,
            started: Instant::now(),
            seconds_before: cursor.seconds,
            last_checkpoint: Instant::now(),
            failures: Failures::default(),
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
            self.step(state, data, progress)?;
            self.log_step(progress);
            self.warn(progress);
            let flow = progress.update(&Update {
                epoch: self.cursor.epoch + 1,
                position: self.cursor.position,
                step: self.cursor.step,
                names: &self.names,
                metrics: &self.metrics,
            });
            if flow == Flow::Stop {
                self.checkpoint(state, progress);
                return Ok(Flow::Stop);
            }
            // The last step's is left to the end of the epoch.
            if self.cursor.position < self.batches && self.checkpoint_is_due() {
                self.checkpoint(state, progress);
            }
        }

        let Some(validation) = self.validate(state, data, progress)? else {
            self.checkpoint(state, progress);
            return Ok(Flow::Stop);
        };
        let train = self.sums.metrics(state)?;
        let seconds = self.seconds();
        self.cursor.epoch += 1;
        self.cursor.position = 0;
        self.sums.clear();
        let (epoch, step) = (self.cursor.epoch, self.cursor.step);
        if let Some(log) = &mut self.log {
            let values = |m: &Metrics| m.iter().map(|(_, v)| *v).collect::<Vec<_>>();
            let logged = log.epoch(epoch, step, &values(&train), &values(&validation), seconds);
            self.failures.logged(logged, progress);
        }
        let flow = progress.epoch(&Epoch { epoch, step, train: &train, validation: &validation, seconds });
        self.cursor.train = to_bits(&train);
        self.cursor.validation = to_bits(&validation);
        self.checkpoint(state, progress);
        Ok(flow)
    }

    /// The metrics of the validation samples, or nothing where the user stops.
    fn validate(
        &mut self,
        state: &mut State,
        data: &mut dyn Batches,
        progress: &mut dyn Progress,
    ) -> Result<Option<Metrics>> {
        let Some(evaluator) = &mut self.evaluator else { return Ok(Some(Metrics::new())) };
        let mut each = |ran: &Ran<'_>| progress.validation(ran.done, ran.runs);
        let metrics = evaluator.run(state, data, self.options.seed, &mut each)?;
        if let (false, Some(found)) = (self.told, evaluator.not_finite()) {
            self.told = true;
            progress.notice(&found.to_string());
        }
        Ok(metrics)
    }

    /// One batch: fill, run, sum up.
    fn step(&mut self, state: &mut State, data: &mut dyn Batches, progress: &mut dyn Progress) -> Result<()> {
        let batch = self.feed.batch();
        let from = self.cursor.position as usize * batch;
        let request = Request {
            split: Split::Train,
            indices: &self.order[from..from + batch],
            seed: self.options.seed,
            epoch: self.cursor.epoch,
        };
        self.feed.fill(data, &request)?;
        let look = self.cursor.epoch == self.looks && self.not_finite.is_none();
        let found = if look { self.feed.not_finite(data, &request) } else { None };
        // The model may know what to do with it; if not, the state stays as it is.
        let before = found.as_ref().map(|_| state.try_clone()).transpose()?;
        self.feed.run(state)?;
        self.sums.add(self.feed.outputs(), batch)?;
        self.sums.write_last(state, &mut self.metrics)?;
        self.cursor.position += 1;
        self.cursor.step += 1;
        if let Some(found) = found {
            if let Some(at) = self.broken() {
                if let Some(before) = before {
                    *state = before;
                }
                return Err(found.error(&format!("`{}` is {}", self.names[at], self.metrics[at])));
            }
            progress.notice(&found.to_string());
            self.not_finite = Some(found);
        }
        Ok(())
    }

    /// The first watched metric of the last step that is not finite.
    fn broken(&self) -> Option<usize> {
        self.watched.iter().copied().find(|at| !self.metrics[*at].is_finite())
    }

    /// What is no number behind the last step.
    fn diverged(&self, state: &State) -> Option<Diverged> {
        let in_data = [self.not_finite.as_ref(), self.evaluator.as_ref().and_then(Evaluator::not_finite)];
        let in_data = in_data.into_iter().flatten().map(ToString::to_string).next();
        let metrics = [
            ("", self.watched(&self.cursor.train)),
            (" of the validation", self.watched(&self.cursor.validation)),
        ];
        Diverged::find(metrics, state, self.cursor.diverged, in_data)
    }

    /// Those that are watched.
    fn watched<'l>(&self, list: &'l [(String, u64)]) -> Vec<&'l (String, u64)> {
        let is_watched = |name: &String| self.watched.iter().any(|at| self.names[*at] == *name);
        list.iter().filter(|(name, _)| is_watched(name)).collect()
    }

    fn log_step(&mut self, progress: &mut dyn Progress) {
        let seconds = self.seconds();
        if let (Some(log), Some(LogOptions { steps: true, .. })) = (&mut self.log, &self.options.log) {
            let logged = log.step(self.cursor.epoch + 1, self.cursor.step, &self.metrics, seconds);
            self.failures.logged(logged, progress);
        }
    }

    fn sync_log(&mut self, progress: &mut dyn Progress) {
        if let Some(log) = &mut self.log {
            let synced = log.sync();
            self.failures.logged(synced, progress);
        }
    }

    /// Notes, and tells once, that training has diverged: nothing after it will be worth its time.
    fn warn(&mut self, progress: &mut dyn Progress) {
        let Some(at) = self.broken() else { return };
        self.cursor.diverged.get_or_insert((self.cursor.epoch + 1, self.cursor.step));
        if !std::mem::replace(&mut self.warned, true) {
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

    fn checkpoint(&mut self, state: &State, progress: &mut dyn Progress) {
        if self.checkpoints.is_none() {
            return;
        }
        self.sync_log(progress);
        let sums = self.sums.sums().iter().map(|s| s.to_bits()).collect();
        let cursor = Cursor { sums, seconds: self.seconds(), ..self.cursor.clone() };
        let Some(checkpoints) = &self.checkpoints else { return };
        match checkpoints.save(state, &cursor) {
            Ok(path) => {
                self.failures.checkpoint = None;
                progress.checkpoint(&path);
                if let Err(error) = checkpoints.remove_old(cursor.step) {
                    progress.notice(&error.to_string());
                }
            }
            Err(error) => self.failures.checkpoint(&error, progress),
        }
        self.last_checkpoint = Instant::now();
    }

    fn seconds(&self) -> f64 {
        self.seconds_before + self.started.elapsed().as_secs_f64()
    }
}

impl Failures {
    /// A checkpoint could not be written. The first failure of several in a row is told.
    fn checkpoint(&mut self, error: &Error, progress: &mut dyn Progress) {
        self.checkpoints += 1;
        if self.checkpoint.replace(error.to_string()).is_none() {
            progress.notice(&format!("no checkpoint could be written, training goes on: {error}"));
        }
    }

    /// Rows of the log could be written, or not.
    fn logged(&mut self, result: Result<()>, progress: &mut dyn Progress) {
        match result {
            Ok(()) => self.log = None,
            Err(error) => {
                if self.log.replace(error.to_string()).is_none() {
                    progress.notice(&format!("the log could not be written, training goes on: {error}"));
                }
            }
        }
    }
}

/// How many whole batches so many samples are; an error if there is none.
fn whole_batches(samples: usize, batch: usize) -> Result<u64> {
    if samples >= batch {
        return Ok((samples / batch) as u64);
    }
    let samples = counted(samples as u64, "training sample");
    let message =
        format!("the data set has {samples}, fewer than one batch of {batch}; choose a smaller batch");
    Err(Error::new(ErrorKind::Data, message))
}

/// The log, if one is asked for; gone on with behind a position of the run.
fn log(
    options: &Options,
    names: &[String],
    evaluator: Option<&Evaluator>,
    position: Option<Position>,
) -> Result<Option<Log>> {
    let validation = evaluator.map(Evaluator::metric_names).unwrap_or_default();
    options.log.as_ref().map(|log| Log::open(&log.path, names, validation, position)).transpose()
}

/// The folder of checkpoints, locked where its file system has locks.
fn opened(options: &CheckpointOptions, progress: &mut dyn Progress) -> Result<Checkpoints> {
    let directory = Checkpoints::open(&options.directory, options.keep)?;
    if !directory.is_locked() {
        progress.notice(&format!(
            "the file system of `{}` has no locks: see to it that no other run uses this folder",
            options.directory.shown()
        ));
    }
    Ok(directory)
}

fn to_bits(metrics: &Metrics) -> Vec<(String, u64)> {
    metrics.iter().map(|(name, value)| (name.clone(), value.to_bits())).collect()
}

fn from_bits(metrics: Vec<(String, u64)>) -> Metrics {
    metrics.into_iter().map(|(name, bits)| (name, f64::from_bits(bits))).collect()
}
