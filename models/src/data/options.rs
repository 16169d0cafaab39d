//! How a data set is read, and what of it is held out.

use std::fmt;
use std::str::FromStr;

use brolga_runtime::{DataRecord, Error, ErrorKind, Result};

/// How a data set is read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// Draws what is held out.
    pub seed: u64,
    /// What is held out.
    pub held_out: HeldOut,
    /// Names of the classes, in the order of their numbers; empty if the data set says them.
    pub classes: Vec<String>,
    /// Of inputs that take a whole number a sample, the texts that stand for the numbers of a table, in their order; of those
    /// that are not here, but for the classes, the table says them.
    pub vocabularies: Vec<(String, Vec<String>)>,
    /// The column of a table for the one input without a column of its name.
    pub target: Option<String>,
    /// Whether the target may be missing, as nothing is compared with it.
    pub unlabelled: bool,
    /// The columns of a table for the one input that takes several numbers; empty for all that are left.
    pub columns: Vec<String>,
    /// Inputs of one number a sample that are not asked for here, as the target is not where a network is only run: columns
    /// of their names are not among those that are left.
    pub others: Vec<String>,
    /// The names of tables that states begin as.
    pub tables: Vec<String>,
}

impl Options {
    /// The same for a network that was trained: its classes, vocabularies, columns and target are those that it knows.
    pub fn known_to(self, record: &DataRecord) -> Options {
        let or = |known: &[String], own: Vec<String>| if known.is_empty() { own } else { known.to_vec() };
        Options {
            classes: or(&record.classes, self.classes),
            columns: or(&record.columns, self.columns),
            vocabularies: match record.vocabularies.is_empty() {
                true => self.vocabularies,
                false => record.vocabularies.clone(),
            },
            target: record.target.clone().or(self.target),
            ..self
        }
    }
}

/// Which samples are held out from training.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum HeldOut {
    /// The data set's own part for validation, or its test part, or a fifth where it has neither.
    #[default]
    Default,
    /// So much of what is not the own test part, which is left alone.
    Fraction {
        /// Between 0 and 1.
        fraction: f64,
        /// Whether of each class in proportion.
        stratified: bool,
    },
    /// One of several equal parts of what is not the own test part.
    Fold {
        /// Which one, from 0.
        number: usize,
        /// How many there are.
        of: usize,
        /// Whether each has all classes in proportion.
        stratified: bool,
    },
    /// The data set's own test part, or that for validation, or every sample where it has neither: to evaluate, with nothing
    /// to train on.
    Test,
    /// Every sample.
    All,
}

impl fmt::Display for HeldOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each = |stratified: bool| if stratified { " of each class" } else { "" };
        match *self {
            HeldOut::Default => f.write_str("own part, or a fifth"),
            HeldOut::Fraction { fraction, stratified } => {
                write!(f, "fraction {fraction}{}", each(stratified))
            }
            HeldOut::Fold { number, of, stratified } => {
                write!(f, "fold {} of {of}{}", number + 1, each(stratified))
            }
            HeldOut::Test => f.write_str("test part"),
            HeldOut::All => f.write_str("all"),
        }
    }
}

impl FromStr for HeldOut {
    type Err = Error;

    /// Reads what it is displayed as.
    fn from_str(text: &str) -> Result<HeldOut> {
        let (rule, stratified) = match text.strip_suffix(" of each class") {
            Some(rule) => (rule, true),
            None => (text, false),
        };
        let fraction = || {
            let fraction = rule.strip_prefix("fraction ")?.parse().ok()?;
            Some(HeldOut::Fraction { fraction, stratified })
        };
        let fold = || {
            let (number, of) = rule.strip_prefix("fold ")?.split_once(" of ")?;
            let number = number.parse::<usize>().ok()?.checked_sub(1)?;
            Some(HeldOut::Fold { number, of: of.parse().ok()?, stratified })
        };
        let fixed = [HeldOut::Default, HeldOut::Test, HeldOut::All];
        let fixed = || fixed.into_iter().find(|rule| rule.to_string() == text);
        fixed().or_else(fraction).or_else(fold).ok_or_else(|| {
            Error::new(ErrorKind::Format, format!("`{text}` is no rule by which samples are held out"))
        })
    }
}
