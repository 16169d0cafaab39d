//! The arguments of `brolga catalogue`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::args::MachineArgs;

#[derive(Args)]
#[command(after_help = "\
Examples:
  brolga catalogue                       chapters, what exists for them, and what it came to
  brolga catalogue run elman jordan
  brolga catalogue run --stale           whatever has changed since it was run")]
pub struct CatalogueArgs {
    #[command(subcommand)]
    pub action: Option<Action>,
    /// Prints one JSON object
    #[arg(long, global = true)]
    pub json: bool,
    /// Where results are: a line of CSV for each thing that was run
    #[arg(long, value_name = "FILE", default_value = "docs/catalogue.csv", global = true)]
    pub results: PathBuf,
}

/// What to do with the rows.
#[derive(Subcommand)]
pub enum Action {
    /// Runs rows: trains or checks their models, and writes what they came to
    Run(RowArgs),
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  brolga catalogue run elman
  brolga catalogue run --stale
  brolga catalogue run --json vgg resnet")]
pub struct RowArgs {
    /// Ids of rows [default: all that can be run]
    pub ids: Vec<String>,
    /// Only those without a result, or whose model, settings or data are not what they were
    #[arg(long)]
    pub stale: bool,
    #[command(flatten)]
    pub machine: MachineArgs,
}
