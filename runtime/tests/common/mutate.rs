//! Containers that are a little wrong somewhere, with checksums that fit: what damage cannot make, but anybody can.

use super::repair::{manifest, put, repair, with_manifest};
use brolga_runtime::Random;
use brolga_runtime::container::format::{HEADER_BYTES, LENGTH_FIELD};

/// Integers at which arithmetic on sizes goes wrong.
const HOSTILE: [u64; 8] = [0, 1, 63, u64::MAX, 1 << 31, (1 << 32) + 1, 1 << 62, i64::MAX as u64];

/// A little wrong somewhere: more often in what is parsed than in the rest.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    let mut below = |n: usize| random.below(n as u64) as usize;
    let end = if below(2) == 0 { 224.min(bytes.len()) } else { bytes.len() };
    let at = below(end + 1);
    let most = 1 << below(7);
    let length = below(most).min(bytes.len() - at);
    match below(6) {
        0 if at < bytes.len() => bytes[at] ^= 1 << below(8),
        1 if at < bytes.len() => bytes[at] = below(256) as u8,
        2 => drop(bytes.drain(at..at + length)),
        3 => {
            let piece = bytes[at..at + length].to_vec();
            bytes.splice(at..at, piece);
        }
        4 if !bytes.is_empty() => {
            let size = [1, 2, 4, 8][below(4)].min(bytes.len() - at);
            bytes[at..at + size].copy_from_slice(&HOSTILE[below(HOSTILE.len())].to_le_bytes()[..size]);
        }
        _ => {
            // A piece of it somewhere else.
            let from = below(bytes.len() - length + 1);
            bytes.copy_within(from..from + length, at);
        }
    }
}

/// The sample with some changes: of the file, or of its manifest with everything else in its place.
pub fn mutated(whole: &[u8], random: &mut Random) -> Vec<u8> {
    let (changes, of_manifest) = (1 + random.below(3), random.below(2) == 0);
    let mut bytes = if of_manifest { manifest(whole).to_vec() } else { whole.to_vec() };
    for _ in 0..changes {
        mutate(&mut bytes, random);
    }
    if of_manifest {
        return with_manifest(whole, &bytes).unwrap_or_default();
    }
    // A length that does not fit is looked at before anything else.
    if random.below(4) > 0 && bytes.len() >= HEADER_BYTES {
        let length = bytes.len() as u64;
        put(&mut bytes, 0, LENGTH_FIELD, length);
    }
    repair(&mut bytes);
    bytes
}
