//! Whether what is built behaves as in training.

use super::Builder;
use crate::graph::names::matches;
use crate::graph::state::SlotKind;

impl Builder<'_> {
    /// Whether the layer being built behaves as in training: neither in inference mode, nor where all its parameters are frozen, or
    /// where it has none and stands in a scope that is.
    pub fn layer_trains(&self) -> bool {
        let path = self.path.join(".");
        let mut own = self.slots.list().iter().filter(|slot| {
            let rest = slot.name.strip_prefix(&path);
            slot.kind == SlotKind::Parameter
                && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        });
        match own.next() {
            Some(first) if !path.is_empty() => {
                self.train && !std::iter::once(first).chain(own).all(|slot| self.freezes(&slot.name))
            }
            _ => self.scope_trains(),
        }
    }

    /// Whether the scope that the walk is in behaves as in training: it does not where a frozen group has all that it may hold, as
    /// `base.*` has of `base`.
    pub fn scope_trains(&self) -> bool {
        let path = self.path.join(".");
        self.train && (path.is_empty() || !(self.freezes(&path) || self.freezes(&format!("{path}."))))
    }

    /// Whether the first group that has this name is frozen.
    fn freezes(&self, name: &str) -> bool {
        self.groups.iter().find(|(pattern, _)| matches(pattern, name)).is_some_and(|(_, frozen)| *frozen)
    }
}
