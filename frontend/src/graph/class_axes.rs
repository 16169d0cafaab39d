//! What is known of the axes along which the classes of labels lie: `functions/classes.rs` asks, and `entry` builds an entry
//! once more for other sizes where several axes fit.

use std::collections::HashMap;

/// A place where labels are given: a file, an offset in it, and the number of the call from there.
type LabelsPlace = (String, usize, usize);

/// Which axes fit, by the place of the labels.
pub(crate) type Fitting = HashMap<LabelsPlace, Vec<usize>>;

/// What is known of the axes of classes while an entry is built.
#[derive(Default)]
pub(crate) struct ClassAxes {
    /// How often labels were given so far, by file and offset: in a repetition, that is several times.
    calls: HashMap<(String, usize), usize>,
    /// The axes that fit with the sizes of this build.
    pub found: Fitting,
    /// Those that fit with other sizes, once that has been tried.
    elsewhere: Option<Vec<Fitting>>,
    /// Several axes fit somewhere, and other sizes have not been tried yet.
    pub undecided: bool,
}

impl ClassAxes {
    /// With what other sizes have shown.
    pub fn tried(elsewhere: Option<Vec<Fitting>>) -> ClassAxes {
        ClassAxes { elsewhere, ..ClassAxes::default() }
    }

    /// The same knowledge, for one more build.
    pub fn again(&self) -> ClassAxes {
        ClassAxes::tried(self.elsewhere.clone())
    }

    /// Of the axes that fit `here`, those that fit with all other sizes too, for labels that are given at this offset of a file.
    pub fn agreed(&mut self, file: String, offset: usize, here: Vec<usize>) -> Vec<usize> {
        let calls = self.calls.entry((file.clone(), offset)).or_default();
        *calls += 1;
        let place = (file, offset, *calls);
        let mut axes = here.clone();
        let others = if here.len() > 1 { self.elsewhere.as_deref() } else { None };
        for fits in others.unwrap_or_default() {
            if let Some(there) = fits.get(&place) {
                axes.retain(|axis| there.contains(axis));
            }
        }
        self.undecided |= axes.len() > 1 && self.elsewhere.is_none();
        self.found.insert(place, here);
        axes
    }
}
