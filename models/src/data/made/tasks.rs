//! Tasks that need a memory: `add`, `copy` and `xor_window`.

use brolga_runtime::{DType, Result, Tensor};

use super::call::{Otherwise, Parameter};
use super::part::{Arrays, Part, SEED, count, flags, floats, whole};

/// The arguments of `add`.
pub(super) const ADD: &[Parameter] = &[
    Parameter { name: "length", otherwise: Otherwise::Extent("x", 50), range: [2, 100_000] },
    count(10_000),
    SEED,
];

/// The arguments of `copy`: `delay` steps lie between what is read and what is to be said.
pub(super) const COPY: &[Parameter] = &[
    Parameter { name: "delay", otherwise: Otherwise::Number(30), range: [1, 100_000] },
    count(10_000),
    SEED,
];

/// The arguments of `xor_window`.
pub(super) const XOR_WINDOW: &[Parameter] = &[
    Parameter { name: "distance", otherwise: Otherwise::Number(2), range: [1, 1_000] },
    Parameter { name: "length", otherwise: Otherwise::Extent("bit", 20), range: [3, 100_000] },
    count(4_000),
    SEED,
];

/// Symbols that are remembered, and how many kinds of them there are.
const REMEMBERED: usize = 10;
const KINDS: usize = 8;
/// What stands where nothing is to be read, and what asks for the symbols.
const BLANK: i32 = 8;
const NOW: i32 = 9;

/// Two numbers of a series, one of each half, are marked; `y` is their sum. (Hochreiter & Schmidhuber, "Long short-term memory",
/// 1997, experiment 4, in the form of Le, Jaitly & Hinton, "A simple way to initialize recurrent networks of rectified
/// linear units", 2015.) `x` is `[length, 2]`: a number from 0 to 1, and 1 where it is marked.
pub(super) fn add(part: &mut Part<'_>) -> Result<Arrays> {
    let (samples, length) = (part.samples, part.arguments.get("length"));
    let (mut series, mut sums) = (floats(samples, 2 * length)?, floats(samples, 1)?);
    let half = length / 2;
    for (row, sum) in series.chunks_exact_mut(2 * length).zip(&mut sums) {
        row.iter_mut().step_by(2).for_each(|number| *number = part.random.uniform());
        let first = part.random.below(half as u64) as usize;
        let second = half + part.random.below((length - half) as u64) as usize;
        for at in [first, second] {
            row[2 * at + 1] = 1.0;
            *sum += row[2 * at];
        }
    }
    let x = Tensor::from_slice(&[samples, length, 2], &series)?;
    Ok(vec![("x", x), ("y", Tensor::from_slice(&[samples], &sums)?)])
}

/// The mean squared error of `add` where the answer is always 1: the variance of a sum of two uniform numbers.
pub(super) const ADD_BASELINE: f64 = 1.0 / 6.0;

/// Ten symbols are read, and said again after `delay` steps. `symbol` is them, blanks, a sign that asks for them, and blanks;
/// `target` is blank until they are due. Both are `[delay + 20]`. (Arjovsky, Shah & Bengio, "Unitary evolution recurrent neural
/// networks", 2016, section 5.1.)
pub(super) fn copy(part: &mut Part<'_>) -> Result<Arrays> {
    let (samples, delay) = (part.samples, part.arguments.get("delay"));
    let length = copy_length(delay);
    let (mut symbols, mut targets) = (whole(samples, length, BLANK)?, whole(samples, length, BLANK)?);
    for (read, said) in symbols.chunks_exact_mut(length).zip(targets.chunks_exact_mut(length)) {
        for at in 0..REMEMBERED {
            read[at] = part.random.below(KINDS as u64) as i32;
            said[length - REMEMBERED + at] = read[at];
        }
        read[REMEMBERED + delay - 1] = NOW;
    }
    let dims = [samples, length];
    Ok(vec![
        ("symbol", Tensor::from_slice(&dims, &symbols)?),
        ("target", Tensor::from_slice(&dims, &targets)?),
    ])
}

/// Steps of a row of `copy`.
fn copy_length(delay: usize) -> usize {
    delay + 2 * REMEMBERED
}

/// The cross-entropy of `copy`, in nats for each step, of who knows when symbols are due and not which.
pub(super) fn copy_baseline(delay: usize) -> f64 {
    REMEMBERED as f64 * (KINDS as f64).ln() / copy_length(delay) as f64
}

/// Bits of rows of several lengths, and for each place the exclusive or of the bits `distance` before and behind it; where one
/// of them lies outside of its row, `counted` is false and the label 0. Neither direction alone knows anything of the label.
pub(super) fn xor_window(part: &mut Part<'_>) -> Result<Arrays> {
    let (samples, longest) = (part.samples, part.arguments.get("length"));
    let distance = part.arguments.get("distance");
    let shortest = (2 * distance + 1).min(longest);
    let (mut bits, mut labels) = (floats(samples, longest)?, whole(samples, longest, 0)?);
    let (mut counted, mut lengths) = (flags(samples, longest)?, whole(samples, 1, 0)?);
    for (sample, length) in lengths.iter_mut().enumerate() {
        let row = sample * longest..(sample + 1) * longest;
        let steps = shortest + part.random.below((longest - shortest + 1) as u64) as usize;
        *length = steps as i32;
        let bits = &mut bits[row.clone()];
        bits[..steps].iter_mut().for_each(|bit| *bit = part.random.below(2) as f32);
        let (labels, counted) = (&mut labels[row.clone()], &mut counted[row]);
        for at in distance..steps.saturating_sub(distance) {
            labels[at] = i32::from(bits[at - distance] != bits[at + distance]);
            counted[at] = 1;
        }
    }
    let dims = [samples, longest];
    Ok(vec![
        ("bit", Tensor::from_slice(&[samples, longest, 1], &bits)?),
        ("label", Tensor::from_slice(&dims, &labels)?),
        ("counted", Tensor::from_bytes(DType::Bool, &dims, &counted)?),
        ("length", Tensor::from_slice(&[samples], &lengths)?),
    ])
}
