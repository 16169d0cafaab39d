//! Runs compiled programs: arena, threads, state, checkpoints, training loop; no compiler inside.
//!
//! The way through: compiled code arrives as an [`Executable`] (an entry function, constants and a [`Manifest`]), from a
//! compiler in the same program or from a file ([`container`]); an [`Instance`] binds it to a [`State`] and [`Threads`],
//! and runs it. Compiled code sees nothing but its [`ArgumentBlock`].

#[cfg(target_endian = "big")]
compile_error!(
    "tensors are written to files as they lie in memory, which the formats define as little-endian"
);

mod atomic;
mod block;
mod checkpoint;
pub mod container;
mod content;
mod control;
mod convert;
mod data;
mod diverged;
mod error;
mod evaluate;
mod executable;
mod feed;
mod fingerprint;
mod fit;
mod instance;
mod lock;
mod log;
mod manifest;
mod metrics;
mod names;
mod npz;
mod progress;
mod random;
mod ranges;
mod record;
mod regular;
mod resume;
mod state;
mod tensor;
mod tensor_file;
mod threads;
mod train;
mod weights;

pub use atomic::{check_writable, write_atomically};
pub use block::{
    ArgumentBlock, BASE_ARENA, BASE_CONSTANTS, BASE_LOCAL, BASE_PREPARED, BASE_STATE, EntryFn, KernelFn,
    ParallelForFn, serial_for,
};
pub use content::Content;
pub use data::{Batches, Field, NoData, Request, Split};
pub use diverged::{Diverged, holds_nan};
pub use error::{Error, ErrorKind, Result};
pub use evaluate::{Evaluation, Ran, evaluate, evaluate_with};
pub use executable::{Executable, cpu_has, cpu_name};
pub use fingerprint::{Fingerprint, checksum};
pub use fit::fit;
pub use instance::Instance;
pub use manifest::{IndexRange, Input, Manifest, Output, Refusal, StateSlot};
pub use metrics::{MetricSums, Metrics, TOTAL};
pub use names::{MAX_NAME, Shown, check_name, counted, cut, first_of, listed, listed_in_quotes};
pub use npz::{holds_results, read_tensors, write_results, write_tensors};
pub use progress::{Epoch, Flow, Plan, Progress, Step};
pub use random::{Purpose, Random, permutation, philox};
pub use record::{DataRecord, HeldOutRecord};
pub use regular::{MAX_TEXT, open_regular, read_regular};
pub use state::{Slot, SlotKind, State};
pub use tensor::{
    ALIGNMENT, AlignedBytes, DType, Element, Tensor, TensorMut, TensorRef, byte_len, type_name,
};
pub use tensor_file::{TensorFile, write_safetensors};
pub use threads::{MAX_THREADS, Threads};
pub use train::{CheckpointOptions, Failures, LogOptions, Options, Outcome, Programs, train};
pub use weights::{LoadReport, file_header};
