//! State that entry points share: whatever each needs of a name must be the same.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::state::Slot;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::source::{Source, Span};

/// A place in a file.
pub(crate) type Place = (Arc<Source>, Span);

/// The state of all entry points, in the order of its first use.
#[derive(Debug, Default)]
pub(crate) struct SharedState {
    pub slots: Vec<Slot>,
    /// By name: the position among the slots, the entry that used it first, and where.
    known: HashMap<String, (usize, String, Option<Place>)>,
    /// Those that a mistake has been reported of.
    reported: HashSet<String>,
}

impl SharedState {
    /// Adds what an entry uses, with the places where it is declared. What another entry needs otherwise is a mistake.
    pub fn add(
        &mut self,
        entry: &str,
        slots: Vec<Slot>,
        mut places: HashMap<String, Place>,
        diagnostics: &mut Diagnostics,
    ) {
        for slot in slots {
            let place = places.remove(&slot.name);
            let Some((position, first, declared)) = self.known.get(&slot.name) else {
                self.known.insert(slot.name.clone(), (self.slots.len(), entry.to_owned(), place));
                self.slots.push(slot);
                continue;
            };
            let Some((found, other)) = slot.differs(&self.slots[*position]) else { continue };
            let (Some((source, span)), true) = (place, self.reported.insert(slot.name.clone())) else {
                continue;
            };
            let message = format!("`{}` {found} in the entry `{entry}`, but {other} in `{first}`", slot.name);
            let mut diagnostic = Diagnostic::new(&source, span, message);
            if let Some((_, before)) =
                declared.as_ref().filter(|(s, at)| s.name == source.name && *at != span)
            {
                diagnostic = diagnostic.context(*before, format!("declared here in `{first}`"));
            }
            diagnostics.push(
                diagnostic
                    .note("entry points share their state: what has one name is the same in all of them")
                    .help("bring it to one form in both, or give layers that differ names of their own"),
            );
        }
    }
}
