//! What a container says of its model beside code and state: for which sizes its entries are, and how data is read for it.

use crate::error::Result;
use crate::names::check_name;
use crate::run::outline::Outline;

/// What a model declares that whoever runs its container must know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// The names of the classes that the model declares; those of the record go before them.
    pub classes: Vec<String>,
    /// For each entry, the sizes that it was compiled for, such as `("batch", 32)`. The same entry may be there for several
    /// batches. An empty list where no sizes are known of any entry.
    pub sizes: Vec<Vec<(String, usize)>>,
    /// How data is read.
    pub data: DataRules,
    /// What is known of each entry that trains.
    pub training: Vec<Training>,
    /// The plan that the model is trained by, if all its entries are there; else without phases.
    pub plan: Outline,
}

/// How data is read for a model, as its file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataRules {
    /// The data set that it trains on where none is given.
    pub set: Option<String>,
    /// What is held out in training, in the words of who splits the data.
    pub held_out: String,
    /// The column of a table that is to be predicted.
    pub target: Option<String>,
    /// The columns of a table that are the input of several numbers; empty if all that are left are.
    pub columns: Vec<String>,
    /// The inputs of one number a sample, whichever entries take them: their columns are not among those that are left.
    pub others: Vec<String>,
    /// The states that begin as tables of the data set, each with the table's name.
    pub tables: Vec<(String, String)>,
}

/// What a run of training must know of its entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Training {
    /// The entry. Its evaluation is `ENTRY.eval`, and what makes metrics of totals `ENTRY.metrics` and `ENTRY.eval.metrics`.
    pub entry: String,
    /// What decides the bits of a run, as its checkpoints say it ([`Fingerprint`](crate::Fingerprint)).
    pub decides: Vec<(String, String)>,
    /// What explains differences between two runs.
    pub explains: Vec<(String, String)>,
    /// What a user should know of the entry.
    pub notes: Vec<String>,
}

impl About {
    /// Checks the names of entries that train, and of sizes, so that messages can have them.
    pub(super) fn check(&self) -> Result<()> {
        let sizes = self.sizes.iter().flatten().map(|(name, _)| name);
        let entries = self.training.iter().map(|training| &training.entry);
        let planned =
            self.plan.trainees.iter().flat_map(|trainee| trainee.measures.iter().chain([&trainee.entry]));
        sizes.chain(entries).chain(planned).try_for_each(|name| check_name(name))
    }
}
