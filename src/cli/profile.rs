//! `brolga profile`
//!
//! Traced code says which call it is, so loops and conditions on data are no matter: what ran is counted.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

use brolga::ir::program::{Call, Program, work};
use brolga::runtime::{DType, Instance, Shown, counted};
use brolga::trace::{Noted, Traced, calls};
use brolga::{CompileOptions, Compiler, Error, Lowered, Result, State, Tensor, Threads};
use brolga_command::report::{bytes, flops, table};
use clap::Args;
use serde_json::json;

use super::args::{InferenceEntry, MachineArgs, ModelArgs, OverwriteArgs, seconds};
use super::bench::title;
use super::destination::{Destinations, Written};
use super::files::write;
use super::tune::tune;

#[derive(Args)]
#[command(after_help = "\
Each kernel call is timed inside whole runs. Bytes are those that a call touches, each counted once, in the caches or
not; the peak is measured by matrix products that stay in registers and the first cache, memory by a copy of 64 MB.
Calls in loops are added up; of conditions, what ran is shown.

Example:
  brolga profile resnet20 --entry train --trace trace.json     (open in chrome://tracing or ui.perfetto.dev)")]
pub struct ProfileArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub entry: InferenceEntry,
    /// How long to measure
    #[arg(long, value_name = "S", default_value_t = 1.0, value_parser = seconds)]
    pub seconds: f64,
    /// Shows every kernel call instead of one row per layer
    #[arg(long)]
    pub calls: bool,
    /// Writes the fastest run as a Chrome trace
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    #[command(flatten)]
    pub overwrite: OverwriteArgs,
    #[command(flatten)]
    pub machine: MachineArgs,
}

/// Runs that are measured at least.
const LEAST_RUNS: usize = 3;

/// How long each limit of the machine is measured; the best counts.
const MEASURED: Duration = Duration::from_millis(300);

/// A call of the schedule that was made, with all that it did in one run.
struct Row {
    layer: String,
    kernel: String,
    flops: u64,
    bytes: u64,
    /// The median over the runs.
    time: Duration,
}

/// What the machine can do.
struct Limits {
    /// 10^9 floating-point operations in a second.
    gflops: f64,
    /// 10^9 bytes read and written in a second.
    bandwidth: f64,
}

pub fn run(args: &ProfileArgs, mut destinations: Destinations) -> Result<ExitCode> {
    let threads = args.machine.threads()?;
    let mut model = args.model.load(args.machine.options(&threads)?)?;
    destinations.reads_model(model.files());
    if let Some(path) = &args.trace {
        destinations.writes("--trace", path, Written::Trace, 0)?;
    }
    tune(&mut model, &args.machine, &threads, &args.entry.name, &[])?;
    let mut compiler = Compiler::new(model.options());
    let optimised = compiler.optimise(model.graph(&args.entry.name)?)?;
    let program = compiler.lower(&optimised)?;
    let calls = calls(&program);
    let mut state = model.initial_state(0)?;
    let runs = measure(&program, model.options(), &threads, &mut state, args.seconds)?;
    let limits =
        Limits { gflops: peak(model.options(), &threads)?, bandwidth: bandwidth(model.options(), &threads)? };
    let rows = rows(&program, &calls, &runs);
    if let Some(path) = &args.trace {
        write(path, trace(&runs, &calls, &program).as_bytes())?;
    }
    let total: Duration = rows.iter().map(|row| row.time).sum();
    let made = runs.iter().map(Vec::len).max().unwrap_or(0);
    outln!(
        "{} {}, {}: {made} kernel calls, {:.3} ms; median of {} runs; peak {:.1} GFLOP/s, memory {:.1} GB/s\n",
        title(&model),
        args.entry.name,
        counted(threads.count() as u64, "thread"),
        total.as_secs_f64() * 1e3,
        runs.len(),
        limits.gflops,
        limits.bandwidth
    );
    let rows = if args.calls { rows } else { by_layer(rows) };
    print(&rows, total, &limits, args.calls);
    if let Some(path) = &args.trace {
        outln!("\ntrace: {}", path.shown());
    }
    Ok(ExitCode::SUCCESS)
}

