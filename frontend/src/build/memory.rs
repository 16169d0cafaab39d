//! What an optimiser remembers, and under which names.
//!
//! Every `Minimize` is an optimiser of its own, as an object in PyTorch is: it has its memory of each parameter, and its
//! count of updates, by which schedules and bias corrections go. So the memory of a parameter is named
//!
//! - `optim.<slot>.<parameter>` where one `Minimize` of the model trains it;
//! - `optim.<entry>.<slot>.<parameter>` where several entries do;
//! - `optim.<entry>.<number>.<slot>.<parameter>` where several of one entry do, which are numbered from 1.
//!
//! All of an entry run once in each of its runs, so they share a count: `step` if no other entry counts there, else
//! `optim.<entry>.step`.

use brolga_ir::{DType, Type};

use super::Builder;
use super::minimize::matches;
use super::state::SlotKind;
use super::value::{Built, Val};
use crate::init::Init;
use crate::model::{Action, Entry, EntryKind, Minimize};

/// The names of one optimiser's memory.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    entry: String,
    number: usize,
    /// All optimisers of the model, this one among them.
    all: Vec<Trainer>,
    /// The state that counts the entry's updates, if it is not `step`.
    pub count: Option<String>,
}

/// Which parameters an optimiser trains, by their names.
#[derive(Clone, Debug)]
struct Trainer {
    entry: String,
    of: Vec<String>,
    /// Patterns of its groups, and whether they are frozen; the first that fits decides.
    groups: Vec<(String, bool)>,
}

impl Trainer {
    fn trains(&self, parameter: &str) -> bool {
        let chosen = self.of.is_empty() || self.of.iter().any(|of| matches(of, parameter));
        let group = self.groups.iter().find(|(pattern, _)| matches(pattern, parameter));
        chosen && !group.is_some_and(|(_, frozen)| *frozen)
    }
}

impl Memory {
    /// What stands between `optim.` and the slot in the names for a parameter.
    pub fn scope(&self, parameter: &str) -> String {
        let rivals = || self.all.iter().filter(|trainer| trainer.trains(parameter));
        let within = rivals().filter(|trainer| trainer.entry == self.entry).count();
        match (rivals().any(|trainer| trainer.entry != self.entry), within > 1) {
            (_, true) => format!("{}.{}.", self.entry, self.number),
            (true, false) => format!("{}.", self.entry),
            (false, false) => String::new(),
        }
    }
}

/// The gradient steps of an entry.
fn minimizes(entry: &Entry) -> Vec<&Minimize> {
    match &entry.kind {
        EntryKind::Train { minimize, .. } => vec![minimize],
        EntryKind::Steps { steps, .. } => {
            let mut minimizes = Vec::new();
            for step in steps {
                match step {
                    Action::Minimize(minimize) => minimizes.push(&**minimize),
                    Action::Update { .. } => {}
                }
            }
            minimizes
        }
        EntryKind::Infer { .. } | EntryKind::Broken => Vec::new(),
    }
}

/// Whether an entry counts in `step`.
fn counts(entry: &Entry) -> bool {
    match entry.kind {
        EntryKind::Train { .. } => true,
        EntryKind::Steps { train, .. } => train,
        EntryKind::Infer { .. } | EntryKind::Broken => false,
    }
}

impl Builder<'_> {
    /// The memory of the gradient step of that number, from 1, of an entry.
    pub fn memory(&mut self, entry: &str, number: usize) -> Memory {
        let tree = self.tree.clone();
        let mut all = Vec::new();
        for other in &tree.entries {
            for minimize in minimizes(other) {
                let of = minimize.of.iter().map(|pattern| pattern.value.clone()).collect();
                let groups = minimize.groups.iter().map(|group| {
                    let frozen = group
                        .frozen
                        .as_ref()
                        .is_some_and(|expr| self.quiet(|b| b.eval(expr)) == Val::Bool(true));
                    (group.pattern.value.clone(), frozen)
                });
                let groups = groups.collect();
                all.push(Trainer { entry: other.name.value.clone(), of, groups });
            }
        }
        let counting: Vec<&str> = tree
            .entries
            .iter()
            .filter(|entry| counts(entry))
            .map(|entry| entry.name.value.as_str())
            .collect();
        let count = (counting != [entry]).then(|| format!("optim.{entry}.step"));
        Memory { entry: entry.to_owned(), number, all, count }
    }

    /// The number of updates that the entry has done before this one, an `i64[]`.
    pub fn updates_done(&mut self, memory: &Memory) -> Built {
        match &memory.count {
            None => self.step_count(),
            Some(name) => {
                self.state(name, Type::scalar(DType::I64), SlotKind::Optimizer, Init::Constant(0.0))
            }
        }
    }
}
