//! Reading a container: everything is checked, and nothing is believed before. No number of the file asks for memory: what is
//! made is header, table and manifest, whose bytes must be there first, and what the manifest says, as far as the file is large
//! enough.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use super::contents::{Contents, wrong};
use super::format::{
    ALIGNMENT_FIELD, BYTES_FIELD, CHECKSUM_FIELD, COUNT_FIELD, HEADER_BYTES, KIND_FIELD, Kind, LENGTH_FIELD,
    MAGIC, MAX_SECTIONS, NUMERICS_FIELD, OFFSET_FIELD, RESERVED_FIELD, ROW_BYTES, SEAL_FIELD, Section,
    VERSION, VERSION_FIELD, number, seal,
};
use crate::error::{Error, Result};
use crate::paths::content::Content;
use crate::paths::regular::open_regular;
use crate::shown::{Shown, counted};
use crate::tensors::memory::zeros;

/// Bytes of a file that are read at a time.
const BUFFER: u64 = 1 << 18;

/// Bytes by which other files are known.
const LOOKED_AT: u64 = 4096;

/// How much of a file is compared with its checksums.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Check {
    /// Every byte.
    #[default]
    All,
    /// All but the bytes of weights and prepared values, which are not read before they are used.
    Code,
}

/// A container that has been read and checked. None of its code has run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Container {
    numerics: u32,
    sections: Vec<Section>,
    contents: Contents,
}

impl Container {
    /// Reads a file and checks every byte of it. It is read piece by piece: memory is proportional to its manifest.
    ///
    /// # Errors
    /// A file that cannot be read; one that is no container, or of another version of the format; one that was cut or
    /// changed, or breaks a rule of the format. The message tells which.
    pub fn read(path: impl AsRef<Path>) -> Result<Container> {
        let path = path.as_ref();
        let (file, size) = open_regular(path).map_err(|e| Error::io("read", path, e))?;
        parse(&mut InFile { file, size, path }, Check::All).map_err(|e| within(e, path))
    }

    /// The same of a file that is in memory.
    ///
    /// # Errors
    /// Those of [`read`](Container::read), but for reading.
    pub fn of_bytes(bytes: &[u8]) -> Result<Container> {
        Container::checked(bytes, Check::All)
    }

    /// The same, with as much of it compared with checksums.
    pub(super) fn checked(mut bytes: &[u8], check: Check) -> Result<Container> {
        parse(&mut bytes, check)
    }

    /// What it holds.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// The numerics version of its entries.
    pub fn numerics(&self) -> u32 {
        self.numerics
    }

    /// Its sections, in the order of the file.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// The sections of code, in the order of the pieces.
    pub(super) fn code(&self) -> impl Iterator<Item = &Section> {
        self.sections.iter().filter(|section| section.kind == Kind::Code)
    }

    /// The section of a kind that there is one of at most.
    pub(super) fn section(&self, kind: Kind) -> Option<&Section> {
        self.sections.iter().find(|section| section.kind == kind)
    }

    /// What it holds, to be kept.
    pub(super) fn into_contents(self) -> Contents {
        self.contents
    }
}

/// Names the file that an error is about.
pub(super) fn within(error: Error, path: &Path) -> Error {
    error.within(format!("`{}` is no container that can be used", path.shown()))
}

/// Where the bytes of a container come from.
trait Source {
    /// How many there are.
    fn size(&self) -> u64;

    /// Gives the bytes of a range, which ends with the source or before, to `take`: piece by piece, in their order.
    fn each(&mut self, range: Range<u64>, take: &mut dyn FnMut(&[u8])) -> Result<()>;

    /// The bytes of such a range.
    fn copy(&mut self, range: Range<u64>) -> Result<Vec<u8>> {
        let len = usize::try_from(range.end - range.start);
        let len = len.map_err(|_| wrong("a part of it is larger than memory can be"))?;
        let mut copy = zeros(len, "a part of the container")?;
        let mut at = 0;
        self.each(range, &mut |piece| {
            copy[at..at + piece.len()].copy_from_slice(piece);
            at += piece.len();
        })?;
        Ok(copy)
    }

    /// Their CRC-32.
    fn checksum(&mut self, range: Range<u64>) -> Result<u32> {
        let mut crc = crc32fast::Hasher::new();
        self.each(range, &mut |piece| crc.update(piece))?;
        Ok(crc.finalize())
    }
}

impl Source for &[u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn each(&mut self, range: Range<u64>, take: &mut dyn FnMut(&[u8])) -> Result<()> {
        take(&self[range.start as usize..range.end as usize]);
        Ok(())
    }
}

