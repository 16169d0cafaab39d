//! The tests of `ir`: one binary, one module a subject.

mod bf16;
mod choices;
mod common;
mod definitions;
mod evaluate;
mod generate;
mod gradients;
mod math;
mod program_interpret;
mod program_random;
mod program_text;
mod program_verify;
mod text;
mod verify;
