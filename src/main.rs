//! The command `brolga`.

mod cli;
mod memory;

fn main() -> std::process::ExitCode {
    memory::answer_its_lack();
    cli::main()
}