/// A file that is read as far as it is needed.
struct InFile<'a> {
    file: File,
    size: u64,
    path: &'a Path,
}

impl Source for InFile<'_> {
    fn size(&self) -> u64 {
        self.size
    }

    fn each(&mut self, range: Range<u64>, take: &mut dyn FnMut(&[u8])) -> Result<()> {
        let io = |e| Error::io("read", self.path, e);
        self.file.seek(SeekFrom::Start(range.start)).map_err(io)?;
        let mut left = range.end - range.start;
        let mut buffer = zeros(left.min(BUFFER) as usize, "a buffer")?;
        while left > 0 {
            let piece = &mut buffer[..left.min(BUFFER) as usize];
            self.file.read_exact(piece).map_err(io)?;
            take(piece);
            left -= piece.len() as u64;
        }
        Ok(())
    }
}

/// Reads and checks everything, in the order in which one thing can be trusted after the other: magic and version, the
/// checksum of header and table, the length of the file, where sections lie, their checksums, the manifest.
fn parse(source: &mut impl Source, check: Check) -> Result<Container> {
    let head = head(source)?;
    let bytes = number(&head, LENGTH_FIELD);
    check_length(bytes, source.size())?;
    let rows = head[HEADER_BYTES..].chunks_exact(ROW_BYTES).enumerate();
    let sections = rows.map(|(at, row)| section(at, row)).collect::<Result<Vec<Section>>>()?;
    check_order(&sections)?;
    check_places(&sections, head.len() as u64, bytes)?;
    check_bytes(source, &sections, head.len() as u64, check)?;
    let numerics = number(&head, NUMERICS_FIELD) as u32;
    // The order says that it is the first.
    let Section { offset, bytes, .. } = sections[0];
    let manifest = source.copy(offset..offset + bytes)?;
    let contents = Contents::of_bytes(&manifest, room(source.size(), head.len(), manifest.len()))?;
    contents.check(numerics, &sections)?;
    Ok(Container { numerics, sections, contents })
}

/// Bytes of memory that reading takes for what is small: the list of sections, an entry's names, an error.
const REST: usize = 4096;

/// The memory that the values of a manifest may take, in bytes: with all else that reading takes, as much as the file has.
pub(super) fn room(file: u64, head: usize, manifest: usize) -> usize {
    let file = usize::try_from(file).unwrap_or(usize::MAX);
    [head, manifest, REST].into_iter().fold(file, usize::saturating_sub)
}

/// The bytes of the smallest file in which there is room for so much.
pub(super) fn file_with_room(head: usize, manifest: usize, room: usize) -> u64 {
    [head, manifest, REST, room].into_iter().map(|bytes| bytes as u64).sum()
}

/// Header and table, as they were written.
fn head(source: &mut impl Source) -> Result<Vec<u8>> {
    let all = source.size();
    let header = source.copy(0..all.min(HEADER_BYTES as u64))?;
    let begin = header.len().min(MAGIC.len());
    if header.is_empty() || header[..begin] != MAGIC[..begin] {
        let content = Content::of_bytes(&source.copy(0..all.min(LOOKED_AT))?);
        return Err(wrong(format!("it is {content}, not a compiled model")));
    }
    if header.len() >= VERSION_FIELD.offset + VERSION_FIELD.bytes {
        check_version(number(&header, VERSION_FIELD))?;
    }
    let cut = |needed: u64, what: &str| {
        wrong(format!("it was cut short: it has {all} bytes, and its {what} takes {needed}"))
    };
    if header.len() < HEADER_BYTES {
        return Err(cut(HEADER_BYTES as u64, "header"));
    }
    let count = number(&header, COUNT_FIELD) as usize;
    if !(1..=MAX_SECTIONS).contains(&count) {
        let sections = counted(count as u64, "section");
        return Err(wrong(format!("its header is damaged: it says {sections}, of 1 to {MAX_SECTIONS}")));
    }
    let bytes = (HEADER_BYTES + count * ROW_BYTES) as u64;
    if bytes > all {
        return Err(cut(bytes, "table"));
    }
    let head = source.copy(0..bytes)?;
    if u64::from(seal(&head)) != number(&head, SEAL_FIELD) {
        return Err(wrong("its header or its table is damaged: their checksum does not fit"));
    }
    Ok(head)
}

