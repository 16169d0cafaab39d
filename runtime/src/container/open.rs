//! Opening a container: it is mapped, or lies in memory already; it is checked as a whole, and then used where it lies.

use std::any::Any;
use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;

use memmap2::{MmapOptions, MmapRaw};

use super::contents::{Contents, Functions, StoredSlot, wrong};
use super::format::{Kind, Section};
use super::read::{Check, Container, within};
use crate::error::{Error, ErrorKind, Result};
use crate::paths::regular::open_regular;
use crate::run::block::EntryFn;
use crate::run::executable::Executable;
use crate::run::manifest::Manifest;
use crate::run::state::State;
use crate::tensors::dtype::byte_len;
use crate::tensors::memory::AlignedBytes;
use crate::tensors::tensor::Tensor;

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
    unsafe { Opened::map(&file, bytes, check) }.and_then(Opened::load).map_err(|e| within(e, path))
}

/// Opens a container that lies in memory already, for good: an executable with one in segments of its own finds it mapped by the
/// system. Nothing is mapped, and nothing copied: code, constants, weights and prepared values are used where they lie.
///
/// # Errors
/// Those of [`Container::of_bytes`]; code for other processors only; memory that begins where the alignment of the code does not
/// let it; on Linux, the end of `file` behind that of the mapped file, as it is where a program was cut short. Nothing of the
/// file has run then.
///
/// # Safety
/// - The code keeps to what [`Executable::from_raw`] asks for, as for [`open`].
/// - Until the process ends, all of `file` that the mapped file has can be read, the sections of code can be executed, and nobody
///   changes it.
/// - What follows the last section of code (it begins with a page) can be written, too, by whoever changes the state, which is there:
///   it is mapped privately. It is given away once: the same memory is not opened twice.
/// - What `check` leaves out is as it was written.
pub unsafe fn open_in_place(file: NonNull<[u8]>, check: Check) -> Result<Loaded> {
    // SAFETY: promised by the caller.
    unsafe { Opened::in_place(file, check) }
        .and_then(Opened::load)
        .map_err(|e| e.within("the compiled model of this program"))
}

/// A container in memory that is checked.
struct Opened {
    container: Container,
    /// The whole file, to be read; and from behind the code on, to be written.
    file: Memory,
    /// The piece of code that runs here.
    piece: usize,
    /// It, to be executed.
    code: Memory,
}

/// Bytes that somebody owns.
struct Memory {
    begin: NonNull<u8>,
    len: usize,
    owner: Arc<dyn Any + Send + Sync>,
}

impl Opened {
    /// # Safety
    /// As for [`open_with`].
    unsafe fn map(file: &File, bytes: u64, check: Check) -> Result<Opened> {
        // SAFETY: promised by the caller.
        let memory = unsafe { map_data(file, bytes, check) }?;
        // SAFETY: nobody has a part of the map yet.
        let container = Container::checked(unsafe { memory.bytes() }, check)?;
        let piece = container.contents().best_piece()?;
        // SAFETY: promised by the caller.
        let code = unsafe { map_code(file, section_of(&container, piece)?) }?;
        Ok(Opened { container, file: memory, piece, code })
    }

    /// # Safety
    /// As for [`open_in_place`].
    unsafe fn in_place(file: NonNull<[u8]>, check: Check) -> Result<Opened> {
        let memory = Memory { begin: file.cast(), len: file.len(), owner: Arc::new(()) };
        if !memory.is_there() {
            return Err(wrong("it was cut short: what it says to hold lies behind the end of the file"));
        }
        // SAFETY: promised by the caller.
        let container = Container::checked(unsafe { memory.bytes() }, check)?;
        let piece = container.contents().best_piece()?;
        let section = section_of(&container, piece)?;
        let begin = memory.at(section.offset as usize);
        if !(begin.addr().get() as u64).is_multiple_of(section.alignment) {
            let alignment = section.alignment;
            return Err(wrong(format!(
                "it lies in memory where its code is not aligned to {alignment} bytes"
            )));
        }
        let code = Memory { begin, len: section.bytes as usize, owner: memory.owner.clone() };
        Ok(Opened { container, file: memory, piece, code })
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
            let address = self.code.at(at).as_ptr();
            // SAFETY: the caller of `open` promises that a function with this signature was linked there.
            unsafe { std::mem::transmute::<*mut u8, EntryFn>(address) }
        };
        let (entry, prepare) = (function(entry), prepare.map(function));
        let owner = self.code.owner.clone();
        // SAFETY: the code lives as long as its owner; that it keeps to the manifest, the caller of `open` promises.
        unsafe { Executable::from_raw(entry, prepare, constants.clone(), manifest, owner) }
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
        let begin = self.file.at(section.offset as usize + range.start);
        // SAFETY: sections lie inside of the file, and the range inside of the section; both begin at multiples of the
        // alignment. All that is behind the code is private and can be written, and nobody else has this part.
        Ok(unsafe { AlignedBytes::in_map(begin, range.len(), self.file.owner.clone()) })
    }
}

