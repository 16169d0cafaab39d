//! The ELF file of a launcher with a container in it.
//!
//! A container is laid out in pages: what is only read (header, table, manifest), code, and what whoever trains writes (constants,
//! weights, prepared values). It goes behind everything that the launcher has in memory, as it is, in a segment for each of these
//! parts:
//!
//! ```text
//! launcher | zeros to a page | container: .brolga (R), .brolga.code (R X), .brolga.data (R W) | names | table of sections
//! ```
//!
//! So the kernel maps it with the program, and what the program sees is one piece of memory. Segments need rows in the table of
//! program headers, which cannot grow where it is: the launcher brings notes whose rows are given up for them. Each segment
//! has a section, or `strip` would drop its bytes. Where the container lies, the launcher reads from its locator: [`MAGIC`], the
//! distance from the locator to the container in memory, and its length.

use brolga_runtime::container::{Container, Kind, Section};
use brolga_runtime::{Error, ErrorKind, Result};

/// How a locator begins, which a launcher has once.
pub const MAGIC: [u8; 16] = *b"brolga locator:\0";

/// Bytes of a locator: the magic, a distance, a length.
const LOCATOR_BYTES: usize = 32;

/// The names of the sections that hold a container.
const SECTIONS: [&str; 3] = [".brolga", ".brolga.code", ".brolga.data"];

const HEADER_BYTES: usize = 64;
const SEGMENT_BYTES: usize = 56;
const SECTION_BYTES: usize = 64;

const LOAD: u32 = 1;
const NOTE: u32 = 4;
const READ: u32 = 4;
const WRITE: u32 = 2;
const EXECUTE: u32 = 1;

/// Of the table of sections: data of the program, which is in memory, may be written, may be executed.
const PROGRAM_DATA: u32 = 1;
const WRITABLE: u64 = 1;
const ALLOCATED: u64 = 2;
const EXECUTABLE: u64 = 4;

/// The numbers of architectures that launchers are built for.
const ARCHITECTURES: [(u16, &str); 2] = [(62, "x86_64"), (183, "aarch64")];

/// A row of the table of program headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segment {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    /// The same; of no meaning on systems that have addresses for each program.
    physical: u64,
    file_bytes: u64,
    memory_bytes: u64,
    alignment: u64,
}

/// What of a container is mapped in one way.
struct Part {
    begin: u64,
    end: u64,
    /// The section that holds it.
    name: &'static str,
    flags: u32,
}

/// The executable that carries a container: its bytes.
///
/// # Errors
/// A launcher that is none: no ELF file for 64 bits, without a locator, with too few notes; a file that is no container.
pub fn embed(launcher: &[u8], container: &[u8]) -> Result<Vec<u8>> {
    let model = Container::of_bytes(container)?;
    let (sections, contents) = (model.sections(), model.contents());
    let elf = Elf::parse(launcher)?;
    let here = elf.architecture();
    if contents.code.iter().all(|piece| Some(piece.processor.architecture.as_str()) != here) {
        let (has, is) = (&contents.code[0].processor, here.unwrap_or("another processor"));
        let message = format!("this launcher is a program for {is}, but the model has code for {has}");
        return Err(Error::new(ErrorKind::Cpu, message));
    }
    let parts = parts(sections, container.len() as u64);
    let pages = elf.loads().map(|load| load.alignment);
    let pages = pages.chain(sections.iter().map(|section| section.alignment)).fold(1, u64::max);
    let base = elf.loads().map(|load| load.address + load.memory_bytes).max().unwrap_or(0);
    let (base, begin) = (base.next_multiple_of(pages), (elf.end() as u64).next_multiple_of(pages));
    let segment = |part: &Part| Segment {
        kind: LOAD,
        flags: part.flags,
        offset: begin + part.begin,
        address: base + part.begin,
        physical: base + part.begin,
        file_bytes: part.end - part.begin,
        memory_bytes: part.end - part.begin,
        alignment: pages,
    };
    let segments: Vec<Segment> = parts.iter().map(segment).collect();
    let locator = elf.locator()?;
    if word(launcher, locator.offset + MAGIC.len() + 8) != 0 {
        return Err(wrong("it carries one already"));
    }
    let rows = elf.with(&segments)?;

    let mut bytes = launcher[..elf.end()].to_vec();
    for (at, row) in rows.iter().enumerate() {
        put(&mut bytes, elf.segments_at + at * SEGMENT_BYTES, &row.bytes());
    }
    let distance = base.wrapping_sub(locator.address);
    put(&mut bytes, locator.offset + MAGIC.len(), &distance.to_le_bytes());
    put(&mut bytes, locator.offset + MAGIC.len() + 8, &(container.len() as u64).to_le_bytes());
    bytes.resize(begin as usize, 0);
    bytes.extend(container);
    elf.append_sections(&mut bytes, &parts, &segments)?;
    Ok(bytes)
}

