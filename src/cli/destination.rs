//! The files that a command line names.

use std::path::PathBuf;

pub use brolga_command::{Destinations, Written, beside, weight_bytes};
use clap::{ArgMatches, Command};

/// Arguments that say where something is written. All other paths that a command line names are read.
const WRITING: [&str; 10] =
    ["save", "log", "outputs", "grads", "trace", "output", "predictions", "checkpoint", "mapped", "results"];

/// Those of a command line: it reads all paths that it names, but for those of [`WRITING`], which are checked by
/// [`writes`](Destinations::writes).
pub fn named(command: &Command, matches: &ArgMatches) -> Destinations {
    let Some((name, matches)) = matches.subcommand() else { return Destinations::default() };
    let Some(command) = command.find_subcommand(name) else { return Destinations::default() };
    // An error says that the command has no such argument, or one of another type.
    let force = matches.try_get_one::<bool>("force").is_ok_and(|force| force == Some(&true));
    let mut found = Destinations::new(force);
    for argument in command.get_arguments() {
        let id = argument.get_id().as_str();
        let Ok(Some(paths)) = matches.try_get_many::<PathBuf>(id) else { continue };
        if !WRITING.contains(&id) {
            let option = match argument.get_long() {
                Some(long) => format!("--{long}"),
                None => match argument.get_value_names() {
                    Some(names) => names.iter().map(|name| name.as_str()).collect(),
                    None => id.to_uppercase(),
                },
            };
            paths.for_each(|path| found.reads(option.clone(), path));
        }
    }
    found
}
