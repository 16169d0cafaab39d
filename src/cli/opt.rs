//! `brolga opt`

use std::cell::Cell;
use std::path::Path;
use std::process::ExitCode;

use brolga::passes::index_ranges::index_ranges;
use brolga::passes::prepare::lower_prepared;
use brolga::passes::{Manager, Options, Precision, Report, Stage, pipelines};
use brolga::{Error, Result};

use super::args::OptArgs;
use super::files::{Ir, read_ir};

/// The name that turns a graph into a program.
const LOWER: &str = "lower";

pub fn run(args: &OptArgs) -> Result<ExitCode> {
    if args.list {
        for pass in pipelines::GRAPH_PASSES {
            outln!("{:<12} graph    {:?}", pass.name, pass.kind);
        }
        outln!("{LOWER:<12} graph to program");
        for pass in pipelines::PROGRAM_PASSES {
            outln!("{:<12} program  {:?}", pass.name, pass.kind);
        }
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
        let wrong = |needs: &str, is: &str| {
            let message = format!("the pass `{name}` works on a {needs}, but this is a {is} here");
            Err(Error::Name(message))
        };
        match &mut ir {
            Ir::Graph(graph) => {
                if name == LOWER {
                    let ranges = index_ranges(graph).into_iter().collect();
                    if let Some(program) =
                        manager.make(LOWER, |options| lower_prepared(graph, &ranges, options))?
                    {
                        ir = Ir::Program(program);
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

/// All names are checked before any pass runs.
fn check_names(names: &[String]) -> Result<()> {
    let known = pipelines::GRAPH_PASSES.iter().map(|pass| pass.name).chain([LOWER]);
    let known: Vec<&str> = known.chain(pipelines::PROGRAM_PASSES.iter().map(|pass| pass.name)).collect();
    match names.iter().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(Error::unknown("pass", name, known)),
        None => Ok(()),
    }
}
