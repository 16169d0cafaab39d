//! Running an entry over a whole part of a data set.

use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::run::executable::Executable;
use crate::run::manifest::Manifest;
use crate::run::state::State;
use crate::run::threads::Threads;
use crate::tensors::tensor::Tensor;
use crate::training::data::{Batches, Request, Split, follow, indices};
use crate::training::feed::{Feed, NotFinite};
use crate::training::metrics::{MetricSums, Metrics};
use crate::training::progress::Flow;
use crate::training::ranges;

/// The executables that run one entry over any number of samples: whole batches, then what is left one by one. Since a
/// sample has the same bits in a batch and alone, it does not matter to its results where it stands.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// For whole batches.
    pub full: Arc<Executable>,
    /// The same entry for one sample; needed unless the samples fill whole batches.
    pub single: Option<Arc<Executable>>,
    /// What makes metrics of totals ([`MetricSums`]); needed if the entry has any.
    pub formulas: Option<Arc<Executable>>,
}

/// A run that is done.
#[derive(Clone, Copy)]
pub struct Ran<'a> {
    /// Which samples it was about, in the order of the batch.
    pub indices: &'a [usize],
    /// The inputs, in the manifest's order.
    pub inputs: &'a [Tensor],
    /// The outputs, in the manifest's order. Those of samples have these along the axis that the manifest says.
    pub outputs: &'a [Tensor],
    /// Runs that are done, this one included.
    pub done: usize,
    /// Runs in all.
    pub runs: usize,
}

/// The metrics of all validation samples: see [`evaluate_with`]. None where there are no such samples.
///
/// # Errors
/// Those of [`evaluate_with`].
pub fn evaluate(
    evaluation: &Evaluation,
    state: &mut State,
    threads: &Threads,
    data: &mut dyn Batches,
) -> Result<Metrics> {
    let metrics =
        evaluate_with(evaluation, state, threads, data, Split::Validation, &mut |_| Flow::Continue)?;
    Ok(metrics.unwrap_or_default())
}

