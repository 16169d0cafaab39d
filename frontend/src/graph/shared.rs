//! State that entry points share: whatever each needs of a name must be the same.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::state::Slot;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::source::{FilePlace, Source};

/// The state of all entry points, in the order of its first use.
#[derive(Debug, Default)]
pub(crate) struct SharedState {
    pub slots: Vec<Slot>,
    /// By name: the position among the slots, the entry that used it first, and where.
    known: HashMap<String, (usize, String, Option<FilePlace>)>,
    /// Names of slots of which a mistake has been reported: one is enough.
    reported: HashSet<String>,
}

impl SharedState {
    /// Adds what an entry uses, with the places where it is declared; what has none is said of `source` as a whole. What
    /// another entry needs otherwise is a mistake.
    pub fn add(
        &mut self,
        entry: &str,
        slots: Vec<Slot>,
        mut places: HashMap<String, FilePlace>,
        source: &Arc<Source>,
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
            if !self.reported.insert(slot.name.clone()) {
                continue;
            }
            let message = format!("`{}` {found} in the entry `{entry}`, but {other} in `{first}`", slot.name);
            let mut diagnostic = match &place {
                Some((source, span)) => Diagnostic::new(source, *span, message),
                None => Diagnostic::general(source, message),
            };
            if let (Some((source, span)), true) = (declared, place.is_some()) {
                diagnostic = diagnostic.elsewhere(source, *span, &format!("`{first}` declares it"));
            }
            diagnostics.push(
                diagnostic
                    .note("entry points share their state: what has one name is the same in all of them")
                    .help("bring it to one form in both, or give layers that differ names of their own"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use brolga_ir::{DType, Type};

    use super::*;
    use crate::graph::init::Init;
    use crate::graph::state::SlotKind;
    use crate::source::Span;

    /// What two entries say of state that differs, with the places where they declare it.
    fn said(first: Option<FilePlace>, second: Option<FilePlace>) -> String {
        let (mut state, mut diagnostics) = (SharedState::default(), Diagnostics::default());
        let source = Source::new("model.ron", "one\ntwo");
        for (entry, extent, place) in [("infer", 3, first), ("train", 4, second)] {
            let ty = Type::new(DType::F32, [extent]);
            let (name, init) = ("w".to_owned(), Init::Constant(0.0));
            let slot = Slot { name: name.clone(), ty, kind: SlotKind::Parameter, init };
            let places = place.map(|place| (name, place)).into_iter().collect();
            state.add(entry, vec![slot], places, &source, &mut diagnostics);
        }
        diagnostics.to_string()
    }

    /// State that differs is a mistake, wherever it is declared, and be it nowhere.
    #[test]
    fn places_of_state_that_differs() {
        let file = Source::new("model.ron", "one\ntwo");
        let other = Source::new("part.ron", "three");
        let [one, two] = [(0, 3), (4, 7)].map(|(start, end)| (file.clone(), Span::new(start, end)));
        let three = (other, Span::new(0, 5));
        let message = "`w` is f32[4] in the entry `train`, but f32[3] in `infer`";
        for (first, second, place, beside) in [
            (Some(&one), Some(&two), "--> model.ron:2:1", "`infer` declares it here"),
            (Some(&three), Some(&two), "--> model.ron:2:1", "`infer` declares it at part.ron:1:1"),
            (Some(&two), Some(&two), "--> model.ron:2:1", ""),
            (None, Some(&two), "--> model.ron:2:1", ""),
            (Some(&one), None, "in model.ron", ""),
            (None, None, "in model.ron", ""),
        ] {
            let said = said(first.cloned(), second.cloned());
            assert!(said.contains(message) && said.contains(place) && said.contains(beside), "{said}");
            assert_eq!(said.contains("declares it"), !beside.is_empty(), "{said}");
        }
    }
}
