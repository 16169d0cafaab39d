//! Which samples are trained on, and which are held out.

use brolga_runtime::{Error, ErrorKind, Purpose, Random, Request, Result, Split};

use super::collect;

/// The samples of both parts, by their position in the data set.
#[derive(Debug)]
pub(super) struct Parts {
    pub train: Vec<usize>,
    pub validation: Vec<usize>,
}

impl Parts {
    /// The last `test` of `count` samples are held out.
    pub(super) fn own(count: usize, test: usize) -> Result<Parts> {
        let train = collect(0..count - test, count - test, "the order of the samples")?;
        Ok(Parts { train, validation: collect(count - test..count, test, "the order of the samples")? })
    }

    /// A fifth of the samples, rounded down, drawn by `seed`, is held out.
    pub(super) fn fifth(count: usize, seed: u64) -> Result<Parts> {
        let mut order: Vec<usize> = collect(0..count, count, "the order of the samples")?;
        Random::new(seed, Purpose::Split, 0, 0).shuffle(&mut order);
        let held_out = count / 5;
        let mut train =
            collect(order[held_out..].iter().copied(), count - held_out, "the order of the samples")?;
        order.truncate(held_out);
        train.sort_unstable();
        order.sort_unstable();
        Ok(Parts { train, validation: order })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_is_drawn_by_seed() {
        let a = Parts::fifth(1003, 1).unwrap();
        assert_eq!((a.train.len(), a.validation.len()), (803, 200));
        let mut all = [a.train.clone(), a.validation.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..1003).collect::<Vec<_>>());
        assert_eq!(a.validation, Parts::fifth(1003, 1).unwrap().validation);
        assert_ne!(a.validation, Parts::fifth(1003, 2).unwrap().validation);
        // Spread over the whole, not a block of it.
        assert!(a.validation.iter().filter(|&&i| i < 501).count().abs_diff(100) < 30);
    }

    #[test]
    fn few_samples_are_all_trained_on() {
        let parts = Parts::fifth(4, 0).unwrap();
        assert_eq!((parts.train.len(), parts.validation.len()), (4, 0));
    }
}
