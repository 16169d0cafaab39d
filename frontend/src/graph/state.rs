//! State: parameters, running statistics, optimiser slots, the step and the seed.

use std::collections::{HashMap, HashSet};

use brolga_ir::Type;

use super::init::Init;
use super::value::Tensor;
use crate::source::FilePlace;

/// What a state slot is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SlotKind {
    /// Trained: receives gradients.
    Parameter,
    /// Part of the model but not trained: running statistics.
    Buffer,
    /// What preparation fits to the data before training: `data.<input>.mean`.
    Fitted,
    /// The memory of an optimiser, named `optim.<slot>.<parameter>`.
    Optimizer,
    /// Number of training steps done: `step`, an `i64[]`.
    Step,
    /// The key of all random numbers: `seed`, an `i64[]`.
    Seed,
    /// Where a loop of an entry ended when it was run last: `kept.<entry>.<carry>`, and whether it has been run,
    /// `kept.<entry>.<carry>.begun`. It may have the size `batch`.
    Kept,
}

/// A piece of state.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    /// Its name, as in a state file.
    pub name: String,
    /// Its type.
    pub ty: Type,
    /// What it is for.
    pub kind: SlotKind,
    pub(crate) init: Init,
}

impl SlotKind {
    /// As it stands behind "is" in messages.
    fn describe(self) -> &'static str {
        match self {
            SlotKind::Parameter => "a parameter that is trained",
            SlotKind::Buffer => "a buffer, which is not trained",
            SlotKind::Fitted => "fitted to the data",
            SlotKind::Optimizer => "the memory of an optimiser",
            SlotKind::Step => "the number of training steps",
            SlotKind::Seed => "the seed",
            SlotKind::Kept => "where a loop ended",
        }
    }
}

impl Slot {
    /// The number that all its elements begin with; nothing where they are drawn, or differ.
    pub fn constant(&self) -> Option<f64> {
        match self.init {
            Init::Constant(value) => Some(value),
            _ => None,
        }
    }

    /// The table of the data set that it begins as, if it does.
    pub fn table(&self) -> Option<&str> {
        match &self.init {
            Init::Table(name) => Some(name),
            _ => None,
        }
    }

    /// In what this is another piece of state than `other`, which has its name: what each of them "is" or "has".
    pub(crate) fn differs(&self, other: &Slot) -> Option<(String, String)> {
        if self.ty != other.ty {
            return Some((format!("is {}", self.ty), other.ty.to_string()));
        }
        if self.kind != other.kind {
            return Some((format!("is {}", self.kind.describe()), other.kind.describe().to_owned()));
        }
        let init = |slot: &Slot| format!("initialised by {:?}", slot.init);
        (self.init != other.init).then(|| (format!("is {}", init(self)), init(other)))
    }
}

/// The state of one graph.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slots {
    list: Vec<Slot>,
    /// Positions in the list, by name.
    positions: HashMap<String, usize>,
    /// What each slot holds at this point of the graph.
    now: HashMap<String, Tensor>,
    /// What it held at the start.
    before: HashMap<String, Tensor>,
    /// What changed slots held before, in the order of changes.
    log: Vec<(String, Tensor)>,
    /// Where each was declared.
    pub places: HashMap<String, FilePlace>,
    /// Number of trained numbers.
    parameter_count: usize,
}

impl Slots {
    pub fn list(&self) -> &[Slot] {
        &self.list
    }

    /// Number of trained numbers.
    pub fn parameter_count(&self) -> usize {
        self.parameter_count
    }

    pub fn get(&self, name: &str) -> Option<(&Slot, Tensor)> {
        let slot = &self.list[*self.positions.get(name)?];
        Some((slot, *self.now.get(name)?))
    }

    /// Trained parameters in order, with what they hold now.
    pub fn parameters(&self) -> Vec<(String, Tensor)> {
        let parameters = self.list.iter().filter(|slot| slot.kind == SlotKind::Parameter);
        parameters.filter_map(|slot| Some((slot.name.clone(), *self.now.get(&slot.name)?))).collect()
    }

    /// Slots that hold something else than at the start.
    pub fn updates(&self) -> Vec<(String, Tensor)> {
        let mut updates = Vec::new();
        for slot in &self.list {
            let (now, before) = (self.now.get(&slot.name), self.before.get(&slot.name));
            if let Some(&value) = now.filter(|now| Some(*now) != before) {
                updates.push((slot.name.clone(), value));
            }
        }
        updates
    }

    /// The values of all slots, to be put back by [`Self::restore`].
    pub fn save(&self) -> HashMap<String, Tensor> {
        self.now.clone()
    }

    /// Takes back every change since `saved`; slots declared since then stay.
    pub fn restore(&mut self, saved: HashMap<String, Tensor>) {
        let mut now = self.before.clone();
        now.extend(saved);
        self.now = now;
    }

    /// How many changes there have been.
    pub fn changes(&self) -> usize {
        self.log.len()
    }

    /// Slots that hold something else than after so many changes, in the order in which they were changed: what they held then, or at
    /// the start if they are newer, and what they hold now.
    pub fn changed_since(&self, changes: usize) -> Vec<(String, Tensor, Tensor)> {
        let mut seen = HashSet::new();
        let first = self.log[changes..].iter().filter(|(name, _)| seen.insert(name));
        let changed = first.filter_map(|(name, before)| {
            let now = *self.now.get(name)?;
            (now != *before).then(|| (name.clone(), *before, now))
        });
        changed.collect()
    }

    /// Changes from that number on count as made before others, from another number on; how many they are.
    pub fn move_changes(&mut self, from: usize, to: usize) -> usize {
        let moved = self.log.len() - from;
        self.log[to..].rotate_right(moved);
        moved
    }

    /// What a slot held before its changes, all of them or those behind so many.
    pub fn earlier(&self, name: &str, changes: usize) -> Vec<Tensor> {
        self.log[changes..].iter().filter(|(changed, _)| changed == name).map(|(_, before)| *before).collect()
    }

    /// The slot of that name holds another value from here on.
    pub fn set(&mut self, name: &str, value: Tensor) {
        if let Some(before) = self.now.insert(name.to_owned(), value) {
            self.log.push((name.to_owned(), before));
        }
    }

    /// Adds a slot, which holds `value` at the start.
    pub fn declare(&mut self, slot: Slot, value: Tensor, place: Option<FilePlace>) {
        let name = slot.name.clone();
        if slot.kind == SlotKind::Parameter {
            self.parameter_count += slot.ty.elements();
        }
        self.positions.insert(name.clone(), self.list.len());
        self.list.push(slot);
        if let Some(place) = place {
            self.places.insert(name.clone(), place);
        }
        self.now.insert(name.clone(), value);
        self.before.insert(name, value);
    }
}
