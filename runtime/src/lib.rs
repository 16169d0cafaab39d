//! Runs compiled programs: arena, threads, state, checkpoints, training loop; no compiler inside.
//!
//! The way through: compiled code arrives as an [`Executable`] (an entry function, constants and a [`Manifest`]), from a
//! compiler in the same program or from a file ([`container`]); an [`Instance`] binds it to a [`State`] and [`Threads`],
//! and runs it. Compiled code sees nothing but its [`ArgumentBlock`].
//!
//! Without the feature `files`, which is on by default, the crate opens containers and runs them, and no more: for applications
//! that want few crates. That part handles no signal, prints nothing, ends no process and reads nothing of the environment.

// Applications that embed a model hear nothing of it but what its functions return; `tests/quiet.rs` looks for more of that kind.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr, clippy::exit, clippy::dbg_macro))]
// What is here for files alone is not used without them.
#![cfg_attr(not(feature = "files"), allow(dead_code))]

#[cfg(target_endian = "big")]
compile_error!(
    "tensors are written to files as they lie in memory, which the formats define as little-endian"
);

mod block;
pub mod container;
mod content;
mod control;
mod error;
mod executable;
mod inputs;
mod instance;
mod manifest;
mod names;
mod random;
mod ranges;
mod record;
mod regular;
mod state;
mod tensor;
mod threads;

// Files of tensors, checkpoints, and the loop of training.
#[cfg(feature = "files")]
mod atomic;
#[cfg(feature = "files")]
mod checkpoint;
#[cfg(feature = "files")]
mod convert;
#[cfg(feature = "files")]
mod data;
#[cfg(feature = "files")]
mod diverged;
#[cfg(feature = "files")]
mod evaluate;
#[cfg(feature = "files")]
mod feed;
#[cfg(feature = "files")]
mod fingerprint;
#[cfg(feature = "files")]
mod fit;
#[cfg(feature = "files")]
mod lock;
#[cfg(feature = "files")]
mod log;
#[cfg(feature = "files")]
mod metrics;
#[cfg(feature = "files")]
mod npz;
#[cfg(feature = "files")]
mod progress;
#[cfg(feature = "files")]
mod resume;
#[cfg(feature = "files")]
mod tensor_file;
#[cfg(feature = "files")]
mod train;
#[cfg(feature = "files")]
mod weights;

pub use block::{
    ArgumentBlock, BASE_ARENA, BASE_CONSTANTS, BASE_LOCAL, BASE_PREPARED, BASE_STATE, EntryFn, KernelFn,
    ParallelForFn, serial_for,
};
pub use content::Content;
pub use error::{Error, ErrorKind, Result};
pub use executable::{Executable, cpu_has, cpu_name};
pub use inputs::random_inputs;
pub use instance::Instance;
pub use manifest::{IndexRange, Input, Manifest, Output, Refusal, StateSlot};
pub use names::{MAX_NAME, Shown, check_name, counted, cut, first_of, listed, listed_in_quotes};
pub use random::{Purpose, Random, permutation, philox};
pub use record::{DataRecord, HeldOutRecord};
pub use regular::{MAX_TEXT, open_regular, read_regular};
pub use state::{Slot, SlotKind, State};
pub use tensor::{
    ALIGNMENT, AlignedBytes, DType, Element, Tensor, TensorMut, TensorRef, byte_len, type_name,
};
pub use threads::{MAX_THREADS, Threads};

#[cfg(feature = "files")]
pub use atomic::{check_writable, write_atomically};
#[cfg(feature = "files")]
pub use data::{Batches, Field, NoData, Request, Split};
#[cfg(feature = "files")]
pub use diverged::{Diverged, holds_nan};
#[cfg(feature = "files")]
pub use evaluate::{Evaluation, Ran, evaluate, evaluate_with};
#[cfg(feature = "files")]
pub use fingerprint::{Fingerprint, checksum};
#[cfg(feature = "files")]
pub use fit::{fit, fitted};
#[cfg(feature = "files")]
pub use metrics::{MetricSums, Metrics, TOTAL};
#[cfg(feature = "files")]
pub use npz::{holds_results, read_array, read_tensors, write_results, write_tensors};
#[cfg(feature = "files")]
pub use progress::{Epoch, Flow, Plan, Progress, Step};
#[cfg(feature = "files")]
pub use tensor_file::{TensorFile, write_safetensors};
#[cfg(feature = "files")]
pub use train::{CheckpointOptions, Failures, LogOptions, Options, Outcome, Programs, train};
#[cfg(feature = "files")]
pub use weights::{LoadReport, file_header};
