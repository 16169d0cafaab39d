//! The tests of `passes`: one binary, one module a subject.

mod common;
mod filetests;
mod grad;
mod index_ranges;
mod large;
mod long;
mod loops;
mod lowering;
mod pipelines;
mod prepare;
mod random;
mod ranges;
mod segments;
mod sums;
mod views;
