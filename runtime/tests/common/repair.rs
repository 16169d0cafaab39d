//! Containers that are wrong on purpose: fields read and written by the tables of the format, manifests exchanged, and
//! checksums that fit again. Tests and the fuzz target share it.

#![allow(dead_code)] // Each of them uses a part of it.

use brolga_runtime::checksum;
use brolga_runtime::container::format::*;

/// The number of a field of a header or a row that begins at `start`.
pub fn number(bytes: &[u8], start: usize, field: Field) -> u64 {
    let at = start + field.offset;
    bytes[at..at + field.bytes].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Writes such a number; what is too large for the field is cut.
pub fn put(bytes: &mut [u8], start: usize, field: Field, number: u64) {
    let at = start + field.offset;
    bytes[at..at + field.bytes].copy_from_slice(&number.to_le_bytes()[..field.bytes]);
}

/// Where the rows of the table begin: as many as the header says, as far as they are there.
pub fn rows(bytes: &[u8]) -> Vec<usize> {
    if bytes.len() < HEADER_BYTES {
        return Vec::new();
    }
    let count = number(bytes, 0, COUNT_FIELD).min(MAX_SECTIONS as u64) as usize;
    let fit = (bytes.len() - HEADER_BYTES) / ROW_BYTES;
    (0..count.min(fit)).map(|row| HEADER_BYTES + row * ROW_BYTES).collect()
}

/// The CRC-32 of some bytes.
fn crc(bytes: &[u8]) -> u64 {
    u64::from_str_radix(&checksum(bytes), 16).expect("a checksum is hexadecimal")
}

/// Has every checksum fit what it is of, wherever that is in the file.
pub fn repair(bytes: &mut [u8]) {
    let rows = rows(bytes);
    for &row in &rows {
        let (offset, length) = (number(bytes, row, OFFSET_FIELD), number(bytes, row, BYTES_FIELD));
        let end = offset.checked_add(length).filter(|end| *end <= bytes.len() as u64);
        if let Some(end) = end {
            let sum = crc(&bytes[offset as usize..end as usize]);
            put(bytes, row, CHECKSUM_FIELD, sum);
        }
    }
    if bytes.len() >= HEADER_BYTES {
        put(bytes, 0, SEAL_FIELD, 0);
        let sum = crc(&bytes[..HEADER_BYTES + rows.len() * ROW_BYTES]);
        put(bytes, 0, SEAL_FIELD, sum);
    }
}

/// The manifest of a container that is right.
pub fn manifest(bytes: &[u8]) -> &[u8] {
    let begin = number(bytes, HEADER_BYTES, OFFSET_FIELD) as usize;
    &bytes[begin..begin + number(bytes, HEADER_BYTES, BYTES_FIELD) as usize]
}

/// A container that is right with another manifest, and checksums that fit; nothing if there is no room for it before the code.
pub fn with_manifest(bytes: &[u8], manifest: &[u8]) -> Option<Vec<u8>> {
    let begin = number(bytes, HEADER_BYTES, OFFSET_FIELD) as usize;
    let code = number(bytes, HEADER_BYTES + ROW_BYTES, OFFSET_FIELD) as usize;
    let mut changed = bytes.to_vec();
    let room = &mut changed[begin..code];
    room.fill(0);
    room.get_mut(..manifest.len())?.copy_from_slice(manifest);
    put(&mut changed, HEADER_BYTES, BYTES_FIELD, manifest.len() as u64);
    repair(&mut changed);
    Some(changed)
}
