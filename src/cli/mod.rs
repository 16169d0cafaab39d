//! The command line: arguments, and one file for each subcommand.

mod args;
mod bench;
mod build;
mod catalogue;
mod check;
mod command;
mod destination;
mod dump;
mod eval;
mod evaluate;
mod files;
mod filetest;
mod jit;
mod language;
mod models;
mod opt;
mod profile;
mod run;
mod step;
mod train;
mod tune;

use std::process::ExitCode;

use brolga_command::output;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, FromArgMatches};

use command::{Arguments, Command};
use destination::Destinations;

/// Reads the arguments, runs the subcommand, and reports an error on standard error.
pub fn main() -> ExitCode {
    let code = match parse() {
        Ok((arguments, destinations)) => run(arguments.command, destinations),
        // Help and the version come this way too, for standard output.
        Err(message) => {
            let printed = message.print();
            if !message.use_stderr() {
                output::attempt(|| printed);
            }
            if let Some(instead) = instead(&message) {
                errln!("\n{instead}");
            }
            ExitCode::from(u8::try_from(message.exit_code()).unwrap_or(2))
        }
    };
    output::finish(code)
}

/// What to write instead of an argument that there is not, where that is known: what others call settings of training, and data
/// without their option.
fn instead(message: &clap::Error) -> Option<String> {
    let found = match (message.kind(), message.get(ContextKind::InvalidArg)) {
        (ErrorKind::UnknownArgument, Some(ContextValue::String(found))) => found.as_str(),
        _ => return None,
    };
    let command = std::env::args().nth(1);
    match (found, command.as_deref()) {
        ("--lr" | "--learning-rate", _) => Some(
            "The learning rate stands in the model, at its optimizer. Make it a parameter there, `parameters: { \"lr\": 0.1 }` \
             and `Sgd(lr: \"lr\")`; then `--set lr=0.01` changes it."
                .to_owned(),
        ),
        (data, Some("train" | "evaluate")) if !data.starts_with('-') => {
            Some(format!("Data are given by `--data {data}`."))
        }
        _ => None,
    }
}

/// The arguments, and the files that they name.
fn parse() -> Result<(Arguments, Destinations), clap::Error> {
    let mut command = Arguments::command();
    let matches = command.try_get_matches_from_mut(std::env::args_os())?;
    let arguments = Arguments::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
    Ok((arguments, destination::named(&command, &matches)))
}

fn run(command: Command, destinations: Destinations) -> ExitCode {
    let result = match command {
        Command::Models(a) => models::run(&a),
        Command::Catalogue(a) => catalogue::run(&a),
        Command::Check(a) => check::run(&a),
        Command::Train(a) => train::run(&a, destinations),
        Command::Run(a) => run::run(&a, destinations),
        Command::Evaluate(a) => evaluate::run(&a, destinations),
        Command::Step(a) => step::run(&a, destinations),
        Command::Bench(a) => bench::run(&a),
        Command::Profile(a) => profile::run(&a, destinations),
        Command::Dump(a) => dump::run(&a),
        Command::Opt(a) => opt::run(&a),
        Command::Eval(a) => eval::run(&a, destinations),
        Command::Build(a) => build::run(&a, destinations),
        Command::Filetest(a) => filetest::run(&a),
        Command::Language(a) => language::run(&a),
        Command::Completions(a) => {
            let mut script = Vec::new();
            clap_complete::generate(a.shell, &mut Arguments::command(), "brolga", &mut script);
            out!("{}", String::from_utf8_lossy(&script));
            Ok(ExitCode::SUCCESS)
        }
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            errln!("{}", error.render(output::colours()));
            ExitCode::FAILURE
        }
    }
}
