//! `brolga check`

use std::collections::HashMap;
use std::process::ExitCode;

use brolga::ir::Graph;
use brolga::ir::program::Place;
use brolga::passes::program::plan::live_bytes;
use brolga::runtime::{Length, Outline, Outlined, Shown, counted};
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
    /// Whether segments of loops are run again, for a limit.
    again: bool,
}

pub fn run(args: &CheckArgs) -> Result<ExitCode> {
    let model = args.model.load_whole(args.target.options()?)?;
    let instance = model.instance();
    let names = instance.entries();
    for name in &names {
        instance.notes(name).for_each(|note| errln!("note: `{name}`: {note}"));
    }
    instance.unused_inputs().iter().for_each(|name| errln!("note: no entry reads the input `{name}`"));
    let entries = names.iter().filter(|name| **name != "init").map(|name| entry(&model, name, args.memory));
    let entries = entries.collect::<Result<Vec<_>>>()?;
    let described = Described { model: &model, work: forward_work(&model), entries };
    if args.json {
        outln!("{}", described.as_json());
    } else {
        described.print();
    }
    Ok(ExitCode::SUCCESS)
}

/// What a plan trains, and for how long in all: epochs and updates of each of its trainees.
fn trained(plan: &Outline) -> impl Iterator<Item = (&Outlined, u64, u64)> {
    plan.trainees.iter().enumerate().map(|(at, trainee)| {
        let own = plan.phases.iter().filter(|phase| phase.trainee == at);
        let (epochs, updates) = own.fold((0u64, 0u64), |(epochs, updates), phase| match phase.length {
            Length::Epochs(more) => (epochs.saturating_add(more), updates),
            Length::Updates(more) => (epochs, updates.saturating_add(more)),
        });
        (trainee, epochs, updates)
    })
}

fn plan_json(plan: &Outline) -> Json {
    let trainees = trained(plan).map(|(trainee, epochs, updates)| {
        object! {"entry": &trainee.entry, "epochs": epochs, "updates": updates, "data": trainee.data.clone(),
        "measures": &trainee.measures[..]}
    });
    object! {"phases": plan.phases.len(), "trainees": trainees.collect::<Json>()}
}

/// The plan in a line: `in 3 phases: pretrain 10 epochs, train 1,500 updates`.
fn plan_line(plan: &Outline) -> String {
    let lengths = |epochs: u64, updates: u64| {
        let all = [(epochs, "epoch"), (updates, "update")];
        let named = all.iter().filter(|(many, _)| *many > 0).map(|(many, what)| counted(*many, what));
        named.collect::<Vec<_>>().join(" and ")
    };
    let all = trained(plan).map(|(trainee, epochs, updates)| {
        let data = trainee.data.as_ref().map_or(String::new(), |data| format!(" on {}", data.shown()));
        format!("{} for {}{data}", trainee.entry, lengths(epochs, updates))
    });
    let phases = counted(plan.phases.len() as u64, "phase");
    format!("trained in {phases}: {}", all.collect::<Vec<_>>().join(", "))
}

/// The floating-point operations of each layer, forward; nothing where every entry point differentiates.
fn forward_work(model: &Model) -> HashMap<String, u64> {
    let instance = model.instance();
    let forward = instance.entries().iter().find_map(|name| {
        let graph = instance.graph(name)?;
        let differentiates = graph.nodes().any(|id| graph.node(id).op.is_derivative());
        (!differentiates && *name != "init").then(|| cost::flops_by_layer(graph))
    });
    forward.unwrap_or_default()
}

/// A model with what its layers and entry points need.
struct Described<'m> {
    model: &'m Model,
    /// Of each layer, forward.
    work: HashMap<String, u64>,
    entries: Vec<Entry>,
}

impl Described<'_> {
    fn work(&self, layer: &str) -> u64 {
        self.work.get(layer).copied().unwrap_or(0)
    }

    fn state_bytes(&self) -> usize {
        self.model.instance().state().iter().map(|slot| slot.ty.bytes()).sum()
    }

    fn as_json(&self) -> Json {
        let instance = self.model.instance();
        let layers = instance.layers().iter().zip(self.model.symbolic_outputs()).map(|(row, symbolic)| {
            object! {"path": &row.path, "kind": &row.kind, "call": &row.call, "output": row.output.to_string(),
            "symbolic": symbolic.to_string(), "parameters": row.parameters,
            "gflop": self.work(&row.path) as f64 / 1e9}
        });
        let entries = self.entries.iter().map(|e| {
            let of = |what: fn(&Memory) -> usize| e.memory.as_ref().map(what);
            object! {"entry": &e.name, "gflop": e.flops as f64 / 1e9, "kernels": of(|m| m.kernels),
            "arena_bytes": of(|m| m.arena), "live_bytes": of(|m| m.live), "local_bytes": of(|m| m.local),
            "prepared_bytes": of(|m| m.prepared), "constants_bytes": of(|m| m.constants),
            "segments_again": e.memory.as_ref().map(|m| m.again)}
        });
        object! {"model": self.model.name(), "dims": dims_json(instance.dims()),
        "layers": layers.collect::<Json>(), "parameters": instance.parameter_count(),
        "state_bytes": self.state_bytes(), "entries": entries.collect::<Json>(),
        "training": self.model.plan().map(|plan| plan_json(&plan))}
    }

    fn print(&self) {
        let instance = self.model.instance();
        let dims: Vec<String> =
            instance.dims().iter().map(|(name, size)| format!("{name} = {size}")).collect();
        outln!("{}{}{}\n", self.model.name(), if dims.is_empty() { "" } else { ", " }, dims.join(", "));
        out!("{}", self.layers());
        let state = bytes(self.state_bytes());
        outln!("\n{} parameters; state {state}\n", count(instance.parameter_count()));
        out!("{}", self.entries());
        if let Some(plan) = self.model.plan() {
            outln!("\n{}", plan_line(&plan));
        }
        for entry in &self.entries {
            if entry.memory.as_ref().is_some_and(|memory| memory.again) {
                outln!(
                    "\n`{}` keeps what segments of its long loops begin with, and runs their steps again on the way back, to \
                     meet the memory limit.",
                    entry.name
                );
            }
        }
        if self.entries.iter().any(|entry| entry.memory.is_none()) {
            outln!("\nEntry points of more than {MOST_COMPILED} operators are compiled with --memory only.");
        }
    }

    /// The table of layers.
    fn layers(&self) -> String {
        let outputs = self.model.symbolic_outputs();
        let rows = self.model.instance().layers().iter().zip(&outputs).map(|(row, output)| {
            let work = self.work(&row.path);
            vec![
                row.path.clone(),
                row.call.clone(),
                output.to_string(),
                if row.parameters == 0 { String::new() } else { count(row.parameters) },
                if work == 0 { String::new() } else { flops(work) },
            ]
        });
        let rows: Vec<Vec<String>> = rows.collect();
        table(&["layer", "kind", "output", "parameters", "FLOP"], &rows, "lllrr")
    }

    /// The table of entry points.
    fn entries(&self) -> String {
        let rows = self.entries.iter().map(|e| {
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
        });
        let rows: Vec<Vec<String>> = rows.collect();
        let head =
            ["entry", "FLOP", "kernels", "arena", "alive at once", "each thread", "prepared", "constants"];
        table(&head, &rows, "lrrrrrrr")
    }
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
        again: compiler.runs_again(),
    })
}
