//! An open container as a compiled model: it gives what it holds.

use std::sync::Arc;

use brolga_models::data::{self, HeldOut};
use brolga_runtime::container::Loaded;
use brolga_runtime::{
    DType, Error, Evaluation, Executable, Field, Fingerprint, Outline, Result, SlotKind, State, Tensor,
    counted,
};

use crate::answers::fields;
use crate::compiled::Compiled;
use crate::files::seeded;
use crate::refused;

/// The entry point that draws the state.
const INIT: &str = "init";

/// The size that samples are counted by.
const BATCH: &str = "batch";

/// A container, ready to be asked.
#[derive(Debug)]
pub struct Ready {
    loaded: Loaded,
    held_out: HeldOut,
}

impl Ready {
    /// What an open container is asked for.
    ///
    /// # Errors
    /// A container that splits data in a way that is not known here.
    pub fn new(loaded: Loaded) -> Result<Ready> {
        let held_out = match &loaded.contents.about.data.held_out[..] {
            "" => HeldOut::Default,
            rule => rule.parse()?,
        };
        Ok(Ready { loaded, held_out })
    }

    /// The container.
    pub fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// Has the random numbers of the state that it carries drawn by another seed.
    ///
    /// # Errors
    /// No memory.
    pub(crate) fn draw_by(&mut self, seed: i64) -> Result<()> {
        let own = std::mem::replace(&mut self.loaded.state, State::new());
        self.loaded.state = seeded(own, seed)?;
        Ok(())
    }

    /// The entries of a name, by their position: those that answer or train, and those that belong to them.
    fn places(&self, entry: &str) -> impl Iterator<Item = usize> {
        let entries = self.loaded.contents.entries.iter().enumerate();
        entries.filter(move |(_, manifest)| manifest.entry == entry).map(|(at, _)| at)
    }

    /// The batch that an entry is for.
    fn batch(&self, at: usize) -> Option<usize> {
        let sizes = self.loaded.contents.sizes(at);
        sizes.iter().find(|(name, _)| name == BATCH).map(|(_, size)| *size)
    }

    /// An entry for so many samples; the first of the name where it has no size `batch`.
    fn sized(&self, entry: &str, batch: usize) -> Option<&Arc<Executable>> {
        let fits = |at: &usize| self.batch(*at).is_none_or(|own| own == batch);
        self.places(entry).find(fits).map(|at| &self.loaded.executables[at])
    }

    /// What is said where there is no entry for a number of samples.
    fn lacking(&self, entry: &str, wanted: &str) -> Error {
        let batches: Vec<String> =
            self.places(entry).filter_map(|at| self.batch(at)).map(|batch| batch.to_string()).collect();
        refused(format!(
            "`{entry}` of `{}` was compiled for {BATCH}es of {}, and not for {wanted}: give whole batches of these, or build it for single samples, too",
            self.name(),
            batches.join(" and ")
        ))
    }

    /// The state with zeros, but for the key of random numbers, and deviations, by which data are divided.
    fn zeros(&self, seed: i64) -> Result<State> {
        let mut state = State::new();
        for slot in &self.loaded.contents.state {
            let value = match (slot.kind, slot.dtype) {
                (SlotKind::Seed, _) => Tensor::scalar(seed)?,
                (SlotKind::Fitted, DType::F32) if slot.name.ends_with(".std") => {
                    Tensor::from_slice(&slot.dims, &vec![1.0f32; slot.dims.iter().product()])?
                }
                (SlotKind::Fitted, DType::F64) if slot.name.ends_with(".std") => {
                    Tensor::from_slice(&slot.dims, &vec![1.0f64; slot.dims.iter().product()])?
                }
                (_, dtype) => Tensor::zeros(dtype, &slot.dims)?,
            };
            state.insert(slot.name.as_str(), slot.kind, value)?;
        }
        Ok(state)
    }
}

impl Compiled for Ready {
    type Error = Error;

    fn name(&self) -> &str {
        &self.loaded.contents.model
    }

    fn declared_classes(&self) -> &[String] {
        &self.loaded.contents.about.classes
    }

