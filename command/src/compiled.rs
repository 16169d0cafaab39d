//! What answers, evaluation and training ask of a model: its names, and executables of its entry points.

use std::sync::Arc;

use brolga_models::data;
use brolga_runtime::{
    Batches, Error, Evaluation, Executable, Field, Fingerprint, Outline, State, Threads, fit,
};

/// The entry point that shows what preparation is fitted to, where a model has any.
const FIT: &str = "data.fit";

/// A model whose entry points can be had as executables: one that is compiled as it is asked, or a container, which holds
/// what was compiled before. Manifests say along which axes samples are; in entry points that a data set is run through they are the
/// first ones, or nothing is known of them.
pub trait Compiled {
    /// What can go wrong where code is made.
    type Error: From<Error>;

    /// Its name.
    fn name(&self) -> &str;

    /// The names of the classes that it declares, in the order of their numbers; empty if it declares none.
    fn declared_classes(&self) -> &[String];

    /// The data set that it trains on where none is given.
    fn data(&self) -> Option<&str>;

    /// How a data set is read for it, drawn by this seed; of folds the first is held out.
    fn data_options(&self, seed: u64) -> data::Options;

    /// The states that begin as tables of the data set, each with the table's name.
    fn tables(&self) -> Vec<(String, String)>;

    /// Whether there is an entry point of this name.
    fn has(&self, entry: &str) -> bool;

    /// The entry points that train.
    fn training(&self) -> Vec<&str>;

    /// The plan that it is trained by, if it has one.
    fn plan(&self) -> Option<Outline>;

    /// What the inputs of an entry point take of a sample, also of one that cannot be run for the sizes chosen.
    ///
    /// # Errors
    /// There is no such entry point.
    fn fields(&self, entry: &str) -> Result<Vec<Field>, Self::Error>;

    /// What a user should know of an entry point, though it is no mistake.
    fn notes(&self, entry: &str) -> Vec<String>;

    /// An entry point: for the batch chosen, or for this one. One without the size `batch` is given as it is.
    ///
    /// # Errors
    /// An unknown entry point; what compiling may give; a batch that is not there.
    fn executable(&self, entry: &str, batch: Option<usize>) -> Result<Arc<Executable>, Self::Error>;

    /// An entry point to be run over so many samples, in batches and one by one. Nothing where there are no samples.
    ///
    /// # Errors
    /// Those of [`executable`](Compiled::executable); batches that do not make up the samples.
    fn evaluation(&self, entry: &str, samples: usize) -> Result<Option<Evaluation>, Self::Error>;

    /// Whether it has the size `batch`, which its entry points can be had for.
    fn has_batch(&self) -> bool;

    /// The state that training starts from, drawn by `seed`.
    ///
    /// # Errors
    /// What compiling and running `init` may give; a container without it.
    fn fresh(&self, seed: i64) -> Result<State, Self::Error>;

    /// A state that weights are loaded into: all of them, so that it does not matter what they begin as.
    ///
    /// # Errors
    /// Those of [`fresh`](Compiled::fresh), but for a container without `init`.
    fn blank(&self, seed: i64) -> Result<State, Self::Error> {
        self.fresh(seed)
    }

    /// Gives the state that comes with it away, where weights do: once.
    fn take_state(&mut self) -> Option<State> {
        None
    }

    /// Whether samples of one call are run in the batches that there are, where there is none of their number.
    fn splits(&self) -> bool {
        false
    }

    /// What training with this entry point depends on besides its data.
    fn fingerprint(&self, entry: &str) -> Fingerprint;

    /// Has an entry point scheduled by measurement, if that was asked for: executables from before are out of date then.
    ///
    /// # Errors
    /// What compiling and running may give.
    fn tuned(&mut self, _entry: &str) -> Result<bool, Self::Error> {
        Ok(false)
    }
}

/// A result of what is done with a model.
pub type Of<M, T> = Result<T, <M as Compiled>::Error>;

/// The names of the classes: those that a state knows, or the model's own.
pub(crate) fn classes<M: Compiled>(model: &M, state: &State) -> Vec<String> {
    match &state.record().classes[..] {
        [] => model.declared_classes().to_vec(),
        known => known.to_vec(),
    }
}

/// What makes metrics of an entry's totals; nothing where it has none.
pub(crate) fn formulas<M: Compiled>(model: &M, entry: &str) -> Of<M, Option<Arc<Executable>>> {
    let name = format!("{entry}.metrics");
    model.has(&name).then(|| model.executable(&name, None)).transpose()
}

/// Fits what prepares the data to the training part of a data set; nothing where the model has nothing to fit.
pub(crate) fn fit_to<M: Compiled>(
    model: &M,
    state: &mut State,
    threads: &Threads,
    data: &mut dyn Batches,
) -> Of<M, ()> {
    if model.has(FIT) {
        // One by one, so that no sample is left out.
        fit(&model.executable(FIT, Some(1))?, state, threads, data)?;
    }
    Ok(())
}
