//! The tests of `frontend`: one binary, one module a subject.

mod common;

mod arguments;
mod broken;
mod broken_loops;
mod broken_state;
mod chance;
mod classes;
mod data;
mod entries;
mod functions;
mod imports;
mod kept;
mod language;
mod limits;
mod lists;
mod loops;
mod models;
mod naming;
mod numbers;
mod pairs;
mod plans;
mod promotion;
mod references;
mod settings;
mod shared;
mod state;
mod symbolic;
mod tensors;
mod validation;
mod with;
