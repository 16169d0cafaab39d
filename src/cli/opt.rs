//! `brolga opt`

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use brolga::passes::facts::index_ranges::index_ranges;
use brolga::passes::lower::lower_prepared;
use brolga::passes::{Manager, Options, Precision, Report, Stage, pipelines};
use brolga::{Error, Result};
use clap::Args;

use super::files::{Ir, read_ir};

#[derive(Args)]
#[command(after_help = "\
Passes run in the order given. `lower` turns a graph into a kernel program, for the passes behind it; --list names
them all.

Examples:
  brolga opt --passes grad,dce,simplify loss.ir
  brolga opt --passes fuse,lower,vectorise,plan net.ir --print-after
  brolga dump lenet5 --stage graph | brolga opt --passes fuse -")]
pub struct OptArgs {
    /// The text of a graph or kernel program; - is standard input
    #[arg(required_unless_present = "list")]
    pub file: Option<PathBuf>,
    /// Names of passes, separated by commas
    #[arg(long, value_name = "A,B", value_delimiter = ',', required_unless_present = "list")]
    pub passes: Vec<String>,
    /// Prints the text after every pass, not just after the last
    #[arg(long)]
    pub print_after: bool,
    /// Stops after so many passes, for finding the one that goes wrong
    #[arg(long, value_name = "N")]
    pub stop_after: Option<usize>,
    /// Writes to standard error how long each pass took, and whether it changed anything
    #[arg(long)]
    pub time: bool,
    /// Lists all passes
    #[arg(long)]
    pub list: bool,
}

/// The name that turns a graph into a program.
const LOWER: &str = "lower";

pub fn run(args: &OptArgs) -> Result<ExitCode> {
    if args.list {
        list();
        return Ok(ExitCode::SUCCESS);
    }
    let file = args.file.as_deref().unwrap_or(Path::new("-"));
    let mut ir = read_ir(file)?;
    check_names(&args.passes)?;

    let printed = Cell::new(false);
    let observer = |report: &Report, stage: Stage<'_>| {
        if args.time {
            errln!("{report}");
        }
        if args.print_after {
            outln!("// after {}", report.pass);
            match stage {
                Stage::Graph(graph) => out!("{graph}"),
                Stage::Program(program) => out!("{program}"),
            }
            printed.set(true);
        }
    };
    // A pass that is asked for has something to do.
    let mut manager =
        Manager::new(Options { precision: Precision::Bf16, ..Options::default() }).observe(observer);
    if let Some(count) = args.stop_after {
        manager = manager.stop_after(count);
    }
    for name in &args.passes {
        apply(name, &mut ir, &mut manager)?;
    }
    drop(manager);
    if !printed.get() {
        match ir {
            Ir::Graph(graph) => out!("{graph}"),
            Ir::Program(program) => out!("{program}"),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the names of all passes.
fn list() {
    for pass in pipelines::GRAPH_PASSES {
        outln!("{:<12} graph    {:?}", pass.name, pass.kind);
    }
    outln!("{LOWER:<12} graph to program");
    for pass in pipelines::PROGRAM_PASSES {
        outln!("{:<12} program  {:?}", pass.name, pass.kind);
    }
}

/// Runs the pass of this name, which may turn a graph into a program.
fn apply(name: &str, ir: &mut Ir, manager: &mut Manager<'_>) -> Result<()> {
    let wrong = |needs: &str, is: &str| {
        let message = format!("the pass `{name}` works on a {needs}, but this is a {is} here");
        Err(Error::Name(message))
    };
    match ir {
        Ir::Graph(graph) => {
            if name == LOWER {
                let ranges = index_ranges(graph).into_iter().collect();
                if let Some(program) =
                    manager.make(LOWER, |options| lower_prepared(graph, &ranges, options))?
                {
                    *ir = Ir::Program(program);
                }
            } else if let Some(pass) = pipelines::GRAPH_PASSES.iter().find(|pass| pass.name == name) {
                manager.run(&[*pass], graph)?;
            } else if !manager.stopped() {
                return wrong("kernel program (use `lower` before it)", "graph");
            }
        }
        Ir::Program(program) => match pipelines::PROGRAM_PASSES.iter().find(|pass| pass.name == name) {
            Some(pass) => drop(manager.run(&[*pass], program)?),
            None => return wrong("graph", "kernel program"),
        },
    }
    Ok(())
}

/// All names are checked before any pass runs.
fn check_names(names: &[String]) -> Result<()> {
    let known = pipelines::GRAPH_PASSES.iter().map(|pass| pass.name).chain([LOWER]);
    let known: Vec<&str> = known.chain(pipelines::PROGRAM_PASSES.iter().map(|pass| pass.name)).collect();
    match names.iter().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(Error::unknown("pass", name, known)),
        None => Ok(()),
    }
}
