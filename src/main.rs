//! The command `brolga`.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
