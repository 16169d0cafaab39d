//! Where the container lies that this program carries.
//!
//! Whoever puts a container into the program (`../src/elf.rs`) has it mapped behind everything else, writes into [`LOCATOR`] where
//! that is, and takes the places of the notes in the table of segments.

use std::ptr::NonNull;

/// See `MAGIC` in `../src/elf.rs`, which looks for it.
#[repr(C)]
struct Locator {
    magic: [u8; 16],
    /// From here to the container, in bytes.
    distance: isize,
    /// Of the container: 0 where there is none.
    bytes: usize,
}

#[used]
static LOCATOR: Locator = Locator { magic: *b"brolga locator:\0", distance: 0, bytes: 0 };

/// A note without content: sizes of name and content, kind, name. Linkers make a segment for notes of each alignment.
#[repr(C)]
struct Note {
    sizes: [u32; 3],
    name: [u8; 12],
}

impl Note {
    const EMPTY: Note = Note { sizes: [12, 0, 1], name: *b"brolga room\0" };
}

#[repr(C, align(8))]
struct Aligned8(Note);
#[repr(C, align(16))]
struct Aligned16(Note);
#[repr(C, align(32))]
struct Aligned32(Note);

/// Notes that give their places in the table of segments up for the three parts of a container.
#[used]
#[unsafe(link_section = ".note.brolga.8")]
static ROOM_8: Aligned8 = Aligned8(Note::EMPTY);
#[used]
#[unsafe(link_section = ".note.brolga.16")]
static ROOM_16: Aligned16 = Aligned16(Note::EMPTY);
#[used]
#[unsafe(link_section = ".note.brolga.32")]
static ROOM_32: Aligned32 = Aligned32(Note::EMPTY);

/// The container; nothing in a launcher that has none yet.
pub fn container() -> Option<NonNull<[u8]>> {
    let locator = &raw const LOCATOR;
    // Written when the program was linked already, so the compiler must not know what stands here.
    // SAFETY: the locator is a static.
    let (distance, bytes) = unsafe {
        ((&raw const (*locator).distance).read_volatile(), (&raw const (*locator).bytes).read_volatile())
    };
    if bytes == 0 {
        return None;
    }
    let begin = locator.expose_provenance().wrapping_add_signed(distance);
    let begin = NonNull::new(std::ptr::with_exposed_provenance_mut(begin))?;
    Some(NonNull::slice_from_raw_parts(begin, bytes))
}
