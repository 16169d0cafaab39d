//! `brolga bench`

use std::process::ExitCode;
use std::time::{Duration, Instant as Clock};

use brolga::passes::program::plan::live_bytes;
use brolga::runtime::counted;
use brolga::{Compiler, Model, Result, cost};
use brolga_command::report::{bytes, dims_json, flops};
use brolga_command::{peak_rss_mb, times};
use clap::Args;

use super::args::{InferenceEntry, MachineArgs, ModelArgs, seconds};
use super::tune::{tune, tuned_json};

#[derive(Args)]
#[command(after_help = "\
Inputs are random, within the bounds that the entry point has for them.

Example:
  brolga bench lenet5 --entry train --dim batch=64 --seconds 5 --threads 2 --json")]
pub struct BenchArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub entry: InferenceEntry,
    /// How long to measure
    #[arg(long, value_name = "S", default_value_t = 2.0, value_parser = seconds)]
    pub seconds: f64,
    /// Prints one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub machine: MachineArgs,
}

pub fn run(args: &BenchArgs) -> Result<ExitCode> {
    let threads = args.machine.threads()?;
    let start = Clock::now();
    let mut model = args.model.load(args.machine.options(&threads)?)?;
    let loaded = start.elapsed();
    let tuned = tune(&mut model, &args.machine, &threads, &args.entry.name, &[])?;
    let start = Clock::now();
    let executable = model.compile(&args.entry.name)?;
    let compile_time = loaded + start.elapsed();
    let graph = model.graph(&args.entry.name)?;
    let mut compiler = Compiler::new(model.options());
    let work = cost::flops(&compiler.differentiate(graph)?);
    let optimised = compiler.optimise(graph)?;
    let program = compiler.lower(&optimised)?;
    let live = live_bytes(&program);

    let mut state = model.initial_state(0)?;
    let manifest = executable.manifest();
    let times = times(&executable, &mut state, &threads, Duration::from_secs_f64(args.seconds))?;
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    let (median, least) = (ms(times[times.len() / 2]), ms(times[0]));
    let (arena, local) = (manifest.arena_bytes, manifest.local_bytes);
    let (prepared, held) = (manifest.prepared_bytes, state.bytes());
    if args.json {
        let mut all = object! {"model": model.name(), "entry": &args.entry.name, "dims": dims_json(model.instance().dims()),
        "threads": threads.count(), "compile_ms": ms(compile_time), "median_ms": median, "min_ms": least,
        "runs": times.len(), "gflop": work as f64 / 1e9, "arena_bytes": arena, "live_bytes": live,
        "local_bytes": local, "state_bytes": held,
        "prepared_bytes": prepared, "peak_rss_mb": peak_rss_mb()};
        if let Some(tuned) = &tuned {
            all.set("tune", tuned_json(tuned));
        }
        outln!("{all}");
        return Ok(ExitCode::SUCCESS);
    }
    outln!("{} {}, {}", title(&model), args.entry.name, counted(threads.count() as u64, "thread"));
    outln!("  compiled in  {:.1} ms", ms(compile_time));
    outln!("  median       {median:.4} ms   fastest {least:.4} ms   of {} runs", times.len());
    outln!("  work         {} FLOP   {:.1} GFLOP/s", flops(work), work as f64 / 1e6 / median);
    outln!(
        "  memory       state {}   arena {} (alive at once {})   local {} for each thread   prepared {}",
        bytes(held),
        bytes(arena),
        bytes(live),
        bytes(local),
        bytes(prepared)
    );
    Ok(ExitCode::SUCCESS)
}

/// The model's name with its sizes.
pub fn title(model: &Model) -> String {
    let dims: Vec<String> =
        model.instance().dims().iter().map(|(name, size)| format!("{name}={size}")).collect();
    format!("{} [{}]", model.name(), dims.join(", "))
}
