//! The JIT back end: an image in executable memory.

use std::sync::{Arc, Mutex};

use brolga_ir::program::Program;
use brolga_ir::program::verify::proven;
#[cfg(doc)]
use brolga_ir::program::verify::verify;
use brolga_runtime::{EntryFn, Executable};
use cranelift_jit::{ArenaMemoryProvider, JITBuilder, JITModule};

use crate::error::Error;
use crate::image::Image;
use crate::target::{Options, Target};

/// A compiled program, and what its making says about it.
#[derive(Debug)]
pub struct Compiled {
    /// The code, ready to run.
    pub executable: Executable,
    /// Bytes of machine code.
    pub code_bytes: usize,
    /// Number of functions.
    pub functions: usize,
}

/// Owns the memory of the code. The lock is never taken: it makes the module shareable between threads.
struct Code(Mutex<Option<JITModule>>);

impl Drop for Code {
    fn drop(&mut self) {
        let module = self.0.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        if let Some(module) = module {
            // SAFETY: the executable that held this value is gone, and with it the last way to call the code.
            unsafe { module.free_memory() }
        }
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
    let target = Target::new(options, false)?;
    target.check(options)?;
    // SAFETY: promised by the caller.
    unsafe { compile_for(program, &target) }
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
    let target = Target { traced: true, ..Target::new(options, false)? };
    target.check(options)?;
    // SAFETY: promised by the caller.
    unsafe { compile_for(program, &target) }
}

/// Compiles any program into memory: one that was read from a file, say. What breaks a rule is an error. Kernels whose
/// accesses are [`proven`] are compiled as [`compile`] does. In the others every access is checked, and iterations run one
/// after the other on one thread, as in the interpreter, whose bits they give; an access outside of its parameter is
/// refused, which the run reports as an error.
///
/// # Errors
/// As for [`compile`], and the first rule of the verifier that does not hold.
pub fn compile_checked(program: &Program, options: &Options) -> Result<Compiled, Error> {
    let proven =
        proven(program).map_err(|e| Error::new(format!("`{}` is no valid program: {e}", program.name)))?;
    let target = Target { proven: Some(proven), ..Target::new(options, false)? };
    target.check(options)?;
    // SAFETY: the line above has verified the program. Kernels of which it has proven that accesses stay inside, and
    // that iterations are independent, are compiled as they are; the others (`portable::Checks`) test each index before
    // they use it, and have one thread.
    unsafe { compile_for(program, &target) }
}

/// Compiles a program into memory for a target that this processor is.
///
/// # Safety
/// As for [`compile`]; of kernels that the target says are not proven the program need only be verified.
pub(crate) unsafe fn compile_for(program: &Program, target: &Target) -> Result<Compiled, Error> {
    let image = Image::new(program, &program.name, target, false)?;
    let mut builder = JITBuilder::with_isa(target.isa.clone(), cranelift_module::default_libcall_names());
    // One region for everything keeps relative calls in reach; code, tables and rounding to pages.
    let reserve = image.bytes() + (1 << 20);
    let memory = ArenaMemoryProvider::new_with_size(reserve)
        .map_err(|e| Error::new(format!("no {reserve} bytes of memory for machine code: {e}")))?;
    builder.memory_provider(Box::new(memory));
    let mut module = JITModule::new(builder);
    let functions = image.emit(&mut module)?;
    module.finalize_definitions()?;
    let pointer = |position: usize| -> EntryFn {
        let address = module.get_finalized_function(functions[position]);
        // SAFETY: an entry function has been defined there with this signature.
        unsafe { std::mem::transmute::<*const u8, EntryFn>(address) }
    };
    let (entry, prepare) = (pointer(image.entry), image.prepare.map(pointer));
    let code_bytes = image.functions.iter().map(|f| f.code.len()).sum();
    let constants = image.layout.constants()?;
    let manifest = image.layout.manifest.clone();
    let keep_alive = Arc::new(Code(Mutex::new(Some(module))));
    // SAFETY: the code lives in the module that `keep_alive` owns; it was made from a verified program, whose
    // accesses are inside its buffers, as the caller promises, and the manifest from the same program.
    let executable = unsafe { Executable::from_raw(entry, prepare, constants, manifest, keep_alive)? };
    Ok(Compiled { executable, code_bytes, functions: functions.len() })
}
