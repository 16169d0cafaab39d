//! What a run trains, and in which order.

use crate::run::outline::{Length, Phase};
use crate::training::evaluate::Evaluation;
use crate::training::options::Executables;

/// What a run does, phase by phase.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is trained. Each has its own way through its data, and goes on with it wherever it comes again.
    pub trainees: Vec<Trainee>,
    /// The phases, in their order.
    pub phases: Vec<Phase>,
}

/// An entry point that is trained.
#[derive(Clone, Debug)]
pub struct Trainee {
    /// What it is called: the entry point, with its settings.
    pub name: String,
    /// What trains and evaluates it.
    pub executables: Executables,
    /// Entry points that are evaluated whenever this one is, by their names.
    pub measures: Vec<(String, Evaluation)>,
    /// Which of the data sets that a run is given it reads.
    pub data: usize,
}

impl Plan {
    /// One entry point, for so many epochs, on the one data set that the run is given.
    pub fn epochs(executables: Executables, epochs: u64) -> Plan {
        let name = executables.train.manifest().entry.clone();
        let trainee = Trainee { name, executables, measures: Vec::new(), data: 0 };
        Plan { trainees: vec![trainee], phases: vec![Phase { trainee: 0, length: Length::Epochs(epochs) }] }
    }

    /// How many updates it takes, where the trainees have so many batches in an epoch: of an epoch that an earlier phase has
    /// begun only what is left.
    pub(crate) fn updates(&self, batches: &[u64]) -> u64 {
        let mut positions = vec![0; batches.len()];
        let mut all = 0u64;
        for Phase { trainee, length } in &self.phases {
            let (batches, position) = (batches[*trainee].max(1), &mut positions[*trainee]);
            let updates = match *length {
                Length::Updates(updates) => updates,
                Length::Epochs(0) => 0,
                Length::Epochs(epochs) => epochs.saturating_mul(batches) - *position,
            };
            *position = (*position + updates % batches) % batches;
            all = all.saturating_add(updates);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn updates_of_epochs_that_were_begun_count_once() {
        let phase = |trainee, length| Phase { trainee, length };
        let updates =
            |phases: &[Phase]| Plan { trainees: Vec::new(), phases: phases.to_vec() }.updates(&[4, 3]);
        assert_eq!(updates(&[]), 0);
        assert_eq!(updates(&[phase(0, Length::Epochs(2)), phase(1, Length::Updates(7))]), 15);
        assert_eq!(updates(&[phase(0, Length::Updates(3)), phase(0, Length::Epochs(1))]), 4);
        assert_eq!(updates(&[phase(0, Length::Updates(4)), phase(0, Length::Epochs(1))]), 8);
        assert_eq!(updates(&[phase(0, Length::Epochs(0)), phase(0, Length::Updates(0))]), 0);
    }
}
