//! Runs compiled programs: arena, threads, state, checkpoints, training loop; no compiler inside.
//!
//! The way through: compiled code arrives as an [`Executable`] (an entry function, constants and a [`Manifest`]);
//! an [`Instance`] binds it to a [`State`] and [`Threads`], and runs it. Compiled code sees nothing but its
//! [`ArgumentBlock`].

mod block;
mod control;
mod data;
mod error;
mod executable;
mod instance;
mod manifest;
mod state;
mod tensor;
mod threads;

pub use block::{
    ArgumentBlock, BASE_ARENA, BASE_CONSTANTS, BASE_PREPARED, BASE_STATE, EntryFn, KernelFn, ParallelForFn,
    serial_for,
};
pub use data::{Batches, Field, Request, Split};
pub use error::{Error, ErrorKind, Result};
pub use executable::{Executable, cpu_has};
pub use instance::Instance;
pub use manifest::{IndexRange, Input, Manifest, Output, StateSlot};
pub use state::{Slot, SlotKind, State};
pub use tensor::{
    ALIGNMENT, AlignedBytes, DType, Element, Tensor, TensorMut, TensorRef, byte_len, type_name,
};
pub use threads::{MAX_THREADS, Threads};
