//! The command `brolga`.

#[macro_use]
extern crate brolga_command;

mod cli;
mod memory;

fn main() -> std::process::ExitCode {
    memory::answer_its_lack();
    cli::main()
}
