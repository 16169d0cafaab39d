//! Rows of the course that can be run today: each with models, settings, data and a target.

use crate::catalogue::{self, File};
use crate::data::MADE_VERSION;

/// A row of the course: its id, and what is run for it.
pub type Row = (&'static str, &'static [Run]);

/// One thing that is run for a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Run {
    /// The model, or its variant.
    pub model: &'static str,
    /// The file that it is in.
    pub family: &'static str,
    /// What is run.
    pub kind: Kind,
}

/// What is run, and what it must come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// The model is trained on its data set.
    Trains {
        /// Times to go through the training part; by the model's own plan if nothing is said.
        epochs: Option<u64>,
        /// Draws the weights and the order of the data.
        seed: u64,
        /// The metric of the part held out that counts.
        metric: &'static str,
        /// What it must be.
        bound: Bound,
    },
    /// The model has so many trained numbers.
    Parameters(usize),
    /// An entry that takes nothing gives a number.
    Gives {
        /// The entry.
        entry: &'static str,
        /// The output that counts.
        output: &'static str,
        /// What it must be.
        bound: Bound,
    },
}

/// What a metric must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
    /// At most so much above what is known of the data set under this name ([`crate::data::known`]).
    AtMostAbove(&'static str, f64),
}

use Bound::{AtLeast, AtMost, AtMostAbove};

const fn trains(
    model: &'static str,
    family: &'static str,
    epochs: u64,
    metric: &'static str,
    bound: Bound,
) -> Run {
    Run { model, family, kind: Kind::Trains { epochs: Some(epochs), seed: 0, metric, bound } }
}

/// A model that is trained by its own plan.
const fn learns(model: &'static str, family: &'static str, metric: &'static str, bound: Bound) -> Run {
    Run { model, family, kind: Kind::Trains { epochs: None, seed: 0, metric, bound } }
}

const fn gives(model: &'static str, output: &'static str, bound: Bound) -> Run {
    Run { model, family: model, kind: Kind::Gives { entry: "check", output, bound } }
}

const fn parameters(model: &'static str, family: &'static str, count: usize) -> Run {
    Run { model, family, kind: Kind::Parameters(count) }
}

/// How near to the entropy of its data the row `tbptt` comes by back-propagation through whole sequences of 128 symbols, in bits.
const WHOLE: f64 = 0.035;

