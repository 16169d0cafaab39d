//! The tests of `frontend`: one binary, one module a subject.

mod broken;
mod language;
mod models;
mod references;
mod symbolic;
