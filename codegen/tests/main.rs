//! The tests of `codegen`: one binary, one module a subject.

mod columns;
mod common;
mod container;
mod libraries;
mod nests;
mod objects;
mod operations;
mod programs;
mod random;
mod tiles;
