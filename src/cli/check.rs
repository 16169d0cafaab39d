//! `brolga check`

use std::process::ExitCode;

use brolga::ir::Graph;
use brolga::ir::program::Place;
use brolga::passes::program::plan::live_bytes;
use brolga::{Compiler, Model, Result, cost};
use brolga_command::Json;
use brolga_command::report::{bytes, count, dims_json, flops, table};
use clap::Args;

use super::args::{ModelArgs, TargetArgs};

#[derive(Args)]
#[command(after_help = "\
Examples:
  brolga check resnet20
  brolga check vgg16 --dim batch=1
  brolga check nets/mine.ron --set width=2 --json")]
pub struct CheckArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub target: TargetArgs,
    /// Compiles entry points of any size, to say what memory they take; else those of more than 12,000 operators are not
    #[arg(long)]
    pub memory: bool,
    /// Prints one JSON object instead of tables
    #[arg(long)]
    pub json: bool,
}

/// Operators, before differentiation, up to which an entry point is compiled unless told otherwise: that takes about a second,
/// which is in proportion to them (a third of it fuses and rewrites, a third lowers, the rest builds and verifies). A residual
/// network of 101 layers that trains has about 10,000.
const MOST_COMPILED: usize = 12_000;

/// What one entry point needs.
struct Entry {
    name: String,
    flops: u64,
    /// If it is compiled.
    memory: Option<Memory>,
}

/// What is known of a compiled entry point.
struct Memory {
    kernels: usize,
    arena: usize,
    live: usize,
    local: usize,
    prepared: usize,
    constants: usize,
}

pub fn run(args: &CheckArgs) -> Result<ExitCode> {
    let model = args.model.load_whole(args.target.options()?)?;
    let instance = model.instance();
    let names = instance.entries();
    for name in &names {
        instance.notes(name).for_each(|note| errln!("note: `{name}`: {note}"));
    }
    let entries = names.iter().filter(|name| **name != "init").map(|name| entry(&model, name, args.memory));
    let entries = entries.collect::<Result<Vec<_>>>()?;
    let state_bytes: usize = instance.state().iter().map(|slot| slot.ty.bytes()).sum();
    let forward = names.iter().find_map(|name| {
        let graph = instance.graph(name)?;
        let differentiates = graph.nodes().any(|id| graph.node(id).op.is_derivative());
        (!differentiates && *name != "init").then(|| cost::flops_by_layer(graph))
    });
    let forward = forward.unwrap_or_default();
    let outputs = model.symbolic_outputs();
    let work = |path: &str| forward.get(path).copied().unwrap_or(0);

    if args.json {
        let layers = instance.layers().iter().zip(&outputs).map(|(row, symbolic)| {
            object! {"path": &row.path, "kind": &row.kind, "call": &row.call, "output": row.output.to_string(),
                "symbolic": symbolic.to_string(), "parameters": row.parameters, "gflop": work(&row.path) as f64 / 1e9}
        });
        let entries = entries.iter().map(|e| {
            let of = |what: fn(&Memory) -> usize| e.memory.as_ref().map(what);
            object! {"entry": &e.name, "gflop": e.flops as f64 / 1e9, "kernels": of(|m| m.kernels),
            "arena_bytes": of(|m| m.arena), "live_bytes": of(|m| m.live), "local_bytes": of(|m| m.local),
            "prepared_bytes": of(|m| m.prepared), "constants_bytes": of(|m| m.constants)}
        });
        let all = object! {"model": model.name(), "dims": dims_json(instance.dims()),
        "layers": layers.collect::<Json>(), "parameters": instance.parameter_count(),
        "state_bytes": state_bytes, "entries": entries.collect::<Json>()};
        outln!("{all}");
        return Ok(ExitCode::SUCCESS);
    }

    let dims: Vec<String> = instance.dims().iter().map(|(name, size)| format!("{name} = {size}")).collect();
    outln!("{}{}{}\n", model.name(), if dims.is_empty() { "" } else { ", " }, dims.join(", "));
    let rows: Vec<Vec<String>> = instance
        .layers()
        .iter()
        .zip(&outputs)
        .map(|(row, output)| {
            vec![
                row.path.clone(),
                row.call.clone(),
                output.to_string(),
                if row.parameters == 0 { String::new() } else { count(row.parameters) },
                if work(&row.path) == 0 { String::new() } else { flops(work(&row.path)) },
            ]
        })
        .collect();
    out!("{}", table(&["layer", "kind", "output", "parameters", "FLOP"], &rows, "lllrr"));
    outln!("\n{} parameters; state {}\n", count(instance.parameter_count()), bytes(state_bytes));
    let rows: Vec<Vec<String>> = entries
        .iter()
        .map(|e| {
            let of = |what: fn(&Memory) -> String| e.memory.as_ref().map_or("-".to_owned(), what);
            vec![
                e.name.clone(),
                flops(e.flops),
                of(|m| m.kernels.to_string()),
                of(|m| bytes(m.arena)),
                of(|m| bytes(m.live)),
                of(|m| bytes(m.local)),
                of(|m| bytes(m.prepared)),
                of(|m| bytes(m.constants)),
            ]
        })
        .collect();
    out!(
        "{}",
        table(
            &["entry", "FLOP", "kernels", "arena", "alive at once", "each thread", "prepared", "constants"],
            &rows,
            "lrrrrrrr"
        )
    );
    if entries.iter().any(|entry| entry.memory.is_none()) {
        outln!("\nEntry points of more than {MOST_COMPILED} operators are compiled with --memory only.");
    }
    Ok(ExitCode::SUCCESS)
}

/// The work of an entry point, and its memory, for which it is compiled: of small ones, or if that is `wanted`.
fn entry(model: &Model, name: &str, wanted: bool) -> Result<Entry> {
    let graph = model.graph(name)?;
    let mut compiler = Compiler::new(model.options());
    let differentiated = compiler.differentiate(graph)?;
    let flops = cost::flops(&differentiated);
    let asked = wanted || model.options().passes.memory_limit.is_some();
    let compiled = asked || graph.len() <= MOST_COMPILED;
    let memory = compiled.then(|| memory(&mut compiler, differentiated)).transpose()?;
    Ok(Entry { name: name.to_owned(), flops, memory })
}

/// Compiles a differentiated entry point as far as its memory is known.
fn memory(compiler: &mut Compiler<'_>, graph: Graph) -> Result<Memory> {
    let optimised = compiler.optimise_differentiated(graph)?;
    let program = compiler.lower(&optimised)?;
    let constants =
        program.buffers.iter().filter(|b| matches!(b.place, Place::Constant(_))).map(|b| b.ty.bytes());
    Ok(Memory {
        kernels: program.kernels.len(),
        arena: program.arena_bytes,
        live: live_bytes(&program),
        local: program.local_bytes(),
        prepared: program.prepared_bytes,
        constants: constants.sum(),
    })
}
