//! The entries of a model, each with its settings.

use super::value::Val;
use crate::model::tree::{EntryKind, EntryPoint, ModelTree};

/// An entry point with its settings.
#[derive(Clone, Debug)]
pub(crate) struct EntryUse {
    /// The entry's, and its settings where they are not the defaults: `pretrain(layer=1)`.
    pub name: String,
    /// Which entry of the file.
    pub at: usize,
    /// What is set, by name.
    pub set: Vec<(String, Val)>,
}

/// Which graph of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryGraph {
    Main,
    /// Loss and metrics of an entry in inference mode.
    Evaluation,
}

impl EntryUse {
    /// The entries of a file, as they stand there.
    pub fn all(tree: &ModelTree) -> Vec<EntryUse> {
        let entries = tree.entries.iter().enumerate();
        entries.map(|(at, entry)| EntryUse { name: entry.name.value.clone(), at, set: Vec::new() }).collect()
    }

    /// The entry of the file.
    pub fn entry<'t>(&self, tree: &'t ModelTree) -> &'t EntryPoint {
        &tree.entries[self.at]
    }

    /// What its graph is called.
    pub fn name_of(&self, graph: EntryGraph) -> String {
        match graph {
            EntryGraph::Main => self.name.clone(),
            EntryGraph::Evaluation => format!("{}.eval", self.name),
        }
    }
}

impl EntryPoint {
    /// The graphs that it has.
    pub(crate) fn graphs(&self) -> &'static [EntryGraph] {
        match &self.kind {
            EntryKind::Train { .. } | EntryKind::Steps { .. } => &[EntryGraph::Main, EntryGraph::Evaluation],
            EntryKind::Infer { metrics, .. } if metrics.is_empty() => &[EntryGraph::Main],
            EntryKind::Infer { outputs, .. } if outputs.is_empty() => &[EntryGraph::Evaluation],
            EntryKind::Infer { .. } => &[EntryGraph::Main, EntryGraph::Evaluation],
            EntryKind::Broken => &[EntryGraph::Main],
        }
    }
}
