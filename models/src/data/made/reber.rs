//! `erg`: strings of the embedded Reber grammar.
//!
//! Reber, "Implicit learning of artificial grammars", 1967; embedded as in Hochreiter & Schmidhuber, "Long short-term memory", 1997,
//! experiment 1: `B`, then `T` or `P`, then a string of the grammar, then the same `T` or `P`, then `E`. Who reads it must
//! keep the second symbol until the last but one.

use brolga_runtime::{DType, Random, Result, Tensor};

use super::call::{Otherwise, Parameter};
use super::part::{Arrays, Part, SEED, count, flags, whole};

/// The arguments of `erg`. `longest` is how many symbols a row has at most, the last one of its string left out.
pub(super) const PARAMETERS: &[Parameter] = &[
    Parameter { name: "longest", otherwise: Otherwise::Extent("symbol", 40), range: [8, 100_000] },
    count(4_000),
    SEED,
];

/// The symbols; their numbers are their places.
const SYMBOLS: [char; 7] = ['B', 'T', 'P', 'S', 'X', 'V', 'E'];
const B: u8 = 0;
const T: u8 = 1;
const P: u8 = 2;
const S: u8 = 3;
const X: u8 = 4;
const V: u8 = 5;
const E: u8 = 6;

/// From each state but the last two symbols lead on, each to another state; from the last one it is `E`.
const GRAPH: [[(u8, usize); 2]; 5] =
    [[(T, 1), (P, 2)], [(S, 1), (X, 3)], [(T, 2), (V, 4)], [(X, 2), (S, LAST)], [(P, 3), (V, LAST)]];
const LAST: usize = 5;

/// A string, and behind each of its symbols but the last those that may come next.
fn string(random: &mut Random) -> (Vec<u8>, Vec<Vec<u8>>) {
    let kept = if random.below(2) == 0 { T } else { P };
    let (mut symbols, mut legal) = (vec![B, kept, B], vec![vec![T, P], vec![B]]);
    let mut state = 0;
    while let Some(choices) = GRAPH.get(state) {
        let (symbol, next) = choices[random.below(2) as usize];
        legal.push(choices.iter().map(|&(symbol, _)| symbol).collect());
        symbols.push(symbol);
        state = next;
    }
    symbols.extend([E, kept, E]);
    legal.extend([vec![E], vec![kept], vec![E]]);
    (symbols, legal)
}

/// The samples of a part. A row has `length` symbols, behind each of them `next`, and `legal`: which of the seven may be
/// next. Strings that are too long are drawn again. Behind its end a row is 0, and nothing is legal.
pub(super) fn make(part: &mut Part<'_>) -> Result<Arrays> {
    let (samples, longest) = (part.samples, part.arguments.get("longest"));
    let (mut symbols, mut nexts) = (whole(samples, longest, 0)?, whole(samples, longest, 0)?);
    let (mut legals, mut lengths) = (flags(samples, longest * SYMBOLS.len())?, whole(samples, 1, 0)?);
    for (sample, length) in lengths.iter_mut().enumerate() {
        let (string, legal) = loop {
            let drawn = string(&mut part.random);
            if drawn.1.len() <= longest {
                break drawn;
            }
        };
        *length = legal.len() as i32;
        for (step, legal) in legal.iter().enumerate() {
            let at = sample * longest + step;
            (symbols[at], nexts[at]) = (i32::from(string[step]), i32::from(string[step + 1]));
            legal.iter().for_each(|&symbol| legals[at * SYMBOLS.len() + usize::from(symbol)] = 1);
        }
    }
    let dims = [samples, longest];
    Ok(vec![
        ("symbol", Tensor::from_slice(&dims, &symbols)?),
        ("next", Tensor::from_slice(&dims, &nexts)?),
        ("legal", Tensor::from_bytes(DType::Bool, &[samples, longest, SYMBOLS.len()], &legals)?),
        ("length", Tensor::from_slice(&[samples], &lengths)?),
    ])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use brolga_runtime::Purpose;

    use super::*;

    /// The legal symbols behind a beginning, found the other way: over all strings that begin so.
    fn behind(beginning: &[u8], strings: &[Vec<u8>]) -> BTreeSet<u8> {
        let begun = strings.iter().filter(|string| string.starts_with(beginning));
        begun.filter_map(|string| string.get(beginning.len()).copied()).collect()
    }

    #[test]
    fn what_is_legal_is_what_strings_go_on_with() {
        let mut random = Random::new(1, Purpose::Generate, 0, 0);
        let drawn: Vec<(Vec<u8>, Vec<Vec<u8>>)> = (0..20_000).map(|_| string(&mut random)).collect();
        let strings: Vec<Vec<u8>> = drawn.iter().map(|(string, _)| string.clone()).collect();
        for (string, legal) in drawn.iter().filter(|(string, _)| string.len() <= 12).take(100) {
            assert_eq!(string.len(), legal.len() + 1);
            for (at, legal) in legal.iter().enumerate() {
                assert!(legal.contains(&string[at + 1]));
                let legal: BTreeSet<u8> = legal.iter().copied().collect();
                assert_eq!(legal, behind(&string[..=at], &strings), "{string:?} at {at}");
            }
        }
    }

    #[test]
    fn strings_are_those_of_the_grammar() {
        let mut random = Random::new(2, Purpose::Generate, 0, 0);
        let text = |string: &[u8]| string.iter().map(|&s| SYMBOLS[usize::from(s)]).collect::<String>();
        let texts: BTreeSet<String> = (0..3_000).map(|_| text(&string(&mut random).0)).collect();
        for known in ["BTBTXSETE", "BPBPVVEPE", "BTBPTVPSETE", "BPBTSSXXTVVEPE"] {
            assert!(texts.contains(known), "{known}");
        }
        for text in &texts {
            let inside = &text[2..text.len() - 2];
            assert_eq!(text[1..2], text[text.len() - 2..text.len() - 1]);
            assert!(inside.starts_with('B') && inside.len() >= 5, "{text}");
            assert!(inside.ends_with("SE") || inside.ends_with("VE"), "{text}");
        }
    }
}
