//! Random numbers of the runtime: Philox4x32-10, a counter-based generator.
//!
//! Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. A number is a function
//! of (key, counter), so permutations and augmentations can be computed again from where a run stopped.

/// Multipliers and key increments of the paper (its table 2 and section 4.3).
const M0: u32 = 0xD251_1F53;
const M1: u32 = 0xCD9E_8D57;
const W0: u32 = 0x9E37_79B9;
const W1: u32 = 0xBB67_AE85;

/// Philox4x32-10: four random words for this key and counter.
pub fn philox(key: u64, counter: [u32; 4]) -> [u32; 4] {
    let (mut k0, mut k1) = (key as u32, (key >> 32) as u32);
    let mut x = counter;
    for _ in 0..10 {
        let p0 = u64::from(M0) * u64::from(x[0]);
        let p1 = u64::from(M1) * u64::from(x[2]);
        x = [(p1 >> 32) as u32 ^ x[1] ^ k0, p1 as u32, (p0 >> 32) as u32 ^ x[3] ^ k1, p0 as u32];
        k0 = k0.wrapping_add(W0);
        k1 = k1.wrapping_add(W1);
    }
    x
}

/// What random numbers are for, so that different uses of one seed draw different numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Purpose {
    /// The order of the training samples in an epoch.
    Shuffle = 0x5348_5546,
    /// Changing a sample at random.
    Augment = 0x4155_474D,
    /// Making the samples of a data set.
    Generate = 0x4745_4E45,
    /// Splitting a data set into parts.
    Split = 0x5350_4C49,
}

/// A sequence of random numbers: counter = (position / 4, purpose, a, b), key = seed.
#[derive(Clone, Debug)]
pub struct Random {
    key: u64,
    counter: [u32; 4],
    words: [u32; 4],
    used: usize,
}

impl Random {
    /// The sequence of a seed for a purpose; `a` and `b` tell apart sequences of one purpose (epoch, sample).
    pub fn new(seed: u64, purpose: Purpose, a: u32, b: u32) -> Random {
        Random { key: seed, counter: [0, purpose as u32, a, b], words: [0; 4], used: 4 }
    }

    /// 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.used == 4 {
            self.words = philox(self.key, self.counter);
            self.counter[0] = self.counter[0].wrapping_add(1);
            self.used = 0;
        }
        self.used += 1;
        self.words[self.used - 1]
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        u64::from(self.next_u32()) | u64::from(self.next_u32()) << 32
    }

    /// A uniform integer in `0..n` without bias; 0 where `n` is 0. (Lemire, "Fast random integer generation in an
    /// interval", ACM TOMACS 2019.)
    pub fn below(&mut self, n: u64) -> u64 {
        let mut product = u128::from(self.next_u64()) * u128::from(n);
        if (product as u64) < n {
            let threshold = n.wrapping_neg() % n;
            while (product as u64) < threshold {
                product = u128::from(self.next_u64()) * u128::from(n);
            }
        }
        (product >> 64) as u64
    }

    /// A uniform number in `[0, 1)`: a multiple of 2^-24.
    pub fn uniform(&mut self) -> f32 {
        (self.next_u32() >> 8) as f32 * 2f32.powi(-24)
    }

    /// Puts the elements in random order (Fisher & Yates; Durstenfeld, 1964).
    pub fn shuffle<T>(&mut self, elements: &mut [T]) {
        for i in (1..elements.len()).rev() {
            let j = self.below(i as u64 + 1) as usize;
            elements.swap(i, j);
        }
    }
}

/// Fills `order` with the permutation of `0..order.len()` in which an epoch visits the training samples.
pub fn permutation(seed: u64, epoch: u64, order: &mut [usize]) {
    order.iter_mut().enumerate().for_each(|(i, o)| *o = i);
    Random::new(seed, Purpose::Shuffle, epoch as u32, (epoch >> 32) as u32).shuffle(order);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known-answer vectors of Random123 (its file `kat_vectors`, lines `philox4x32 10`).
    #[test]
    fn philox_gives_the_published_vectors() {
        assert_eq!(philox(0, [0; 4]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
        let ones = [u32::MAX; 4];
        assert_eq!(philox(u64::MAX, ones), [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
        let pi = [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344];
        let answer = [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1];
        assert_eq!(philox(0x299f31d0_a4093822, pi), answer);
    }

    #[test]
    fn a_permutation_has_every_index_once_and_depends_on_seed_and_epoch() {
        let draw = |seed, epoch| {
            let mut order = vec![0; 1000];
            permutation(seed, epoch, &mut order);
            order
        };
        let mut sorted = draw(7, 3);
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..1000));
        assert_eq!(draw(7, 3), draw(7, 3));
        assert_ne!(draw(7, 3), draw(7, 4));
        assert_ne!(draw(7, 3), draw(8, 3));
        permutation(1, 1, &mut []);
    }

    /// Each place of each element is equally likely: chi-square with 24 degrees of freedom stays below its
    /// 99.99 % point (55.4).
    #[test]
    fn permutations_are_uniform() {
        let mut counts = [[0u32; 5]; 5];
        let rounds = 10_000;
        for epoch in 0..rounds {
            let mut order = [0; 5];
            permutation(42, epoch, &mut order);
            order.iter().enumerate().for_each(|(place, i)| counts[place][*i] += 1);
        }
        let expected = rounds as f64 / 5.0;
        let chi2: f64 = counts.iter().flatten().map(|c| (f64::from(*c) - expected).powi(2) / expected).sum();
        assert!(chi2 < 55.4, "chi-square {chi2}");
    }

    #[test]
    fn bounded_numbers_stay_below_the_bound_and_reach_every_value() {
        let mut random = Random::new(1, Purpose::Augment, 0, 0);
        let mut seen = [false; 7];
        for _ in 0..1000 {
            seen[random.below(7) as usize] = true;
            assert!((0.0..1.0).contains(&random.uniform()));
        }
        assert!(seen.iter().all(|s| *s));
        assert_eq!(random.below(0), 0);
        assert_eq!(random.below(1), 0);
        assert!(random.below(u64::MAX) < u64::MAX);
    }
}
