//! The layout of a container as data: the fields of its header and of a row of its table, the kinds of sections, and where
//! sections lie. `docs/container.md` describes the whole format; a test compares its tables with those here.
//!
//! All numbers are little-endian and not negative.

use crate::paths::content::CONTAINER;
use crate::tensors::memory::ALIGNMENT;

/// How every container begins.
pub const MAGIC: [u8; 8] = CONTAINER;

/// The version of the format that is written and read. It stands for the layout of the file, the fields of the manifest, and
/// how code is called ([`ArgumentBlock`](crate::ArgumentBlock), [`EntryFn`](crate::EntryFn)): whenever one of them changes,
/// so does the version. No other version is read.
pub const VERSION: u32 = 3;

/// A number in the header, or in a row of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Where it begins, in bytes from the beginning of the header or of the row.
    pub offset: usize,
    /// How many bytes it has.
    pub bytes: usize,
}

const fn field(name: &'static str, offset: usize, bytes: usize) -> Field {
    Field { name, offset, bytes }
}

/// [`MAGIC`].
pub const MAGIC_FIELD: Field = field("magic", 0, 8);
/// [`VERSION`]. It and the magic stay where they are in all versions.
pub const VERSION_FIELD: Field = field("version", 8, 4);
/// The number of sections.
pub const COUNT_FIELD: Field = field("sections", 12, 4);
/// The bytes of the whole file.
pub const LENGTH_FIELD: Field = field("bytes", 16, 8);
/// The numerics version of all entries: code of one version computes the same bits.
pub const NUMERICS_FIELD: Field = field("numerics", 24, 4);
/// The CRC-32 of header and table, with zeros in these four bytes.
pub const SEAL_FIELD: Field = field("checksum", 28, 4);

/// The header: the first bytes of the file.
pub const HEADER: [Field; 6] =
    [MAGIC_FIELD, VERSION_FIELD, COUNT_FIELD, LENGTH_FIELD, NUMERICS_FIELD, SEAL_FIELD];
/// Bytes of the header. The table follows it.
pub const HEADER_BYTES: usize = 32;

/// The number of a [`Kind`].
pub const KIND_FIELD: Field = field("kind", 0, 4);
/// What the section begins at a multiple of, in bytes.
pub const ALIGNMENT_FIELD: Field = field("alignment", 4, 4);
/// Where the section begins, in bytes from the beginning of the file.
pub const OFFSET_FIELD: Field = field("offset", 8, 8);
/// The bytes of the section.
pub const BYTES_FIELD: Field = field("bytes", 16, 8);
/// The CRC-32 of the section.
pub const CHECKSUM_FIELD: Field = field("checksum", 24, 4);
/// Zero.
pub const RESERVED_FIELD: Field = field("reserved", 28, 4);

/// A row of the table, which has one for each section.
pub const ROW: [Field; 6] =
    [KIND_FIELD, ALIGNMENT_FIELD, OFFSET_FIELD, BYTES_FIELD, CHECKSUM_FIELD, RESERVED_FIELD];
/// Bytes of a row.
pub const ROW_BYTES: usize = 32;

/// The most sections that a container has: enough for code of 28 processors.
pub const MAX_SECTIONS: usize = 32;

/// The alignments that code may have: the pages of a processor, or larger ones.
pub const CODE_ALIGNMENTS: std::ops::RangeInclusive<u64> = 1 << 12..=1 << 16;

/// What a section holds. The sections of a file are in this order; there is one of each at most, but of code, and none
/// without bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// The manifest: [`Contents`](super::Contents), as [`records`](super::records).
    Manifest = 1,
    /// Machine code for one processor, with its tables, as it is mapped. As many as the manifest has pieces, in their order.
    Code = 2,
    /// The constants of all entries.
    Constants = 3,
    /// Values of the state, each where the manifest says.
    Weights = 4,
    /// Prepared values of entries, each where the manifest says.
    Prepared = 5,
}

impl Kind {
    /// All kinds, in the order of a file.
    pub const ALL: [Kind; 5] = [Kind::Manifest, Kind::Code, Kind::Constants, Kind::Weights, Kind::Prepared];

    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Manifest => "manifest",
            Kind::Code => "code",
            Kind::Constants => "constants",
            Kind::Weights => "weights",
            Kind::Prepared => "prepared values",
        }
    }

    /// The kind of this number.
    pub(super) fn of(number: u64) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| *kind as u64 == number)
    }

    /// Whether a section of this kind may have this alignment.
    pub(super) fn may_align(self, alignment: u64) -> bool {
        match self {
            Kind::Code => alignment.is_power_of_two() && CODE_ALIGNMENTS.contains(&alignment),
            _ => alignment == ALIGNMENT as u64,
        }
    }
}

/// A section: a row of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Section {
    /// What it holds.
    pub kind: Kind,
    /// What it begins at a multiple of.
    pub alignment: u64,
    /// Where it begins, in bytes from the beginning of the file.
    pub offset: u64,
    /// How many bytes it has.
    pub bytes: u64,
    /// The CRC-32 of its bytes.
    pub checksum: u32,
}

impl Section {
    /// Where a section of this alignment begins that is the first behind `end`, with `before` before it; nothing where that
    /// is beyond all numbers. Pages of code hold nothing else.
    pub(super) fn start(before: Option<&Section>, end: u64, alignment: u64) -> Option<u64> {
        let pages = before.filter(|before| before.kind == Kind::Code).map_or(1, |code| code.alignment);
        end.checked_next_multiple_of(alignment.max(pages))
    }

    /// As a row of the table.
    pub(super) fn row(&self) -> [u8; ROW_BYTES] {
        let mut row = [0; ROW_BYTES];
        put(&mut row, KIND_FIELD, self.kind as u64);
        put(&mut row, ALIGNMENT_FIELD, self.alignment);
        put(&mut row, OFFSET_FIELD, self.offset);
        put(&mut row, BYTES_FIELD, self.bytes);
        put(&mut row, CHECKSUM_FIELD, self.checksum.into());
        row
    }
}

/// Header and table, with the checksum of both.
pub(super) fn head(sections: &[Section], bytes: u64, numerics: u32) -> Vec<u8> {
    let mut head = vec![0; HEADER_BYTES];
    head[..MAGIC.len()].copy_from_slice(&MAGIC);
    put(&mut head, VERSION_FIELD, VERSION.into());
    put(&mut head, COUNT_FIELD, sections.len() as u64);
    put(&mut head, LENGTH_FIELD, bytes);
    put(&mut head, NUMERICS_FIELD, numerics.into());
    head.extend(sections.iter().flat_map(Section::row));
    let seal = seal(&head);
    put(&mut head, SEAL_FIELD, seal.into());
    head
}

/// The checksum that belongs into a header: of header and table, with zeros in its place.
pub(super) fn seal(head: &[u8]) -> u32 {
    let Field { offset, bytes, .. } = SEAL_FIELD;
    let mut crc = crc32fast::Hasher::new();
    crc.update(&head[..offset]);
    crc.update(&[0u8; 4][..bytes]);
    crc.update(&head[offset + bytes..]);
    crc.finalize()
}

/// A field's number.
pub(super) fn number(bytes: &[u8], field: Field) -> u64 {
    let bytes = &bytes[field.offset..field.offset + field.bytes];
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Writes a field's number, which it has room for.
fn put(bytes: &mut [u8], field: Field, number: u64) {
    bytes[field.offset..field.offset + field.bytes].copy_from_slice(&number.to_le_bytes()[..field.bytes]);
}