/// Every row that can be run, in the order of the groups. Images are the embedded digits.
pub const ROWS: &[Row] = &[
    ("mlp", &[trains("mlp", "mlp", 30, "accuracy", AtLeast(0.96))]),
    (
        "lenet5",
        &[parameters("lenet5", "lenet5", 61_706), trains("lenet5", "lenet5", 20, "accuracy", AtLeast(0.97))],
    ),
    ("alexnet-tv", &[parameters("alexnet-tv", "alexnet-tv", 61_100_840)]),
    (
        "vgg",
        &[
            parameters("vgg11", "vgg", 132_863_336),
            parameters("vgg13", "vgg", 133_047_848),
            parameters("vgg16", "vgg", 138_357_544),
            parameters("vgg19", "vgg", 143_667_240),
            parameters("vgg11_bn", "vgg", 132_868_840),
            parameters("vgg13_bn", "vgg", 133_053_736),
            parameters("vgg16_bn", "vgg", 138_365_992),
            parameters("vgg19_bn", "vgg", 143_678_248),
        ],
    ),
    (
        "googlenet",
        &[
            parameters("googlenet", "googlenet", 6_998_552),
            parameters("googlenet-aux", "googlenet", 13_378_280),
            parameters("googlenet-tv", "googlenet-tv", 6_624_904),
            parameters("googlenet-tv-aux", "googlenet-tv", 13_004_888),
        ],
    ),
    (
        "resnet",
        &[
            parameters("resnet18", "resnet", 11_689_512),
            parameters("resnet34", "resnet", 21_797_672),
            parameters("resnet50", "resnet", 25_557_032),
            parameters("resnet101", "resnet", 44_549_160),
            parameters("resnet152", "resnet", 60_192_808),
        ],
    ),
    (
        "resnet-cifar",
        &[
            parameters("resnet20", "resnet-cifar", 269_722),
            parameters("resnet32", "resnet-cifar", 464_154),
            parameters("resnet56", "resnet-cifar", 853_018),
            parameters("resnet110", "resnet-cifar", 1_727_962),
        ],
    ),
    (
        "densenet",
        &[
            parameters("densenet121", "densenet", 7_978_856),
            parameters("densenet169", "densenet", 14_149_480),
            parameters("densenet201", "densenet", 20_013_928),
            parameters("densenet161", "densenet", 28_681_000),
        ],
    ),
    ("elman", &[learns("elman", "elman", "bits", AtMostAbove("entropy", 0.03))]),
    ("jordan", &[learns("jordan", "jordan", "bits", AtMostAbove("entropy", 0.03))]),
    (
        "birnn",
        &[
            learns("birnn", "birnn", "accuracy", AtLeast(0.99)),
            learns("birnn-one-way", "birnn", "accuracy", AtMost(0.52)),
        ],
    ),
    ("deep-rnn", &[learns("deep-rnn", "deep-rnn", "bits", AtMostAbove("entropy of rows", 0.05))]),
    ("lstm", &[learns("lstm", "lstm", "mse", AtMost(0.01))]),
    ("lstm-peephole", &[learns("lstm-peephole", "lstm-peephole", "legal", AtLeast(1.0))]),
    ("gru", &[learns("gru", "gru", "mse", AtMost(0.01))]),
    ("irnn", &[learns("irnn", "irnn", "mse", AtMost(0.05))]),
    ("bptt", &[gives("bptt", "difference", AtMost(1e-6))]),
    (
        "tbptt",
        &[
            // The whole sequence at once comes this near to the entropy; pieces of it, whose state goes on, 0.02 bits less near.
            learns("tbptt-whole", "tbptt", "bits", AtMostAbove("entropy", WHOLE)),
            learns("tbptt", "tbptt", "bits", AtMostAbove("entropy", WHOLE + 0.02)),
        ],
    ),
    (
        "grad-clip-rnn",
        &[gives("grad-clip-rnn", "growth", AtLeast(1.0)), gives("grad-clip-rnn", "step", AtMost(1.0 + 1e-6))],
    ),
    ("vanishing-probe", &[gives("vanishing-probe", "error", AtMost(1e-4))]),
    ("recursive-nn", &[learns("recursive-nn", "recursive-nn", "accuracy", AtLeast(0.99))]),
];

/// What is run for the row of this id; nothing where it does not exist yet.
pub fn runs(id: &str) -> &'static [Run] {
    ROWS.iter().find(|(known, _)| *known == id).map_or(&[], |(_, runs)| runs)
}

impl Run {
    /// The command that does the same.
    pub fn command(&self) -> String {
        match self.kind {
            Kind::Trains { epochs: Some(epochs), seed, .. } => {
                format!("brolga train {} --epochs {epochs} --seed {seed}", self.model)
            }
            Kind::Trains { epochs: None, seed, .. } => format!("brolga train {} --seed {seed}", self.model),
            Kind::Gives { entry, output, .. } => {
                format!("brolga run {} --entry {entry} ({output})", self.model)
            }
            Kind::Parameters(_) => format!("brolga check {}", self.model),
        }
    }

    /// All that its value depends on besides the compiler: the text of the model and of the files that it may import, what is
    /// run, and the version of what makes data sets.
    pub fn decides(&self) -> String {
        let texts: Vec<&str> = files(self.family).into_iter().map(|file| file.text).collect();
        let kind = match self.kind {
            // What it must come to changes no value.
            Kind::Trains { epochs: Some(epochs), seed, metric, .. } => {
                format!("{epochs} {seed} {metric} {MADE_VERSION}")
            }
            Kind::Trains { epochs: None, seed, metric, .. } => format!("plan {seed} {metric} {MADE_VERSION}"),
            Kind::Gives { entry, output, .. } => format!("{entry} {output}"),
            Kind::Parameters(_) => "parameters".to_owned(),
        };
        format!("{}\n{kind}\n{}", self.model, texts.concat())
    }
}

/// A file and those that it names in quotes, as imports do, and those that these name.
fn files(name: &str) -> Vec<File> {
    let mut found: Vec<File> = catalogue::file(name).into_iter().collect();
    let mut at = 0;
    while let Some(file) = found.get(at).copied() {
        let named = |other: &&File| file.text.contains(&format!("\"{}\"", other.name));
        for other in catalogue::FILES.iter().filter(named) {
            if !found.contains(other) {
                found.push(*other);
            }
        }
        at += 1;
    }
    found
}
