//! Which samples are trained on, and which are held out.

use std::collections::BTreeMap;

use brolga_runtime::{Error, ErrorKind, Purpose, Random, Request, Result, Split, counted};

use super::options::{HeldOut, Options};
use super::reading::{bad, collect};

/// The samples of both parts, by their position in the data set.
#[derive(Debug)]
pub(super) struct Parts {
    pub train: Vec<usize>,
    pub validation: Vec<usize>,
}

/// The parts that a data set brings, as numbers of samples. They stand behind all others, in this order.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Own {
    /// To look at while training.
    pub validation: Option<usize>,
    /// To look at in the end.
    pub test: Option<usize>,
}

const ORDER: &str = "the order of the samples";

impl Parts {
    /// The parts of `count` samples; `classes` are their classes, where there are any.
    pub(super) fn new(count: usize, own: Own, classes: Option<&[i64]>, options: &Options) -> Result<Parts> {
        let validation = own.validation.unwrap_or(0);
        let rest = count - validation - own.test.unwrap_or(0);
        let brought = match own.held_out(&options.held_out) {
            Some(Brought::Validation) => Some(rest..rest + validation),
            Some(Brought::Test) => Some(rest + validation..count),
            None => None,
        };
        let parts = match (&options.held_out, brought) {
            (HeldOut::All, _) | (HeldOut::Test, None) => {
                Parts { train: Vec::new(), validation: collect(0..count, count, ORDER)? }
            }
            (HeldOut::Default | HeldOut::Test, Some(brought)) => Parts {
                train: collect(0..rest, rest, ORDER)?,
                validation: collect(brought.clone(), brought.len(), ORDER)?,
            },
            (HeldOut::Default, None) => drawn(rest, Share::Fraction(0.2), None, options.seed)?,
            (&HeldOut::Fraction { fraction, stratified }, _) => {
                let classes = stratified.then(|| strata(classes, rest)).transpose()?;
                drawn(rest, Share::Fraction(fraction), classes, options.seed)?
            }
            (&HeldOut::Fold { number, of, stratified }, _) => {
                if number >= of {
                    let message = format!("fold {} was asked for, but there are {of}", number + 1);
                    return Err(Error::new(ErrorKind::Option, message));
                }
                if rest > 0 && of > rest {
                    return Err(bad(format!(
                        "{} cannot be split into {of} folds: give at most as many folds as samples (`Folds({})`), or more \
                         samples",
                        counted(rest as u64, "sample"),
                        rest.clamp(2, 5)
                    )));
                }
                let classes = stratified.then(|| strata(classes, rest)).transpose()?;
                drawn(rest, Share::Fold { number, of }, classes, options.seed)?
            }
        };
        let training = !matches!(options.held_out, HeldOut::All | HeldOut::Test);
        if training && parts.train.is_empty() {
            let held_out = parts.validation.len();
            return Err(bad(format!(
                "there are no samples to train on ({}, {held_out} of them held out)",
                counted(count as u64, "sample")
            )));
        }
        if count == 0 {
            return Err(bad("there are no samples"));
        }
        Ok(parts)
    }

    /// The positions in the data set of the samples in one part.
    pub(super) fn of(&self, split: Split) -> &[usize] {
        match split {
            Split::Train => &self.train,
            Split::Validation => &self.validation,
        }
    }

    /// The positions in the data set of the samples that a request asks for.
    pub(super) fn positions(&self, request: &Request) -> Result<impl Iterator<Item = usize>> {
        let part = self.of(request.split);
        match request.indices.iter().find(|i| **i >= part.len()) {
            None => Ok(request.indices.iter().map(|&i| part[i])),
            Some(i) => {
                let message = format!("sample {i} was asked for, but the part has {} samples", part.len());
                Err(Error::new(ErrorKind::Range, message))
            }
        }
    }
}

/// A part that the data set brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Brought {
    Validation,
    Test,
}

impl Own {
    /// Which of them is held out, if one is: while training the one for that, in the end the other, and either where there is
    /// no other.
    pub(super) fn held_out(&self, rule: &HeldOut) -> Option<Brought> {
        let validation = self.validation.map(|_| Brought::Validation);
        let test = self.test.map(|_| Brought::Test);
        match rule {
            HeldOut::Default => validation.or(test),
            HeldOut::Test => test.or(validation),
            HeldOut::Fraction { .. } | HeldOut::Fold { .. } | HeldOut::All => None,
        }
    }
}

/// How much of each class is held out.
#[derive(Clone, Copy)]
enum Share {
    /// So much, rounded down.
    Fraction(f64),
    /// Every `of`-th sample, from `number` on.
    Fold { number: usize, of: usize },
}

/// The classes of the first samples; an error where there are none.
fn strata(classes: Option<&[i64]>, count: usize) -> Result<&[i64]> {
    classes.and_then(|classes| classes.get(..count)).ok_or_else(|| {
        let message =
            "a split can be stratified by classes only, and the model has no input for one class a sample";
        Error::new(ErrorKind::Option, message)
    })
}

