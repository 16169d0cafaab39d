//! The command line: arguments, and one file for each subcommand.

/// Prints to standard output. A reader that has gone away (`brolga dump … | head`) ends the command without noise.
macro_rules! out {
    ($($argument:tt)*) => { $crate::cli::write_out(format_args!($($argument)*)) };
}

/// The same with a line break behind it.
macro_rules! outln {
    ($($argument:tt)*) => { $crate::cli::write_out(format_args!("{}\n", format_args!($($argument)*))) };
}

mod args;
mod bench;
mod build;
mod check;
mod dump;
mod eval;
mod files;
mod models;
mod opt;
mod profile;
mod report;
mod run;
mod step;
mod train;
mod tune;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Command};

/// Reads the arguments, runs the subcommand, and reports an error on standard error.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.command {
        Command::Models(a) => models::run(&a),
        Command::Check(a) => check::run(&a),
        Command::Train(a) => train::run(&a),
        Command::Run(a) => run::run(&a),
        Command::Step(a) => step::run(&a),
        Command::Bench(a) => bench::run(&a),
        Command::Profile(a) => profile::run(&a),
        Command::Dump(a) => dump::run(&a),
        Command::Opt(a) => opt::run(&a),
        Command::Eval(a) => eval::run(&a),
        Command::Build(a) => build::run(&a),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{}", error.render(std::io::stderr().is_terminal()));
            ExitCode::FAILURE
        }
    }
}

fn write_out(text: std::fmt::Arguments<'_>) {
    use std::io::Write;
    if let Err(error) = std::io::stdout().lock().write_fmt(text) {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            std::process::exit(0);
        }
        eprintln!("error: cannot write to standard output: {error}");
        std::process::exit(1);
    }
}
