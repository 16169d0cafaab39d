//! Writing a container: sections are placed, checked by the rules that readers check, and written in one go.

use std::borrow::Cow;
use std::io::{self, Write};

use super::about::About;
use super::contents::{Contents, Piece, StoredSlot, wrong};
use super::format::{HEADER_BYTES, Kind, MAX_SECTIONS, ROW_BYTES, Section, head};
use super::read::file_with_room;
use crate::error::{Error, Result};
use crate::run::manifest::Manifest;
use crate::run::state::{SlotKind, State};
use crate::shown::Shown;
use crate::tensors::memory::{ALIGNMENT, no_memory};

/// Finished code of all entries of a model, for one or several processors: what a compiler hands over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Code {
    /// What each entry takes and gives; without processor features, which the pieces have.
    pub entries: Vec<Manifest>,
    /// The constants that all entries share.
    pub constants: Vec<u8>,
    /// The same entries for each kind of processor, best first: the first one that runs is taken.
    pub pieces: Vec<MachineCode>,
}

/// The functions of all entries for one kind of processor, as [`Executable::from_raw`](crate::Executable::from_raw) asks for
/// them, and what they need, in one piece that runs from wherever it lies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MachineCode {
    /// Where it runs, and where its functions begin.
    pub piece: Piece,
    /// Code and tables. They are mapped to be read and executed.
    pub bytes: Vec<u8>,
    /// What the piece begins at a multiple of, in memory and in the file: the pages of every system that it is for, see
    /// [`CODE_ALIGNMENTS`](super::format::CODE_ALIGNMENTS).
    pub alignment: usize,
}

/// Which values of the state a container keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Values {
    /// None: whoever opens it loads weights from another file, or draws them.
    None,
    /// Those that files of weights have.
    #[default]
    Weights,
    /// All: training goes on from them.
    All,
}

impl Values {
    /// Whether it keeps values of this kind.
    pub fn keeps(self, kind: SlotKind) -> bool {
        match self {
            Values::None => false,
            Values::Weights => kind.is_saved(),
            Values::All => true,
        }
    }
}

/// What a container is made of.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// The name of the model.
    pub model: &'a str,
    /// Its entries and their code.
    pub code: &'a Code,
    /// Its state: all slots of the entries, in the order that they are to have.
    pub state: &'a State,
    /// Which of the state's values go into the file.
    pub values: Values,
    /// For each entry, what its prepare function has made of this state ([`Instance::prepared`](crate::Instance::prepared)),
    /// if it is to be kept; an empty list for none at all.
    pub prepared: &'a [Option<&'a [u8]>],
    /// What the model declares, if anything is known of it.
    pub about: Option<&'a About>,
}

/// A section, and what it is made of: bytes by their place in it, with zeros between them.
struct Placed<'a> {
    section: Section,
    pieces: Vec<(usize, Cow<'a, [u8]>)>,
}

/// Values that lie one behind the other in a section, each aligned.
#[derive(Default)]
struct Packed<'a> {
    end: usize,
    pieces: Vec<(usize, Cow<'a, [u8]>)>,
}

impl<'a> Packed<'a> {
    /// Where the next value begins.
    fn push(&mut self, bytes: &'a [u8]) -> Result<usize> {
        let at = self.end.checked_next_multiple_of(ALIGNMENT);
        let end = at.and_then(|at| at.checked_add(bytes.len()));
        let (Some(at), Some(end)) = (at, end) else {
            return Err(wrong("its values are more than any file has"));
        };
        self.end = end;
        self.pieces.push((at, Cow::Borrowed(bytes)));
        Ok(at)
    }
}