impl Memory {
    /// # Safety
    /// They can be read, and nobody writes any of them as long as the slice is used.
    unsafe fn bytes(&self) -> &[u8] {
        // SAFETY: promised by the caller.
        unsafe { std::slice::from_raw_parts(self.begin.as_ptr(), self.len) }
    }

    /// Whether the last one can be read. Of a program that was cut short what lies behind the end of the file is mapped too, and to
    /// read it ends the process; where the system is told to read it, it answers.
    #[cfg(target_os = "linux")]
    fn is_there(&self) -> bool {
        let mut pipe = [0; 2];
        // SAFETY: it has room for the two ends.
        if self.len == 0 || unsafe { libc::pipe2(pipe.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
            return true;
        }
        // SAFETY: the system reads one byte, which is mapped; that it may not be there is the question.
        let written = unsafe { libc::write(pipe[1], self.at(self.len - 1).as_ptr().cast(), 1) };
        let error = std::io::Error::last_os_error().raw_os_error();
        for end in pipe {
            // SAFETY: it is open, and nobody else has it.
            unsafe { libc::close(end) };
        }
        written == 1 || error != Some(libc::EFAULT)
    }

    #[cfg(not(target_os = "linux"))]
    fn is_there(&self) -> bool {
        true
    }

    /// The address of one of them.
    fn at(&self, at: usize) -> NonNull<u8> {
        assert!(at < self.len, "inside of the memory");
        // SAFETY: the line above.
        unsafe { self.begin.add(at) }
    }
}

/// The section of a piece of code.
fn section_of(container: &Container, piece: usize) -> Result<&Section> {
    container.code().nth(piece).ok_or_else(|| wrong("it has no code for its piece"))
}

/// Maps a file privately, to be read and written.
///
/// # Safety
/// Nobody changes the file or makes it shorter as long as the memory lives.
unsafe fn map_data(file: &File, bytes: u64, check: Check) -> Result<Memory> {
    let len = usize::try_from(bytes).map_err(|_| wrong("it is larger than memory can be"))?;
    // SAFETY: promised by the caller.
    let map = unsafe { MmapOptions::new().len(len).map_copy(file) };
    let map = MmapRaw::from(map.map_err(|e| refused("mapped", &e))?);
    if check == Check::All {
        expect(&map);
    }
    let begin = NonNull::new(map.as_mut_ptr()).ok_or_else(|| wrong("it is mapped to address 0"))?;
    Ok(Memory { begin, len, owner: Arc::new(map) })
}

/// Tells the system that all of a map is about to be read: one call costs less than a fault for every few pages.
#[cfg_attr(not(target_os = "linux"), allow(unused_variables))]
fn expect(map: &MmapRaw) {
    // Where the system refuses, there are faults.
    #[cfg(target_os = "linux")]
    let _ = map.advise(memmap2::Advice::PopulateRead);
}

/// Maps a section of code to be read and executed. What is compared with the checksum is the map that runs; while it could be
/// written it could not be executed.
///
/// # Safety
/// As for [`open`].
unsafe fn map_code(file: &File, section: &Section) -> Result<Memory> {
    let mut options = MmapOptions::new();
    options.offset(section.offset).len(section.bytes as usize);
    // SAFETY: promised by the caller.
    let map = unsafe { options.map_copy(file) }.map_err(|e| refused("mapped", &e))?;
    if crc32fast::hash(&map) != section.checksum {
        return Err(wrong("its code changes while it is read"));
    }
    let map = map.make_exec().map_err(|e| {
        refused("executed", &e)
            .and("a file system that is mounted `noexec` forbids it: copy it to another one")
    })?;
    let begin = NonNull::new(map.as_ptr().cast_mut()).ok_or_else(|| wrong("it is mapped to address 0"))?;
    Ok(Memory { begin, len: map.len(), owner: Arc::new(map) })
}

fn refused(what: &str, error: &std::io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("the system does not let it be {what}: {error}"))
}
