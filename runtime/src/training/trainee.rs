//! A trainee of a plan, bound to its data: one update, the metrics of an epoch, its evaluations.

use crate::error::{Error, ErrorKind, Result};
use crate::random::permutation;
use crate::run::state::State;
use crate::run::threads::Threads;
use crate::shown::counted;
use crate::training::checkpoint::Way;
use crate::training::data::{Batches, Request, Split, follow, indices};
use crate::training::diverged::watched;
use crate::training::evaluate::{Evaluator, Ran};
use crate::training::feed::{Feed, NotFinite};
use crate::training::metrics::{MetricSums, Metrics};
use crate::training::plan::Trainee;
use crate::training::progress::Progress;
use crate::training::ranges;

/// A trainee with all that it needs to go on.
pub(crate) struct Bound {
    feed: Feed,
    evaluations: Vec<Named>,
    /// Names of the metrics, as its entry point has them.
    pub(crate) names: Vec<String>,
    /// Values of the metrics of the last update.
    pub(crate) metrics: Vec<f64>,
    /// What this epoch's metrics are made of.
    pub(crate) sums: MetricSums,
    /// Metrics that are numbers as long as training goes well.
    watched: Vec<usize>,
    /// What was found in the training data that is no number.
    not_finite: Option<NotFinite>,
    /// Whether the user has heard of what was found in the validation data.
    told: bool,
    /// The epoch in which the training data is looked at: the first one of this process.
    pub(crate) looks: u64,
    /// The training samples, in the order of an epoch.
    order: Vec<usize>,
    /// The epoch whose order that is.
    ordered: Option<u64>,
    /// Batches per epoch.
    pub(crate) batches: u64,
    /// Which of the data sets it reads.
    pub(crate) data: usize,
}

/// An evaluation, and what stands before the names of its metrics.
struct Named {
    prefix: String,
    evaluator: Evaluator,
}

impl Bound {
    /// Binds executables to data whose indices are in their ranges.
    pub(crate) fn bind(
        trainee: &Trainee,
        state: &mut State,
        threads: &Threads,
        data: &mut dyn Batches,
        seed: u64,
    ) -> Result<Bound> {
        let executables = &trainee.executables;
        let feed = Feed::bind(&executables.train, state, threads, data)?;
        let samples = data.len(Split::Train);
        let batches = whole_batches(samples, feed.batch())?;
        let order = indices(samples)?;
        let measures = trainee.measures.iter().map(|(name, e)| (format!("{name}."), e));
        let own = executables.evaluation.iter().map(|e| (String::new(), e));
        let mut evaluations = Vec::new();
        for (prefix, evaluation) in own.chain(measures) {
            if !data.is_empty(Split::Validation) {
                let evaluator = Evaluator::bind(evaluation, state, threads, data, Split::Validation)?;
                evaluations.push(Named { prefix, evaluator });
            }
        }
        let manifest = executables.train.manifest();
        ranges::check(data, Split::Train, seed, manifest)?;
        for Named { evaluator, .. } in &evaluations {
            ranges::check(data, Split::Validation, seed, evaluator.manifest())?;
        }
        let sums = MetricSums::bind(manifest, executables.formulas.as_ref(), state, threads)?;
        let names = sums.names().to_vec();
        Ok(Bound {
            feed,
            evaluations,
            metrics: vec![0.0; names.len()],
            watched: watched(&names, sums.is_mean()),
            names,
            sums,
            not_finite: None,
            told: false,
            looks: 0,
            order,
            ordered: None,
            batches,
            data: trainee.data,
        })
    }

    /// Samples of an update.
    pub(crate) fn batch(&self) -> usize {
        self.feed.batch()
    }

    /// The names of what evaluations give.
    pub(crate) fn validated(&self) -> Vec<String> {
        let names = |named: &Named| {
            let all = named.evaluator.metric_names().iter();
            all.map(|name| format!("{}{name}", named.prefix)).collect::<Vec<_>>()
        };
        self.evaluations.iter().flat_map(names).collect()
    }

    /// Runs of all evaluations, over batches and single samples.
    pub(crate) fn validation_runs(&self) -> usize {
        self.evaluations.iter().map(|named| named.evaluator.runs()).sum()
    }

    /// One batch of its way: fill, run, sum up.
    pub(crate) fn update(
        &mut self,
        way: &mut Way,
        state: &mut State,
        data: &mut dyn Batches,
        seed: u64,
        progress: &mut dyn Progress,
    ) -> Result<()> {
        if self.ordered != Some(way.epoch) {
            match data.is_sequence() {
                true => follow(self.feed.batch(), &mut self.order),
                false => permutation(seed, way.epoch, &mut self.order),
            }
            self.ordered = Some(way.epoch);
        }
        let batch = self.feed.batch();
        let from = way.position as usize * batch;
        let indices = &self.order[from..from + batch];
        let request = Request { split: Split::Train, indices, seed, epoch: way.epoch };
        self.feed.fill(data, &request)?;
        let look = way.epoch == self.looks && self.not_finite.is_none();
        let found = if look { self.feed.not_finite(data, &request) } else { None };
        // The model may know what to do with it; if not, the state stays as it is.
        let before = found.as_ref().map(|_| state.try_clone()).transpose()?;
        self.feed.run(state)?;
        self.sums.add(self.feed.outputs(), batch)?;
        self.sums.write_last(state, &mut self.metrics)?;
        way.position += 1;
        way.is_evaluated = false;
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

    /// The metrics of the validation samples, or nothing where the user stops.
    pub(crate) fn evaluate(
        &mut self,
        state: &mut State,
        data: &mut dyn Batches,
        seed: u64,
        progress: &mut dyn Progress,
    ) -> Result<Option<Metrics>> {
        let runs = self.validation_runs();
        let (mut all, mut before) = (Metrics::new(), 0);
        for Named { prefix, evaluator } in &mut self.evaluations {
            let mut each = |ran: &Ran<'_>| progress.validation(before + ran.done, runs);
            let Some(metrics) = evaluator.run(state, data, seed, &mut each)? else { return Ok(None) };
            before += evaluator.runs();
            all.extend(metrics.into_iter().map(|(name, value)| (format!("{prefix}{name}"), value)));
            if let (false, Some(found)) = (self.told, evaluator.not_finite()) {
                self.told = true;
                progress.notice(&found.to_string());
            }
        }
        Ok(Some(all))
    }

    /// The first watched metric of the last update that is not finite.
    pub(crate) fn broken(&self) -> Option<usize> {
        self.watched.iter().copied().find(|at| !self.metrics[*at].is_finite())
    }

    /// What was found in its data that is no number.
    pub(crate) fn in_data(&self) -> Option<String> {
        let evaluated = self.evaluations.iter().find_map(|named| named.evaluator.not_finite());
        self.not_finite.as_ref().or(evaluated).map(ToString::to_string)
    }

    /// Those of a list of metrics that are watched.
    pub(crate) fn watched<'l>(&self, list: &'l [(String, u64)]) -> Vec<&'l (String, u64)> {
        let is_watched = |name: &String| self.watched.iter().any(|at| self.names[*at] == *name);
        list.iter().filter(|(name, _)| is_watched(name)).collect()
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