impl<'a> Parts<'a> {
    /// The file as bytes, to be embedded in other files. Equal parts give equal files.
    ///
    /// # Errors
    /// Parts that contradict each other: a slot of an entry that the state lacks or has with another type, other constants
    /// than the entries ask for, entries of several numerics versions, prepared values without the weights that they were
    /// made of, code of one processor twice. Too little memory.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let (head, placed) = self.sections()?;
        let size = placed.last().map_or(0, |last| last.section.offset + last.section.bytes) as usize;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(size).map_err(|_| no_memory("a container", size))?;
        emit(&mut bytes, &head, &placed).map_err(|e| wrong(format!("it cannot be written: {e}")))?;
        Ok(bytes)
    }

    /// Writes the file, atomically.
    ///
    /// # Errors
    /// Those of [`to_bytes`](Parts::to_bytes); a file that cannot be written. It is as before then.
    #[cfg(feature = "files")]
    pub fn write(&self, path: impl AsRef<std::path::Path>) -> Result<()> {
        let (head, placed) = self.sections()?;
        crate::files::atomic::write_atomically(path.as_ref(), |file| emit(file, &head, &placed))
    }

    /// Header and table, and the sections.
    fn sections(&self) -> Result<(Vec<u8>, Vec<Placed<'a>>)> {
        let cannot = |e: Error| e.within(format!("the container of `{}`", self.model.shown()));
        let (contents, weights, prepared) = self.contents().map_err(cannot)?;
        let mut placed = vec![Placed::of(Kind::Manifest, ALIGNMENT, Cow::Owned(contents.to_bytes()))];
        for MachineCode { bytes, alignment, .. } in &self.code.pieces {
            placed.push(Placed::of(Kind::Code, *alignment, Cow::Borrowed(&bytes[..])));
        }
        placed.push(Placed::of(Kind::Constants, ALIGNMENT, Cow::Borrowed(&self.code.constants[..])));
        placed.push(Placed::values(Kind::Weights, weights));
        placed.push(Placed::values(Kind::Prepared, prepared));
        placed.retain(|placed| placed.section.bytes > 0);
        let mut bytes = place(&mut placed).map_err(cannot)?;
        if let Some(more) = missing(&placed, bytes).map_err(cannot)? {
            extend_code(&mut placed, more);
            bytes = place(&mut placed).map_err(cannot)?;
        }
        let sections: Vec<Section> = placed.iter().map(|placed| placed.section).collect();
        let numerics = self.code.entries.first().map_or(0, |manifest| manifest.numerics);
        contents.check(numerics, &sections).map_err(cannot)?;
        Ok((head(&sections, bytes, numerics), placed))
    }

    /// The manifest, and the values that go into the sections of weights and of prepared values.
    fn contents(&self) -> Result<(Contents, Packed<'a>, Packed<'a>)> {
        self.check_prepared()?;
        let (mut weights, mut prepared) = (Packed::default(), Packed::default());
        let mut state = Vec::with_capacity(self.state.len());
        for slot in self.state.slots() {
            let (tensor, kind) = (slot.tensor(), slot.kind());
            let keeps = self.values.keeps(kind);
            let at = keeps.then(|| weights.push(tensor.bytes())).transpose()?;
            let (name, dims) = (slot.name().to_owned(), tensor.dims().to_vec());
            state.push(StoredSlot { name, dtype: tensor.dtype(), dims, kind, at });
        }
        let places = self.prepared.iter().map(|values| values.map(|v| prepared.push(v)).transpose());
        let mut places = places.collect::<Result<Vec<_>>>()?;
        places.resize(self.code.entries.len(), None);
        let contents = Contents {
            model: self.model.to_owned(),
            entries: self.code.entries.clone(),
            code: self.code.pieces.iter().map(|code| code.piece.clone()).collect(),
            state,
            prepared: places,
            about: self.about.cloned().unwrap_or_default(),
            record: self.state.record().clone(),
        };
        Ok((contents, weights, prepared))
    }

    /// Checks that prepared values are those of the entries.
    fn check_prepared(&self) -> Result<()> {
        let (entries, given) = (&self.code.entries, self.prepared);
        if !given.is_empty() && given.len() != entries.len() {
            let (given, entries) = (given.len(), entries.len());
            return Err(wrong(format!(
                "prepared values of {given} entries were given, and there are {entries}"
            )));
        }
        for (manifest, values) in entries.iter().zip(given) {
            if let Some(bytes) = values.map(<[u8]>::len).filter(|bytes| *bytes != manifest.prepared_bytes) {
                let (name, asked) = (&manifest.entry, manifest.prepared_bytes);
                return Err(wrong(format!("`{name}` prepares {asked} bytes, and {bytes} were given")));
            }
        }
        Ok(())
    }
}