/// Whether a program is a launcher with a container in it.
pub fn carries_container(program: &[u8]) -> bool {
    let Ok(elf) = Elf::parse(program) else { return false };
    let Ok(names) = elf.names() else { return false };
    let rows = program[elf.sections_at..].chunks_exact(SECTION_BYTES).take(elf.section_count);
    let is_own = |row: &[u8]| {
        let name = names.get(word(row, 0) as u32 as usize..);
        name.is_some_and(|name| {
            name.starts_with(SECTIONS[0].as_bytes()) && name.get(SECTIONS[0].len()) == Some(&0)
        })
    };
    rows.into_iter().any(is_own)
}

/// What of a container of so many bytes is mapped in which way. Code begins and ends with pages.
fn parts(sections: &[Section], bytes: u64) -> Vec<Part> {
    let is_code = |section: &&Section| section.kind == Kind::Code;
    let code = sections.iter().find(is_code).map_or(bytes, |section| section.offset);
    let behind = sections.iter().find(|section| section.kind > Kind::Code).map_or(bytes, |s| s.offset);
    let part = |begin, end, name, flags| Part { begin, end, name, flags };
    let [head, own_code, data] = SECTIONS;
    // Mapped privately: what is written is copied, and the file stays as it is.
    let all = [
        part(0, code, head, READ),
        part(code, behind, own_code, READ | EXECUTE),
        part(behind, bytes, data, READ | WRITE),
    ];
    all.into_iter().filter(|part| part.begin < part.end).collect()
}

/// A locator, where it is.
struct Locator {
    /// In the file.
    offset: usize,
    /// In memory.
    address: u64,
}

/// A program, as far as it matters here. All offsets are inside of the file.
struct Elf<'a> {
    bytes: &'a [u8],
    segments_at: usize,
    segments: Vec<Segment>,
    sections_at: usize,
    section_count: usize,
    /// The number of the section that holds the names of sections.
    names: usize,
}

