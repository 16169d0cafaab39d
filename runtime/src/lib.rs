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

mod error;
mod names;
mod order;
mod random;
mod shown;

mod paths;
mod tensors;

mod run;

// Files of tensors; and what reads and writes them: data sets, checkpoints, the loop of training.
#[cfg(feature = "files")]
mod files;
#[cfg(feature = "files")]
mod training;

pub mod container;

pub use error::{Error, ErrorKind, Result, unknown_name};
pub use names::{MAX_NAME, check_name};
pub use order::sorted;
pub use paths::content::Content;
pub use paths::regular::{MAX_TEXT, open_regular, read_regular};
pub use random::{Purpose, Random, permutation, philox};
pub use run::block::{
    ArgumentBlock, BASE_ARENA, BASE_CONSTANTS, BASE_LOCAL, BASE_PREPARED, BASE_STATE, EntryFn, KernelFn,
    ParallelForFn, serial_for,
};
pub use run::executable::{Executable, cpu_has, cpu_name};
pub use run::inputs::random_inputs;
pub use run::instance::Instance;
pub use run::manifest::{IndexRange, Input, Manifest, Output, Refusal, Samples, StateSlot};
pub use run::outline::{Length, Outline, Outlined, Phase, UpdateBatch};
pub use run::record::{DataRecord, HeldOutRecord};
pub use run::state::{Slot, SlotKind, State};
pub use run::threads::{MAX_THREADS, Threads};
pub use shown::{Shown, counted, cut, first_of, listed, listed_in_quotes};
pub use tensors::dtype::{DType, Element, byte_len, type_name};
pub use tensors::memory::{ALIGNMENT, AlignedBytes};
pub use tensors::samples;
pub use tensors::tensor::{Tensor, TensorMut, TensorRef};

#[cfg(feature = "files")]
pub use files::{
    atomic::{check_writable, write_atomically},
    checksum::checksum,
    npz::{
        Others, holds_results, read_array, read_tensors, read_tensors_and_others, write_results,
        write_tensors,
    },
    safetensors::{TensorFile, write_safetensors},
    weights::{LoadReport, file_header},
};
#[cfg(feature = "files")]
pub use training::{
    data::{Batches, Field, NoData, Request, Split},
    diverged::{Diverged, holds_nan},
    evaluate::{Evaluation, Ran, evaluate, evaluate_with},
    fingerprint::Fingerprint,
    fit::{fit, fitted},
    metrics::{MetricSums, Metrics, TOTAL},
    options::{CheckpointOptions, Executables, LogOptions, Options},
    plan::{Plan, Trainee},
    progress::{Epoch, Flow, Outlook, Progress, Update},
    tables::set_tables,
    train::{Failures, Outcome, train},
};
