//! Named values and results of layers, by path. In a loop they are those of one step, above those around it.

use std::collections::HashMap;

use super::value::Val;

/// Values by path.
#[derive(Debug, Default)]
pub(crate) struct NamedValues {
    /// Those that have been named since the innermost loop began, or all.
    own: HashMap<String, Val>,
    /// Those that were there before, for each loop, the outermost first.
    around: Vec<HashMap<String, Val>>,
}

impl NamedValues {
    pub fn get(&self, path: &str) -> Option<&Val> {
        let around = || self.around.iter().rev().find_map(|values| values.get(path));
        self.own.get(path).or_else(around)
    }

    /// What has that path outside of all loops.
    pub fn outermost(&self, path: &str) -> Option<&Val> {
        self.around.first().unwrap_or(&self.own).get(path)
    }

    pub fn insert(&mut self, path: String, value: Val) {
        self.own.insert(path, value);
    }

    pub fn extend(&mut self, values: impl IntoIterator<Item = (String, Val)>) {
        self.own.extend(values);
    }

    /// All paths; some come more than once.
    pub fn paths(&self) -> impl Iterator<Item = &String> {
        self.around.iter().chain([&self.own]).flat_map(HashMap::keys)
    }

    /// A loop begins: what is named from now on belongs to a step of it. How many loops there are around what is named.
    pub fn enter(&mut self) -> usize {
        self.around.push(std::mem::take(&mut self.own));
        self.around.len()
    }

    /// The loop of that number has ended: what was named in it, in the order of paths. It is not seen any more. Nothing if that has
    /// been asked for before.
    pub fn leave(&mut self, number: usize) -> Vec<(String, Val)> {
        if self.around.len() != number {
            return Vec::new();
        }
        let mut named: Vec<(String, Val)> = self.own.drain().collect();
        self.own = self.around.pop().unwrap_or_default();
        named.sort_by(|a, b| a.0.cmp(&b.0));
        named
    }

    /// What has been named outside of all loops.
    pub fn into_all(self) -> HashMap<String, Val> {
        self.own
    }
}