fn check_version(version: u64) -> Result<()> {
    if version == u64::from(VERSION) {
        return Ok(());
    }
    let way_out = match version > u64::from(VERSION) {
        true => "use a newer version of the program that reads it",
        false => "build it again",
    };
    Err(wrong(format!("it is of version {version} of the format, and version {VERSION} is read; {way_out}")))
}

fn check_length(said: u64, found: u64) -> Result<()> {
    match found.cmp(&said) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Less => {
            Err(wrong(format!("it was cut short: it has {found} bytes of {said}; take a copy that is whole")))
        }
        std::cmp::Ordering::Greater => {
            let more = found - said;
            Err(wrong(format!("{more} bytes follow the {said} that belong to it: take a copy without them")))
        }
    }
}

/// The section of a row of the table, by its position.
fn section(at: usize, row: &[u8]) -> Result<Section> {
    let of = |message: String| wrong(format!("section {at}: {message}"));
    let kind = number(row, KIND_FIELD);
    let kind = Kind::of(kind).ok_or_else(|| of(format!("there is no kind {kind}")))?;
    let alignment = number(row, ALIGNMENT_FIELD);
    if !kind.may_align(alignment) {
        return Err(of(format!("{} cannot be aligned to {alignment} bytes", kind.name())));
    }
    let (offset, bytes) = (number(row, OFFSET_FIELD), number(row, BYTES_FIELD));
    if bytes == 0 {
        return Err(of("it has no bytes, and would be left out".into()));
    }
    if number(row, RESERVED_FIELD) != 0 {
        return Err(of("what is reserved is not zero".into()));
    }
    Ok(Section { kind, alignment, offset, bytes, checksum: number(row, CHECKSUM_FIELD) as u32 })
}

/// Checks that kinds come in their order: a manifest, code, and each of the others once or not at all.
fn check_order(sections: &[Section]) -> Result<()> {
    let kind = |at: usize| sections.get(at).map(|section| section.kind);
    if kind(0) != Some(Kind::Manifest) || kind(1) != Some(Kind::Code) {
        return Err(wrong("it does not begin with a manifest and code"));
    }
    for (at, pair) in sections.windows(2).enumerate() {
        let (one, two) = (pair[0].kind, pair[1].kind);
        if one > two || one == two && one != Kind::Code {
            let (name, before) = (two.name(), one.name());
            return Err(wrong(format!("section {}: {name} cannot follow {before}", at + 1)));
        }
    }
    Ok(())
}

/// Checks that each section begins where the one before it, or the table (which ends at `end`), lets it, and that the last
/// one ends with the file, which has so many bytes.
fn check_places(sections: &[Section], mut end: u64, bytes: u64) -> Result<()> {
    let mut before = None;
    for (at, section) in sections.iter().enumerate() {
        let Section { kind, alignment, offset, .. } = *section;
        let of = |message: String| Err(wrong(format!("section {at} ({}): {message}", kind.name())));
        let section_end = offset.checked_add(section.bytes).filter(|end| *end <= bytes);
        let Some(section_end) = section_end else {
            return of(format!("{} bytes from byte {offset} on end behind the file", section.bytes));
        };
        if offset < end {
            return of(format!(
                "it begins at byte {offset}, inside of what is before it, which ends at {end}"
            ));
        }
        if !offset.is_multiple_of(alignment) {
            return of(format!("it begins at byte {offset}, which is no multiple of {alignment}"));
        }
        if Section::start(before, end, alignment) != Some(offset) {
            return of(format!("it begins at byte {offset}, and does not follow what is before it"));
        }
        (before, end) = (Some(section), section_end);
    }
    match bytes - end {
        0 => Ok(()),
        more => Err(wrong(format!("{more} bytes of it belong to no section"))),
    }
}

/// Compares sections with their checksums, and what is between them with zeros.
fn check_bytes(source: &mut impl Source, sections: &[Section], mut end: u64, check: Check) -> Result<()> {
    for section in sections {
        let Section { kind, offset, bytes, .. } = *section;
        let mut zero = true;
        source.each(end..offset, &mut |piece| zero &= piece.iter().all(|byte| *byte == 0))?;
        if !zero {
            return Err(wrong(format!("it is damaged: bytes before its {} are not zero", kind.name())));
        }
        end = offset + bytes;
        if check == Check::Code && matches!(kind, Kind::Weights | Kind::Prepared) {
            continue;
        }
        if source.checksum(offset..end)? != section.checksum {
            let message = format!("it is damaged: the checksum of its {} does not fit", kind.name());
            return Err(wrong(message));
        }
    }
    Ok(())
}
