//! The training loop.

use std::time::Instant;

use crate::error::{Error, ErrorKind, Result};
use crate::run::outline::Length;
use crate::run::state::State;
use crate::run::threads::Threads;
use crate::shown::Shown;
use crate::training::checkpoint::{Checkpoints, Cursor, Way};
use crate::training::data::Batches;
use crate::training::diverged::Diverged;
use crate::training::log::{Log, Place, Position};
use crate::training::metrics::Metrics;
use crate::training::options::{CheckpointOptions, LogOptions, Options};
use crate::training::plan::Plan;
use crate::training::progress::{Epoch, Flow, Outlook, Progress, Update};
use crate::training::resume::{beginning, fingerprint, resume};
use crate::training::trainee::Bound;

/// After so many seconds a checkpoint is due at the end of an epoch that no evaluation follows.
const CHECKPOINT_SECONDS: u64 = 30;

/// What came out.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Epochs completed, those before a resumption included; of all trainees together.
    pub epochs: u64,
    /// Steps done, those before a resumption included.
    pub steps: u64,
    /// Training metrics of the last completed epoch, or of what was done of the first one. Where there are several trainees, their
    /// names stand before those of the metrics: `critic.loss`.
    pub train: Metrics,
    /// Metrics of the last validation, named so as well.
    pub validation: Metrics,
    /// Seconds spent, those before a resumption included.
    pub seconds: f64,
    /// Whether [`Progress`] stopped it before the end of its plan.
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

/// Trains, phase by phase. An epoch is every training sample once, in an order drawn from (seed, epoch), without the last
/// partial batch. Behind each epoch of a phase that counts them comes a validation, then a checkpoint; what a phase of updates
/// has trained is validated at the end of the plan. `data` are the data sets that trainees read.
///
/// A run that is stopped or killed at any moment, and resumed from its checkpoints as often as needed, ends with the
/// same bits as one that was left alone. After an error the state is that of the last step that was done. Checkpoints and
/// rows of the log that cannot be written, once training has begun, are no errors: [`Progress::notice`] hears of the first,
/// they are tried again, and [`Outcome::failures`] tells what is missing in the end. An index of the data that is outside of its
/// range is an error before the first step.
///
/// # Errors
/// A plan that names what is not there; data that cannot feed its trainees; a checkpoint of another run; what running gives.
pub fn train(
    plan: &Plan,
    state: &mut State,
    threads: &Threads,
    data: &mut [&mut dyn Batches],
    options: &Options,
    progress: &mut dyn Progress,
) -> Result<Outcome> {
    let mut run = Run::begin(plan, state, threads, data, options, progress)?;
    let ended = run.phases(state, data, progress)?;
    let seconds = run.seconds();
    run.sync_log(progress);
    let diverged = run.diverged(state);
    let epochs = run.cursor.ways.iter().map(|way| way.epoch).sum();
    let (train, validation) = (run.named(|way| &way.train), run.named(|way| &way.validation));
    let (steps, failures) = (run.cursor.step, run.failures);
    Ok(Outcome { epochs, steps, train, validation, seconds, stopped: !ended, failures, diverged })
}

/// A run under way.
struct Run<'a> {
    plan: &'a Plan,
    options: &'a Options,
    trainees: Vec<Bound>,
    checkpoints: Option<Checkpoints>,
    log: Option<Log>,
    cursor: Cursor,
    /// Whether the user has heard that a metric is no number.
    warned: bool,
    started: Instant,
    seconds_before: f64,
    last_checkpoint: Instant,
    failures: Failures,
}

