//! Plans of training by names, as models say them and containers carry them.

/// A plan by names, as a model says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// What is trained.
    pub trainees: Vec<Outlined>,
    /// The phases, in their order.
    pub phases: Vec<Phase>,
}

/// A trainee by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlined {
    /// The entry point.
    pub entry: String,
    /// The data set, if it is not the model's.
    pub data: Option<String>,
    /// The samples of an update, if they are not the model's.
    pub batch: Option<UpdateBatch>,
    /// Entry points that are evaluated whenever this one is.
    pub measures: Vec<String>,
}

/// How many samples an update has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateBatch {
    /// So many.
    Samples(usize),
    /// All that there are to train on.
    All,
}

impl Outline {
    /// One entry point, for so many epochs, on the model's data.
    pub fn epochs(entry: &str, epochs: u64) -> Outline {
        let trainee = Outlined { entry: entry.to_owned(), data: None, batch: None, measures: Vec::new() };
        Outline {
            trainees: vec![trainee],
            phases: vec![Phase { trainee: 0, length: Length::Epochs(epochs) }],
        }
    }
}

impl std::fmt::Display for Outline {
    /// A line for each trainee and for each phase.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for Outlined { entry, data, batch, measures } in &self.trainees {
            writeln!(f, "{entry} on {data:?} in {batch:?}, measuring {}", measures.join(" "))?;
        }
        self.phases.iter().try_for_each(|Phase { trainee, length }| writeln!(f, "{trainee} {length:?}"))
    }
}

/// A part of a plan: one trainee, for some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phase {
    /// Which of the plan's trainees.
    pub trainee: usize,
    /// For how long.
    pub length: Length,
}

/// How long a phase is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Until so many epochs have come to their end, each with an evaluation behind it.
    Epochs(u64),
    /// So many updates. They go over the borders of epochs; what they trained is evaluated at the end of the plan.
    Updates(u64),
}
