//! Memory of tensors and of compiled code: aligned, and asked for with an answer to its lack.

use std::alloc::{Layout, alloc, dealloc};
use std::any::Any;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};

/// Alignment in bytes of all memory that the runtime allocates for compiled code: one cache line, and the
/// widest vector register.
pub const ALIGNMENT: usize = 64;

/// Memory that was asked for and not given.
pub(crate) fn no_memory(what: &str, bytes: usize) -> Error {
    let message = format!("there is no memory for {what}: {bytes} bytes were asked for");
    Error::new(ErrorKind::Memory, message)
}

/// Zeros, or an error where memory is short, which says what they were for.
pub(crate) fn zeros(len: usize, what: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| no_memory(what, len))?;
    bytes.resize(len, 0);
    Ok(bytes)
}

/// Bytes of a huge page on the processors that code is generated for. Buffers of at least one are aligned to it, and
/// backed by huge pages where the system has any: weights that are read once for each call otherwise wait for
/// address translation as well as for memory.
const HUGE_PAGE: usize = 2 << 20;

/// Memory aligned to [`ALIGNMENT`] bytes: of its own, zeroed when made; or a part of a map, that nobody else has.
pub struct AlignedBytes {
    pointer: NonNull<u8>,
    len: usize,
    /// Owns the memory, where it is a part of a map.
    map: Option<Arc<dyn Any + Send + Sync>>,
}

// SAFETY: the memory is owned by the value, or lives as long as it, and is only reachable through it.
unsafe impl Send for AlignedBytes {}
// SAFETY: shared references only read.
unsafe impl Sync for AlignedBytes {}

impl AlignedBytes {
    /// `len` zero bytes; an error where the system does not give them.
    pub fn zeroed(len: usize) -> Result<AlignedBytes> {
        AlignedBytes::try_zeroed(len).ok_or_else(|| no_memory("a buffer", len))
    }

    /// The same; nothing where the system does not give the memory.
    pub(crate) fn try_zeroed(len: usize) -> Option<AlignedBytes> {
        if len == 0 {
            // A dangling pointer that is still aligned: compiled code may form it, and never reads through it.
            let pointer = NonNull::without_provenance(const { std::num::NonZero::new(ALIGNMENT).unwrap() });
            return Some(AlignedBytes { pointer, len, map: None });
        }
        let layout = Self::layout(len)?;
        // SAFETY: the layout has a size above zero.
        let pointer = unsafe { alloc(layout) };
        let pointer = NonNull::new(pointer)?;
        // The advice counts for pages that are touched after it, so it comes before the zeros.
        #[cfg(target_os = "linux")]
        if len >= HUGE_PAGE {
            // Where the system refuses, small pages do.
            // SAFETY: the range was just allocated, starts at a page, and the advice does not change its contents.
            let _ = unsafe { libc::madvise(pointer.as_ptr().cast(), len, libc::MADV_HUGEPAGE) };
        }
        // SAFETY: `len` bytes were just allocated.
        unsafe { pointer.write_bytes(0, len) };
        Some(AlignedBytes { pointer, len, map: None })
    }

    /// A part of a map, which is kept as long as the value lives.
    ///
    /// # Safety
    /// As long as `map` lives, the `len` bytes from `pointer` on can be read and written, are initialised, and nobody else reads
    /// or writes them. `pointer` is aligned to [`ALIGNMENT`].
    pub(crate) unsafe fn in_map(
        pointer: NonNull<u8>,
        len: usize,
        map: Arc<dyn Any + Send + Sync>,
    ) -> AlignedBytes {
        debug_assert!(pointer.addr().get().is_multiple_of(ALIGNMENT), "compiled code relies on it");
        AlignedBytes { pointer, len, map: Some(map) }
    }

    fn layout(len: usize) -> Option<Layout> {
        Layout::from_size_align(len, if len >= HUGE_PAGE { HUGE_PAGE } else { ALIGNMENT }).ok()
    }

    /// A copy of these bytes.
    ///
    /// # Errors
    /// Too little memory.
    pub fn copy_of(bytes: &[u8]) -> Result<AlignedBytes> {
        let mut copy = AlignedBytes::zeroed(bytes.len())?;
        copy.copy_from_slice(bytes);
        Ok(copy)
    }

    /// The address as compiled code gets it. Writing through it needs exclusive access to the value.
    pub(crate) fn base(&self) -> *mut u8 {
        self.pointer.as_ptr()
    }
}

impl Drop for AlignedBytes {
    fn drop(&mut self) {
        if let Some(layout) = Self::layout(self.len).filter(|l| l.size() > 0 && self.map.is_none()) {
            // SAFETY: allocated in `zeroed` with this layout.
            unsafe { dealloc(self.pointer.as_ptr(), layout) }
        }
    }
}

impl Deref for AlignedBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: `len` initialised bytes that live as long as the value.
        unsafe { std::slice::from_raw_parts(self.pointer.as_ptr(), self.len) }
    }
}

impl DerefMut for AlignedBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `deref`, and `&mut self` is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.as_ptr(), self.len) }
    }
}

impl fmt::Debug for AlignedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AlignedBytes({})", self.len)
    }
}
