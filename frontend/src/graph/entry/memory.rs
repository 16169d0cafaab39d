//! What an optimiser remembers, and under which names.
//!
//! Every `Minimize` is an optimiser of its own, as an object in PyTorch is: it has its memory of each parameter, and its
//! count of updates, by which schedules and bias corrections go. So the memory of a parameter is named
//!
//! - `optim.<slot>.<parameter>` where one `Minimize` of the model trains it;
//! - `optim.<entry>.<slot>.<parameter>` where several entries do;
//! - `optim.<entry>.<number>.<slot>.<parameter>` where several of one entry do, which are numbered from 1.
//!
//! All optimisers of an entry run once in each of its runs, so they share a count: `step` if no other entry counts there, else
//! `optim.<entry>.step`.

use brolga_ir::{DType, Type};

use crate::graph::builder::Builder;
use crate::graph::init::Init;
use crate::graph::names::matches;
use crate::graph::state::SlotKind;
use crate::graph::uses::EntryUse;
use crate::graph::value::{Built, Val};
use crate::model::tree::{Action, EntryKind, EntryPoint, Minimize};

/// The names of one optimiser's memory.
#[derive(Clone, Debug)]
pub(crate) struct OptimizerMemory {
    entry: String,
    number: usize,
    /// The optimisers of the entry, this one among them.
    own: Vec<Trainer>,
    /// The optimisers of other entries, up to the first that trains all parameters: it shares each of them.
    others: Vec<Trainer>,
    /// The state that counts the entry's updates, if it is not `step`.
    pub count: Option<String>,
}

/// Which parameters an optimiser trains, by their names.
#[derive(Clone, Debug)]
struct Trainer {
    of: Vec<String>,
    /// Patterns of its groups, and whether they are frozen; the first that fits decides.
    groups: Vec<(String, bool)>,
}

impl Trainer {
    fn trains_all(&self) -> bool {
        self.of.is_empty() && self.groups.iter().all(|(_, frozen)| !frozen)
    }

    fn trains(&self, parameter: &str) -> bool {
        let chosen = self.of.is_empty() || self.of.iter().any(|of| matches(of, parameter));
        let group = self.groups.iter().find(|(pattern, _)| matches(pattern, parameter));
        chosen && !group.is_some_and(|(_, frozen)| *frozen)
    }
}

impl OptimizerMemory {
    /// What stands between `optim.` and the slot in the names for a parameter.
    pub fn scope(&self, parameter: &str) -> String {
        let trains =
            |trainers: &[Trainer]| trainers.iter().filter(|trainer| trainer.trains(parameter)).count();
        match (trains(&self.others) > 0, trains(&self.own) > 1) {
            (_, true) => format!("{}.{}.", self.entry, self.number),
            (true, false) => format!("{}.", self.entry),
            (false, false) => String::new(),
        }
    }
}

/// The gradient steps of an entry.
fn minimizes(entry: &EntryPoint) -> Vec<&Minimize> {
    match &entry.kind {
        EntryKind::Train { minimize, .. } => vec![minimize],
        EntryKind::Steps { steps, .. } => steps.iter().filter_map(Action::minimize).collect(),
        EntryKind::Infer { .. } | EntryKind::Broken => Vec::new(),
    }
}

/// Whether an entry counts in `step`.
fn counts(entry: &EntryPoint) -> bool {
    match entry.kind {
        EntryKind::Train { .. } => true,
        EntryKind::Steps { train, .. } => train,
        EntryKind::Infer { .. } | EntryKind::Broken => false,
    }
}

impl Builder<'_> {
    /// The memory of the gradient step of that number, from 1, of an entry.
    pub fn memory(&mut self, entry: &str, number: usize) -> OptimizerMemory {
        let tree = self.tree.clone();
        let (mut own, mut others): (Vec<Trainer>, Vec<Trainer>) = Default::default();
        let uses = self.uses;
        for other in uses {
            let is_own = other.name == entry;
            if !is_own && others.last().is_some_and(Trainer::trains_all) {
                continue;
            }
            let trainers = self.with_settings(other, |builder| {
                let minimizes = minimizes(other.entry(&tree)).into_iter();
                minimizes.map(|minimize| builder.trainer(minimize)).collect::<Vec<_>>()
            });
            if is_own { own.extend(trainers) } else { others.extend(trainers) }
        }
        let mut counting = uses.iter().filter(|used| counts(used.entry(&tree)));
        let alone = counting.next().is_some_and(|first| first.name == entry) && counting.next().is_none();
        let count = (!alone).then(|| format!("optim.{entry}.step"));
        OptimizerMemory { entry: entry.to_owned(), number, own, others, count }
    }

    /// From here on layers of groups that this step has frozen behave as in inference; none, where it is no gradient step.
    pub fn freeze(&mut self, used: &EntryUse, step: Option<&Minimize>) {
        let trainer = step.map(|step| self.with_settings(used, |builder| builder.trainer(step)));
        self.groups = trainer.map_or_else(Vec::new, |trainer| trainer.groups);
    }

    fn trainer(&mut self, minimize: &Minimize) -> Trainer {
        let of = minimize.of.iter().filter_map(|pattern| self.quiet(|b| b.fill(pattern))).collect();
        let groups = minimize.groups.iter().map(|group| {
            let frozen = group.frozen.as_ref();
            let frozen = frozen.is_some_and(|expr| self.quiet(|b| b.eval(expr)) == Val::Bool(true));
            (group.pattern.value.clone(), frozen)
        });
        Trainer { of, groups: groups.collect() }
    }

    /// The number of updates that the entry has done before this one, an `i64[]`.
    pub fn updates_done(&mut self, memory: &OptimizerMemory) -> Built {
        match &memory.count {
            None => self.step_count(),
            Some(name) => {
                self.state(name, Type::scalar(DType::I64), SlotKind::Optimizer, Init::Constant(0.0))
            }
        }
    }
}
