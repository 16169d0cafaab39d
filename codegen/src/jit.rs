//! The JIT back end: an image in executable memory.

use std::sync::{Arc, Mutex};

use brolga_ir::program::Program;
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

/// Compiles a program into memory. The program must be one that `brolga_ir`'s verifier accepts, with its memory
/// planned.
pub fn compile(program: &Program, options: &Options) -> std::result::Result<Compiled, Error> {
    jit(program, options, Target::new(options, false)?)
}

/// As [`compile`], but every kernel call of the schedule goes through the argument block's `parallel_for`, small ones
/// too, so that an embedder's sees (and can time) them all, in order. Its number of parts is a [`TracedCall`], which
/// says what call it is.
///
/// [`TracedCall`]: crate::TracedCall
pub fn compile_traced(program: &Program, options: &Options) -> std::result::Result<Compiled, Error> {
    jit(program, options, Target { traced: true, ..Target::new(options, false)? })
}

fn jit(program: &Program, options: &Options, target: Target) -> std::result::Result<Compiled, Error> {
    target.check(options)?;
    compile_for(program, &target)
}

/// Compiles a program into memory for a target that this processor is.
pub(crate) fn compile_for(program: &Program, target: &Target) -> std::result::Result<Compiled, Error> {
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
    // accesses are inside its buffers, and the manifest from the same program.
    let executable = unsafe { Executable::from_raw(entry, prepare, constants, manifest, keep_alive)? };
    Ok(Compiled { executable, code_bytes, functions: functions.len() })
}