/// Runs an entry over all samples of a part of a data set, in its order; `each` hears of every run, and may stop. Gives
/// the metrics of all samples together: those of the outputs that are one number, as means, and the formulas of totals. No
/// metrics where there are no samples, and nothing where `each` has stopped.
///
/// # Errors
/// Data that cannot feed the entry; a missing executable; samples that are left over without an executable for single
/// ones. An index outside of its range in any sample, before anything runs. NaN or infinity in the data, where a mean of the
/// samples is not finite either.
pub fn evaluate_with(
    evaluation: &Evaluation,
    state: &mut State,
    threads: &Threads,
    data: &mut dyn Batches,
    split: Split,
    each: &mut dyn FnMut(&Ran<'_>) -> Flow,
) -> Result<Option<Metrics>> {
    if data.is_empty(split) {
        return Ok(Some(Metrics::new()));
    }
    let mut evaluator = Evaluator::bind(evaluation, state, threads, data, split)?;
    ranges::check(data, split, 0, evaluator.manifest())?;
    let metrics = evaluator.run(state, data, 0, each)?;
    match (evaluator.not_finite(), &metrics) {
        (Some(found), Some(metrics)) => match evaluator.broken(metrics) {
            Some((name, value)) => Err(found.error(&format!("`{name}` is {value}"))),
            None => Ok(Some(metrics.clone())),
        },
        _ => Ok(metrics),
    }
}

/// [`Evaluation`], bound to a data set.
pub(crate) struct Evaluator {
    full: Feed,
    single: Option<Feed>,
    split: Split,
    indices: Vec<usize>,
    sums: MetricSums,
    /// What was found in the data that is no number.
    not_finite: Option<NotFinite>,
    /// Whether all data has been looked at.
    looked: bool,
}

impl Evaluator {
    pub(crate) fn bind(
        evaluation: &Evaluation,
        state: &State,
        threads: &Threads,
        data: &dyn Batches,
        split: Split,
    ) -> Result<Evaluator> {
        let full = Feed::bind(&evaluation.full, state, threads, data)?;
        let manifest = evaluation.full.manifest();
        let sums = MetricSums::bind(manifest, evaluation.formulas.as_ref(), state, threads)?;
        let samples = data.len(split);
        let remaining = samples % full.batch();
        let single = match &evaluation.single {
            Some(single) if remaining > 0 => Some(Feed::bind(single, state, threads, data)?),
            _ => None,
        };
        if remaining > 0 && single.as_ref().is_none_or(|feed| feed.batch() != 1) {
            let found = single.map_or("none".to_owned(), |feed| format!("one for {}", feed.batch()));
            let message = format!(
                "{samples} samples in batches of {} leave {remaining}, so `{}` is needed for single samples, too, but \
                 {found} was given; a model gives one if its inputs have the size `batch`, and its state has not; a batch \
                 of which {samples} is a multiple leaves none",
                full.batch(),
                manifest.entry,
            );
            return Err(Error::new(ErrorKind::Data, message));
        }
        if let Some(of_single) = single.as_ref().map(Feed::manifest)
            && !of_single.outputs.iter().map(|o| &o.name).eq(manifest.outputs.iter().map(|o| &o.name))
        {
            let entry = &manifest.entry;
            let message = format!("`{entry}` for batches and for single samples have different outputs");
            return Err(Error::new(ErrorKind::Data, message));
        }
        let mut indices = indices(samples)?;
        indices.iter_mut().enumerate().for_each(|(i, index)| *index = i);
        if data.is_sequence() {
            follow(full.batch(), &mut indices);
        }
        Ok(Evaluator { full, single, split, indices, sums, not_finite: None, looked: false })
    }

    pub(crate) fn manifest(&self) -> &Manifest {
        self.full.manifest()
    }

    pub(crate) fn metric_names(&self) -> &[String] {
        self.sums.names()
    }

    /// How many runs it takes.
    pub(crate) fn runs(&self) -> usize {
        let (samples, batch) = (self.indices.len(), self.full.batch());
        samples / batch + samples % batch
    }

    /// What is no number in the data, as far as it has been run over.
    pub(crate) fn not_finite(&self) -> Option<&NotFinite> {
        self.not_finite.as_ref()
    }

    /// The first that is not finite: of the loss and the means, which are numbers as long as the data is.
    pub(crate) fn broken<'m>(&self, metrics: &'m Metrics) -> Option<&'m (String, f64)> {
        let watched = metrics.iter().zip(self.sums.is_mean());
        let watched = watched.filter(|((name, _), is_mean)| **is_mean || name == "loss");
        watched.map(|(metric, _)| metric).find(|(_, value)| !value.is_finite())
    }

    /// The metrics of all samples, or nothing where `each` has stopped. The data is looked at for what is no number the
    /// first time.
    pub(crate) fn run(
        &mut self,
        state: &mut State,
        data: &mut dyn Batches,
        seed: u64,
        each: &mut dyn FnMut(&Ran<'_>) -> Flow,
    ) -> Result<Option<Metrics>> {
        self.sums.clear();
        // Loops that go on from batch to batch begin anew.
        let own = &self.full.manifest().state;
        state.clear_ends(|name| own.iter().any(|slot| slot.name == name));
        let runs = self.runs();
        let whole = self.indices.len() - self.indices.len() % self.full.batch();
        let (batches, rest) = self.indices.split_at(whole);
        for (done, indices) in batches.chunks(self.full.batch()).chain(rest.chunks(1)).enumerate() {
            let feed = match &mut self.single {
                Some(single) if done >= whole / self.full.batch() => single,
                _ => &mut self.full,
            };
            let request = Request { split: self.split, indices, seed, epoch: 0 };
            feed.fill(data, &request)?;
            if !self.looked && self.not_finite.is_none() {
                self.not_finite = feed.not_finite(data, &request);
            }
            feed.run(state)?;
            self.sums.add(feed.outputs(), indices.len())?;
            let (inputs, outputs) = (feed.inputs(), feed.outputs());
            if each(&Ran { indices, inputs, outputs, done: done + 1, runs }) == Flow::Stop {
                return Ok(None);
            }
        }
        self.looked = true;
        self.sums.metrics(state).map(Some)
    }
}
