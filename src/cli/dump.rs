//! `brolga dump`

use std::fmt::Write;
use std::process::ExitCode;

use brolga::codegen::listing;
use brolga::ir::{Graph, Op};
use brolga::passes::program::plan::live_bytes;
use brolga::{Compiler, Error, Result};
use clap::{Args, ValueEnum};

use super::args::{InferenceEntry, ModelArgs, TargetArgs, TripleArgs};

/// A stage of the compiler.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StageName {
    /// The model file as it is read
    Model,
    /// The dataflow graph of an entry point
    Graph,
    /// The graph with its gradients built
    Grad,
    /// The graph after all passes, fused
    Opt,
    /// The kernel program: buffers, kernels, schedule
    Program,
    /// Cranelift's intermediate representation of each function
    Clif,
    /// The machine code of each function
    Asm,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// The text that `brolga opt` reads
    Text,
    /// Graphviz, for the stages graph, grad and opt
    Dot,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  brolga dump lenet5 --stage graph
  brolga dump lenet5 --stage opt --entry train --dim batch=8
  brolga dump lenet5 --stage graph --format dot | dot -Tsvg > lenet5.svg")]
pub struct DumpArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// What to print
    #[arg(long, value_name = "S")]
    pub stage: StageName,
    #[command(flatten)]
    pub entry: InferenceEntry,
    /// How graphs are written
    #[arg(long, value_name = "F", default_value = "text")]
    pub format: Format,
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub triple: TripleArgs,
}

pub fn run(args: &DumpArgs) -> Result<ExitCode> {
    let model = args.model.load(args.target.options()?)?;
    if args.stage == StageName::Model {
        out!("{}", model.parsed().source().text);
        return Ok(ExitCode::SUCCESS);
    }
    let graph = model.graph(&args.entry.name)?;
    let mut compiler = Compiler::new(model.options());
    let shown = match args.stage {
        StageName::Model | StageName::Graph => Some(graph.clone()),
        StageName::Grad => Some(compiler.differentiate(graph)?),
        StageName::Opt => Some(compiler.optimise(graph)?),
        StageName::Program | StageName::Clif | StageName::Asm => None,
    };
    if let Some(graph) = shown {
        match args.format {
            Format::Text => out!("{graph}"),
            Format::Dot => out!("{}", dot(&graph)),
        }
        return Ok(ExitCode::SUCCESS);
    }
    if args.format == Format::Dot {
        return Err(Error::Name(
            "only the stages graph, grad and opt are graphs: leave out --format dot".into(),
        ));
    }
    let optimised = compiler.optimise(graph)?;
    let program = compiler.lower(&optimised)?;
    if args.stage == StageName::Program {
        out!("{program}");
        outln!(
            "// {} bytes of scratch memory for {} alive at once, and {} for each thread",
            program.arena_bytes,
            live_bytes(&program),
            program.local_bytes()
        );
        return Ok(ExitCode::SUCCESS);
    }
    for function in listing(&program, &args.triple.options(args.target.cpu()?))? {
        outln!("; {} ({} bytes)", function.name, function.bytes);
        match (args.stage, &function.clif) {
            (StageName::Asm, _) => outln!("{}", function.assembly),
            (_, Some(clif)) => outln!("{clif}"),
            (_, None) => outln!("; assembled directly: see --stage asm\n"),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A graph for Graphviz: operators as boxes with the types of their results, inputs and state as ellipses.
fn dot(graph: &Graph) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let mut line = |args: std::fmt::Arguments<'_>| {
        let _ = writeln!(text, "{args}");
    };
    line(format_args!("digraph {} {{\n  node [shape=box, fontname=\"monospace\"];", quote(&graph.name)));
    for id in graph.order() {
        let node = graph.node(id);
        let types: Vec<String> = node.types.iter().map(ToString::to_string).collect();
        let (name, shape) = match &node.op {
            Op::Parameter(parameter) => (parameter.name.clone(), ", shape=ellipse"),
            op => (op.get().name().to_owned(), ""),
        };
        let mut label = format!("{name}\\n{}", types.join(", "));
        if !node.origin.path.is_empty() {
            label.push_str(&format!("\\n{}", node.origin.path));
        }
        line(format_args!("  n{} [label={}{shape}];", id.index(), quote(&label)));
        for operand in &node.operands {
            line(format_args!("  n{} -> n{};", operand.node.index(), id.index()));
        }
    }
    for (number, output) in graph.outputs().iter().enumerate() {
        line(format_args!("  o{number} [label={}, shape=ellipse, style=bold];", quote(&output.name)));
        line(format_args!("  n{} -> o{number};", output.value.node.index()));
    }
    line(format_args!("}}"));
    text
}

/// A string of the DOT language, in which `\n` stays a line break.
fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\\\""))
}