/// A part drawn by `seed`, of each class in proportion if classes are given.
fn drawn(count: usize, share: Share, classes: Option<&[i64]>, seed: u64) -> Result<Parts> {
    let mut order: Vec<usize> = collect(0..count, count, ORDER)?;
    Random::new(seed, Purpose::Split, 0, 0).shuffle(&mut order);
    let mut strata: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    for sample in order {
        strata.entry(classes.map_or(0, |classes| classes[sample])).or_default().push(sample);
    }
    let (mut train, mut validation) = (Vec::new(), Vec::new());
    let mut seen = 0;
    for stratum in strata.into_values() {
        match share {
            Share::Fraction(fraction) => {
                // Rounded over all classes together, so that many small ones lose nothing.
                let exact = |samples: usize| (samples as f64 * fraction + 1e-9).floor() as usize;
                let held_out = exact(seen + stratum.len()) - exact(seen);
                validation.extend(&stratum[..held_out]);
                train.extend(&stratum[held_out..]);
            }
            Share::Fold { number, of } => {
                for (i, &sample) in stratum.iter().enumerate() {
                    let part = if (seen + i) % of == number { &mut validation } else { &mut train };
                    part.push(sample);
                }
            }
        }
        seen += stratum.len();
    }
    train.sort_unstable();
    validation.sort_unstable();
    Ok(Parts { train, validation })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(count: usize, held_out: HeldOut, classes: Option<&[i64]>, seed: u64) -> Parts {
        Parts::new(count, Own::default(), classes, &Options { seed, held_out, ..Options::default() }).unwrap()
    }

    /// Each sample is in one part.
    fn whole(parts: &Parts, count: usize) {
        let mut all = [parts.train.clone(), parts.validation.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..count).collect::<Vec<_>>());
    }

    #[test]
    fn a_fifth_is_drawn_by_seed() {
        let a = parts(1003, HeldOut::Default, None, 1);
        assert_eq!((a.train.len(), a.validation.len()), (803, 200));
        whole(&a, 1003);
        assert_eq!(a.validation, parts(1003, HeldOut::Default, None, 1).validation);
        assert_ne!(a.validation, parts(1003, HeldOut::Default, None, 2).validation);
        // Spread over the whole, not a block of it.
        assert!(a.validation.iter().filter(|&&i| i < 501).count().abs_diff(100) < 30);
    }

    #[test]
    fn few_samples_are_all_trained_on() {
        let parts = parts(4, HeldOut::Default, None, 0);
        assert_eq!((parts.train.len(), parts.validation.len()), (4, 0));
    }

    #[test]
    fn strata_keep_their_proportions() {
        let classes: Vec<i64> = (0..1000).map(|i| if i < 900 { 7 } else { -1 }).collect();
        let held_out = HeldOut::Fraction { fraction: 0.1, stratified: true };
        let a = parts(1000, held_out, Some(&classes), 3);
        whole(&a, 1000);
        assert_eq!(a.validation.iter().filter(|&&i| i < 900).count(), 90);
        assert_eq!(a.validation.len(), 100);
        // Many classes of few samples: as many in all.
        let classes: Vec<i64> = (0..100).map(|i| i / 3).collect();
        let held_out = HeldOut::Fraction { fraction: 0.29, stratified: true };
        assert_eq!(parts(100, held_out, Some(&classes), 3).validation.len(), 29);
    }

    #[test]
    fn folds_are_apart_and_cover_everything() {
        let classes: Vec<i64> = (0..53).map(|i| i % 2).collect();
        for stratified in [false, true] {
            let mut all = Vec::new();
            for number in 0..5 {
                let parts = parts(53, HeldOut::Fold { number, of: 5, stratified }, Some(&classes), 9);
                whole(&parts, 53);
                assert!([10, 11].contains(&parts.validation.len()));
                all.extend(parts.validation);
            }
            all.sort_unstable();
            assert_eq!(all, (0..53).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_cannot_be_split_is_refused() {
        let options = |held_out| Options { held_out, ..Options::default() };
        let none = Own::default();
        let fold = HeldOut::Fold { number: 5, of: 5, stratified: false };
        assert!(Parts::new(10, none, None, &options(fold)).unwrap_err().to_string().contains("fold 6"));
        for number in [0, 49] {
            let many = HeldOut::Fold { number, of: 100, stratified: false };
            let error = Parts::new(7, none, None, &options(many)).unwrap_err().to_string();
            assert!(
                error.contains("7 samples cannot be split into 100 folds") && error.contains("`Folds(5)`")
            );
        }
        let each = HeldOut::Fold { number: 6, of: 7, stratified: false };
        assert_eq!(Parts::new(7, none, None, &options(each)).unwrap().validation.len(), 1);
        let all = HeldOut::Fraction { fraction: 1.0, stratified: false };
        assert!(Parts::new(10, none, None, &options(all)).unwrap_err().to_string().contains("train on"));
        let classes = HeldOut::Fraction { fraction: 0.5, stratified: true };
        let error = Parts::new(10, none, None, &options(classes)).unwrap_err().to_string();
        assert!(error.contains("stratified by classes"), "{error}");
        // The own test part, and everything.
        let test = Own { test: Some(3), ..none };
        let own = Parts::new(10, test, None, &options(HeldOut::Test)).unwrap();
        assert_eq!(own.validation, [7, 8, 9]);
        assert_eq!(Parts::new(10, test, None, &options(HeldOut::All)).unwrap().validation.len(), 10);
        assert_eq!(Parts::new(10, none, None, &options(HeldOut::Test)).unwrap().validation.len(), 10);
        // Both: one while training, the other in the end.
        let both = Own { validation: Some(2), test: Some(3) };
        for (rule, held_out) in [(HeldOut::Default, 5..7), (HeldOut::Test, 7..10)] {
            let parts = Parts::new(10, both, None, &options(rule)).unwrap();
            assert_eq!((parts.train, parts.validation), ((0..5).collect(), held_out.collect::<Vec<_>>()));
        }
        let half = HeldOut::Fraction { fraction: 0.5, stratified: false };
        let parts = Parts::new(10, both, None, &options(half)).unwrap();
        assert!(parts.validation.len() == 2 && parts.validation.iter().all(|&sample| sample < 5));
    }
}
