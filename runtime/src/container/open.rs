//! Opening a container: it is mapped, checked as a whole, and then used where it lies.

use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;

use memmap2::{Mmap, MmapOptions, MmapRaw};

use super::contents::{Contents, Functions, StoredSlot, wrong};
use super::format::{Kind, Section};
use super::read::{Check, Container, within};
use crate::block::EntryFn;
use crate::error::{Error, ErrorKind, Result};
use crate::executable::Executable;
use crate::manifest::Manifest;
use crate::regular::open_regular;
use crate::state::State;
use crate::tensor::{AlignedBytes, Tensor, byte_len};

/// A container that is ready to run. Its parts keep what they need of the file mapped, also without it.
#[derive(Debug)]
pub struct Loaded {
    /// What the file holds.
    pub contents: Contents,
    /// The position of the piece of code that runs here.
    pub piece: usize,
    /// The entries, in the order of [`Contents::entries`]. They share code, constants and the file.
    pub executables: Vec<Arc<Executable>>,
    /// The state, with the values that the file has, in the map; what is changed is copied first, page by page, and the file
    /// stays as it is. Slots without a value are zeros. An instance that is bound to it, or to a clone of it, has the prepared
    /// values of the file, as long as its weights stay as they are.
    pub state: State,
}

/// Opens a container: maps it, checks every byte of it, and takes the first piece of code that runs on this processor.
///
/// Nothing is copied: code, constants, weights and prepared values are used where they lie in the map, which is private. Pages
/// of code can be read and executed, never written.
///
/// # Errors
/// Those of [`Container::read`]; code for other processors only; a system that does not let the file be mapped or executed.
/// Nothing of the file has run then.
///
/// # Safety
/// - The code in the file keeps to what [`Executable::from_raw`] asks for: it was written by [`Parts::write`] from code that
///   does, by somebody who is trusted, and has not been changed on purpose. Checksums show damage, not malice.
/// - As long as anything of what is returned lives, nobody changes the file or makes it shorter. To replace it, a new file is
///   renamed to its name.
///
/// [`Parts::write`]: super::Parts::write
pub unsafe fn open(path: impl AsRef<Path>) -> Result<Loaded> {
    // SAFETY: promised by the caller.
    unsafe { open_with(path, Check::All) }
}

/// [`open`], with as much of the file compared with its checksums: with [`Check::Code`], weights and prepared values are not
/// read before they are used.
///
/// # Errors
/// Those of [`open`].
///
/// # Safety
/// As for [`open`]; and what is not compared is as it was written.
pub unsafe fn open_with(path: impl AsRef<Path>, check: Check) -> Result<Loaded> {
    let path = path.as_ref();
    let (file, bytes) = open_regular(path).map_err(|e| Error::io("read", path, e))?;
    // SAFETY: promised by the caller.
    unsafe { Opened::new(&file, bytes, check) }.and_then(Opened::load).map_err(|e| within(e, path))
}

/// A file that is mapped and checked.
struct Opened {
    container: Container,
    /// The whole file, to be read and written, but not executed.
    data: Arc<Data>,
    /// The code that runs here.
    piece: usize,
    code: Arc<Mmap>,
}

impl Opened {
    /// # Safety
    /// As for [`open_with`].
    unsafe fn new(file: &File, bytes: u64, check: Check) -> Result<Opened> {
        // SAFETY: promised by the caller.
        let data = unsafe { Data::map(file, bytes) }?;
        if check == Check::All {
            data.expect();
        }
        let container = Container::checked(data.bytes(), check)?;
        let piece = container.contents().best_piece()?;
        // There are as many sections of code as pieces.
        let section = container.code().nth(piece).ok_or_else(|| wrong("it has no code for its piece"))?;
        // SAFETY: promised by the caller.
        let code = unsafe { map_code(file, section) }?;
        Ok(Opened { container, data: Arc::new(data), piece, code: Arc::new(code) })
    }

    /// Makes state and executables of it.
    fn load(self) -> Result<Loaded> {
        let contents = self.container.contents();
        let constants = Arc::new(self.part(Kind::Constants, 0..self.bytes(Kind::Constants))?);
        let mut state = State::new();
        state.set_record(contents.record.clone());
        for slot in &contents.state {
            state.insert(slot.name.as_str(), slot.kind, self.value(slot)?)?;
        }
        let mut executables = Vec::with_capacity(contents.entries.len());
        for (at, manifest) in contents.entries.iter().enumerate() {
            let executable = self.executable(at, manifest, &constants)?;
            executables.push(Arc::new(self.prepared(executable, at, &state)?));
        }
        let piece = self.piece;
        Ok(Loaded { contents: self.container.into_contents(), piece, executables, state })
    }

    /// The value that a slot begins with.
    fn value(&self, slot: &StoredSlot) -> Result<Tensor> {
        let Some(at) = slot.at else { return Tensor::zeros(slot.dtype, &slot.dims) };
        let end = at + byte_len(slot.dtype, &slot.dims)?;
        Tensor::of_memory(slot.dtype, &slot.dims, self.part(Kind::Weights, at..end)?)
            .map_err(|e| e.within(format!("the value of `{}`", slot.name)))
    }

