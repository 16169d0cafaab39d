//! `mk1`, `mk2`: Markov chains of order 1 and 2, whose next symbol nobody can tell better than their entropy says.
//!
//! The probabilities of the next symbol behind each context are drawn from a Dirichlet distribution of concentration 0.3. They are
//! multiples of 2^-20, at least one each, so that symbols are drawn by whole numbers alone, and what processors round
//! differently in a logarithm does not matter.

use brolga_runtime::{Random, Result, Tensor};

use super::call::{Arguments, Otherwise, Parameter};
use super::part::{Arrays, Part, SEED, Stream, count, stream, whole};

/// The arguments of `mk1` and `mk2`.
pub(super) const PARAMETERS: &[Parameter] = &[
    Parameter { name: "symbols", otherwise: Otherwise::Number(8), range: [2, 64] },
    Parameter { name: "length", otherwise: Otherwise::Extent("symbol", 32), range: [1, 100_000] },
    count(3_125),
    Parameter { name: "continuous", otherwise: Otherwise::Number(0), range: [0, 1] },
    SEED,
];

/// All probabilities of a context together.
const ONE: u32 = 1 << 20;
const CONCENTRATION: f64 = 0.3;
/// Symbols that are drawn before the first one that counts, so that it does not know where the chain began.
const BEFORE: usize = 1_000;
/// Steps after which a distribution is taken for the stationary one, at the latest.
const MOST_STEPS: usize = 100_000;

/// A chain whose next symbol depends on the last `order` ones. Their number is the context: the newest is its last digit.
pub(super) struct Chain {
    symbols: usize,
    order: u32,
    /// `[contexts, symbols]`, in parts of [`ONE`].
    parts: Vec<u32>,
}

impl Chain {
    /// The chain of that order that the arguments ask for.
    pub(super) fn drawn(arguments: &Arguments<'_>, order: u32) -> Chain {
        let symbols = arguments.get("symbols");
        let mut random = stream(arguments, Stream::Common);
        let contexts = symbols.pow(order);
        let parts = (0..contexts).flat_map(|_| dirichlet(symbols, &mut random)).collect();
        Chain { symbols, order, parts }
    }

    fn contexts(&self) -> usize {
        self.symbols.pow(self.order)
    }

    fn row(&self, context: usize) -> &[u32] {
        &self.parts[context * self.symbols..][..self.symbols]
    }

    /// The context behind `context` and `symbol`.
    fn behind(&self, context: usize, symbol: usize) -> usize {
        (context * self.symbols + symbol) % self.contexts()
    }

    fn draw(&self, context: usize, random: &mut Random) -> usize {
        let mut rest = random.below(u64::from(ONE)) as u32;
        let row = self.row(context);
        for (symbol, &part) in row.iter().enumerate() {
            if rest < part {
                return symbol;
            }
            rest -= part;
        }
        row.len() - 1 // not reached: a row adds up to ONE
    }

    /// How often each context is there in the long run.
    fn stationary(&self) -> Vec<f64> {
        let contexts = self.contexts();
        let mut share = vec![1.0 / contexts as f64; contexts];
        for _ in 0..MOST_STEPS {
            // Half a step: the same distribution stays, and none goes round in circles.
            let mut next: Vec<f64> = share.iter().map(|share| share / 2.0).collect();
            for (context, share) in share.iter().enumerate() {
                for (symbol, &part) in self.row(context).iter().enumerate() {
                    next[self.behind(context, symbol)] += share / 2.0 * probability(part);
                }
            }
            let change = share.iter().zip(&next).map(|(old, new)| (old - new).abs()).fold(0.0, f64::max);
            share = next;
            if change < 1e-15 {
                break;
            }
        }
        share
    }

    /// The entropy of the next symbol where the last `known` ones are known, in bits; `known` is at most the order.
    fn entropy_behind(&self, known: u32, stationary: &[f64]) -> f64 {
        let seen = self.symbols.pow(known);
        let mut joint = vec![0.0; seen * self.symbols];
        for (context, share) in stationary.iter().enumerate() {
            for (symbol, &part) in self.row(context).iter().enumerate() {
                joint[context % seen * self.symbols + symbol] += share * probability(part);
            }
        }
        let of = |row: &[f64]| {
            let all: f64 = row.iter().sum();
            let terms = row.iter().filter(|&&p| p > 0.0).map(|p| -p * (p / all).log2());
            terms.sum::<f64>()
        };
        joint.chunks(self.symbols).map(of).sum()
    }

