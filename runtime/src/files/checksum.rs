//! Checksums as they are printed, and as metadata have them.

/// The CRC-32 of some bytes, as eight digits.
pub fn checksum(bytes: &[u8]) -> String {
    format!("{:08x}", crc32fast::hash(bytes))
}
