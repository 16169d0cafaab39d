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
        /// Times to go through the training part.
        epochs: u64,
        /// Draws the weights and the order of the data.
        seed: u64,
        /// The metric of the part held out that counts.
        metric: &'static str,
        /// What it must be.
        bound: Bound,
    },
    /// The model has so many trained numbers.
    Parameters(usize),
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
    Run { model, family, kind: Kind::Trains { epochs, seed: 0, metric, bound } }
}

const fn parameters(model: &'static str, family: &'static str, count: usize) -> Run {
    Run { model, family, kind: Kind::Parameters(count) }
}

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
    ("elman", &[trains("elman", "elman", 17, "bits", AtMostAbove("entropy", 0.03))]),
    ("jordan", &[trains("jordan", "jordan", 17, "bits", AtMostAbove("entropy", 0.03))]),
    (
        "birnn",
        &[
            trains("birnn", "birnn", 20, "accuracy", AtLeast(0.99)),
            trains("birnn-one-way", "birnn", 20, "accuracy", AtMost(0.52)),
        ],
    ),
    ("deep-rnn", &[trains("deep-rnn", "deep-rnn", 17, "bits", AtMostAbove("entropy of rows", 0.05))]),
    ("lstm", &[trains("lstm", "lstm", 7, "mse", AtMost(0.01))]),
    ("lstm-peephole", &[trains("lstm-peephole", "lstm-peephole", 12, "legal", AtLeast(1.0))]),
    ("gru", &[trains("gru", "gru", 7, "mse", AtMost(0.01))]),
    ("irnn", &[trains("irnn", "irnn", 7, "mse", AtMost(0.05))]),
    ("recursive-nn", &[trains("recursive-nn", "recursive-nn", 12, "accuracy", AtLeast(0.99))]),
];

/// What is run for the row of this id; nothing where it does not exist yet.
pub fn runs(id: &str) -> &'static [Run] {
    ROWS.iter().find(|(known, _)| *known == id).map_or(&[], |(_, runs)| runs)
}

impl Run {
    /// The command that does the same.
    pub fn command(&self) -> String {
        match self.kind {
            Kind::Trains { epochs, seed, .. } => {
                format!("brolga train {} --epochs {epochs} --seed {seed}", self.model)
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
            Kind::Trains { epochs, seed, metric, .. } => format!("{epochs} {seed} {metric} {MADE_VERSION}"),
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