    /// The entropy of a symbol behind all those before it, in bits: the entropy rate.
    pub(super) fn entropy(&self) -> f64 {
        self.entropy_behind(self.order, &self.stationary())
    }

    /// The same as a mean over the positions of a row, at whose first ones fewer symbols are known than the order.
    pub(super) fn entropy_of_rows(&self, length: usize) -> f64 {
        let stationary = self.stationary();
        let known = |at: usize| (at + 1).min(self.order as usize) as u32;
        let short = (0..length).take_while(|&at| known(at) < self.order);
        let (count, sum) = short.fold((0, 0.0), |(count, sum), at| {
            (count + 1, sum + self.entropy_behind(known(at), &stationary))
        });
        let rest = (length - count) as f64 * self.entropy_behind(self.order, &stationary);
        (sum + rest) / length as f64
    }
}

/// The samples of a part: pieces of one long sequence, one behind the other. `next` is `symbol`, one symbol on.
pub(super) fn make(part: &mut Part<'_>, order: u32) -> Result<Arrays> {
    let chain = Chain::drawn(part.arguments, order);
    let (samples, length) = (part.samples, part.arguments.get("length"));
    let (mut symbols, mut nexts) = (whole(samples, length, 0)?, whole(samples, length, 0)?);
    let mut context = 0;
    let mut draw = || {
        let symbol = chain.draw(context, &mut part.random);
        context = chain.behind(context, symbol);
        symbol as i32
    };
    let mut last = draw();
    for _ in 0..BEFORE {
        last = draw();
    }
    for (symbol, next) in symbols.iter_mut().zip(&mut nexts) {
        *symbol = last;
        last = draw();
        *next = last;
    }
    let dims = [samples, length];
    Ok(vec![("symbol", Tensor::from_slice(&dims, &symbols)?), ("next", Tensor::from_slice(&dims, &nexts)?)])
}

fn probability(part: u32) -> f64 {
    f64::from(part) / f64::from(ONE)
}

/// A distribution over so many symbols, in parts of [`ONE`], none of them 0.
fn dirichlet(symbols: usize, random: &mut Random) -> Vec<u32> {
    let shares: Vec<f64> = (0..symbols).map(|_| gamma(CONCENTRATION, random)).collect();
    let all: f64 = shares.iter().sum::<f64>().max(f64::MIN_POSITIVE);
    let given = f64::from(ONE - symbols as u32);
    let mut parts: Vec<u32> = shares.iter().map(|share| (share / all * given) as u32 + 1).collect();
    let rest = ONE - parts.iter().sum::<u32>();
    if let Some(largest) = parts.iter_mut().max() {
        *largest += rest;
    }
    parts
}

