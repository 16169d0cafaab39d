//! The entries of an open container by name and size, and what training begins with.

use std::sync::Arc;

use super::open::Loaded;
use crate::error::{Error, ErrorKind, Result, nearest_hint};
use crate::run::executable::Executable;
use crate::run::instance::Instance;
use crate::run::state::{SlotKind, State};
use crate::run::threads::Threads;
use crate::shown::Shown;
use crate::tensors::tensor::Tensor;
#[cfg(feature = "files")]
use crate::training::evaluate::Evaluation;

/// The entry that draws the state.
const INIT: &str = "init";

impl Loaded {
    /// The names of the classes, in the order of their numbers: those that the state knows, or the model's own; empty if there
    /// are none.
    pub fn classes(&self) -> &[String] {
        match &self.state.record().classes[..] {
            [] => &self.contents.about.classes,
            known => known,
        }
    }

    /// The entry of this name; of several sizes the first.
    ///
    /// # Errors
    /// There is none.
    pub fn entry(&self, name: &str) -> Result<&Arc<Executable>> {
        self.entry_for(name, &[]).ok_or_else(|| {
            let names = self.contents.entries.iter().map(|manifest| manifest.entry.as_str());
            let (model, hint) = (self.contents.model.shown(), nearest_hint(name, names));
            Error::new(ErrorKind::Name, format!("`{model}` has no entry point `{}`{hint}", name.shown()))
        })
    }

    /// An instance of an entry, bound to the [`state`](Loaded::state), with everything prepared: others that
    /// [`share`](Instance::share) its prepared values take an arena each, and run on threads of their own.
    ///
    /// # Errors
    /// There is no such entry; too little memory.
    pub fn instance(&self, name: &str, threads: &Threads) -> Result<Instance> {
        let mut instance = Instance::bind(self.entry(name)?.clone(), &self.state, threads)?;
        instance.prepared(&self.state)?;
        Ok(instance)
    }

    /// The first entry of this name that was compiled for these sizes, whatever the others are: `[("batch", 1)]`. Nothing
    /// where there is none.
    pub fn entry_for(&self, name: &str, sizes: &[(&str, usize)]) -> Option<&Arc<Executable>> {
        let fits = |at: &usize| {
            let own = self.contents.sizes(*at);
            let has = |(name, size): &(&str, usize)| own.iter().any(|(of, own)| of == name && own == size);
            self.contents.entries[*at].entry == name && sizes.iter().all(has)
        };
        let at = (0..self.contents.entries.len()).find(fits)?;
        self.executables.get(at)
    }

    /// An entry, to be run over any number of samples: for the batch that it was compiled for first, and for single ones
    /// if it was compiled for them too.
    ///
    /// # Errors
    /// There is no such entry.
    #[cfg(feature = "files")]
    pub fn evaluation(&self, name: &str) -> Result<Evaluation> {
        Ok(Evaluation {
            full: self.entry(name)?.clone(),
            single: self.entry_for(name, &[("batch", 1)]).cloned(),
            formulas: self.formulas(name),
        })
    }

    /// What makes metrics of an entry's totals; nothing where it has none.
    pub fn formulas(&self, entry: &str) -> Option<Arc<Executable>> {
        self.entry_for(&format!("{entry}.metrics"), &[]).cloned()
    }

    /// The state that training starts from: drawn by `seed`, which is the key of the model's random numbers too; the same as
    /// the compiler's. A container without the entry `init` has no other than its [`state`](Loaded::state).
    ///
    /// # Errors
    /// There is no `init`; too little memory.
    pub fn initial_state(&self, seed: i64) -> Result<State> {
        let mut state = State::new();
        for slot in &self.contents.state {
            state.insert(slot.name.as_str(), slot.kind, Tensor::zeros(slot.dtype, &slot.dims)?)?;
        }
        let mut instance = Instance::bind(self.entry(INIT)?.clone(), &state, &Threads::serial())?;
        instance.run_named(&mut state, &[("seed", &Tensor::scalar(seed)?)])?;
        // `init` draws the parameters from the seed; the key of later random numbers is the seed itself.
        for slot in self.contents.state.iter().filter(|slot| slot.kind == SlotKind::Seed) {
            state.set(&slot.name, Tensor::scalar(seed)?)?;
        }
        Ok(state)
    }
}
