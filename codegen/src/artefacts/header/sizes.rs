//! How many bytes of memory a model is given, and what they are divided into.

use brolga_runtime::{ALIGNMENT, byte_len};

use super::page::{About, AboutEntry, Page};
use crate::error::{Error, Result};

/// Bytes of the memory that a model is given, all multiples of the alignment.
pub(super) struct Sizes {
    /// Where the prepared values of each entry begin among those of all, and the bytes of all.
    pub prepared: Vec<usize>,
    /// Of the outputs of an entry.
    outputs: usize,
    arena: usize,
    /// Of each worker.
    local: usize,
    /// All of it for one worker, at any place.
    scratch: usize,
}

impl Sizes {
    pub fn of(about: &About<'_>) -> Result<Sizes> {
        let too_many = || Error::new(format!("`{}` needs more bytes than there are addresses", about.symbol));
        let aligned = |bytes: usize| bytes.checked_next_multiple_of(ALIGNMENT).ok_or_else(too_many);
        let sum = |a: usize, b: usize| a.checked_add(b).ok_or_else(too_many);
        let (mut prepared, mut outputs, mut arena, mut local) = (vec![0], 0, 0, 0);
        for AboutEntry { manifest, .. } in &about.entries {
            let mut own = 0;
            for output in &manifest.outputs {
                own = sum(own, aligned(byte_len(output.dtype, &output.dims)?)?)?;
            }
            outputs = outputs.max(own);
            arena = arena.max(aligned(manifest.arena_bytes)?);
            local = local.max(manifest.local_bytes);
            prepared.push(sum(prepared[prepared.len() - 1], aligned(manifest.prepared_bytes)?)?);
        }
        let parts = [prepared[prepared.len() - 1], outputs, arena, local];
        let scratch = parts.into_iter().try_fold(ALIGNMENT, sum)?;
        Ok(Sizes { prepared, outputs, arena, local, scratch })
    }

    pub fn write(&self, page: &mut Page, about: &About<'_>) {
        let upper = &about.upper();
        page.define(upper, "NUMERICS", about.entries[0].manifest.numerics as usize);
        page.line(format_args!("\n/* Bytes of memory that the caller gives. It may begin anywhere. */"));
        if about.has_state() {
            // The room is for the alignment.
            page.define(upper, "STATE_BYTES", about.block.bytes + ALIGNMENT);
            page.define(upper, "FILE_BYTES", about.block.file_bytes);
            page.line(format_args!("#define {upper}_STATE_KEY UINT64_C({:#x})", about.block.key()));
        }
        page.define(upper, "SCRATCH_BYTES", self.scratch);
        page.line(format_args!(
            "/* Scratch where several threads compute, and of a model that shares the prepared values of another. */"
        ));
        page.line(format_args!(
            "#define {upper}_SCRATCH_BYTES_FOR(threads) \\\n    ({upper}_SCRATCH_BYTES + ((size_t)(threads)-1) * \
             {upper}_LOCAL_BYTES)"
        ));
        page.line(format_args!(
            "#define {upper}_SHARED_BYTES ({upper}_SCRATCH_BYTES - {upper}_PREPARED_BYTES)\n\
             #define {upper}_SHARED_BYTES_FOR(threads) \\\n    ({upper}_SCRATCH_BYTES_FOR(threads) - \
             {upper}_PREPARED_BYTES)"
        ));
        page.line(format_args!(
            "/* What scratch memory is divided into. Local memory is for each thread. */"
        ));
        page.define(upper, "PREPARED_BYTES", self.prepared[about.entries.len()]);
        page.define(upper, "OUTPUTS_BYTES", self.outputs);
        page.define(upper, "ARENA_BYTES", self.arena);
        page.define(upper, "LOCAL_BYTES", self.local);
    }
}
