//! Tests of executables: one binary, one module a subject.

mod elf;
