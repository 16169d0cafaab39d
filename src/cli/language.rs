//! `brolga language`: the language as a document, and as a JSON schema for editors. Both are made of the signatures that
//! models are read by.

mod document;
mod schema;

use std::process::ExitCode;

use brolga::Result;
use clap::Args;

#[derive(Args)]
#[command(after_help = "\
Examples:
  brolga language > docs/language-reference.md
  brolga language --json > model.schema.json")]
pub struct LanguageArgs {
    /// Prints a JSON schema for editors instead of a document
    #[arg(long)]
    pub json: bool,
}

pub fn run(args: &LanguageArgs) -> Result<ExitCode> {
    match args.json {
        true => outln!("{:#}", schema::schema()),
        false => out!("{}", document::document()),
    }
    Ok(ExitCode::SUCCESS)
}
