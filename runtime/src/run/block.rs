//! The argument block: the only thing that compiled code receives, and so the whole binary interface.
//!
//! Compiled code bakes in no address. An entry function gets one pointer to an [`ArgumentBlock`]; kernels get
//! the same pointer, the row of the entry's static call table that describes the call, the index of the part they
//! are to compute, and the number of the worker that computes it, by which they find local memory.

use std::ffi::c_void;

/// What compiled code is called with. Laid out for C; the offsets of the fields are part of the interface.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ArgumentBlock {
    /// Table of base pointers: arena, prepared, constants, the local memory of all workers one behind the other, then
    /// the state slots, the inputs and the outputs, each in the manifest's order. All are aligned to
    /// [`ALIGNMENT`](crate::ALIGNMENT) bytes, except the inputs, which may have any alignment.
    pub bases: *const *mut u8,
    /// Runs a kernel for every part, on any threads in any order, and returns when all are done.
    pub parallel_for: ParallelForFn,
    /// First argument of `parallel_for`; meaningless to compiled code.
    pub pool: *mut c_void,
}

/// One kernel: computes part `part` of the call described by `row`, words that only the kernel understands, with the
/// local memory of worker `worker`.
pub type KernelFn =
    unsafe extern "C" fn(block: *const ArgumentBlock, row: *const u64, part: u64, worker: u64);

/// One entry point, or its prepare function: runs all its kernels in order.
pub type EntryFn = unsafe extern "C" fn(block: *const ArgumentBlock);

/// Calls `kernel(block, row, p, w)` for every `p` in `0..parts`, each once, and returns when all have returned. `w`
/// is a number below that of the threads ([`Threads::count`](crate::Threads::count)), and what runs at the same time
/// gets different ones. Kernels of one call may assume nothing about running together, and must not call it again
/// themselves.
pub type ParallelForFn = unsafe extern "C" fn(
    pool: *mut c_void,
    kernel: KernelFn,
    block: *const ArgumentBlock,
    row: *const u64,
    parts: u64,
);

/// Position of the arena in [`ArgumentBlock::bases`].
pub const BASE_ARENA: usize = 0;
/// Position of the prepared values in [`ArgumentBlock::bases`].
pub const BASE_PREPARED: usize = 1;
/// Position of the constants in [`ArgumentBlock::bases`].
pub const BASE_CONSTANTS: usize = 2;
/// Position of the local memory in [`ArgumentBlock::bases`]: for each worker the bytes that the manifest says.
pub const BASE_LOCAL: usize = 3;
/// Position of the first state slot in [`ArgumentBlock::bases`]; inputs and outputs follow the state.
pub const BASE_STATE: usize = 4;

/// A [`ParallelForFn`] that runs the parts one after the other on the calling thread, which is worker 0. `pool` is
/// not used.
///
/// # Safety
/// `kernel` must be sound to call with `block`, `row`, every part below `parts`, and worker 0.
pub unsafe extern "C" fn serial_for(
    _pool: *mut c_void,
    kernel: KernelFn,
    block: *const ArgumentBlock,
    row: *const u64,
    parts: u64,
) {
    for part in 0..parts {
        // SAFETY: the caller promises exactly this call for every part.
        unsafe { kernel(block, row, part, 0) }
    }
}
