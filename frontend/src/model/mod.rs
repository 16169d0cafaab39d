//! From text to a model: all decoding of RON is here, and nothing is built.
//!
//! | file | from | to |
//! |---|---|---|
//! | `notation` | RON text | values, each with its place |
//! | `structure` | – | the structures of a file as data: `Model`, `Repeat`, `Train`, `Data` and so on, with their fields |
//! | `decoder` | values | names, lists, expressions, the fields of a call |
//! | `arguments` | a call and its [`Signature`](crate::signature::Signature) | arguments |
//! | `body`, `entries`, `update`, `functions`, `data`, `file` | values | the parts of the tree, and the whole of it with its imports |
//! | `tree` | – | what comes out: [`ModelTree`](tree::ModelTree) |
//!
//! A new structure, such as a step that is no layer, is a word in `structure`, a variant in `tree`, and a case in `body`;
//! `graph/body` runs it. A new layer, function, optimiser or schedule needs nothing here: see `graph/mod.rs`.

mod arguments;
mod body;
mod data;
mod decoder;
mod entries;
mod file;
mod functions;
pub(crate) mod notation;
mod plan;
pub(crate) mod structure;
pub(crate) mod tree;
mod update;

pub(crate) use decoder::Context;
pub use decoder::Resolver;
pub(crate) use file::{literal, read};