impl<'a> Placed<'a> {
    /// A section that is one piece.
    fn of(kind: Kind, alignment: usize, bytes: Cow<'a, [u8]>) -> Placed<'a> {
        let (end, alignment) = (bytes.len() as u64, alignment as u64);
        let section = Section { kind, alignment, offset: 0, bytes: end, checksum: crc32fast::hash(&bytes) };
        Placed { section, pieces: vec![(0, bytes)] }
    }

    /// A section of values.
    fn values(kind: Kind, values: Packed<'a>) -> Placed<'a> {
        let Packed { end, pieces } = values;
        let (mut crc, mut at) = (crc32fast::Hasher::new(), 0);
        for (begin, bytes) in &pieces {
            crc.update(&[0u8; ALIGNMENT][..begin - at]);
            crc.update(bytes);
            at = begin + bytes.len();
        }
        let (bytes, alignment) = (end as u64, ALIGNMENT as u64);
        let section = Section { kind, alignment, offset: 0, bytes, checksum: crc.finalize() };
        Placed { section, pieces }
    }
}

/// Gives each section its place; the bytes of the whole file.
fn place(placed: &mut [Placed<'_>]) -> Result<u64> {
    if placed.len() > MAX_SECTIONS {
        let (most, sections) = (MAX_SECTIONS, placed.len());
        return Err(wrong(format!("it would have {sections} sections, and has {most} at most")));
    }
    let mut end = (HEADER_BYTES + placed.len() * ROW_BYTES) as u64;
    let mut before: Option<Section> = None;
    for Placed { section, .. } in placed {
        let (kind, alignment) = (section.kind, section.alignment);
        if !kind.may_align(alignment) {
            return Err(wrong(format!("{} cannot be aligned to {alignment} bytes", kind.name())));
        }
        let offset = Section::start(before.as_ref(), end, alignment);
        let after = offset.and_then(|offset| offset.checked_add(section.bytes));
        let (Some(offset), Some(after)) = (offset, after) else {
            return Err(wrong("it is larger than any file can be"));
        };
        section.offset = offset;
        (before, end) = (Some(*section), after);
    }
    Ok(end)
}

/// How many bytes the file lacks for readers, which take no more memory for the manifest than the file has bytes: a model with
/// a large vocabulary and little else.
fn missing(placed: &[Placed<'_>], bytes: u64) -> Result<Option<usize>> {
    let Some((_, manifest)) = placed.first().and_then(|placed| placed.pieces.first()) else {
        return Ok(None);
    };
    let head = HEADER_BYTES + placed.len() * ROW_BYTES;
    let wanted = file_with_room(head, manifest.len(), Contents::memory(manifest)?);
    Ok(wanted.checked_sub(bytes).filter(|more| *more > 0).map(|more| more as usize))
}

/// Has the last piece of code end in zeros, so that the file has so many more bytes. What is behind begins with a page.
fn extend_code(placed: &mut [Placed<'_>], more: usize) {
    let Some(code) = placed.iter_mut().rfind(|placed| placed.section.kind == Kind::Code) else { return };
    for (_, bytes) in &mut code.pieces {
        let bytes = bytes.to_mut();
        bytes.resize(bytes.len() + more + code.section.alignment as usize, 0);
        code.section.bytes = bytes.len() as u64;
        code.section.checksum = crc32fast::hash(bytes);
    }
}

/// Writes header, table and sections, with zeros between them.
fn emit(out: &mut impl Write, head: &[u8], placed: &[Placed<'_>]) -> io::Result<()> {
    out.write_all(head)?;
    let mut at = head.len() as u64;
    for Placed { section, pieces } in placed {
        for (begin, bytes) in pieces {
            let begin = section.offset + *begin as u64;
            io::copy(&mut io::Read::take(io::repeat(0), begin - at), out)?;
            out.write_all(bytes)?;
            at = begin + bytes.len() as u64;
        }
    }
    Ok(())
}
