//! Types, graph, primitive operators, kernel program, text forms, verifiers, interpreters.
//!
//! The crate holds the two intermediate representations of Brolga and everything that says what they mean:
//!
//! - [`Graph`]: an SSA dataflow graph over tensors, with the primitive operators of [`ops`];
//! - [`program::Program`]: buffers, kernels and a schedule, an imperative loop language.
//!
//! It knows nothing of models, passes or machine code.

pub mod attribute;
pub mod builder;
pub mod choice;
pub mod definition;
#[cfg(feature = "generate")]
pub mod generate;
pub mod graph;
pub mod index;
pub mod interpret;
pub mod lexer;
pub mod literal;
pub mod math;
pub mod names;
mod nodes;
pub mod ops;
pub mod program;
pub mod random;
pub mod scalar;
pub mod size;
pub mod tensor;
pub mod text;
pub mod types;
pub mod verify;
pub mod vjp;

pub use builder::Builder;
pub use choice::Choice;
pub use graph::{Graph, GraphError, Node, NodeId, Origin, Output, Value};
pub use ops::Op;
pub use size::Size;
pub use tensor::Tensor;
pub use types::{DType, Type};
