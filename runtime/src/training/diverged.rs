//! Training that ends in what is no number.

use std::fmt;

use crate::run::state::{SlotKind, State};

/// What is NaN or infinite at the end of a training run.
#[derive(Clone, Debug, PartialEq)]
pub struct Diverged {
    /// Which metric or parameter: "`loss`", "`loss` of the validation", "a number in `fc.weight`".
    pub what: String,
    /// Its value.
    pub value: f64,
    /// The epoch (from 1) and the step (in all, from 1) whose loss was the first not to be finite, if one was not.
    pub since: Option<(u64, u64)>,
    /// What is no number in the data, if anything was found there.
    pub in_data: Option<String>,
}

impl fmt::Display for Diverged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "training ended with {} for {}", self.value, self.what)?;
        if let Some((epoch, step)) = self.since {
            write!(f, ", which began with update {step}, in epoch {epoch}")?;
        }
        match &self.in_data {
            Some(found) => write!(f, "; {found}"),
            None => write!(f, "; a smaller learning rate, or clipping the gradient, may help"),
        }
    }
}

/// Which metrics are finite as long as training goes well: the loss; where an entry reports none, all means. A formula of
/// totals may divide by zero.
pub(crate) fn watched(names: &[String], is_mean: &[bool]) -> Vec<usize> {
    let means = (0..names.len()).filter(|at| is_mean[*at]);
    match names.iter().position(|name| name == "loss") {
        Some(loss) => vec![loss],
        None => means.collect(),
    }
}

impl Diverged {
    /// What is not finite among these metrics (of what, and name and bits of each), or NaN among parameters and buffers.
    pub(crate) fn find<'m>(
        metrics: impl IntoIterator<Item = (&'static str, Vec<&'m (String, u64)>)>,
        state: &State,
        since: Option<(u64, u64)>,
        in_data: Option<String>,
    ) -> Option<Diverged> {
        let values = metrics.into_iter().flat_map(|(of, list)| {
            list.into_iter().map(move |(name, bits)| (format!("`{name}`{of}"), f64::from_bits(*bits)))
        });
        let broken = values.into_iter().find(|(_, value)| !value.is_finite());
        let (what, value) = broken.or_else(|| {
            let name = holds_nan(state)?;
            Some((format!("a number in `{name}`"), f64::NAN))
        })?;
        Some(Diverged { what, value, since, in_data })
    }
}

/// The first of the parameters and buffers that holds NaN.
pub fn holds_nan(state: &State) -> Option<&str> {
    let kept = |kind| matches!(kind, SlotKind::Parameter | SlotKind::Buffer);
    let slots = state.slots().iter().filter(|slot| kept(slot.kind()));
    let mut broken = slots.filter(|slot| slot.tensor().has_nan());
    broken.next().map(|slot| slot.name())
}