    /// An entry.
    fn executable(
        &self,
        at: usize,
        manifest: &Manifest,
        constants: &Arc<AlignedBytes>,
    ) -> Result<Executable> {
        let piece = &self.container.contents().code[self.piece];
        let Functions { entry, prepare } = piece.functions[at];
        let manifest = Manifest { cpu_features: piece.processor.features.clone(), ..manifest.clone() };
        let function = |at: usize| -> EntryFn {
            let address = &raw const self.code[at];
            // SAFETY: the caller of `open` promises that a function with this signature was linked there.
            unsafe { std::mem::transmute::<*const u8, EntryFn>(address) }
        };
        let (entry, prepare) = (function(entry), prepare.map(function));
        // SAFETY: the code lives in the map that the last argument owns; that it keeps to the manifest, the caller of `open`
        // promises.
        unsafe { Executable::from_raw(entry, prepare, constants.clone(), manifest, self.code.clone()) }
    }

    /// The entry with its prepared values, if they were kept: they belong to this state.
    fn prepared(&self, executable: Executable, at: usize, state: &State) -> Result<Executable> {
        let contents = self.container.contents();
        let Some(begin) = contents.prepared[at] else { return Ok(executable) };
        let manifest = &contents.entries[at];
        let values = self.part(Kind::Prepared, begin..begin + manifest.prepared_bytes)?;
        let slots = manifest.state.iter().filter_map(|slot| state.position(&slot.name));
        Ok(executable.with_prepared(state.version_of(slots), Arc::new(values)))
    }

    /// The bytes of a section; 0 if it is not there.
    fn bytes(&self, kind: Kind) -> usize {
        self.container.section(kind).map_or(0, |section| section.bytes as usize)
    }

    /// A part of a section, where it lies. No two parts that are asked for have a byte in common: parts of a section follow
    /// each other, as sections do.
    fn part(&self, kind: Kind, range: Range<usize>) -> Result<AlignedBytes> {
        let Some(section) = self.container.section(kind).filter(|_| !range.is_empty()) else {
            return AlignedBytes::zeroed(0);
        };
        assert!(range.end as u64 <= section.bytes, "the manifest was checked against the sections");
        let begin = self.data.begin(section.offset as usize + range.start);
        // SAFETY: sections lie inside of the file, which the map has as a whole, and the range inside of the section; both
        // begin at multiples of the alignment. The map is private and writable, and nobody else has this part.
        Ok(unsafe { AlignedBytes::in_map(begin, range.len(), self.data.clone()) })
    }
}

/// A map of a file, private, to be read and written.
struct Data(MmapRaw);

impl Data {
    /// # Safety
    /// Nobody changes the file or makes it shorter as long as the value lives.
    unsafe fn map(file: &File, bytes: u64) -> Result<Data> {
        let len = usize::try_from(bytes).map_err(|_| wrong("it is larger than memory can be"))?;
        // SAFETY: promised by the caller.
        let map = unsafe { MmapOptions::new().len(len).map_copy(file) };
        Ok(Data(MmapRaw::from(map.map_err(|e| refused("mapped", &e))?)))
    }

    /// Tells the system that all of it is about to be read: one call costs less than a fault for every few pages.
    fn expect(&self) {
        // Where the system refuses, there are faults.
        #[cfg(target_os = "linux")]
        let _ = self.0.advise(memmap2::Advice::PopulateRead);
    }

    /// The file.
    fn bytes(&self) -> &[u8] {
        // SAFETY: the map has so many bytes, which nobody changes: parts of it are given away when this borrow has ended.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr(), self.0.len()) }
    }

    /// The address of a byte of the file.
    fn begin(&self, at: usize) -> NonNull<u8> {
        assert!(at < self.0.len(), "inside of the file");
        // SAFETY: the line above.
        let address = unsafe { self.0.as_mut_ptr().add(at) };
        NonNull::new(address).expect("a map begins behind address 0")
    }
}

/// Maps a section of code to be read and executed. What is compared with the checksum is the map that runs; while it could be
/// written it could not be executed.
///
/// # Safety
/// As for [`open`].
unsafe fn map_code(file: &File, section: &Section) -> Result<Mmap> {
    let mut options = MmapOptions::new();
    options.offset(section.offset).len(section.bytes as usize);
    // SAFETY: promised by the caller.
    let map = unsafe { options.map_copy(file) }.map_err(|e| refused("mapped", &e))?;
    if crc32fast::hash(&map) != section.checksum {
        return Err(wrong("its code changes while it is read"));
    }
    map.make_exec().map_err(|e| {
        refused("executed", &e)
            .and("a file system that is mounted `noexec` forbids it: copy it to another one")
    })
}

fn refused(what: &str, error: &std::io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("the system does not let it be {what}: {error}"))
}
