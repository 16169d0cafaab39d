//! Brolga compiles neural networks: a model in RON becomes a trained, native network.
//!
//! This crate ties the parts together. [`Network`] is for applications: load a model and its weights, and call it.
//! [`Model`] gives the compiled entry points and the initial state, for those who run them by themselves with
//! [`runtime`]. [`compile`](fn@compile) and [`Compiler`] are the stages from a graph to code. [`tune`] measures how
//! products are best scheduled.
//!
//! ```no_run
//! let mut network = brolga::Network::load("lenet5")?;
//! network.load_weights("lenet5.safetensors")?;
//! let image = [0.0; 28 * 28];
//! let probability = network.infer(&image)?;
//! println!("{:?}", probability.as_slice::<f32>()?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod batches;
mod compile;
mod container;
pub mod cost;
mod error;
mod gradients;
mod model;
mod network;
mod object;
mod preparation;
pub mod trace;
pub mod tune;

pub use brolga_codegen as codegen;
pub use brolga_frontend as frontend;
pub use brolga_ir as ir;
pub use brolga_models as models;
pub use brolga_passes as passes;
pub use brolga_runtime as runtime;

pub use brolga_codegen::{TargetCpu, TargetTriple};
pub use brolga_frontend::Settings;
pub use brolga_runtime::{State, Tensor, Threads, fitted, random_inputs};
pub use compile::{CompileOptions, Compiler, Lowered, StageTime, compile};
pub use container::{CompiledModel, ContainerEntry};
pub use error::{Error, Result};
pub use gradients::with_gradients;
pub use model::{Model, hides_file, names};
pub use network::Network;
pub use object::ObjectEntry;