/// What each call of the schedule did, of those that were made in any run.
fn rows(program: &Program, calls: &[&Call], runs: &[Vec<Noted>]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::with_capacity(calls.len());
    for (number, call) in calls.iter().enumerate() {
        let kernel = &program.kernels[call.kernel.0 as usize];
        let mut times = Vec::with_capacity(runs.len());
        let mut most = 0;
        for run in runs {
            let own = run.iter().filter(|noted| noted.call == number);
            most = most.max(own.clone().count() as u64);
            times.push(own.map(|noted| noted.end - noted.start).sum::<Duration>());
        }
        if most == 0 {
            // The way not taken of a condition.
            continue;
        }
        times.sort_unstable();
        rows.push(Row {
            layer: if call.origin.is_empty() { "-".to_owned() } else { call.origin.clone() },
            kernel: kernel.name.clone(),
            flops: work::flops(kernel).saturating_mul(most),
            bytes: work::bytes(kernel).saturating_mul(most),
            time: times[times.len() / 2],
        });
    }
    rows
}

/// Runs the program for so many seconds, and gives the times of all calls of each run.
fn measure(
    program: &Lowered,
    options: &CompileOptions,
    threads: &Threads,
    state: &mut State,
    seconds: f64,
) -> Result<Vec<Vec<Noted>>> {
    let mut traced = Traced::new(program, options, threads, state)?;
    let limit = Duration::from_secs_f64(seconds);
    let (mut runs, begun) = (Vec::new(), Clock::now());
    while runs.len() <= LEAST_RUNS || begun.elapsed() < limit {
        runs.push(traced.run(state)?.to_vec());
    }
    // The first run touches memory and fills caches.
    runs.remove(0);
    Ok(runs)
}

/// The rate of matrix products that stay in the first cache, in GFLOP/s.
fn peak(options: &CompileOptions, threads: &Threads) -> Result<f64> {
    const ROUNDS: usize = 50;
    let parts = 4 * threads.count();
    let text = format!(
        "program @peak\n  arena {} bytes\n  %0 input \"a\" f32[48, 64]\n  %1 input \"b\" f32[64, 32]\n\
         \u{20} %2 arena \"c\" f32[{parts}, 48, 32] at 0\n\n\
         kernel @peak#0(p0: read f32[3072], p1: read f32[2048], p2: write f32[{}]) grid [{parts}] {{\n\
         \u{20} for i1 in 0..{ROUNDS} {{\n\
         \u{20}   tile [48, 32] p2[1536*i0; 32] = p0[0; 64] * p1[0] over (64; 1, 32) : f32\n  }}\n}}\n\n\
         schedule {{\n  call @peak#0(%0, %1, %2) parallel\n}}\n",
        4 * 1536 * parts,
        1536 * parts
    );
    let time = best_time(&text, options, threads)?;
    Ok((2 * 48 * 32 * 64 * ROUNDS * parts) as f64 / time.as_secs_f64() / 1e9)
}

/// The rate at which a large array is copied, reads and writes counted, in GB/s.
fn bandwidth(options: &CompileOptions, threads: &Threads) -> Result<f64> {
    // 64 MB: larger than the caches.
    const PARTS: usize = 64;
    const PART: usize = 1 << 18;
    let all = PARTS * PART;
    let text = format!(
        "program @copy\n  %0 input \"x\" f32[{all}]\n  %1 output \"y\" f32[{all}]\n\n\
         kernel @copy#0(p0: read f32[{all}], p1: write f32[{all}]) grid [{PARTS}] {{\n\
         \u{20} strip i1 in 0..{PART} {{\n\
         \u{20}   v0 = load p0[{PART}*i0 + i1] : f32\n    store p1[{PART}*i0 + i1] = v0\n  }}\n}}\n\n\
         schedule {{\n  call @copy#0(%0, %1) parallel\n}}\n"
    );
    let time = best_time(&text, options, threads)?;
    Ok((2 * 4 * all) as f64 / time.as_secs_f64() / 1e9)
}

