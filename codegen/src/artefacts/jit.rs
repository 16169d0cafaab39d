//! The JIT back end: an image in executable memory.

use std::fmt;
use std::sync::Arc;

use brolga_ir::program::Program;
use brolga_ir::program::verify::proven;
#[cfg(doc)]
use brolga_ir::program::verify::verify;
use brolga_runtime::{AlignedBytes, EntryFn, Executable};
use memmap2::{Mmap, MmapMut};
use wasmtime_internal_jit_icache_coherence::{clear_cache, pipeline_flush_mt};

use crate::error::Error;
use crate::image::{Image, Source};
use crate::target::{Options, Target};

/// A compiled program, and what its making says about it.
#[derive(Debug)]
pub struct Compiled {
    /// The code, ready to run.
    pub executable: Executable,
    /// Bytes of machine code, of the whole image.
    pub code_bytes: usize,
    /// Number of functions, of the whole image.
    pub functions: usize,
}

/// Machine code in memory that nobody can write to any more.
struct CodePages(Mmap);

impl CodePages {
    /// Copies code into pages of its own, then makes these executable instead of writable.
    fn new(bytes: &[u8]) -> Result<CodePages, Error> {
        let lack = |e: &dyn fmt::Display| {
            Error::new(format!("no {} bytes of memory for machine code: {e}", bytes.len()))
        };
        // A map of no bytes is an error.
        let mut pages = MmapMut::map_anon(bytes.len().max(1)).map_err(|e| lack(&e))?;
        pages[..bytes.len()].copy_from_slice(bytes);
        let refused =
            |e: &dyn fmt::Display| Error::new(format!("machine code cannot be made executable: {e}"));
        // SAFETY: the address and the length are those of the map.
        unsafe { clear_cache(pages.as_ptr().cast(), pages.len()) }.map_err(|e| refused(&e))?;
        let pages = pages.make_exec().map_err(|e| refused(&e))?;
        pipeline_flush_mt().map_err(|e| refused(&e))?;
        Ok(CodePages(pages))
    }
}

/// Compiles a program into memory.
///
/// # Errors
/// A target that is not this machine, memory that is not planned, a kernel that there is no code for.
///
/// # Safety
/// - [`verify`] accepts the program.
/// - No access of a kernel leaves its parameter, whatever inputs (inside the ranges that the program gives), state and
///   memory from earlier runs hold: the verifier has proven it ([`proven`]), or whoever made the program knows it, because
///   a guard or a clamp stands before the access.
/// - Points of a grid, and iterations of a strip, store different elements, and read none that another one stores.
///
/// Programs that `passes` have lowered from a verified graph are such. For others there is [`compile_checked`].
pub unsafe fn compile(program: &Program, options: &Options) -> Result<Compiled, Error> {
    let target = Target::new(options)?;
    target.check(options)?;
    // SAFETY: promised by the caller.
    only(unsafe { compile_for(&[Source::of(program)], &target)? })
}

/// Compiles programs into one image, in which kernels and constants that are equal are there once: the entries of a model,
/// say. As many executables, in their order.
///
/// # Errors
/// As for [`compile`].
///
/// # Safety
/// As for [`compile`], for each of them.
pub unsafe fn compile_all(programs: &[&Program], options: &Options) -> Result<Vec<Compiled>, Error> {
    let target = Target::new(options)?;
    target.check(options)?;
    let sources: Vec<Source<'_>> = programs.iter().map(|program| Source::of(program)).collect();
    // SAFETY: promised by the caller.
    unsafe { compile_for(&sources, &target) }
}

/// As [`compile`], but every kernel call of the schedule goes through the argument block's `parallel_for`, small ones
/// too, so that an embedder's sees (and can time) them all, in order. Its number of parts is a [`TracedCall`], which
/// says what call it is.
///
/// # Errors
/// As for [`compile`].
///
/// # Safety
/// As for [`compile`]. The executable must be run with [`Threads::from_raw`](brolga_runtime::Threads::from_raw) only, by a
/// `parallel_for` that takes the number of parts out of the [`TracedCall`]: any other one would call kernels for parts
/// that there are not. No kernel has 2^40 parts, and the schedule less than 2^22 calls.
///
/// [`TracedCall`]: crate::TracedCall
pub unsafe fn compile_traced(program: &Program, options: &Options) -> Result<Compiled, Error> {
    let target = Target { traced: true, ..Target::new(options)? };
    target.check(options)?;
    // SAFETY: promised by the caller.
    only(unsafe { compile_for(&[Source::of(program)], &target)? })
}

/// Compiles any program into memory: one that was read from a file, say. What breaks a rule is an error. Kernels whose
/// accesses are [`proven`] are compiled as [`compile`] does. In the others every access is checked, and iterations run one
/// after the other on one thread, as in the interpreter, whose bits they give; an access outside of its parameter is
/// refused, which the run reports as an error.
///
/// Threads share the points of a grid where the program says so: behind a call that is `parallel`. Passes write that into what they
/// lower; whoever writes a program by hand does it too.
///
/// # Errors
/// As for [`compile`], and the first rule of the verifier that does not hold.
pub fn compile_checked(program: &Program, options: &Options) -> Result<Compiled, Error> {
    let proven =
        proven(program).map_err(|e| Error::new(format!("`{}` is no valid program: {e}", program.name)))?;
    let target = Target::new(options)?;
    target.check(options)?;
    let source = Source { proven: Some(&proven), ..Source::of(program) };
    // SAFETY: the line above has verified the program. Kernels of which it has proven that accesses stay inside, and
    // that iterations are independent, are compiled as they are; the others (`portable::Checks`) test each index before
    // they use it, and have one thread.
    only(unsafe { compile_for(&[source], &target)? })
}

/// Compiles programs into memory for a target that this processor is.
///
/// # Safety
/// As for [`compile`]; of a source that says what is proven, the program need only be verified.
pub(crate) unsafe fn compile_for(sources: &[Source<'_>], target: &Target) -> Result<Vec<Compiled>, Error> {
    let image = Image::new(sources, sources.first().map_or("image", |first| first.symbol), target, false)?;
    let linked = image.link()?;
    let code = Arc::new(CodePages::new(&linked.bytes)?);
    let pointer = |position: usize| -> EntryFn {
        let address = &raw const code.0[linked.functions[position]];
        // SAFETY: an entry function has been linked there with this signature.
        unsafe { std::mem::transmute::<*const u8, EntryFn>(address) }
    };
    let code_bytes = image.functions.iter().map(|f| f.code.len()).sum();
    let functions = image.functions.len();
    let mut constants = AlignedBytes::zeroed(image.constants.len())?;
    constants.copy_from_slice(&image.constants);
    let constants = Arc::new(constants);
    let compiled = image.entries.into_iter().map(|entry| {
        let (function, prepare) = (pointer(entry.function), entry.prepare.map(pointer));
        let manifest = entry.placement.manifest;
        // SAFETY: the code lives in the pages that the last argument owns; it was made from a verified program, whose
        // accesses are inside its buffers, as the caller promises, and the manifest from the same program.
        let executable =
            unsafe { Executable::from_raw(function, prepare, constants.clone(), manifest, code.clone())? };
        Ok(Compiled { executable, code_bytes, functions })
    });
    compiled.collect()
}

/// What there is one of.
pub(crate) fn only<T>(one: Vec<T>) -> Result<T, Error> {
    one.into_iter().next().ok_or_else(|| Error::new("the image has no entry".to_owned()))
}
