//! What a network knows of the data that it was trained on.

/// What a network knows of the data that it was trained on, besides what was fitted to them: how other data are read, so that
/// they mean the same. It is part of the [`State`](crate::State), and goes with the weights into every file that has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataRecord {
    /// The names of the classes, in the order of their numbers; empty where they have none.
    pub classes: Vec<String>,
    /// The columns of a table that fill the input that takes several numbers, in its order.
    pub columns: Vec<String>,
    /// Of other inputs that take a whole number a sample, the texts that stand for the numbers, in their order.
    pub vocabularies: Vec<(String, Vec<String>)>,
    /// The column of a table that is predicted, where it has another name than the input.
    pub target: Option<String>,
    /// What was held out; nothing where the data are not known again.
    pub held_out: Option<HeldOutRecord>,
}

/// Which samples of which data were held out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldOutRecord {
    /// The checksum of the data.
    pub data: String,
    /// What drew the samples.
    pub seed: u64,
    /// The rule, in the words of who split the data.
    pub rule: String,
}