/// A number of the gamma distribution with a shape below 1 and scale 1. (Ahrens & Dieter, "Computer methods for sampling from
/// gamma, beta, Poisson and binomial distributions", Computing 12, 1974, algorithm GS.)
fn gamma(shape: f64, random: &mut Random) -> f64 {
    let mut uniform = || ((random.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64;
    let bound = 1.0 + shape / std::f64::consts::E;
    loop {
        let p = bound * uniform();
        let (x, accepted) = if p <= 1.0 {
            let x = p.powf(1.0 / shape);
            (x, (-x).exp())
        } else {
            let x = -((bound - p) / shape).ln();
            (x, x.powf(shape - 1.0))
        };
        if uniform() <= accepted {
            return x;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(order: u32, symbols: usize, seed: u64) -> Chain {
        let text = format!("mk(symbols: {symbols}, seed: {seed})");
        Chain::drawn(&Arguments::read(&text, PARAMETERS, &[]).unwrap(), order)
    }

    /// A chain whose entropy rate can be written down.
    #[test]
    fn the_entropy_of_a_chain_is_the_formulas() {
        // From 0 to 1 with probability 1/4, from 1 to 0 with 1/2: 0 is there two thirds of the time.
        let parts = vec![ONE / 4 * 3, ONE / 4, ONE / 2, ONE / 2];
        let chain = Chain { symbols: 2, order: 1, parts };
        let stationary = chain.stationary();
        assert!((stationary[0] - 2.0 / 3.0).abs() < 1e-12);
        let quarter = -(0.75f64 * 0.75f64.log2() + 0.25 * 0.25f64.log2());
        let expected = 2.0 / 3.0 * quarter + 1.0 / 3.0;
        assert!((chain.entropy() - expected).abs() < 1e-12);
        assert!((chain.entropy_of_rows(5) - expected).abs() < 1e-12);
        // Without anything known it is the entropy of the shares.
        let unknown = -(2.0 / 3.0 * (2.0f64 / 3.0).log2() + (1.0f64 / 3.0).log2() / 3.0);
        assert!((chain.entropy_behind(0, &stationary) - unknown).abs() < 1e-12);
        // Turn by turn: nothing is left to chance, and the distribution is found although it goes round in circles.
        let turns = Chain { symbols: 2, order: 1, parts: vec![0, ONE, ONE, 0] };
        assert_eq!((turns.entropy(), turns.stationary()), (0.0, vec![0.5, 0.5]));
    }

    #[test]
    fn rows_are_distributions_of_that_concentration() {
        for (order, symbols) in [(1, 8), (2, 8), (1, 2), (2, 64)] {
            let chain = chain(order, symbols, 1);
            for row in chain.parts.chunks(symbols) {
                assert_eq!(row.iter().sum::<u32>(), ONE);
                assert!(row.iter().all(|&part| part > 0));
            }
        }
        // The variance of a share of K is (K - 1) / (K^2 (0.3 K + 1)); 4,096 rows of 64.
        let chain = chain(2, 64, 2);
        let mean = 1.0 / 64.0;
        let squares = chain.parts.iter().map(|&part| (probability(part) - mean).powi(2)).sum::<f64>();
        let (variance, expected) = (squares / chain.parts.len() as f64, 63.0 / (64.0 * 64.0 * 20.2));
        assert!((variance / expected - 1.0).abs() < 0.05, "{variance} {expected}");
    }

    /// What is drawn has the frequencies of the chain: the mean of -log2 p is its entropy, within five standard errors.
    #[test]
    fn symbols_are_as_surprising_as_the_entropy_says() {
        for (order, seed) in [(1, 0), (2, 0), (1, 5), (2, 5)] {
            let text = format!("mk(length: 50, seed: {seed})");
            let arguments = Arguments::read(&text, PARAMETERS, &[]).unwrap();
            let chain = Chain::drawn(&arguments, order);
            let random = stream(&arguments, Stream::Train);
            let arrays = make(&mut Part { arguments: &arguments, samples: 2_000, random }, order).unwrap();
            let symbols: &[i32] = arrays[0].1.as_slice().unwrap();
            let nexts: &[i32] = arrays[1].1.as_slice().unwrap();
            assert_eq!(symbols[1..], nexts[..nexts.len() - 1], "rows go on where the one before ended");
            let mut context = symbols[0] as usize;
            let mut surprises = Vec::new();
            for (at, &next) in nexts.iter().enumerate() {
                let probability = probability(chain.row(context)[next as usize]);
                context = chain.behind(context, next as usize);
                if at > 0 {
                    surprises.push(-probability.log2());
                }
            }
            let count = surprises.len() as f64;
            let mean = surprises.iter().sum::<f64>() / count;
            let variance = surprises.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / count;
            // Neighbours depend on each other: twice the error of independent ones.
            let error = 2.0 * (variance / count).sqrt();
            assert!((mean - chain.entropy()).abs() < 5.0 * error, "{order} {mean} {}", chain.entropy());
        }
    }

    #[test]
    fn rows_of_order_2_lack_what_was_before_them() {
        let chain = chain(2, 8, 0);
        let (rate, first) = (chain.entropy(), chain.entropy_of_rows(1));
        assert!(rate + 0.1 < first && first < 3.0, "{rate} {first}");
        assert!((chain.entropy_of_rows(10) - (first + 9.0 * rate) / 10.0).abs() < 1e-12);
    }
}
