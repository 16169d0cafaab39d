//! Inputs a little wrong.

use std::ops::Range;

use brolga::ir::generate::Rng;

/// Integers at which arithmetic on sizes goes wrong.
pub const HOSTILE: [i64; 9] = [0, 1, -1, i64::MIN, i64::MAX, 1 << 31, (1 << 32) + 1, 1 << 40, 1 << 62];

/// Where integers stand in a text: runs of digits (with a minus sign before them) that are no part of a name or of a
/// number with a fraction.
pub fn integers(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let of_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'%' | b'@' | b'#');
    let (mut found, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        if !of_word(bytes[at]) {
            at += 1;
            continue;
        }
        let start = at;
        while at < bytes.len() && of_word(bytes[at]) {
            at += 1;
        }
        if bytes[start..at].iter().all(u8::is_ascii_digit) {
            let sign = start > 0 && bytes[start - 1] == b'-';
            found.push(start - usize::from(sign)..at);
        }
    }
    found
}

/// The text with a place exchanged.
pub fn exchanged(text: &str, place: &Range<usize>, with: i64) -> String {
    format!("{}{with}{}", &text[..place.start], &text[place.end..])
}

/// Bytes with some pieces flipped, cut, copied, exchanged for hostile numbers, or for pieces of `other`.
pub fn mutated(bytes: &[u8], other: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..1 + rng.below(4) {
        let at = rng.below(bytes.len() + 1);
        let most = 1 << rng.below(7);
        let length = rng.below(most).min(bytes.len() - at);
        match rng.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << rng.below(8),
            1 if at < bytes.len() => bytes[at] = rng.bits() as u8,
            2 => drop(bytes.drain(at..at + length)),
            3 => {
                let piece = bytes[at..at + length].to_vec();
                bytes.splice(at..at, piece);
            }
            4 => {
                let number = HOSTILE[rng.below(HOSTILE.len())].to_le_bytes();
                let size = [1, 2, 4, 8][rng.below(4)].min(bytes.len() - at);
                bytes[at..at + size].copy_from_slice(&number[..size]);
            }
            5 => {
                let from = rng.below(other.len() + 1);
                let piece = other[from..(from + length).min(other.len())].to_vec();
                bytes.splice(at..at + length, piece);
            }
            _ => {
                let Ok(text) = std::str::from_utf8(&bytes) else { continue };
                let places = integers(text);
                if let Some(place) = places.get(rng.below(places.len())) {
                    bytes = exchanged(text, place, HOSTILE[rng.below(HOSTILE.len())]).into_bytes();
                }
            }
        }
    }
    bytes
}
