//! The command line: its subcommands.

use std::sync::LazyLock;

use clap::{Args, Parser, Subcommand};

use super::bench::BenchArgs;
use super::build::args::BuildArgs;
use super::catalogue::args::CatalogueArgs;
use super::check::CheckArgs;
use super::dump::DumpArgs;
use super::eval::EvalArgs;
use super::evaluate::EvaluateArgs;
use super::filetest::FiletestArgs;
use super::language::LanguageArgs;
use super::models::ModelsArgs;
use super::opt::OptArgs;
use super::profile::ProfileArgs;
use super::run::RunArgs;
use super::step::StepArgs;
use super::train::TrainArgs;

/// The whole command line.
#[derive(Parser)]
#[command(
    name = "brolga",
    version = VERSION.as_str(),
    about = "Compiles neural networks: a model in RON becomes a trained, native network.",
    after_help = "\
First steps:
  brolga models                      what comes along
  brolga train lenet5                trains on embedded digits, no download
  brolga check lenet5                layers, shapes, parameters, memory
  brolga dump lenet5 --stage graph   what the compiler makes of it
  brolga help train                  all about a command, with examples

Results go to standard output, progress and mistakes to standard error. MODEL is the name of a model that comes
along, a path ending in .ron, or PATH:VARIANT.",
    max_term_width = 110
)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Lists the models that come along, with their variants
    Models(ModelsArgs),
    /// Lists the rows of a course on deep learning, and runs them
    Catalogue(CatalogueArgs),
    /// Reports all mistakes in a model, or shows its layers, parameters, work and memory
    Check(CheckArgs),
    /// Trains a model on a data set, evaluates it and saves its weights
    Train(TrainArgs),
    /// Labels pictures, or calls an entry point on inputs in files
    Run(RunArgs),
    /// Shows how good a trained model is on a data set: metrics, confusion matrix, predictions
    Evaluate(EvaluateArgs),
    /// Makes updates on one given batch, for comparisons with other systems
    Step(StepArgs),
    /// Measures an entry point
    Bench(BenchArgs),
    /// Shows where the time of an entry point goes, by layer and kernel
    Profile(ProfileArgs),
    /// Prints what a stage of the compiler makes of a model
    Dump(DumpArgs),
    /// Runs passes over the text of a graph or kernel program
    Opt(OptArgs),
    /// Runs the text of a graph or kernel program on tensors from a file
    Eval(EvalArgs),
    /// Compiles an entry point ahead of time
    Build(BuildArgs),
    /// Tests what passes make of graphs and kernel programs in files
    Filetest(FiletestArgs),
    /// Prints all that the model language knows, with its arguments
    Language(LanguageArgs),
    /// Prints what a shell needs to complete commands and options
    Completions(CompletionsArgs),
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  brolga completions bash > ~/.local/share/bash-completion/completions/brolga
  brolga completions fish > ~/.config/fish/completions/brolga.fish")]
pub struct CompletionsArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// The version, with that of the numerics: code of one numerics version computes the same bits.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    format!("{}, numerics version {}", env!("CARGO_PKG_VERSION"), brolga::codegen::NUMERICS_VERSION)
});