impl<'a> Run<'a> {
    fn begin(
        plan: &'a Plan,
        state: &mut State,
        threads: &Threads,
        data: &mut [&mut dyn Batches],
        options: &'a Options,
        progress: &mut dyn Progress,
    ) -> Result<Run<'a>> {
        let mut trainees = bound(plan, state, threads, data, options.seed)?;
        let numerics = plan.trainees.first().map_or(0, |first| first.executables.train.manifest().numerics);
        let ways = trainees.iter().map(|bound| Way::new(bound.sums.sums().len())).collect();
        let mut cursor = Cursor { numerics, ways, ..Cursor::default() };
        let batches: Vec<u64> = trainees.iter().map(|bound| bound.batches).collect();
        let (mut resumed, mut checkpoints) = (None, None);
        if let Some(c) = &options.checkpoints {
            cursor.fingerprint = fingerprint(c, options.seed, plan, &trainees, data);
            cursor.begun = Some(beginning(state));
            let directory = checkpoints.insert(opened(c, progress)?);
            resumed = resume(directory, c, &mut cursor, &batches, state, progress)?;
        }
        for (bound, way) in trainees.iter_mut().zip(&cursor.ways) {
            bound.sums.restore(&way.sums);
            bound.looks = way.epoch;
        }
        let at = Position { epochs: cursor.told, step: cursor.step };
        let position = resumed.as_ref().map(|_| at);
        let mut run = Run {
            plan,
            options,
            trainees,
            checkpoints,
            log: None,
            warned: false,
            started: Instant::now(),
            seconds_before: cursor.seconds,
            last_checkpoint: Instant::now(),
            failures: Failures::default(),
            cursor,
        };
        run.log = run.logged(position)?;
        run.tell(&batches, resumed.as_deref(), progress);
        Ok(run)
    }

    /// Tells what is going to happen.
    fn tell(&self, batches: &[u64], resumed: Option<&std::path::Path>, progress: &mut dyn Progress) {
        let names: Vec<String> = self.columns(|bound| bound.names.clone());
        let only = match self.plan.phases[..] {
            [phase] => Some(phase),
            _ => None,
        };
        progress.start(&Outlook {
            epochs: match only.map(|phase| phase.length) {
                Some(Length::Epochs(epochs)) => Some(epochs),
                _ => None,
            },
            updates: self.plan.updates(batches),
            batches: only.map_or(0, |phase| batches[phase.trainee]),
            batch: only.map_or(0, |phase| self.trainees[phase.trainee].batch()),
            validation_runs: self.trainees.iter().map(Bound::validation_runs).sum(),
            metrics: &names,
            resumed,
            step: self.cursor.step,
        });
    }

    /// All phases that are left, and then the evaluation of what has been trained since the last one. Whether it came to its end.
    fn phases(
        &mut self,
        state: &mut State,
        data: &mut [&mut dyn Batches],
        progress: &mut dyn Progress,
    ) -> Result<bool> {
        while let Some(phase) = self.plan.phases.get(self.cursor.phase as usize) {
            if self.phase(phase.trainee, phase.length, state, data, progress)? == Flow::Stop {
                return Ok(self.is_done());
            }
            if self.cursor.phase as usize + 1 == self.plan.phases.len() {
                // A run with more epochs goes on from here.
                break;
            }
            (self.cursor.phase, self.cursor.done) = (self.cursor.phase + 1, 0);
        }
        let left: Vec<usize> =
            (0..self.trainees.len()).filter(|&at| !self.cursor.ways[at].is_evaluated).collect();
        let mut ended = true;
        for &at in &left {
            ended = ended && self.evaluated(at, state, data, progress)?.is_some();
        }
        if !left.is_empty() {
            self.checkpoint(state, progress);
        }
        Ok(ended)
    }

    /// Whether nothing is left to do.
    fn is_done(&self) -> bool {
        let Some(phase) = self.plan.phases.get(self.cursor.phase as usize) else { return true };
        let done = match phase.length {
            Length::Epochs(all) | Length::Updates(all) => self.cursor.done >= all,
        };
        let is_last = self.cursor.phase as usize + 1 == self.plan.phases.len();
        done && is_last && self.cursor.ways.iter().all(|way| way.is_evaluated)
    }

    /// One phase, or what is left of it.
    fn phase(
        &mut self,
        at: usize,
        length: Length,
        state: &mut State,
        data: &mut [&mut dyn Batches],
        progress: &mut dyn Progress,
    ) -> Result<Flow> {
        loop {
            let is_whole = self.cursor.ways[at].position == self.trainees[at].batches;
            let (flow, is_due) = match length {
                // An epoch comes to its end behind its evaluation.
                Length::Epochs(_) if is_whole => (self.epoch(at, state, data, progress)?, false),
                Length::Updates(_) if is_whole => {
                    let flow = self.end_epoch(at, Metrics::new(), state, None)?;
                    (flow, self.last_checkpoint.elapsed().as_secs() >= CHECKPOINT_SECONDS)
                }
                Length::Epochs(all) | Length::Updates(all) if self.cursor.done >= all => {
                    return Ok(Flow::Continue);
                }
                _ => {
                    self.cursor.done += u64::from(matches!(length, Length::Updates(_)));
                    let flow = self.update(at, state, data, progress)?;
                    // The last step's is left to the end of the epoch.
                    let ends = self.cursor.ways[at].position == self.trainees[at].batches;
                    (flow, !ends && self.checkpoint_is_due())
                }
            };
            if flow == Flow::Stop || is_due {
                self.checkpoint(state, progress);
            }
            if flow == Flow::Stop {
                return Ok(Flow::Stop);
            }
        }
    }

    /// One update.
    fn update(
        &mut self,
        at: usize,
        state: &mut State,
        data: &mut [&mut dyn Batches],
        progress: &mut dyn Progress,
    ) -> Result<Flow> {
        let (bound, way) = (&mut self.trainees[at], &mut self.cursor.ways[at]);
        let seed = self.options.seed;
        bound.update(way, state, &mut *data[bound.data], seed, progress)?;
        self.cursor.step += 1;
        self.log_step(at, progress);
        self.warn(at, progress);
        let (bound, way) = (&self.trainees[at], &self.cursor.ways[at]);
        Ok(progress.update(&Update {
            trainee: &self.plan.trainees[at].name,
            epoch: way.epoch + 1,
            position: way.position,
            step: self.cursor.step,
            names: &bound.names,
            metrics: &bound.metrics,
        }))
    }

    /// The end of an epoch that is whole: its evaluation, what is told of it, and a checkpoint, which a stop leaves to the caller.
    fn epoch(
        &mut self,
        at: usize,
        state: &mut State,
        data: &mut [&mut dyn Batches],
        progress: &mut dyn Progress,
    ) -> Result<Flow> {
        let Some(flow) = self.evaluated(at, state, data, progress)? else { return Ok(Flow::Stop) };
        self.cursor.done += 1;
        if flow == Flow::Continue {
            self.checkpoint(state, progress);
        }
        Ok(flow)
    }

    /// Evaluates a trainee, and tells of what it has done of its epoch, which ends if it is whole; nothing where the user stops
    /// meanwhile.
    fn evaluated(
        &mut self,
        at: usize,
        state: &mut State,
        data: &mut [&mut dyn Batches],
        progress: &mut dyn Progress,
    ) -> Result<Option<Flow>> {
        let bound = &mut self.trainees[at];
        let set = &mut *data[bound.data];
        let Some(validation) = bound.evaluate(state, set, self.options.seed, progress)? else {
            return Ok(None);
        };
        self.end_epoch(at, validation, state, Some(progress)).map(Some)
    }

    /// Takes down the metrics of an epoch, or of what was done of it, and begins the next one where it is whole. With somebody to
    /// tell, there was a validation.
    fn end_epoch(
        &mut self,
        at: usize,
        validation: Metrics,
        state: &mut State,
        progress: Option<&mut dyn Progress>,
    ) -> Result<Flow> {
        let seconds = self.seconds();
        let (bound, way) = (&mut self.trainees[at], &mut self.cursor.ways[at]);
        if way.position > 0 {
            way.train = to_bits(&bound.sums.metrics(state)?);
        }
        let number = way.epoch + u64::from(way.position > 0);
        if way.position == bound.batches {
            (way.epoch, way.position) = (way.epoch + 1, 0);
            bound.sums.clear();
            // Where nothing is evaluated, nothing is left to tell of it at the end.
            way.is_evaluated = bound.validation_runs() == 0;
        }
        if progress.is_some() {
            way.validation = to_bits(&validation);
            way.is_evaluated = true;
        }
        self.cursor.told += 1;
        let (train, step) = (from_bits(&way.train), self.cursor.step);
        let mut silent = ();
        let told = progress.is_some();
        let progress = progress.unwrap_or(&mut silent);
        if self.log.is_some() {
            let values = |m: &Metrics| m.iter().map(|(_, v)| *v).collect::<Vec<_>>();
            let (train, validation) = (values(&train), values(&validation));
            let place = self.place(at);
            if let Some(log) = &mut self.log {
                let logged = log.epoch(place, number, step, &train, &validation, seconds);
                self.failures.logged(logged, progress);
            }
        }
        let trainee = &*self.plan.trainees[at].name;
        let (train, validation) = (&train, &validation);
        match told {
            true => Ok(progress.epoch(&Epoch { trainee, epoch: number, step, train, validation, seconds })),
            false => Ok(Flow::Continue),
        }
    }

    /// What is no number behind the last step.
    fn diverged(&self, state: &State) -> Option<Diverged> {
        let in_data = self.trainees.iter().find_map(Bound::in_data);
        let metrics = self.trainees.iter().zip(&self.cursor.ways).flat_map(|(bound, way)| {
            [("", bound.watched(&way.train)), (" of the validation", bound.watched(&way.validation))]
        });
        Diverged::find(metrics, state, self.cursor.diverged, in_data)
    }

    /// Metrics of all trainees, with the names of trainees before them where there are several.
    fn named(&self, of: impl Fn(&Way) -> &Vec<(String, u64)>) -> Metrics {
        let named = |at: usize| {
            let metrics = from_bits(of(&self.cursor.ways[at]));
            metrics.into_iter().map(move |(name, value)| (format!("{}{name}", self.prefix(at)), value))
        };
        (0..self.trainees.len()).flat_map(named).collect()
    }

    /// What stands before the names of a trainee's metrics.
    fn prefix(&self, at: usize) -> String {
        match &self.plan.trainees[..] {
            [_] => String::new(),
            several => format!("{}.", several[at].name),
        }
    }

    /// Names of all trainees, as [`named`](Run::named).
    fn columns(&self, of: impl Fn(&Bound) -> Vec<String>) -> Vec<String> {
        let named = |(at, bound): (usize, &Bound)| {
            of(bound).into_iter().map(|name| format!("{}{name}", self.prefix(at))).collect::<Vec<_>>()
        };
        self.trainees.iter().enumerate().flat_map(named).collect()
    }

    /// The log, if one is asked for; gone on with behind a position of the run.
    fn logged(&self, position: Option<Position>) -> Result<Option<Log>> {
        let Some(log) = &self.options.log else { return Ok(None) };
        let train = self.columns(|bound| bound.names.clone());
        let validation = self.columns(Bound::validated);
        Log::open(&log.path, &train, &validation, position).map(Some)
    }

    /// Where a trainee's metrics stand among the columns.
    fn place(&self, at: usize) -> Place {
        let before = &self.trainees[..at];
        Place {
            train: before.iter().map(|bound| bound.names.len()).sum(),
            validation: before.iter().map(|bound| bound.validated().len()).sum(),
        }
    }

    fn log_step(&mut self, at: usize, progress: &mut dyn Progress) {
        if !self.options.log.as_ref().is_some_and(|log: &LogOptions| log.steps) {
            return;
        }
        let (seconds, place) = (self.seconds(), self.place(at));
        let (bound, way) = (&self.trainees[at], &self.cursor.ways[at]);
        if let Some(log) = &mut self.log {
            let logged = log.step(place, way.epoch + 1, self.cursor.step, &bound.metrics, seconds);
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
    fn warn(&mut self, at: usize, progress: &mut dyn Progress) {
        let bound = &self.trainees[at];
        let Some(metric) = bound.broken() else { return };
        self.cursor.diverged.get_or_insert((self.cursor.ways[at].epoch + 1, self.cursor.step));
        if !std::mem::replace(&mut self.warned, true) {
            progress.notice(&format!(
                "`{}{}` is {} after step {}; a smaller learning rate, or clipping the gradient, may help",
                self.prefix(at),
                bound.names[metric],
                bound.metrics[metric],
                self.cursor.step
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
        let mut cursor = Cursor { seconds: self.seconds(), ..self.cursor.clone() };
        for (way, bound) in cursor.ways.iter_mut().zip(&self.trainees) {
            way.sums = bound.sums.sums().iter().map(|sum| sum.to_bits()).collect();
        }
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

/// The trainees of a plan, bound to their data.
fn bound(
    plan: &Plan,
    state: &mut State,
    threads: &Threads,
    data: &mut [&mut dyn Batches],
    seed: u64,
) -> Result<Vec<Bound>> {
    let lacks =
        |what: &str| Error::new(ErrorKind::Option, format!("the plan names {what} that is not there"));
    if plan.phases.iter().any(|phase| phase.trainee >= plan.trainees.len()) {
        return Err(lacks("a trainee"));
    }
    let mut all = Vec::with_capacity(plan.trainees.len());
    for trainee in &plan.trainees {
        let set = data.get_mut(trainee.data).ok_or_else(|| lacks("a data set"))?;
        all.push(Bound::bind(trainee, state, threads, &mut **set, seed)?);
    }
    Ok(all)
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

fn from_bits(metrics: &[(String, u64)]) -> Metrics {
    metrics.iter().map(|(name, bits)| (name.clone(), f64::from_bits(*bits))).collect()
}