    fn data(&self) -> Option<&str> {
        self.loaded.contents.about.data.set.as_deref()
    }

    fn data_options(&self, seed: u64) -> data::Options {
        let about = &self.loaded.contents.about;
        data::Options {
            seed,
            held_out: self.held_out,
            classes: about.classes.clone(),
            vocabularies: Vec::new(),
            target: about.data.target.clone(),
            unlabelled: false,
            columns: about.data.columns.clone(),
            others: about.data.others.clone(),
            tables: about.data.tables.iter().map(|(_, table)| table.clone()).collect(),
        }
    }

    fn tables(&self) -> Vec<(String, String)> {
        self.loaded.contents.about.data.tables.clone()
    }

    fn has(&self, entry: &str) -> bool {
        self.places(entry).next().is_some()
    }

    fn training(&self) -> Vec<&str> {
        self.loaded.contents.about.training.iter().map(|training| training.entry.as_str()).collect()
    }

    fn plan(&self) -> Option<Outline> {
        let plan = &self.loaded.contents.about.plan;
        (!plan.phases.is_empty()).then(|| plan.clone())
    }

    fn fields(&self, entry: &str) -> Result<Vec<Field>> {
        Ok(fields(&self.loaded.entry(entry)?.manifest().inputs))
    }

    fn notes(&self, entry: &str) -> Vec<String> {
        let known = self.loaded.contents.about.training.iter().find(|training| training.entry == entry);
        known.map(|training| training.notes.clone()).unwrap_or_default()
    }

    fn has_batch(&self) -> bool {
        (0..self.loaded.contents.entries.len()).any(|at| self.batch(at).is_some())
    }

    fn executable(&self, entry: &str, batch: Option<usize>) -> Result<Arc<Executable>> {
        let first = self.loaded.entry(entry)?;
        let Some(batch) = batch else { return Ok(first.clone()) };
        let samples = || counted(batch as u64, "sample");
        self.sized(entry, batch).cloned().ok_or_else(|| self.lacking(entry, &samples()))
    }

    fn evaluation(&self, entry: &str, samples: usize) -> Result<Option<Evaluation>> {
        let first = self.loaded.entry(entry)?;
        if samples == 0 {
            return Ok(None);
        }
        let formulas = self.loaded.formulas(entry);
        let batches = self.places(entry).filter_map(|at| self.batch(at));
        // The largest batch that the samples fill.
        let Some(batch) = batches.filter(|batch| (1..=samples).contains(batch)).max() else {
            return match self.places(entry).all(|at| self.batch(at).is_none()) {
                true => Ok(Some(Evaluation { full: first.clone(), single: None, formulas })),
                false => Err(self.lacking(entry, &counted(samples as u64, "sample"))),
            };
        };
        let full = self.executable(entry, Some(batch))?;
        let single = match samples % batch {
            0 => None,
            left => {
                let single = self.sized(entry, 1).cloned();
                let left = format!("the {left} that {samples} samples leave");
                Some(single.ok_or_else(|| self.lacking(entry, &left))?)
            }
        };
        Ok(Some(Evaluation { full, single, formulas }))
    }

    fn fresh(&self, seed: i64) -> Result<State> {
        match self.has(INIT) {
            true => self.loaded.initial_state(seed),
            false => Err(refused(format!(
                "`{}` has no weights of its own, and nothing that draws any: give them with --weights",
                self.name()
            ))),
        }
    }

    fn blank(&self, seed: i64) -> Result<State> {
        if self.has(INIT) { self.loaded.initial_state(seed) } else { self.zeros(seed) }
    }

    fn take_state(&mut self) -> Option<State> {
        let has = self.loaded.contents.has_weights();
        has.then(|| std::mem::replace(&mut self.loaded.state, State::new()))
    }

    fn splits(&self) -> bool {
        true
    }

    fn fingerprint(&self, entry: &str) -> Fingerprint {
        let known = self.loaded.contents.about.training.iter().find(|training| training.entry == entry);
        let known = known.map(|training| (training.decides.clone(), training.explains.clone()));
        let (decides, explains) = known.unwrap_or_default();
        Fingerprint { decides, explains }
    }
}
