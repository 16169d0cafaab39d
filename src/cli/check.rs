//! `brolga check`

use std::process::ExitCode;

use brolga::ir::program::Place;
use brolga::passes::plan::live_bytes;
use brolga::{CompileOptions, Compiler, Model, Result, cost};
use clap::Args;
use serde_json::json;

use super::args::{ModelArgs, TargetArgs};
use super::report::{bytes, count, dims_json, flops, table};

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
    /// Prints one JSON object instead of tables
    #[arg(long)]
    pub json: bool,
}

/// What one entry point needs.
struct Entry {
    name: String,
    flops: u64,
    kernels: usize,
    arena: usize,
    live: usize,
    local: usize,
    prepared: usize,
    constants: usize,
}

pub fn run(args: &CheckArgs) -> Result<ExitCode> {
    let model = args.model.load(args.target.options()?)?;
    let instance = model.instance();
    let names = instance.entries();
    let entries =
        names.iter().filter(|name| **name != "init").map(|name| entry(&model, name, model.options()));
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
            json!({"path": row.path, "kind": row.kind, "output": row.output.to_string(),
                   "symbolic": symbolic.to_string(), "parameters": row.parameters, "gflop": work(&row.path) as f64 / 1e9})
        });
        let entries = entries.iter().map(|e| {
            json!({"entry": e.name, "gflop": e.flops as f64 / 1e9, "kernels": e.kernels, "arena_bytes": e.arena,
                   "live_bytes": e.live, "local_bytes": e.local,
                   "prepared_bytes": e.prepared, "constants_bytes": e.constants})
        });
        let all = json!({"model": model.name(), "dims": dims_json(instance.dims()), "layers": layers.collect::<Vec<_>>(),
            "parameters": instance.parameter_count(), "state_bytes": state_bytes, "entries": entries.collect::<Vec<_>>()});
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
                row.kind.clone(),
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
            vec![
                e.name.clone(),
                flops(e.flops),
                e.kernels.to_string(),
                bytes(e.arena),
                bytes(e.live),
                bytes(e.local),
                bytes(e.prepared),
                bytes(e.constants),
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
    Ok(ExitCode::SUCCESS)
}

/// Compiles an entry point as far as its memory is known.
fn entry(model: &Model, name: &str, options: &CompileOptions) -> Result<Entry> {
    let graph = model.graph(name)?;
    let mut compiler = Compiler::new(options);
    let flops = cost::flops(&compiler.differentiate(graph)?);
    let optimised = compiler.optimise(graph)?;
    let program = compiler.lower(&optimised)?;
    let constants =
        program.buffers.iter().filter(|b| matches!(b.place, Place::Constant(_))).map(|b| b.ty.bytes());
    Ok(Entry {
        name: name.to_owned(),
        flops,
        kernels: program.kernels.len(),
        arena: program.arena_bytes,
        live: live_bytes(&program),
        local: program.local_bytes(),
        prepared: program.prepared_bytes,
        constants: constants.sum(),
    })
}