/// The shortest of some runs of a program with inputs of zeros.
fn best_time(text: &str, options: &CompileOptions, threads: &Threads) -> Result<Duration> {
    let program = Program::parse(text).map_err(|e| Error::Compile(format!("a measuring program: {e}")))?;
    let codegen = brolga::codegen::Options::from(options.target_cpu);
    let executable = brolga::codegen::compile_checked(&program, &codegen)?.executable;
    let mut state = State::new();
    let inputs = executable.manifest().inputs.iter().map(|input| Tensor::zeros(DType::F32, &input.dims));
    let inputs = inputs.collect::<brolga::runtime::Result<Vec<_>>>()?;
    let outputs = executable.manifest().outputs.iter().map(|output| Tensor::zeros(DType::F32, &output.dims));
    let mut outputs = outputs.collect::<brolga::runtime::Result<Vec<_>>>()?;
    let mut instance = Instance::bind(Arc::new(executable), &state, threads)?;
    let (mut best, begun) = (Duration::MAX, Clock::now());
    while begun.elapsed() < MEASURED {
        let start = Clock::now();
        instance.run_tensors(&mut state, &inputs, &mut outputs)?;
        best = best.min(start.elapsed());
    }
    Ok(best)
}

/// Sums of the calls of each layer, in the order of first occurrence; a gradient counts to its layer's row of its own.
fn by_layer(rows: Vec<Row>) -> Vec<Row> {
    let mut layers: Vec<Row> = Vec::new();
    for row in rows {
        match layers.iter_mut().find(|layer| layer.layer == row.layer) {
            Some(layer) => {
                layer.flops += row.flops;
                layer.bytes += row.bytes;
                layer.time += row.time;
                layer.kernel = String::new();
            }
            None => layers.push(Row { kernel: String::new(), ..row }),
        }
    }
    layers
}

fn print(rows: &[Row], total: Duration, limits: &Limits, kernels: bool) {
    let cells = rows.iter().map(|row| {
        let seconds = row.time.as_secs_f64().max(1e-12);
        let rate = row.flops as f64 / seconds / 1e9;
        let mut cells = vec![row.layer.clone()];
        if kernels {
            cells.push(row.kernel.clone());
        }
        cells.extend([
            format!("{:.1}", seconds * 1e6),
            format!("{:.1} %", 100.0 * seconds / total.as_secs_f64().max(1e-12)),
            flops(row.flops),
            format!("{rate:.1}"),
            format!("{:.0} %", 100.0 * rate / limits.gflops),
            bytes(row.bytes as usize),
            format!("{:.1}", row.bytes as f64 / seconds / 1e9),
            format!("{:.0} %", 100.0 * row.bytes as f64 / seconds / 1e9 / limits.bandwidth),
        ]);
        cells
    });
    let mut head = vec!["layer"];
    if kernels {
        head.push("kernel");
    }
    head.extend(["us", "share", "FLOP", "GFLOP/s", "of peak", "bytes", "GB/s", "of memory"]);
    let align = if kernels { "llrrrrrrrr" } else { "lrrrrrrrr" };
    out!("{}", table(&head, &cells.collect::<Vec<_>>(), align));
}

/// The fastest run as a Chrome trace (Trace Event Format, complete events, microseconds).
fn trace(runs: &[Vec<Noted>], calls: &[&Call], program: &Program) -> String {
    let length = |run: &&Vec<Noted>| run.last().map_or(Duration::ZERO, |noted| noted.end);
    let fastest = runs.iter().min_by_key(length);
    let events = fastest.into_iter().flatten().map(|noted| {
        let call = calls[noted.call];
        let kernel = &program.kernels[call.kernel.0 as usize];
        json!({"name": format!("{} {}", call.origin, kernel.name), "cat": "kernel", "ph": "X", "pid": 1, "tid": 1,
            "ts": noted.start.as_secs_f64() * 1e6, "dur": (noted.end - noted.start).as_secs_f64() * 1e6,
            "args": {"flop": work::flops(kernel), "bytes": work::bytes(kernel)}})
    });
    // Who wrote it comes first: a later run replaces it, but none of another program.
    json!({"otherData": {"by": "brolga"}, "traceEvents": events.collect::<Vec<_>>(), "displayTimeUnit": "ns"})
        .to_string()
}
