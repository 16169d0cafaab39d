//! `brolga catalogue`: the rows of a course on deep learning, and what running them has come to.

pub mod args;
mod list;
mod results;
mod run;

use std::process::ExitCode;

use brolga::Result;

use args::{Action, CatalogueArgs};

pub fn run(args: &CatalogueArgs) -> Result<ExitCode> {
    let results = results::read(&args.results)?;
    match &args.action {
        None => list::run(&results, args.json),
        Some(Action::Run(rows)) => run::run(rows, &args.results, results, args.json),
    }
}