impl<'a> Elf<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Elf<'a>> {
        // Class 64 bits, little-endian.
        if bytes.len() < HEADER_BYTES || bytes[..6] != *b"\x7fELF\x02\x01" {
            return Err(wrong("it is no ELF program for 64 bits"));
        }
        let half = |at| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
        let table = |at: usize, row: usize, count: usize, asked: usize| {
            let begin = usize::try_from(word(bytes, at)).ok();
            let end = begin.and_then(|begin| begin.checked_add(count * row));
            let fits = count > 0 && asked == row && end.is_some_and(|end| end <= bytes.len());
            begin.filter(|_| fits).ok_or_else(|| wrong("its tables are not there"))
        };
        let (segment_count, section_count) = (half(56), half(60));
        let segments_at = table(32, SEGMENT_BYTES, segment_count, half(54))?;
        let sections_at = table(40, SECTION_BYTES, section_count, half(58))?;
        let row = |at: usize| Segment::of(&bytes[segments_at + at * SEGMENT_BYTES..][..SEGMENT_BYTES]);
        let segments: Vec<Segment> = (0..segment_count).map(row).collect();
        let names = half(62);
        if names >= section_count {
            return Err(wrong("its sections have no names"));
        }
        for load in segments.iter().filter(|segment| segment.kind == LOAD) {
            let inside =
                load.offset.checked_add(load.file_bytes).is_some_and(|end| end <= bytes.len() as u64);
            let addressed = load.address.checked_add(load.memory_bytes).is_some_and(|end| end < 1 << 47);
            let aligned = load.alignment.max(1).is_power_of_two() && load.alignment <= 1 << 24;
            if !inside || !addressed || !aligned {
                return Err(wrong("a segment of it lies outside of the file"));
            }
        }
        Ok(Elf { bytes, segments_at, segments, sections_at, section_count, names })
    }

    /// The architecture that it is a program for, by Rust's name.
    fn architecture(&self) -> Option<&'static str> {
        let number = u16::from_le_bytes([self.bytes[18], self.bytes[19]]);
        ARCHITECTURES.iter().find(|(known, _)| *known == number).map(|(_, name)| *name)
    }

    /// The names of sections, each with a zero behind it.
    fn names(&self) -> Result<&'a [u8]> {
        let own = self.sections_at + self.names * SECTION_BYTES;
        let place = |at: usize| usize::try_from(word(self.bytes, own + at)).ok();
        let names = place(24).zip(place(32));
        let names = names.and_then(|(begin, size)| self.bytes.get(begin..begin.checked_add(size)?));
        names.ok_or_else(|| wrong("the names of its sections are not there"))
    }

    fn loads(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().filter(|segment| segment.kind == LOAD)
    }

    /// Where what is kept of the file ends: all of it, or what is before the table of sections, if that is last.
    fn end(&self) -> usize {
        let table = self.section_count * SECTION_BYTES;
        let used = self.loads().map(|load| load.offset + load.file_bytes).max().unwrap_or(0) as usize;
        let used = used.max(self.segments_at + self.segments.len() * SEGMENT_BYTES);
        let is_last = self.sections_at + table == self.bytes.len() && self.sections_at >= used;
        if is_last { self.sections_at } else { self.bytes.len() }
    }

    /// The program headers with these segments behind the other ones that are loaded, in place of notes: of those with the largest
    /// alignment, which are the launcher's own.
    fn with(&self, segments: &[Segment]) -> Result<Vec<Segment>> {
        let mut rows = self.segments.clone();
        for _ in segments {
            let notes = rows.iter().enumerate().filter(|(_, row)| row.kind == NOTE);
            let (at, _) = notes.max_by_key(|(_, row)| row.alignment).ok_or_else(|| {
                wrong("it has too few notes, whose places in the table of segments a container needs")
            })?;
            rows.remove(at);
        }
        let last = rows.iter().rposition(|row| row.kind == LOAD).map_or(0, |at| at + 1);
        rows.splice(last..last, segments.iter().copied());
        Ok(rows)
    }

    /// The one locator of the program.
    fn locator(&self) -> Result<Locator> {
        let mut from = 0;
        let mut found = std::iter::from_fn(|| {
            // Few bytes are like the first one.
            while let Some(next) = self.bytes[from..].iter().position(|&byte| byte == MAGIC[0]) {
                from += next + 1;
                if self.bytes[from - 1..].starts_with(&MAGIC) {
                    return Some(from - 1);
                }
            }
            None
        });
        let (offset, other) = (found.next(), found.next());
        let place = |offset: usize| {
            let at = offset as u64;
            let holds = |load: &&Segment| {
                load.offset <= at && at + LOCATOR_BYTES as u64 <= load.offset + load.file_bytes
            };
            let load = self.loads().find(holds)?;
            Some(Locator { offset, address: load.address + (at - load.offset) })
        };
        let found = offset.filter(|_| other.is_none()).and_then(place);
        found.ok_or_else(|| wrong("it has no place that says where its container is"))
    }

    /// Puts the table of sections behind the program, with one for each part in its segment, and their names.
    fn append_sections(&self, bytes: &mut Vec<u8>, parts: &[Part], segments: &[Segment]) -> Result<()> {
        let table = self.section_count * SECTION_BYTES;
        let mut rows = self.bytes[self.sections_at..][..table].to_vec();
        let mut names = self.names()?.to_vec();
        for (Part { name, flags, .. }, segment) in parts.iter().zip(segments) {
            let may = |flag, as_section| if flags & flag != 0 { as_section } else { 0 };
            let flags = ALLOCATED | may(WRITE, WRITABLE) | may(EXECUTE, EXECUTABLE);
            let at = u32::try_from(names.len()).map_err(|_| wrong("it has too many names"))?;
            names.extend(name.bytes().chain([0]));
            rows.extend(at.to_le_bytes().into_iter().chain(PROGRAM_DATA.to_le_bytes()));
            let place = [flags, segment.address, segment.offset, segment.file_bytes];
            // No link to other sections; no rows of a size.
            let rest = [0, segment.alignment, 0];
            rows.extend(place.into_iter().chain(rest).flat_map(u64::to_le_bytes));
        }
        let own = self.names * SECTION_BYTES;
        put(&mut rows, own + 24, &(bytes.len() as u64).to_le_bytes());
        put(&mut rows, own + 32, &(names.len() as u64).to_le_bytes());
        bytes.extend(names);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        let (at, count) = (bytes.len() as u64, self.section_count + segments.len());
        let count = u16::try_from(count).map_err(|_| wrong("it has too many sections"))?;
        put(bytes, 40, &at.to_le_bytes());
        put(bytes, 60, &count.to_le_bytes());
        bytes.extend(rows);
        Ok(())
    }
}

impl Segment {
    /// From a row of the table.
    fn of(row: &[u8]) -> Segment {
        let first = word(row, 0);
        Segment {
            kind: first as u32,
            flags: (first >> 32) as u32,
            offset: word(row, 8),
            address: word(row, 16),
            physical: word(row, 24),
            file_bytes: word(row, 32),
            memory_bytes: word(row, 40),
            alignment: word(row, 48),
        }
    }

    /// As a row of the table.
    fn bytes(&self) -> [u8; SEGMENT_BYTES] {
        let words = [
            u64::from(self.flags) << 32 | u64::from(self.kind),
            self.offset,
            self.address,
            self.physical,
            self.file_bytes,
            self.memory_bytes,
            self.alignment,
        ];
        let mut row = [0; SEGMENT_BYTES];
        for (at, word) in words.into_iter().enumerate() {
            put(&mut row, at * 8, &word.to_le_bytes());
        }
        row
    }
}

/// The 64 bits at a place, which is inside.
fn word(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

/// Writes at a place, which is inside.
fn put(bytes: &mut [u8], at: usize, new: &[u8]) {
    bytes[at..at + new.len()].copy_from_slice(new);
}

fn wrong(message: &str) -> Error {
    Error::new(ErrorKind::Format, format!("this launcher cannot carry a model: {message}"))
}
