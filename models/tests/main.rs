//! The tests of `models`: one binary, one module a subject.

mod catalogue;
mod course;
mod data;
