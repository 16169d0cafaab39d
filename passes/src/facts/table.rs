//! A table with an entry for each node, indexed by the node's number.

use brolga_ir::{NodeId, Value};

/// Entries by node; nodes never set have the default.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeTable<T> {
    entries: Vec<T>,
    default: T,
}

impl<T: Clone + Default> NodeTable<T> {
    /// The entry of a node.
    pub fn get(&self, id: NodeId) -> &T {
        self.entries.get(id.index()).unwrap_or(&self.default)
    }

    /// The entry of a node, to change.
    pub fn at(&mut self, id: NodeId) -> &mut T {
        if self.entries.len() <= id.index() {
            self.entries.resize(id.index() + 1, T::default());
        }
        &mut self.entries[id.index()]
    }

    /// Sets an entry and gives the former one.
    pub fn set(&mut self, id: NodeId, entry: T) -> T {
        std::mem::replace(self.at(id), entry)
    }
}

/// Optional entries by value: a table of the results of nodes.
#[derive(Clone, Debug)]
pub(crate) struct ValueTable<T> {
    nodes: NodeTable<Vec<Option<T>>>,
}

impl<T> Default for ValueTable<T> {
    fn default() -> ValueTable<T> {
        ValueTable { nodes: NodeTable { entries: Vec::new(), default: Vec::new() } }
    }
}

impl<T: Clone> ValueTable<T> {
    /// The entry of a value.
    pub fn get(&self, value: Value) -> Option<&T> {
        self.nodes.get(value.node).get(value.index as usize)?.as_ref()
    }

    /// Sets an entry and gives the former one.
    pub fn insert(&mut self, value: Value, entry: T) -> Option<T> {
        let results = self.nodes.at(value.node);
        if results.len() <= value.index as usize {
            results.resize(value.index as usize + 1, None);
        }
        results[value.index as usize].replace(entry)
    }
}
